//! The permissioned validator set, by height, and what validators decide together.
//!
//! The module exists so that consensus, measuring and light clients take the set of a height, with
//! its keys and powers, from one place, and know each change two heights before it counts; and so
//! that on a network without a superuser the validators themselves change the set and the rules.
//!
//! ```text
//!   change in block H ---> Upcoming{from: H+2} ---> on_initialize(H+2): Current, KeySpans
//!        |     ^
//!        |     +-- AdminOrigin: root of a development network, or Origin::Quorum
//!        |                                                            ^
//!        |     approve(number, call) by validators: more than 2/3 of the present power
//!        +--> on_finalize(H): digest item Consensus("x0vs", blake2b-256(SCALE(set of H+2)))
//! ```
//!
//! The delay lets the engine start height H+1 while block H is still executing: the set of H+1 is
//! known since block H-1.
//!
//! # Correctness
//! * A set is never empty, has no controller and no key twice, and each power lies between 1 and
//!   [`x0_limits::VALIDATOR_POWER_MAX`].
//! * The keys and powers of a height are final once block `height - 2` is final.
//! * Several changes in one block build on one another and give one set and one digest item.
//! * A proposal has a number that is given once. It carries the call itself, so that nobody approves
//!   what he has not seen; each validator counts once, with the power that it has when the proposal is
//!   counted, and no longer once it has left the set, not even when it comes back.
//! * The consensus key that a validator had at a height is known for
//!   [`x0_limits::EVIDENCE_AGE_BLOCKS_MAX`] blocks, whatever keys it had since.
//! * A barred validator cannot come back without a decision to readmit it.
//! * By leaving, validators never take a third or more of the present power away: what is left could
//!   decide on its own, so that those who stay agree with those who follow the set from outside.
//!
//! # Limits
//! [`x0_limits::VALIDATORS_MAX`] validators; a delay of [`x0_limits::VALIDATOR_SET_DELAY_BLOCKS`];
//! [`x0_limits::CANDIDATES_MAX`] candidates; [`x0_limits::PROPOSALS_PER_VALIDATOR_MAX`] open proposals
//! of each validator, for [`x0_limits::PROPOSAL_LIFE_BLOCKS`] each.
//!
//! # Errors
//! [`Error`] has one variant for each broken rule.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod invariants;
mod members;
mod quorum;
mod sets;
mod spans;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use quorum::EnsureQuorum;
pub use types::{
    ApprovalList, GenesisValidator, KeySpan, KeySpans, OpenProposal, PowerList, Proposal, Proposer, UpcomingSet,
    Validator, ValidatorList,
};
pub use weights::WeightInfo;

/// Names the digest items of this module in a block's header.
pub const CONSENSUS_ENGINE_ID: sp_runtime::ConsensusEngineId = *b"x0vs";

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{
        ApprovalList, GenesisValidator, KeySpans, OpenProposal, PowerList, Proposal, Proposer, UpcomingSet,
        ValidatorList, WeightInfo,
    };
    use frame_support::{
        dispatch::{GetDispatchInfo, PostDispatchInfo},
        pallet_prelude::*,
        traits::Contains,
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::traits::Dispatchable;
    use x0_types::{AccountId, BlockNumber, Hash};

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The module.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the module needs from the runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<RuntimeEvent: From<Event<Self>>, RuntimeOrigin: From<Origin>> + pallet_x0_did::Config
    {
        /// Who may change the set.
        type AdminOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// The runtime's calls.
        type QuorumCall: Parameter
            + Dispatchable<RuntimeOrigin = Self::RuntimeOrigin, PostInfo = PostDispatchInfo>
            + GetDispatchInfo;
        /// The calls that validators may approve.
        type QuorumFilter: Contains<Self::QuorumCall>;
        /// Weights of the calls and hooks.
        type WeightInfo: WeightInfo;
    }

    /// The origin of calls that nobody makes alone.
    #[pallet::origin]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub enum Origin {
        /// More than two thirds of the validators' power approved the call.
        Quorum,
    }

    /// The set of this block.
    #[pallet::storage]
    pub type Current<T: Config> = StorageValue<_, ValidatorList, ValueQuery>;

    /// Controllers and powers of [`Current`], in its order: what most readers need, at a
    /// hundredth of the bytes.
    #[pallet::storage]
    pub type Powers<T: Config> = StorageValue<_, PowerList, ValueQuery>;

    /// Sets that are decided but not yet in force, in the order of heights: at most one for each
    /// of the next two heights.
    #[pallet::storage]
    pub type Upcoming<T: Config> =
        StorageValue<_, BoundedVec<UpcomingSet, ConstU32<{ x0_limits::VALIDATOR_SET_DELAY_BLOCKS }>>, ValueQuery>;

    /// Accounts whose nodes are admitted to the network although they have no power.
    #[pallet::storage]
    pub type Candidates<T: Config> =
        StorageValue<_, BoundedVec<AccountId, ConstU32<{ x0_limits::CANDIDATES_MAX }>>, ValueQuery>;

    /// Validators that contradicted themselves, with the block that barred them: they cannot come
    /// back before they are readmitted.
    #[pallet::storage]
    pub type Barred<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, BlockNumber>;

    /// The consensus keys of each validator by heights, as far back as evidence counts.
    #[pallet::storage]
    pub type Spans<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, KeySpans, ValueQuery>;

    /// Decided blocks by proposer. Former validators stay.
    #[pallet::storage]
    pub type Proposers<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Proposer>;

    /// The number of the next proposal. A number is given once.
    #[pallet::storage]
    pub type NextProposal<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// The open proposals in the order of numbers, which is also the order in which they expire.
    #[pallet::storage]
    pub type OpenProposals<T: Config> =
        StorageValue<_, BoundedVec<OpenProposal, ConstU32<{ x0_limits::PROPOSALS_OPEN_MAX }>>, ValueQuery>;

    /// Open proposals by number.
    #[pallet::storage]
    pub type Proposals<T: Config> = StorageMap<_, Twox64Concat, u32, Proposal>;

    /// The validators of the present set that approved each open proposal.
    #[pallet::storage]
    pub type Approvals<T: Config> = StorageMap<_, Twox64Concat, u32, ApprovalList, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A new set is decided; `hash` is BLAKE2b-256 of its SCALE encoding.
        SetScheduled { from: BlockNumber, validators: u32, hash: Hash },
        /// A set came into force with this block.
        SetActivated { validators: u32 },
        /// An account's node is admitted to the network, without power.
        CandidateAdmitted { controller: AccountId },
        /// An account's node is no longer admitted as a candidate's.
        CandidateDismissed { controller: AccountId },
        /// A validator leaves the set by its own will.
        Left { controller: AccountId },
        /// A validator loses its power and cannot come back before it is readmitted.
        ValidatorBarred { controller: AccountId },
        /// A barred account may stand in the set again.
        Readmitted { controller: AccountId },
        /// A validator opened a proposal; `call` is BLAKE2b-256 of the SCALE call.
        ProposalOpened { number: u32, opener: AccountId, call: Hash, expires_at: BlockNumber },
        /// A validator approved a proposal; validators with `approved` of `total` power now do.
        ProposalApproved { number: u32, validator: AccountId, approved: u128, total: u128 },
        /// A validator took its approval back.
        ApprovalWithdrawn { number: u32, validator: AccountId },
        /// A proposal was carried out, with this result.
        ProposalExecuted { number: u32, result: DispatchResult },
        /// A proposal found no quorum in time, or nobody approves it any more.
        ProposalClosed { number: u32 },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// A set needs at least one validator.
        EmptySet,
        /// The set would have more validators than allowed.
        TooManyValidators,
        /// A controller stands in the set already.
        DuplicateValidator,
        /// The controller does not stand in the set.
        UnknownValidator,
        /// A power is at least one.
        PowerZero,
        /// A power is above the largest one allowed.
        PowerTooLarge,
        /// The controller has no valid Consensus key in the identity module.
        NoConsensusKey,
        /// The controller was barred and is not readmitted.
        Barred,
        /// The controller is not barred.
        NotBarred,
        /// The validator changed its key too often of late: evidence about the older keys must stay.
        TooManyKeyChanges,
        /// Those who stay would not hold more than two thirds of the present power: they decide together.
        LeaveTooLarge,
        /// The controller has no valid Network key in the identity module.
        NoNetworkKey,
        /// The controller is a candidate or a validator already.
        AlreadyAdmitted,
        /// The controller is no candidate.
        UnknownCandidate,
        /// There are as many candidates as allowed.
        TooManyCandidates,
        /// The origin is no validator of the present set.
        NotValidator,
        /// Validators do not decide on this call.
        CallNotAllowed,
        /// The encoded call is longer than allowed.
        CallTooLarge,
        /// No proposal with this number is open; the next new one has the number in `NextProposal`.
        UnknownProposal,
        /// The proposal with this number carries another call.
        OtherCall,
        /// The validator approved the proposal already.
        AlreadyApproved,
        /// The validator did not approve the proposal.
        NotApproved,
        /// The validator opened as many proposals as allowed.
        TooManyOwnProposals,
        /// As many proposals are open as allowed.
        TooManyProposals,
        /// The validator's key in the set is the one that it has.
        KeyUnchanged,
    }

    /// The set of the first blocks.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The validators; their consensus keys stand in the identity module's genesis.
        pub validators: Vec<GenesisValidator>,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Pallet::<T>::build_genesis(&self.validators);
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Counts the block for its proposer, and brings a set into force at its height. The weight
        /// covers `on_finalize` too.
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::count_proposer(now);
            Self::activate_due(now)
        }

        /// Announces a set that this block decided in the block's header.
        fn on_finalize(now: BlockNumberFor<T>) {
            Self::announce_decided(now);
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(Into::into)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Replaces the whole set.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::set_validators(validators.len().try_into().unwrap_or(u32::MAX)))]
        pub fn set_validators(origin: OriginFor<T>, validators: PowerList) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let members = validators
                .into_iter()
                .map(|(controller, power)| Self::member(controller, power))
                .collect::<Result<Vec<_>, DispatchError>>()?;
            Self::schedule(members)
        }

        /// Adds a validator with the Consensus key that it has now.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn add_validator(origin: OriginFor<T>, controller: AccountId, power: u64) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let mut members = Self::latest();
            members.push(Self::member(controller, power)?);
            Self::schedule(members)
        }

        /// Removes a validator; the last one stays.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn remove_validator(origin: OriginFor<T>, controller: AccountId) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let mut members = Self::latest();
            let before = members.len();
            members.retain(|member| member.controller != controller);
            ensure!(members.len() < before, Error::<T>::UnknownValidator);
            Self::schedule(members)
        }

        /// Gives a validator another power.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn set_power(origin: OriginFor<T>, controller: AccountId, power: u64) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            let mut members = Self::latest();
            let member = members
                .iter_mut()
                .find(|member| member.controller == controller)
                .ok_or(Error::<T>::UnknownValidator)?;
            member.power = power;
            Self::schedule(members)
        }

        /// Puts the origin's present Consensus key in the place of the one in the set. A validator
        /// calls this after rotating the key in the identity module; the old key signs until the
        /// new set is in force.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn refresh_consensus_key(origin: OriginFor<T>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let mut members = Self::latest();
            let member =
                members.iter_mut().find(|member| member.controller == who).ok_or(Error::<T>::UnknownValidator)?;
            let fresh = Self::member(who, member.power)?;
            ensure!(*member != fresh, Error::<T>::KeyUnchanged);
            *member = fresh;
            Self::schedule(members)
        }

        /// Approves a call of the validators together, and carries it out once validators with more
        /// than two thirds of the present power did. Whoever comes first opens the proposal, with
        /// the number in [`NextProposal`]; the others name the same number and the same call.
        #[pallet::call_index(5)]
        #[pallet::weight(
            <T as Config>::WeightInfo::approve(call.encoded_size().try_into().unwrap_or(u32::MAX))
                .saturating_add(call.get_dispatch_info().call_weight)
        )]
        pub fn approve(origin: OriginFor<T>, number: u32, call: Box<T::QuorumCall>) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_approve(who, number, *call)
        }

        /// Takes the origin's approval of an open proposal back.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::approve(0))]
        pub fn withdraw_approval(origin: OriginFor<T>, number: u32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw(&who, number)
        }

        /// Admits an account's node to the network, so that it can follow the chain before it gets power.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::candidate())]
        pub fn admit_candidate(origin: OriginFor<T>, controller: AccountId) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            Self::do_admit(controller)
        }

        /// Ends the admission of a candidate.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::candidate())]
        pub fn dismiss_candidate(origin: OriginFor<T>, controller: AccountId) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            ensure!(Self::drop_candidate(&controller), Error::<T>::UnknownCandidate);
            Ok(())
        }

        /// Takes the origin out of the set. It validates until the new set is in force, two heights
        /// later. A departure that takes a third of the present power or more needs the others:
        /// they approve `remove_validator`.
        #[pallet::call_index(9)]
        #[pallet::weight(<T as Config>::WeightInfo::change_one(x0_limits::VALIDATORS_MAX))]
        pub fn leave(origin: OriginFor<T>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_leave(who)
        }

        /// Lets a barred account stand in the set again, once it is added.
        #[pallet::call_index(10)]
        #[pallet::weight(<T as Config>::WeightInfo::candidate())]
        pub fn readmit(origin: OriginFor<T>, controller: AccountId) -> DispatchResult {
            T::AdminOrigin::ensure_origin(origin)?;
            ensure!(Barred::<T>::take(&controller).is_some(), Error::<T>::NotBarred);
            Self::deposit_event(Event::Readmitted { controller });
            Ok(())
        }
    }
}
