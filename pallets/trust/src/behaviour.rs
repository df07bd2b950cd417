//! Heartbeats: what the validators' verdicts say about the gaps between a node's signs of life.
//!
//! Verdicts come by exception. Between two of them a node was UP in every slot that counts, so the gaps
//! of one slot each are taken in at once.

use frame_support::traits::Get as _;
use x0_types::{
    AccountId,
    market::{Counters, Meter as _, Slot, Verdict, VerdictListener},
};

use crate::{Config, Pallet, Standings, types::Behaviour};

impl<T: Config> Pallet<T> {
    /// Begins to count a node's heartbeats at its present counters.
    pub(crate) fn begin_heartbeats(node: &AccountId, behaviour: &mut Behaviour) {
        let counters = T::Meter::counters(node).unwrap_or_default();
        behaviour.folded = counters;
        behaviour.bad_at_epoch = counters.bad;
        behaviour.missed_run = 0;
    }

    /// Takes the heartbeats in that came since the last time, all in time. Those of a run of DOWN slots
    /// that goes on come with its end.
    pub(crate) fn fold(behaviour: &mut Behaviour, now: Counters) {
        let good = now.good_since(&behaviour.folded);
        let bad = now.bad.saturating_sub(behaviour.folded.bad);
        behaviour.gaps = behaviour.gaps.after_many(T::SlotMs::get(), good);
        behaviour.samples = behaviour.samples.saturating_add(good).saturating_add(bad);
        behaviour.folded = now;
    }

    /// Takes a verdict in. UNKNOWN and CONFLICT are neither a heartbeat nor a miss.
    fn hear(behaviour: &mut Behaviour, verdict: Verdict, now: Counters) {
        if verdict != Verdict::Up {
            Self::fold(behaviour, now);
            if verdict == Verdict::Down {
                behaviour.missed_run = behaviour.missed_run.saturating_add(1);
            }
            return;
        }
        // This heartbeat is the one that ends the run: its gap is as long as the run and one slot.
        let gap_ms = T::SlotMs::get().saturating_mul(u64::from(behaviour.missed_run).saturating_add(1));
        behaviour.gaps = behaviour.gaps.after(gap_ms);
        behaviour.samples = behaviour.samples.saturating_add(1);
        behaviour.missed_run = 0;
        behaviour.folded = now;
    }
}

impl<T: Config> VerdictListener<AccountId> for Pallet<T> {
    fn verdict(_: Slot, node: &AccountId, verdict: Verdict) {
        let Some(counters) = T::Meter::counters(node) else { return };
        let mut standing = Self::standing(node);
        if !Standings::<T>::contains_key(node) {
            // The record begins with this slot, which its counters hold already: make it count.
            let before = &mut standing.behaviour;
            before.folded.closed = before.folded.closed.saturating_sub(1);
            if verdict == Verdict::Down {
                before.folded.bad = before.folded.bad.saturating_sub(1);
                before.bad_at_epoch = before.folded.bad;
            }
        }
        Self::hear(&mut standing.behaviour, verdict, counters);
        Standings::<T>::insert(node, standing);
    }

    fn enrolled(node: &AccountId) {
        // A node that comes back has new counters; what it did before stays with it.
        Standings::<T>::mutate_extant(node, |standing| Self::begin_heartbeats(node, &mut standing.behaviour));
    }
}
