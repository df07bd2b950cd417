//! A chain and a clock that the test controls.

use super::agent::GENESIS;
use crate::{Asked, Chain, ChainError, Clock, Gate, Message, Showing, SlotClock, Target};
use bytes::Bytes;
use codec::{Decode as _, Encode as _};
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;
use x0_mempool::SubmitError;
use x0_types::{
    AccountId, Hash, Moment,
    market::{DealId, Observation, SlaBreach, Slot, observation_at},
    receipt::{ReceiptProof, report_commitment},
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

/// The validator of these tests.
pub(crate) const VALIDATOR: AccountId = AccountId::new([5; 32]);

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
    /// Commitments on the chain.
    pub(crate) committed: BTreeMap<Slot, Hash>,
    /// Reports that may be shown; all others wait.
    pub(crate) revealing: BTreeSet<Slot>,
    /// Reports that were shown.
    pub(crate) arrived: Vec<Arrived>,
    /// Receipts that somebody asks for.
    pub(crate) asked: Vec<Asked>,
    pub(crate) answers: Vec<(u64, ReceiptProof)>,
    pub(crate) complaints: Vec<(DealId, u64, SlaBreach)>,
    pub(crate) heads: Option<watch::Sender<u64>>,
    /// What was signed, by the hash of its transaction.
    signed: Vec<Message>,
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
        if state.committed.contains_key(&slot) {
            return Ok(Gate::AlreadyReported);
        }
        Ok(state.gate.unwrap_or(Gate::Open))
    }

    fn validator(&self) -> Result<Option<AccountId>, ChainError> {
        Ok(Some(VALIDATOR))
    }

    fn duties(&self, slots: &[Slot]) -> Result<(Vec<Showing>, Vec<Asked>), ChainError> {
        let state = self.0.lock();
        let showing = |slot: &Slot| match (state.committed.contains_key(slot), state.revealing.contains(slot)) {
            _ if state.arrived.iter().any(|one| one.slot == *slot) => Showing::Settled,
            (true, true) => Showing::Open,
            (true, false) => Showing::Hidden,
            (false, true) => Showing::Settled,
            (false, false) => Showing::Uncommitted,
        };
        let open = |asked: &&Asked| state.answers.iter().all(|(number, _)| *number != asked.challenge);
        Ok((slots.iter().map(showing).collect(), state.asked.iter().filter(open).copied().collect()))
    }

    fn sign(&self, message: Message) -> Result<Bytes, ChainError> {
        let mut state = self.0.lock();
        state.signed.push(message);
        Ok((state.signed.len() as u64 - 1).encode().into())
    }

    fn waits(&self, _: &Hash) -> bool {
        false
    }

    fn heads(&self) -> BoxStream<'static, ()> {
        let heads = self.0.lock().heads.get_or_insert_with(|| watch::Sender::new(0)).subscribe();
        futures::stream::unfold(heads, |mut heads| async move { heads.changed().await.ok().map(|()| ((), heads)) })
            .boxed()
    }

    fn submit(&self, transaction: Bytes) -> BoxFuture<'_, Result<Hash, SubmitError>> {
        Box::pin(async move {
            let mut state = self.0.lock();
            if let Some(refusal) = state.refusals.pop_front() {
                return Err(refusal);
            }
            let number = u64::decode(&mut &transaction[..]).unwrap();
            match state.signed[number as usize].clone() {
                Message::Commit { slot, commitment } => {
                    assert_eq!(state.committed.insert(slot, commitment), None, "slot {slot} is committed to twice");
                }
                Message::Reveal { slot, observations, receipts_root: root, salt } => {
                    let hash = report_commitment(&VALIDATOR, slot, &observations, &root, &salt);
                    assert_eq!(state.committed.get(&slot), Some(&hash), "what is shown is what was committed to");
                    assert!(state.revealing.contains(&slot), "slot {slot} is shown too early");
                    state.arrived.push(Arrived { slot, observations, root });
                }
                Message::Answer { challenge, proof } => state.answers.push((challenge, *proof)),
                Message::Complain { deal, window, breach } => state.complaints.push((deal, window, breach)),
            }
            Ok(Hash::from_low_u64_be(number))
        })
    }
}

impl FakeChain {
    /// A head in which the reports of these slots may be shown.
    pub(crate) fn head(&self, revealing: impl IntoIterator<Item = Slot>) {
        let mut state = self.0.lock();
        state.revealing.extend(revealing);
        state.heads.get_or_insert_with(|| watch::Sender::new(0)).send_modify(|number| *number += 1);
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
