//! Announced maintenance: DOWN slots that a provider said beforehand count neither towards a failure
//! nor against a window, up to a share of the deal. They are not billed either.

use frame_support::ensure;
use sp_runtime::DispatchResult;
use x0_accounting::{maintenance_credits, window_index};
use x0_types::market::{DealId, ListingId, Meter as _, Slot};

use crate::{Calendars, Config, Deal, Error, Event, Maintenance, MarksOf, Pallet};

impl<T: Config> Pallet<T> {
    /// Announces a stretch of slots, at least [`x0_limits::MAINTENANCE_LEAD_SLOTS`] ahead.
    pub(crate) fn do_announce(provider: &T::AccountId, id: ListingId, from_slot: Slot, slots: Slot) -> DispatchResult {
        let listing = Self::listing_of(provider, id)?;
        let current = T::Meter::current_slot();
        let ahead = x0_limits::MAINTENANCE_LEAD_SLOTS..=x0_limits::MAINTENANCE_AHEAD_SLOTS_MAX;
        ensure!(
            from_slot.checked_sub(current).is_some_and(|lead| ahead.contains(&lead))
                && (1..=x0_limits::MAINTENANCE_SLOTS_MAX).contains(&slots),
            Error::<T>::InvalidMaintenance
        );
        let to_slot = from_slot.saturating_add(slots.saturating_sub(1));
        Calendars::<T>::try_mutate(&listing.node, |calendar| {
            // Verdicts on slots that are not closed may still ask for what is past.
            let closed = T::Meter::closed_slot();
            calendar.retain(|entry| entry.to_slot > closed);
            let overlaps = calendar.iter().any(|entry| from_slot <= entry.to_slot && entry.from_slot <= to_slot);
            ensure!(!overlaps, Error::<T>::InvalidMaintenance);
            calendar.try_push(Maintenance { from_slot, to_slot }).map_err(|_| Error::<T>::TooMuchMaintenance)
        })?;
        Self::deposit_event(Event::MaintenanceAnnounced { listing: id, node: listing.node, from_slot, to_slot });
        Ok(())
    }

    /// Takes an announcement back before it begins.
    pub(crate) fn do_withdraw_maintenance(provider: &T::AccountId, id: ListingId, from_slot: Slot) -> DispatchResult {
        let listing = Self::listing_of(provider, id)?;
        ensure!(from_slot > T::Meter::current_slot(), Error::<T>::InvalidMaintenance);
        Calendars::<T>::try_mutate_exists(&listing.node, |slot| {
            let mut calendar = slot.take().unwrap_or_default();
            let before = calendar.len();
            calendar.retain(|entry| entry.from_slot != from_slot);
            ensure!(calendar.len() < before, Error::<T>::InvalidMaintenance);
            *slot = (!calendar.is_empty()).then_some(calendar);
            Ok::<_, Error<T>>(())
        })?;
        Self::deposit_event(Event::MaintenanceWithdrawn { listing: id, node: listing.node, from_slot });
        Ok(())
    }

    /// Whether maintenance of a node is announced for a slot.
    #[must_use]
    pub fn in_maintenance(node: &T::AccountId, slot: Slot) -> bool {
        Calendars::<T>::get(node).iter().any(|entry| (entry.from_slot..=entry.to_slot).contains(&slot))
    }

    /// Spends one of the deal's credits on a DOWN slot in announced maintenance; says whether it had
    /// one.
    pub(crate) fn excuse(id: DealId, deal: &Deal<T::AccountId>, slot: Slot) -> bool {
        let Some(run) = &deal.run else { return false };
        let credits = maintenance_credits(run.end_slot.saturating_sub(run.confirmed_slot), run.terms.maintenance_ppm);
        let mut marks = MarksOf::<T>::get(id);
        if marks.excused >= credits {
            return false;
        }
        marks.excuse(window_index(run.confirmed_slot, deal.sla.window_slots, slot));
        Self::deposit_event(Event::SlotExcused { deal: id, slot, left: credits.saturating_sub(marks.excused) });
        MarksOf::<T>::insert(id, marks);
        true
    }
}
