//! States of the chain as externalities.

use crate::{
    error::ExecutorError,
    guard::{Contained, contain},
};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Ext, OverlayedChanges, TrieBackend, TrieBackendBuilder};
use sp_trie::cache::{LocalTrieCache, SharedTrieCache};
use x0_storage::{Database, StatePin, StateStore};
use x0_types::{BlockNumber, Hash};

/// A state that the runtime reads.
pub(crate) type Backend = TrieBackend<StateStore, BlakeTwo256, LocalTrieCache<BlakeTwo256>>;
/// A state read past the cache, for proofs.
pub(crate) type PlainBackend = TrieBackend<StateStore, BlakeTwo256>;
/// Changes on top of a state.
pub(crate) type Overlay = OverlayedChanges<BlakeTwo256>;

/// How much of the shared cache a reader may displace.
#[derive(Clone, Copy)]
pub(crate) enum Reader {
    /// Blocks: bounded by themselves.
    Block,
    /// Questions from outside.
    Query,
}

/// A state that stays readable while this lives.
pub(crate) struct State {
    pub(crate) backend: Backend,
    _pin: StatePin,
}

impl State {
    pub(crate) fn open(
        database: &Database,
        cache: &SharedTrieCache<BlakeTwo256>,
        number: BlockNumber,
        root: Hash,
        reader: Reader,
    ) -> Result<Self, ExecutorError> {
        let pin = database.pin_state(number)?;
        let local = match reader {
            Reader::Block => cache.local_cache_trusted(),
            Reader::Query => cache.local_cache_untrusted(),
        };
        let backend = TrieBackendBuilder::new_with_cache(database.state(), root, local).build();
        Ok(Self { backend, _pin: pin })
    }
}

/// Runs runtime code over a state. After [`Contained`] the overlay may hold open storage
/// transactions: see [`roll_back`].
pub(crate) fn run<R>(backend: &Backend, overlay: &mut Overlay, f: impl FnOnce() -> R) -> Result<R, Contained> {
    let mut externalities = Ext::new(overlay, backend, None);
    contain(|| sp_externalities::set_and_run_with_externalities(&mut externalities, f))
}

/// Closes all open storage transactions without keeping anything of them.
pub(crate) fn roll_back(overlay: &mut Overlay) {
    while overlay.transaction_depth() > 0 {
        if overlay.rollback_transaction().is_err() {
            // Only "no transaction is open" can fail here, and that is the goal.
            break;
        }
    }
}
