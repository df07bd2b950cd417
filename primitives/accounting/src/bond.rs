//! Bonds, and claims that share a pool.

use crate::{Amount, PPM, mul_div_ceil, wide::mul_div_rem};

/// Factor on the bond of a node without trust, ppm.
const BOND_UNTRUSTED_PPM: u32 = 1_500_000;
/// What full trust takes off that factor, ppm.
const BOND_TRUST_PPM: u32 = 1_300_000;

/// The bond for a part of what a listing offers: its share of the listing's bond, ceiled in favour of
/// the renter whom it protects. `None` for a zero whole or a result beyond 128 bits.
#[must_use]
pub fn part_of_bond(bond: Amount, part: u32, whole: u32) -> Option<Amount> {
    mul_div_ceil(bond, part.into(), whole.into())
}

/// The bond of a node with this trust: `ceil(base * (150 % - 130 % * T))`, so that full trust posts a
/// fifth and no trust half as much again. A score above one counts as one. `None` beyond 128 bits.
#[must_use]
pub fn bond_for_trust(base: Amount, score_ppm: u32) -> Option<Amount> {
    let score = u64::from(score_ppm.min(PPM));
    // Floored, so that the factor is rounded up: in favour of the renter.
    let relief = u64::from(BOND_TRUST_PPM) * score / u64::from(PPM);
    mul_div_ceil(base, Amount::from(u64::from(BOND_UNTRUSTED_PPM) - relief), PPM.into())
}

/// Pays claims from a pool. A pool that covers them pays them in full; one that does not gives each
/// its share, floored, and what is left over by one unit each to the largest remainders, of equal
/// ones to the earliest. `None` when the claims' sum does not fit.
#[must_use]
pub fn largest_remainder(pool: Amount, claims: &[Amount]) -> Option<Vec<Amount>> {
    let sum = claims.iter().try_fold(0, |sum: Amount, claim| sum.checked_add(*claim))?;
    if pool >= sum {
        return Some(claims.to_vec());
    }
    // The sum is above the pool, hence above zero, and no share exceeds its claim.
    let (mut paid, mut order) = (Vec::with_capacity(claims.len()), Vec::with_capacity(claims.len()));
    for (index, claim) in claims.iter().enumerate() {
        let (share, rest) = mul_div_rem(pool, *claim, sum)?;
        paid.push(share);
        order.push((core::cmp::Reverse(rest), index));
    }
    order.sort_unstable();
    let mut left = pool - paid.iter().sum::<Amount>();
    for (_, index) in order {
        if left == 0 {
            break;
        }
        if let Some(share) = paid.get_mut(index) {
            *share += 1;
            left -= 1;
        }
    }
    Some(paid)
}
