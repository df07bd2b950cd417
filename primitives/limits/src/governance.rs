//! Limits of owners and governance.

#[allow(unused_imports, reason = "doc links and sums name limits of the other groups")]
use crate::*;

// ---- owners and governance

/// Accounts of one owner.
pub const OWNER_ACCOUNTS_MAX: u32 = 16;
/// Motions about owners that wait for the validators' attestation.
pub const OWNER_MOTIONS_MAX: u32 = 64;
/// Of those, motions that one account or validator opened.
pub const OWNER_MOTIONS_EACH_MAX: u32 = 2;
/// Slots within which a motion about an owner finds its attestations: 7 days of 6 s.
pub const OWNER_MOTION_SLOTS: u64 = 100_800;
/// Motions about owners that one block closes because their time is over.
pub const OWNER_MOTIONS_CLOSED_PER_BLOCK: u32 = 8;
/// Vote credits of each owner in each epoch.
pub const VOTE_CREDITS: u32 = 99;
/// Most votes of one owner on one proposal: the integer square root of the credits.
pub const VOTES_MAX: i8 = 9;
/// Shortest and longest epoch of credits, slots.
pub const VOTE_EPOCH_SLOTS_MIN: u64 = 20;
/// Longest epoch of credits, slots: 336 days of 6 s.
pub const VOTE_EPOCH_SLOTS_MAX: u64 = 4_838_400;
/// An epoch of credits where the definition of the network does not say otherwise: 28 days of 6 s.
pub const VOTE_EPOCH_SLOTS: u64 = 403_200;
/// Owners that may delegate to one owner on one track: what one vote writes at most.
pub const DELEGATORS_MAX: u32 = 32;
/// Bytes of the reason that a voter gives.
pub const VOTE_REASON_BYTES_MAX: u32 = 256;
/// Bytes of the call of a governance proposal.
pub const GOVERNANCE_CALL_BYTES_MAX: u32 = 32 * 1024;
/// Proposals of one track that wait for a place among the deciding ones or for the end of their preparation.
pub const GOVERNANCE_WAITING_MAX: u32 = 16;
/// Most proposals that one track may decide at a time.
pub const GOVERNANCE_DECIDING_MAX: u32 = 16;
/// Transitions of proposals that one block makes because their time has come.
pub const GOVERNANCE_TRANSITIONS_PER_BLOCK: u32 = 8;
/// Entries of decided ballots that one block removes.
pub const GOVERNANCE_CLEANED_PER_BLOCK: u32 = 64;
/// Slots for which the votes of a decided proposal stay in the state: 28 days of 6 s.
pub const GOVERNANCE_VOTES_KEPT_SLOTS: u64 = 403_200;
/// Attempts to carry out a decided call before it counts as failed, the first included.
pub const ENACTMENT_ATTEMPTS_MAX: u8 = 4;
/// Slots between two attempts.
pub const ENACTMENT_RETRY_SLOTS: u64 = 10;
/// Fewest slots in which sealed votes may be opened.
pub const REVEAL_SLOTS_MIN: u64 = 100;
/// Shortest and longest period of a proposal, slots: 168 days of 6 s.
pub const GOVERNANCE_PERIOD_SLOTS_MAX: u64 = 2_419_200;
/// Points of the timeline of one ballot's tally.
pub const TALLY_POINTS_MAX: u32 = 32;
/// A ballot that begins to pass within this last part of its period goes on for as long, once: ppm.
pub const LATE_QUORUM_PPM: u32 = 100_000;
/// Approval that a contested proposal needs in its second ballot, ppm.
pub const CONTESTED_APPROVAL_PPM: u32 = 667_000;
/// Support below which a rejected proposal can be spam, ppm.
pub const SPAM_SUPPORT_PPM: u32 = 100_000;
