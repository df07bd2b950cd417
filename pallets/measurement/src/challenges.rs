//! Receipts on demand: who says that a node was up shows the node's word for it when asked.

use crate::{
    Challenge, Challenges, Config, Error, Event, HoldReason, NextChallenge, Nodes, OpenChallenge, OpenChallenges,
    Pallet, Parameters, Provable, Reports, windows::Proposers,
};
use frame_support::{
    ensure,
    traits::{
        Time as _,
        fungible::hold::Mutate as _,
        tokens::{Fortitude, Precision, Restriction},
    },
};
use sp_runtime::{DispatchError, DispatchResult};
use x0_crypto::{PublicKey, Signature};
use x0_types::{
    AccountId, Hash, KeyRole,
    market::{Identities as _, Observation, Slot, observation_at},
    receipt::ReceiptProof,
};

/// Challenges that end in one block because nobody answered; the rest ends in the next ones.
const ENDED_PER_BLOCK: usize = 4;

impl<T: Config> Pallet<T> {
    /// The open challenges of one validator, with what its answers must show.
    #[must_use]
    pub fn challenges_of(validator: &AccountId) -> Vec<(u64, Challenge)> {
        let open = OpenChallenges::<T>::get();
        let own = open.iter().filter(|one| one.validator == *validator);
        own.filter_map(|one| Some((one.number, Challenges::<T>::get(one.number)?))).collect()
    }

    /// The hash of the chain's first block, which is part of what agents sign.
    pub(crate) fn genesis_hash() -> Option<[u8; 32]> {
        let genesis =
            frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::default());
        genesis.as_ref().try_into().ok()
    }

    pub(crate) fn do_challenge(
        challenger: AccountId,
        slot: Slot,
        validator: AccountId,
        node: AccountId,
    ) -> DispatchResult {
        ensure!(Provable::<T>::get().contains(&slot), Error::<T>::NotProvable);
        let report = Reports::<T>::get(slot, &validator).ok_or(Error::<T>::NotProvable)?;
        let record = Nodes::<T>::get(&node).filter(|record| record.since < slot);
        let index = record.ok_or(Error::<T>::NodeNotMeasured)?.index;
        ensure!(observation_at(&report.observations, index) == Observation::Up, Error::<T>::NotClaimed);
        let key = T::Identities::key(&node, KeyRole::Agent).ok_or(Error::<T>::KeyTooYoung)?;
        let since = T::Identities::key_since(&node, KeyRole::Agent).ok_or(Error::<T>::KeyTooYoung)?;
        // What validators read of the key when the slot began was the state of the block before its first one.
        let first = Self::first_block_from(slot).ok_or(Error::<T>::NotProvable)?;
        ensure!(since == 0 || since.saturating_add(2) <= first, Error::<T>::KeyTooYoung);

        let open = OpenChallenges::<T>::get();
        let again = open.iter().any(|one| one.validator == validator && one.slot == slot && one.index == index);
        ensure!(!again, Error::<T>::AlreadyChallenged);
        let of_validator = open.iter().filter(|one| one.validator == validator).count();
        ensure!(of_validator < x0_limits::CHALLENGES_OF_VALIDATOR_MAX, Error::<T>::TooManyChallenges);
        let terms = Parameters::<T>::get();
        let is_validator = Self::validator_of(&challenger).is_some();
        let deposit = if is_validator {
            let own = open.iter().filter(|one| one.challenger == challenger).count();
            ensure!(own < x0_limits::CHALLENGES_BY_VALIDATOR_MAX, Error::<T>::TooManyChallenges);
            0
        } else {
            T::Currency::hold(&HoldReason::Challenge.into(), &challenger, terms.challenge_deposit)?;
            terms.challenge_deposit
        };
        let number = NextChallenge::<T>::get();
        let answer_by = Self::slot_of(T::Time::now()).saturating_add(terms.answer_slots);
        let entry = OpenChallenge {
            number,
            validator: validator.clone(),
            challenger: challenger.clone(),
            deposit,
            slot,
            index,
            answer_by,
            since: Self::height(),
        };
        OpenChallenges::<T>::try_append(entry).map_err(|()| Error::<T>::TooManyChallenges)?;
        NextChallenge::<T>::put(number.saturating_add(1));
        let receipts_root: Hash = report.receipts_root;
        Challenges::<T>::insert(number, Challenge { node: node.clone(), slot, index, receipts_root, key });
        Self::deposit_event(Event::Challenged { challenge: number, slot, validator, node, challenger, answer_by });
        Ok(())
    }

    pub(crate) fn do_answer(number: u64, proof: &ReceiptProof) -> DispatchResult {
        let mut open = OpenChallenges::<T>::get();
        let place = open.iter().position(|one| one.number == number).ok_or(Error::<T>::NoChallenge)?;
        let wanted = Challenges::<T>::get(number).ok_or(Error::<T>::NoChallenge)?;
        let entry = open.remove(place);
        let node = (wanted.index, &wanted.node);
        let backs = proof.backs(&entry.validator, wanted.slot, node, &wanted.receipts_root);
        ensure!(backs.is_ok(), Error::<T>::ReceiptInvalid);
        let genesis = Self::genesis_hash().ok_or(Error::<T>::ReceiptInvalid)?;
        let body = proof.signed.receipt.signed_body();
        let verified =
            PublicKey::from(wanted.key.0).verify_receipt(&genesis, &body, &Signature::from(&*proof.signed.signature.0));
        ensure!(verified.is_ok(), Error::<T>::ReceiptInvalid);
        Self::pay_deposit(&entry, &entry.validator)?;
        OpenChallenges::<T>::put(open);
        Challenges::<T>::remove(number);
        Self::note_conduct(&entry.validator, |conduct| conduct.proved = conduct.proved.saturating_add(1));
        Self::deposit_event(Event::Proved { challenge: number, validator: entry.validator });
        Ok(())
    }

    /// Ends challenges whose time is over, by the clock and by the proposers since: nobody can censor an answer.
    pub(crate) fn end_challenges(current: Slot, proposers: &Proposers) {
        let mut open = OpenChallenges::<T>::get();
        let is_over = |one: &OpenChallenge| current > one.answer_by && proposers.are_enough_since(one.since);
        let over: Vec<OpenChallenge> = open.iter().filter(|one| is_over(one)).take(ENDED_PER_BLOCK).cloned().collect();
        if over.is_empty() {
            return;
        }
        open.retain(|one| over.iter().all(|ended| ended.number != one.number));
        OpenChallenges::<T>::put(open);
        for entry in over {
            if let Err(error) = Self::pay_deposit(&entry, &entry.challenger) {
                // A hold that this module made can always be released; the money stays held rather than lost.
                tracing::error!(target: "x0::measurement", number = entry.number, ?error, "a deposit stays held");
            }
            let node = Challenges::<T>::take(entry.number).map(|wanted| wanted.node);
            Self::note_conduct(&entry.validator, |conduct| conduct.unproven = conduct.unproven.saturating_add(1));
            if let Some(node) = node {
                let (challenge, slot, validator) = (entry.number, entry.slot, entry.validator);
                Self::deposit_event(Event::Unproven { challenge, slot, validator, node });
            }
        }
    }

    /// Gives a deposit back, or to the validator that was asked in vain.
    fn pay_deposit(entry: &OpenChallenge, to: &AccountId) -> Result<(), DispatchError> {
        if entry.deposit == 0 {
            return Ok(());
        }
        let reason = HoldReason::Challenge.into();
        if *to == entry.challenger {
            T::Currency::release(&reason, to, entry.deposit, Precision::Exact)?;
        } else {
            T::Currency::transfer_on_hold(
                &reason,
                &entry.challenger,
                to,
                entry.deposit,
                Precision::Exact,
                Restriction::Free,
                Fortitude::Force,
            )?;
        }
        Ok(())
    }
}
