//! One direction of a link between two validators, as a pure function of time and a seed.
//!
//! The kernel of a plain test machine has no `netem`, so delay, jitter, reordering and loss are decided
//! here, and the same seed decides the same way for the same packets.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// What happens to packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Nothing passes.
    pub cut: bool,
    /// Lost packets of a thousand.
    pub loss_per_mille: u16,
    /// Delay of every packet, microseconds.
    pub delay_us: u64,
    /// Further delay between zero and this, microseconds. Packets overtake one another when it is larger
    /// than their distance, unless `in_order` is set.
    pub jitter_us: u64,
    /// Jitter does not reorder.
    pub in_order: bool,
    /// Packets of a thousand that arrive twice.
    pub duplicate_per_mille: u16,
    /// Bytes per second; zero is unlimited.
    pub bytes_per_s: u64,
}

impl Rule {
    /// Nothing passes.
    pub const CUT: Self = Self {
        cut: true,
        loss_per_mille: 0,
        delay_us: 0,
        jitter_us: 0,
        in_order: false,
        duplicate_per_mille: 0,
        bytes_per_s: 0,
    };

    /// A wide-area link: this one-way delay, a tenth of it as jitter, in order.
    #[must_use]
    pub const fn wide_area(delay_ms: u64) -> Self {
        Self {
            cut: false,
            loss_per_mille: 0,
            delay_us: delay_ms * 1_000,
            jitter_us: delay_ms * 100,
            in_order: true,
            duplicate_per_mille: 0,
            bytes_per_s: 0,
        }
    }
}

/// Bytes that a limited link holds back before it drops: what a second carries.
const QUEUE_SECONDS: u64 = 1;

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is lost.
    Drop,
    /// It arrives at this time, and a second time if one is named; microseconds on the fabric's clock.
    Deliver {
        /// When.
        at_us: u64,
        /// When the copy arrives.
        copy_us: Option<u64>,
    },
}

/// The state of one direction.
#[derive(Debug)]
pub struct Link {
    rule: Rule,
    random: ChaCha8Rng,
    /// When the wire is free again.
    free_us: u64,
    /// The last arrival, for links that keep order.
    last_us: u64,
}

impl Link {
    /// A link that passes everything until a rule is set.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rule: Rule::default(), random: ChaCha8Rng::seed_from_u64(seed), free_us: 0, last_us: 0 }
    }

    /// Replaces the rule; packets under way arrive as they were decided.
    pub fn set(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// The rule now.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// Decides about a packet of this size that enters at this time.
    pub fn decide(&mut self, now_us: u64, bytes: usize) -> Verdict {
        let rule = self.rule;
        if rule.cut || self.chance(rule.loss_per_mille) {
            return Verdict::Drop;
        }
        let mut leaves = now_us;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        // An unlimited link has a rate of zero, and no time on the wire.
        if let Some(wire_us) = bytes.saturating_mul(1_000_000).checked_div(rule.bytes_per_s) {
            let start = self.free_us.max(now_us);
            if start - now_us > QUEUE_SECONDS * 1_000_000 {
                return Verdict::Drop;
            }
            self.free_us = start.saturating_add(wire_us);
            leaves = self.free_us;
        }
        let at_us = self.arrival(leaves);
        let copy_us = self.chance(rule.duplicate_per_mille).then(|| self.arrival(leaves));
        Verdict::Deliver { at_us, copy_us }
    }

    fn arrival(&mut self, leaves_us: u64) -> u64 {
        let jitter = if self.rule.jitter_us == 0 { 0 } else { self.random.random_range(0..=self.rule.jitter_us) };
        let mut at = leaves_us.saturating_add(self.rule.delay_us).saturating_add(jitter);
        if self.rule.in_order {
            at = at.max(self.last_us);
        }
        self.last_us = at;
        at
    }

    fn chance(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.random.random_range(0..1_000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rule: Rule, seed: u64) -> Vec<Verdict> {
        let mut link = Link::new(seed);
        link.set(rule);
        (0..2_000).map(|packet| link.decide(packet * 100, 1_000)).collect()
    }

    #[test]
    fn the_same_seed_decides_the_same_way() {
        let rule = Rule { loss_per_mille: 100, jitter_us: 5_000, duplicate_per_mille: 20, ..Rule::default() };
        assert_eq!(arrivals(rule, 7), arrivals(rule, 7));
        assert_ne!(arrivals(rule, 7), arrivals(rule, 8));
    }

    #[test]
    fn loss_is_about_what_the_rule_says() {
        let lost = arrivals(Rule { loss_per_mille: 100, ..Rule::default() }, 1);
        let lost = lost.iter().filter(|verdict| **verdict == Verdict::Drop).count();
        assert!((120..=280).contains(&lost), "{lost} of 2,000 lost at 10 %");
        assert!(arrivals(Rule::CUT, 1).iter().all(|verdict| *verdict == Verdict::Drop));
    }

    #[test]
    fn jitter_reorders_unless_the_rule_keeps_order() {
        let times = |in_order| {
            arrivals(Rule { delay_us: 1_000, jitter_us: 5_000, in_order, ..Rule::default() }, 3)
                .into_iter()
                .map(|verdict| match verdict {
                    Verdict::Deliver { at_us, .. } => at_us,
                    Verdict::Drop => panic!("nothing is lost"),
                })
                .collect::<Vec<_>>()
        };
        assert!(times(true).is_sorted());
        assert!(!times(false).is_sorted());
        assert!(times(false).iter().zip(0..).all(|(at, packet)| *at >= packet * 100 + 1_000));
    }

    #[test]
    fn a_limited_link_carries_its_rate_and_drops_what_does_not_fit() {
        // 2,000 packets of 1,000 bytes in 0.2 s on a link of 1 MB/s: a second's worth waits, the rest is lost.
        let verdicts = arrivals(Rule { bytes_per_s: 1_000_000, ..Rule::default() }, 1);
        let delivered = verdicts.iter().filter(|verdict| **verdict != Verdict::Drop).count();
        assert!((1_150..=1_250).contains(&delivered), "{delivered}");
    }
}
