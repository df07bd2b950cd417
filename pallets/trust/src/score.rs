//! The score: computed once in each epoch, a bounded number of nodes in each block.

use codec::{Decode, Encode};
use frame_support::traits::Get as _;
use scale_info::TypeInfo;
use x0_accounting::{
    PPM,
    trust::{MISS_BUCKETS, common_misses, decayed_ppm, freshness_ppm, miss_bucket, score_ppm, stability_ppm},
};
use x0_types::{
    AccountId,
    deal::Region,
    market::{Counters, Identities as _, Meter as _, Slot},
    trust::{NodeRegions as _, ScoreTerms, SuspensionListener as _, TrustReading, TrustSource, TrustTerms, TrustTier},
};

use crate::{
    AuditsOf, Config, Epoch, Event, Logs, Pallet, RegionMisses, Standings, Sweeping, Version,
    types::{Part, Standing, Sweep},
};

/// Why a node has its score: everything that is needed to compute it again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Explanation {
    /// What other modules read now.
    pub reading: TrustReading,
    /// The gate at this slot; 0 closes it at once, whatever the last score was.
    pub gate_now_ppm: u32,
    /// The best tier of the audits that count now.
    pub audited_tier: u8,
    /// All that is known about the node, the terms of its last score among it.
    pub standing: Standing,
    /// The numbers of the formula's version that gave the score.
    pub terms: TrustTerms,
}

impl<T: Config> Pallet<T> {
    /// How far the gate of a node is open at a slot, ppm.
    pub(crate) fn gate(node: &AccountId, standing: &Standing, terms: &TrustTerms, now: Slot) -> u32 {
        let Some(attestation) = &standing.attestation else { return 0 };
        if standing.revoked_key.is_some() || Self::epoch_of(now) < standing.probation_until_epoch {
            return 0;
        }
        let freshness = freshness_ppm(now.saturating_sub(attestation.slot), terms.attestation_life_slots);
        if freshness == 0 || !Self::is_approved(&attestation.measurement) {
            return 0;
        }
        // Another key speaks for the node now: it has to attest itself again.
        let key = T::Identities::key(node, x0_types::KeyRole::Agent).map(|key| key.fingerprint());
        if key != Some(attestation.key) {
            return 0;
        }
        let tier = u32::from(Self::audited_tier(node, attestation, now));
        let reach = terms.self_measured_ppm.saturating_add(terms.audit_tier_ppm.saturating_mul(tier)).min(PPM);
        // Floored: in favour of the protocol.
        u32::try_from(u64::from(freshness) * u64::from(reach) / u64::from(PPM)).unwrap_or(0)
    }

    /// Why a node has its score; `None` for a node of which nothing is known.
    #[must_use]
    pub fn explain(node: &AccountId) -> Option<Explanation> {
        let standing = Standings::<T>::get(node)?;
        let now = T::Meter::current_slot();
        let gate_now_ppm = Self::gate(node, &standing, &Self::terms(), now);
        let audited_tier =
            standing.attestation.as_ref().map_or(0, |attestation| Self::audited_tier(node, attestation, now));
        Some(Explanation {
            reading: Self::reading_of(&standing, gate_now_ppm),
            gate_now_ppm,
            audited_tier,
            terms: Self::terms_of(standing.score.version),
            standing,
        })
    }

    /// Whether a node takes no new deals: it is revoked, or its gate was closed for too many epochs.
    pub(crate) const fn is_suspended(standing: &Standing) -> bool {
        standing.revoked_key.is_some() || standing.closed_epochs >= x0_limits::TRUST_SUSPENDED_AFTER_EPOCHS
    }

    /// Writes a record, and tells the market when the node is suspended now and was not before, or the
    /// other way round.
    pub(crate) fn store(node: &AccountId, was_suspended: bool, standing: Standing) {
        let changed = was_suspended != Self::is_suspended(&standing);
        Standings::<T>::insert(node, standing);
        if changed {
            T::Suspensions::suspension_changed(node);
        }
    }

    const fn reading_of(standing: &Standing, gate_now_ppm: u32) -> TrustReading {
        let suspended = Self::is_suspended(standing);
        TrustReading {
            // A closed gate acts at once; an open one gives what the last epoch computed.
            score_ppm: if gate_now_ppm == 0 { 0 } else { standing.score.score_ppm },
            tier: if suspended { TrustTier::Low } else { standing.tier },
            version: standing.score.version,
            suspended,
        }
    }

    /// Goes on with the computation of an epoch, or begins the next one. Returns how many nodes and
    /// regions were passed.
    pub(crate) fn sweep() -> u32 {
        let epoch = Self::epoch_of(T::Meter::current_slot());
        let begun = Sweeping::<T>::get();
        let Some(mut sweep) =
            begun.or_else(|| (epoch > Epoch::<T>::get()).then_some(Sweep { epoch, part: Part::Counting, after: None }))
        else {
            return 0;
        };
        let mut passed = 0;
        while passed < x0_limits::TRUST_NODES_PER_BLOCK {
            if Self::step(&mut sweep) {
                passed = passed.saturating_add(1);
                continue;
            }
            sweep.after = None;
            sweep.part = match sweep.part {
                Part::Counting => Part::Scoring,
                Part::Scoring => Part::Clearing,
                Part::Clearing => {
                    Sweeping::<T>::kill();
                    Epoch::<T>::put(sweep.epoch);
                    Self::deposit_event(Event::EpochScored { epoch: sweep.epoch });
                    return passed;
                }
            };
        }
        Sweeping::<T>::put(sweep);
        passed
    }

    /// Passes one node or region; `false` at the end of the part.
    fn step(sweep: &mut Sweep) -> bool {
        if sweep.part == Part::Clearing {
            return RegionMisses::<T>::drain().next().is_some();
        }
        let mut nodes = match &sweep.after {
            Some(key) => Standings::<T>::iter_from(key.to_vec()),
            None => Standings::<T>::iter(),
        };
        let Some((node, standing)) = nodes.next() else { return false };
        match sweep.part {
            Part::Counting => Self::count_misses(&node, &standing),
            _ => Self::score(&node, standing, sweep.epoch),
        }
        // A key of the map has 16 bytes of hash and 32 of account behind the prefix's 32.
        sweep.after = Standings::<T>::hashed_key_for(&node).try_into().ok();
        sweep.after.is_some()
    }

    fn region(node: &AccountId) -> Region {
        T::Regions::region(node).try_into().unwrap_or_default()
    }

    /// Missed slots of a measured node in this epoch.
    fn misses(standing: &Standing, counters: &Counters) -> u64 {
        counters.bad.saturating_sub(standing.behaviour.bad_at_epoch)
    }

    fn count_misses(node: &AccountId, standing: &Standing) {
        let Some(counters) = T::Meter::counters(node) else { return };
        let bucket = miss_bucket(Self::misses(standing, &counters));
        RegionMisses::<T>::mutate(Self::region(node), |counts| {
            let counts = counts.get_or_insert([0; MISS_BUCKETS]);
            if let Some(count) = counts.get_mut(bucket) {
                *count = count.saturating_add(1);
            }
        });
    }

    /// Computes the score of a node and writes it when anything that matters changed.
    fn score(node: &AccountId, before: Standing, epoch: u64) {
        let now = T::Meter::current_slot();
        let (version, terms) = (Version::<T>::get(), Self::terms());
        let counters = T::Meter::counters(node);
        let mut standing = before.clone();
        let (mut misses, mut common) = (0, 0);
        if let Some(counters) = counters {
            misses = Self::misses(&standing, &counters);
            let counts = RegionMisses::<T>::get(Self::region(node)).unwrap_or([0; MISS_BUCKETS]);
            common = common_misses(&counts, terms.region_nodes_min);
            Self::fold(&mut standing.behaviour, counters);
            standing.behaviour.bad_at_epoch = counters.bad;
            let own = misses.saturating_sub(common);
            if own > 0 {
                let blame = u64::from(terms.miss_penalty_ppm).saturating_mul(own);
                Self::blame(&mut standing, u32::try_from(blame).unwrap_or(PPM), now);
            }
        }
        let behaviour = &standing.behaviour;
        let age = now.saturating_sub(behaviour.penalty_slot);
        let penalty = decayed_ppm(behaviour.penalty_ppm, age, terms.half_life_slots);
        let gate_ppm = Self::gate(node, &standing, &terms, now);
        if counters.is_none() && penalty == 0 && gate_ppm == 0 && Self::forget(node, &standing) {
            return;
        }
        let stability = stability_ppm(behaviour.gaps, T::SlotMs::get(), terms.jitter_factor_ppm);
        let behaviour_ppm = PPM.saturating_sub(penalty);
        let score = score_ppm(gate_ppm, stability, behaviour_ppm, terms.stability_weight_ppm);
        standing.score = ScoreTerms {
            version,
            epoch,
            gate_ppm,
            stability_ppm: stability,
            behaviour_ppm,
            score_ppm: score,
            misses,
            common_misses: common,
            samples: behaviour.samples,
        };
        let was_attested = standing.attestation.is_some() || standing.revoked_key.is_some();
        standing.closed_epochs = if was_attested && gate_ppm == 0 {
            standing.closed_epochs.saturating_add(1).min(x0_limits::TRUST_SUSPENDED_AFTER_EPOCHS)
        } else {
            0
        };
        Self::move_tier(node, &mut standing, &terms);
        Self::keep(node, &before, standing, &terms);
    }

    /// Moves a node to another tier when its scores gave that tier often enough in a row.
    fn move_tier(node: &AccountId, standing: &mut Standing, terms: &TrustTerms) {
        let tier = if standing.score.samples < terms.samples_min {
            TrustTier::New
        } else {
            terms.tier_of(standing.score.score_ppm)
        };
        if tier == standing.tier {
            standing.candidate = (tier, 0);
            return;
        }
        let epochs = if standing.candidate.0 == tier { standing.candidate.1.saturating_add(1) } else { 1 };
        standing.candidate = (tier, epochs);
        if epochs >= terms.hysteresis_epochs {
            standing.tier = tier;
            standing.candidate = (tier, 0);
            Self::deposit_event(Event::TierChanged { node: node.clone(), tier });
        }
    }

    /// Writes a record unless nothing changed but the count of heartbeats that came in time, which can be
    /// taken in again later with the same result.
    fn keep(node: &AccountId, before: &Standing, after: Standing, terms: &TrustTerms) {
        let mut same = before.clone();
        if before.behaviour.samples >= terms.samples_min {
            same.behaviour.folded = after.behaviour.folded;
            same.behaviour.samples = after.behaviour.samples;
            same.score.samples = after.score.samples;
        }
        same.score.epoch = after.score.epoch;
        if same == after {
            return;
        }
        if before.score.score_ppm != after.score.score_ppm {
            let ScoreTerms { score_ppm, version, epoch, .. } = after.score;
            Self::deposit_event(Event::ScoreChanged { node: node.clone(), score_ppm, version, epoch });
        }
        Self::store(node, Self::is_suspended(before), after);
    }

    /// Forgets a node that is not measured and about which there is nothing left to say.
    fn forget(node: &AccountId, standing: &Standing) -> bool {
        Self::forget_old_audits(node);
        if standing.revoked_key.is_some() || AuditsOf::<T>::contains_key(node) {
            return false;
        }
        Standings::<T>::remove(node);
        Logs::<T>::remove(node);
        true
    }
}

impl<T: Config> TrustSource<AccountId> for Pallet<T> {
    fn reading(node: &AccountId) -> TrustReading {
        let Some(standing) = Standings::<T>::get(node) else { return TrustReading::default() };
        let gate = Self::gate(node, &standing, &Self::terms(), T::Meter::current_slot());
        Self::reading_of(&standing, gate)
    }
}
