//! What a fault did to the stream: a function of the record and of when the fault was.

use crate::{
    probe::{Packet, Record, Stall},
    realtime::MILLISECOND_NS,
};
use serde::{Deserialize, Serialize};

/// When a fault began and ended, on the prober's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Just before it was set.
    pub from_ns: u64,
    /// Just before it was lifted, or until when its effect is looked at.
    pub until_ns: u64,
}

/// What happened to the stream in a window; of two directions the worse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Packets sent in the window.
    pub sent: u64,
    /// Those that never arrived.
    pub lost: u64,
    /// The longest row of them.
    pub lost_run: u64,
    /// The longest time without an arrival, microseconds.
    pub gap_us: u64,
    /// The gap did not end within the window: it is at least this long.
    pub open: bool,
    /// Copies beyond the first.
    pub copies: u64,
    /// Arrivals before one with a smaller number.
    pub overtaken: u64,
    /// The prober itself stalled in the window's longest gap, so that the gap may be its own.
    pub own_stall: bool,
}

/// A packet sent this long before the fault may have been on its way when it came.
const UNDER_WAY_NS: u64 = 2 * MILLISECOND_NS;

/// A silence at the end of a window that is longer than this is an outage that goes on.
const OPEN_NS: u64 = 5 * MILLISECOND_NS;

/// The worse of both directions: the one with the longer gap; losses are those of the direction with more.
#[must_use]
pub fn judge(record: &Record, window: Window) -> Outcome {
    let [there, back] = record.directions.each_ref().map(|packets| direction(packets, &record.stalls, window));
    let (worse, other) = if there.gap_us >= back.gap_us { (there, back) } else { (back, there) };
    Outcome {
        sent: worse.sent,
        lost: worse.lost.max(other.lost),
        lost_run: worse.lost_run.max(other.lost_run),
        copies: worse.copies.max(other.copies),
        overtaken: worse.overtaken.max(other.overtaken),
        open: worse.open || other.open,
        ..worse
    }
}

fn direction(packets: &[Packet], stalls: &[Stall], window: Window) -> Outcome {
    let from = window.from_ns.saturating_sub(UNDER_WAY_NS);
    let first = packets.partition_point(|packet| packet.sent_ns < from);
    let end = packets.partition_point(|packet| packet.sent_ns < window.until_ns);
    let sent = &packets[first..end.max(first)];
    let mut outcome = Outcome { sent: u64::try_from(sent.len()).unwrap_or(u64::MAX), ..Outcome::default() };
    let mut run = 0;
    for packet in sent {
        run = if packet.arrived_ns == 0 { run + 1 } else { 0 };
        outcome.lost += u64::from(packet.arrived_ns == 0);
        outcome.lost_run = outcome.lost_run.max(run);
        outcome.copies += u64::from(packet.copies.saturating_sub(1));
    }
    outcome.overtaken = overtaken(sent);
    gap(packets, stalls, window, &mut outcome);
    outcome
}

/// Arrivals of a packet after that of a later number.
fn overtaken(sent: &[Packet]) -> u64 {
    let mut earliest = 0;
    let mut count = 0;
    // From the last number down: whoever arrives after the earliest of the later numbers was overtaken.
    for packet in sent.iter().rev().filter(|packet| packet.arrived_ns != 0) {
        if earliest != 0 && packet.arrived_ns > earliest {
            count += 1;
        } else {
            earliest = packet.arrived_ns;
        }
    }
    count
}

/// The longest time without an arrival that begins after the last arrival before the window.
fn gap(packets: &[Packet], stalls: &[Stall], window: Window, outcome: &mut Outcome) {
    let mut arrivals: Vec<u64> = packets.iter().map(|packet| packet.arrived_ns).filter(|at| *at != 0).collect();
    arrivals.sort_unstable();
    let first = arrivals.partition_point(|at| *at < window.from_ns).saturating_sub(1);
    let end = arrivals.partition_point(|at| *at < window.until_ns);
    let inside = &arrivals[first.min(end)..end];
    let mut longest = inside
        .windows(2)
        .filter_map(|pair| if let [before, after] = pair { Some((after - before, *before)) } else { None })
        .max()
        .unwrap_or_default();
    let last = inside.last().copied().unwrap_or(window.from_ns);
    let silent = window.until_ns.saturating_sub(last);
    if silent > longest.0 {
        longest = (silent, last);
        // A shorter silence is the distance of two packets.
        outcome.open = silent > OPEN_NS;
    }
    outcome.gap_us = longest.0 / 1_000;
    let (start, stop) = (longest.1, longest.1 + longest.0);
    outcome.own_stall = stalls.iter().any(|stall| stall.due_ns <= stop && stall.due_ns + stall.late_ns >= start);
}

/// One-way latencies of everything that arrived in a window, both directions, microseconds, sorted.
#[must_use]
pub fn latencies_us(record: &Record, window: Window) -> Vec<u64> {
    let inside =
        |packet: &&Packet| packet.arrived_ns != 0 && (window.from_ns..window.until_ns).contains(&packet.sent_ns);
    let packets = record.directions.iter().flatten().filter(inside);
    let mut all: Vec<u64> = packets.map(|packet| packet.arrived_ns.saturating_sub(packet.sent_ns) / 1_000).collect();
    all.sort_unstable();
    all
}

/// The nearest-rank percentile of sorted figures; zero of none.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = MILLISECOND_NS;

    /// A stream of one packet per millisecond from 1 s on, with 100 us of latency and these numbers lost.
    fn record(lost: std::ops::Range<usize>) -> Record {
        let packets: Vec<Packet> = (0..1_000)
            .zip(0..)
            .map(|(number, ms)| {
                let sent_ns = 1_000 * MS + ms * MS;
                let arrived_ns = if lost.contains(&number) { 0 } else { sent_ns + MS / 10 };
                Packet { sent_ns, arrived_ns, copies: u32::from(arrived_ns != 0) }
            })
            .collect();
        let calm = record_calm(&packets);
        Record { directions: [packets, calm], realtime: true, ..Record::default() }
    }

    fn record_calm(packets: &[Packet]) -> Vec<Packet> {
        packets.iter().map(|packet| Packet { arrived_ns: packet.sent_ns + MS / 10, copies: 1, ..*packet }).collect()
    }

    const FAULT: Window = Window { from_ns: 1_400 * MS, until_ns: 1_900 * MS };

    #[test]
    fn a_row_of_losses_is_counted_and_its_gap_is_measured_from_arrival_to_arrival() {
        let outcome = judge(&record(400..405), FAULT);
        assert_eq!((outcome.lost, outcome.lost_run, outcome.gap_us), (5, 5, 6_000));
        assert!(!outcome.open && !outcome.own_stall);
        assert_eq!(judge(&record(0..0), FAULT).gap_us, 1_000);
    }

    #[test]
    fn losses_outside_of_the_window_do_not_count() {
        let outcome = judge(&record(300..390), FAULT);
        assert_eq!((outcome.lost, outcome.gap_us), (0, 1_000));
    }

    #[test]
    fn a_stream_that_does_not_come_back_has_an_open_gap() {
        let outcome = judge(&record(400..1_000), FAULT);
        assert!(outcome.open);
        assert_eq!(outcome.gap_us, 500_900);
        assert_eq!(outcome.lost, 500);
    }

    #[test]
    fn a_gap_in_which_the_prober_itself_stalled_is_marked() {
        let mut record = record(400..405);
        record.stalls = vec![Stall { due_ns: 1_402 * MS, late_ns: 3 * MS }];
        assert!(judge(&record, FAULT).own_stall);
        record.stalls = vec![Stall { due_ns: 1_700 * MS, late_ns: 3 * MS }];
        assert!(!judge(&record, FAULT).own_stall);
    }

    #[test]
    fn reordering_and_copies_are_counted() {
        let mut record = record(0..0);
        record.directions[0][500].arrived_ns += 3 * MS;
        record.directions[0][600].copies = 3;
        let outcome = judge(&record, FAULT);
        assert_eq!((outcome.overtaken, outcome.copies), (1, 2));
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let figures: Vec<u64> = (1..=20).collect();
        assert_eq!([50, 90, 99, 100].map(|percent| percentile(&figures, percent)), [10, 18, 20, 20]);
        assert_eq!(percentile(&[], 50), 0);
    }
}
