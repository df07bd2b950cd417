//! `validators_*`: the sets, the candidates, and what the validators decide together.

use crate::{
    error::RpcResult,
    history::call_name,
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
};
use codec::DecodeLimit as _;
use pallet_x0_validators as pallet;
use x0_limits::CALL_DEPTH_MAX;
use x0_rpc_types::{
    HexBytes, Number,
    validators::{Barred, Proposal, UpcomingSet, Upgrade, ValidatorPower, ValidatorsStatus},
};
use x0_runtime::{Runtime, RuntimeCall, network};
use x0_types::Hash;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "validators_status", status)
}

fn status(node: &Node, mut args: Args) -> RpcResult<ValidatorsStatus> {
    let at = args.block()?;
    args.end()?;
    let (_, number) = node.block(at)?;
    node.read(at, |block| read_status(block, number))
}

fn powers(set: &pallet::ValidatorList) -> Vec<ValidatorPower> {
    set.iter()
        .map(|validator| ValidatorPower {
            controller: validator.controller.clone(),
            power: Number(validator.power),
            consensus_key: validator.consensus_key.fingerprint(),
        })
        .collect()
}

/// Reads everything; call it on the state of a block.
fn read_status(block: Hash, number: u32) -> ValidatorsStatus {
    let upcoming = pallet::Upcoming::<Runtime>::get();
    let mut barred: Vec<_> =
        pallet::Barred::<Runtime>::iter().map(|(controller, since)| Barred { controller, since }).collect();
    barred.sort_by(|one, other| one.controller.cmp(&other.controller));
    let open = pallet::OpenProposals::<Runtime>::get();
    let proposals = open.iter().filter_map(|open| proposal(open.number));
    ValidatorsStatus {
        block,
        number,
        current: powers(&pallet::Current::<Runtime>::get()),
        upcoming: upcoming
            .iter()
            .map(|set| UpcomingSet { from: set.from, validators: powers(&set.validators) })
            .collect(),
        candidates: pallet::Candidates::<Runtime>::get().into_inner(),
        barred,
        next_proposal: pallet::NextProposal::<Runtime>::get(),
        proposals: proposals.collect(),
        spec_version: network::ActiveSpec::<Runtime>::get(),
        upgrade: network::Scheduled::<Runtime>::get()
            .map(|upgrade| Upgrade { spec_version: upgrade.spec_version, height: upgrade.height }),
    }
}

fn proposal(number: u32) -> Option<Proposal> {
    let stored = pallet::Proposals::<Runtime>::get(number)?;
    let call = RuntimeCall::decode_all_with_depth_limit(CALL_DEPTH_MAX, &mut stored.call.as_slice());
    Some(Proposal {
        number,
        opener: stored.opener,
        expires_at: stored.expires_at,
        name: call.ok().map(|call| call_name(&call)),
        call: HexBytes(stored.call.into_inner()),
        approvals: pallet::Approvals::<Runtime>::get(number).into_inner(),
    })
}
