//! Draws that only this validator can foresee: when it probes which node, what it checks, when it tries a promise.

use codec::Encode;
use x0_crypto::{CryptoError, Seed};
use x0_types::market::Slot;

/// What the draws are made from. It never leaves the process, and another process has another one.
#[derive(Clone, Debug)]
pub(crate) struct PrivateDraw(Seed);

impl PrivateDraw {
    /// Draws from fresh random bytes.
    pub(crate) fn new() -> Result<Self, CryptoError> {
        Ok(Self(Seed::generate()?))
    }

    /// A number below `below`, always the same for the same question; 0 when there is no choice.
    pub(crate) fn below(&self, below: u64, question: &(impl Encode + ?Sized)) -> u64 {
        let mut bytes = b"x0/private-draw/v1".to_vec();
        bytes.extend_from_slice(self.0.expose());
        question.encode_to(&mut bytes);
        let [a, b, c, d, e, f, g, h, ..] = x0_crypto::blake2b_256(&bytes);
        // The bias of the remainder is below 2^-40 for all ranges here.
        u64::from_le_bytes([a, b, c, d, e, f, g, h]).checked_rem(below).unwrap_or_default()
    }

    /// Whether `slot` is one of the slots of its window in which a trial of this deal is made.
    pub(crate) fn is_trial(&self, deal: u64, slot: Slot) -> bool {
        let (window, place) = (slot / x0_limits::TRIAL_WINDOW_SLOTS, slot % x0_limits::TRIAL_WINDOW_SLOTS);
        (0..x0_limits::TRIALS_PER_WINDOW)
            .any(|n| self.below(x0_limits::TRIAL_WINDOW_SLOTS, &("trial", deal, window, n)) == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_for_their_owner_and_differ_for_others() {
        let (one, two) = (PrivateDraw::new().unwrap(), PrivateDraw::new().unwrap());
        let draws = |draw: &PrivateDraw| (0u64..64).map(|slot| draw.below(1_000, &slot)).collect::<Vec<_>>();
        assert_eq!(draws(&one), draws(&one));
        assert_ne!(draws(&one), draws(&two), "nobody else can foresee them");
        assert!(draws(&one).iter().all(|drawn| *drawn < 1_000));
        let distinct: std::collections::BTreeSet<_> = draws(&one).into_iter().collect();
        assert!(distinct.len() > 32, "slots differ from one another");
        assert_eq!(one.below(0, &1u8), 0);
    }

    #[test]
    fn each_window_has_a_few_trials() {
        let draw = PrivateDraw::new().unwrap();
        let slots = x0_limits::TRIAL_WINDOW_SLOTS;
        for window in 0..50 {
            let trials = (window * slots..(window + 1) * slots).filter(|slot| draw.is_trial(7, *slot)).count();
            assert!((1..=x0_limits::TRIALS_PER_WINDOW as usize).contains(&trials), "{trials}");
        }
    }
}
