//! What a proposed call would do to the state at hand, without doing it.
//!
//! ```text
//!   simulate(track, call) --> Recorder over the state: dispatch by the track's origin, note keys --> roll back
//!                             changes = keys whose value differs, in order
//!                             hash    = BLAKE2b-256(SCALE(changes))
//! ```
//!
//! A proposer attaches the hash to the proposal; every client computes it again from the state that it knows and
//! sees whether the call still does what it was said to do. The bookkeeping of blocks and events (all of the
//! system pallet but accounts) is left out, because it differs from block to block.
//!
//! # Correctness
//! The state is as before afterwards, also when the call fails. A call that the track may not carry out is not
//! tried.

use crate::{RuntimeCall, configs::governance::track_origin, filter::TrackCalls};
use codec::Encode;
use frame_support::{
    dispatch::{GetDispatchInfo, extract_actual_weight},
    storage::with_storage_layer,
};
use sp_core::Bytes;
use sp_externalities::{
    Error, Extension, ExtensionStore, Externalities, MultiRemovalResults, set_and_run_with_externalities,
    with_externalities,
};
use sp_runtime::traits::Dispatchable;
use sp_storage::{ChildInfo, StateVersion, TrackedStorageKey};
use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
};
use x0_types::{
    Hash,
    governance::{TrackFilter, TrackId},
};

/// One changed entry of the state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// The storage key.
    pub key: Bytes,
    /// The value before; `None` for an entry that comes to be.
    pub before: Option<Bytes>,
    /// The value afterwards; `None` for an entry that goes.
    pub after: Option<Bytes>,
}

/// What a call would do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// Why the call would fail; `None` when it would not.
    pub error: Option<String>,
    /// What it would weigh, picoseconds.
    pub ref_time: u64,
    /// The changes, in the order of keys.
    pub changes: Vec<Change>,
    /// BLAKE2b-256 of the SCALE encoding of the changes: what proposals carry as their dry run.
    pub hash: Hash,
}

/// Carries a call out by a track's origin, notes what changes, and takes it back. `None` where there is no state.
#[must_use]
pub fn simulate(track: TrackId, call: &RuntimeCall) -> Option<Simulation> {
    if !TrackCalls::allows(track, call) {
        return with_externalities(|_| failed("the track may not carry out this call".to_owned()));
    }
    with_externalities(|outer| {
        outer.storage_start_transaction();
        let mut recorder = Recorder { inner: outer, before: BTreeMap::new() };
        let (error, ref_time) = set_and_run_with_externalities(&mut recorder, || run(track, call));
        let touched = std::mem::take(&mut recorder.before);
        let changes: Vec<Change> = touched
            .into_iter()
            .filter(|(key, _)| is_content(key))
            .filter_map(|(key, before)| {
                let after = outer.storage(&key);
                (before != after).then(|| Change {
                    key: Bytes(key),
                    before: before.map(Bytes),
                    after: after.map(Bytes),
                })
            })
            .collect();
        // A transaction that was opened above can be rolled back: nested ones are closed by those who open them.
        if outer.storage_rollback_transaction().is_err() {
            return failed("the call left a storage transaction open".to_owned());
        }
        let hash = Hash::from(sp_io::hashing::blake2_256(&changes.encode()));
        Simulation { error, ref_time, changes, hash }
    })
}

fn failed(error: String) -> Simulation {
    let changes: Vec<Change> = Vec::new();
    Simulation {
        error: Some(error),
        ref_time: 0,
        hash: Hash::from(sp_io::hashing::blake2_256(&changes.encode())),
        changes,
    }
}

fn run(track: TrackId, call: &RuntimeCall) -> (Option<String>, u64) {
    let info = call.get_dispatch_info();
    let mut spent = info.call_weight;
    let result = with_storage_layer(|| {
        let result = call.clone().dispatch(track_origin(track));
        spent = extract_actual_weight(&result, &info);
        result.map(|_| ()).map_err(|error| error.error)
    });
    (result.err().map(|error| format!("{error:?}")), spent.ref_time())
}

/// Whether an entry is more than bookkeeping of the block.
fn is_content(key: &[u8]) -> bool {
    let accounts = [sp_io::hashing::twox_128(b"System"), sp_io::hashing::twox_128(b"Account")].concat();
    !key.starts_with(b":") && (!key.starts_with(&sp_io::hashing::twox_128(b"System")) || key.starts_with(&accounts))
}

/// Passes everything on and remembers what each written entry held before.
struct Recorder<'a> {
    inner: &'a mut dyn Externalities,
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Recorder<'_> {
    fn note(&mut self, key: &[u8]) {
        if !self.before.contains_key(key) {
            let value = self.inner.storage(key);
            self.before.insert(key.to_vec(), value);
        }
    }

    fn note_prefix(&mut self, prefix: &[u8]) {
        let mut next = Some(prefix.to_vec());
        while let Some(key) = next.filter(|key| key.starts_with(prefix)) {
            self.note(&key);
            next = self.inner.next_storage_key(&key);
        }
    }
}

impl ExtensionStore for Recorder<'_> {
    fn extension_by_type_id(&mut self, type_id: TypeId) -> Option<&mut dyn Any> {
        self.inner.extension_by_type_id(type_id)
    }
    fn register_extension_with_type_id(&mut self, type_id: TypeId, extension: Box<dyn Extension>) -> Result<(), Error> {
        self.inner.register_extension_with_type_id(type_id, extension)
    }
    fn deregister_extension_by_type_id(&mut self, type_id: TypeId) -> Result<(), Error> {
        self.inner.deregister_extension_by_type_id(type_id)
    }
}

// This chain has no child tries, so what happens in them is passed on and not noted.
impl Externalities for Recorder<'_> {
    fn set_offchain_storage(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.inner.set_offchain_storage(key, value);
    }
    fn storage(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.storage(key)
    }
    fn storage_hash(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.storage_hash(key)
    }
    fn child_storage_hash(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.child_storage_hash(child, key)
    }
    fn child_storage(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.child_storage(child, key)
    }
    fn next_storage_key(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.next_storage_key(key)
    }
    fn next_child_storage_key(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.next_child_storage_key(child, key)
    }
    fn kill_child_storage(
        &mut self,
        child: &ChildInfo,
        limit: Option<u32>,
        cursor: Option<&[u8]>,
    ) -> MultiRemovalResults {
        self.inner.kill_child_storage(child, limit, cursor)
    }
    fn clear_prefix(&mut self, prefix: &[u8], limit: Option<u32>, cursor: Option<&[u8]>) -> MultiRemovalResults {
        self.note_prefix(prefix);
        self.inner.clear_prefix(prefix, limit, cursor)
    }
    fn clear_child_prefix(
        &mut self,
        child: &ChildInfo,
        prefix: &[u8],
        limit: Option<u32>,
        cursor: Option<&[u8]>,
    ) -> MultiRemovalResults {
        self.inner.clear_child_prefix(child, prefix, limit, cursor)
    }
    fn place_storage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.note(&key);
        self.inner.place_storage(key, value);
    }
    fn place_child_storage(&mut self, child: &ChildInfo, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.inner.place_child_storage(child, key, value);
    }
    fn storage_root(&mut self, version: StateVersion) -> Vec<u8> {
        self.inner.storage_root(version)
    }
    fn child_storage_root(&mut self, child: &ChildInfo, version: StateVersion) -> Vec<u8> {
        self.inner.child_storage_root(child, version)
    }
    fn storage_append(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.note(&key);
        self.inner.storage_append(key, value);
    }
    fn storage_start_transaction(&mut self) {
        self.inner.storage_start_transaction();
    }
    fn storage_rollback_transaction(&mut self) -> Result<(), ()> {
        self.inner.storage_rollback_transaction()
    }
    fn storage_commit_transaction(&mut self) -> Result<(), ()> {
        self.inner.storage_commit_transaction()
    }
    fn wipe(&mut self) {
        self.inner.wipe();
    }
    fn commit(&mut self) {
        self.inner.commit();
    }
    fn read_write_count(&self) -> (u32, u32, u32, u32) {
        self.inner.read_write_count()
    }
    fn reset_read_write_count(&mut self) {
        self.inner.reset_read_write_count();
    }
    fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
        self.inner.get_whitelist()
    }
    fn set_whitelist(&mut self, new: Vec<TrackedStorageKey>) {
        self.inner.set_whitelist(new);
    }
    fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
        self.inner.get_read_and_written_keys()
    }
}
