//! Storage proofs against a verified state root.

use crate::ProofError;
use alloc::{format, vec::Vec};
use codec::{Decode, DecodeAll};
use sp_core::{Blake2Hasher, H256};
use sp_crypto_hashing::{blake2_128, twox_64, twox_128};
use sp_trie::{LayoutV1, StorageProof, read_trie_value};
use x0_limits::{LIGHT_PROOF_BYTES_MAX, LIGHT_PROOF_NODES_MAX};

/// An account as the chain's state holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The next transaction's nonce.
    pub nonce: u32,
    /// Free balance, in the token's smallest unit.
    pub free: u128,
    /// Held balance.
    pub reserved: u128,
    /// Part of the free balance that cannot be spent.
    pub frozen: u128,
}

/// Reads values out of a storage proof: `None` for a key that is proven to be absent.
///
/// `proof` is the list of trie nodes that `state_getReadProof` gives, `state_root` the one of a
/// verified header.
///
/// # Errors
/// [`ProofError::TooLarge`], [`ProofError::Incomplete`].
pub fn verify_proof(
    state_root: &[u8; 32],
    keys: &[&[u8]],
    proof: &[Vec<u8>],
) -> Result<Vec<Option<Vec<u8>>>, ProofError> {
    let bytes = proof.iter().fold(0usize, |sum, node| sum.saturating_add(node.len()));
    if proof.len() > LIGHT_PROOF_NODES_MAX || bytes > LIGHT_PROOF_BYTES_MAX {
        return Err(ProofError::TooLarge { nodes: proof.len(), bytes });
    }
    // Nodes are found by their hash, so that only genuine ones are ever looked at.
    let nodes = StorageProof::new(proof.iter().cloned()).into_memory_db::<Blake2Hasher>();
    let root = H256::from(*state_root);
    keys.iter()
        .map(|key| {
            read_trie_value::<LayoutV1<Blake2Hasher>, _>(&nodes, &root, key, None, None)
                .map_err(|error| ProofError::Incomplete { key: hex::encode(key), reason: format!("{error:?}") })
        })
        .collect()
}

fn value_key(pallet: &[u8], item: &[u8]) -> Vec<u8> {
    [twox_128(pallet), twox_128(item)].concat()
}

/// Storage key of an account's nonce and balances.
#[must_use]
pub fn account_key(account: &[u8; 32]) -> Vec<u8> {
    [value_key(b"System", b"Account").as_slice(), &blake2_128(account), account].concat()
}

/// Storage key of the block's timestamp.
#[must_use]
pub fn timestamp_key() -> Vec<u8> {
    value_key(b"Timestamp", b"Now")
}

/// Storage key of a deal.
#[must_use]
pub fn deal_key(deal: u64) -> Vec<u8> {
    let number = deal.to_le_bytes();
    [value_key(b"Marketplace", b"Deals").as_slice(), &twox_64(&number), &number].concat()
}

/// Storage keys of the validator set in force and of the decided ones.
#[must_use]
pub fn validator_set_keys() -> [Vec<u8>; 2] {
    [value_key(b"Validators", b"Current"), value_key(b"Validators", b"Upcoming")]
}

/// Reads an account out of a storage proof. An account that does not exist has nothing.
///
/// # Errors
/// As [`verify_proof`], and [`ProofError::Value`].
pub fn account(state_root: &[u8; 32], account: &[u8; 32], proof: &[Vec<u8>]) -> Result<Account, ProofError> {
    let key = account_key(account);
    let Some(Some(value)) = verify_proof(state_root, &[&key], proof)?.pop() else {
        return Ok(Account::default());
    };
    // Nonce, three reference counts, free, reserved, frozen, flags: FRAME's `AccountInfo`.
    type Info = (u32, u32, u32, u32, u128, u128, u128, u128);
    let (nonce, _, _, _, free, reserved, frozen, _) =
        Info::decode_all(&mut &value[..]).map_err(|_| ProofError::Value("System.Account"))?;
    Ok(Account { nonce, free, reserved, frozen })
}

/// Reads the block's timestamp out of a storage proof, milliseconds since the Unix epoch.
///
/// # Errors
/// As [`verify_proof`], [`ProofError::Value`], [`ProofError::Missing`].
pub fn timestamp(state_root: &[u8; 32], proof: &[Vec<u8>]) -> Result<u64, ProofError> {
    let key = timestamp_key();
    match verify_proof(state_root, &[&key], proof)?.pop() {
        Some(Some(value)) => u64::decode(&mut &value[..]).map_err(|_| ProofError::Value("Timestamp.Now")),
        _ => Err(ProofError::Missing("Timestamp.Now")),
    }
}
