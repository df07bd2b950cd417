//! Proofs of possession as files: from the machine that holds a key to the one that registers it.

use codec::Encode;
use serde::{Deserialize, Serialize};
use x0_crypto::{PublicKey, SigningKey};
use x0_rpc_types::HexBytes;
use x0_types::{AccountId, Hash, KeyProof, KeyRole, MlDsa65Signature, Moment, key::PossessionStatement};

use crate::ClientError;

/// The format that this code writes and reads.
pub const PROOF_KIND: &str = "x0-key-proof/v1";

/// A statement that a key is held, with the signature that shows it (architecture D13).
///
/// It is public: it holds no secret, and it is worthless on another chain, for another role, subject
/// or controller, and after its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyProofFile {
    /// [`PROOF_KIND`]; `x0-node key proof-of-possession` leaves it out.
    #[serde(default = "proof_kind")]
    pub kind: String,
    /// The chain, if the file says so. The signature covers it in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis_hash: Option<Hash>,
    /// The role that the key takes.
    pub role: KeyRole,
    /// The identity that the key belongs to.
    pub subject: AccountId,
    /// The account that registers the key.
    pub controller: AccountId,
    /// End of the proof's life, milliseconds since the Unix epoch.
    pub expires_at_ms: Moment,
    /// The key.
    pub public: HexBytes,
    /// Its signature.
    pub signature: HexBytes,
    /// Where the agent listens; for the role agent only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

fn proof_kind() -> String {
    PROOF_KIND.to_owned()
}

impl KeyProofFile {
    /// Signs the statement. Blocks for about 100 us.
    ///
    /// # Errors
    /// [`ClientError::Key`] when the library fails.
    pub fn create(
        key: &SigningKey,
        genesis_hash: Hash,
        role: KeyRole,
        subject: &AccountId,
        controller: &AccountId,
        expires_at_ms: Moment,
    ) -> Result<Self, ClientError> {
        let statement =
            PossessionStatement { role, subject: subject.clone(), controller: controller.clone(), expires_at_ms };
        let signature = key
            .sign_possession(&genesis_hash.0, &statement.encode())
            .map_err(|error| ClientError::Key { reason: error.to_string() })?;
        Ok(Self {
            kind: PROOF_KIND.to_owned(),
            genesis_hash: Some(genesis_hash),
            role,
            subject: subject.clone(),
            controller: controller.clone(),
            expires_at_ms,
            public: HexBytes(key.public().as_bytes().to_vec()),
            signature: HexBytes(signature.as_bytes().to_vec()),
            endpoint: None,
        })
    }

    /// Checks everything that the chain will check and that can be checked here, and gives the parts
    /// of the call.
    ///
    /// # Errors
    /// [`ClientError::Decode`] naming the part that is wrong, [`ClientError::OtherChain`].
    pub fn check(&self, genesis_hash: Hash, now_ms: Moment) -> Result<(PublicKey, KeyProof), ClientError> {
        let wrong = |reason: String| ClientError::Decode { what: "the proof of possession".into(), reason };
        if self.kind != PROOF_KIND {
            return Err(wrong(format!("its kind is `{}`, expected `{PROOF_KIND}`", self.kind)));
        }
        if let Some(found) = self.genesis_hash.filter(|found| *found != genesis_hash) {
            return Err(ClientError::OtherChain {
                expected: crate::text::hex_text(genesis_hash),
                found: crate::text::hex_text(found),
            });
        }
        if self.expires_at_ms <= now_ms {
            return Err(wrong("it has expired: make a new one on the machine that holds the key".into()));
        }
        let key = PublicKey::from_bytes(&self.public.0).map_err(|error| wrong(error.to_string()))?;
        let signature =
            x0_crypto::Signature::from_bytes(&self.signature.0).map_err(|error| wrong(error.to_string()))?;
        let statement = PossessionStatement {
            role: self.role,
            subject: self.subject.clone(),
            controller: self.controller.clone(),
            expires_at_ms: self.expires_at_ms,
        };
        key.verify_possession(&genesis_hash.0, &statement.encode(), &signature)
            .map_err(|_| wrong("its signature does not fit its fields and this chain".into()))?;
        Ok((key, KeyProof { expires_at_ms: self.expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account_of;

    #[test]
    fn a_proof_travels_as_json_and_every_changed_field_breaks_it() {
        let key = SigningKey::generate().unwrap();
        let (genesis, controller) = (Hash::repeat_byte(1), AccountId::new([2; 32]));
        let proof =
            KeyProofFile::create(&key, genesis, KeyRole::Agent, &account_of(key.public()), &controller, 1_000).unwrap();
        let json = serde_json::to_string(&proof).unwrap();
        let proof: KeyProofFile = serde_json::from_str(&json).unwrap();
        let (public, on_chain) = proof.check(genesis, 999).unwrap();
        assert_eq!((&public, on_chain.expires_at_ms), (key.public(), 1_000));

        assert!(matches!(proof.check(Hash::repeat_byte(9), 0), Err(ClientError::OtherChain { .. })));
        assert!(proof.check(genesis, 1_000).unwrap_err().to_string().contains("expired"));
        let changes: [fn(&mut KeyProofFile); 5] = [
            |proof| proof.role = KeyRole::Reporter,
            |proof| proof.subject = AccountId::new([3; 32]),
            |proof| proof.controller = AccountId::new([3; 32]),
            |proof| proof.expires_at_ms += 1,
            |proof| proof.public.0[0] ^= 1,
        ];
        for change in changes {
            let mut changed = proof.clone();
            change(&mut changed);
            assert!(changed.check(genesis, 0).is_err(), "{changed:?}");
        }
    }
}
