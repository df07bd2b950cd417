//! The first block: from the genesis configuration to a state and a header.

use crate::{error::ExecutorError, guard::contain};
use codec::Encode;
use frame_support::traits::BuildGenesisConfig;
use sp_core::storage::StateVersion;
use sp_runtime::traits::{BlakeTwo256, Header as _};
use sp_state_machine::{Ext, OverlayedChanges, TrieBackend, TrieBackendBuilder};
use sp_trie::{LayoutV1, PrefixedMemoryDB, empty_trie_root};
use x0_runtime::{Header, RuntimeGenesisConfig};
use x0_storage::GenesisCommit;
use x0_types::Hash;

/// A genesis block with its state.
pub struct Genesis {
    /// Its header.
    pub header: Header,
    /// The header's hash: the name of the chain.
    pub hash: Hash,
    state: PrefixedMemoryDB<BlakeTwo256>,
    /// All entries of the state in the order of their keys.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Genesis {
    pub(crate) fn into_commit(self) -> GenesisCommit {
        GenesisCommit {
            hash: self.hash,
            state_root: self.header.state_root,
            header: self.header.encode(),
            state: self.state,
        }
    }
}

/// Builds the genesis block of a full genesis configuration.
///
/// # Errors
/// [`ExecutorError::Genesis`] when the configuration does not fit the runtime: an unknown or missing
/// field, or a value that a pallet refuses.
pub fn build(config: &serde_json::Value) -> Result<Genesis, ExecutorError> {
    crate::guard::install();
    let genesis_error = |reason: String| ExecutorError::Genesis { reason };
    let config: RuntimeGenesisConfig =
        serde_json::from_value(config.clone()).map_err(|error| genesis_error(error.to_string()))?;
    let empty = empty_trie_root::<LayoutV1<BlakeTwo256>>();
    let backend: TrieBackend<PrefixedMemoryDB<BlakeTwo256>, BlakeTwo256> =
        TrieBackendBuilder::new(PrefixedMemoryDB::default(), empty).build();
    let mut overlay = OverlayedChanges::<BlakeTwo256>::default();
    let mut externalities = Ext::new(&mut overlay, &backend, None);
    contain(|| sp_externalities::set_and_run_with_externalities(&mut externalities, || config.build()))
        .map_err(|panic| genesis_error(panic.0))?;
    let changes =
        overlay.drain_storage_changes(&backend, StateVersion::V1).map_err(|reason| ExecutorError::State { reason })?;
    let header = Header::new(0, empty, changes.transaction_storage_root, Hash::zero(), sp_runtime::Digest::default());
    let mut entries: Vec<_> =
        changes.main_storage_changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    entries.sort();
    Ok(Genesis { hash: header.hash(), header, state: changes.transaction, entries })
}
