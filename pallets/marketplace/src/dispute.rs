//! Disputes: what happens to a deal whose record is contested.
//!
//! ```text
//!   Frozen, contested --good slots paid at once--> waits one dispute window --nobody disputes--> as recorded
//!        |                                             |
//!        | CONFLICT slots in a row                     | dispute(), with a stake
//!        v                                             v
//!     Disputed <---------------------------------------+
//!        |  2/3 of the validators' heads agree --> as ruled      (Resolved)
//!        |  deadline                           --> as recorded   (Resolved)
//! ```

use frame_support::{ensure, traits::Get as _};
use pallet_x0_escrow::Ledgers;
use sp_runtime::{DispatchError, DispatchResult};
use x0_accounting::share_ceil;
use x0_types::{
    Balance,
    deal::DealState,
    governance::OwnerRegistry as _,
    market::{DealId, DealProgress, DealQueue as _, Meter as _, Slot, ValidatorSet as _},
};

use crate::{Config, Deal, Deals, Dispute, Disputes, Error, Event, Pallet, Ruling};

type Escrow<T> = pallet_x0_escrow::Pallet<T>;

impl<T: Config> Pallet<T> {
    /// Opens a dispute without a stake when the validators contradicted one another for long: the record
    /// itself says that it is in doubt.
    pub(crate) fn open_by_record(id: DealId, deal: &mut Deal<T::AccountId>) {
        let (Some(frozen), Some(run)) = (&deal.frozen, &deal.run) else { return };
        let Some(deadline_slot) = frozen.contested_until else { return };
        if frozen.marks.conflict_longest < run.terms.conflict_run_slots {
            return;
        }
        let opened_slot = frozen.slot;
        deal.state = DealState::Disputed;
        Disputes::<T>::insert(id, Dispute { opened_by: None, opened_slot, deadline_slot, votes: Default::default() });
        Self::deposit_event(Event::DealDisputed { deal: id, opened_by: None, deadline_slot });
    }

    /// The renter or the provider does not accept the record of a contested deal.
    pub(crate) fn do_dispute(who: &T::AccountId, id: DealId) -> DispatchResult {
        let mut deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        let by_renter = *who == deal.renter;
        ensure!(by_renter || *who == deal.provider, Error::<T>::NotParty);
        let (Some(frozen), Some(run)) = (&deal.frozen, &deal.run) else { return Err(Error::<T>::NotContested.into()) };
        let until = frozen.contested_until.ok_or(Error::<T>::NotContested)?;
        let current = T::Meter::current_slot();
        ensure!(deal.state == DealState::Frozen && current <= until, Error::<T>::NotContested);
        let deadline_slot = current.checked_add(run.terms.ruling_slots).ok_or(Error::<T>::Overflow)?;
        Escrow::<T>::stake(id, by_renter, Self::stake_for(&deal))?;
        let opened_by = Some(who.clone());
        deal.state = DealState::Disputed;
        Deals::<T>::insert(id, deal);
        Disputes::<T>::insert(
            id,
            Dispute { opened_by: opened_by.clone(), opened_slot: current, deadline_slot, votes: Default::default() },
        );
        // A deal whose good slots are not paid yet keeps its place in the next block.
        if Deals::<T>::get(id).is_some_and(|deal| deal.frozen.is_some_and(|frozen| frozen.is_part_paid)) {
            T::Queue::wake_at_slot(id, deadline_slot.saturating_add(1));
        }
        Self::deposit_event(Event::DealDisputed { deal: id, opened_by, deadline_slot });
        Ok(())
    }

    /// What a party puts up to dispute a deal: a share of what its contested slots are worth, ceiled, and
    /// at least what its record in state costs.
    #[must_use]
    pub fn stake_for(deal: &Deal<T::AccountId>) -> Balance {
        let Some(frozen) = &deal.frozen else { return 0 };
        let all = frozen.good_slots.saturating_add(frozen.counts.unknown);
        let worth = deal.rate.accrued(deal.deposit, all);
        let worth = worth.saturating_sub(deal.rate.accrued(deal.deposit, frozen.good_slots));
        share_ceil(worth, x0_limits::DISPUTE_BOND_PPM).max(T::DealDepositMin::get())
    }

    /// A validator says how a disputed deal is to be paid; its last word counts. Two thirds of the heads
    /// with the same word decide, and the next block pays. Those who share an owner with a party have
    /// no word.
    pub(crate) fn do_rule(validator: &T::AccountId, id: DealId, ruling: Ruling) -> DispatchResult {
        let mut deal = Deals::<T>::get(id).ok_or(Error::<T>::UnknownDeal)?;
        let mut dispute = Disputes::<T>::get(id).ok_or(Error::<T>::NotDisputed)?;
        let heads = Self::judges(&deal);
        ensure!(heads.contains(validator), Error::<T>::NotJudge);
        let frozen = deal.frozen.as_mut().ok_or(Error::<T>::NotDisputed)?;
        ensure!(frozen.ruling.is_none() && T::Meter::current_slot() <= dispute.deadline_slot, Error::<T>::NotDisputed);
        ensure!(
            ruling.counted_slots <= frozen.counts.unknown && (!ruling.slash || frozen.ladder_step.is_some()),
            Error::<T>::InvalidRuling
        );
        dispute.votes.retain(|(voter, _)| voter != validator && heads.contains(voter));
        dispute.votes.try_push((validator.clone(), ruling)).map_err(|_| Error::<T>::NotJudge)?;
        let same = dispute.votes.iter().filter(|(_, vote)| *vote == ruling).count();
        Disputes::<T>::insert(id, dispute);
        Self::deposit_event(Event::RulingGiven { deal: id, validator: validator.clone(), ruling });
        if same.saturating_mul(3) >= heads.len().saturating_mul(2) {
            frozen.ruling = Some(ruling);
            Deals::<T>::insert(id, deal);
            T::Queue::wake_next_block(id);
            Self::deposit_event(Event::DealRuled { deal: id, ruling });
        }
        Ok(())
    }

    /// The validators that may rule on a deal.
    fn judges(deal: &Deal<T::AccountId>) -> Vec<T::AccountId> {
        T::Validators::current()
            .into_iter()
            .map(|(head, _)| head)
            .filter(|head| !T::Owners::same_owner(head, &deal.renter) && !T::Owners::same_owner(head, &deal.provider))
            .collect()
    }

    /// The last slot in which a fixed deal waits; `None` when it can be paid.
    pub(crate) fn waits_until(id: DealId, deal: &Deal<T::AccountId>) -> Option<Slot> {
        let frozen = deal.frozen.as_ref().filter(|frozen| frozen.ruling.is_none())?;
        let until = match deal.state {
            DealState::Disputed => Disputes::<T>::get(id)?.deadline_slot,
            _ => frozen.contested_until?,
        };
        (T::Meter::current_slot() <= until).then_some(until)
    }

    /// Pays what nobody disputes, the good slots, and frees the capacity: the node serves others while
    /// the rest waits.
    pub(crate) fn pay_undisputed(id: DealId, mut deal: Deal<T::AccountId>) -> DispatchResult {
        let Some(frozen) = deal.frozen.as_mut().filter(|frozen| !frozen.is_part_paid) else {
            Deals::<T>::insert(id, deal);
            return Ok(());
        };
        Escrow::<T>::accrue(id, frozen.good_slots)?;
        frozen.is_part_paid = true;
        let until = Disputes::<T>::get(id).map(|dispute| dispute.deadline_slot).or(frozen.contested_until);
        Self::give_back(id, &deal)?;
        let held = Ledgers::<T>::get(id).map_or(0, |ledger| ledger.deposit.saturating_sub(ledger.gross_paid));
        Deals::<T>::insert(id, deal);
        Self::deposit_event(Event::DealContested { deal: id, held, until_slot: until.unwrap_or_default() });
        Ok(())
    }

    /// The janitor's work on a deal whose amounts are fixed.
    pub(crate) fn work_fixed(id: DealId, deal: Deal<T::AccountId>) -> Result<DealProgress, DispatchError> {
        let Some(until) = Self::waits_until(id, &deal) else {
            Self::conclude(id, deal)?;
            return Ok(DealProgress::Terminal);
        };
        Self::pay_undisputed(id, deal)?;
        Ok(DealProgress::NotBefore(until.saturating_add(1)))
    }
}
