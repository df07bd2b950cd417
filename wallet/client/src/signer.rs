//! Who signs: an account, its key, and the form of signature that the chain accepts for it.

use x0_crypto::{PublicKey, SigningKey};
use x0_types::AccountId;

use crate::{ClientError, chain::ChainSignature};

/// The form of a transaction's signature (architecture D3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureForm {
    /// The key travels with the signature.
    Inline,
    /// The chain knows the key.
    Registered,
}

/// The account id that belongs to a public key.
#[must_use]
pub fn account_of(public: &PublicKey) -> AccountId {
    x0_types::account::account_id(public.as_bytes())
}

/// Chooses the form of a signature: registered when the chain names this very key for the account,
/// inline when it names none and the key hashes to the account.
///
/// # Errors
/// [`ClientError::Key`] when the chain names another key, or when the key is not the account's.
pub fn signature_form(
    account: &AccountId,
    key: &PublicKey,
    named: Option<&PublicKey>,
) -> Result<SignatureForm, ClientError> {
    let account_text = || crate::text::account_text(account);
    match named {
        Some(named) if named == key => Ok(SignatureForm::Registered),
        Some(_) => Err(ClientError::Key {
            reason: format!("the chain names another key for {}: it was rotated, use the newer key", account_text()),
        }),
        None if account_of(key) == *account => Ok(SignatureForm::Inline),
        None => Err(ClientError::Key {
            reason: format!("this is not the key of {}, and the chain names none", account_text()),
        }),
    }
}

/// An account and the key that signs for it.
///
/// After a rotation the key no longer hashes to the account, so both are given.
#[derive(Clone)]
pub struct Signer {
    account: AccountId,
    key: SigningKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", crate::text::account_text(&self.account))
    }
}

impl Signer {
    /// A signer for the key's own account.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self { account: account_of(key.public()), key }
    }

    /// A signer for an account whose key was rotated to `key`.
    #[must_use]
    pub const fn for_account(account: AccountId, key: SigningKey) -> Self {
        Self { account, key }
    }

    /// The account that pays and acts.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The form for this signer; see [`signature_form`].
    ///
    /// # Errors
    /// Those of [`signature_form`].
    pub fn form(&self, named: Option<&PublicKey>) -> Result<SignatureForm, ClientError> {
        signature_form(&self.account, self.key.public(), named)
    }

    /// Signs a transaction's payload. Blocks for about 100 us.
    ///
    /// # Errors
    /// [`ClientError::Key`] when the library fails.
    pub fn sign(&self, payload: &[u8], form: SignatureForm) -> Result<ChainSignature, ClientError> {
        let failed = |error: x0_crypto::CryptoError| ClientError::Key { reason: error.to_string() };
        Ok(match form {
            SignatureForm::Inline => ChainSignature::Inline {
                public: Box::new(*self.key.public().as_bytes()),
                signature: self.key.sign_transaction(payload).map_err(failed)?.to_boxed(),
            },
            SignatureForm::Registered => ChainSignature::Registered {
                signature: self.key.sign_transaction_registered(payload).map_err(failed)?.to_boxed(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_what_the_chain_names() {
        let (own, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let signer = Signer::new(own.clone());
        assert_eq!(signer.form(None).unwrap(), SignatureForm::Inline);
        assert_eq!(signer.form(Some(own.public())).unwrap(), SignatureForm::Registered);
        assert!(matches!(signer.form(Some(other.public())), Err(ClientError::Key { .. })));
        let rotated = Signer::for_account(signer.account().clone(), other.clone());
        assert_eq!(rotated.form(Some(other.public())).unwrap(), SignatureForm::Registered);
        assert!(matches!(rotated.form(None), Err(ClientError::Key { .. })), "a stranger's key");
    }

    #[test]
    fn each_form_signs_under_its_own_domain() {
        let key = SigningKey::generate().unwrap();
        let signer = Signer::new(key.clone());
        let payload = b"payload";
        let ChainSignature::Inline { signature: inline, .. } = signer.sign(payload, SignatureForm::Inline).unwrap()
        else {
            unreachable!()
        };
        let ChainSignature::Registered { signature: registered } =
            signer.sign(payload, SignatureForm::Registered).unwrap()
        else {
            unreachable!()
        };
        let (inline, registered) = (x0_crypto::Signature::from(inline), x0_crypto::Signature::from(registered));
        key.public().verify_transaction(payload, &inline).unwrap();
        key.public().verify_transaction_registered(payload, &registered).unwrap();
        assert!(key.public().verify_transaction_registered(payload, &inline).is_err());
        assert!(key.public().verify_transaction(payload, &registered).is_err());
    }
}
