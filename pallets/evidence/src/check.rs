//! What makes evidence valid, and what follows from it.

use crate::{Config, Error, Event, Offence, Offences, Pallet, PunishedUntil};
use frame_support::ensure;
use frame_system::pallet_prelude::BlockNumberFor;
use pallet_x0_validators::Pallet as Validators;
use sp_runtime::{DispatchError, DispatchResult, SaturatedConversion};
use x0_crypto::{
    PublicKey, Signature,
    statement::{self, Place, Statement},
};
use x0_types::{
    AccountId, BlockNumber,
    evidence::{Evidence, SignedBody},
};

impl<T: Config> Pallet<T> {
    fn height() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// Whether a report of this evidence would count in the present block: nodes ask this before
    /// they report.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(evidence: &Evidence) -> DispatchResult {
        let now = Self::height();
        let Evidence { validator, height, round, step, first, second } = evidence;
        ensure!(*height <= now, Error::<T>::HeightInFuture);
        ensure!(now.saturating_sub(*height) <= x0_limits::EVIDENCE_AGE_BLOCKS_MAX, Error::<T>::TooOld);
        ensure!(PunishedUntil::<T>::get(validator).is_none_or(|until| *height > until), Error::<T>::AlreadyPunished);
        let step = statement::Step::from_byte(step.byte()).ok_or(Error::<T>::NotAStatement)?;
        let place = Place { height: (*height).into(), round: *round, step };
        let (left, right) = (Self::read(place, first)?, Self::read(place, second)?);
        ensure!(statement::contradict(&left, &right), Error::<T>::NoContradiction);
        let key = Validators::<T>::consensus_key_at(validator, *height).ok_or(Error::<T>::NotValidatorThen)?;
        // Signatures come last, because they cost the most.
        let key = PublicKey::from(key.0);
        let genesis = Self::genesis()?;
        for (statement, signed) in [(left, first), (right, second)] {
            let signature = Signature::from(signed.signature.0.clone());
            statement.verify(&key, &genesis, &signature).map_err(|_| Error::<T>::SignatureInvalid)?;
        }
        Ok(())
    }

    fn read(place: Place, signed: &SignedBody) -> Result<Statement, Error<T>> {
        let statement = Statement::decode(place.step, &signed.body).map_err(|_| Error::<T>::NotAStatement)?;
        if statement.place() == place { Ok(statement) } else { Err(Error::<T>::OtherPlace) }
    }

    /// The chain's name. The system module keeps the hash of the first block for ever.
    fn genesis() -> Result<[u8; 32], DispatchError> {
        let hash = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::default());
        <[u8; 32]>::try_from(hash.as_ref()).map_err(|_| Error::<T>::SignatureInvalid.into())
    }

    /// Records an offence that was checked and takes the validator's power.
    pub(crate) fn punish(evidence: &Evidence, reporter: AccountId) -> DispatchResult {
        let Evidence { validator, height, round, step, .. } = evidence;
        let reported_at = Self::height();
        let barred = Validators::<T>::bar(validator)?;
        // Until the set without it is in force, the validator takes part and signs.
        let until = reported_at.saturating_add(x0_limits::VALIDATOR_SET_DELAY_BLOCKS).saturating_sub(1);
        PunishedUntil::<T>::insert(validator, until);
        Offences::<T>::mutate(validator, |offences| {
            if offences.is_full() {
                offences.remove(0);
            }
            let offence = Offence {
                height: *height,
                round: *round,
                step: *step,
                reported_at,
                reporter: reporter.clone(),
                barred,
            };
            // There is room now.
            drop(offences.try_push(offence));
        });
        Self::deposit_event(Event::Equivocation {
            validator: validator.clone(),
            height: *height,
            round: *round,
            step: *step,
            reporter,
            barred,
        });
        Ok(())
    }

    /// Checks every rule that the storage of this module keeps. For tests and for try-runtime.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn check_invariants() -> Result<(), &'static str> {
        for (validator, offences) in Offences::<T>::iter() {
            let until = PunishedUntil::<T>::get(&validator).ok_or("evidence: an offence without a punishment")?;
            let last = offences.last().ok_or("evidence: a validator with an empty list of offences")?;
            if until.saturating_add(1) != last.reported_at.saturating_add(x0_limits::VALIDATOR_SET_DELAY_BLOCKS) {
                return Err("evidence: the punishment is not that of the last offence");
            }
            if offences.iter().any(|one| one.height > one.reported_at) {
                return Err("evidence: an offence was reported before it happened");
            }
            let apart = |pair: &[Offence]| matches!(pair, [earlier, later] if later.height > earlier.reported_at.saturating_add(1));
            if !offences.windows(2).all(apart) {
                return Err("evidence: one offence was punished twice");
            }
        }
        if PunishedUntil::<T>::iter_keys().count() != Offences::<T>::iter_keys().count() {
            return Err("evidence: a punishment without an offence");
        }
        Ok(())
    }
}
