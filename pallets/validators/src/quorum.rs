//! What validators decide together.
//!
//! ```text
//!   approve(7, call) by A --> Proposals[7] = call, Approvals[7] = {A}
//!   approve(7, call) by B --> Approvals[7] = {A, B}
//!   approve(7, call) by C --> more than 2/3 of the power --> closed, call dispatched by Origin::Quorum
//! ```

use crate::{
    Approvals, Config, Error, Event, NextProposal, OpenProposal, OpenProposals, Origin, Pallet, Powers, Proposal,
    Proposals, WeightInfo,
};
use codec::Encode;
use frame_support::{
    dispatch::{GetDispatchInfo, PostDispatchInfo, extract_actual_weight},
    ensure,
    pallet_prelude::{DispatchResult, DispatchResultWithPostInfo},
    traits::{Contains, EnsureOrigin, OriginTrait},
};
use sp_runtime::{
    BoundedVec,
    traits::{Dispatchable, SaturatedConversion},
};
use x0_crypto::certificate::is_quorum;
use x0_types::{AccountId, Hash};

/// Lets calls through that more than two thirds of the validators' power approved.
pub struct EnsureQuorum;

impl<O: OriginTrait + From<Origin>> EnsureOrigin<O> for EnsureQuorum
where
    for<'a> &'a O::PalletsOrigin: TryInto<&'a Origin>,
{
    type Success = ();

    fn try_origin(origin: O) -> Result<(), O> {
        let is_quorum = matches!(origin.caller().try_into(), Ok(Origin::Quorum));
        if is_quorum { Ok(()) } else { Err(origin) }
    }

    #[cfg(feature = "runtime-benchmarks")]
    fn try_successful_origin() -> Result<O, ()> {
        Ok(Origin::Quorum.into())
    }
}

impl<T: Config> Pallet<T> {
    pub(crate) fn do_approve(who: AccountId, number: u32, call: T::QuorumCall) -> DispatchResultWithPostInfo {
        ensure!(Self::is_validator(&who), Error::<T>::NotValidator);
        ensure!(T::QuorumFilter::contains(&call), Error::<T>::CallNotAllowed);
        let encoded = call.encode();
        let weight = <T as Config>::WeightInfo::approve(encoded.len().saturated_into());
        Self::close_expired();
        match Proposals::<T>::get(number) {
            Some(proposal) => ensure!(proposal.call[..] == encoded[..], Error::<T>::OtherCall),
            None => Self::open(&who, number, encoded)?,
        }
        let mut approvals = Approvals::<T>::get(number);
        let is_new = !approvals.contains(&who);
        if is_new {
            approvals.try_push(who.clone()).map_err(|_| Error::<T>::TooManyValidators)?;
        }
        let (approved, total) = Self::tally(&approvals);
        // The set may have shrunk since the last approval: then anybody who approved starts the call.
        ensure!(is_new || is_quorum(approved, total), Error::<T>::AlreadyApproved);
        if is_new {
            Self::deposit_event(Event::ProposalApproved { number, validator: who, approved, total });
        }
        if !is_quorum(approved, total) {
            Approvals::<T>::insert(number, approvals);
            return Ok(Some(weight).into());
        }
        Self::forget(number);
        let info = call.get_dispatch_info();
        let result = call.dispatch(Origin::Quorum.into());
        let spent = extract_actual_weight(&result, &info);
        let result = result.map(|_| ()).map_err(|error| error.error);
        Self::deposit_event(Event::ProposalExecuted { number, result });
        Ok(PostDispatchInfo { actual_weight: Some(weight.saturating_add(spent)), ..Default::default() })
    }

    pub(crate) fn do_withdraw(who: &AccountId, number: u32) -> DispatchResult {
        Self::close_expired();
        ensure!(Proposals::<T>::contains_key(number), Error::<T>::UnknownProposal);
        let mut approvals = Approvals::<T>::get(number);
        let before = approvals.len();
        approvals.retain(|one| one != who);
        ensure!(approvals.len() < before, Error::<T>::NotApproved);
        Self::deposit_event(Event::ApprovalWithdrawn { number, validator: who.clone() });
        Self::keep_or_close(number, approvals);
        Ok(())
    }

    /// Opens the proposal with the next number.
    fn open(who: &AccountId, number: u32, call: Vec<u8>) -> DispatchResult {
        let next = NextProposal::<T>::get();
        ensure!(number == next, Error::<T>::UnknownProposal);
        let mut open = OpenProposals::<T>::get();
        let own = open.iter().filter(|proposal| proposal.opener == *who).count();
        ensure!(own < x0_limits::PROPOSALS_PER_VALIDATOR_MAX as usize, Error::<T>::TooManyOwnProposals);
        let hash = Hash::from(sp_io::hashing::blake2_256(&call));
        let call = BoundedVec::try_from(call).map_err(|_| Error::<T>::CallTooLarge)?;
        let expires_at = Self::height().saturating_add(x0_limits::PROPOSAL_LIFE_BLOCKS);
        open.try_push(OpenProposal { number, opener: who.clone(), expires_at })
            .map_err(|_| Error::<T>::TooManyProposals)?;
        OpenProposals::<T>::put(open);
        // Four thousand million proposals take longer than the chain's block numbers last.
        NextProposal::<T>::put(next.saturating_add(1));
        Proposals::<T>::insert(number, Proposal { opener: who.clone(), expires_at, call });
        Self::deposit_event(Event::ProposalOpened { number, opener: who.clone(), call: hash, expires_at });
        Ok(())
    }

    fn is_validator(who: &AccountId) -> bool {
        Powers::<T>::get().iter().any(|(controller, _)| controller == who)
    }

    /// Power of those who approve, and of the present set.
    fn tally(approvals: &[AccountId]) -> (u128, u128) {
        Powers::<T>::get().into_iter().fold((0, 0), |(approved, total), (controller, power)| {
            let power = u128::from(power);
            let counted = if approvals.contains(&controller) { power } else { 0 };
            (approved.saturating_add(counted), total.saturating_add(power))
        })
    }

    /// Closes proposals whose time is over: the oldest ones, since all live equally long.
    fn close_expired() {
        let now = Self::height();
        let expired: Vec<u32> = OpenProposals::<T>::get()
            .into_iter()
            .take_while(|proposal| proposal.expires_at < now)
            .map(|proposal| proposal.number)
            .collect();
        for number in expired {
            Self::close(number);
        }
    }

    /// Takes back the approvals of validators that are no longer in the set.
    pub(crate) fn drop_approvals_of_leavers() {
        for proposal in OpenProposals::<T>::get() {
            let mut approvals = Approvals::<T>::get(proposal.number);
            let before = approvals.len();
            approvals.retain(Self::is_validator);
            if approvals.len() < before {
                Self::keep_or_close(proposal.number, approvals);
            }
        }
    }

    /// A proposal that nobody approves is of no use to anybody.
    fn keep_or_close(number: u32, approvals: crate::ApprovalList) {
        if approvals.is_empty() {
            Self::close(number);
        } else {
            Approvals::<T>::insert(number, approvals);
        }
    }

    fn close(number: u32) {
        Self::forget(number);
        Self::deposit_event(Event::ProposalClosed { number });
    }

    fn forget(number: u32) {
        Proposals::<T>::remove(number);
        Approvals::<T>::remove(number);
        OpenProposals::<T>::mutate(|open| open.retain(|proposal| proposal.number != number));
    }
}
