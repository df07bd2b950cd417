//! A chain of made-up blocks over a real state trie, with a model in memory beside it.

use bytes::Bytes;
use codec::Encode;
use sp_core::storage::StateVersion;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Backend, TrieBackendBuilder};
use sp_trie::{LayoutV1, PrefixedMemoryDB, TrieMut, trie_types::TrieDBMutBuilderV1};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use x0_storage::{BlockCommit, Database, FatalHandler, GenesisCommit, OpenOptions};
use x0_types::{AccountId, Hash};

/// Contents of the state.
pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;
/// Changes of one block.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Options under which every fatal failure fails the test with its text.
pub fn options(states_kept: u32) -> OpenOptions {
    OpenOptions {
        states_kept,
        block_cache_bytes: 1 << 20,
        // Small buffers, so that flushes and compactions happen within a test.
        write_buffers_bytes: 1 << 20,
        fatal: FatalHandler::new(|error| panic!("fatal: {error}")),
        ..OpenOptions::default()
    }
}

pub fn open(path: &Path, states_kept: u32) -> Database {
    Database::open(path, options(states_kept)).unwrap()
}

pub fn genesis() -> GenesisCommit {
    let header = b"genesis header".to_vec();
    GenesisCommit {
        hash: blake2_256(&header).into(),
        state_root: sp_trie::empty_trie_root::<LayoutV1<BlakeTwo256>>(),
        header,
        state: PrefixedMemoryDB::default(),
    }
}

/// A database with its genesis block.
pub fn create(path: &Path, states_kept: u32) -> Database {
    let db = open(path, states_kept);
    db.commit_genesis(genesis()).unwrap();
    db
}

pub fn apply(model: &mut Model, changes: &Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(model.insert(key.clone(), value.clone())),
            None => drop(model.remove(key)),
        }
    }
}

/// The block after the head that makes these changes, executed as the node does it.
pub fn next_block(db: &Database, changes: &Changes, body: Vec<Bytes>) -> BlockCommit {
    let head = db.head().unwrap();
    let backend = TrieBackendBuilder::<_, BlakeTwo256>::new(db.state(), head.state_root).build();
    let delta = changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
    let (state_root, state) = backend.storage_root(delta, StateVersion::V1);
    let number = head.number + 1;
    let header = (number, head.hash, state_root).encode();
    let hashes = body.iter().map(|bytes| Hash::from(blake2_256(bytes))).collect();
    BlockCommit {
        number,
        hash: blake2_256(&header).into(),
        parent_hash: head.hash,
        state_root,
        timestamp_ms: u64::from(number) * 150,
        encoded: Some(encode_block(&header, &body)),
        header,
        extrinsic_hashes: hashes,
        account_touches: (0..body.len() as u32).map(|index| (account(index), index)).collect(),
        body,
        state,
        certificate: Some(format!("certificate {number}").into_bytes()),
        validator_set: None,
    }
}

/// The encoding of a block, as consensus stores it.
pub fn encode_block(header: &[u8], body: &[Bytes]) -> Bytes {
    let mut encoded = header.to_vec();
    codec::Compact(body.len() as u32).encode_to(&mut encoded);
    body.iter().for_each(|bytes| encoded.extend_from_slice(bytes));
    encoded.into()
}

pub fn account(index: u32) -> AccountId {
    AccountId::new(blake2_256(&index.to_be_bytes()))
}

/// Reads the whole state under `root` out of the database.
pub fn read_state(db: &Database, root: Hash) -> Model {
    let backend = TrieBackendBuilder::<_, BlakeTwo256>::new(db.state(), root).build();
    backend.pairs(Default::default()).unwrap().map(|pair| pair.unwrap()).collect()
}

/// The trie of a model built from nothing: its root and the keys of all of its nodes. This is the
/// independent answer to what the database should hold.
pub fn trie_of(model: &Model) -> (Hash, BTreeSet<Vec<u8>>) {
    let mut nodes = PrefixedMemoryDB::<BlakeTwo256>::default();
    let mut root = Hash::default();
    {
        let mut trie = TrieDBMutBuilderV1::<BlakeTwo256>::new(&mut nodes, &mut root).build();
        for (key, value) in model {
            trie.insert(key, value).unwrap();
        }
    }
    (root, nodes.drain().into_iter().filter(|(_, (_, count))| *count > 0).map(|(key, _)| key).collect())
}

/// Key and value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// The entries of a column, read with RocksDB itself from a closed directory.
fn entries(path: &Path, column: &str) -> Vec<Entry> {
    let path = path.join("db");
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, &path).unwrap();
    let db = rocksdb::DB::open_cf_for_read_only(&options, &path, families, false).unwrap();
    let column = db.cf_handle(column).unwrap();
    db.iterator_cf(column, rocksdb::IteratorMode::Start).map(Result::unwrap).collect()
}

/// The keys of the state column.
pub fn stored_nodes(path: &Path) -> BTreeSet<Vec<u8>> {
    entries(path, "state").into_iter().map(|(key, _)| key.into_vec()).collect()
}

/// The size of all values of a column.
pub fn columns_bytes(path: &Path, column: &str) -> usize {
    entries(path, column).iter().map(|(_, value)| value.len()).sum()
}

pub fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    <BlakeTwo256 as sp_core::Hasher>::hash(bytes).0
}
