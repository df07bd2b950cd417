//! Sets by height: the rules behind the calls, and what other modules ask.

use crate::{
    Barred, CONSENSUS_ENGINE_ID, Config, Current, Error, Event, GenesisValidator, OpenProposals, Pallet, PowerList,
    Powers, Upcoming, UpcomingSet, Validator, ValidatorList, WeightInfo,
};
use codec::Encode;
use frame_support::{
    ensure,
    pallet_prelude::{DispatchError, DispatchResult, Weight},
};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::{DigestItem, SaturatedConversion};
use x0_types::{AccountId, BlockNumber, Hash, KeyRole, MlDsa65PublicKey, market::Identities};

impl<T: Config> Pallet<T> {
    /// The set that decides the given height. Known for the height of this state and the next
    /// [`x0_limits::VALIDATOR_SET_DELAY_BLOCKS`] ones; empty for any other.
    #[must_use]
    pub fn set_at(height: BlockNumber) -> Vec<Validator> {
        let now = Self::height();
        if height < now || height > now.saturating_add(x0_limits::VALIDATOR_SET_DELAY_BLOCKS) {
            return Vec::new();
        }
        Upcoming::<T>::get()
            .into_iter()
            .rev()
            .find(|set| set.from <= height)
            .map_or_else(Current::<T>::get, |set| set.validators)
            .into_inner()
    }

    /// Valid Network keys of the present validators, by controller.
    #[must_use]
    pub fn network_keys() -> Vec<(AccountId, MlDsa65PublicKey)> {
        Powers::<T>::get()
            .into_iter()
            .filter_map(|(controller, _)| {
                let key = pallet_x0_did::Pallet::<T>::key(&controller, KeyRole::Network)?;
                Some((controller, key))
            })
            .collect()
    }

    /// BLAKE2b-256 of the SCALE encoding of a set (a list of [`Validator`]): what the digest item
    /// carries, so that light clients can follow the set.
    #[must_use]
    pub fn set_hash(validators: &[Validator]) -> Hash {
        Hash::from(sp_io::hashing::blake2_256(&validators.encode()))
    }

    pub(crate) fn height() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// The set after all changes that are decided by now.
    pub(crate) fn latest() -> Vec<Validator> {
        Upcoming::<T>::get().pop().map_or_else(Current::<T>::get, |set| set.validators).into_inner()
    }

    /// A member with the Consensus key that its controller has now.
    pub(crate) fn member(controller: AccountId, power: u64) -> Result<Validator, DispatchError> {
        ensure!(!Barred::<T>::contains_key(&controller), Error::<T>::Barred);
        let identities_key = pallet_x0_did::Pallet::<T>::key(&controller, KeyRole::Consensus);
        let consensus_key = identities_key.ok_or(Error::<T>::NoConsensusKey)?;
        Ok(Validator { controller, consensus_key, power })
    }

    fn checked(mut members: Vec<Validator>) -> Result<ValidatorList, Error<T>> {
        ensure!(!members.is_empty(), Error::<T>::EmptySet);
        for member in &members {
            ensure!(member.power > 0, Error::<T>::PowerZero);
            ensure!(member.power <= x0_limits::VALIDATOR_POWER_MAX, Error::<T>::PowerTooLarge);
        }
        members.sort_by(|left, right| left.controller.cmp(&right.controller));
        let unique =
            members.windows(2).all(|pair| matches!(pair, [left, right] if left.controller != right.controller));
        ensure!(unique, Error::<T>::DuplicateValidator);
        ValidatorList::try_from(members).map_err(|_| Error::<T>::TooManyValidators)
    }

    /// Decides the set of the height after the delay, in place of one that this block decided before.
    pub(crate) fn schedule(members: Vec<Validator>) -> DispatchResult {
        let validators = Self::checked(members)?;
        Self::ensure_spans_fit(&validators)?;
        let from = Self::height().saturating_add(x0_limits::VALIDATOR_SET_DELAY_BLOCKS);
        let count = validators.len().saturated_into();
        let hash = Self::set_hash(&validators);
        let mut upcoming = Upcoming::<T>::get();
        upcoming.retain(|set| set.from < from);
        // At most the set of the next height is left, so there is room for one more.
        upcoming.try_push(UpcomingSet { from, validators }).map_err(|_| Error::<T>::TooManyValidators)?;
        Upcoming::<T>::put(upcoming);
        Self::drop_candidates_in_set();
        Self::deposit_event(Event::SetScheduled { from, validators: count, hash });
        Ok(())
    }

    pub(crate) fn activate_due(now: BlockNumberFor<T>) -> Weight {
        let height: BlockNumber = now.saturated_into();
        let mut upcoming = Upcoming::<T>::get();
        if upcoming.is_empty() {
            return <T as Config>::WeightInfo::idle_hook();
        }
        let due = upcoming.iter().rposition(|set| set.from <= height);
        if let Some(due) = due {
            let mut passed: Vec<_> = upcoming.drain(..=due).collect();
            if let Some(set) = passed.pop() {
                let validators = set.validators.len().saturated_into();
                Self::put_current(set.validators);
                Self::drop_approvals_of_leavers();
                Self::deposit_event(Event::SetActivated { validators });
            }
            Upcoming::<T>::put(upcoming);
        }
        let proposals = OpenProposals::<T>::decode_len().unwrap_or_default().saturated_into();
        <T as Config>::WeightInfo::change_hook(x0_limits::VALIDATORS_MAX)
            .saturating_add(<T as Config>::WeightInfo::change_hook_proposal().saturating_mul(proposals))
    }

    pub(crate) fn announce_decided(now: BlockNumberFor<T>) {
        let height: BlockNumber = now.saturated_into();
        let from = height.saturating_add(x0_limits::VALIDATOR_SET_DELAY_BLOCKS);
        if let Some(set) = Upcoming::<T>::get().into_iter().find(|set| set.from == from) {
            let hash = Self::set_hash(&set.validators);
            frame_system::Pallet::<T>::deposit_log(DigestItem::Consensus(CONSENSUS_ENGINE_ID, hash.encode()));
        }
    }

    fn put_current(validators: ValidatorList) {
        Self::note_spans(&Current::<T>::get(), &validators);
        Self::note_proposers(&validators);
        let powers: Vec<_> = validators.iter().map(|one| (one.controller.clone(), one.power)).collect();
        Powers::<T>::put(PowerList::truncate_from(powers));
        Current::<T>::put(validators);
    }

    /// Writes the genesis set.
    ///
    /// # Panics
    /// When the genesis breaks a rule: a chain must not start from it.
    #[allow(clippy::panic, reason = "a chain must not start from a genesis that breaks a rule")]
    pub(crate) fn build_genesis(genesis: &[GenesisValidator]) {
        if genesis.is_empty() {
            // Only the empty genesis, which tools use as a template, has no validators; a node
            // refuses to start from it.
            return;
        }
        let members = genesis
            .iter()
            .map(|one| match Self::member(one.controller.clone(), one.power) {
                Ok(member) => member,
                Err(_) => panic!("validators genesis: {} has no consensus key in the did genesis", one.controller),
            })
            .collect();
        match Self::checked(members) {
            Ok(validators) => Self::put_current(validators),
            Err(error) => panic!("validators genesis: {error:?}"),
        }
    }
}

impl<T: Config> x0_types::market::ValidatorSet<AccountId> for Pallet<T> {
    fn current() -> Vec<(AccountId, u64)> {
        Powers::<T>::get().into_inner()
    }

    fn index_of_reporter(reporter: &AccountId) -> Option<u32> {
        let controller = pallet_x0_did::Pallet::<T>::reporter_subject(reporter)?;
        let place = Powers::<T>::get().iter().position(|(member, _)| *member == controller)?;
        u32::try_from(place).ok()
    }
}
