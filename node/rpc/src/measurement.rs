//! `measurement_*`: slots and measured nodes.

use crate::{
    error::RpcResult,
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
};
use pallet_x0_measurement as pallet;
use x0_rpc_types::{
    Number,
    market::{MeasuredNode, MeasurementStatus, PAGE_MAX},
};
use x0_runtime::Runtime;
use x0_types::market::NodeIndex;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "measurement_status", status)
}

fn status(node: &Node, mut args: Args) -> RpcResult<MeasurementStatus> {
    let from: NodeIndex = args.optional("fromIndex")?.unwrap_or(0);
    let at = args.block()?;
    args.end()?;
    node.read(at, |block| {
        let targets = pallet::Pallet::<Runtime>::targets();
        let runs = pallet::OpenRuns::<Runtime>::get();
        let nodes =
            targets.iter().filter(|(index, _)| *index >= from).take(PAGE_MAX as usize).filter_map(|(index, node)| {
                let record = pallet::Nodes::<Runtime>::get(node)?;
                Some(MeasuredNode {
                    node: node.clone(),
                    index: *index,
                    owner: record.owner,
                    since: Number(record.since),
                    bad: Number(record.bad),
                    unknown: Number(record.unknown),
                    down: runs.get(*index),
                })
            });
        MeasurementStatus {
            block,
            slot_ms: pallet::SlotMs::<Runtime>::get(),
            current_slot: Number(pallet::CurrentSlot::<Runtime>::get()),
            closed_slot: Number(pallet::ClosedSlot::<Runtime>::get()),
            void: Number(pallet::VoidSlots::<Runtime>::get()),
            nodes: nodes.collect(),
            nodes_total: u32::try_from(targets.len()).unwrap_or(u32::MAX),
        }
    })
}
