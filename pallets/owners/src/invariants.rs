//! What must hold after every block.

use crate::{
    Attestations, Clock, Config, Counts, HoldReason, Motions, NextMotion, NextOwner, OpenMotions, OwnerOf, Owners,
    Pallet, VoterCounts,
};
use frame_support::traits::fungible::InspectHold;
use std::collections::{BTreeMap, BTreeSet};
use x0_types::{AccountId, Balance, market::Meter};

impl<T: Config> Pallet<T> {
    /// Checks every rule that the storage of this module keeps. Reads all of it: for tests and for
    /// try-runtime, never inside a block.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn check_invariants() -> Result<(), &'static str> {
        let clock = Clock::<T>::get();
        if clock.start > T::Meter::current_slot() || !Self::is_epoch_length(clock.slots) {
            return Err("owners: the clock stands in the future or has no length");
        }
        let mut held: BTreeMap<AccountId, Balance> = BTreeMap::new();
        let mut counts = Counts::default();
        let mut accounts = 0usize;
        for (number, owner) in Owners::<T>::iter() {
            if number >= NextOwner::<T>::get() {
                return Err("owners: an owner of the future");
            }
            if owner.accounts.is_empty() || owner.accounts.iter().any(|one| OwnerOf::<T>::get(one) != Some(number)) {
                return Err("owners: an account does not belong to its owner");
            }
            accounts = accounts.saturating_add(owner.accounts.len());
            if owner.revoked.is_some() && owner.deposit != 0 {
                return Err("owners: a revoked owner's deposit is held");
            }
            if owner.revoked.is_none() {
                let place = match owner.eligible_from.saturating_sub(clock.index) {
                    0 => &mut counts.now,
                    1 => &mut counts.next,
                    _ => &mut counts.after_next,
                };
                *place = place.saturating_add(1);
            }
            let sum = held.entry(owner.payer).or_default();
            *sum = sum.saturating_add(owner.deposit);
        }
        if OwnerOf::<T>::iter_keys().count() != accounts {
            return Err("owners: an account of nobody");
        }
        if VoterCounts::<T>::get() != counts {
            return Err("owners: voters are miscounted");
        }
        Self::check_motions(&mut held)?;
        let reason = HoldReason::Owner.into();
        if held.iter().any(|(who, sum)| T::Currency::balance_on_hold(&reason, who) != *sum) {
            return Err("owners: deposits on hold differ from the entries they stand for");
        }
        Ok(())
    }

    fn check_motions(held: &mut BTreeMap<AccountId, Balance>) -> Result<(), &'static str> {
        let open = OpenMotions::<T>::get();
        if !open.windows(2).all(|pair| matches!(pair, [a, b] if a.number < b.number && a.expires_at <= b.expires_at)) {
            return Err("owners: open motions are out of order");
        }
        if Motions::<T>::iter_keys().count() != open.len() {
            return Err("owners: the open motions are not the listed ones");
        }
        if Attestations::<T>::iter_keys().any(|number| !Motions::<T>::contains_key(number)) {
            return Err("owners: attestations of no motion");
        }
        for entry in &open {
            let motion = Motions::<T>::get(entry.number).ok_or("owners: a listed motion is not open")?;
            if entry.number >= NextMotion::<T>::get() || motion.expires_at != entry.expires_at {
                return Err("owners: a motion differs from its entry");
            }
            if Self::digest_of(entry.number, &motion.kind, &motion.evidence) != motion.digest {
                return Err("owners: a motion's digest is another's");
            }
            let attested = Attestations::<T>::get(entry.number);
            if attested.iter().collect::<BTreeSet<_>>().len() != attested.len() {
                return Err("owners: a validator attested twice");
            }
            let sum = held.entry(motion.opener).or_default();
            *sum = sum.saturating_add(motion.deposit);
        }
        Ok(())
    }
}
