//! Parameters of deals that governance may change.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::market::Slot;

/// Market parameters that governance may change; a deal keeps those of its confirmation.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct DealTerms {
    /// The treasury's share of what the provider earns, ppm, floored.
    pub fee_ppm: u32,
    /// The renter's share of a slash, ppm, floored; the rest goes to the treasury.
    pub compensation_ppm: u32,
    /// Share of the bond that is slashed at the provider's first, second and each further failure
    /// within [`x0_limits::SLASH_WINDOW_MS`], ppm, floored.
    pub slash_ladder_ppm: [u32; 3],
    /// Consecutive DOWN slots inside the deal after which it fails.
    pub fail_run_slots: u32,
    /// CONFLICT slots in a row after which a deal is contested.
    pub conflict_run_slots: u32,
    /// Share of CONFLICT and UNKNOWN slots in a deal above which it is contested, ppm.
    pub contested_ppm: u32,
    /// Slots for which a contested deal waits for a dispute before it is paid.
    pub dispute_window_slots: Slot,
    /// Slots in which the validators may rule on a dispute; then the record stands.
    pub ruling_slots: Slot,
    /// Share of a deal's slots that its provider may spend on announced maintenance, ppm, floored.
    pub maintenance_ppm: u32,
}

impl Default for DealTerms {
    fn default() -> Self {
        Self {
            fee_ppm: x0_limits::FEE_PPM,
            compensation_ppm: x0_limits::COMPENSATION_PPM,
            slash_ladder_ppm: x0_limits::SLASH_LADDER_PPM,
            fail_run_slots: x0_limits::FAIL_RUN_SLOTS,
            conflict_run_slots: x0_limits::CONFLICT_RUN_SLOTS,
            contested_ppm: x0_limits::CONTESTED_PPM,
            dispute_window_slots: x0_limits::DISPUTE_WINDOW_SLOTS,
            ruling_slots: x0_limits::RULING_SLOTS,
            maintenance_ppm: x0_limits::MAINTENANCE_PPM,
        }
    }
}

impl DealTerms {
    /// Whether every parameter lies within its bounds: a fee of at most
    /// [`x0_limits::FEE_PPM_MAX`], a compensation of at most [`x0_limits::COMPENSATION_PPM_MAX`] (a
    /// renter must not gain from a failure that it causes), a ladder that never falls and stays within
    /// the whole, runs of 1 to [`x0_limits::FAIL_RUN_SLOTS_MAX`] slots, waits of at most
    /// [`x0_limits::DISPUTE_SLOTS_MAX`] slots, and at most [`x0_limits::MAINTENANCE_PPM_MAX`] of
    /// maintenance.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let [first, second, third] = self.slash_ladder_ppm;
        let runs = 1..=x0_limits::FAIL_RUN_SLOTS_MAX;
        let waits = 1..=x0_limits::DISPUTE_SLOTS_MAX;
        self.fee_ppm <= x0_limits::FEE_PPM_MAX
            && self.compensation_ppm <= x0_limits::COMPENSATION_PPM_MAX
            && first <= second
            && second <= third
            && third <= super::PPM
            && runs.contains(&self.fail_run_slots)
            && runs.contains(&self.conflict_run_slots)
            && self.contested_ppm <= super::PPM
            && waits.contains(&self.dispute_window_slots)
            && waits.contains(&self.ruling_slots)
            && self.maintenance_ppm <= x0_limits::MAINTENANCE_PPM_MAX
    }
}
