//! `light_*`: headers with certificates, changes of the validator set, checkpoints. Whoever asks believes none of it
//! and checks all of it, from a block that a person vouches for.

use crate::{
    error::{RpcResult, error, pruned, unknown_block},
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
    state::executor_error,
};
use jsonrpsee::types::ErrorObjectOwned;
use x0_executor::LightDataError;
use x0_rpc_types::{
    HexBytes, error as code,
    light::{LightCheckpoint, LightHeader, SetChange, SetChanges},
};

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "light_header", header)?;
    blocking(module, "light_setChanges", set_changes)?;
    blocking(module, "light_checkpoint", checkpoint)
}

/// Why the data is not there, as the caller reads it.
fn refusal(cause: &LightDataError) -> ErrorObjectOwned {
    match cause {
        LightDataError::AboveHead { .. } => unknown_block(cause),
        LightDataError::Pruned { history_start, .. } => {
            pruned(code::NOT_FOUND, cause.to_string(), "historyStart", *history_start)
        }
        LightDataError::SetNotStored(_) => error(code::NOT_FOUND, cause.to_string()),
        LightDataError::Executor(cause) => executor_error(cause),
    }
}

/// The height asked for, or the head's.
fn height(node: &Node, mut args: Args) -> RpcResult<u32> {
    let number = args.optional::<u32>("height")?.unwrap_or_else(|| node.head().number);
    args.end()?;
    Ok(number)
}

fn header(node: &Node, args: Args) -> RpcResult<LightHeader> {
    let number = height(node, args)?;
    let light = node.executor.light_header(number).map_err(|cause| refusal(&cause))?;
    Ok(LightHeader { number, header: HexBytes(light.header), certificate: HexBytes(light.certificate) })
}

fn set_changes(node: &Node, mut args: Args) -> RpcResult<SetChanges> {
    let after: u32 = args.required("after")?;
    args.end()?;
    // A page is bounded where it is made: SET_CHANGES_PAGE_MAX and SET_CHANGES_PAGE_BYTES.
    let page = node.executor.light_set_changes(after).map_err(|cause| refusal(&cause))?;
    let change = |proof: x0_light::SetChangeProof| SetChange {
        header: HexBytes(proof.header),
        certificate: HexBytes(proof.certificate),
        set: HexBytes(proof.set),
    };
    Ok(SetChanges { changes: page.proofs.into_iter().map(change).collect(), more: page.more })
}

fn checkpoint(node: &Node, args: Args) -> RpcResult<LightCheckpoint> {
    let number = height(node, args)?;
    let found = node.executor.light_checkpoint(number).map_err(|cause| refusal(&cause))?;
    let hash = x0_crypto::blake2b_256(&found.header).into();
    let proof = found.proof.into_iter().map(HexBytes).collect();
    Ok(LightCheckpoint { number, hash, header: HexBytes(found.header), proof })
}
