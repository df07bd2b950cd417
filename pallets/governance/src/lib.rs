//! Quadratic votes of owners: tracks, delegation, sealed votes and the enactment queue.
//!
//! The module exists so that the rules and the treasury are in the hands of the owners of nodes, one
//! budget of votes each, and so that what they decide is carried out exactly once or visibly fails.
//!
//! ```text
//!   propose --> Preparing --> Deciding <--> Confirming --> Passed --> Executed | EnactmentFailed
//!                  |             |                          |   ^
//!                  |             +--> Rejected              |   | second ballot
//!                  |         (sealed: Committing -->        +-> Contested --> Cancelled
//!                  +--> Expired       Revealing --+--> Passed
//!                                                 +--> Rejected
//!
//!   Alarms (slot, proposal) --on_initialize, capped--> transitions
//!   Enactments (slot, proposal) --on_initialize, within a weight budget--> dispatch by Origin::Track
//! ```
//!
//! # Correctness
//! * One owner has [`x0_limits::VOTE_CREDITS`] credits in each epoch; `n` votes on a ballot cost `n * n` of
//!   the epoch in which the ballot began; a revision pays or returns the difference (G-I1, G-I3).
//! * The tally is kept as votes come; nothing counts voters in a block (G-I2).
//! * Two gates: approval by votes, support by heads in favour among those who could vote when the ballot
//!   began (G-I4). A vote against never brings a proposal nearer to passing.
//! * A delegate's votes are cast for each delegator again, within that delegator's own credits; an owner's own
//!   vote stands (G-I8).
//! * Sealed votes lock the same credits whatever they hide. A commitment names proposal and voter and is used
//!   up when it is opened, by whoever relays it; unopened ones cost their envelope (G-I9). Secrecy ends with
//!   the ballot, and a voter can prove to a buyer what it committed to: sealing is not receipt-free.
//! * Each proposal that is not at its end has exactly one entry among the alarms or in the enactment queue
//!   (G-I6); every end disposes of its deposit and its preimage in the same transition (G-I5).
//! * A call is carried out at most once, by the track's origin, if its bytes hash to what was voted on and
//!   the track may still make it. It changes everything or nothing (G-I7).
//! * Validators may contest a decision once for each call, which costs nobody anything (G-I10).
//!
//! # Limits
//! See `x0-limits`: proposals that wait and are decided per track, transitions, removals and enactment weight
//! per block, delegators of one delegate. Votes, credits and commitments are removed some time after their
//! ballot; what one owner can leave in the state is bounded by the number of proposals, which pay deposits.
//!
//! # Errors
//! [`Error`] has one variant for each broken rule.
#![allow(clippy::let_unit_value, reason = "the pallet macro makes such a binding for unsigned validation")]
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

mod ballots;
mod delegation;
mod enactment;
mod invariants;
mod life;
mod sealed;
pub mod types;
pub mod views;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use enactment::{EnsureTrack, TrackSet};
pub use pallet::*;
pub use types::{
    Ballot, BallotId, Commitment, ContestList, DelegatorList, Enactment, Proposal, ProposalState, Reason, Sealing,
    Spending, Tally, TallyPoint, Timeline, Track, TrackQueue, Vote,
};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    deprecated,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, conversions that hold by construction, and its own form of validate_unsigned"
)]
pub mod pallet {
    use super::{
        BallotId, Commitment, ContestList, DelegatorList, Enactment, Proposal, Reason, Spending, Timeline, Track,
        TrackQueue, Vote, WeightInfo,
    };
    use frame_support::{
        dispatch::{GetDispatchInfo, PostDispatchInfo},
        pallet_prelude::*,
        traits::{
            OriginTrait, QueryPreimage, StorePreimage,
            fungible::{InspectHold, MutateHold},
        },
    };
    use frame_system::pallet_prelude::*;
    use sp_runtime::traits::{BlakeTwo256, Dispatchable};
    use x0_types::{
        AccountId, Balance, Hash,
        governance::{Electorate, EpochIndex, OwnerId, ProposalId, SealedVote, TrackFilter, TrackId},
        market::{Meter, Slot, ValidatorSet},
    };

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The module.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the module needs from the runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<
            AccountId = AccountId,
            Hash = Hash,
            RuntimeEvent: From<Event<Self>>,
            RuntimeOrigin: OriginTrait<PalletsOrigin: From<Origin>>,
        >
    {
        /// The runtime's calls.
        type RuntimeCall: Parameter
            + Dispatchable<RuntimeOrigin = <Self as frame_system::Config>::RuntimeOrigin, PostInfo = PostDispatchInfo>
            + GetDispatchInfo;
        /// The runtime's reasons for holds.
        type RuntimeHoldReason: From<HoldReason>;
        /// Where deposits are held.
        type Currency: InspectHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>
            + MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
        /// Where the deposits of spam go.
        type TreasuryAccount: Get<AccountId>;
        /// Held for each byte of a call, base units.
        #[pallet::constant]
        type ByteDeposit: Get<Balance>;
        /// Where calls are pinned.
        type Preimages: QueryPreimage<H = BlakeTwo256> + StorePreimage;
        /// The owners who vote.
        type Owners: Electorate<AccountId>;
        /// The validators who may contest decisions.
        type Validators: ValidatorSet<AccountId>;
        /// Tells the current slot.
        type Meter: Meter<AccountId>;
        /// Which calls each track may carry out.
        type TrackFilter: TrackFilter<<Self as Config>::RuntimeCall>;
        /// Who changes the tracks.
        type TracksOrigin: EnsureOrigin<<Self as frame_system::Config>::RuntimeOrigin>;
        /// What decided calls may weigh in one block; no single call weighs more.
        #[pallet::constant]
        type EnactmentWeight: Get<Weight>;
        /// Transitions in one block, at least one.
        #[pallet::constant]
        type TransitionsPerBlock: Get<u32>;
        /// Slots for which the votes of a decided proposal stay in the state.
        #[pallet::constant]
        type VotesKeptSlots: Get<u64>;
        /// Weights of the calls and hooks.
        type WeightInfo: WeightInfo;
    }

    /// The origin of calls that owners decided on.
    #[pallet::origin]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub enum Origin {
        /// A ballot of this track decided it.
        Track(TrackId),
    }

    /// Why this module holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// For an open proposal.
        Proposal,
    }

    /// The rules of each track.
    #[pallet::storage]
    pub type Tracks<T: Config> = StorageMap<_, Twox64Concat, TrackId, Track>;

    /// The waiting and deciding proposals of each track.
    #[pallet::storage]
    pub type Queues<T: Config> = StorageMap<_, Twox64Concat, TrackId, TrackQueue, ValueQuery>;

    /// The number of the next proposal.
    #[pallet::storage]
    pub type NextProposal<T: Config> = StorageValue<_, ProposalId, ValueQuery>;

    /// Proposals; those at their end stay for a while.
    #[pallet::storage]
    pub type Proposals<T: Config> = StorageMap<_, Twox64Concat, ProposalId, Proposal>;

    /// When which proposal goes on by itself: slot and number, both big-endian, so that the map's order is
    /// the order of work.
    #[pallet::storage]
    pub type Alarms<T: Config> = StorageMap<_, Identity, [u8; 12], ()>;

    /// Decided calls by the slot of their next attempt and their proposal, both big-endian.
    #[pallet::storage]
    pub type Enactments<T: Config> = StorageMap<_, Identity, [u8; 12], Enactment>;

    /// Proposals at their end by the slot in which their votes may go, both big-endian.
    #[pallet::storage]
    pub type Retired<T: Config> = StorageMap<_, Identity, [u8; 12], ()>;

    /// Votes by ballot and voter.
    #[pallet::storage]
    pub type Votes<T: Config> = StorageDoubleMap<_, Twox64Concat, BallotId, Twox64Concat, OwnerId, Vote>;

    /// What each owner used of each epoch's credits.
    #[pallet::storage]
    pub type Credits<T: Config> =
        StorageDoubleMap<_, Twox64Concat, EpochIndex, Twox64Concat, OwnerId, Spending, ValueQuery>;

    /// Ballots of each epoch whose votes are in the state. The credits of an epoch go after the last of them.
    #[pallet::storage]
    pub type EpochUses<T: Config> = StorageMap<_, Twox64Concat, EpochIndex, u32, ValueQuery>;

    /// Sealed votes that are not opened.
    #[pallet::storage]
    pub type Commitments<T: Config> = StorageDoubleMap<_, Twox64Concat, ProposalId, Twox64Concat, OwnerId, Commitment>;

    /// Whom an owner lets vote on a track.
    #[pallet::storage]
    pub type Delegates<T: Config> = StorageDoubleMap<_, Twox64Concat, TrackId, Twox64Concat, OwnerId, OwnerId>;

    /// Who lets an owner vote on a track.
    #[pallet::storage]
    pub type Delegators<T: Config> =
        StorageDoubleMap<_, Twox64Concat, TrackId, Twox64Concat, OwnerId, DelegatorList, ValueQuery>;

    /// Validators that contest each decision which waits for its enactment.
    #[pallet::storage]
    pub type Contests<T: Config> = StorageMap<_, Twox64Concat, ProposalId, ContestList, ValueQuery>;

    /// Calls that had a second ballot once; they cannot be contested again. One entry takes a third of the
    /// validators, so they are few.
    #[pallet::storage]
    pub type ContestedCalls<T: Config> = StorageMap<_, Identity, Hash, ()>;

    /// The course of each ballot.
    #[pallet::storage]
    pub type Timelines<T: Config> = StorageMap<_, Twox64Concat, BallotId, Timeline, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A proposal was opened.
        Proposed { proposal: ProposalId, track: TrackId, proposer: AccountId, call: Hash, deposit: Balance },
        /// Its ballot began.
        BallotBegan { proposal: ProposalId, round: u8, electorate: u32, ends: Slot },
        /// An owner voted; `by` differs from it when a delegate did.
        Voted { proposal: ProposalId, round: u8, owner: OwnerId, votes: i8, by: OwnerId },
        /// Why an owner voted as it did.
        Reasoned { proposal: ProposalId, owner: OwnerId, reason: Reason },
        /// An owner committed a sealed vote.
        Committed { proposal: ProposalId, owner: OwnerId, hash: Hash },
        /// A sealed vote was opened.
        Revealed { proposal: ProposalId, owner: OwnerId, votes: i8 },
        /// Sealed votes can be opened until this slot.
        RevealBegan { proposal: ProposalId, until: Slot },
        /// The ballot passes; it is decided in this slot if it goes on to.
        ConfirmBegan { proposal: ProposalId, until: Slot },
        /// The ballot does not pass any more.
        ConfirmAborted { proposal: ProposalId },
        /// The ballot began to pass late and goes on longer.
        Extended { proposal: ProposalId, ends: Slot },
        /// The proposal is decided; its call is due in this slot.
        Passed { proposal: ProposalId, at: Slot },
        /// A validator contests the decision; `heads` of `of` validators do.
        ContestSupported { proposal: ProposalId, validator: AccountId, heads: u32, of: u32 },
        /// An attempt to carry the call out failed; the next one is in slot `next`.
        EnactmentRetried { proposal: ProposalId, attempts: u8, error: DispatchError, next: Slot },
        /// The proposal is at its end. The deposit went back to the proposer, or to the treasury if `slashed`.
        Closed { proposal: ProposalId, state: crate::ProposalState, deposit: Balance, slashed: bool },
        /// Votes of a proposal are gone from the state.
        VotesRemoved { proposal: ProposalId },
        /// An owner lets another one vote for it.
        Delegated { track: TrackId, owner: OwnerId, delegate: OwnerId },
        /// An owner votes for itself again.
        Undelegated { track: TrackId, owner: OwnerId },
        /// A track has other rules.
        TrackChanged { track: TrackId },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// No track has this number.
        UnknownTrack,
        /// The stored rules are not the expected ones.
        ParametersMismatch,
        /// A value is out of its bounds.
        ParametersOutOfBounds,
        /// The track may not carry out this call.
        CallNotAllowed,
        /// The call is longer than allowed, or not as long as said.
        CallLength,
        /// The call weighs more than one block carries out.
        CallTooHeavy,
        /// No preimage with this hash and length is known, or it is no call.
        UnknownCall,
        /// As many proposals of the track wait as allowed.
        TooManyProposals,
        /// The delay is longer than any period.
        DelayTooLong,
        /// There is no such proposal.
        UnknownProposal,
        /// The proposal is in another state.
        WrongState,
        /// The origin is not the proposer.
        NotProposer,
        /// The origin belongs to no attested owner.
        NotOwner,
        /// The owner is too young, or was revoked.
        NotEligible,
        /// The time is over.
        TooLate,
        /// More votes than allowed.
        TooManyVotes,
        /// The owner's credits do not suffice.
        NotEnoughCredits,
        /// Only votes against can call a proposal spam.
        SpamMeansAgainst,
        /// Votes on this proposal are sealed.
        Sealed,
        /// Votes on this proposal are open.
        NotSealed,
        /// There is no commitment that this opens.
        NoSuchCommitment,
        /// The hidden votes cost more than their envelope.
        EnvelopeExceeded,
        /// Nobody delegates to itself.
        SelfDelegation,
        /// The delegate lets somebody else vote, or is no owner.
        BadDelegate,
        /// Others let this owner vote: it cannot hand their votes on.
        HasDelegators,
        /// As many owners delegate to this one as allowed.
        TooManyDelegators,
        /// The owner delegates to nobody on this track.
        NotDelegated,
        /// The origin is no validator.
        NotValidator,
        /// The validator contests the decision already.
        AlreadyContested,
        /// A decision on this call was contested before.
        ContestedBefore,
        /// The call is within the track's limits, so nobody can kill it.
        StillAllowed,
        /// A number left its range.
        Overflow,
    }

    /// The first rules of the tracks.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The tracks; what is not named here takes no proposals.
        pub tracks: Vec<(TrackId, Track)>,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            for (id, track) in &self.tracks {
                assert!(track.is_valid(), "governance genesis: the track {} has values out of bounds", id.name());
                Tracks::<T>::insert(id, track);
            }
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Makes the transitions that are due, carries out decided calls and removes old votes, each within
        /// its cap; what is left goes on in the next block.
        fn on_initialize(_now: BlockNumberFor<T>) -> Weight {
            Self::run()
        }

        #[allow(clippy::panic, reason = "integrity tests run before a runtime is released, never on chain")]
        fn integrity_test() {
            assert!(T::TransitionsPerBlock::get() >= 1, "governance: no proposal would ever go on");
            let full = Self::hook_weight_max().ref_time();
            let block = T::BlockWeights::get().max_block.ref_time();
            assert!(full <= block / 10, "a full governance block takes {full} ps of {block}: more than a tenth");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(|_| sp_runtime::TryRuntimeError::Other("governance invariants"))
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Opens a proposal to carry out `call` by the track's origin. Holds the track's deposit and that of
        /// the call's bytes until the proposal ends. `delay_slots` counts between decision and enactment where
        /// it is longer than the track's; `dry_run` is the hash of the changes that the call makes.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::propose(call.encoded_size().try_into().unwrap_or(u32::MAX)))]
        pub fn propose(
            origin: OriginFor<T>,
            track: TrackId,
            call: Box<<T as Config>::RuntimeCall>,
            delay_slots: u64,
            dry_run: Option<Hash>,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_propose(who, track, &call, delay_slots, dry_run)
        }

        /// As [`Pallet::propose`], for a call whose bytes are noted as a preimage already.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::propose(*call_bytes))]
        pub fn propose_noted(
            origin: OriginFor<T>,
            track: TrackId,
            call: Hash,
            call_bytes: u32,
            delay_slots: u64,
            dry_run: Option<Hash>,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_propose_noted(who, track, call, call_bytes, delay_slots, dry_run)
        }

        /// Takes the origin's own proposal back before its ballot begins.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::close())]
        pub fn withdraw(origin: OriginFor<T>, proposal: ProposalId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw(&who, proposal)
        }

        /// Casts `votes` of the origin's owner, negative against, in place of those that it cast before. They
        /// cost their square in credits. `spam` may stand with votes against.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::vote(x0_limits::DELEGATORS_MAX))]
        pub fn vote(
            origin: OriginFor<T>,
            proposal: ProposalId,
            votes: i8,
            spam: bool,
            reason: Option<Reason>,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            let replicated = Self::do_vote(&who, proposal, votes, spam, reason)?;
            Ok(Some(<T as Config>::WeightInfo::vote(replicated)).into())
        }

        /// Commits a sealed vote of the origin's owner in place of an earlier one.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::commit())]
        pub fn commit_vote(origin: OriginFor<T>, proposal: ProposalId, hash: Hash) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_commit(&who, proposal, hash)
        }

        /// Opens a sealed vote. Needs no signature, since only the voter and those it told know the salt; a
        /// signed relay is free when it opens a commitment.
        #[pallet::call_index(5)]
        #[pallet::weight((<T as Config>::WeightInfo::reveal(x0_limits::DELEGATORS_MAX), DispatchClass::Normal, Pays::Yes))]
        pub fn reveal_vote(origin: OriginFor<T>, vote: SealedVote) -> DispatchResultWithPostInfo {
            if ensure_none(origin.clone()).is_err() {
                ensure_signed(origin)?;
            }
            let replicated = Self::do_reveal(&vote)?;
            let actual_weight = Some(<T as Config>::WeightInfo::reveal(replicated));
            Ok(PostDispatchInfo { actual_weight, pays_fee: Pays::No })
        }

        /// Lets another owner vote for the origin's owner on a track, in what it casts from now on.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::delegate())]
        pub fn delegate(origin: OriginFor<T>, track: TrackId, to: OwnerId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_delegate(&who, track, to)
        }

        /// Ends the origin's owner's delegation on a track. Votes that were cast stay.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::delegate())]
        pub fn undelegate(origin: OriginFor<T>, track: TrackId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_undelegate(&who, track)
        }

        /// Contests a decision before its enactment. Once a third of the validators do, a second ballot runs.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::contest())]
        pub fn contest(origin: OriginFor<T>, proposal: ProposalId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_contest(who, proposal)
        }

        /// Ends a proposal whose call its track may not carry out any more. Anybody may say so.
        #[pallet::call_index(9)]
        #[pallet::weight(<T as Config>::WeightInfo::propose(x0_limits::GOVERNANCE_CALL_BYTES_MAX))]
        pub fn kill(origin: OriginFor<T>, proposal: ProposalId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_kill(proposal)
        }

        /// Gives a track other rules. They bind ballots that begin afterwards.
        #[pallet::call_index(10)]
        #[pallet::weight(<T as Config>::WeightInfo::delegate())]
        pub fn set_track(origin: OriginFor<T>, track: TrackId, expected: Option<Track>, new: Track) -> DispatchResult {
            T::TracksOrigin::ensure_origin(origin)?;
            ensure!(Tracks::<T>::get(track) == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::ParametersOutOfBounds);
            Tracks::<T>::insert(track, new);
            Self::deposit_event(Event::TrackChanged { track });
            Ok(())
        }
    }

    /// Lets openings of sealed votes in without a signature. Each needs the salt of an open commitment, and
    /// uses it up, so that nobody can send more of them than there are commitments.
    #[pallet::validate_unsigned]
    impl<T: Config> ValidateUnsigned for Pallet<T> {
        type Call = Call<T>;

        fn validate_unsigned(_source: TransactionSource, call: &Self::Call) -> TransactionValidity {
            let Call::reveal_vote { vote } = call else { return InvalidTransaction::Call.into() };
            Self::validate_reveal(vote)
        }
    }
}
