//! The first block: from the genesis configuration to a state and a header.

use crate::{Header, RuntimeGenesisConfig};
use frame_support::traits::BuildGenesisConfig;
use sp_core::storage::StateVersion;
use sp_runtime::traits::{BlakeTwo256, Header as _};
use sp_state_machine::{Ext, OverlayedChanges, TrieBackend, TrieBackendBuilder};
use sp_trie::{LayoutV1, PrefixedMemoryDB, empty_trie_root};
use std::panic::{AssertUnwindSafe, catch_unwind};
use x0_types::Hash;

/// A genesis block with its state.
pub struct Genesis {
    /// Its header.
    pub header: Header,
    /// The header's hash: the name of the chain.
    pub hash: Hash,
    /// The trie nodes of the state.
    pub state: PrefixedMemoryDB<BlakeTwo256>,
    /// All entries of the state in the order of their keys.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A configuration that gives no first block.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// An unknown or missing field, or a value of a wrong type.
    #[error("genesis configuration: {0}")]
    Form(serde_json::Error),
    /// A pallet refuses its values.
    #[error("genesis configuration: {0}")]
    Refused(String),
    /// The state machine failed.
    #[error("genesis state: {0}")]
    State(String),
}

/// Builds the genesis block of a full genesis configuration.
///
/// # Errors
/// [`GenesisError`] when the configuration does not fit the runtime.
pub fn build(config: &serde_json::Value) -> Result<Genesis, GenesisError> {
    let config: RuntimeGenesisConfig = serde_json::from_value(config.clone()).map_err(GenesisError::Form)?;
    let empty = empty_trie_root::<LayoutV1<BlakeTwo256>>();
    let backend: TrieBackend<PrefixedMemoryDB<BlakeTwo256>, BlakeTwo256> =
        TrieBackendBuilder::new(PrefixedMemoryDB::default(), empty).build();
    let mut overlay = OverlayedChanges::<BlakeTwo256>::default();
    let mut externalities = Ext::new(&mut overlay, &backend, None);
    // Pallets can refuse their genesis values by a panic only. The overlay is dropped after one, so
    // nothing half done is seen.
    catch_unwind(AssertUnwindSafe(|| {
        sp_externalities::set_and_run_with_externalities(&mut externalities, || config.build());
    }))
    .map_err(|payload| GenesisError::Refused(panic_message(payload.as_ref())))?;
    let changes = overlay.drain_storage_changes(&backend, StateVersion::V1).map_err(GenesisError::State)?;
    let header = Header::new(0, empty, changes.transaction_storage_root, Hash::zero(), sp_runtime::Digest::default());
    let mut entries: Vec<_> =
        changes.main_storage_changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    entries.sort();
    Ok(Genesis { hash: header.hash(), header, state: changes.transaction, entries })
}

/// The message of a panic.
#[must_use]
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets;
    use serde_json::json;

    /// The same configuration gives the same block, and what a pallet refuses comes back as an error
    /// with the pallet's words.
    #[test]
    fn genesis_is_a_function_and_refusals_are_errors() {
        let config = |slot_ms| presets::complete([presets::time_patch(0, slot_ms)]).unwrap();
        assert_eq!(build(&config(1_000)).unwrap().hash, build(&config(1_000)).unwrap().hash);
        let refused = build(&config(0)).err().unwrap().to_string();
        assert!(refused.contains("slot_ms is zero"), "{refused}");
        let unknown = build(&json!({ "unknown": {} })).err().unwrap();
        assert!(matches!(unknown, GenesisError::Form(_)));
    }
}
