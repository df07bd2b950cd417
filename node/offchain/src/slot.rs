//! All probes of one slot.

use crate::{
    chain::Target,
    clock::{Clock, SlotClock},
    probe::{ProbeFailure, Prober},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use rand::Rng as _;
use std::sync::Arc;
use tokio::sync::Semaphore;
use x0_types::{
    AccountId,
    market::{Observation, Slot, pack_observations},
    probe::SignedReceipt,
};

/// What came of one node in one slot.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) index: x0_types::market::NodeIndex,
    pub(crate) node: AccountId,
    pub(crate) result: Result<SignedReceipt, ProbeFailure>,
}

impl Seen {
    pub(crate) fn observation(&self) -> Observation {
        match &self.result {
            Ok(_) => Observation::Up,
            Err(failure) => failure.observation(),
        }
    }
}

/// Probes every target once, each at its own random moment of the slot, so that a node cannot tell
/// when it will be looked at, and so that the probes do not come all at once.
pub(crate) async fn probe_all(
    prober: &Prober,
    clock: &dyn Clock,
    slots: SlotClock,
    slot: Slot,
    targets: Vec<Target>,
    in_flight: &Arc<Semaphore>,
) -> Vec<Seen> {
    let first = clock.now_ms().max(slots.start_of(slot));
    let last = slots.last_probe_start(slot);
    let mut probes: FuturesUnordered<_> = targets
        .into_iter()
        .map(|target| {
            let at = if first < last { rand::rng().random_range(first..=last) } else { first };
            async move {
                clock.sleep_until(at).await;
                let result = probe_one(prober, clock, last, slot, &target, in_flight).await;
                Seen { index: target.index, node: target.node, result }
            }
        })
        .collect();
    let mut seen = Vec::with_capacity(probes.len());
    while let Some(one) = probes.next().await {
        seen.push(one);
    }
    seen
}

async fn probe_one(
    prober: &Prober,
    clock: &dyn Clock,
    last: u64,
    slot: Slot,
    target: &Target,
    in_flight: &Arc<Semaphore>,
) -> Result<SignedReceipt, ProbeFailure> {
    let _place = in_flight.acquire().await.map_err(|_| ProbeFailure::Local("the worker is stopping".to_owned()))?;
    // A probe that waited too long for its place would end after the slot: that is not the node's fault.
    let late_ms = clock.now_ms().saturating_sub(last);
    if late_ms > x0_limits::PROBE_MARGIN_MS {
        return Err(ProbeFailure::Local(format!("its turn came {late_ms} ms too late")));
    }
    prober.probe(target, slot).await
}

/// The report's bits: one observation for each index up to the highest one seen.
pub(crate) fn pack(seen: &[Seen]) -> Vec<u8> {
    let length = seen
        .iter()
        .map(|one| one.index)
        .max()
        .map_or(0, |highest| usize::try_from(highest).unwrap_or(usize::MAX).saturating_add(1));
    let mut observations = vec![Observation::None; length];
    for one in seen {
        if let Some(place) = usize::try_from(one.index).ok().and_then(|index| observations.get_mut(index)) {
            *place = one.observation();
        }
    }
    pack_observations(&observations)
}
