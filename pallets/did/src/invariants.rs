//! What must hold after every block.

use crate::{Config, HoldReason, Identities, Keys, Pallet, ReporterAccounts, UsedKeys};
use frame_support::traits::fungible::InspectHold;
use std::collections::BTreeMap;
use x0_types::{AccountId, Balance, KeyRole};

impl<T: Config> Pallet<T> {
    /// Checks every rule that the storage of this module keeps. Reads all of it: for tests and for
    /// try-runtime, never inside a block.
    ///
    /// # Errors
    /// The broken rule, in words.
    pub fn check_invariants() -> Result<(), &'static str> {
        let mut keys_of: BTreeMap<AccountId, u32> = BTreeMap::new();
        let mut key_deposits: BTreeMap<AccountId, Balance> = BTreeMap::new();
        let mut reporters = 0usize;
        for (subject, role, entry) in Keys::<T>::iter() {
            let identity = Identities::<T>::get(&subject).ok_or("did: a key without an identity")?;
            let used = UsedKeys::<T>::get(entry.public.fingerprint()).ok_or("did: a valid key is not in UsedKeys")?;
            if used.subject != subject || used.role != role {
                return Err("did: UsedKeys names another use of a valid key");
            }
            if identity.revoked && role != KeyRole::Account {
                return Err("did: a revoked identity holds a key besides the account's own");
            }
            if role == KeyRole::Reporter {
                reporters += 1;
                if ReporterAccounts::<T>::get(entry.public.account_id()) != Some(subject.clone()) {
                    return Err("did: a reporter key without its account");
                }
            }
            let count = keys_of.entry(subject).or_default();
            *count = count.saturating_add(1);
            let sum = key_deposits.entry(identity.controller).or_default();
            *sum = sum.saturating_add(entry.deposit);
        }
        if ReporterAccounts::<T>::iter().count() != reporters {
            return Err("did: a reporter account without its key");
        }
        let mut identity_deposits: BTreeMap<AccountId, Balance> = BTreeMap::new();
        for (subject, identity) in Identities::<T>::iter() {
            if keys_of.get(&subject).copied().unwrap_or_default() != identity.keys {
                return Err("did: an identity miscounts its keys");
            }
            if identity.endpoint.is_some() && !identity.revoked && !Keys::<T>::contains_key(&subject, KeyRole::Agent) {
                return Err("did: a live agent without its key");
            }
            let sum = identity_deposits.entry(identity.controller).or_default();
            *sum = sum.saturating_add(identity.deposit);
        }
        Self::check_holds(HoldReason::Identity, &identity_deposits)?;
        Self::check_holds(HoldReason::Key, &key_deposits)
    }

    fn check_holds(reason: HoldReason, expected: &BTreeMap<AccountId, Balance>) -> Result<(), &'static str> {
        let reason = reason.into();
        for (controller, deposit) in expected {
            if T::Currency::balance_on_hold(&reason, controller) != *deposit {
                return Err("did: deposits on hold differ from the entries they stand for");
            }
        }
        Ok(())
    }
}
