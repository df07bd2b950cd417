//! What is true of one deal after every block.

use pallet_x0_escrow::Ledgers;
use x0_accounting::{ladder_share, share_floor, window_end};
use x0_types::{
    Balance,
    deal::{CloseReason, DealState, SlaPolicy, queue_key},
    market::{DealId, DealQueue as _, Meter as _},
};

use crate::{
    Config, Deal, DealsOfNode, Disputes, Ends, Frozen, FundedOf, Leaves, Pallet, Run, Starts, Suspicions,
    invariants::check,
};

impl<T: Config> Pallet<T>
where
    T::AccountId: Ord,
{
    /// I4, I8, I16, I17: an ended deal has disposed of all its money and waits for nothing.
    pub(crate) fn check_terminal(id: DealId, deal: &Deal<T::AccountId>) -> Result<(), String> {
        let (Some(outcome), Some(frozen)) = (&deal.outcome, &deal.frozen) else {
            return Err(format!("I16: deal {id} ended without outcome or reason"));
        };
        let resolved = deal.state == DealState::Resolved && frozen.contested_until.is_some();
        check!(
            resolved || frozen.reason.terminal_state() == deal.state,
            "deal {id} is {:?} for {:?}",
            deal.state,
            frozen.reason
        );
        check!(!T::Queue::is_queued(id), "I9: ended deal {id} is queued");
        let bond = deal.posted_bond();
        let paid: Option<Balance> =
            [outcome.to_provider, outcome.fee, outcome.refund, outcome.slash, outcome.bond_back]
                .into_iter()
                .try_fold(0u128, u128::checked_add);
        check!(paid == deal.deposit.checked_add(bond), "I8: deal {id} paid {paid:?} of {} + {bond}", deal.deposit);
        let counted = frozen.ruling.map_or(0, |ruling| ruling.counted_slots);
        let billed = frozen.good_slots.saturating_add(counted).min(deal.rate.affordable_slots(deal.deposit));
        check!(
            outcome.good_slots == billed && outcome.gross == deal.rate.accrued(deal.deposit, billed),
            "I4: deal {id}: {outcome:?} for {frozen:?}"
        );
        let forgiven = frozen.ruling.is_some_and(|ruling| !ruling.slash);
        let slash = match (frozen.ladder_step, &deal.run) {
            (Some(step), Some(run)) if !forgiven => share_floor(bond, ladder_share(&run.terms.slash_ladder_ppm, step)),
            _ => 0,
        };
        check!(outcome.slash == slash && outcome.compensation <= slash, "I17: deal {id}: {outcome:?}");
        let leaf = Leaves::<T>::get(id).ok_or_else(|| format!("M33: ended deal {id} has no leaf"))?;
        check!(leaf.is_consistent() && leaf.outcome == *outcome, "M33: deal {id}: {leaf:?}");
        check!(!Disputes::<T>::contains_key(id), "ended deal {id} is disputed");
        Self::check_frozen(id, deal, frozen)
    }

    /// I11, I12: amounts follow from slots, and a deal fails only for what lies inside it.
    fn check_frozen(id: DealId, deal: &Deal<T::AccountId>, frozen: &Frozen) -> Result<(), String> {
        check!((frozen.reason == CloseReason::NodeDown) == frozen.evidence.is_some(), "I12: deal {id}: {frozen:?}");
        check!(frozen.reason.is_failure() == frozen.ladder_step.is_some(), "I12: deal {id}: {frozen:?}");
        let counts = frozen.counts;
        let good = counts.slots.saturating_sub(counts.bad).saturating_sub(counts.unknown).saturating_sub(counts.void);
        let reached = frozen.good_slots.saturating_sub(frozen.notice_slots).saturating_add(frozen.forfeited_slots);
        check!(reached <= good, "I11: deal {id} bills {reached} of {good} good slots: {frozen:?}");
        check!(
            frozen.notice_slots == 0 || frozen.reason == CloseReason::CancelledByRenter,
            "deal {id} bills notice for {:?}",
            frozen.reason
        );
        check!(
            frozen.forfeited_slots == 0 || deal.sla.policy == SlaPolicy::ForfeitWindow,
            "deal {id} forfeits slots: {frozen:?}"
        );
        check!(
            frozen.ruling.is_none_or(|ruling| ruling.counted_slots <= counts.unknown),
            "deal {id}: ruling {:?}",
            frozen.ruling
        );
        let Some(run) = &deal.run else { return Ok(()) };
        check!(frozen.slot <= run.end_slot || !frozen.reason.is_failure(), "I12: deal {id} failed after its end");
        check!(
            frozen.marks.excused
                <= x0_accounting::maintenance_credits(u64::MAX, run.terms.maintenance_ppm).min(counts.bad),
            "M24: deal {id}: {:?}",
            frozen.marks
        );
        if let Some(evidence) = &frozen.evidence {
            check!(evidence.is_proven(run.terms.fail_run_slots), "I12: deal {id}: {evidence:?}");
            check!(evidence.since_slot > run.confirmed_slot, "I12: deal {id}: the run began before the deal");
        }
        Ok(())
    }

    /// I2, I9, I14: a live deal's money is held, and it waits exactly where its state says.
    pub(crate) fn check_live(id: DealId, deal: &Deal<T::AccountId>) -> Result<(), String> {
        check!(T::Queue::is_queued(id), "I9: live deal {id} is not queued");
        check!(deal.outcome.is_none(), "deal {id} has an outcome but is {:?}", deal.state);
        let ledger = Ledgers::<T>::get(id).ok_or_else(|| format!("I2: live deal {id} has no ledger"))?;
        check!(
            (&ledger.renter, &ledger.provider, ledger.deposit, ledger.bond, ledger.rate)
                == (&deal.renter, &deal.provider, deal.deposit, deal.posted_bond(), deal.rate),
            "I2: deal {id} and its ledger differ: {deal:?} {ledger:?}"
        );
        check!(FundedOf::<T>::contains_key(deal.source.listing, id) == deal.run.is_none(), "deal {id}: funded index");
        check!(DealsOfNode::<T>::get(&deal.node).contains(&id) == deal.occupies(), "deal {id}: node index");
        check!((deal.state == DealState::Suspect) == Suspicions::<T>::contains_key(id), "deal {id}: suspicion");
        check!(deal.state.is_fixed() == deal.frozen.is_some(), "deal {id}: frozen");
        check!((deal.state == DealState::Funded) == (deal.run.is_none() && deal.frozen.is_none()), "deal {id}: run");
        let dispute = Disputes::<T>::get(id);
        check!((deal.state == DealState::Disputed) == dispute.is_some(), "deal {id}: dispute {dispute:?}");
        let staked = dispute.is_some_and(|dispute| dispute.opened_by.is_some());
        check!(ledger.stake.is_some() == staked, "deal {id}: stake {:?}", ledger.stake);
        let Some(run) = &deal.run else { return Ok(()) };
        check!(run.terms.is_valid() && ledger.fee_ppm == run.terms.fee_ppm, "I14: deal {id}: {run:?} {ledger:?}");
        if let Some(frozen) = &deal.frozen {
            Self::check_frozen(id, deal, frozen)
        } else {
            Self::check_running(id, deal, run)
        }
    }

    /// I9, I10, I11: a running deal counts its slots from its confirmation on and waits for its next
    /// milestone.
    fn check_running(id: DealId, deal: &Deal<T::AccountId>, run: &Run) -> Result<(), String> {
        let noticed = run.notice_slot.is_some();
        check!(
            noticed == (deal.state == DealState::Reclaiming) || deal.state == DealState::Suspect,
            "deal {id}: notice"
        );
        check!(
            noticed || run.end_slot == run.period.since_slot.saturating_add(deal.term_slots),
            "deal {id} ends at another slot than its term: {run:?}"
        );
        let milestone = deal.milestone().unwrap_or_default();
        check!(Ends::<T>::contains_key(queue_key(milestone, id)), "I9: deal {id}: milestone {milestone}");
        check!(
            Starts::<T>::contains_key(queue_key(run.confirmed_slot, id)) == run.start.is_none(),
            "I9: deal {id}: start queue"
        );
        let ledger = Ledgers::<T>::get(id).ok_or_else(|| format!("I2: live deal {id} has no ledger"))?;
        check!(
            ledger.reserve == 0
                || deal.sla.renewal && deal.rate.affordable_slots(deal.deposit) >= run.reachable_slots(),
            "M12: deal {id} has a reserve and may run out: {ledger:?}"
        );
        let Some(start) = &run.start else { return Ok(()) };
        check!(start.closed == run.confirmed_slot, "deal {id} started at {start:?}, confirmed {run:?}");
        let now = T::Meter::counters(&deal.node).ok_or_else(|| format!("deal {id}: node not measured"))?;
        let exceptions = (now.void.checked_sub(start.void))
            .zip(now.bad.checked_sub(start.bad))
            .zip(now.unknown.checked_sub(start.unknown))
            .map(|((void, bad), unknown)| void.saturating_add(bad).saturating_add(unknown));
        let sum = exceptions.map(|exceptions| exceptions.saturating_add(now.good_since(start)));
        check!(sum == now.closed.checked_sub(start.closed), "I11: deal {id}: {start:?} to {now:?}");
        if deal.has_windows() {
            let opened = run
                .window
                .index
                .checked_sub(1)
                .map_or(run.confirmed_slot, |before| window_end(run.confirmed_slot, deal.sla.window_slots, before));
            check!(
                run.window.opened.is_some_and(|counters| counters.closed == opened),
                "deal {id}: window {:?} did not open at {opened}",
                run.window
            );
            check!(run.window.confirmed_good <= now.good_since(start), "deal {id}: {:?} of {now:?}", run.window);
        }
        Ok(())
    }
}
