//! What is true of trust after every block (T-I1 to T-I5 of the market's specification).

use std::collections::BTreeMap;

use frame_support::traits::fungible::InspectHold as _;
use x0_accounting::{PPM, trust::score_ppm};
use x0_types::{AccountId, deal::queue_key};

use crate::{Auditors, AuditsOf, Config, ConflictEnds, Conflicts, HoldReason, Pallet, Standings};

impl<T: Config> Pallet<T> {
    /// Checks every relation between the stored items. Reads everything: for tests and drills.
    ///
    /// # Errors
    /// The first relation that does not hold, in words.
    pub fn check_invariants() -> Result<(), &'static str> {
        Self::check_scores()?;
        Self::check_auditors()?;
        Self::check_conflicts()
    }

    fn check_scores() -> Result<(), &'static str> {
        for (_, standing) in Standings::<T>::iter() {
            let score = standing.score;
            let weight = Self::terms_of(score.version).stability_weight_ppm;
            if score.score_ppm > PPM || score.gate_ppm > PPM {
                return Err("T-I1: a share is above the whole");
            }
            if score.score_ppm != score_ppm(score.gate_ppm, score.stability_ppm, score.behaviour_ppm, weight) {
                return Err("T-I1: a score is not what its terms give");
            }
            if score.gate_ppm == 0 && score.score_ppm != 0 {
                return Err("T-I2: a score without an attestation");
            }
            if standing.behaviour.penalty_ppm > PPM {
                return Err("a penalty is above the whole");
            }
        }
        Ok(())
    }

    fn check_auditors() -> Result<(), &'static str> {
        let mut words = BTreeMap::<AccountId, u32>::new();
        for (_, audits) in AuditsOf::<T>::iter() {
            if audits.is_empty() {
                return Err("an empty list of audits is stored");
            }
            for audit in audits {
                *words.entry(audit.auditor).or_default() += 1;
            }
        }
        let mut frozen = BTreeMap::<AccountId, u32>::new();
        for (_, conflict) in Conflicts::<T>::iter() {
            for auditor in conflict.auditors {
                *frozen.entry(auditor).or_default() += 1;
            }
        }
        for (auditor, record) in Auditors::<T>::iter() {
            if words.remove(&auditor).unwrap_or(0) != record.audits {
                return Err("an auditor's count of audits is wrong");
            }
            if frozen.remove(&auditor).unwrap_or(0) != record.conflicts {
                return Err("an auditor's count of conflicts is wrong");
            }
            if T::Currency::balance_on_hold(&HoldReason::AuditorBond.into(), &auditor) != record.bond {
                return Err("an auditor's bond is not what is held");
            }
        }
        if words.is_empty() && frozen.is_empty() { Ok(()) } else { Err("words of an auditor who is none") }
    }

    fn check_conflicts() -> Result<(), &'static str> {
        let ends = ConflictEnds::<T>::iter_keys().count();
        let mut conflicts = 0;
        for (number, conflict) in Conflicts::<T>::iter() {
            conflicts += 1;
            if !ConflictEnds::<T>::contains_key(queue_key(conflict.until_slot, number)) {
                return Err("a conflict has no end");
            }
        }
        if ends == conflicts { Ok(()) } else { Err("an end without a conflict") }
    }
}
