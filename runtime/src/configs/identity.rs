//! Identities: which key signs for an account.

use x0_types::{AccountId, MlDsa65PublicKey};

/// The key that `did` names for an account; only this key signs for it then.
#[must_use]
pub fn account_key(_account: &AccountId) -> Option<MlDsa65PublicKey> {
    None
}
