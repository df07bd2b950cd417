//! Auditors: their bonds, their words, and what happens when they contradict each other.

use frame_support::{
    dispatch::DispatchResult,
    ensure,
    traits::{
        Get as _,
        fungible::{InspectHold as _, MutateHold as _},
        tokens::{Fortitude, Precision, Restriction},
    },
};
use sp_core::H256;
use sp_runtime::traits::AccountIdConversion as _;
use x0_types::{
    AccountId, Balance,
    deal::{queue_key, split_queue_key},
    market::{Identities as _, Meter as _, Slot},
};

use crate::{
    Auditors, AuditsOf, Config, ConflictEnds, Conflicts, Error, Event, HoldReason, NextConflict, Pallet, Standings,
    types::{Attestation, Audit, Auditor, Conflict, Entry},
};

/// Tiers by which two auditors may differ without contradicting each other.
const TIER_TOLERANCE: u8 = 1;

impl<AccountId> Audit<AccountId> {
    /// Whether the word's time is over.
    pub(crate) const fn is_old(&self, now: Slot) -> bool {
        now.saturating_sub(self.slot) > x0_limits::AUDIT_LIFE_SLOTS
    }

    /// Whether it speaks of what the node attested.
    fn speaks_of(&self, attestation: &Attestation) -> bool {
        self.measurement == attestation.measurement && self.quote == attestation.quote
    }
}

impl<T: Config> Pallet<T> {
    /// Whether an auditor's words count.
    fn counts(auditor: &Auditor) -> bool {
        !auditor.dismissed && auditor.conflicts == 0 && auditor.bond >= T::AuditorBondMin::get()
    }

    /// The highest tier that auditors give to what a node attested; 0 without any.
    pub(crate) fn audited_tier(node: &AccountId, attestation: &Attestation, now: Slot) -> u8 {
        AuditsOf::<T>::get(node)
            .iter()
            .filter(|audit| !audit.void && !audit.is_old(now) && audit.speaks_of(attestation))
            .filter(|audit| Auditors::<T>::get(&audit.auditor).is_some_and(|auditor| Self::counts(&auditor)))
            .map(|audit| audit.tier)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn do_admit_auditor(auditor: AccountId) -> DispatchResult {
        match Auditors::<T>::get(&auditor) {
            Some(known) => {
                ensure!(known.dismissed, Error::<T>::AlreadyAuditor);
                Auditors::<T>::insert(&auditor, Auditor { dismissed: false, ..known });
            }
            None => {
                ensure!(Auditors::<T>::count() < x0_limits::AUDITORS_MAX, Error::<T>::TooManyAuditors);
                Auditors::<T>::insert(&auditor, Auditor { bond: 0, conflicts: 0, audits: 0, dismissed: false });
            }
        }
        Self::deposit_event(Event::AuditorAdmitted { auditor });
        Ok(())
    }

    pub(crate) fn do_bond_auditor(auditor: AccountId, amount: Balance) -> DispatchResult {
        let mut record = Auditors::<T>::get(&auditor).ok_or(Error::<T>::NotAuditor)?;
        ensure!(!record.dismissed, Error::<T>::NotAuditor);
        let bond = record.bond.checked_add(amount).ok_or(Error::<T>::Overflow)?;
        ensure!(bond >= T::AuditorBondMin::get(), Error::<T>::BondTooSmall);
        T::Currency::hold(&HoldReason::AuditorBond.into(), &auditor, amount).map_err(|_| Error::<T>::BondNotCovered)?;
        record.bond = bond;
        Auditors::<T>::insert(&auditor, record);
        Self::deposit_event(Event::AuditorBonded { auditor, bond });
        Ok(())
    }

    pub(crate) fn do_audit(
        auditor: AccountId,
        node: AccountId,
        tier: u8,
        measurement: H256,
        quote: Option<H256>,
        evidence: H256,
    ) -> DispatchResult {
        ensure!((1..=x0_limits::AUDIT_TIER_MAX).contains(&tier), Error::<T>::InvalidTier);
        let mut record = Auditors::<T>::get(&auditor).ok_or(Error::<T>::NotAuditor)?;
        ensure!(!record.dismissed, Error::<T>::NotAuditor);
        ensure!(record.conflicts == 0, Error::<T>::BondFrozen);
        ensure!(record.bond >= T::AuditorBondMin::get(), Error::<T>::BondTooSmall);
        let controller = T::Identities::controller(&node);
        ensure!(auditor != node && controller.as_ref() != Some(&auditor), Error::<T>::OwnNode);
        let standing = Standings::<T>::get(&node).ok_or(Error::<T>::NotMeasured)?;
        let attestation = standing.attestation.ok_or(Error::<T>::OtherBinary)?;
        let slot = T::Meter::current_slot();
        let audit = Audit { auditor: auditor.clone(), tier, measurement, quote, evidence, slot, void: false };
        ensure!(audit.speaks_of(&attestation), Error::<T>::OtherBinary);
        Self::forget_old_audits(&node);
        let mut audits = AuditsOf::<T>::get(&node);
        match audits.iter().position(|earlier| earlier.auditor == auditor) {
            Some(place) => {
                audits.remove(place);
            }
            None => {
                record = Auditors::<T>::get(&auditor).ok_or(Error::<T>::NotAuditor)?;
                record.audits = record.audits.checked_add(1).ok_or(Error::<T>::Overflow)?;
                Auditors::<T>::insert(&auditor, record);
            }
        }
        audits.try_push(audit).map_err(|_| Error::<T>::TooManyAudits)?;
        Self::log(&node, Entry::Audited, evidence);
        Self::deposit_event(Event::Audited { node: node.clone(), auditor, tier, evidence });
        if let Some(pair) = contradiction(&audits, &attestation) {
            Self::begin_conflict(&node, &mut audits, pair)?;
        }
        AuditsOf::<T>::insert(&node, audits);
        Ok(())
    }

    /// Voids two words about a node and freezes their auditors' bonds.
    fn begin_conflict(
        node: &AccountId,
        audits: &mut crate::types::Audits<AccountId>,
        pair: [usize; 2],
    ) -> DispatchResult {
        let mut parties = Vec::with_capacity(2);
        for place in pair {
            let audit = audits.get_mut(place).ok_or(Error::<T>::UnknownAudit)?;
            audit.void = true;
            parties.push((audit.auditor.clone(), audit.tier));
            Auditors::<T>::try_mutate(&audit.auditor, |record| {
                let record = record.as_mut().ok_or(Error::<T>::NotAuditor)?;
                record.conflicts = record.conflicts.checked_add(1).ok_or(Error::<T>::Overflow)?;
                Ok::<_, Error<T>>(())
            })?;
        }
        let [(first, first_tier), (second, second_tier)] =
            <[_; 2]>::try_from(parties).map_err(|_| Error::<T>::UnknownAudit)?;
        let conflict = NextConflict::<T>::get();
        NextConflict::<T>::put(conflict.checked_add(1).ok_or(Error::<T>::Overflow)?);
        let until_slot = T::Meter::current_slot().saturating_add(x0_limits::AUDIT_CONFLICT_SLOTS);
        let (auditors, tiers) = ([first, second], [first_tier, second_tier]);
        ConflictEnds::<T>::insert(queue_key(until_slot, conflict), ());
        Conflicts::<T>::insert(
            conflict,
            Conflict { node: node.clone(), auditors: auditors.clone(), tiers, until_slot },
        );
        Self::log(node, Entry::AuditsVoid, H256::from_low_u64_be(conflict));
        Self::deposit_event(Event::AuditsConflict { conflict, node: node.clone(), auditors, tiers });
        Ok(())
    }

    pub(crate) fn do_withdraw_audit(auditor: &AccountId, node: &AccountId) -> DispatchResult {
        let record = Auditors::<T>::get(auditor).ok_or(Error::<T>::NotAuditor)?;
        ensure!(record.conflicts == 0, Error::<T>::BondFrozen);
        let mut audits = AuditsOf::<T>::get(node);
        let place = audits.iter().position(|audit| audit.auditor == *auditor).ok_or(Error::<T>::UnknownAudit)?;
        audits.remove(place);
        Self::put_audits(node, audits);
        Self::drop_audit_of(auditor);
        Ok(())
    }

    /// Drops the words about a node whose time is over, unless a conflict still needs their auditor.
    pub(crate) fn forget_old_audits(node: &AccountId) {
        let now = T::Meter::current_slot();
        let mut audits = AuditsOf::<T>::get(node);
        let old: Vec<_> = audits.iter().filter(|audit| audit.is_old(now)).map(|audit| audit.auditor.clone()).collect();
        if old.is_empty() {
            return;
        }
        audits.retain(|audit| !audit.is_old(now));
        Self::put_audits(node, audits);
        for auditor in &old {
            Self::drop_audit_of(auditor);
        }
    }

    fn put_audits(node: &AccountId, audits: crate::types::Audits<AccountId>) {
        if audits.is_empty() {
            AuditsOf::<T>::remove(node);
        } else {
            AuditsOf::<T>::insert(node, audits);
        }
    }

    fn drop_audit_of(auditor: &AccountId) {
        Auditors::<T>::mutate(auditor, |record| {
            if let Some(record) = record {
                record.audits = record.audits.saturating_sub(1);
            }
        });
    }

    pub(crate) fn do_retire_auditor(auditor: AccountId) -> DispatchResult {
        let record = Auditors::<T>::get(&auditor).ok_or(Error::<T>::NotAuditor)?;
        ensure!(record.conflicts == 0, Error::<T>::BondFrozen);
        ensure!(record.audits == 0, Error::<T>::AuditsStand);
        T::Currency::release(&HoldReason::AuditorBond.into(), &auditor, record.bond, Precision::Exact)?;
        Auditors::<T>::remove(&auditor);
        Self::deposit_event(Event::AuditorRetired { auditor, bond: record.bond });
        Ok(())
    }

    pub(crate) fn do_dismiss_auditor(auditor: AccountId) -> DispatchResult {
        Auditors::<T>::try_mutate(&auditor, |record| {
            let record = record.as_mut().filter(|record| !record.dismissed).ok_or(Error::<T>::NotAuditor)?;
            record.dismissed = true;
            Ok::<_, Error<T>>(())
        })?;
        Self::deposit_event(Event::AuditorDismissed { auditor });
        Ok(())
    }

    pub(crate) fn do_resolve(number: u64, wrong: Option<AccountId>) -> DispatchResult {
        let conflict = Conflicts::<T>::get(number).ok_or(Error::<T>::UnknownConflict)?;
        let mut lost = 0;
        if let Some(wrong) = &wrong {
            ensure!(conflict.auditors.contains(wrong), Error::<T>::NotInConflict);
            let mut record = Auditors::<T>::get(wrong).ok_or(Error::<T>::NotAuditor)?;
            let treasury: AccountId = T::TreasuryId::get().into_account_truncating();
            let reason = HoldReason::AuditorBond.into();
            lost = T::Currency::balance_on_hold(&reason, wrong).min(record.bond);
            T::Currency::transfer_on_hold(
                &reason,
                wrong,
                &treasury,
                lost,
                Precision::Exact,
                Restriction::Free,
                Fortitude::Force,
            )?;
            record.bond = record.bond.checked_sub(lost).ok_or(Error::<T>::Overflow)?;
            record.dismissed = true;
            Auditors::<T>::insert(wrong, record);
        }
        Self::close_conflict(number, &conflict);
        Self::deposit_event(Event::ConflictResolved { conflict: number, wrong, lost });
        Ok(())
    }

    /// Frees both auditors. Their words stay void: whoever still means it says it again.
    fn close_conflict(number: u64, conflict: &Conflict<AccountId>) {
        for auditor in &conflict.auditors {
            Auditors::<T>::mutate(auditor, |record| {
                if let Some(record) = record {
                    record.conflicts = record.conflicts.saturating_sub(1);
                }
            });
        }
        Conflicts::<T>::remove(number);
        ConflictEnds::<T>::remove(queue_key(conflict.until_slot, number));
    }

    /// Ends conflicts whose time is over, the oldest first. Returns how many.
    pub(crate) fn end_conflicts() -> u32 {
        let now = T::Meter::current_slot();
        let mut ended = 0;
        while ended < x0_limits::AUDIT_CONFLICTS_PER_BLOCK {
            let Some(key) = ConflictEnds::<T>::iter_keys().next() else { break };
            let (slot, number) = split_queue_key(key);
            if slot > now {
                break;
            }
            ended = ended.saturating_add(1);
            ConflictEnds::<T>::remove(key);
            if let Some(conflict) = Conflicts::<T>::get(number) {
                Self::close_conflict(number, &conflict);
                Self::deposit_event(Event::ConflictResolved { conflict: number, wrong: None, lost: 0 });
            }
        }
        ended
    }
}

/// The last word and the first one about the same binary that contradicts it.
fn contradiction(audits: &[Audit<AccountId>], attestation: &Attestation) -> Option<[usize; 2]> {
    let (last, earlier) = audits.split_last()?;
    let place = earlier.iter().position(|audit| {
        !audit.void && audit.speaks_of(attestation) && audit.tier.abs_diff(last.tier) > TIER_TOLERANCE
    })?;
    Some([place, earlier.len()])
}
