//! Trust: what agents say about their binaries, what auditors and validators saw, and the score that
//! follows.
//!
//! The module exists to turn evidence about a node into one number that the market and the mesh may
//! depend on. The number changes bonds, ranks and routes; it never takes money.
//!
//! ```text
//!   agent --attest--> Attestation --freshness x audits--> gate A --+
//!   validators' verdicts --> gaps between heartbeats --> S --------+--> T = A * (wS*S + wB*B)
//!                       \--> misses beyond the region's --> B -----+       |  once an epoch
//!   offences ------------------------------------------/                   v
//!   auditors contradict each other --> both void, bonds frozen       tier after hysteresis
//! ```
//!
//! # Correctness
//! * The gate multiplies: without a fresh attestation the score is 0, whatever a node did.
//! * Nothing that a node says about its liveness counts: heartbeats are the validators' verdicts.
//! * A score carries the version of its formula and all its terms; a version is never edited, so that
//!   anybody computes it again ([`Pallet::explain`]).
//! * A self-measured binary opens half of the gate; auditors who checked the same binary, and the same
//!   TPM quote if there is one, open the rest tier by tier. A classical quote counts only inside the
//!   agent's ML-DSA-65 signature and only with an auditor's word.
//! * Auditors who differ by more than one tier void each other and freeze both bonds until governance
//!   names the wrong one, or until [`x0_limits::AUDIT_CONFLICT_SLOTS`] have passed.
//! * A critical offence revokes a node: it comes back with another agent key and after an epoch.
//! * What a region missed together is nobody's fault: only misses beyond its 75th percentile count.
//!
//! # Limits
//! Records of measured nodes only, hence at most [`x0_limits::MEASURED_NODES_MAX`] live ones; the hook
//! passes at most [`x0_limits::TRUST_NODES_PER_BLOCK`] of them in a block.
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

mod attestation;
mod audits;
mod behaviour;
mod invariants;
mod score;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use score::Explanation;
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
        WeightInfo,
        types::{Auditor, Audits, Conflict, Log, MissCounts, Standing, Sweep},
    };
    use frame_support::{PalletId, pallet_prelude::*, traits::fungible};
    use frame_system::pallet_prelude::*;
    use x0_types::{
        AccountId, Balance, Hash, MlDsa65Signature,
        deal::Region,
        market::{Identities, Meter, Slot},
        trust::{AttestationStatement, NodeRegions, Severity, SuspensionListener, TrustTerms, TrustTier},
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
        /// The token.
        type Currency: fungible::hold::Mutate<Self::AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>
            + fungible::Mutate<Self::AccountId>;
        /// The runtime's hold reasons.
        type RuntimeHoldReason: From<HoldReason>;
        /// Slots and counters of nodes.
        type Meter: Meter<AccountId>;
        /// Keys of agents.
        type Identities: Identities<AccountId>;
        /// Where nodes stand.
        type Regions: NodeRegions<AccountId>;
        /// Who hears of nodes that are suspended or recover: the market.
        type Suspensions: SuspensionListener<AccountId>;
        /// Who changes the formula and the list of binaries, and admits and dismisses auditors.
        type GovernanceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Who writes offences down that no module proved: governance or the validators together.
        type OffenceOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Smallest bond of an auditor, base units.
        #[pallet::constant]
        type AuditorBondMin: Get<Balance>;
        /// Length of a slot, milliseconds.
        #[pallet::constant]
        type SlotMs: Get<u64>;
        /// Slots of an epoch, at least one.
        #[pallet::constant]
        type EpochSlots: Get<u64>;
        /// Names the treasury's account, which gets the bond of an auditor that was proved wrong.
        #[pallet::constant]
        type TreasuryId: Get<PalletId>;
        /// What the calls cost.
        type WeightInfo: WeightInfo;
    }

    /// Why money is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// An auditor's bond.
        AuditorBond,
    }

    /// What is known about each node.
    #[pallet::storage]
    pub type Standings<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Standing>;

    /// Audits of each node.
    #[pallet::storage]
    pub type AuditsOf<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Audits<AccountId>, ValueQuery>;

    /// The latest events of each node.
    #[pallet::storage]
    pub type Logs<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Log, ValueQuery>;

    /// Auditors.
    #[pallet::storage]
    pub type Auditors<T: Config> = CountedStorageMap<_, Blake2_128Concat, AccountId, Auditor>;

    /// Open conflicts of auditors.
    #[pallet::storage]
    pub type Conflicts<T: Config> = StorageMap<_, Twox64Concat, u64, Conflict<AccountId>>;

    /// Number of the next conflict.
    #[pallet::storage]
    pub type NextConflict<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// Open conflicts by the slot in which they end by themselves: slot and number, big-endian.
    #[pallet::storage]
    pub type ConflictEnds<T: Config> = StorageMap<_, Identity, [u8; 16], ()>;

    /// Binaries that governance approved. While there is none, every binary may be attested.
    #[pallet::storage]
    pub type Measurements<T: Config> = CountedStorageMap<_, Blake2_128Concat, Hash, ()>;

    /// All versions of the formula; they are never edited.
    #[pallet::storage]
    pub type Formulas<T: Config> = StorageMap<_, Twox64Concat, u16, TrustTerms>;

    /// The version of the formula that holds; version 0, until governance sets one, has the default numbers.
    #[pallet::storage]
    pub type Version<T: Config> = StorageValue<_, u16, ValueQuery>;

    /// The last epoch whose scores are computed.
    #[pallet::storage]
    pub type Epoch<T: Config> = StorageValue<_, u64, ValueQuery>;

    /// The computation that goes on in the next block.
    #[pallet::storage]
    pub type Sweeping<T: Config> = StorageValue<_, Sweep>;

    /// Misses of the epoch that is computed, by region.
    #[pallet::storage]
    pub type RegionMisses<T: Config> = StorageMap<_, Blake2_128Concat, Region, MissCounts>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An agent attested its binary.
        Attested { node: AccountId, measurement: Hash, quote: Option<Hash>, slot: Slot },
        /// An auditor judged a node.
        Audited { node: AccountId, auditor: AccountId, tier: u8, evidence: Hash },
        /// Two auditors contradicted each other: their words are void, their bonds frozen.
        AuditsConflict { conflict: u64, node: AccountId, auditors: [AccountId; 2], tiers: [u8; 2] },
        /// A conflict is over; the auditor named was wrong and lost its bond.
        ConflictResolved { conflict: u64, wrong: Option<AccountId>, lost: Balance },
        /// Governance admitted an auditor.
        AuditorAdmitted { auditor: AccountId },
        /// An auditor's bond is now this much.
        AuditorBonded { auditor: AccountId, bond: Balance },
        /// An auditor left and has its bond back.
        AuditorRetired { auditor: AccountId, bond: Balance },
        /// Governance took an auditor's right away.
        AuditorDismissed { auditor: AccountId },
        /// An offence of a node was written down.
        OffenceRecorded { node: AccountId, severity: Severity, evidence: Hash },
        /// A node is revoked; it needs another agent key.
        NodeRevoked { node: AccountId },
        /// A revoked node has another key; its gate opens with this epoch.
        NodeReadmitted { node: AccountId, epoch: u64 },
        /// A node's score changed.
        ScoreChanged { node: AccountId, score_ppm: u32, version: u16, epoch: u64 },
        /// A node's tier changed.
        TierChanged { node: AccountId, tier: TrustTier },
        /// Scores of an epoch are computed.
        EpochScored { epoch: u64 },
        /// A binary is approved.
        MeasurementApproved { measurement: Hash },
        /// A binary is not approved any more.
        MeasurementWithdrawn { measurement: Hash },
        /// A new version of the formula holds.
        FormulaSet { version: u16, terms: TrustTerms },
    }

    /// Why a call failed.
    #[pallet::error]
    pub enum Error<T> {
        /// The node is not measured: list it first.
        NotMeasured,
        /// The node has no live agent key.
        NoAgentKey,
        /// The statement is older than [`x0_limits::ATTESTATION_AGE_SLOTS_MAX`].
        StatementTooOld,
        /// The statement's slot lies in the future.
        StatementFromFuture,
        /// The node has said something at this slot or later.
        StatementSuperseded,
        /// The signature is not the agent's over this statement on this chain.
        SignatureInvalid,
        /// Governance has not approved this binary.
        MeasurementNotApproved,
        /// The node is revoked and still has the key that was revoked.
        KeyRevoked,
        /// The account is no auditor, or is not one any more.
        NotAuditor,
        /// The auditor's bond is below the smallest.
        BondTooSmall,
        /// The free balance does not cover the bond.
        BondNotCovered,
        /// A conflict freezes the bond.
        BondFrozen,
        /// The auditor's words still stand on nodes: withdraw them or wait for their ends.
        AuditsStand,
        /// The account is an auditor already.
        AlreadyAuditor,
        /// There are as many auditors as may be.
        TooManyAuditors,
        /// Tiers run from 1 to [`x0_limits::AUDIT_TIER_MAX`].
        InvalidTier,
        /// The audit names another binary or quote than the node's attestation.
        OtherBinary,
        /// An auditor does not judge a node of its own.
        OwnNode,
        /// The node has as many audits as may stand.
        TooManyAudits,
        /// There is no such audit.
        UnknownAudit,
        /// No such conflict, or it is over.
        UnknownConflict,
        /// The account is none of the two.
        NotInConflict,
        /// The binary is on the list.
        AlreadyApproved,
        /// The binary is not on the list.
        NotApproved,
        /// The list is full.
        TooManyMeasurements,
        /// A share is above the whole, tiers do not rise, or a time is zero.
        InvalidParameters,
        /// The parameters are not those that the change expects to replace.
        ParametersMismatch,
        /// There are as many versions as may be.
        TooManyVersions,
        /// A number does not fit.
        Overflow,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            let conflicts = Self::end_conflicts();
            let nodes = Self::sweep();
            T::WeightInfo::on_initialize(nodes, conflicts)
        }

        /// A full block of work stays within a twentieth of the block's weight.
        #[allow(clippy::panic, reason = "integrity tests run before a runtime is released, never on chain")]
        fn integrity_test() {
            let full =
                T::WeightInfo::on_initialize(x0_limits::TRUST_NODES_PER_BLOCK, x0_limits::AUDIT_CONFLICTS_PER_BLOCK);
            let block = T::BlockWeights::get().max_block;
            assert!(full.saturating_mul(20).all_lte(block), "trust takes more than a twentieth of a block: {full:?}");
            assert!(T::EpochSlots::get() >= 1, "an epoch has at least one slot");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(|_| sp_runtime::TryRuntimeError::Other("trust invariants"))
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Hands in what an agent said about its binary. Anybody may; it is free of fee when the last
        /// attestation is past half of its life or speaks of another binary.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::attest())]
        pub fn attest(
            origin: OriginFor<T>,
            statement: AttestationStatement<AccountId>,
            signature: MlDsa65Signature,
        ) -> DispatchResultWithPostInfo {
            ensure_signed(origin)?;
            Self::do_attest(statement, &signature)
        }

        /// Lets an account judge nodes once it has posted its bond.
        #[pallet::call_index(1)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn admit_auditor(origin: OriginFor<T>, auditor: AccountId) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_admit_auditor(auditor)
        }

        /// Adds to the caller's bond as an auditor.
        #[pallet::call_index(2)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn bond_auditor(origin: OriginFor<T>, amount: Balance) -> DispatchResult {
            let auditor = ensure_signed(origin)?;
            Self::do_bond_auditor(auditor, amount)
        }

        /// Says how far an auditor trusts the binary that a node attested. A later word of the same
        /// auditor replaces its earlier one.
        #[pallet::call_index(3)]
        #[pallet::weight(<T as Config>::WeightInfo::audit())]
        pub fn audit(
            origin: OriginFor<T>,
            node: AccountId,
            tier: u8,
            measurement: Hash,
            quote: Option<Hash>,
            evidence: Hash,
        ) -> DispatchResult {
            let auditor = ensure_signed(origin)?;
            Self::do_audit(auditor, node, tier, measurement, quote, evidence)
        }

        /// Takes the caller's word on a node back.
        #[pallet::call_index(4)]
        #[pallet::weight(<T as Config>::WeightInfo::audit())]
        pub fn withdraw_audit(origin: OriginFor<T>, node: AccountId) -> DispatchResult {
            let auditor = ensure_signed(origin)?;
            Self::do_withdraw_audit(&auditor, &node)
        }

        /// Gives the caller's bond back and ends its rights as an auditor.
        #[pallet::call_index(5)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn retire_auditor(origin: OriginFor<T>) -> DispatchResult {
            let auditor = ensure_signed(origin)?;
            Self::do_retire_auditor(auditor)
        }

        /// Takes an auditor's right away: its words count no more. Its bond stays until it retires.
        #[pallet::call_index(6)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn dismiss_auditor(origin: OriginFor<T>, auditor: AccountId) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_dismiss_auditor(auditor)
        }

        /// Ends a conflict of auditors before its time: the wrong one, if one is named, loses its bond to
        /// the treasury and its right.
        #[pallet::call_index(7)]
        #[pallet::weight(<T as Config>::WeightInfo::audit())]
        pub fn resolve_conflict(origin: OriginFor<T>, conflict: u64, wrong: Option<AccountId>) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            Self::do_resolve(conflict, wrong)
        }

        /// Writes an offence of a node down.
        #[pallet::call_index(8)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn record_offence(
            origin: OriginFor<T>,
            node: AccountId,
            severity: Severity,
            evidence: Hash,
        ) -> DispatchResult {
            T::OffenceOrigin::ensure_origin(origin)?;
            ensure!(
                Standings::<T>::contains_key(&node) || T::Meter::counters(&node).is_some(),
                Error::<T>::NotMeasured
            );
            Self::record(&node, severity, evidence);
            Ok(())
        }

        /// Makes a new version of the formula. `expected` is the version's numbers that it replaces.
        #[pallet::call_index(9)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn set_parameters(origin: OriginFor<T>, expected: TrustTerms, new: TrustTerms) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(Self::terms() == expected, Error::<T>::ParametersMismatch);
            ensure!(new.is_valid(), Error::<T>::InvalidParameters);
            let version = Version::<T>::get().checked_add(1).ok_or(Error::<T>::Overflow)?;
            ensure!(version < x0_limits::TRUST_VERSIONS_MAX, Error::<T>::TooManyVersions);
            Formulas::<T>::insert(version, new);
            Version::<T>::put(version);
            Self::deposit_event(Event::FormulaSet { version, terms: new });
            Ok(())
        }

        /// Puts a binary on the list. From the first one on, only listed binaries can be attested.
        #[pallet::call_index(10)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn approve_measurement(origin: OriginFor<T>, measurement: Hash) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(!Measurements::<T>::contains_key(measurement), Error::<T>::AlreadyApproved);
            ensure!(Measurements::<T>::count() < x0_limits::MEASUREMENTS_MAX, Error::<T>::TooManyMeasurements);
            Measurements::<T>::insert(measurement, ());
            Self::deposit_event(Event::MeasurementApproved { measurement });
            Ok(())
        }

        /// Takes a binary off the list: attestations of it close their gate with the next epoch.
        #[pallet::call_index(11)]
        #[pallet::weight(<T as Config>::WeightInfo::manage())]
        pub fn withdraw_measurement(origin: OriginFor<T>, measurement: Hash) -> DispatchResult {
            T::GovernanceOrigin::ensure_origin(origin)?;
            ensure!(Measurements::<T>::take(measurement).is_some(), Error::<T>::NotApproved);
            Self::deposit_event(Event::MeasurementWithdrawn { measurement });
            Ok(())
        }

        /// Forgets an auditor's word whose time is over, so that its place and the auditor's bond are
        /// free. Anybody may.
        #[pallet::call_index(12)]
        #[pallet::weight(<T as Config>::WeightInfo::audit())]
        pub fn forget_audits(origin: OriginFor<T>, node: AccountId) -> DispatchResult {
            ensure_signed(origin)?;
            Self::forget_old_audits(&node);
            Ok(())
        }
    }
}
