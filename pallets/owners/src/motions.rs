//! What validators attest together.

use crate::{
    Attestations, Config, Error, Event, HoldReason, Motion, MotionKind, Motions, NextMotion, OpenMotion, OpenMotions,
    Pallet,
};
use codec::Encode;
use frame_support::{
    ensure,
    pallet_prelude::DispatchResult,
    storage::with_storage_layer,
    traits::{fungible::MutateHold, tokens::Precision},
};
use sp_runtime::SaturatedConversion;
use x0_types::{
    AccountId, Balance, Hash,
    market::{Meter, ValidatorSet},
};

/// Separates digests of motions from every other use of the hash function.
const DIGEST_DOMAIN: &[u8] = b"x0/owner-motion/v1";

impl<T: Config> Pallet<T> {
    /// What validators attest of a motion.
    #[must_use]
    pub fn digest_of(number: u32, kind: &MotionKind, evidence: &Hash) -> Hash {
        let mut bytes = DIGEST_DOMAIN.to_vec();
        (number, kind, evidence).encode_to(&mut bytes);
        Hash::from(sp_io::hashing::blake2_256(&bytes))
    }

    pub(crate) fn is_head(who: &AccountId) -> bool {
        T::Validators::current().iter().any(|(controller, _)| controller == who)
    }

    pub(crate) fn open_motion(opener: AccountId, kind: MotionKind, evidence: Hash, deposit: Balance) -> DispatchResult {
        let mut open = OpenMotions::<T>::get();
        let own = open.iter().filter(|motion| motion.opener == opener).count();
        ensure!(own < x0_limits::OWNER_MOTIONS_EACH_MAX as usize, Error::<T>::TooManyOwnMotions);
        let number = NextMotion::<T>::get();
        let expires_at = T::Meter::current_slot().saturating_add(x0_limits::OWNER_MOTION_SLOTS);
        open.try_push(OpenMotion { number, opener: opener.clone(), expires_at })
            .map_err(|_| Error::<T>::TooManyMotions)?;
        if deposit > 0 {
            T::Currency::hold(&HoldReason::Owner.into(), &opener, deposit)?;
        }
        NextMotion::<T>::put(number.checked_add(1).ok_or(Error::<T>::Overflow)?);
        OpenMotions::<T>::put(open);
        let digest = Self::digest_of(number, &kind, &evidence);
        let motion = Motion { opener: opener.clone(), kind, evidence, digest, deposit, expires_at };
        Motions::<T>::insert(number, motion);
        Self::deposit_event(Event::MotionOpened { motion: number, opener, digest, expires_at });
        Ok(())
    }

    pub(crate) fn do_attest(who: AccountId, number: u32, digest: Hash) -> DispatchResult {
        let heads: Vec<AccountId> = T::Validators::current().into_iter().map(|(controller, _)| controller).collect();
        ensure!(heads.contains(&who), Error::<T>::NotValidator);
        let motion = Motions::<T>::get(number).ok_or(Error::<T>::UnknownMotion)?;
        ensure!(T::Meter::current_slot() <= motion.expires_at, Error::<T>::UnknownMotion);
        ensure!(motion.digest == digest, Error::<T>::OtherDigest);
        let mut attested = Attestations::<T>::get(number);
        // The set may have shrunk since the last attestation: then anybody who attested starts the motion.
        attested.retain(|one| heads.contains(one));
        let is_new = !attested.contains(&who);
        if is_new {
            attested.try_push(who.clone()).map_err(|_| Error::<T>::Overflow)?;
        }
        let (count, of): (u32, u32) = (attested.len().saturated_into(), heads.len().saturated_into());
        let enough = u64::from(count).saturating_mul(3) > u64::from(of).saturating_mul(2);
        ensure!(is_new || enough, Error::<T>::AlreadyAttested);
        Self::deposit_event(Event::Attested { motion: number, validator: who, heads: count, of });
        if !enough {
            Attestations::<T>::insert(number, attested);
            return Ok(());
        }
        Self::forget(number);
        carry_out::<T>(number, motion)
    }

    /// Closes motions whose time is over, at most `most`: the first ones, since all live equally long.
    pub(crate) fn close_expired(most: u32) -> u32 {
        let now = T::Meter::current_slot();
        let expired: Vec<u32> = OpenMotions::<T>::get()
            .into_iter()
            .take_while(|motion| motion.expires_at < now)
            .take(most as usize)
            .map(|motion| motion.number)
            .collect();
        for number in &expired {
            Self::close_motion(*number);
        }
        expired.len().saturated_into()
    }

    /// Ends a motion without effect; its deposit goes back.
    pub(crate) fn close_motion(number: u32) {
        if let Some(motion) = Motions::<T>::get(number) {
            release::<T>(&motion);
        }
        Self::forget(number);
        Self::deposit_event(Event::MotionClosed { motion: number });
    }

    fn forget(number: u32) {
        Motions::<T>::remove(number);
        Attestations::<T>::remove(number);
        OpenMotions::<T>::mutate(|open| open.retain(|motion| motion.number != number));
    }
}

/// Does what was attested. What cannot be done any more, because an account found another owner meanwhile,
/// ends the motion too, and gives its deposit back.
fn carry_out<T: Config>(number: u32, motion: Motion) -> DispatchResult {
    let (deposit, evidence) = (motion.deposit, motion.evidence);
    let keeps_deposit = matches!(motion.kind, MotionKind::Admit { .. });
    let result = with_storage_layer(|| match motion.kind.clone() {
        MotionKind::Admit { accounts } => Pallet::<T>::admit(accounts, evidence, motion.opener.clone(), deposit),
        MotionKind::Change { owner, accounts } => Pallet::<T>::change_accounts(owner, accounts, evidence),
        MotionKind::Revoke { owner } => Pallet::<T>::revoke(owner, evidence),
    });
    // A new record keeps the deposit for as long as it stands.
    if !keeps_deposit || result.is_err() {
        release::<T>(&motion);
    }
    Pallet::<T>::deposit_event(Event::MotionDone { motion: number, result });
    Ok(())
}

/// What is held can always be released, so the answer is of no use.
fn release<T: Config>(motion: &Motion) {
    if motion.deposit == 0 {
        return;
    }
    let released =
        T::Currency::release(&HoldReason::Owner.into(), &motion.opener, motion.deposit, Precision::BestEffort);
    debug_assert!(released.is_ok(), "a deposit on hold is released");
}
