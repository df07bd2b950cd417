//! Reports in two steps: commit to one, then show it.

use crate::{Commitment, Commitments, Config, Error, Event, NextIndex, OpenSlot, OpenSlots, Pallet, Report, Reports};
use frame_support::{ensure, traits::Time};
use sp_runtime::DispatchError;
use x0_types::{AccountId, Hash, market::Slot, receipt::report_commitment};

impl<T: Config> Pallet<T> {
    /// Takes in a commitment.
    pub(crate) fn do_commit(reporter: &AccountId, slot: Slot, hash: Hash) -> Result<(), DispatchError> {
        let validator = Self::validator_of(reporter).ok_or(Error::<T>::UnknownReporter)?;
        ensure!(slot <= Self::slot_of(T::Time::now()), Error::<T>::SlotInFuture);
        let known = Commitments::<T>::contains_key(slot, &validator) || Reports::<T>::contains_key(slot, &validator);
        ensure!(!known, Error::<T>::AlreadyReported);
        ensure!(Self::takes_commitments(slot), Error::<T>::SlotTooOld);
        OpenSlots::<T>::try_mutate(|slots| {
            match slots.binary_search_by_key(&slot, |open| open.slot) {
                Ok(place) => {
                    if let Some(open) = slots.get_mut(place) {
                        open.commits = open.commits.saturating_add(1);
                    }
                }
                Err(place) => {
                    let open = OpenSlot { slot, commits: 1, reveals: 0, revealing: None };
                    slots.try_insert(place, open).map_err(|_| Error::<T>::TooManyOpenSlots)?;
                }
            }
            Ok::<(), Error<T>>(())
        })?;
        Commitments::<T>::insert(slot, &validator, Commitment { hash, mismatched: false });
        Self::deposit_event(Event::Committed { slot, validator });
        Ok(())
    }

    /// Takes in a report; says whether it is the one that was committed to.
    pub(crate) fn do_reveal(
        reporter: &AccountId,
        slot: Slot,
        report: Report,
        salt: &[u8; 32],
    ) -> Result<bool, DispatchError> {
        let validator = Self::validator_of(reporter).ok_or(Error::<T>::UnknownReporter)?;
        ensure!(!Reports::<T>::contains_key(slot, &validator), Error::<T>::AlreadyReported);
        let mut commitment = Commitments::<T>::get(slot, &validator).ok_or(Error::<T>::NotCommitted)?;
        let mut slots = OpenSlots::<T>::get();
        let open = slots.iter_mut().find(|open| open.slot == slot).filter(|open| open.revealing.is_some());
        let open = open.ok_or(Error::<T>::NotRevealing)?;
        let bytes_max = NextIndex::<T>::get().div_ceil(4);
        ensure!(u32::try_from(report.observations.len()).is_ok_and(|len| len <= bytes_max), Error::<T>::ReportTooLong);
        let Report { observations, receipts_root } = &report;
        if report_commitment(&validator, slot, observations, receipts_root, salt) != commitment.hash {
            // Not an error, which would undo the note.
            commitment.mismatched = true;
            Commitments::<T>::insert(slot, &validator, commitment);
            Self::deposit_event(Event::Mismatched { slot, validator });
            return Ok(false);
        }
        open.reveals = open.reveals.saturating_add(1);
        OpenSlots::<T>::put(slots);
        Commitments::<T>::remove(slot, &validator);
        let receipts_root = *receipts_root;
        Reports::<T>::insert(slot, &validator, report);
        Self::deposit_event(Event::Reported { slot, validator, receipts_root });
        Ok(true)
    }
}
