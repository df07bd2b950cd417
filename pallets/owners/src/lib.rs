//! Who owns nodes: attested owner records, one voter each.
//!
//! The module exists so that governance can give each person or company one budget of votes, however many
//! accounts and nodes it has, and so that the market can tell when both sides of a deal are the same owner.
//!
//! ```text
//!   apply / apply_change (account, deposit) --+
//!                                             +--> motion, digest --attest by > 2/3 of the validators' heads--> done
//!   accuse (validator, evidence) -------------+        | time over, or taken back
//!                                                      +--> closed, deposit back
//!
//!   Owner: attested in epoch e -> votes in ballots that begin in epoch e + 2 or later
//!          revoked by validators -> reinstated by governance (votes from the next epoch on)
//! ```
//!
//! # Correctness
//! * An account belongs to one owner at most, and stays with it when the owner is revoked.
//! * Validators attest a digest of the motion's number, content and evidence, so that nobody attests what he
//!   has not seen; each counts once, by head, and no longer when it has left the set.
//! * A whole epoch lies between an attestation and the first vote.
//! * The number of owners that may vote grows only when an epoch begins; an owner that was reinstated does not
//!   vote in ballots of the epoch in which it was.
//! * The uniqueness of owners rests on what validators see outside the chain: it is the boundary of the whole
//!   vote, and the reason for revocation, appeal and evidence.
//!
//! # Limits
//! [`x0_limits::OWNER_ACCOUNTS_MAX`] accounts of an owner; [`x0_limits::OWNER_MOTIONS_MAX`] open motions,
//! [`x0_limits::OWNER_MOTIONS_EACH_MAX`] of each opener, for [`x0_limits::OWNER_MOTION_SLOTS`]. A record costs a
//! deposit for as long as it stands; the deposit of a revoked one goes back, and its record stays.
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
mod motions;
mod registry;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{
    AccountList, AttestationList, Counts, EpochClock, GenesisOwner, Motion, MotionKind, OpenMotion, Owner, Revocation,
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
        AccountList, AttestationList, Counts, EpochClock, GenesisOwner, Motion, MotionKind, OpenMotion, Owner,
        WeightInfo,
    };
    use frame_support::{
        pallet_prelude::*,
        traits::fungible::{InspectHold, MutateHold},
    };
    use frame_system::pallet_prelude::*;
    use x0_types::{
        AccountId, Balance, Hash,
        governance::{EpochIndex, OwnerId},
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
    pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
        /// The runtime's reasons for holds.
        type RuntimeHoldReason: From<HoldReason>;
        /// Where deposits are held.
        type Currency: InspectHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>
            + MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
        /// The validators who attest.
        type Validators: ValidatorSet<AccountId>;
        /// Tells the current slot.
        type Meter: Meter<AccountId>;
        /// Held for an owner's record, and for a motion, base units.
        #[pallet::constant]
        type OwnerDeposit: Get<Balance>;
        /// Who decides on appeals against a revocation.
        type AppealOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Who changes the length of epochs.
        type ParametersOrigin: EnsureOrigin<Self::RuntimeOrigin>;
        /// Weights of the calls and hooks.
        type WeightInfo: WeightInfo;
    }

    /// Why this module holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// For an owner's record, or a motion about it.
        Owner,
    }

    /// The owners, revoked ones too.
    #[pallet::storage]
    pub type Owners<T: Config> = StorageMap<_, Twox64Concat, OwnerId, Owner>;

    /// The owner of each account that has one.
    #[pallet::storage]
    pub type OwnerOf<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, OwnerId>;

    /// The number of the next owner. A number is given once.
    #[pallet::storage]
    pub type NextOwner<T: Config> = StorageValue<_, OwnerId, ValueQuery>;

    /// The number of the next motion. A number is given once.
    #[pallet::storage]
    pub type NextMotion<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// Open motions by number.
    #[pallet::storage]
    pub type Motions<T: Config> = StorageMap<_, Twox64Concat, u32, Motion>;

    /// Validators that attested each open motion.
    #[pallet::storage]
    pub type Attestations<T: Config> = StorageMap<_, Twox64Concat, u32, AttestationList, ValueQuery>;

    /// The open motions in the order in which they expire.
    #[pallet::storage]
    pub type OpenMotions<T: Config> =
        StorageValue<_, BoundedVec<OpenMotion, ConstU32<{ x0_limits::OWNER_MOTIONS_MAX }>>, ValueQuery>;

    /// The clock of vote credits.
    #[pallet::storage]
    pub type Clock<T: Config> = StorageValue<_, EpochClock, ValueQuery>;

    /// How many owners may vote, now and in the next epochs.
    #[pallet::storage]
    pub type VoterCounts<T: Config> = StorageValue<_, Counts, ValueQuery>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A motion was opened; validators attest `digest`.
        MotionOpened { motion: u32, opener: AccountId, digest: Hash, expires_at: Slot },
        /// A validator attested a motion; `heads` of `of` validators did.
        Attested { motion: u32, validator: AccountId, heads: u32, of: u32 },
        /// A motion was carried out, or could not be any more.
        MotionDone { motion: u32, result: DispatchResult },
        /// A motion found too few attestations in time, or was taken back.
        MotionClosed { motion: u32 },
        /// An owner was registered; it votes in ballots that begin in `eligible_from` or later.
        OwnerRegistered { owner: OwnerId, eligible_from: EpochIndex },
        /// An owner has other accounts.
        AccountsChanged { owner: OwnerId },
        /// An owner lost its rights.
        OwnerRevoked { owner: OwnerId, evidence: Hash },
        /// An owner has its rights again.
        OwnerReinstated { owner: OwnerId, eligible_from: EpochIndex },
        /// An epoch of vote credits began.
        EpochBegan { epoch: EpochIndex, voters: u32 },
        /// Epochs have another length from the next one on.
        EpochLengthChanged { slots: u64 },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// An owner has at least one account.
        NoAccounts,
        /// An account is named twice.
        DuplicateAccount,
        /// The origin is not among the accounts.
        NotOwnAccount,
        /// An account belongs to an owner already.
        AccountTaken,
        /// There is no such owner.
        UnknownOwner,
        /// The owner was revoked.
        Revoked,
        /// The owner was not revoked.
        NotRevoked,
        /// The origin does not belong to the owner.
        NotOwner,
        /// The origin is no validator of the present set.
        NotValidator,
        /// There is no such motion, or its time is over.
        UnknownMotion,
        /// The motion says something else.
        OtherDigest,
        /// The validator attested the motion already.
        AlreadyAttested,
        /// As many motions are open as allowed.
        TooManyMotions,
        /// The origin opened as many motions as allowed.
        TooManyOwnMotions,
        /// The origin did not open the motion.
        NotOpener,
        /// The stored length is not the expected one.
        ParametersMismatch,
        /// The length is out of its bounds.
        ParametersOutOfBounds,
        /// A number left its range.
        Overflow,
    }

    /// The first owners.
    #[pallet::genesis_config]
    pub struct GenesisConfig<T: Config> {
        /// Owners that may vote at once.
        pub owners: Vec<GenesisOwner>,
        /// Length of an epoch of vote credits, slots.
        pub epoch_slots: u64,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    impl<T: Config> Default for GenesisConfig<T> {
        fn default() -> Self {
            Self { owners: Vec::new(), epoch_slots: x0_limits::VOTE_EPOCH_SLOTS, _config: core::marker::PhantomData }
        }
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            assert!(Pallet::<T>::is_epoch_length(self.epoch_slots), "owners genesis: epochSlots is out of bounds");
            Clock::<T>::put(EpochClock { index: 0, start: 0, slots: self.epoch_slots });
            for owner in &self.owners {
                Pallet::<T>::build_owner(owner);
            }
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Begins epochs and closes motions whose time is over, a few in each block.
        fn on_initialize(_now: BlockNumberFor<T>) -> Weight {
            Self::begin_epochs();
            let closed = Self::close_expired(x0_limits::OWNER_MOTIONS_CLOSED_PER_BLOCK);
            T::WeightInfo::hook_base().saturating_add(T::WeightInfo::expire().saturating_mul(closed.into()))
        }

        #[allow(clippy::panic, reason = "integrity tests run before a runtime is released, never on chain")]
        fn integrity_test() {
            let expired = T::WeightInfo::expire().saturating_mul(x0_limits::OWNER_MOTIONS_CLOSED_PER_BLOCK.into());
            let full = T::WeightInfo::hook_base().saturating_add(expired).ref_time();
            assert!(full <= T::BlockWeights::get().max_block.ref_time() / 100, "owners: the hook takes {full} ps");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(|_| sp_runtime::TryRuntimeError::Other("owners invariants"))
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Asks the validators to attest that these accounts, the origin among them, are one owner.
        /// `evidence` is the hash of documents that the validators get outside the chain. Holds a deposit,
        /// which pays for the record afterwards.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::open(accounts.len().try_into().unwrap_or(u32::MAX)))]
        pub fn apply(origin: OriginFor<T>, accounts: AccountList, evidence: Hash) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(accounts.contains(&who), Error::<T>::NotOwnAccount);
            Self::check_accounts(None, &accounts)?;
            Self::open_motion(who, MotionKind::Admit { accounts }, evidence, T::OwnerDeposit::get())
        }

        /// Asks the validators to attest that the origin's owner has these accounts now, and no others.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::open(accounts.len().try_into().unwrap_or(u32::MAX)))]
        pub fn apply_change(origin: OriginFor<T>, accounts: AccountList, evidence: Hash) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let owner = OwnerOf::<T>::get(&who).ok_or(Error::<T>::NotOwner)?;
            ensure!(Self::live(owner)?.revoked.is_none(), Error::<T>::Revoked);
            Self::check_accounts(Some(owner), &accounts)?;
            Self::open_motion(who, MotionKind::Change { owner, accounts }, evidence, T::OwnerDeposit::get())
        }

        /// Asks the other validators to revoke an owner on this evidence. The origin validates, and attests
        /// by this.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::open(0).saturating_add(T::WeightInfo::attest(0)))]
        pub fn accuse(origin: OriginFor<T>, owner: OwnerId, evidence: Hash) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(Self::is_head(&who), Error::<T>::NotValidator);
            ensure!(Self::live(owner)?.revoked.is_none(), Error::<T>::Revoked);
            let motion = NextMotion::<T>::get();
            Self::open_motion(who.clone(), MotionKind::Revoke { owner }, evidence, 0)?;
            let digest = Motions::<T>::get(motion).map(|motion| motion.digest).ok_or(Error::<T>::UnknownMotion)?;
            Self::do_attest(who, motion, digest)
        }

        /// Attests what a motion with this digest says. Carried out once more than two thirds of the
        /// validators' heads did.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::attest(x0_limits::OWNER_ACCOUNTS_MAX))]
        pub fn attest(origin: OriginFor<T>, motion: u32, digest: Hash) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_attest(who, motion, digest)
        }

        /// Takes the origin's own motion back, and its deposit.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::close())]
        pub fn withdraw(origin: OriginFor<T>, motion: u32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let found = Motions::<T>::get(motion).ok_or(Error::<T>::UnknownMotion)?;
            ensure!(found.opener == who, Error::<T>::NotOpener);
            Self::close_motion(motion);
            Ok(())
        }

        /// Gives a revoked owner its rights back: the appeal, decided by governance.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::change())]
        pub fn reinstate(origin: OriginFor<T>, owner: OwnerId) -> DispatchResult {
            T::AppealOrigin::ensure_origin(origin)?;
            Self::do_reinstate(owner)
        }

        /// Changes the length of epochs from the next one on. `expected` is the present length.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::change())]
        pub fn set_epoch_slots(origin: OriginFor<T>, expected: u64, new: u64) -> DispatchResult {
            T::ParametersOrigin::ensure_origin(origin)?;
            ensure!(Self::is_epoch_length(new), Error::<T>::ParametersOutOfBounds);
            Clock::<T>::try_mutate(|clock| {
                ensure!(clock.slots == expected, Error::<T>::ParametersMismatch);
                clock.slots = new;
                Self::deposit_event(Event::EpochLengthChanged { slots: new });
                Ok(())
            })
        }
    }
}
