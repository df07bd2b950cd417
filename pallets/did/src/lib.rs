//! Identities: which key stands for whom, in which role, since when.
//!
//! The module exists so that every other part of the chain can ask one place "which key may do this
//! for that subject now?" and can trust that no key ever served two purposes.
//!
//! ```text
//!   account (its own subject) --- Account, Consensus, Network, Reporter, Playbook, Release keys
//!        | controls
//!        v
//!   agent (subject = account id of its first key) --- Agent key, endpoint
//!
//!   UsedKeys: fingerprint -> (subject, role), written once, never removed
//! ```
//!
//! # Correctness
//! * A key is registered at most once ever, in one role, for one subject (architecture D13); rotation
//!   and revocation do not free it.
//! * A key enters only with a signature of its own over chain, role, subject, controller and expiry,
//!   so that nobody registers a key that he does not hold, and no proof is of use elsewhere.
//! * A key that signed transactions of an account before cannot take another role.
//! * The entry that names an account's own key is never removed, because without it the first key of
//!   the account would be valid again. It does not depend on the balance, so it survives reaping.
//! * Only the controller acts for a subject.
//!
//! # Limits
//! One key for each subject and role; endpoints of [`x0_limits::ENDPOINT_BYTES_MAX`] bytes; proofs that
//! end within [`x0_limits::POSSESSION_LIFE_MS_MAX`]. Storage is paid for with deposits on hold.
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
mod registry;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use types::{Endpoint, GenesisIdentity, GenesisKey, Identity, KeyEntry, KeyUse};
pub use weights::WeightInfo;

#[frame_support::pallet]
#[allow(
    missing_docs,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "the macro generates undocumented items, and conversions that hold by construction"
)]
pub mod pallet {
    use super::{Endpoint, GenesisIdentity, Identity, KeyEntry, KeyUse, WeightInfo, types};
    use frame_support::{
        Identity as PlainKey,
        pallet_prelude::*,
        traits::{
            Time,
            fungible::{InspectHold, MutateHold},
        },
    };
    use frame_system::pallet_prelude::*;
    use x0_types::{AccountId, Balance, Hash, KeyProof, KeyRole, MlDsa65PublicKey, Moment};

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
        /// The block's time, milliseconds since the Unix epoch.
        type Time: Time<Moment = Moment>;
        /// Deposit for one identity, base units.
        #[pallet::constant]
        type IdentityDeposit: Get<Balance>;
        /// Deposit for one key, base units.
        #[pallet::constant]
        type KeyDeposit: Get<Balance>;
        /// Weights of the calls.
        type WeightInfo: WeightInfo;
    }

    /// Why this module holds money.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// For the storage of an identity.
        Identity,
        /// For the storage of a key.
        Key,
    }

    /// Identities by subject. A revoked one stays.
    #[pallet::storage]
    pub type Identities<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, Identity>;

    /// Valid keys by subject and role.
    #[pallet::storage]
    pub type Keys<T: Config> = StorageDoubleMap<_, Blake2_128Concat, AccountId, Twox64Concat, KeyRole, KeyEntry>;

    /// Every key that was ever registered, by fingerprint. Entries are never removed.
    #[pallet::storage]
    pub type UsedKeys<T: Config> = StorageMap<_, PlainKey, Hash, KeyUse>;

    /// The subject of each valid Reporter key, by the account id that belongs to the key.
    #[pallet::storage]
    pub type ReporterAccounts<T: Config> = StorageMap<_, Blake2_128Concat, AccountId, AccountId>;

    /// What happened.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An identity came to be.
        IdentityCreated { subject: AccountId, controller: AccountId },
        /// A subject has a key in a role that was free.
        KeyAdded { subject: AccountId, role: KeyRole, fingerprint: Hash },
        /// A subject's key in a role was replaced.
        KeyRotated { subject: AccountId, role: KeyRole, old: Hash, new: Hash },
        /// A subject's key in a role is no longer valid.
        KeyRevoked { subject: AccountId, role: KeyRole, fingerprint: Hash },
        /// An agent listens elsewhere.
        EndpointSet { subject: AccountId, endpoint: Endpoint },
        /// An identity was given up, with all of its keys but the account's own.
        IdentityRevoked { subject: AccountId },
    }

    /// A broken rule.
    #[pallet::error]
    pub enum Error<T> {
        /// No identity has this subject.
        UnknownSubject,
        /// The subject exists already.
        SubjectExists,
        /// The origin does not control the subject.
        NotController,
        /// The identity was given up.
        SubjectRevoked,
        /// The key was registered before, in whatever role, for whomever.
        KeyUsed,
        /// The key signed transactions of an account, so it can have no other role.
        KeyIsAnAccountKey,
        /// The key's account id is not the origin.
        KeyOfAnotherAccount,
        /// The account has named its own key already: rotate it.
        AccountKeyRegistered,
        /// The account has not named its own key yet: register it first.
        AccountKeyNotRegistered,
        /// The role is not for this call.
        RoleNotAllowed,
        /// The subject has a key in this role already: rotate it.
        RoleTaken,
        /// The subject has no key in this role.
        NoKeyInRole,
        /// The proof of possession ended before this block.
        ProofExpired,
        /// The proof of possession lives longer than allowed.
        ProofLivesTooLong,
        /// The signature of the proof is wrong for this chain, role, subject, controller and expiry.
        ProofInvalid,
        /// The endpoint is not `ip:port` with a literal address and a port above zero.
        EndpointInvalid,
        /// The subject is not an agent.
        NotAnAgent,
    }

    /// Identities that exist from the start.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The identities, with their keys.
        pub identities: Vec<GenesisIdentity>,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            for identity in &self.identities {
                Pallet::<T>::build_identity(identity);
            }
        }
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
        /// Names the origin's own key on chain, so that it can be rotated and need not be carried
        /// by each transaction. The key must be the one that the account id was made of.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register_account_key())]
        pub fn register_account_key(origin: OriginFor<T>, public: MlDsa65PublicKey, proof: KeyProof) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(public.account_id() == who, Error::<T>::KeyOfAnotherAccount);
            ensure!(!Keys::<T>::contains_key(&who, KeyRole::Account), Error::<T>::AccountKeyRegistered);
            Self::ensure_own_identity(&who)?;
            Self::admit(&who, KeyRole::Account, &who, &public, &proof)?;
            Self::insert_key(&who, KeyRole::Account, &who, public)
        }

        /// Replaces the origin's own key. From the next transaction on only the new key is valid.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::rotate_account_key())]
        pub fn rotate_account_key(origin: OriginFor<T>, public: MlDsa65PublicKey, proof: KeyProof) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(Keys::<T>::contains_key(&who, KeyRole::Account), Error::<T>::AccountKeyNotRegistered);
            Self::admit(&who, KeyRole::Account, &who, &public, &proof)?;
            Self::replace_key(&who, KeyRole::Account, public)
        }

        /// Registers a mesh agent that the origin controls. Its subject, and its NodeId, is the
        /// account id of this first key.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::register_agent())]
        pub fn register_agent(
            origin: OriginFor<T>,
            public: MlDsa65PublicKey,
            proof: KeyProof,
            endpoint: Endpoint,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let subject = public.account_id();
            ensure!(types::parse_endpoint(&endpoint).is_some(), Error::<T>::EndpointInvalid);
            ensure!(!Identities::<T>::contains_key(&subject), Error::<T>::SubjectExists);
            Self::admit(&subject, KeyRole::Agent, &who, &public, &proof)?;
            Self::create_identity(&subject, &who, Some(endpoint))?;
            Self::insert_key(&subject, KeyRole::Agent, &who, public)
        }

        /// Adds a key to the origin's own identity, in a role that is still free.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::add_key())]
        pub fn add_key(
            origin: OriginFor<T>,
            role: KeyRole,
            public: MlDsa65PublicKey,
            proof: KeyProof,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(!matches!(role, KeyRole::Account | KeyRole::Agent), Error::<T>::RoleNotAllowed);
            let identity = Self::ensure_own_identity(&who)?;
            ensure!(!identity.revoked, Error::<T>::SubjectRevoked);
            ensure!(!Keys::<T>::contains_key(&who, role), Error::<T>::RoleTaken);
            Self::admit(&who, role, &who, &public, &proof)?;
            Self::insert_key(&who, role, &who, public)
        }

        /// Replaces a key of a subject that the origin controls.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::rotate_key())]
        pub fn rotate_key(
            origin: OriginFor<T>,
            subject: AccountId,
            role: KeyRole,
            public: MlDsa65PublicKey,
            proof: KeyProof,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(role != KeyRole::Account, Error::<T>::RoleNotAllowed);
            Self::ensure_controls(&who, &subject)?;
            ensure!(Keys::<T>::contains_key(&subject, role), Error::<T>::NoKeyInRole);
            Self::admit(&subject, role, &who, &public, &proof)?;
            Self::replace_key(&subject, role, public)
        }

        /// Ends the validity of a key and returns its deposit. An account's own key cannot be
        /// revoked, only rotated, and an agent's key only together with the agent.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::revoke_key())]
        pub fn revoke_key(origin: OriginFor<T>, subject: AccountId, role: KeyRole) -> DispatchResult {
            let who = ensure_signed(origin)?;
            ensure!(!matches!(role, KeyRole::Account | KeyRole::Agent), Error::<T>::RoleNotAllowed);
            Self::ensure_controls(&who, &subject)?;
            ensure!(Self::remove_key(&subject, role, &who)?, Error::<T>::NoKeyInRole);
            Ok(())
        }

        /// Says where an agent listens.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::set_endpoint())]
        pub fn set_endpoint(origin: OriginFor<T>, subject: AccountId, endpoint: Endpoint) -> DispatchResult {
            let who = ensure_signed(origin)?;
            let mut identity = Self::ensure_controls(&who, &subject)?;
            ensure!(identity.endpoint.is_some(), Error::<T>::NotAnAgent);
            ensure!(types::parse_endpoint(&endpoint).is_some(), Error::<T>::EndpointInvalid);
            identity.endpoint = Some(endpoint.clone());
            Identities::<T>::insert(&subject, identity);
            Self::deposit_event(Event::EndpointSet { subject, endpoint });
            Ok(())
        }

        /// Gives up an identity for ever, with all of its keys but the account's own, and returns
        /// the deposits.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::revoke())]
        pub fn revoke(origin: OriginFor<T>, subject: AccountId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::ensure_controls(&who, &subject)?;
            Self::revoke_identity(&subject, &who)
        }
    }
}
