//! Whose turn to propose counts.
//!
//! A validator that is gone costs one propose timeout at each of its turns. Therefore a validator that made
//! none of the last blocks proposes only after all others, until it has made one.
//!
//! ```text
//!   benched at height h  =  in the set of h, and author of none of the last 2 n blocks before h
//!                           (n validators; not below 4, and not before 2 n blocks are there)
//!   except that in every eighth cycle of n heights everybody has its ordinary turn: the way back
//! ```
//!
//! # Correctness
//! * Everything follows from committed headers and the set, which all nodes share at height h, so that all agree whose
//!   turn it is. A node that does not have the headers (its database came from a snapshot) differs for at most `2 n`
//!   blocks; that costs its vote, and never safety: a proposal out of turn is not looked at, a decision needs a
//!   quorum whoever proposed.
//! * A validator with correct clock and links is benched only after two missed turns, and comes back within eight
//!   cycles. Being benched takes no vote and no power.
//! * The author in a header is the proposer who signed the block's opening: a quorum votes for nothing else.

/// Blocks that are looked at, as a multiple of the number of validators.
const WINDOW_CYCLES: usize = 2;
/// In every so many cycles, everybody has its ordinary turn.
const TRIAL_CYCLES: u64 = 8;
/// Fewer validators cannot spare one, so there is nothing to skip.
const VALIDATORS_MIN: usize = 4;

/// Headers that the rule looks at for so many validators.
#[must_use]
pub const fn window(validators: usize) -> usize {
    validators.saturating_mul(WINDOW_CYCLES)
}

/// The places in the set of the validators that propose last at `height`. `controllers` are those of the set, in
/// its order; `authors` those of the last blocks before `height`, as many as there are up to [`window`].
#[must_use]
pub fn benched(height: u64, controllers: &[[u8; 32]], authors: &[[u8; 32]]) -> Vec<usize> {
    let count = controllers.len();
    let cycle = height / u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    if count < VALIDATORS_MIN || authors.len() < window(count) || cycle.is_multiple_of(TRIAL_CYCLES) {
        return Vec::new();
    }
    let recent = &authors[authors.len() - window(count)..];
    controllers
        .iter()
        .enumerate()
        .filter(|(_, controller)| !recent.contains(controller))
        .map(|(index, _)| index)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        certificate::CertificateValidator,
        context::{Height, ValidatorSet, proposer},
    };
    use malachite_core_types::{Round, Validator as _};
    use x0_crypto::{PUBLIC_KEY_BYTES, PublicKey};

    fn set(count: u8) -> (ValidatorSet, Vec<[u8; 32]>) {
        let validators: Vec<_> = (0..count)
            .map(|tag| CertificateValidator { public: PublicKey::from(&[tag; PUBLIC_KEY_BYTES]), power: 1 })
            .collect();
        (ValidatorSet::new(&validators).unwrap(), (0..count).map(|tag| [tag; 32]).collect())
    }

    /// Runs a chain on which the validators in `dead` never propose. Gives for each height how many turns were missed.
    fn run(count: u8, heights: u64, dead: impl Fn(u64) -> Vec<u8>) -> Vec<u32> {
        let (set, controllers) = set(count);
        let of = |height, round, authors: &[[u8; 32]]| {
            let set = set.with_benched(&benched(height, &controllers, authors));
            let address = *proposer(&set, Height(height), Round::new(round)).address();
            (0..count).find(|tag| PublicKey::from(&[*tag; PUBLIC_KEY_BYTES]).fingerprint() == address.0).unwrap()
        };
        let mut authors = Vec::new();
        (1..=heights)
            .map(|height| {
                let round = (0..u32::from(count))
                    .find(|round| !dead(height).contains(&of(height, *round, &authors)))
                    .expect("everybody has a turn within as many rounds as there are validators");
                authors.push(controllers[usize::from(of(height, round, &authors))]);
                round
            })
            .collect()
    }

    #[test]
    fn a_dead_validator_costs_one_turn_in_eight_cycles() {
        let missed = run(4, 800, |height| if height > 100 { vec![2] } else { Vec::new() });
        assert_eq!(missed[..100].iter().sum::<u32>(), 0);
        // Two turns before the rule sees it, and one in each trial cycle after that: at heights 128, 160 and so on.
        assert_eq!(missed[100..127].iter().sum::<u32>(), 2);
        assert_eq!(missed[127..].iter().sum::<u32>(), 21);
        assert!(missed.iter().all(|missed| *missed <= 1));
    }

    #[test]
    fn a_validator_that_is_back_proposes_again_within_eight_cycles() {
        let (set, controllers) = set(4);
        let back = 300;
        let mut authors: Vec<[u8; 32]> = Vec::new();
        let mut returned = None;
        for height in 1..400u64 {
            let away = height < back;
            let turns = set.with_benched(&benched(height, &controllers, &authors));
            let author = (0..4)
                .map(|round| {
                    let address = *proposer(&turns, Height(height), Round::new(round)).address();
                    (0..4u8).find(|tag| PublicKey::from(&[*tag; PUBLIC_KEY_BYTES]).fingerprint() == address.0).unwrap()
                })
                .find(|author| !(away && *author == 3))
                .unwrap();
            if author == 3 && returned.is_none() {
                returned = Some(height);
            }
            authors.push(controllers[usize::from(author)]);
        }
        assert!(returned.is_some_and(|height| height >= back && height < back + 32), "{returned:?}");
        // From then on it has every fourth turn again.
        let own = authors[360..].iter().filter(|author| **author == controllers[3]).count();
        assert!(own >= 9, "{own}");
    }

    #[test]
    fn a_third_may_be_gone_and_everybody_still_has_a_turn() {
        for count in [4u8, 7, 10] {
            let dead: Vec<u8> = (0..(count - 1) / 3).collect();
            let missed = run(count, 1_000, |_| dead.clone());
            let share: u32 = missed[100..].iter().sum();
            assert!(share < 900 / 8, "{count} validators miss {share} turns of 900");
        }
        // Whoever made the blocks so far is gone: the others come after them, in later rounds.
        let missed = run(4, 60, |height| if height < 30 { vec![1, 2, 3] } else { vec![0] });
        assert!(missed[29..].iter().all(|missed| *missed <= 3));
    }

    #[test]
    fn small_sets_young_chains_and_new_sets_take_plain_turns() {
        let controllers: Vec<_> = (0..4u8).map(|tag| [tag; 32]).collect();
        assert!(benched(5, &controllers[..3], &[[9; 32]; 20]).is_empty());
        assert!(benched(5, &controllers, &[[0; 32]; 7]).is_empty());
        assert!(benched(33, &controllers, &[[0; 32]; 8]).is_empty(), "a trial cycle");
        assert_eq!(benched(37, &controllers, &[[0; 32]; 8]), [1, 2, 3]);
        let (set, _) = set(4);
        assert_eq!(set.with_benched(&[0, 1, 2, 3]).benched(), 0, "a set of newcomers only");
    }
}
