//! Quadratic votes: n votes cost n * n credits.

/// What this many votes on one proposal cost in all, whatever their sign.
#[must_use]
pub fn vote_cost(votes: i32) -> u64 {
    let size = u64::from(votes.unsigned_abs());
    size * size
}

/// What changing one's votes costs beyond what is spent: negative when credits come back.
#[must_use]
pub fn revision_cost(old: i32, new: i32) -> i128 {
    i128::from(vote_cost(new)) - i128::from(vote_cost(old))
}

/// Most votes that credits afford: the integer square root.
#[must_use]
pub fn votes_afforded(credits: u32) -> u32 {
    credits.isqrt()
}

/// Votes cut to what the credits afford, sign kept: how a delegate's votes are cast for each who
/// delegated.
#[must_use]
pub fn capped_votes(votes: i32, credits: u32) -> i32 {
    let cap = i32::try_from(votes_afforded(credits)).unwrap_or(i32::MAX);
    votes.clamp(cap.saturating_neg(), cap)
}
