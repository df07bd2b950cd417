//! Service windows and the other rules that count slots of a deal.

use core::cmp::Ordering;

use crate::{Amount, PPM, Rate, Slots, cmp_products, mul_div_floor};

/// What became of a stretch of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSums {
    /// All of them.
    pub slots: Slots,
    /// DOWN.
    pub bad: Slots,
    /// UNKNOWN or CONFLICT.
    pub unknown: Slots,
    /// VOID for all nodes.
    pub void: Slots,
}

impl SlotSums {
    /// The slots that were none of the exceptions; never below zero.
    #[must_use]
    pub const fn good(&self) -> Slots {
        self.slots.saturating_sub(self.bad).saturating_sub(self.unknown).saturating_sub(self.void)
    }
}

/// The number of the window in which a slot lies: windows of `length` slots follow one another from
/// the slot after `start` on. Slots up to the start and zero lengths lie in window 0.
#[must_use]
pub const fn window_index(start: Slots, length: Slots, slot: Slots) -> Slots {
    match slot.saturating_sub(start).saturating_sub(1).checked_div(length) {
        Some(index) => index,
        None => 0,
    }
}

/// The last slot of a window.
#[must_use]
pub const fn window_end(start: Slots, length: Slots, index: Slots) -> Slots {
    start.saturating_add(index.saturating_add(1).saturating_mul(length))
}

/// Whether a window keeps the promised availability: `good / (good + bad) >= promised`, compared
/// without a division. Slots that nobody could judge do not count; a window in which no slot was
/// judged holds.
#[must_use]
pub fn window_holds(good: Slots, bad: Slots, promised_ppm: u32) -> bool {
    let judged = u128::from(good) + u128::from(bad);
    cmp_products(good.into(), PPM.into(), judged, promised_ppm.into()) != Ordering::Less
}

/// Whether a deal's record leaves room for a dispute: so many CONFLICT slots in a row, or more than
/// this share of its slots CONFLICT or UNKNOWN.
#[must_use]
pub fn is_contested(conflict_run: u32, run_limit: u32, unknown: Slots, slots: Slots, share_ppm: u32) -> bool {
    conflict_run >= run_limit
        || cmp_products(unknown.into(), PPM.into(), slots.into(), share_ppm.into()) == Ordering::Greater
}

/// Slots that a provider may spend on announced maintenance in a deal: a share of its slots, floored.
#[must_use]
pub fn maintenance_credits(slots: Slots, share_ppm: u32) -> Slots {
    mul_div_floor(slots.into(), share_ppm.min(PPM).into(), PPM.into())
        .and_then(|credits| Slots::try_from(credits).ok())
        .unwrap_or(slots)
}

/// Slots beyond the good ones that a cancelling renter pays: the agreed notice, and never more than
/// what is left of the term, so that going costs no more than staying.
#[must_use]
pub const fn cancel_notice(agreed: Slots, left_of_term: Slots) -> Slots {
    if agreed < left_of_term { agreed } else { left_of_term }
}

/// What must be added to a deposit so that it covers a further period of good slots after those
/// already counted: ceiled; zero when it covers them. `None` beyond 128 bits.
#[must_use]
pub fn renewal_need(deposit: Amount, rate: &Rate, good_slots: Slots, period: Slots) -> Option<Amount> {
    Some(rate.amount_ceil(good_slots.checked_add(period)?)?.saturating_sub(deposit))
}
