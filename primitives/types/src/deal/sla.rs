//! What a provider promises for a deal, beyond being up: part of an offer, copied into the deal when it
//! is accepted.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use super::PPM;
use crate::market::Slot;

/// Which slots a deal pays for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub enum SlaPolicy {
    /// Every good slot is paid.
    #[default]
    ProRata,
    /// Only good slots of windows that have closed and kept the promised availability are paid: the
    /// money stays locked until the promise is confirmed.
    ForfeitWindow,
}

/// What is promised. A term that is not promised is 0.
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
pub struct SlaTerms {
    /// Which slots are paid.
    pub policy: SlaPolicy,
    /// Length of a window over which availability is judged, slots.
    pub window_slots: Slot,
    /// Least share of good slots among the good and bad slots of a window, ppm. A window below it fails
    /// the deal; 0 promises nothing.
    pub availability_ppm_min: u32,
    /// Longest round trip to the node, milliseconds; 0 promises nothing.
    pub round_trip_ms_max: u32,
    /// Least throughput through the node, kilobits per second; 0 promises nothing.
    pub throughput_kbps_min: u32,
    /// Slots between the provider's notice and the end that it brings; 0 means that the provider cannot
    /// end the deal early.
    pub notice_slots: Slot,
    /// Slots that a renter who cancels still pays for, at most what is left of the deposit.
    pub cancel_notice_slots: Slot,
    /// Whether the provider agrees to renewals at the deal's own price.
    pub renewal: bool,
}

impl Default for SlaTerms {
    fn default() -> Self {
        Self {
            policy: SlaPolicy::ProRata,
            window_slots: x0_limits::SLA_WINDOW_SLOTS,
            availability_ppm_min: x0_limits::SLA_AVAILABILITY_PPM,
            round_trip_ms_max: 0,
            throughput_kbps_min: 0,
            notice_slots: 0,
            cancel_notice_slots: 0,
            renewal: false,
        }
    }
}

impl SlaTerms {
    /// Whether every term lies within its bounds: windows of
    /// [`x0_limits::SLA_WINDOW_SLOTS_MIN`] to [`x0_limits::DEAL_TERM_SLOTS_MAX`] slots, a share of at most
    /// the whole, a notice of 0 or [`x0_limits::NOTICE_SLOTS_MIN`] to [`x0_limits::NOTICE_SLOTS_MAX`]
    /// slots, and a cancelling renter's notice of at most [`x0_limits::CANCEL_NOTICE_SLOTS_MAX`].
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.window_slots >= x0_limits::SLA_WINDOW_SLOTS_MIN
            && self.window_slots <= x0_limits::DEAL_TERM_SLOTS_MAX
            && self.availability_ppm_min <= PPM
            && Self::is_notice(self.notice_slots)
            && self.cancel_notice_slots <= x0_limits::CANCEL_NOTICE_SLOTS_MAX
    }

    /// Whether this is a notice that a provider may ask for; 0 is, and means none.
    #[must_use]
    pub const fn is_notice(slots: Slot) -> bool {
        slots == 0 || (slots >= x0_limits::NOTICE_SLOTS_MIN && slots <= x0_limits::NOTICE_SLOTS_MAX)
    }
}
