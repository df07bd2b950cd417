//! What the offline commands work on: the settings, the chain and the directory of one node.

use crate::{
    cli::RunArgs,
    config::{BasePath, Config},
    exit::{Exit, Failure},
};
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};
use x0_chain_spec::ChainSpec;
use x0_crypto::{PublicKey, keystore::KeystoreFile};
use x0_types::Hash;

/// One node as its files describe it.
pub struct Site {
    /// The settings.
    pub config: Config,
    /// The chain.
    pub spec: ChainSpec,
    /// The hash of the chain's first block.
    pub genesis: Hash,
    /// The data directory, which may not exist yet.
    pub base: PathBuf,
}

impl Site {
    /// Reads the settings and the chain.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn load(args: &RunArgs) -> Result<Self, Failure> {
        let config = Config::load(args)?;
        let spec = match &config.file.node.chain {
            Some(path) => ChainSpec::load(path)
                .map_err(|cause| Failure::configuration(format!("chain specification {}: {cause}", path.display())))?,
            None => ChainSpec::dev().map_err(Failure::configuration)?,
        };
        let genesis = spec.genesis_hash().map_err(Failure::configuration)?;
        let BasePath::Directory(base) = config.base_path.clone() else {
            return Err(Failure::usage("--tmp: a temporary node leaves nothing to work on"));
        };
        Ok(Self { config, spec, genesis, base })
    }

    /// The directory of the chain.
    pub fn chain_directory(&self) -> PathBuf {
        self.base.join("chain")
    }

    /// The directory of the sign guard's record.
    pub fn guard_directory(&self) -> PathBuf {
        guard_directory(&self.base)
    }

    /// The public half of the consensus key; its file needs no password for that.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn consensus_key(&self) -> Result<PublicKey, Failure> {
        if self.config.dev {
            let keys = crate::keys::NodeKeys::development()?;
            return keys.consensus.map(|key| key.public().clone()).ok_or_else(|| Failure::configuration("no key"));
        }
        let path = self.config.file.keys.consensus(&self.base);
        let named = |cause| Failure::configuration(format!("keystore {}: {cause}", path.display()));
        KeystoreFile::read(&path).map_err(named)?.public_key().map_err(named)
    }

    /// What ties the guard's record to key and chain.
    ///
    /// # Errors
    /// As [`Site::consensus_key`].
    pub fn guard_binding(&self) -> Result<[u8; 32], Failure> {
        Ok(x0_sign_guard::binding(&self.genesis.0, &self.consensus_key()?))
    }

    /// Whether a node runs on this directory.
    pub fn is_running(&self) -> bool {
        is_locked(&self.chain_directory())
    }

    /// Refuses to go on while a node runs on this directory.
    ///
    /// # Errors
    /// One line that names the directory.
    pub fn refuse_running(&self, why: &str) -> Result<(), Failure> {
        if self.is_running() {
            let reason = format!("a node runs on {}: stop it first ({why})", self.base.display());
            return Err(Failure::new(Exit::Configuration, reason));
        }
        Ok(())
    }
}

/// The directory of the sign guard's record in a data directory.
pub fn guard_directory(base: &Path) -> PathBuf {
    base.join("consensus/guard")
}

/// Whether a process holds the lock of a chain directory.
fn is_locked(chain: &Path) -> bool {
    let Ok(file) = File::open(chain.join("x0.lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_storage::{Database, OpenOptions};

    #[test]
    fn a_directory_in_use_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_locked(directory.path()));
        let database = Database::open(directory.path(), OpenOptions::default()).unwrap();
        assert!(is_locked(directory.path()));
        drop(database);
        assert!(!is_locked(directory.path()));
    }
}
