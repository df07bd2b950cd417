//! The rules behind the calls, and what other modules ask.

use crate::{
    Config, Endpoint, Error, Event, GenesisIdentity, HoldReason, Identities, Identity, KeyEntry, KeyUse, Keys, Pallet,
    ReporterAccounts, UsedKeys, types::parse_endpoint,
};
use codec::Encode;
use frame_support::{
    ensure,
    pallet_prelude::{DispatchError, DispatchResult},
    traits::{Get, Time, fungible::MutateHold, tokens::Precision},
};
use sp_runtime::SaturatedConversion;
use x0_types::{AccountId, Balance, BlockNumber, Hash, KeyProof, KeyRole, MlDsa65PublicKey, key::PossessionStatement};

/// Every role but [`KeyRole::Account`], whose key is never removed.
const REVOCABLE_ROLES: [KeyRole; 6] =
    [KeyRole::Consensus, KeyRole::Network, KeyRole::Reporter, KeyRole::Playbook, KeyRole::Agent, KeyRole::Release];

impl<T: Config> Pallet<T> {
    /// The key that alone signs for this account, if the account has named one.
    #[must_use]
    pub fn account_key(account: &AccountId) -> Option<MlDsa65PublicKey> {
        Keys::<T>::get(account, KeyRole::Account).map(|entry| entry.public)
    }

    /// The subject whose valid Reporter key belongs to this account id.
    #[must_use]
    pub fn reporter_subject(reporter: &AccountId) -> Option<AccountId> {
        ReporterAccounts::<T>::get(reporter)
    }

    /// The one use that a key ever had, by its fingerprint.
    #[must_use]
    pub fn use_of(fingerprint: &Hash) -> Option<KeyUse> {
        UsedKeys::<T>::get(fingerprint)
    }

    fn height() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// The identity of a subject that is alive and that `who` controls.
    pub(crate) fn ensure_controls(who: &AccountId, subject: &AccountId) -> Result<Identity, DispatchError> {
        let identity = Identities::<T>::get(subject).ok_or(Error::<T>::UnknownSubject)?;
        ensure!(identity.controller == *who, Error::<T>::NotController);
        ensure!(!identity.revoked, Error::<T>::SubjectRevoked);
        Ok(identity)
    }

    /// The identity in which `who` is its own subject, created when there is none. A revoked one
    /// is returned too, because an account must be able to name its key whatever else it gave up.
    pub(crate) fn ensure_own_identity(who: &AccountId) -> Result<Identity, DispatchError> {
        match Identities::<T>::get(who) {
            Some(identity) => {
                ensure!(identity.controller == *who, Error::<T>::NotController);
                Ok(identity)
            }
            None => Self::create_identity(who, who, None),
        }
    }

    pub(crate) fn create_identity(
        subject: &AccountId,
        controller: &AccountId,
        endpoint: Option<Endpoint>,
    ) -> Result<Identity, DispatchError> {
        let deposit = T::IdentityDeposit::get();
        T::Currency::hold(&HoldReason::Identity.into(), controller, deposit)?;
        let identity = Identity {
            controller: controller.clone(),
            endpoint,
            revoked: false,
            keys: 0,
            deposit,
            since: Self::height(),
        };
        Identities::<T>::insert(subject, &identity);
        Self::deposit_event(Event::IdentityCreated { subject: subject.clone(), controller: controller.clone() });
        Ok(identity)
    }

    /// Checks that a key is new and that its holder wants it in this role for this subject. The
    /// signature comes last, because it costs the most.
    pub(crate) fn admit(
        subject: &AccountId,
        role: KeyRole,
        controller: &AccountId,
        public: &MlDsa65PublicKey,
        proof: &KeyProof,
    ) -> DispatchResult {
        ensure!(!UsedKeys::<T>::contains_key(public.fingerprint()), Error::<T>::KeyUsed);
        let key_account = public.account_id();
        let signs_own_account = role == KeyRole::Account && key_account == *subject;
        if !signs_own_account {
            // A nonce above zero shows that transactions were signed with this key before.
            let nonce = frame_system::Pallet::<T>::account_nonce(&key_account);
            ensure!(nonce == Default::default(), Error::<T>::KeyIsAnAccountKey);
        }
        let now_ms = T::Time::now();
        ensure!(proof.expires_at_ms > now_ms, Error::<T>::ProofExpired);
        ensure!(
            proof.expires_at_ms.saturating_sub(now_ms) <= x0_limits::POSSESSION_LIFE_MS_MAX,
            Error::<T>::ProofLivesTooLong
        );
        let statement = PossessionStatement {
            role,
            subject: subject.clone(),
            controller: controller.clone(),
            expires_at_ms: proof.expires_at_ms,
        };
        ensure!(Self::is_possession(public, &statement, proof), Error::<T>::ProofInvalid);
        Ok(())
    }

    fn is_possession(public: &MlDsa65PublicKey, statement: &PossessionStatement, proof: &KeyProof) -> bool {
        let genesis =
            frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::default());
        let mut genesis_bytes = [0u8; 32];
        let source = genesis.as_ref();
        if source.len() != genesis_bytes.len() {
            return false;
        }
        genesis_bytes.copy_from_slice(source);
        x0_crypto::verify_possession(&public.0, &genesis_bytes, &statement.encode(), &proof.signature.0)
    }

    /// Puts an admitted key into a free role and holds its deposit.
    pub(crate) fn insert_key(
        subject: &AccountId,
        role: KeyRole,
        controller: &AccountId,
        public: MlDsa65PublicKey,
    ) -> DispatchResult {
        let deposit = T::KeyDeposit::get();
        T::Currency::hold(&HoldReason::Key.into(), controller, deposit)?;
        let fingerprint = public.fingerprint();
        Self::write_key(subject, role, public, deposit);
        Identities::<T>::mutate(subject, |identity| {
            if let Some(identity) = identity {
                identity.keys = identity.keys.saturating_add(1);
            }
        });
        Self::deposit_event(Event::KeyAdded { subject: subject.clone(), role, fingerprint });
        Ok(())
    }

    /// Puts an admitted key in the place of the present one; the deposit stays.
    pub(crate) fn replace_key(subject: &AccountId, role: KeyRole, public: MlDsa65PublicKey) -> DispatchResult {
        let old = Keys::<T>::get(subject, role).ok_or(Error::<T>::NoKeyInRole)?;
        if role == KeyRole::Reporter {
            ReporterAccounts::<T>::remove(old.public.account_id());
        }
        let new = public.fingerprint();
        Self::write_key(subject, role, public, old.deposit);
        Self::deposit_event(Event::KeyRotated { subject: subject.clone(), role, old: old.public.fingerprint(), new });
        Ok(())
    }

    fn write_key(subject: &AccountId, role: KeyRole, public: MlDsa65PublicKey, deposit: Balance) {
        UsedKeys::<T>::insert(public.fingerprint(), KeyUse { subject: subject.clone(), role });
        if role == KeyRole::Reporter {
            ReporterAccounts::<T>::insert(public.account_id(), subject);
        }
        Keys::<T>::insert(subject, role, KeyEntry { public, deposit, since: Self::height() });
    }

    /// Removes a key and returns its deposit; says whether there was one.
    pub(crate) fn remove_key(
        subject: &AccountId,
        role: KeyRole,
        controller: &AccountId,
    ) -> Result<bool, DispatchError> {
        let Some(entry) = Keys::<T>::take(subject, role) else { return Ok(false) };
        T::Currency::release(&HoldReason::Key.into(), controller, entry.deposit, Precision::Exact)?;
        if role == KeyRole::Reporter {
            ReporterAccounts::<T>::remove(entry.public.account_id());
        }
        Identities::<T>::mutate(subject, |identity| {
            if let Some(identity) = identity {
                identity.keys = identity.keys.saturating_sub(1);
            }
        });
        let fingerprint = entry.public.fingerprint();
        Self::deposit_event(Event::KeyRevoked { subject: subject.clone(), role, fingerprint });
        Ok(true)
    }

    pub(crate) fn revoke_identity(subject: &AccountId, controller: &AccountId) -> DispatchResult {
        for role in REVOCABLE_ROLES {
            Self::remove_key(subject, role, controller)?;
        }
        let mut identity = Identities::<T>::get(subject).ok_or(Error::<T>::UnknownSubject)?;
        T::Currency::release(&HoldReason::Identity.into(), controller, identity.deposit, Precision::Exact)?;
        identity.revoked = true;
        identity.deposit = 0;
        Identities::<T>::insert(subject, identity);
        Self::deposit_event(Event::IdentityRevoked { subject: subject.clone() });
        Ok(())
    }

    /// Writes an identity of the genesis.
    ///
    /// # Panics
    /// When the genesis breaks a rule: a chain must not start from it.
    #[allow(clippy::panic, reason = "a chain must not start from a genesis that breaks a rule")]
    pub(crate) fn build_identity(genesis: &GenesisIdentity) {
        let subject = &genesis.subject;
        assert!(!Identities::<T>::contains_key(subject), "did genesis: subject {subject} is named twice");
        let endpoint = genesis.endpoint.as_ref().map(|text| {
            assert!(
                parse_endpoint(text.as_bytes()).is_some(),
                "did genesis: endpoint {text} of {subject} is not ip:port"
            );
            Endpoint::truncate_from(text.as_bytes().to_vec())
        });
        let has_agent_key = genesis.keys.iter().any(|key| key.role == KeyRole::Agent);
        assert!(
            has_agent_key == endpoint.is_some(),
            "did genesis: {subject} needs both or none of agent key and endpoint"
        );
        let controller = genesis.controller.clone().unwrap_or_else(|| subject.clone());
        let keys = genesis.keys.len().saturated_into();
        let identity = Identity { controller, endpoint, revoked: false, keys, deposit: 0, since: 0 };
        Identities::<T>::insert(subject, identity);
        for key in &genesis.keys {
            let (role, public) = (key.role, &key.public);
            assert!(
                !UsedKeys::<T>::contains_key(public.fingerprint()),
                "did genesis: a {role:?} key of {subject} is used twice"
            );
            assert!(!Keys::<T>::contains_key(subject, role), "did genesis: {subject} has two {role:?} keys");
            Self::write_key(subject, role, public.clone(), 0);
        }
    }
}

impl<T: Config> x0_types::market::Identities<AccountId> for Pallet<T> {
    fn controller(subject: &AccountId) -> Option<AccountId> {
        Identities::<T>::get(subject).filter(|identity| !identity.revoked).map(|identity| identity.controller)
    }

    fn key(subject: &AccountId, role: KeyRole) -> Option<MlDsa65PublicKey> {
        Keys::<T>::get(subject, role).map(|entry| entry.public)
    }

    fn key_since(subject: &AccountId, role: KeyRole) -> Option<BlockNumber> {
        Keys::<T>::get(subject, role).map(|entry| entry.since)
    }

    fn has_key(subject: &AccountId, role: KeyRole) -> bool {
        Keys::<T>::contains_key(subject, role)
    }
}
