//! Trials of what deals promise of round trip and throughput: a few in each window, at slots drawn in private, under
//! keys that nobody has seen before, of bounded size.
//!
//! A node that is down fails no trial: that is what probes are for. A node that refuses a trial fails it.

use crate::{
    chain::{Promise, Target},
    probe::ProbeFailure,
    slot::Eye,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use x0_types::{
    market::{DealId, SlaBreach, Slot},
    probe::{ProbeRequest, ProbeResponse, transfer_piece},
};

/// What one trial showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) deal: DealId,
    pub(crate) breach: SlaBreach,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The shortest round trip.
    pub(crate) round_trip: Duration,
    /// Bytes, and how long they took.
    pub(crate) transfer: Option<(u64, Duration)>,
}

/// The promises of a node's deals whose turn this slot is.
pub(crate) fn due(eye: &Eye, slot: Slot, target: &Target) -> Vec<Promise> {
    // Only windows that lie whole within the deal can be complained about.
    let first = slot - slot % x0_limits::TRIAL_WINDOW_SLOTS;
    let is_due = |promise: &&Promise| first >= promise.first_slot && eye.draw.is_trial(promise.deal, slot);
    target.promises.iter().filter(is_due).copied().collect()
}

/// Tries these promises of a node, one after the other.
pub(crate) async fn all(eye: Eye, slot: Slot, target: Target) -> (Slot, Vec<Trial>) {
    let mut trials = Vec::new();
    // Nobody closes the places.
    let Ok(_place) = eye.trials.acquire().await else { return (slot, trials) };
    for promise in &target.promises {
        match try_promise(&eye, &target, promise).await {
            Ok(breach) => trials.push(Trial { deal: promise.deal, breach }),
            Err(reason) => tracing::debug!(slot, deal = promise.deal, %reason, "a trial was not made"),
        }
    }
    (slot, trials)
}

async fn try_promise(eye: &Eye, target: &Target, promise: &Promise) -> Result<SlaBreach, ProbeFailure> {
    let bytes = if promise.throughput_kbps_min > 0 { bytes_for(promise.throughput_kbps_min) } else { 0 };
    let within = Duration::from_millis(x0_limits::TRIAL_TIMEOUT_MS);
    let mut link = tokio::time::timeout(within, eye.prober.link(target))
        .await
        .map_err(|_| ProbeFailure::Timeout(x0_limits::TRIAL_TIMEOUT_MS))??;
    // From here on the node is there: what it does not do in time, it does too slowly.
    let measured = tokio::time::timeout(within, measure(&mut link, bytes)).await;
    link.close().await;
    Ok(match measured {
        Ok(Ok(measured)) => judge(promise, &measured),
        Ok(Err(ProbeFailure::Local(reason))) => return Err(ProbeFailure::Local(reason)),
        Ok(Err(_)) | Err(_) => SlaBreach {
            round_trip: promise.round_trip_ms_max > 0 && bytes == 0,
            throughput: promise.throughput_kbps_min > 0,
        },
    })
}

/// The bytes that a transfer at this throughput lasts [`x0_limits::TRIAL_TRANSFER_MS`] for, within bounds.
fn bytes_for(kbps: u32) -> u32 {
    let bytes = u64::from(kbps).saturating_mul(x0_limits::TRIAL_TRANSFER_MS) / 8;
    u32::try_from(bytes).unwrap_or(u32::MAX).clamp(x0_limits::TRIAL_BYTES_MIN, x0_limits::TRIAL_BYTES_MAX)
}

pub(crate) async fn measure(link: &mut crate::probe::Link, bytes: u32) -> Result<Measured, ProbeFailure> {
    let mut round_trip = Duration::MAX;
    for _ in 0..x0_limits::TRIAL_PINGS {
        let nonce: u64 = rand::random();
        let sent = Instant::now();
        link.send(&ProbeRequest::Ping { nonce }).await?;
        match link.receive().await? {
            ProbeResponse::Pong { nonce: echoed } if echoed == nonce => round_trip = round_trip.min(sent.elapsed()),
            ProbeResponse::Refused(reason) => return Err(ProbeFailure::Refused(crate::probe::printable(&reason))),
            _ => return Err(ProbeFailure::WrongAnswer),
        }
    }
    if bytes == 0 {
        return Ok(Measured { round_trip, transfer: None });
    }
    let seed: [u8; 32] = rand::random();
    let sent = Instant::now();
    link.send(&ProbeRequest::Transfer { bytes, seed }).await?;
    let (mut got, mut number) = (0u64, 0u32);
    while got < u64::from(bytes) {
        let piece = match link.receive().await? {
            ProbeResponse::Piece(piece) => piece,
            ProbeResponse::Refused(reason) => return Err(ProbeFailure::Refused(crate::probe::printable(&reason))),
            _ => return Err(ProbeFailure::WrongAnswer),
        };
        got = got.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if piece.is_empty() || got > u64::from(bytes) || piece != transfer_piece(&seed, number, piece.len()) {
            return Err(ProbeFailure::WrongAnswer);
        }
        number = number.saturating_add(1);
    }
    // The request's own way is not part of the transfer.
    Ok(Measured { round_trip, transfer: Some((got, sent.elapsed().saturating_sub(round_trip / 2))) })
}

fn judge(promise: &Promise, measured: &Measured) -> SlaBreach {
    let round_trip_max = Duration::from_millis(promise.round_trip_ms_max.into());
    let throughput = measured.transfer.is_some_and(|(bytes, took)| {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        bytes.saturating_mul(8) / millis < throughput_wanted(promise.throughput_kbps_min)
    });
    SlaBreach { round_trip: promise.round_trip_ms_max > 0 && measured.round_trip > round_trip_max, throughput }
}

/// The throughput that a trial asks for: what was promised, at most what its largest transfer can show.
fn throughput_wanted(promised_kbps: u32) -> u64 {
    let shown = u64::from(x0_limits::TRIAL_BYTES_MAX) * 8 / x0_limits::TRIAL_TRANSFER_MS;
    u64::from(promised_kbps).min(shown)
}

/// The trials of windows that are not judged yet.
#[derive(Debug, Default)]
pub(crate) struct TrialBook(BTreeMap<(u64, DealId), [u32; 3]>);

impl TrialBook {
    /// Books the trials of a slot.
    pub(crate) fn note(&mut self, slot: Slot, trials: &[Trial]) {
        for trial in trials {
            let counts = self.0.entry((slot / x0_limits::TRIAL_WINDOW_SLOTS, trial.deal)).or_default();
            let seen = [true, trial.breach.round_trip, trial.breach.throughput];
            for (count, yes) in counts.iter_mut().zip(seen) {
                *count = count.saturating_add(u32::from(yes));
            }
        }
    }

    /// Takes out the windows before that of `slot`, with what most of their trials found broken.
    pub(crate) fn close_before(&mut self, slot: Slot) -> Vec<(u64, DealId, SlaBreach)> {
        let open = self.0.split_off(&(slot / x0_limits::TRIAL_WINDOW_SLOTS, 0));
        let closed = std::mem::replace(&mut self.0, open);
        let most = |of: u32, all: u32| of.saturating_mul(2) > all;
        closed
            .into_iter()
            .map(|((window, deal), [all, round_trip, throughput])| {
                (window, deal, SlaBreach { round_trip: most(round_trip, all), throughput: most(throughput, all) })
            })
            .filter(|(.., breach)| breach.any())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Promise = Promise { deal: 1, round_trip_ms_max: 50, throughput_kbps_min: 8_000, first_slot: 0 };

    #[test]
    fn a_trial_is_judged_by_the_promise_at_its_edge() {
        let measured = |ping_ms, bytes, took_ms| Measured {
            round_trip: Duration::from_millis(ping_ms),
            transfer: Some((bytes, Duration::from_millis(took_ms))),
        };
        assert_eq!(judge(&PROMISE, &measured(50, 200_000, 200)), SlaBreach::default());
        assert_eq!(judge(&PROMISE, &measured(51, 200_000, 200)), SlaBreach { round_trip: true, throughput: false });
        assert_eq!(judge(&PROMISE, &measured(1, 200_000, 201)), SlaBreach { round_trip: false, throughput: true });
        let nothing = Promise { round_trip_ms_max: 0, throughput_kbps_min: 0, ..PROMISE };
        assert_eq!(judge(&nothing, &measured(9_999, 1, 9_999)), SlaBreach::default());
    }

    #[test]
    fn trials_are_bounded_and_ask_for_what_they_can_show() {
        assert_eq!(bytes_for(8_000), 200_000);
        assert_eq!((bytes_for(1), bytes_for(u32::MAX)), (x0_limits::TRIAL_BYTES_MIN, x0_limits::TRIAL_BYTES_MAX));
        assert_eq!(throughput_wanted(8_000), 8_000);
        assert_eq!(throughput_wanted(u32::MAX), 41_943);
    }

    #[test]
    fn most_trials_of_a_window_decide() {
        let trial = |round_trip, throughput| Trial { deal: 1, breach: SlaBreach { round_trip, throughput } };
        let mut book = TrialBook::default();
        let w = x0_limits::TRIAL_WINDOW_SLOTS;
        book.note(3, &[trial(true, true)]);
        book.note(7, &[trial(true, false)]);
        book.note(9, &[trial(false, false)]);
        book.note(w + 1, &[trial(true, true)]);
        assert_eq!(book.close_before(w - 1), vec![], "the window is not over");
        assert_eq!(book.close_before(w), vec![(0, 1, SlaBreach { round_trip: true, throughput: false })]);
        assert_eq!(book.close_before(w), vec![]);
        assert_eq!(book.close_before(2 * w).len(), 1);
    }
}
