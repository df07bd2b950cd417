//! All probes of one slot.

use crate::{
    chain::Target,
    clock::{Clock, SlotClock},
    private::PrivateDraw,
    probe::{ProbeFailure, Prober, Proved},
    service::{self, ServiceFault},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use std::sync::Arc;
use tokio::sync::Semaphore;
use x0_types::{
    AccountId,
    deal::ServiceCheck,
    market::{Observation, Slot, pack_observations},
};

/// What came of one node in one slot.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) index: x0_types::market::NodeIndex,
    pub(crate) node: AccountId,
    pub(crate) result: Result<Proved, ProbeFailure>,
}

/// Who probes, and by which private draws.
#[derive(Clone)]
pub(crate) struct Eye {
    pub(crate) prober: Prober,
    pub(crate) draw: PrivateDraw,
    pub(crate) in_flight: Arc<Semaphore>,
    /// Places for trials. They are apart from probes, so that a node that drags out its trial holds up no report.
    pub(crate) trials: Arc<Semaphore>,
}

impl Seen {
    pub(crate) fn observation(&self) -> Observation {
        match &self.result {
            Ok(_) => Observation::Up,
            Err(failure) => failure.observation(),
        }
    }
}

/// Probes every target once, each at its own moment of the slot, drawn in private, so that a node cannot tell
/// when it will be looked at, and so that the probes do not come all at once.
pub(crate) async fn probe_all(
    eye: &Eye,
    clock: &dyn Clock,
    slots: SlotClock,
    slot: Slot,
    validator: &AccountId,
    targets: Vec<Target>,
) -> Vec<Seen> {
    let first = clock.now_ms().max(slots.start_of(slot));
    let last = slots.last_probe_start(slot);
    let mut probes: FuturesUnordered<_> = targets
        .into_iter()
        .map(|target| {
            let span = last.saturating_sub(first).saturating_add(1);
            let at = first.saturating_add(eye.draw.below(span, &("probe", slot, &target.node)));
            async move {
                clock.sleep_until(at).await;
                let result = look(eye, clock, last, slot, validator, &target).await;
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

/// The probe of one node, and the checks of what it serves, at the same time.
async fn look(
    eye: &Eye,
    clock: &dyn Clock,
    last: u64,
    slot: Slot,
    validator: &AccountId,
    target: &Target,
) -> Result<Proved, ProbeFailure> {
    let _place = eye.in_flight.acquire().await.map_err(|_| ProbeFailure::Local("the worker is stopping".to_owned()))?;
    // A probe that waited too long for its place would end after the slot: that is not the node's fault.
    let late_ms = clock.now_ms().saturating_sub(last);
    if late_ms > x0_limits::PROBE_MARGIN_MS {
        return Err(ProbeFailure::Local(format!("its turn came {late_ms} ms too late")));
    }
    let (probed, served) = tokio::join!(eye.prober.probe(target, slot, validator), services(eye, slot, target));
    let proved = probed?;
    match served {
        Ok(()) => Ok(proved),
        Err(ServiceFault::Local(reason)) => {
            tracing::debug!(slot, node = %target.node, reason, "a service was not checked");
            Ok(proved)
        }
        Err(fault) => Err(ProbeFailure::Service(fault)),
    }
}

/// Checks what the manifests of the node's deals declare: all of it, or as much as one slot allows, drawn in
/// private. The first fault is told.
async fn services(eye: &Eye, slot: Slot, target: &Target) -> Result<(), ServiceFault> {
    let Some(endpoint) = target.endpoint else { return Ok(()) };
    let mut drawn: Vec<(u64, &ServiceCheck)> = target
        .checks
        .iter()
        .map(|check| (eye.draw.below(u64::MAX, &("check", slot, &target.node, check)), check))
        .collect();
    drawn.sort_by_key(|(order, _)| *order);
    let policy = eye.prober.endpoints();
    let tried = drawn.into_iter().take(x0_limits::SERVICE_CHECKS_PER_SLOT);
    let outcomes = futures::future::join_all(tried.map(|(_, check)| service::check(endpoint, check, policy))).await;
    outcomes.into_iter().find(Result::is_err).unwrap_or(Ok(()))
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
