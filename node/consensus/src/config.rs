//! Settings of the engine, and the key that it is started with.

use crate::pacing::Pacing;
use malachite_core_types::LinearTimeouts;
use std::{path::PathBuf, sync::Arc, time::Duration};
use x0_crypto::SigningKey;
use x0_sign_guard::{ConsensusKey, LocalKey, RemoteKey};

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Directory of the guard and the write-ahead log.
    pub data_dir: PathBuf,
    /// Name of this node in metrics.
    pub moniker: String,
    /// How fast blocks follow one another.
    pub pacing: Pacing,
    /// Longest time that a proposer executes transactions for one block, milliseconds.
    pub build_ms: u64,
    /// Timeouts of rounds.
    pub timeouts: LinearTimeouts,
    /// How often peers are told of this node's height, milliseconds.
    pub status_ms: u64,
    /// How long a request for decided blocks waits for its answer, milliseconds.
    pub sync_request_ms: u64,
}

impl EngineConfig {
    /// The settings of a production node whose files are in this directory.
    ///
    /// A proposer executes for a third of the propose timeout at most, so that the others can receive and execute the
    /// block in time. An absent proposer costs its timeout once and is skipped afterwards (see [`crate::turns`]); a slow one
    /// has more time in each later round. A round's timeouts end at ten seconds, so that a network that was cut for
    /// long comes together soon.
    #[must_use]
    pub fn new(data_dir: PathBuf, moniker: String) -> Self {
        Self {
            data_dir,
            moniker,
            pacing: Pacing::default(),
            build_ms: 330,
            timeouts: LinearTimeouts {
                propose: Duration::from_millis(1_000),
                propose_delta: Duration::from_millis(500),
                prevote: Duration::from_millis(400),
                prevote_delta: Duration::from_millis(200),
                precommit: Duration::from_millis(400),
                precommit_delta: Duration::from_millis(200),
                rebroadcast: Duration::from_millis(2_000),
                max_timeout: Duration::from_secs(10),
            },
            status_ms: 500,
            sync_request_ms: 2_500,
        }
    }
}

/// The key with which a validator speaks.
pub enum ValidatorKey {
    /// A bare key: its guard lies in the directory `guard` below [`EngineConfig::data_dir`].
    Own(SigningKey),
    /// A key that is guarded already, here or in another process.
    Guarded(Arc<dyn ConsensusKey>),
}

impl From<SigningKey> for ValidatorKey {
    fn from(key: SigningKey) -> Self {
        Self::Own(key)
    }
}

impl From<LocalKey> for ValidatorKey {
    fn from(key: LocalKey) -> Self {
        Self::Guarded(Arc::new(key))
    }
}

impl From<RemoteKey> for ValidatorKey {
    fn from(key: RemoteKey) -> Self {
        Self::Guarded(Arc::new(key))
    }
}

impl From<Arc<dyn ConsensusKey>> for ValidatorKey {
    fn from(key: Arc<dyn ConsensusKey>) -> Self {
        Self::Guarded(key)
    }
}
