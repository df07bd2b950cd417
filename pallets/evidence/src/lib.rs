//! Validators that contradict themselves: proof, record, punishment.
//!
//! The module exists so that a validator that signs two different things for one place of the
//! protocol loses its power, because anybody can show the chain both signatures.
//!
//! ```text
//!   engine keeps both messages --> report(evidence) --+-- checked natively with the key of THAT height
//!                                                     |
//!                     Offences[validator] <-----------+-----> Validators::bar: out of the set from H+2,
//!                     PunishedUntil[validator]                no way back before it is readmitted
//! ```
//!
//! # Correctness
//! * Both statements name the same key, and it is the consensus key that the accused validator had at
//!   that height; so nobody is blamed for what another one signed, also after keys were changed.
//! * A validator whose guard works never signs two statements for one place, whatever the network or a
//!   restart does, so that honest validators cannot be proved guilty.
//! * A validator is punished once for everything that it signed until the punishment took effect:
//!   further evidence about these heights is refused. After it was readmitted, only what it signs from
//!   then on counts.
//! * The last validator of a set is recorded and stays.
//! * Reporting is free for the first valid report, and only for this one.
//!
//! # Limits
//! Bodies of [`x0_limits::STATEMENT_BYTES_MAX`] bytes; heights at most
//! [`x0_limits::EVIDENCE_AGE_BLOCKS_MAX`] old; [`x0_limits::OFFENCES_KEPT`] records of each validator.
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

mod check;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::WeightInfo;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;
    use x0_types::{
        AccountId, BlockNumber,
        evidence::{Evidence, Step},
    };

    /// A contradiction that was proved.
    #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
    pub struct Offence {
        /// Height of the two statements.
        pub height: BlockNumber,
        /// Their round.
        pub round: u32,
        /// Their step.
        pub step: Step,
        /// The block that took the proof in.
        pub reported_at: BlockNumber,
        /// Who brought it.
        pub reporter: AccountId,
        /// Whether the validator lost its power; not if it was the last one.
        pub barred: bool,
    }

    /// The latest offences of one validator, oldest first.
    pub type OffenceList = BoundedVec<Offence, ConstU32<{ x0_limits::OFFENCES_KEPT }>>;

    /// Layout of this module's storage in the first rules; migrations move the version on chain.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The module.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the module needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<RuntimeEvent: From<Event<Self>>> + pallet_x0_validators::Config {
        /// Weights of the call.
        type WeightInfo: WeightInfo;
    }

    /// What each validator was proved to have done, by its controller.
    #[pallet::storage]
    pub type Offences<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, OffenceList, ValueQuery>;

    /// The last height that the latest punishment of a validator covers.
    #[pallet::storage]
    pub type PunishedUntil<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, BlockNumber>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A validator contradicted itself. It was barred, unless it is the last one.
        Equivocation {
            validator: AccountId,
            height: BlockNumber,
            round: u32,
            step: Step,
            reporter: AccountId,
            barred: bool,
        },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// The statements are about a height that is not over.
        HeightInFuture,
        /// The statements are about a height too long ago.
        TooOld,
        /// The account had no consensus key in the set of that height.
        NotValidatorThen,
        /// A body is no statement of this step.
        NotAStatement,
        /// A statement stands at another height, round or step than the evidence says.
        OtherPlace,
        /// The two statements do not contradict each other, or are of different signers.
        NoContradiction,
        /// A signature is wrong for the statement and the key that the validator had.
        SignatureInvalid,
        /// The validator was punished for what it signed at this height.
        AlreadyPunished,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        #[cfg(feature = "try-runtime")]
        fn try_state(_now: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_invariants().map_err(Into::into)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Shows that a validator contradicted itself. Free of fee when it is the first proof that
        /// counts; anybody may report.
        #[pallet::call_index(0)]
        #[pallet::weight(<T as Config>::WeightInfo::report())]
        pub fn report(origin: OriginFor<T>, evidence: Box<Evidence>) -> DispatchResultWithPostInfo {
            let reporter = ensure_signed(origin)?;
            Self::check(&evidence)?;
            Self::punish(&evidence, reporter)?;
            Ok(Pays::No.into())
        }
    }
}
