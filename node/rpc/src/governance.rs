//! `gov_*`: owners, credits, proposals, tallies, delegations, and what a call would do.

use crate::{
    error::{RpcResult, error, invalid_params},
    history::call_name,
    module::{Module, Registered, blocking},
    node::Node,
    params::Args,
};
use codec::DecodeLimit as _;
use frame_support::traits::QueryPreimage as _;
use pallet_x0_governance::{
    self as pallet, Tally,
    views::{BallotView, ProposalView, WhyFailed},
};
use x0_limits::CALL_DEPTH_MAX;
use x0_rpc_types::{
    Amount, HexBytes, Number, error as code,
    governance::{self as shape, Change, Cost, Credits, Delegation, Owner, Proposal, Simulation, TallyPoint, Track},
    market::PAGE_MAX,
};
use x0_runtime::{Governance, Owners, Runtime, RuntimeCall, dry_run};
use x0_types::{
    AccountId,
    governance::{OwnerId, OwnerRegistry as _, ProposalId, TrackId},
};

/// Most changes that an answer to `gov_simulate` shows; its hash covers all of them.
const CHANGES_SHOWN_MAX: usize = 256;

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "gov_owner", owner)?;
    blocking(module, "gov_credits", credits)?;
    blocking(module, "gov_costPreview", cost_preview)?;
    blocking(module, "gov_proposals", proposals)?;
    blocking(module, "gov_proposal", proposal)?;
    blocking(module, "gov_tallyTimeline", tally_timeline)?;
    blocking(module, "gov_delegations", delegations)?;
    blocking(module, "gov_tracks", tracks)?;
    blocking(module, "gov_simulate", simulate)
}

fn no_owner(account: &AccountId) -> jsonrpsee::types::ErrorObjectOwned {
    error(code::NOT_FOUND, format!("Account {account} belongs to no registered owner"))
}

fn no_proposal(id: ProposalId) -> jsonrpsee::types::ErrorObjectOwned {
    error(code::NOT_FOUND, format!("No proposal {id} (the oldest ended proposals are not kept)"))
}

fn owner(node: &Node, mut args: Args) -> RpcResult<Owner> {
    let account: AccountId = args.required_text("account")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| {
        let owner = Owners::owner_of(&account)?;
        let record = pallet_x0_owners::Owners::<Runtime>::get(owner)?;
        Some(Owner {
            owner,
            accounts: record.accounts.into_inner(),
            evidence: record.evidence,
            since_slot: Number(record.since),
            eligible_from: record.eligible_from,
            revoked: record.revoked.map(|revocation| revocation.evidence),
        })
    })?
    .ok_or_else(|| no_owner(&account))
}

fn credits(node: &Node, mut args: Args) -> RpcResult<Credits> {
    let account: AccountId = args.required_text("account")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| Governance::credits_of(&account))?
        .map(|view| Credits {
            owner: view.owner,
            epoch: view.epoch,
            total: view.total,
            spent: view.spent,
            locked: view.locked,
            remaining: view.remaining,
            eligible_from: view.eligible_from,
        })
        .ok_or_else(|| no_owner(&account))
}

fn cost_preview(node: &Node, mut args: Args) -> RpcResult<Cost> {
    let account: AccountId = args.required_text("account")?;
    let id: ProposalId = args.required("proposal")?;
    let votes: i8 = args.required("votes")?;
    let at = args.block()?;
    args.end()?;
    let (known, view) =
        node.read(at, |_| (Owners::owner_of(&account).is_some(), Governance::cost_preview(&account, id, votes)))?;
    let view = view.ok_or_else(|| if known { no_proposal(id) } else { no_owner(&account) })?;
    Ok(Cost {
        votes: view.votes,
        cost: view.cost,
        difference: view.difference,
        remaining_after: view.remaining_after,
        votes_max: view.votes_max,
        standing: view.standing,
        total: view.total,
    })
}

fn proposals(node: &Node, mut args: Args) -> RpcResult<Vec<Proposal>> {
    let from: ProposalId = args.optional("from")?.unwrap_or(0);
    let limit: u32 = args.optional("limit")?.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| Governance::proposal_views(from, limit).into_iter().map(proposal_shape).collect())
}

fn proposal(node: &Node, mut args: Args) -> RpcResult<Proposal> {
    let id: ProposalId = args.required("proposal")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| Governance::proposal_view(id).map(proposal_shape))?.ok_or_else(|| no_proposal(id))
}

fn tally_timeline(node: &Node, mut args: Args) -> RpcResult<Vec<TallyPoint>> {
    let id: ProposalId = args.required("proposal")?;
    let round: u8 = args.optional("round")?.unwrap_or(0);
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| {
        pallet::Proposals::<Runtime>::contains_key(id).then(|| {
            Governance::timeline(id, round)
                .into_iter()
                .map(|point| TallyPoint { slot: Number(point.slot), tally: tally_shape(&point.tally) })
                .collect()
        })
    })?
    .ok_or_else(|| no_proposal(id))
}

fn delegations(node: &Node, mut args: Args) -> RpcResult<Vec<Delegation>> {
    let account: AccountId = args.required_text("account")?;
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| {
        Owners::owner_of(&account).map(|owner: OwnerId| {
            Governance::delegations_of(owner)
                .into_iter()
                .map(|view| Delegation { track: view.track, delegate: view.delegate, delegators: view.delegators })
                .collect()
        })
    })?
    .ok_or_else(|| no_owner(&account))
}

fn tracks(node: &Node, mut args: Args) -> RpcResult<Vec<Track>> {
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| Governance::tracks().into_iter().map(|(id, rules)| track_shape(id, &rules)).collect())
}

fn simulate(node: &Node, mut args: Args) -> RpcResult<Simulation> {
    let track: TrackId = args.required("track")?;
    let bytes = args.bytes("call")?;
    let at = args.block()?;
    args.end()?;
    let call = RuntimeCall::decode_all_with_depth_limit(CALL_DEPTH_MAX, &mut bytes.as_slice())
        .map_err(|cause| invalid_params(format!("'call': {cause}")))?;
    let (block, simulation) = node.read(at, |block| (block, dry_run::simulate(track, &call)))?;
    let simulation =
        simulation.ok_or_else(|| error(code::RUNTIME_CALL_FAILED, "There was no state to try the call on"))?;
    let changes_count = u32::try_from(simulation.changes.len()).unwrap_or(u32::MAX);
    let changes = simulation.changes.into_iter().take(CHANGES_SHOWN_MAX).map(|change| Change {
        key: HexBytes(change.key.0),
        before: change.before.map(|value| HexBytes(value.0)),
        after: change.after.map(|value| HexBytes(value.0)),
    });
    Ok(Simulation {
        block,
        error: simulation.error,
        ref_time: Number(simulation.ref_time),
        changes: changes.collect(),
        changes_count,
        hash: simulation.hash,
    })
}

const fn tally_shape(tally: &Tally) -> shape::Tally {
    shape::Tally {
        ayes: Number(tally.ayes),
        nays: Number(tally.nays),
        heads_for: tally.heads_for,
        heads_against: tally.heads_against,
        spam: tally.spam,
    }
}

const fn ballot_shape(view: &BallotView) -> shape::Ballot {
    shape::Ballot {
        round: view.round,
        epoch: view.epoch,
        electorate: view.electorate,
        began: Number(view.began),
        ends: Number(view.ends),
        tally: tally_shape(&view.tally),
        approval_needed_ppm: view.approval_needed_ppm,
        support_needed_ppm: view.support_needed_ppm,
        passes: view.passes,
    }
}

fn why_shape(why: WhyFailed) -> shape::WhyFailed {
    match why {
        WhyFailed::NotPassed { approval, support, spam } => shape::WhyFailed::NotPassed { approval, support, spam },
        WhyFailed::NoPlace => shape::WhyFailed::NoPlace,
        WhyFailed::Overturned => shape::WhyFailed::Overturned,
        WhyFailed::Withdrawn => shape::WhyFailed::Withdrawn,
        WhyFailed::CallFailed { error } => shape::WhyFailed::CallFailed { error },
    }
}

/// Call it on the state of a block: it looks the call's bytes up.
fn proposal_shape(view: ProposalView) -> Proposal {
    let bytes = x0_runtime::Preimage::fetch(&view.call, Some(view.call_bytes)).ok().map(|bytes| bytes.into_owned());
    let call = bytes
        .as_deref()
        .and_then(|mut bytes| RuntimeCall::decode_all_with_depth_limit(CALL_DEPTH_MAX, &mut bytes).ok());
    Proposal {
        id: view.proposal,
        track: view.track,
        state: view.state,
        terminal: view.terminal,
        proposer: view.proposer,
        call_hash: view.call,
        call_bytes: view.call_bytes,
        call_name: call.map(|call| call_name(&call)),
        call: bytes.map(HexBytes),
        dry_run: view.dry_run,
        deposit: Amount(view.deposit),
        submitted: Number(view.submitted),
        next: view.next.map(Number),
        ballots: view.ballots.iter().map(ballot_shape).collect(),
        extended: view.extended,
        why: view.why.map(why_shape),
    }
}

fn track_shape(track: TrackId, rules: &pallet::Track) -> Track {
    Track {
        track,
        deposit: Amount(rules.deposit),
        deciding_max: rules.deciding_max,
        prepare_slots: Number(rules.prepare_slots),
        waiting_slots: Number(rules.waiting_slots),
        decide_slots: Number(rules.decide_slots),
        confirm_slots: Number(rules.confirm_slots),
        enact_slots: Number(rules.enact_slots),
        reveal_slots: rules.sealing.map(|sealing| Number(sealing.reveal_slots)),
        envelope: rules.sealing.map(|sealing| sealing.envelope),
    }
}
