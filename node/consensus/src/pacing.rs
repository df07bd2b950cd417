//! When the next block is due.
//!
//! After a block the engine waits for the host's word to start the next height. The host gives it
//! * at once, when there is a transaction or a peer is already at the next height, but not before
//!   [`Pacing::busy_ms`] have passed since the start of a block that was itself made for work, so that transactions
//!   gather while the chain is busy;
//! * after [`Pacing::idle_ms`] without work, unless the chain runs on demand only.
//!
//! A transaction on an idle chain therefore never waits: the floor concerns back-to-back blocks.
//! Pacing is local. It cannot make blocks invalid, and a peer can at worst make this node start heights at the
//! busy interval.

use parking_lot::Mutex;
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How fast blocks follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Distance between the starts of blocks while there is work, milliseconds.
    pub busy_ms: u64,
    /// Longest wait for work before an empty block, milliseconds.
    pub idle_ms: u64,
    /// Makes blocks for work only: no idle blocks.
    pub on_demand: bool,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            busy_ms: x0_limits::BLOCK_INTERVAL_BUSY_MS,
            idle_ms: x0_limits::BLOCK_INTERVAL_IDLE_MS,
            on_demand: false,
        }
    }
}

/// Why a height starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Transactions wait here.
    Work,
    /// A peer is at this height.
    Peer,
    /// The idle timer ran out.
    Idle,
    /// This node is catching up.
    Sync,
}

#[derive(Debug)]
struct State {
    /// The last start, and why.
    last: Option<(Instant, Reason)>,
    /// Greatest height that a peer is at.
    peers_at: u64,
    /// Greatest height that came from synchronisation.
    synced: Option<u64>,
}

/// Decides when heights start.
#[derive(Debug)]
pub struct Pacer {
    pacing: Pacing,
    state: Mutex<State>,
    woken: Notify,
}

impl Pacer {
    /// A pacer that has not started a height yet.
    #[must_use]
    pub fn new(pacing: Pacing) -> Self {
        Self { pacing, state: Mutex::new(State { last: None, peers_at: 0, synced: None }), woken: Notify::new() }
    }

    /// A peer is at this height, or beyond it.
    pub fn peer_at(&self, height: u64) {
        let mut state = self.state.lock();
        if height > state.peers_at {
            state.peers_at = height;
            drop(state);
            // At most one task waits: the answer to the last decided height.
            self.woken.notify_one();
        }
    }

    /// The block of this height came from synchronisation: the next one is not this node's to pace.
    pub fn synced(&self, height: u64) {
        let mut state = self.state.lock();
        state.synced = state.synced.max(Some(height));
    }

    /// Waits until `height` is due. `has_work` tells whether transactions wait, `work` ends when one
    /// comes.
    pub async fn wait_for<W: Future<Output = ()>>(
        &self,
        height: u64,
        has_work: impl Fn() -> bool,
        work: impl Fn() -> W,
    ) -> Reason {
        let since = Instant::now();
        loop {
            match self.decide(height, since, Instant::now(), &has_work) {
                Decision::Start(reason) => {
                    self.started(Instant::now(), reason);
                    return reason;
                }
                Decision::Gather(until) => tokio::time::sleep_until(until.into()).await,
                Decision::Wait(until) => {
                    let timer = async {
                        match until {
                            Some(until) => tokio::time::sleep_until(until.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = work() => {}
                        () = self.woken.notified() => {}
                        () = timer => {}
                    }
                }
            }
        }
    }

    /// Notes that a height starts.
    pub fn started(&self, at: Instant, reason: Reason) {
        self.state.lock().last = Some((at, reason));
    }

    /// What to do `now`, the height before being final `since` then. It only compares times, so that a
    /// simulation with a clock of its own asks the same rules.
    pub fn decide(&self, height: u64, since: Instant, now: Instant, has_work: impl Fn() -> bool) -> Decision {
        let (peer, floor) = {
            let state = self.state.lock();
            let peer = state.peers_at >= height;
            if peer && state.synced == height.checked_sub(1) {
                return Decision::Start(Reason::Sync);
            }
            let floor = match state.last {
                Some((at, Reason::Work | Reason::Peer)) => Some(at + Duration::from_millis(self.pacing.busy_ms)),
                _ => None,
            };
            (peer, floor)
        };
        if let Some(floor) = floor
            && now < floor
        {
            return Decision::Gather(floor);
        }
        if peer {
            return Decision::Start(Reason::Peer);
        }
        if has_work() {
            return Decision::Start(Reason::Work);
        }
        if self.pacing.on_demand {
            return Decision::Wait(None);
        }
        let idle = since + Duration::from_millis(self.pacing.idle_ms);
        if now >= idle { Decision::Start(Reason::Idle) } else { Decision::Wait(Some(idle)) }
    }
}

/// What a pacer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start the height.
    Start(Reason),
    /// Wait until then, whatever comes: transactions gather.
    Gather(Instant),
    /// Wait for work, a peer, or until then.
    Wait(Option<Instant>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const PACING: Pacing = Pacing { busy_ms: 150, idle_ms: 2_000, on_demand: false };

    #[test]
    fn an_idle_chain_answers_at_once_and_beats_slowly() {
        let pacer = Pacer::new(PACING);
        let now = Instant::now();
        let idle = now + Duration::from_millis(2_000);
        pacer.started(now, Reason::Idle);
        assert_eq!(pacer.decide(2, now, now, || false), Decision::Wait(Some(idle)));
        assert_eq!(pacer.decide(2, now, now, || true), Decision::Start(Reason::Work), "no floor after an idle block");
        assert_eq!(pacer.decide(2, now, idle, || false), Decision::Start(Reason::Idle));
    }

    #[test]
    fn busy_blocks_keep_their_distance() {
        let pacer = Pacer::new(PACING);
        let now = Instant::now();
        let floor = now + Duration::from_millis(150);
        for reason in [Reason::Work, Reason::Peer] {
            pacer.started(now, reason);
            pacer.peer_at(1);
            assert_eq!(pacer.decide(2, now, now, || true), Decision::Gather(floor));
            assert_eq!(pacer.decide(2, now, floor, || true), Decision::Start(Reason::Work));
        }
    }

    #[test]
    fn on_demand_makes_no_idle_blocks_and_catching_up_is_not_paced() {
        let pacer = Pacer::new(Pacing { on_demand: true, ..PACING });
        let now = Instant::now();
        let late = now + Duration::from_secs(3_600);
        assert_eq!(pacer.decide(1, now, late, || false), Decision::Wait(None));
        pacer.peer_at(9);
        assert_eq!(pacer.decide(5, now, now, || false), Decision::Start(Reason::Peer));
        pacer.started(now, Reason::Peer);
        pacer.synced(5);
        assert_eq!(pacer.decide(6, now, now, || false), Decision::Start(Reason::Sync));
        // A peer that claims a height does not make this node run faster than the busy interval.
        assert!(matches!(pacer.decide(8, now, now, || false), Decision::Gather(_)));
    }

    #[tokio::test]
    async fn a_peer_ends_the_wait() {
        let pacer = Arc::new(Pacer::new(Pacing { on_demand: true, ..PACING }));
        let waiting = Arc::clone(&pacer);
        let task = tokio::spawn(async move { waiting.wait_for(1, || false, std::future::pending).await });
        pacer.peer_at(1);
        assert_eq!(task.await.unwrap(), Reason::Peer);
    }
}
