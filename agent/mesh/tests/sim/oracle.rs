//! What must be true of every delivery, judged by the payloads alone: the oracle knows nothing of the
//! protocol.

use std::{collections::BTreeMap, net::Ipv6Addr};

/// A packet that a host sent.
#[derive(Clone, Debug)]
struct Sent {
    at_us: u64,
    packet: Vec<u8>,
    delivered_us: Option<u64>,
}

/// Who sent to whom, and the how-manieth packet it was.
pub type Name = (usize, usize, u64);

/// The book of everything that was sent and delivered.
#[derive(Debug, Default)]
pub struct Oracle {
    sent: BTreeMap<Name, Sent>,
    next: BTreeMap<(usize, usize), u64>,
    /// Arrivals by stream: time of delivery and number of the packet.
    arrivals: BTreeMap<(usize, usize), Vec<(u64, u64)>>,
}

const HEADER: usize = 40;
const NAMED: usize = HEADER + 32;

impl Oracle {
    /// Makes the next packet of a stream, `bytes` long with its IP header, and writes it down.
    pub fn packet(
        &mut self,
        now_us: u64,
        from: usize,
        to: usize,
        source: Ipv6Addr,
        target: Ipv6Addr,
        bytes: usize,
    ) -> Vec<u8> {
        let number = self.next.entry((from, to)).or_default();
        let packet = build(source, target, from, to, *number, bytes.max(NAMED));
        let sent = Sent { at_us: now_us, packet: packet.clone(), delivered_us: None };
        self.sent.insert((from, to, *number), sent);
        *number += 1;
        packet
    }

    /// A host was handed a packet: it must be one that was sent to it, unchanged, for the first time.
    pub fn deliver(&mut self, now_us: u64, at: usize, packet: &[u8]) {
        assert!(packet.len() >= NAMED, "node {at} was handed {} bytes that nobody sent", packet.len());
        let word = |n: usize| u64::from_le_bytes(packet[HEADER + 8 * n..HEADER + 8 * n + 8].try_into().unwrap());
        let name = (word(1) as usize, word(2) as usize, word(3));
        let sent =
            self.sent.get_mut(&name).unwrap_or_else(|| panic!("node {at} was handed {name:?}, which nobody sent"));
        assert_eq!(name.1, at, "{name:?} was handed to another node");
        assert_eq!(sent.packet, packet, "{name:?} was changed on its way");
        assert_eq!(sent.delivered_us, None, "{name:?} was handed over twice");
        sent.delivered_us = Some(now_us);
        self.arrivals.entry((name.0, name.1)).or_default().push((now_us, name.2));
    }

    /// Packets of a stream that were sent in a span of time.
    pub fn sent(&self, from: usize, to: usize, start_us: u64, end_us: u64) -> usize {
        self.stream(from, to, start_us, end_us).count()
    }

    /// Those of them that never arrived.
    pub fn lost(&self, from: usize, to: usize, start_us: u64, end_us: u64) -> Vec<u64> {
        self.stream(from, to, start_us, end_us)
            .filter(|(_, sent)| sent.delivered_us.is_none())
            .map(|(name, _)| name.2)
            .collect()
    }

    /// Longest time between two deliveries of a stream within a span.
    pub fn gap_us(&self, from: usize, to: usize, start_us: u64, end_us: u64) -> u64 {
        let Some(arrivals) = self.arrivals.get(&(from, to)) else { return end_us - start_us };
        let mut last = start_us;
        let mut gap = 0;
        for (at, _) in arrivals.iter().filter(|(at, _)| (start_us..end_us).contains(at)) {
            gap = gap.max(at - last);
            last = *at;
        }
        gap.max(end_us - last)
    }

    /// When the first packet of a stream arrived after a moment.
    pub fn first_after(&self, from: usize, to: usize, start_us: u64) -> Option<u64> {
        self.arrivals.get(&(from, to))?.iter().map(|(at, _)| *at).find(|at| *at >= start_us)
    }

    /// Packets that arrived after a later one of the same stream: when, and the numbers of both.
    pub fn overtaken(&self, from: usize, to: usize) -> Vec<(u64, u64, u64)> {
        let mut highest = 0;
        let mut late = Vec::new();
        for (at, number) in self.arrivals.get(&(from, to)).into_iter().flatten() {
            if *number < highest {
                late.push((*at, *number, highest));
            }
            highest = highest.max(*number);
        }
        late
    }

    /// Deliveries in all.
    pub fn delivered(&self) -> usize {
        self.arrivals.values().map(Vec::len).sum()
    }

    fn stream(&self, from: usize, to: usize, start_us: u64, end_us: u64) -> impl Iterator<Item = (&Name, &Sent)> {
        self.sent
            .range((from, to, 0)..=(from, to, u64::MAX))
            .filter(move |(_, sent)| (start_us..end_us).contains(&sent.at_us))
    }
}

/// An IPv6 packet with no next header whose payload names it; the rest is filled from its name.
fn build(source: Ipv6Addr, target: Ipv6Addr, from: usize, to: usize, number: u64, bytes: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(bytes);
    packet.extend_from_slice(&[0x60, 0, 0, 0]);
    packet.extend_from_slice(&u16::try_from(bytes - HEADER).unwrap().to_be_bytes());
    packet.extend_from_slice(&[59, 64]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&target.octets());
    for word in [0x7830_6d65_7368_0001, from as u64, to as u64, number] {
        packet.extend_from_slice(&word.to_le_bytes());
    }
    let mut filler = super::random::Random(number ^ ((from as u64) << 40) ^ ((to as u64) << 52));
    while packet.len() < bytes {
        packet.push((filler.next() & 255) as u8);
    }
    packet
}
