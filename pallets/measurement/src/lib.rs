//! Measuring: which nodes were there, slot by slot, as the validators together saw it.
//!
//! The module exists to turn the reports of single validators into verdicts that money can depend
//! on, at a cost that grows with the exceptions and not with the number of deals.
//!
//! ```text
//!   validators' workers --commit(slot, hash)--> Commitments --reveal(2 bits a node, root)--> Reports
//!                                                            |  the slot closes, in on_initialize
//!                             VOID <-- too little power --+--+-- verdict of each node (verdict.rs)
//!                              |                                   |
//!                         one global count            bad[node], unknown[node]; MarketHooks, VerdictListener
//!
//!   anybody --challenge(slot, validator, node)--> "show the receipt behind your UP" --answer--> proved
//!                                                               +--no answer in time--> unproven: an offence
//!   validators --complain(deal, window)--> more than two thirds --> SlaObserver: a promise was broken
//! ```
//!
//! A slot is time: `floor((parent timestamp - genesis time) / slot length)`. By the slot of the parent's time,
//! called "now", the life of slot `s` is
//!
//! | phase | from | until, whichever is later |
//! |---|---|---|
//! | commitments | its begin | `now >= s + 2`; and all validators have committed, or the makers of the blocks since `now >= s + 1` hold more than a third of the power |
//! | reports | the end of the above | one slot later, if all commitments are shown; else two slots later, and the makers of the blocks after the first one hold more than a third of the power |
//! | closed | the end of the above, in the order of slots | for ever |
//!
//! **Why nobody can censor.** Below a third of the power is faulty, so among makers of blocks that hold more than a
//! third there is one that is not (with equal powers: `f + 1` distinct proposers), and it takes what waits. The rule
//! counts the proposers themselves and not time, so it holds at any rhythm: back-to-back blocks of 130 to 150 ms pass
//! 34 of 100 proposers in about 5 s of a 6 s slot; on an idle chain a waiting commitment is work that ends the idle
//! wait, and when too few blocks came, the window stays open until they have. A chain that stood still during both
//! slots in which a commitment could have come takes none for that slot: it is VOID.
//!
//! Slot 0 counts as closed from the start.
//!
//! # Correctness
//! * Powers come from the state of the closing block, never from a report.
//! * Validators that belong to a node's owner, by their account or by the owners' registry, neither report on
//!   the node nor count in `N`.
//! * One report for each validator and slot, and only what was committed to before anybody showed anything. What a
//!   validator that left the set reported is dropped.
//! * A validator that claims UP can be asked for the agent's signed receipt, under the root of its report, for
//!   [`x0_limits::CHALLENGE_SLOTS`] slots. What it does not show within [`MeasuringTerms::answer_slots`] counts against
//!   it in [`Conducts`], for ever, and is an event; it takes no power and no money, because validators have no stake: the
//!   other validators, who read it, decide about the set.
//! * Nobody can be asked for a receipt of a node whose key is younger than the slot: an owner could otherwise change
//!   the key and blame the validators.
//! * A node's index rests after its dismissal until no report about the old node can be open, so that
//!   nobody inherits another's observations (see [`x0_limits::NODE_INDEX_REST_SLOTS`]). The node itself
//!   takes it back at once: each node occupies one index at most, however often it comes and goes, so
//!   that using up the indices takes as many registered agents.
//! * `good + bad + unknown + void` of a node is the number of slots closed since its enrolment, at
//!   every moment, also while the closing of a slot goes on over several blocks.
//! * The hook never panics and does at most [`Config::SlotWorkPerBlock`] units of work; the rest
//!   goes on in the next block at the same place.
//!
//! # Limits
//! [`x0_limits::MEASURED_NODES_MAX`] nodes; [`x0_limits::REPORTED_SLOTS_MAX`] slots with reports that wait;
//! [`x0_limits::CHALLENGES_OPEN_MAX`] open challenges; complaints about [`x0_limits::COMPLAINTS_OPENED_MAX`] deals that one
//! validator opens in a window.
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

mod challenges;
mod closing;
mod complaints;
mod conduct;
mod invariants;
mod nodes;
mod reports;
mod seats;
mod tally;
pub mod types;
pub mod verdict;
pub mod weights;
mod windows;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{
    Challenge, ClosingStage, ClosingState, Commitment, Complaint, Conduct, MeasuringTerms, NodeBits, NodeRecord,
    Observations, OpenChallenge, OpenSlot, Report, SlotOutcome, SlotRing,
};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{
        Challenge, ClosingState, Commitment, Complaint, Conduct, MeasuringTerms, NodeBits, NodeRecord, Observations,
        OpenChallenge, OpenSlot, Report, SlotRing, WeightInfo,
    };
    use frame_support::{
        pallet_prelude::*,
        traits::{Time, fungible},
    };
    use frame_system::pallet_prelude::*;
    use x0_types::{
        AccountId, Balance, BlockNumber, Hash, Moment,
        governance::OwnerRegistry,
        market::{
            DealId, Identities, MarketHooks, NodeIndex, SlaBreach, SlaObserver, Slot, ValidatorSet, Verdict,
            VerdictListener,
        },
        receipt::{ReceiptProof, SignedUsage},
    };

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The module.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the module needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
        /// The block's time, milliseconds since the Unix epoch: the parent's in `on_initialize`,
        /// the block's own afterwards.
        type Time: Time<Moment = Moment>;
        /// The validators and their reporters.
        type Validators: ValidatorSet<AccountId>;
        /// Who hears of verdicts and closed slots.
        type Hooks: MarketHooks<AccountId>;
        /// Who else hears of verdicts.
        type Listener: VerdictListener<AccountId>;
        /// What deals promise of round trip and throughput, and who hears of a broken promise.
        type Sla: SlaObserver<AccountId>;
        /// Which accounts belong together.
        type Owners: OwnerRegistry<AccountId>;
        /// The keys of agents, and who controls them.
        type Identities: Identities<AccountId>;
        /// Holds the deposits of challenges.
        type Currency: fungible::hold::Mutate<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>
            + fungible::Mutate<AccountId, Balance = Balance>;
        /// The runtime's hold reasons.
        type RuntimeHoldReason: From<HoldReason>;
        /// Who may change [`Parameters`].
        type ParametersOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Units of closing work that one block does, at least one. The results do not depend on it.
        #[pallet::constant]
        type SlotWorkPerBlock: Get<u32>;
        /// Weights of the calls and hooks.
        type WeightInfo: WeightInfo;
    }

    /// Why this module holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// The deposit of a challenge.
        Challenge,
    }

    /// Start of slot 0, milliseconds since the Unix epoch.
    #[pallet::storage]
    pub type GenesisTimeMs<T: Config> = StorageValue<_, Moment, ValueQuery>;

    /// Length of a slot, milliseconds.
    #[pallet::storage]
    pub type SlotMs<T: Config> = StorageValue<_, Moment, ValueQuery>;

    /// The slot of this block.
    #[pallet::storage]
    pub type CurrentSlot<T: Config> = StorageValue<_, Slot, ValueQuery>;

    /// Slots up to and including this one have their verdicts.
    #[pallet::storage]
    pub type ClosedSlot<T: Config> = StorageValue<_, Slot, ValueQuery>;

    /// The slot whose closing goes on in the next block.
    #[pallet::storage]
    pub type Closing<T: Config> = StorageValue<_, ClosingState>;

    /// Number of closed slots that were VOID.
    #[pallet::storage]
    pub type VoidSlots<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Which of the latest slots were VOID, for display.
    #[pallet::storage]
    pub type VoidHistory<T: Config> = StorageValue<_, SlotRing, ValueQuery>;

    /// Measured nodes.
    #[pallet::storage]
    pub type Nodes<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, NodeRecord>;

    /// The node of each index that is in use.
    #[pallet::storage]
    pub type NodeAt<T: Config> = StorageMap<_, Twox64Concat, NodeIndex, AccountId>;

    /// Indices in use.
    #[pallet::storage]
    pub type ActiveNodes<T: Config> = StorageValue<_, NodeBits, ValueQuery>;

    /// Indices of nodes that were DOWN and have not been UP since.
    #[pallet::storage]
    pub type OpenRuns<T: Config> = StorageValue<_, NodeBits, ValueQuery>;

    /// Indices below this one were given out at least once.
    #[pallet::storage]
    pub type NextIndex<T: Config> = StorageValue<_, NodeIndex, ValueQuery>;

    /// Indices of dismissed nodes with the slot of the block that dismissed them and the node, in
    /// that order: a queue whose ends stand in [`RestingEnds`]. A place is empty when its node came back.
    #[pallet::storage]
    pub type Resting<T: Config> = StorageMap<_, Twox64Concat, u64, (NodeIndex, Slot, AccountId)>;

    /// The place in [`Resting`] of each dismissed node whose index rests.
    #[pallet::storage]
    pub type RestingPlace<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, u64>;

    /// First place and end of the queue [`Resting`].
    #[pallet::storage]
    pub type RestingEnds<T: Config> = StorageValue<_, (u64, u64), ValueQuery>;

    /// First place of [`Resting`] that this block filled; its time is known at the block's end.
    #[pallet::storage]
    pub type Unstamped<T: Config> = StorageValue<_, u64>;

    /// What governance may change.
    #[pallet::storage]
    pub type Parameters<T: Config> = StorageValue<_, MeasuringTerms, ValueQuery>;

    /// Commitments to reports that were not shown yet, by slot and the validator's controller.
    #[pallet::storage]
    pub type Commitments<T: Config> = StorageDoubleMap<_, Twox64Concat, Slot, Blake2_128Concat, AccountId, Commitment>;

    /// Reports of slots that are not closed, or whose receipts may still be asked for, by slot and the validator's
    /// controller.
    #[pallet::storage]
    pub type Reports<T: Config> = StorageDoubleMap<_, Twox64Concat, Slot, Blake2_128Concat, AccountId, Report>;

    /// Slots with commitments that are not closed, in order.
    #[pallet::storage]
    pub type OpenSlots<T: Config> =
        StorageValue<_, BoundedVec<OpenSlot, ConstU32<{ x0_limits::REPORTED_SLOTS_MAX }>>, ValueQuery>;

    /// Closed slots whose reports are still there, in order.
    #[pallet::storage]
    pub type Provable<T: Config> =
        StorageValue<_, BoundedVec<Slot, ConstU32<{ x0_limits::REPORTED_SLOTS_MAX }>>, ValueQuery>;

    /// The latest slots in which blocks were made, each with the first block whose parent lies in it, in order.
    #[pallet::storage]
    pub type SlotStarts<T: Config> =
        StorageValue<_, BoundedVec<(Slot, BlockNumber), ConstU32<{ x0_limits::SLOT_STARTS_KEPT }>>, ValueQuery>;

    /// The latest block that each validator made.
    #[pallet::storage]
    pub type Authors<T: Config> =
        StorageValue<_, BoundedVec<(AccountId, BlockNumber), ConstU32<{ x0_limits::VALIDATORS_MAX }>>, ValueQuery>;

    /// How validators kept to their duty since they are known; those who left go when their place is needed.
    #[pallet::storage]
    pub type Conducts<T: Config> =
        StorageValue<_, BoundedVec<(AccountId, Conduct), ConstU32<{ x0_limits::VALIDATORS_MAX }>>, ValueQuery>;

    /// Receipts that were asked for and not shown yet, in the order of numbers.
    #[pallet::storage]
    pub type OpenChallenges<T: Config> =
        StorageValue<_, BoundedVec<OpenChallenge, ConstU32<{ x0_limits::CHALLENGES_OPEN_MAX }>>, ValueQuery>;

    /// What an answer to an open challenge must show.
    #[pallet::storage]
    pub type Challenges<T: Config> = StorageMap<_, Twox64Concat, u64, Challenge>;

    /// The number of the next challenge.
    #[pallet::storage]
    pub type NextChallenge<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Complaints about promises of round trip and throughput, by window and deal.
    #[pallet::storage]
    pub type Complaints<T: Config> = StorageDoubleMap<_, Twox64Concat, u64, Twox64Concat, DealId, Complaint>;

    /// About how many deals each validator was the first to complain, by window.
    #[pallet::storage]
    pub type ComplaintsOpened<T: Config> =
        StorageDoubleMap<_, Twox64Concat, u64, Blake2_128Concat, AccountId, u32, ValueQuery>;

    /// Windows with complaints, in order.
    #[pallet::storage]
    pub type ComplaintWindows<T: Config> =
        StorageValue<_, BoundedVec<u64, ConstU32<{ x0_limits::REPORTED_SLOTS_MAX }>>, ValueQuery>;

    /// Which validator holds which bit in the bitmaps of reporters.
    #[pallet::storage]
    pub type Seats<T: Config> =
        StorageValue<_, BoundedVec<AccountId, ConstU32<{ x0_limits::VALIDATORS_MAX }>>, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A node is measured from now on.
        Enrolled { node: AccountId, index: NodeIndex },
        /// A node is no longer measured.
        Dismissed { node: AccountId, index: NodeIndex },
        /// A validator committed to its report on a slot.
        Committed { slot: Slot, validator: AccountId },
        /// A validator showed the report that it had committed to.
        Reported { slot: Slot, validator: AccountId, receipts_root: Hash },
        /// A validator showed another report than the one that it had committed to.
        Mismatched { slot: Slot, validator: AccountId },
        /// A validator is asked for the receipt behind its report that the node was up.
        Challenged {
            challenge: u64,
            slot: Slot,
            validator: AccountId,
            node: AccountId,
            challenger: AccountId,
            answer_by: Slot,
        },
        /// The receipt was shown.
        Proved { challenge: u64, validator: AccountId },
        /// The receipt was not shown in time: an offence of the validator.
        Unproven { challenge: u64, slot: Slot, validator: AccountId, node: AccountId },
        /// A validator says that a deal's promise was broken in a window.
        Complained { deal: DealId, window: u64, validator: AccountId, breach: SlaBreach },
        /// Both sides of a deal signed what they saw of its use.
        UsageRecorded { deal: DealId, slot: Slot, throughput_kbps: u64, round_trip_ms: u32, breach: SlaBreach },
        /// Enough validators say so: the promise was broken between these slots.
        SlaBroken { deal: DealId, first: Slot, last: Slot, breach: SlaBreach },
        /// The parameters are these from now on.
        ParametersSet { terms: MeasuringTerms },
        /// The verdict on a node is not UP, or it is UP again after DOWN.
        Judged { slot: Slot, node: AccountId, verdict: Verdict },
        /// All nodes have their verdict of the slot; `exceptions` of them are not UP.
        SlotClosed { slot: Slot, exceptions: u32 },
        /// These slots are VOID.
        SlotsVoid { first: Slot, last: Slot },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// The origin is no validator's reporter account.
        UnknownReporter,
        /// The validator committed to a report on this slot, or showed it, already.
        AlreadyReported,
        /// The slot has not begun.
        SlotInFuture,
        /// The time for commitments on this slot is over.
        SlotTooOld,
        /// Reports on this slot are not shown yet.
        NotRevealing,
        /// The validator has not committed to a report on this slot.
        NotCommitted,
        /// The report has bits for nodes that do not exist.
        ReportTooLong,
        /// Closing lags so far behind that no further slot can take reports.
        TooManyOpenSlots,
        /// No further node can be measured.
        TooManyNodes,
        /// There is no report of this validator on this slot whose receipts may be asked for.
        NotProvable,
        /// The node was not measured in this slot, or is not any more.
        NodeNotMeasured,
        /// The validator did not report the node up.
        NotClaimed,
        /// The node's key is younger than the slot.
        KeyTooYoung,
        /// The receipt is asked for already.
        AlreadyChallenged,
        /// Too many receipts are asked for, in all, of this validator, or by this one.
        TooManyChallenges,
        /// There is no such challenge.
        NoChallenge,
        /// The receipt does not prove the claim.
        ReceiptInvalid,
        /// The deal does not run or promises nothing of this kind.
        NoPromise,
        /// The window is not over, too old, or not whole within the deal.
        WindowNotOpen,
        /// The validator belongs to the provider or the renter.
        NotImpartial,
        /// The validator said so already.
        AlreadyComplained,
        /// Too many complaints.
        TooManyComplaints,
        /// The usage receipt is not signed by both agents of the deal.
        UsageInvalid,
        /// The present parameters are others than the caller expected.
        ParametersMismatch,
        /// A parameter is out of its bounds.
        ParametersInvalid,
    }

    /// The chain's clock.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// Start of slot 0, milliseconds since the Unix epoch.
        pub genesis_time_ms: Moment,
        /// Length of a slot, milliseconds.
        pub slot_ms: Moment,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { genesis_time_ms: 0, slot_ms: x0_limits::SLOT_MS, _config: core::marker::PhantomData }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            assert!(self.slot_ms > 0, "measurement genesis: slot_ms is zero");
            GenesisTimeMs::<T>::put(self.genesis_time_ms);
            SlotMs::<T>::put(self.slot_ms);
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Closes the slots whose time for reports is over.
        fn on_initialize(_now: BlockNumberFor<T>) -> Weight {
            Self::advance()
        }

        /// Notes the time of this block for the indices that it freed.
        fn on_finalize(_now: BlockNumberFor<T>) {
            Self::stamp_resting();
        }

        fn integrity_test() {
            assert!(T::SlotWorkPerBlock::get() > 0, "measurement: no slot would ever close");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(Into::into)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Takes in the commitment of the origin's validator to what it saw in a slot, see
        /// [`x0_types::receipt::report_commitment`]. Free of fee when accepted; since only the first one of a
        /// validator for a slot is, nobody can send free ones at will.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::commit_report())]
        pub fn commit_report(origin: OriginFor<T>, slot: Slot, commitment: Hash) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            Self::do_commit(&reporter, slot, commitment)?;
            Ok(Pays::No.into())
        }

        /// Takes in the report that the origin's validator committed to. Free of fee when it is that one. Another
        /// one pays its fee and is counted, and the right one may follow.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::reveal_report(observations.len().try_into().unwrap_or(u32::MAX)))]
        pub fn reveal_report(
            origin: OriginFor<T>,
            slot: Slot,
            observations: Observations,
            receipts_root: Hash,
            salt: [u8; 32],
        ) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            let matches = Self::do_reveal(&reporter, slot, Report { observations, receipts_root }, &salt)?;
            Ok(if matches { Pays::No } else { Pays::Yes }.into())
        }

        /// Asks a validator for the receipt behind its report that this node was up in this slot. A validator's
        /// reporter leaves no deposit; anybody else leaves [`MeasuringTerms::challenge_deposit`], which comes
        /// back if the receipt is not shown and goes to the validator if it is.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::challenge())]
        pub fn challenge(origin: OriginFor<T>, slot: Slot, validator: AccountId, node: AccountId) -> DispatchResult {
            let challenger = ensure_signed(origin)?;
            Self::do_challenge(challenger, slot, validator, node)
        }

        /// Shows a receipt that was asked for. Free of fee when it proves the claim, whoever sends it.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::answer_challenge())]
        pub fn answer_challenge(
            origin: OriginFor<T>,
            challenge: u64,
            proof: Box<ReceiptProof>,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_answer(challenge, &proof)?;
            Ok(Pays::No.into())
        }

        /// Says that in a window most of the validator's trials of a deal broke its promise of round trip or
        /// throughput. Free of fee the first time for each deal, window and kind.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::complain())]
        pub fn complain(
            origin: OriginFor<T>,
            deal: DealId,
            window: u64,
            breach: SlaBreach,
        ) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            Self::do_complain(&reporter, deal, window, breach)?;
            Ok(Pays::No.into())
        }

        /// Puts on record what both agents of a deal signed about its use. Where it shows a broken promise, more
        /// than a third of the power is enough to confirm it.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::record_usage())]
        pub fn record_usage(origin: OriginFor<T>, signed: Box<SignedUsage>) -> DispatchResult {
            ensure_signed(origin)?;
            Self::do_record_usage(&signed)
        }

        /// Changes the parameters, if they are still those that the proposer saw. Open challenges keep their time.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::set_parameters())]
        pub fn set_parameters(origin: OriginFor<T>, expected: MeasuringTerms, new: MeasuringTerms) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            ensure!(Parameters::<T>::get() == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::ParametersInvalid);
            Parameters::<T>::put(new);
            Self::deposit_event(Event::ParametersSet { terms: new });
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// The slot of a time; times before genesis lie in slot 0.
        #[must_use]
        pub fn slot_of(time_ms: Moment) -> Slot {
            time_ms.saturating_sub(GenesisTimeMs::<T>::get()).checked_div(SlotMs::<T>::get()).unwrap_or_default()
        }

        /// The controller of the validator of the present set whose reporter account this is.
        #[must_use]
        pub fn validator_of(reporter: &AccountId) -> Option<AccountId> {
            let place = usize::try_from(T::Validators::index_of_reporter(reporter)?).ok()?;
            T::Validators::current().into_iter().nth(place).map(|(controller, _)| controller)
        }
    }
}
