//! All arithmetic over money, trust shares and votes: integers only, each rounding named.
//!
//! ```text
//!   wide      a * b / c and a * b <> c * d over 256 bits
//!     |
//!     +-- rate      what good slots cost, what a deposit affords, prices times factors
//!     +-- price     factors on listed prices
//!     +-- payout    fee, refund, slash and compensation: who gets what of a deal
//!     +-- bond      bonds that fall with trust; shares by largest remainder
//!     +-- window    service windows, disputes, maintenance credits, renewal
//!     +-- vote      quadratic cost, what credits afford
//!     +-- curve     thresholds that fall with time
//!     +-- trust     freshness, stability, penalties that fade, and the score of a node
//!           +-- gates     approval by votes and support by heads, and when they are met
//! ```
//!
//! The pallets store and move; they compute nothing that is not here. The crate knows neither FRAME
//! nor storage, so that it compiles in seconds and each of its lines is tested by mutation.
//!
//! # Correctness
//! Rounding directions (section 7.5 of the market's specification):
//!
//! | Quantity | Direction | In favour of |
//! |---|---|---|
//! | what good slots cost | floor, once, on the cumulative count | renter |
//! | fee | floor | provider |
//! | refund | exact remainder | renter |
//! | slash | floor | provider |
//! | compensation | floor, remainder to the treasury | treasury |
//! | bond | ceil | renter |
//! | affordable slots | floor | renter |
//! | votes that credits afford | integer square root | budget |
//! | thresholds | cross-multiplied, no division | exact |
//! | shared claims | floor, then largest remainders | deterministic |
//!
//! # Limits
//! Amounts are 128 bits wide, slots 64; every product is 256 bits wide or checked.
//!
//! # Errors
//! `None` where a result does not fit or a divisor is zero: the callers' error types say what that
//! means to them.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod bond;
mod curve;
mod gates;
mod payout;
pub mod price;
mod rate;
pub mod trust;
mod vote;
mod wide;
mod window;

#[cfg(test)]
mod tests;

pub use bond::{bond_for_trust, largest_remainder, part_of_bond};
pub use curve::{Curve, at_least_share, more_than_share};
pub use gates::{BallotCount, Gates};
pub use payout::{Accrued, BondSplit, Outcome, Slash, accrued, ladder_share, ladder_step, outcome, split_bond};
pub use rate::Rate;
pub use vote::{capped_votes, revision_cost, vote_cost, votes_afforded};
pub use wide::{PPM, cmp_products, mul_div_ceil, mul_div_floor, share_ceil, share_floor};
pub use window::{
    SlotSums, cancel_notice, is_contested, maintenance_credits, renewal_need, window_end, window_holds, window_index,
};

/// Base units of the token.
pub type Amount = u128;
/// A count of slots or the number of one.
pub type Slots = u64;
