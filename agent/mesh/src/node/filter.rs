//! Rules on peers, and the buckets behind rate limits.

use super::Rule;
use crate::{NodeId, Time};
use std::collections::BTreeMap;

/// Most rules at once.
pub const RULES_MAX: usize = 1024;
/// The neutral weight of a peer in routes.
pub const WEIGHT_NEUTRAL: u8 = 16;

/// Why rules are not taken over. Those before stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Too many rules.
    #[error("{found} rules, at most {RULES_MAX} are kept")]
    TooMany {
        /// Rules that were given.
        found: usize,
    },
    /// A weight above neutral: rules never make a peer better than its trust does.
    #[error("weight {found} of {peer}, at most {WEIGHT_NEUTRAL} is allowed")]
    Weight {
        /// The peer.
        peer: NodeId,
        /// The weight that was given.
        found: u8,
    },
}

/// What the rules say about one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    /// No links, no sessions.
    pub(super) denied: bool,
    /// Links, but nothing passes.
    pub(super) quarantined: bool,
    /// Weight in routes, 0 to 16.
    pub(super) weight: u8,
    /// Bytes per second and burst.
    pub(super) limit: Option<(u64, u64)>,
}

impl Default for Judgement {
    fn default() -> Self {
        Self { denied: false, quarantined: false, weight: WEIGHT_NEUTRAL, limit: None }
    }
}

/// The rules in force, by peer.
#[derive(Debug, Default)]
pub(super) struct Filter {
    by_peer: BTreeMap<NodeId, Judgement>,
}

impl Filter {
    /// Takes over a list of rules; several rules on one peer add up to the strictest.
    pub(super) fn from_rules(rules: &[Rule]) -> Result<Self, RuleError> {
        if rules.len() > RULES_MAX {
            return Err(RuleError::TooMany { found: rules.len() });
        }
        let mut by_peer = BTreeMap::<NodeId, Judgement>::new();
        for rule in rules {
            let judgement = by_peer.entry(*rule.peer()).or_default();
            match *rule {
                Rule::Deny { .. } => judgement.denied = true,
                Rule::Quarantine { .. } => judgement.quarantined = true,
                Rule::RateLimit { bytes_per_s, burst_bytes, .. } => {
                    let (rate, burst) = judgement.limit.unwrap_or((u64::MAX, u64::MAX));
                    judgement.limit = Some((rate.min(bytes_per_s), burst.min(burst_bytes)));
                }
                Rule::Prefer { peer, weight } if weight > WEIGHT_NEUTRAL => {
                    return Err(RuleError::Weight { peer, found: weight });
                }
                Rule::Prefer { weight, .. } => judgement.weight = judgement.weight.min(weight),
            }
        }
        Ok(Self { by_peer })
    }

    /// What the rules say about a peer.
    pub(super) fn judge(&self, peer: &NodeId) -> Judgement {
        self.by_peer.get(peer).copied().unwrap_or_default()
    }
}

/// A token bucket in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: u64,
    burst: u64,
    /// Tokens in billionths of a byte, so that short intervals are not rounded away.
    tokens_e9: u128,
    filled: Time,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: u64, burst: u64, now: Time) -> Self {
        Self { rate, burst, tokens_e9: u128::from(burst) * 1_000_000_000, filled: now }
    }

    /// Takes the tokens of a frame, or says that there are too few.
    pub(super) fn take(&mut self, bytes: usize, now: Time) -> bool {
        let gained = u128::from(self.rate) * u128::from(now.since_ns(self.filled));
        self.filled = self.filled.max(now);
        self.tokens_e9 = self.tokens_e9.saturating_add(gained).min(u128::from(self.burst) * 1_000_000_000);
        let price = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000);
        if price > self.tokens_e9 {
            return false;
        }
        self.tokens_e9 -= price;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_rules_on_a_peer_add_up_to_the_strictest() {
        let peer = NodeId([1; 32]);
        let rules = [
            Rule::RateLimit { peer, bytes_per_s: 10, burst_bytes: 500 },
            Rule::RateLimit { peer, bytes_per_s: 20, burst_bytes: 100 },
            Rule::Prefer { peer, weight: 3 },
            Rule::Prefer { peer, weight: 9 },
            Rule::Quarantine { peer },
        ];
        let judgement = Filter::from_rules(&rules).unwrap().judge(&peer);
        assert_eq!(judgement, Judgement { denied: false, quarantined: true, weight: 3, limit: Some((10, 100)) });
        let other = NodeId([2; 32]);
        assert_eq!(Filter::from_rules(&rules).unwrap().judge(&other), Judgement::default());
    }

    #[test]
    fn a_rule_cannot_raise_a_peer_above_its_trust() {
        let peer = NodeId([1; 32]);
        let error = Filter::from_rules(&[Rule::Prefer { peer, weight: 17 }]).unwrap_err();
        assert_eq!(error, RuleError::Weight { peer, found: 17 });
        let many = vec![Rule::Deny { peer }; RULES_MAX + 1];
        assert_eq!(Filter::from_rules(&many).unwrap_err(), RuleError::TooMany { found: RULES_MAX + 1 });
    }

    proptest! {
        /// Over any span a bucket lets through at most its burst and what the rate gives in the span.
        #[test]
        fn a_bucket_never_gives_more_than_rate_and_burst(
            rate in 1u64..1_000_000, burst in 1u64..100_000,
            steps in proptest::collection::vec((0u64..2_000_000_000, 1usize..3000), 1..100),
        ) {
            let mut bucket = Bucket::new(rate, burst, Time(0));
            let (mut now, mut passed) = (0u64, 0u128);
            for (wait, bytes) in steps {
                now += wait;
                if bucket.take(bytes, Time(now)) {
                    passed += bytes as u128;
                }
                prop_assert!(passed * 1_000_000_000 <= u128::from(burst) * 1_000_000_000 + u128::from(rate) * u128::from(now));
            }
        }
    }
}
