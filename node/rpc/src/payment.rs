//! `payment_*`: what a transaction will cost.

use crate::{
    error::{RpcResult, internal},
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
    state::executor_error,
    system::to_json,
};
use codec::{Decode, Encode};
use pallet_transaction_payment::FeeDetails;
use pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo;
use serde_json::{Value, json};
use x0_types::Balance;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "payment_queryInfo", query_info)?;
    blocking(module, "payment_queryFeeDetails", query_fee_details)
}

/// Asks the runtime about a transaction; the executor checks depth and size before it decodes.
fn ask<T: Decode>(node: &Node, mut args: Args, function: &str) -> RpcResult<T> {
    let mut data = args.bytes("extrinsic")?;
    let at = args.block()?;
    args.end()?;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    length.encode_to(&mut data);
    let (hash, _) = node.block(at)?;
    let answer = node.executor.runtime_call(hash, function, &data).map_err(|cause| executor_error(&cause))?;
    T::decode(&mut &answer[..]).map_err(|cause| internal("the runtime's answer does not decode", &cause))
}

fn query_info(node: &Node, args: Args) -> RpcResult<Value> {
    to_json(&ask::<RuntimeDispatchInfo<Balance>>(node, args, "TransactionPaymentApi_query_info")?)
}

fn query_fee_details(node: &Node, args: Args) -> RpcResult<Value> {
    let details: FeeDetails<Balance> = ask(node, args, "TransactionPaymentApi_query_fee_details")?;
    // Amounts as hex, the form that Substrate's own method has.
    let hex = |amount: Balance| format!("0x{amount:x}");
    let inclusion = details.inclusion_fee.map(|fee| {
        json!({ "baseFee": hex(fee.base_fee), "lenFee": hex(fee.len_fee), "adjustedWeightFee": hex(fee.adjusted_weight_fee) })
    });
    Ok(json!({ "inclusionFee": inclusion }))
}
