//! The consensus key as the engine gets it: behind the sign guard, here or in another process, or none.

use crate::{config::Config, exit::Failure, guard, keys::NodeKeys, site::guard_directory};
use std::{path::Path, sync::Arc};
use x0_crypto::{
    PublicKey, Signature, SigningKey,
    statement::{Place, Statement},
};
use x0_sign_guard::{ConsensusKey, GuardError, LocalKey, RemoteConfig, RemoteKey, SignStats};

/// The key of a node that follows: it is in no validator set, so that nobody asks it to sign.
pub struct Follower {
    public: PublicKey,
}

impl Follower {
    /// A fresh one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn key() -> Result<Arc<dyn ConsensusKey>, Failure> {
        let public = SigningKey::generate().map_err(Failure::configuration)?.public().clone();
        Ok(Arc::new(Self { public }))
    }

    fn refusal() -> GuardError {
        GuardError::Remote("this node follows the chain and has no consensus key".to_owned())
    }
}

impl ConsensusKey for Follower {
    fn public(&self) -> &PublicKey {
        &self.public
    }
    fn sign(&self, _: &Statement) -> Result<Signature, GuardError> {
        Err(Self::refusal())
    }
    fn sign_pair(&self, _: [&Statement; 2]) -> Result<[Signature; 2], GuardError> {
        Err(Self::refusal())
    }
    fn last(&self) -> Option<Place> {
        None
    }
    fn stats(&self) -> SignStats {
        SignStats::default()
    }
}

/// Opens the key. Blocks on the disk, or on the way to the remote signer.
///
/// # Errors
/// One line: the guard does not open, the signer does not answer or is another one.
pub fn open(
    config: &Config,
    base: &Path,
    genesis: [u8; 32],
    keys: &NodeKeys,
) -> Result<Option<Arc<dyn ConsensusKey>>, Failure> {
    if let Some(section) = &config.file.signer {
        let settings = RemoteConfig::new(
            section.address.clone(),
            public_key("signer.link_key", &section.link_key)?,
            public_key("signer.consensus_key", &section.consensus_key)?,
            genesis,
        );
        let key = RemoteKey::connect(settings, &keys.network).map_err(|cause| guard::failure(&cause))?;
        return Ok(Some(Arc::new(key)));
    }
    let Some(key) = keys.consensus.clone() else { return Ok(None) };
    let key = LocalKey::open(&guard_directory(base), key, genesis).map_err(|cause| guard::failure(&cause))?;
    Ok(Some(Arc::new(key)))
}

/// A public key from a file that `x0-node key inspect` printed.
///
/// # Errors
/// One line that names the setting and the file.
pub fn public_key(setting: &str, path: &Path) -> Result<PublicKey, Failure> {
    let named =
        |cause: &dyn core::fmt::Display| Failure::configuration(format!("{setting}: {}: {cause}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|cause| named(&cause))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|cause| named(&cause))?;
    let hex = value.get("public").and_then(serde_json::Value::as_str);
    let hex = hex
        .and_then(|text| text.strip_prefix("0x"))
        .ok_or_else(|| named(&"there is no field `public` with 0x and hex digits"))?;
    let bytes = hex::decode(hex).map_err(|cause| named(&cause))?;
    PublicKey::from_bytes(&bytes).map_err(|cause| named(&cause))
}
