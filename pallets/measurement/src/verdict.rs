//! The verdict rules: pure arithmetic on voting power.
//!
//! ```text
//!   3D >  N and 3U <= N   DOWN        N = power of the validators that may judge the node
//!   3U >  N and 3D <= N   UP          U, D = power of those that saw it up, down
//!   both  >  N/3          CONFLICT
//!   neither               UNKNOWN
//! ```
//!
//! Everything is cross-multiplied, so no division rounds, and 128 bits hold three times any sum.

use x0_types::market::Verdict;

/// Whether `part` is more than a third of `whole`.
#[must_use]
pub const fn exceeds_third(part: u64, whole: u64) -> bool {
    // `as` widens here, it cannot truncate; `From` is not usable in const functions.
    3 * (part as u128) > whole as u128
}

/// Whether `part` is more than two thirds of `whole`.
#[must_use]
pub const fn exceeds_two_thirds(part: u64, whole: u64) -> bool {
    // `as` widens here, it cannot truncate; `From` is not usable in const functions.
    3 * (part as u128) > 2 * (whole as u128)
}

/// The verdict on a node that `up` and `down` of the `eligible` power saw up and down.
#[must_use]
pub const fn judge(up: u64, down: u64, eligible: u64) -> Verdict {
    match (exceeds_third(up, eligible), exceeds_third(down, eligible)) {
        (false, true) => Verdict::Down,
        (true, false) => Verdict::Up,
        (true, true) => Verdict::Conflict,
        (false, false) => Verdict::Unknown,
    }
}

/// Whether a slot is VOID: its reports carry so little power that no node can get a verdict.
///
/// `total` is the power of the whole set and `owner_power_max` the largest power of the validators of one
/// owner of a measured node. They do not judge its nodes, so for these a third of the
/// rest is enough for a verdict; taking the smallest rest keeps VOID from hiding any verdict.
#[must_use]
pub const fn is_void(reported: u64, total: u64, owner_power_max: u64) -> bool {
    !exceeds_third(reported, total.saturating_sub(owner_power_max))
}
