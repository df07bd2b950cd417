//! What the janitor keeps about a waiting deal.
#![allow(clippy::cast_possible_truncation, reason = "the codec's macro casts the index of a variant")]

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use x0_types::market::{DealId, Slot};

/// Where a deal's entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Place {
    /// In the timed queue, for this slot.
    AtSlot(Slot),
    /// In the next-block queue, under this sequence number.
    NextBlock(u64),
}

/// A deal's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// Failed attempts in a row.
    pub attempts: u8,
}

/// An element of the next-block queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Waiting {
    /// The deal.
    pub deal: DealId,
    /// The block in which it was added.
    pub added_in: u32,
}
