//! The pheromone rule: how good a route has been lately, in integers.
//!
//! Ants find short ways because a short way is walked more often per time and its trail evaporates less between two
//! walks. Here each tick of 100 ms evaporates a sixteenth, and a tick in which something arrived deposits the route's
//! quality. Ceiling and floor keep every route findable (as Termite, Roth and Wicker 2003, does with its decay). Unlike
//! AntHocNet's random next hops (Di Caro, Ducatelle, Gambardella 2005), the choice is the largest value with
//! hysteresis: packets of a flow keep their order, and the same inputs give the same choice.

use super::graph::QUALITY_HALF_US;
use crate::Time;

/// A tick, nanoseconds.
pub const TICK_NS: u64 = 100_000_000;
/// The least pheromone of a route.
pub const TAU_MIN: u32 = 1 << 10;
/// The most.
pub const TAU_MAX: u32 = 1 << 24;
/// Delay in excess of the best that does not count, microseconds: differences below are noise (RFC 9616, section 3).
pub const CLIP_LOW_US: u64 = 250;
/// Delay in excess of the best above which it gets no worse, microseconds (RFC 9616, section 3).
pub const CLIP_HIGH_US: u64 = 200_000;
/// The neutral preference.
pub const PREFERENCE_NEUTRAL: u8 = 16;
/// Full trust.
pub const TRUST_FULL_Q16: u32 = 1 << 16;

/// `(15/16)^n` for each `n`, times 2^32.
const DECAY_Q32: [u64; 64] = decay_table();

const fn decay_table() -> [u64; 64] {
    let mut table = [0; 64];
    let mut value: u128 = 1 << 96;
    let mut at = 0;
    while at < table.len() {
        // The value is below 2^96, so its upper part fits.
        #[allow(clippy::cast_possible_truncation)]
        {
            table[at] = (value >> 64) as u64;
        }
        value -= value >> 4;
        at += 1;
    }
    table
}

/// The number of the tick that this moment belongs to.
#[must_use]
pub const fn tick_of(now: Time) -> u64 {
    now.0 / TICK_NS
}

/// The pheromone of one route. Reading never changes it, so how often it is read does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pheromone {
    tau: u32,
    tick: u64,
    deposited: Option<u64>,
}

impl Pheromone {
    /// A route that nothing is known of: the floor.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self { tau: TAU_MIN, tick: tick_of(now), deposited: None }
    }

    /// Its value in this tick, evaporation done.
    #[must_use]
    pub fn value(&self, tick: u64) -> u32 {
        let ticks = usize::try_from(tick.saturating_sub(self.tick)).unwrap_or(usize::MAX);
        match DECAY_Q32.get(ticks) {
            // Ticks before the last change show the last value: time does not run backwards.
            Some(decay) => u32::try_from((u64::from(self.tau) * decay) >> 32).unwrap_or(TAU_MAX).max(TAU_MIN),
            None => TAU_MIN,
        }
    }

    fn set(&mut self, tick: u64, tau: u32) {
        self.tau = tau.clamp(TAU_MIN, TAU_MAX);
        self.tick = self.tick.max(tick);
    }

    /// Something arrived: deposits the route's quality, once in a tick.
    pub fn deposit(&mut self, now: Time, quality: u16) {
        let tick = tick_of(now);
        if self.deposited.is_none_or(|last| last < tick) {
            self.deposited = Some(tick);
            self.set(tick, self.value(tick).saturating_add(u32::from(quality)));
        }
    }

    /// The route is down: all is gone.
    pub fn floor(&mut self, now: Time) {
        self.set(tick_of(now), TAU_MIN);
    }
}

/// What quality depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualityInput {
    /// Smoothed round-trip time (RFC 6298), microseconds.
    pub srtt_us: u32,
    /// Its variation (RFC 6298), microseconds.
    pub rttvar_us: u32,
    /// The least smoothed round-trip time of all candidates, microseconds.
    pub srtt_us_min: u32,
    /// Share of packets lost, 65,536 for all.
    pub loss_q16: u32,
    /// Trust in the least trusted node, 65,536 for full.
    pub trust_q16: u32,
    /// The operator's weight, 16 for neutral.
    pub preference: u8,
}

/// The quality of a route: `R/(R + d)` for the delay `d` in excess of the best and four variations, less the share
/// lost, twice, weighed with trust and preference. More delay, more loss, less trust or preference never raise it.
#[must_use]
pub fn quality(input: &QualityInput) -> u16 {
    let excess = u64::from(input.srtt_us.saturating_sub(input.srtt_us_min)) + 4 * u64::from(input.rttvar_us);
    let delay = excess.saturating_sub(CLIP_LOW_US).min(CLIP_HIGH_US - CLIP_LOW_US);
    let half = u64::from(QUALITY_HALF_US);
    let kept = u64::from(TRUST_FULL_Q16 - input.loss_q16.min(TRUST_FULL_Q16));
    let trust = u64::from(input.trust_q16.min(TRUST_FULL_Q16));
    let preference = u64::from(input.preference.min(PREFERENCE_NEUTRAL));
    let by_delay = ((half << 16) / (half + delay)).min(u64::from(u16::MAX));
    let by_loss = (((by_delay * kept) >> 16) * kept) >> 16;
    let weighed = (((by_loss * trust) >> 16) * preference) >> 4;
    u16::try_from(weighed).unwrap_or(u16::MAX)
}

/// The quality of an own link for its record: the same rule with the whole delay instead of an excess.
#[must_use]
pub fn link_quality(srtt_us: u32, rttvar_us: u32, loss_q16: u32) -> u16 {
    quality(&QualityInput {
        srtt_us,
        rttvar_us,
        srtt_us_min: 0,
        loss_q16,
        trust_q16: TRUST_FULL_Q16,
        preference: PREFERENCE_NEUTRAL,
    })
}
