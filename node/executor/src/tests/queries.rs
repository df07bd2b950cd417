//! Reading: storage, keys, proofs, runtime functions, old blocks.

use super::support::*;
use crate::ExecutorError;
use codec::{Decode, Encode};
use frame_support::storage::storage_prefix;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::read_proof_check;
use sp_trie::StorageProof;
use x0_types::{Hash, Nonce};

/// Old states stay readable beside the head's.
#[test]
fn each_block_has_its_own_state() {
    let node = Node::new();
    let alice = signer("alice");
    let genesis = node.executor.head().hash;
    node.advance(&[node.sign(&alice, 0, remark(b"x"))]);
    let nonce = |at| node.executor.with_state(at, || x0_runtime::System::account_nonce(&alice.account)).unwrap();
    assert_eq!((nonce(genesis), nonce(node.executor.head().hash)), (0, 1));
    let error = node.executor.with_state(Hash::repeat_byte(9), || ()).unwrap_err();
    assert!(matches!(error, ExecutorError::UnknownBlock(_)));
}

/// What a closure writes is gone afterwards.
#[test]
fn queries_do_not_write() {
    let node = Node::new();
    node.read(|| frame_support::storage::unhashed::put(b"key", &1u8));
    assert_eq!(node.executor.storage(node.executor.head().hash, b"key").unwrap(), None);
    let before = node.executor.head();
    assert_eq!(node.executor.head(), before);
}

/// Pages put together are all keys under a prefix, in order, each once.
#[test]
fn pages_of_keys_add_up() {
    let node = Node::new();
    let head = node.executor.head().hash;
    let prefix = storage_prefix(b"System", b"Account");
    let all = node.executor.keys_paged(head, &prefix, 1_000, None).unwrap();
    assert!(all.len() >= 6 && all.is_sorted());
    let mut paged: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = node.executor.keys_paged(head, &prefix, 4, paged.last().map(Vec::as_slice)).unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let value = node.executor.storage(head, &all[0]).unwrap().unwrap();
    assert_eq!(node.executor.storage_size(head, &all[0]).unwrap(), Some(value.len()));
    let hash = Hash::from(sp_io::hashing::blake2_256(&value));
    assert_eq!(node.executor.storage_hash(head, &all[0]).unwrap(), Some(hash));
}

/// A light client checks a value, and the absence of one, against the state root of a header.
#[test]
fn proofs_verify_against_the_header() {
    let node = Node::new();
    node.advance(&[]);
    let head = node.executor.head();
    let present = storage_prefix(b"System", b"Number").to_vec();
    let absent = b"nothing here".to_vec();
    let nodes = node.executor.read_proof(head.hash, &[present.clone(), absent.clone()]).unwrap();
    let header = node.executor.header(head.hash).unwrap();
    let checked = read_proof_check::<BlakeTwo256, _>(
        header.state_root,
        StorageProof::new(nodes.clone()),
        [present.clone(), absent.clone()],
    )
    .unwrap();
    assert_eq!(checked[&present], Some(1u32.encode()));
    assert_eq!(checked[&absent], None);
    let other_root = Hash::repeat_byte(1);
    assert!(read_proof_check::<BlakeTwo256, _>(other_root, StorageProof::new(nodes), [present]).is_err());
}

/// The listed functions answer, and only they.
#[test]
fn runtime_functions_are_a_closed_list() {
    let node = Node::new();
    let head = node.executor.head().hash;
    let call = |name: &str, data: &[u8]| node.executor.runtime_call(head, name, data);
    let nonce = call("AccountNonceApi_account_nonce", &signer("alice").account.encode()).unwrap();
    assert_eq!(Nonce::decode(&mut &nonce[..]).unwrap(), 0);
    assert_eq!(call("Core_version", &[]).unwrap(), x0_runtime::VERSION.encode());
    let formats = Vec::<u32>::decode(&mut &call("Metadata_metadata_versions", &[]).unwrap()[..]).unwrap();
    assert!(formats.contains(&14) && formats.contains(&16), "{formats:?}");
    for format in formats {
        let first = call("Metadata_metadata_at_version", &format.encode()).unwrap();
        let metadata = Option::<sp_core::OpaqueMetadata>::decode(&mut &first[..]).unwrap().unwrap();
        assert!(metadata.len() > 10_000);
        assert_eq!(call("Metadata_metadata_at_version", &format.encode()).unwrap(), first, "from the cache");
    }
    let none = call("Metadata_metadata_at_version", &99u32.encode()).unwrap();
    assert!(Option::<sp_core::OpaqueMetadata>::decode(&mut &none[..]).unwrap().is_none());
    assert!(call("Metadata_metadata", &[]).unwrap().len() > 10_000);

    for name in ["Core_execute_block", "Core_initialize_block", "GenesisBuilder_build_state", "", "Core_version\0"] {
        assert!(matches!(call(name, &[]), Err(ExecutorError::UnknownFunction { .. })), "{name}");
    }
    assert!(matches!(call("Core_version", &[1]), Err(ExecutorError::Parameters { .. })), "bytes are left over");
    let long = vec![0; x0_limits::EXTRINSIC_BYTES_MAX * 2];
    assert!(matches!(call("TransactionPaymentApi_query_info", &long), Err(ExecutorError::Parameters { .. })));
}
