//! `account_*`: an account's transactions, and what blocks did to its money by themselves, decoded.

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
    chain::{History, HistoryCursor, HistoryEntry, Movement},
    market::PAGE_MAX,
};
use x0_runtime::{Runtime, RuntimeCall, RuntimeEvent};
use x0_types::{AccountId, Hash};

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
        if let Some(entry) = entry(node, &who, (block, index), known)? {
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
fn entry(
    node: &Node,
    who: &AccountId,
    (block, index): (u32, u32),
    outcomes: Option<&Outcomes>,
) -> RpcResult<Option<HistoryEntry>> {
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
    // No account sends the timestamp: it stands for the block's own doing.
    let is_block = matches!(extrinsic.preamble, Preamble::Bare(_));
    Ok(Some(HistoryEntry {
        block,
        block_hash,
        index,
        timestamp_ms: timestamp(&body, outcomes),
        hash: (!is_block).then(|| Hash::from(x0_crypto::blake2b_256(bytes))),
        signer,
        call: (!is_block).then(|| call_name(&extrinsic.function)),
        success: outcome.as_ref().map(|outcome| outcome.error.is_none()),
        error: outcome.as_ref().and_then(|outcome| outcome.error.clone()),
        fee: outcome.and_then(|outcome| outcome.fee).map(Amount),
        money: outcomes.map(|outcomes| money(&outcomes.events, index, who)),
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
pub(crate) fn call_name(call: &RuntimeCall) -> String {
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

/// Whether an event belongs to a transaction; what the block does by itself belongs to its first one.
fn belongs(phase: &Phase, index: u32) -> bool {
    match phase {
        Phase::ApplyExtrinsic(place) => *place == index,
        Phase::Initialization | Phase::Finalization => index == 0,
    }
}

/// The movements of an account's money, by the events under which the index lists the account.
fn money(events: &[EventRecord<RuntimeEvent, Hash>], index: u32, who: &AccountId) -> Vec<Movement> {
    events
        .iter()
        .filter(|record| belongs(&record.phase, index))
        .filter_map(|record| match &record.event {
            RuntimeEvent::Balances(event) => movement(event),
            _ => None,
        })
        .filter(|movement| movement.from == *who || movement.to.as_ref() == Some(who))
        .collect()
}

fn movement(event: &pallet_balances::Event<Runtime>) -> Option<Movement> {
    use pallet_balances::Event;
    let (kind, from, to, amount, reason) = match event {
        Event::Transfer { from, to, amount } => ("Transfer", from, Some(to), amount, None),
        Event::TransferOnHold { reason, source, dest, amount } => {
            ("TransferOnHold", source, Some(dest), amount, Some(reason))
        }
        Event::TransferAndHold { reason, source, dest, transferred } => {
            ("TransferAndHold", source, Some(dest), transferred, Some(reason))
        }
        Event::Released { reason, who, amount } => ("Released", who, Some(who), amount, Some(reason)),
        Event::Slashed { who, amount } => ("Slashed", who, None, amount, None),
        Event::BurnedHeld { reason, who, amount } => ("BurnedHeld", who, None, amount, Some(reason)),
        _ => return None,
    };
    Some(Movement {
        kind: kind.to_owned(),
        from: from.clone(),
        to: to.cloned(),
        amount: Amount(*amount),
        // The runtime's enum of reasons writes itself as `Pallet(Reason)`.
        reason: reason.map(|reason| format!("{reason:?}").replace('(', ".").replace(')', "")),
    })
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
    use pallet_balances::Event;
    use pallet_x0_escrow::HoldReason;
    use sp_runtime::ModuleError;
    use x0_runtime::RuntimeHoldReason;

    #[test]
    fn what_the_block_pays_out_by_itself_is_told_with_amounts_and_reasons() {
        let (renter, provider) = (AccountId::new([1; 32]), AccountId::new([2; 32]));
        let reason = RuntimeHoldReason::Escrow(HoldReason::DealEscrow);
        let record = |phase, event| EventRecord { phase, event: RuntimeEvent::Balances(event), topics: vec![] };
        let payout = Event::TransferOnHold { reason, source: renter.clone(), dest: provider.clone(), amount: 7 };
        let events = [
            record(Phase::Initialization, Event::Released { reason, who: renter.clone(), amount: 93 }),
            record(Phase::Initialization, payout),
            record(Phase::ApplyExtrinsic(1), Event::Transfer { from: provider.clone(), to: renter.clone(), amount: 5 }),
            record(Phase::ApplyExtrinsic(1), Event::Withdraw { who: provider.clone(), amount: 1 }),
        ];
        let shown = |index, who| {
            money(&events, index, who)
                .into_iter()
                .map(|movement| (movement.kind, movement.amount.0, movement.reason))
                .collect::<Vec<_>>()
        };
        let held_for = Some("Escrow.DealEscrow".to_owned());
        let out = ("TransferOnHold".to_owned(), 7, held_for.clone());
        assert_eq!(shown(0, &renter), [("Released".to_owned(), 93, held_for), out.clone()]);
        assert_eq!(shown(0, &provider), [out]);
        assert_eq!(shown(1, &provider), [("Transfer".to_owned(), 5, None)], "fees stand beside");
    }

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
