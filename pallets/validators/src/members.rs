//! Who belongs to the network: candidates, leaving, barring, and who proposed what.

use crate::{Barred, Candidates, Config, Current, Error, Event, Pallet, Powers, Proposers, Upcoming, Validator};
use codec::DecodeAll;
use frame_support::ensure;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::{DigestItem, DispatchError, DispatchResult, SaturatedConversion};
use std::collections::BTreeSet;
use x0_types::{AccountId, KeyRole, account::PROPOSER_ENGINE_ID, market::Identities};

impl<T: Config> Pallet<T> {
    /// Fingerprints of the valid Network keys of everybody who may take part in the network: the
    /// validators of the present set and of those that are decided, and the candidates. In order,
    /// each once.
    #[must_use]
    pub fn admitted_network_keys() -> Vec<[u8; 32]> {
        let mut admitted: BTreeSet<AccountId> = Candidates::<T>::get().into_iter().collect();
        let members = |set: &[Validator]| set.iter().map(|one| one.controller.clone()).collect::<Vec<_>>();
        admitted.extend(members(&Current::<T>::get()));
        for set in Upcoming::<T>::get() {
            admitted.extend(members(&set.validators));
        }
        let keys: BTreeSet<[u8; 32]> = admitted
            .into_iter()
            .filter_map(|one| pallet_x0_did::Pallet::<T>::key(&one, KeyRole::Network))
            .map(|key| key.fingerprint().0)
            .collect();
        keys.into_iter().collect()
    }

    pub(crate) fn do_admit(controller: AccountId) -> DispatchResult {
        ensure!(!Barred::<T>::contains_key(&controller), Error::<T>::Barred);
        ensure!(
            <pallet_x0_did::Pallet<T> as Identities<AccountId>>::has_key(&controller, KeyRole::Network),
            Error::<T>::NoNetworkKey
        );
        let is_member = Self::latest().iter().any(|member| member.controller == controller);
        let mut candidates = Candidates::<T>::get();
        ensure!(!is_member && !candidates.contains(&controller), Error::<T>::AlreadyAdmitted);
        candidates.try_push(controller.clone()).map_err(|_| Error::<T>::TooManyCandidates)?;
        Candidates::<T>::put(candidates);
        Self::deposit_event(Event::CandidateAdmitted { controller });
        Ok(())
    }

    /// Takes an account off the list of candidates; says whether it stood there.
    pub(crate) fn drop_candidate(controller: &AccountId) -> bool {
        let mut candidates = Candidates::<T>::get();
        let before = candidates.len();
        candidates.retain(|one| one != controller);
        let dropped = candidates.len() < before;
        if dropped {
            Candidates::<T>::put(candidates);
            Self::deposit_event(Event::CandidateDismissed { controller: controller.clone() });
        }
        dropped
    }

    /// A candidate that gets power is a candidate no longer. It stays admitted, as a validator.
    pub(crate) fn drop_candidates_in_set() {
        let mut candidates = Candidates::<T>::get();
        if candidates.is_empty() {
            return;
        }
        let latest: BTreeSet<AccountId> = Self::latest().into_iter().map(|member| member.controller).collect();
        let before = candidates.len();
        candidates.retain(|one| !latest.contains(one));
        if candidates.len() < before {
            Candidates::<T>::put(candidates);
        }
    }

    pub(crate) fn do_leave(who: AccountId) -> DispatchResult {
        let mut members = Self::latest();
        let before = members.len();
        members.retain(|member| member.controller != who);
        ensure!(members.len() < before, Error::<T>::UnknownValidator);
        ensure!(!members.is_empty(), Error::<T>::EmptySet);
        let powers = Powers::<T>::get();
        let total: u128 = powers.iter().map(|(_, power)| u128::from(*power)).sum();
        let left: u128 = powers
            .iter()
            .filter(|(controller, _)| members.iter().any(|member| member.controller == *controller))
            .map(|(_, power)| u128::from(*power))
            .sum();
        ensure!(x0_crypto::certificate::is_quorum(left, total), Error::<T>::LeaveTooLarge);
        Self::schedule(members)?;
        Self::deposit_event(Event::Left { controller: who });
        Ok(())
    }

    /// Takes a validator's power and its way back. Says whether it did: the last validator stays,
    /// because a chain without validators would stand still for ever.
    ///
    /// # Errors
    /// Those of a set change, none of which the removal of a member can cause.
    pub fn bar(controller: &AccountId) -> Result<bool, DispatchError> {
        let mut members = Self::latest();
        let before = members.len();
        members.retain(|member| member.controller != *controller);
        if members.is_empty() {
            return Ok(false);
        }
        Barred::<T>::insert(controller, Self::height());
        Self::drop_candidate(controller);
        if members.len() < before {
            Self::schedule(members)?;
        }
        Self::deposit_event(Event::ValidatorBarred { controller: controller.clone() });
        Ok(true)
    }

    /// Counts the block for the validator that its header names.
    pub(crate) fn count_proposer(now: BlockNumberFor<T>) {
        let digest = frame_system::Pallet::<T>::digest();
        let named = digest.logs().iter().filter_map(DigestItem::as_pre_runtime).find_map(|(engine, mut bytes)| {
            if engine == PROPOSER_ENGINE_ID { AccountId::decode_all(&mut bytes).ok() } else { None }
        });
        // Who is no validator is not counted: nobody makes entries by naming strangers.
        if let Some(controller) = named
            && let Some(mut proposer) = Proposers::<T>::get(&controller)
        {
            proposer.blocks = proposer.blocks.saturating_add(1);
            proposer.last = now.saturated_into();
            Proposers::<T>::insert(controller, proposer);
        }
    }
}
