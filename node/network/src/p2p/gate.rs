//! Who may begin a handshake: decided at accept, from the source address alone, before any byte is
//! read and before any signature is made. No clock and no socket in here.
//!
//! ```text
//!   accepted socket --> known source?  --yes--> its own rate and places
//!                            |
//!                            no --> its own (smaller) rate and places --> rate and places of all strangers
//! ```
//!
//! Admitted peers come from sources that the address book knows, so that strangers, however many, do
//! not take their places. Established links are not in here at all: nothing at this gate ends one.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// Rates and places of one kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimit {
    /// Handshakes per second over a longer time.
    pub per_second: u32,
    /// Handshakes that may begin at once after a quiet time.
    pub burst: u32,
    /// Handshakes under way at the same time.
    pub pending: u32,
}

/// What a gate allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// For one source where an admitted peer is known to be.
    pub known_source: GateLimit,
    /// For one other source.
    pub stranger: GateLimit,
    /// For all other sources together.
    pub strangers: GateLimit,
    /// Sources that are remembered.
    pub sources: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            known_source: GateLimit {
                per_second: x0_limits::LINK_KNOWN_HANDSHAKES_PER_SECOND,
                burst: x0_limits::LINK_KNOWN_HANDSHAKE_BURST,
                pending: x0_limits::LINK_KNOWN_HANDSHAKES_PENDING_MAX,
            },
            stranger: GateLimit {
                per_second: x0_limits::LINK_STRANGER_HANDSHAKES_PER_SECOND,
                burst: x0_limits::LINK_STRANGER_HANDSHAKE_BURST,
                pending: x0_limits::LINK_STRANGER_HANDSHAKES_PENDING_MAX,
            },
            strangers: GateLimit {
                per_second: x0_limits::LINK_STRANGERS_HANDSHAKES_PER_SECOND,
                burst: x0_limits::LINK_STRANGERS_HANDSHAKE_BURST,
                pending: x0_limits::LINK_STRANGERS_HANDSHAKES_PENDING_MAX,
            },
            sources: x0_limits::LINK_SOURCES_MAX,
        }
    }
}

/// Why a source may not begin a handshake now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    /// Too many handshakes per second from this source.
    #[error("too many handshakes per second from one source")]
    SourceRate,
    /// Too many handshakes under way from this source.
    #[error("too many handshakes under way from one source")]
    SourcePending,
    /// Too many handshakes per second from all strangers.
    #[error("too many handshakes per second from unknown sources")]
    StrangersRate,
    /// Too many handshakes under way from all strangers.
    #[error("too many handshakes under way from unknown sources")]
    StrangersPending,
    /// Too many sources at once to remember another.
    #[error("too many sources at once")]
    Sources,
}

/// What counts as one source: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source([u8; 8]);

impl Source {
    pub(super) fn of(ip: IpAddr) -> Self {
        let mut source = [0; 8];
        match ip.to_canonical() {
            // 2002::/16 is 6to4, which no link uses, so that no IPv6 network has this form.
            IpAddr::V4(ip) => {
                source[..2].copy_from_slice(&[0x20, 0x02]);
                source[4..].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => source.copy_from_slice(&ip.octets()[..8]),
        }
        Self(source)
    }
}

const MILLI: u64 = 1_000;

/// Tokens in thousandths, so that a slow rate does not lose the rest of a division.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    at_ms: u64,
}

impl Bucket {
    fn full(limit: GateLimit, now_ms: u64) -> Self {
        Self { tokens: u64::from(limit.burst) * MILLI, at_ms: now_ms }
    }

    fn refill(&mut self, limit: GateLimit, now_ms: u64) {
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(limit.per_second));
        self.tokens = self.tokens.saturating_add(gained).min(u64::from(limit.burst) * MILLI);
        self.at_ms = self.at_ms.max(now_ms);
    }

    const fn has_one(&self) -> bool {
        self.tokens >= MILLI
    }

    const fn take(&mut self) {
        self.tokens = self.tokens.saturating_sub(MILLI);
    }
}

#[derive(Clone, Copy, Debug)]
struct Visitor {
    bucket: Bucket,
    pending: u32,
}

/// A place at the gate, to be given back with [`Gate::leave`].
#[derive(Debug)]
pub(super) struct Place {
    source: Source,
    stranger: bool,
}

/// The state of the gate.
#[derive(Debug)]
pub(super) struct Gate {
    limits: GateLimits,
    known: HashSet<Source>,
    visitors: HashMap<Source, Visitor>,
    strangers: Visitor,
}

impl Gate {
    pub(super) fn new(limits: GateLimits, now_ms: u64) -> Self {
        let strangers = Visitor { bucket: Bucket::full(limits.strangers, now_ms), pending: 0 };
        Self { limits, known: HashSet::new(), visitors: HashMap::new(), strangers }
    }

    /// The sources where admitted peers are.
    pub(super) fn set_known(&mut self, known: HashSet<Source>) {
        self.known = known;
    }

    /// Asks for a place for a handshake with this address.
    pub(super) fn enter(&mut self, ip: IpAddr, now_ms: u64) -> Result<Place, GateRefusal> {
        let source = Source::of(ip);
        let stranger = !self.known.contains(&source);
        let limit = if stranger { self.limits.stranger } else { self.limits.known_source };
        if !self.visitors.contains_key(&source) {
            self.make_room(now_ms)?;
        }
        let visitor =
            self.visitors.entry(source).or_insert(Visitor { bucket: Bucket::full(limit, now_ms), pending: 0 });
        visitor.bucket.refill(limit, now_ms);
        if !visitor.bucket.has_one() {
            return Err(GateRefusal::SourceRate);
        }
        if visitor.pending >= limit.pending {
            return Err(GateRefusal::SourcePending);
        }
        if stranger {
            self.strangers.bucket.refill(self.limits.strangers, now_ms);
            if !self.strangers.bucket.has_one() {
                return Err(GateRefusal::StrangersRate);
            }
            if self.strangers.pending >= self.limits.strangers.pending {
                return Err(GateRefusal::StrangersPending);
            }
            self.strangers.bucket.take();
            self.strangers.pending += 1;
        }
        visitor.bucket.take();
        visitor.pending += 1;
        Ok(Place { source, stranger })
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, place: &Place) {
        if let Some(visitor) = self.visitors.get_mut(&place.source) {
            visitor.pending = visitor.pending.saturating_sub(1);
        }
        if place.stranger {
            self.strangers.pending = self.strangers.pending.saturating_sub(1);
        }
    }

    /// Forgets sources that are as good as new when the table is full.
    fn make_room(&mut self, now_ms: u64) -> Result<(), GateRefusal> {
        if self.visitors.len() < self.limits.sources {
            return Ok(());
        }
        let (limits, known) = (self.limits, &self.known);
        self.visitors.retain(|source, visitor| {
            let limit = if known.contains(source) { limits.known_source } else { limits.stranger };
            visitor.bucket.refill(limit, now_ms);
            visitor.pending > 0 || visitor.bucket.tokens < u64::from(limit.burst) * MILLI
        });
        if self.visitors.len() < self.limits.sources { Ok(()) } else { Err(GateRefusal::Sources) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> GateLimits {
        GateLimits {
            known_source: GateLimit { per_second: 10, burst: 20, pending: 8 },
            stranger: GateLimit { per_second: 2, burst: 4, pending: 2 },
            strangers: GateLimit { per_second: 5, burst: 10, pending: 6 },
            sources: 64,
        }
    }

    fn ip(tag: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, tag])
    }

    #[test]
    fn a_storm_from_one_source_gets_its_rate_and_no_more() {
        let mut gate = Gate::new(limits(), 0);
        let mut admitted = 0;
        // 1,000 a second for ten seconds, each done at once.
        for now in 0..10_000 {
            if let Ok(place) = gate.enter(ip(1), now) {
                admitted += 1;
                gate.leave(&place);
            }
        }
        assert!((4 + 2 * 9..=4 + 2 * 10).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_storm_from_many_sources_leaves_the_known_ones_their_places() {
        let mut gate = Gate::new(limits(), 0);
        gate.set_known(HashSet::from([Source::of(ip(200))]));
        let mut held = Vec::new();
        for tag in 0..60 {
            if let Ok(place) = gate.enter(ip(tag), 0) {
                held.push(place);
            }
        }
        assert_eq!(held.len(), 6);
        assert_eq!(gate.enter(ip(100), 0).unwrap_err(), GateRefusal::StrangersPending);
        for _ in 0..8 {
            gate.enter(ip(200), 0).unwrap();
        }
        assert_eq!(gate.enter(ip(200), 0).unwrap_err(), GateRefusal::SourcePending);
        held.iter().for_each(|place| gate.leave(place));
        for _ in 0..4 {
            let place = gate.enter(ip(101), 0).unwrap();
            gate.leave(&place);
        }
        assert_eq!(gate.enter(ip(102), 0).unwrap_err(), GateRefusal::StrangersRate);
        assert!(gate.enter(ip(102), 1_000).is_ok());
    }

    #[test]
    fn the_table_of_sources_is_bounded_and_forgets_the_quiet_ones() {
        let mut gate = Gate::new(limits(), 0);
        for tag in 0..64 {
            // Refused or not, the source is remembered.
            if let Ok(place) = gate.enter(ip(tag), 0) {
                gate.leave(&place);
            }
        }
        assert_eq!(gate.visitors.len(), 64);
        let refused = gate.enter(ip(99), 0);
        assert!(refused.is_err());
        assert!(gate.visitors.len() <= 64);
        gate.enter(ip(99), 60_000).unwrap();
        assert!(gate.visitors.len() < 64);
    }

    #[test]
    fn one_network_of_ipv6_is_one_source() {
        assert_eq!(Source::of("2001:db8::1".parse().unwrap()), Source::of("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(Source::of("2001:db8::1".parse().unwrap()), Source::of("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(Source::of("::ffff:10.0.0.1".parse().unwrap()), Source::of(ip(1)));
    }
}
