//! `account_*`: an account's transactions, decoded.

use crate::{
    error::{RpcResult, internal},
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
    system::account,
};
use frame_support::traits::GetCallMetadata as _;
use frame_system::{EventRecord, Phase};
use sp_runtime::{DispatchError, generic::Preamble};
use x0_executor::decode_extrinsic;
use x0_rpc_types::{
    Amount,
    chain::{History, HistoryCursor, HistoryEntry},
    market::PAGE_MAX,
};
use x0_runtime::{Runtime, RuntimeCall, RuntimeEvent};
use x0_types::Hash;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "account_history", history)
}

fn history(node: &Node, mut args: Args) -> RpcResult<History> {
    let who = account(&mut args, "account")?;
    let before: Option<HistoryCursor> = args.optional("before")?;
    let limit: u32 = args.optional("limit")?.unwrap_or(DEFAULT_LIMIT).min(PAGE_MAX);
    args.end()?;
    let before = before.map(|cursor| (cursor.block, cursor.index));
    let places = node.database.account_history(&who, before, limit as usize);
    let next = places
        .last()
        .filter(|_| places.len() == limit as usize)
        .map(|(block, index)| HistoryCursor { block: *block, index: *index });
    let mut entries = Vec::with_capacity(places.len());
    let mut cached: Option<(u32, Option<Outcomes>)> = None;
    for (block, index) in places {
        // Entries come block by block, so that each block's events are read once.
        if cached.as_ref().is_none_or(|(number, _)| *number != block) {
            cached = Some((block, outcomes(node, block)?));
        }
        let known = cached.as_ref().and_then(|(_, outcomes)| outcomes.as_ref());
        if let Some(entry) = entry(node, block, index, known)? {
            entries.push(entry);
        }
    }
    Ok(History { entries, next })
}

/// Entries of a page when the caller does not say.
const DEFAULT_LIMIT: u32 = 50;

/// Events of a block, and its time.
struct Outcomes {
    events: Vec<EventRecord<RuntimeEvent, Hash>>,
    timestamp_ms: u64,
}

/// The events of a block; `None` when the node no longer keeps that block's state.
fn outcomes(node: &Node, block: u32) -> RpcResult<Option<Outcomes>> {
    if block < node.database.oldest_state() {
        return Ok(None);
    }
    let Some(hash) = node.database.hash_of(block) else { return Ok(None) };
    node.read(Some(hash), |_| Outcomes {
        events: frame_system::Pallet::<Runtime>::read_events_no_consensus().map(|record| *record).collect(),
        timestamp_ms: pallet_timestamp::Now::<Runtime>::get(),
    })
    .map(Some)
}

/// One transaction; `None` when the block is not there (the index is written with the block, so
/// that this means a damaged database, which the log says).
fn entry(node: &Node, block: u32, index: u32, outcomes: Option<&Outcomes>) -> RpcResult<Option<HistoryEntry>> {
    let Some((block_hash, body)) = node.database.hash_of(block).zip(node.database.body(block)) else {
        tracing::error!(target: "x0::rpc", block, index, "the account index names a block that is not there");
        return Ok(None);
    };
    let Some(bytes) = body.get(index as usize) else {
        tracing::error!(target: "x0::rpc", block, index, "the account index names a transaction that is not there");
        return Ok(None);
    };
    let extrinsic =
        decode_extrinsic(bytes).map_err(|cause| internal("a stored transaction does not decode", &cause))?;
    let signer = match &extrinsic.preamble {
        Preamble::Signed(sp_runtime::MultiAddress::Id(signer), _, _) => Some(signer.clone()),
        _ => None,
    };
    let outcome = outcomes.map(|outcomes| judge(&outcomes.events, index));
    Ok(Some(HistoryEntry {
        block,
        block_hash,
        index,
        timestamp_ms: timestamp(&body, outcomes),
        hash: Hash::from(x0_crypto::blake2b_256(bytes)),
        signer,
        call: call_name(&extrinsic.function),
        success: outcome.as_ref().map(|outcome| outcome.error.is_none()),
        error: outcome.as_ref().and_then(|outcome| outcome.error.clone()),
        fee: outcome.and_then(|outcome| outcome.fee).map(Amount),
    }))
}

/// The block's time: from its state, or from its timestamp inherent when the state is gone.
fn timestamp(body: &[bytes::Bytes], outcomes: Option<&Outcomes>) -> u64 {
    if let Some(outcomes) = outcomes {
        return outcomes.timestamp_ms;
    }
    let inherents = body.iter().filter_map(|bytes| decode_extrinsic(bytes).ok());
    inherents
        .take_while(|extrinsic| matches!(extrinsic.preamble, Preamble::Bare(_)))
        .find_map(|extrinsic| match extrinsic.function {
            RuntimeCall::Timestamp(pallet_timestamp::Call::set { now }) => Some(now),
            _ => None,
        })
        .unwrap_or(0)
}

/// `Pallet.call`.
fn call_name(call: &RuntimeCall) -> String {
    let metadata = call.get_call_metadata();
    format!("{}.{}", metadata.pallet_name, metadata.function_name)
}

/// How one transaction of a block ended.
#[derive(Default)]
struct Outcome {
    error: Option<String>,
    fee: Option<u128>,
}

/// Reads a transaction's outcome from the block's events.
fn judge(events: &[EventRecord<RuntimeEvent, Hash>], index: u32) -> Outcome {
    let mut outcome = Outcome::default();
    for record in events.iter().filter(|record| record.phase == Phase::ApplyExtrinsic(index)) {
        match &record.event {
            RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { dispatch_error, .. }) => {
                outcome.error = Some(error_name(dispatch_error));
            }
            RuntimeEvent::TransactionPayment(pallet_transaction_payment::Event::TransactionFeePaid {
                actual_fee,
                ..
            }) => {
                outcome.fee = Some(*actual_fee);
            }
            _ => {}
        }
    }
    outcome
}

/// `Pallet.Error` for a pallet's own error, the general name otherwise.
pub(crate) fn error_name(error: &DispatchError) -> String {
    // Events carry a pallet error's index only; the runtime's own enum knows the names, and its
    // `Debug` form is `Pallet(Error)`.
    let name = x0_runtime::RuntimeError::from_dispatch_error(*error)
        .map_or_else(|| format!("{error:?}"), |named| format!("{named:?}"));
    name.replace('(', ".").replace(')', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_runtime::ModuleError;

    #[test]
    fn errors_have_their_pallets_names() {
        // Balances is pallet 2, and InsufficientBalance its third error.
        let module = DispatchError::Module(ModuleError { index: 2, error: [2, 0, 0, 0], message: None });
        assert_eq!(error_name(&module), "Balances.InsufficientBalance");
        assert_eq!(error_name(&DispatchError::BadOrigin), "BadOrigin");
        assert_eq!(
            error_name(&DispatchError::Token(sp_runtime::TokenError::FundsUnavailable)),
            "Token.FundsUnavailable"
        );
    }
}
