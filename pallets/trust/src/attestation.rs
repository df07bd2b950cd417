//! What agents say about themselves, offences, and the way back after a revocation.

use codec::Encode as _;
use frame_support::{
    dispatch::{DispatchResultWithPostInfo, Pays},
    ensure,
    traits::Get as _,
};
use sp_core::H256;
use x0_accounting::trust::decayed_ppm;
use x0_types::{
    AccountId, KeyRole, MlDsa65PublicKey, MlDsa65Signature,
    market::{Identities as _, Meter as _, Slot},
    trust::{AttestationStatement, OffenceSink, Severity, TrustTerms},
};

use crate::{
    Config, Error, Event, Formulas, Logs, Measurements, Pallet, Standings, Version,
    types::{Attestation, Entry, LogEntry, Standing},
};

impl<T: Config> Pallet<T> {
    /// The numbers of the formula that holds.
    #[must_use]
    pub fn terms() -> TrustTerms {
        Self::terms_of(Version::<T>::get())
    }

    /// The numbers of a version; the default ones for version 0.
    #[must_use]
    pub fn terms_of(version: u16) -> TrustTerms {
        Formulas::<T>::get(version).unwrap_or_default()
    }

    /// The epoch of a slot.
    pub(crate) fn epoch_of(slot: Slot) -> u64 {
        slot.checked_div(T::EpochSlots::get()).unwrap_or(0)
    }

    /// What is known about a node; a new record begins its heartbeats now.
    pub(crate) fn standing(node: &AccountId) -> Standing {
        Standings::<T>::get(node).unwrap_or_else(|| {
            let mut standing = Standing::default();
            Self::begin_heartbeats(node, &mut standing.behaviour);
            standing
        })
    }

    pub(crate) fn do_attest(
        statement: AttestationStatement<AccountId>,
        signature: &MlDsa65Signature,
    ) -> DispatchResultWithPostInfo {
        let now = T::Meter::current_slot();
        ensure!(T::Meter::counters(&statement.node).is_some(), Error::<T>::NotMeasured);
        ensure!(statement.slot <= now, Error::<T>::StatementFromFuture);
        ensure!(
            now.saturating_sub(statement.slot) <= x0_limits::ATTESTATION_AGE_SLOTS_MAX,
            Error::<T>::StatementTooOld
        );
        ensure!(Self::is_approved(&statement.measurement), Error::<T>::MeasurementNotApproved);
        let key = T::Identities::key(&statement.node, KeyRole::Agent).ok_or(Error::<T>::NoAgentKey)?;
        let fingerprint = key.fingerprint();
        let mut standing = Self::standing(&statement.node);
        let was_suspended = Self::is_suspended(&standing);
        ensure!(standing.revoked_key != Some(fingerprint), Error::<T>::KeyRevoked);
        let renews = match &standing.attestation {
            Some(last) => {
                ensure!(last.slot < statement.slot, Error::<T>::StatementSuperseded);
                last.measurement != statement.measurement
                    || statement.slot.saturating_sub(last.slot) > Self::terms().attestation_life_slots / 2
            }
            None => true,
        };
        // The signature comes last, because it costs the most.
        ensure!(Self::is_signed(&key, &statement, signature), Error::<T>::SignatureInvalid);
        if standing.revoked_key.take().is_some() {
            // One whole epoch of probation: the rest of this one does not count.
            standing.probation_until_epoch = Self::epoch_of(now).saturating_add(2);
            Self::log(&statement.node, Entry::Readmitted, fingerprint);
            let epoch = standing.probation_until_epoch;
            Self::deposit_event(Event::NodeReadmitted { node: statement.node.clone(), epoch });
        }
        let AttestationStatement { node, measurement, quote, slot } = statement;
        standing.attestation = Some(Attestation { measurement, quote, slot, key: fingerprint });
        Self::store(&node, was_suspended, standing);
        Self::log(&node, Entry::Attested, measurement);
        Self::deposit_event(Event::Attested { node, measurement, quote, slot });
        Ok(if renews { Pays::No } else { Pays::Yes }.into())
    }

    /// Whether this binary may be attested.
    pub(crate) fn is_approved(measurement: &H256) -> bool {
        Measurements::<T>::count() == 0 || Measurements::<T>::contains_key(measurement)
    }

    fn is_signed(
        key: &MlDsa65PublicKey,
        statement: &AttestationStatement<AccountId>,
        signature: &MlDsa65Signature,
    ) -> bool {
        let genesis =
            frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::default());
        let Ok(genesis) = <[u8; 32]>::try_from(genesis.as_ref()) else { return false };
        x0_crypto::verify_attestation(&key.0, &genesis, &statement.encode(), &signature.0)
    }

    /// Writes an offence down and lets it count.
    pub(crate) fn record(node: &AccountId, severity: Severity, evidence: H256) {
        let now = T::Meter::current_slot();
        let mut standing = Self::standing(node);
        let was_suspended = Self::is_suspended(&standing);
        match severity {
            Severity::Notice => {}
            Severity::Minor => Self::blame(&mut standing, Self::terms().offence_penalty_ppm[0], now),
            Severity::Major => Self::blame(&mut standing, Self::terms().offence_penalty_ppm[1], now),
            Severity::Critical => {
                let key = T::Identities::key(node, KeyRole::Agent).map(|key| key.fingerprint());
                // A node whose key is gone already comes back with another one in any case.
                let last = standing.attestation.take().map(|attestation| attestation.key);
                standing.revoked_key = key.or(last).or(Some(H256::zero()));
                Self::deposit_event(Event::NodeRevoked { node: node.clone() });
            }
        }
        Self::store(node, was_suspended, standing);
        Self::log(node, Entry::Offence(severity), evidence);
        Self::deposit_event(Event::OffenceRecorded { node: node.clone(), severity, evidence });
    }

    /// Adds to a node's penalty, which is at most the whole.
    pub(crate) fn blame(standing: &mut Standing, ppm: u32, now: Slot) {
        let behaviour = &mut standing.behaviour;
        let age = now.saturating_sub(behaviour.penalty_slot);
        let left = decayed_ppm(behaviour.penalty_ppm, age, Self::terms().half_life_slots);
        behaviour.penalty_ppm = left.saturating_add(ppm).min(x0_accounting::PPM);
        behaviour.penalty_slot = now;
    }

    /// Adds to a node's log; the oldest entry makes room.
    pub(crate) fn log(node: &AccountId, entry: Entry, evidence: H256) {
        let slot = T::Meter::current_slot();
        Logs::<T>::mutate(node, |log| {
            if log.is_full() {
                log.remove(0);
            }
            // There is room: the first entry has just gone.
            drop(log.try_push(LogEntry { slot, entry, evidence }));
        });
    }
}

impl<T: Config> OffenceSink<AccountId> for Pallet<T> {
    fn offence(node: &AccountId, severity: Severity, evidence: H256) {
        Self::record(node, severity, evidence);
    }
}
