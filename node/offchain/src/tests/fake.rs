//! A chain and a clock that the test controls.

use super::agent::GENESIS;
use crate::{Chain, ChainError, Clock, Gate, SlotClock, Target};
use bytes::Bytes;
use codec::{Decode as _, Encode as _};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;
use x0_mempool::SubmitError;
use x0_types::{
    Hash, Moment,
    market::{Observation, Slot, observation_at},
};

/// Slots begin here, and are one second long.
pub(crate) const SLOTS: SlotClock = SlotClock { genesis_time_ms: 1_000_000, slot_ms: 1_000 };

/// A clock that moves when the test says so.
pub(crate) struct ManualClock(watch::Sender<Moment>);

impl ManualClock {
    pub(crate) fn at(now_ms: Moment) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(now_ms)))
    }

    pub(crate) fn set(&self, now_ms: Moment) {
        self.0.send_replace(now_ms);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> Moment {
        *self.0.borrow()
    }

    fn sleep_until(&self, at_ms: Moment) -> BoxFuture<'_, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            // The sender lives as long as `self`.
            let _ = now.wait_for(|now| *now >= at_ms).await;
        })
    }
}

/// A report as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) slot: Slot,
    pub(crate) observations: Vec<u8>,
    pub(crate) root: Hash,
}

impl Arrived {
    pub(crate) fn of(&self, index: u32) -> Observation {
        observation_at(&self.observations, index)
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) targets: Vec<Target>,
    pub(crate) arrived: Vec<Arrived>,
    pub(crate) on_chain: BTreeSet<Slot>,
    /// Slots whose targets cannot be read.
    pub(crate) unreadable: u32,
    pub(crate) gate: Option<Gate>,
    /// Answers to the next submissions; accepted when there is none.
    pub(crate) refusals: VecDeque<SubmitError>,
    pub(crate) reads: u32,
}

#[derive(Clone, Default)]
pub(crate) struct FakeChain(pub(crate) Arc<Mutex<State>>);

impl Chain for FakeChain {
    fn genesis_hash(&self) -> Hash {
        GENESIS
    }

    fn slot_clock(&self) -> Result<SlotClock, ChainError> {
        Ok(SLOTS)
    }

    fn targets(&self) -> Result<Vec<Target>, ChainError> {
        let mut state = self.0.lock();
        state.reads += 1;
        if state.unreadable > 0 {
            state.unreadable -= 1;
            return Err(ChainError::NoSlots);
        }
        Ok(state.targets.clone())
    }

    fn gate(&self, slot: Slot, now_ms: Moment) -> Result<Gate, ChainError> {
        let state = self.0.lock();
        if SLOTS.slot_at(now_ms) > slot + 1 + x0_limits::REPORT_GRACE_SLOTS {
            return Ok(Gate::TooLate);
        }
        if state.on_chain.contains(&slot) {
            return Ok(Gate::AlreadyReported);
        }
        Ok(state.gate.unwrap_or(Gate::Open))
    }

    fn report(&self, slot: Slot, observations: Vec<u8>, receipts_root: Hash) -> Result<Bytes, ChainError> {
        Ok((slot, observations, receipts_root).encode().into())
    }

    fn submit(&self, transaction: Bytes) -> BoxFuture<'_, Result<Hash, SubmitError>> {
        Box::pin(async move {
            let mut state = self.0.lock();
            if let Some(refusal) = state.refusals.pop_front() {
                return Err(refusal);
            }
            let (slot, observations, root) = <(Slot, Vec<u8>, Hash)>::decode(&mut &transaction[..]).unwrap();
            state.on_chain.insert(slot);
            state.arrived.push(Arrived { slot, observations, root });
            Ok(Hash::zero())
        })
    }
}

/// Waits until something holds; fails the test when it never does.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let patience = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    assert!(patience.await.is_ok(), "never happened: {what}");
}
