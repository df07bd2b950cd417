//! State proofs made by the node's own trie code, read by this crate.

use super::chain::{Chain, DAY_MS, NOW, certificate, header, set};
use crate::{
    Account, LightError, ProofError, TrustedState, account, account_key, refresh, timestamp_key, validator_set_keys,
    verify_header, verify_proof,
};
use codec::Encode;
use proptest::prelude::*;
use sp_core::storage::StateVersion;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Backend, InMemoryBackend, prove_read};
use std::collections::BTreeMap;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

fn backend(state: &State) -> (InMemoryBackend<BlakeTwo256>, [u8; 32]) {
    let changes = state.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let backend = InMemoryBackend::<BlakeTwo256>::default().update(vec![(None, changes)], StateVersion::V1);
    let root = *backend.root();
    (backend, root.0)
}

fn prove(state: &State, keys: &[Vec<u8>]) -> (Vec<Vec<u8>>, [u8; 32]) {
    let (backend, root) = backend(state);
    let proof = prove_read(backend, keys).unwrap();
    (proof.into_iter_nodes().collect(), root)
}

/// FRAME's `AccountInfo`.
fn info(nonce: u32, free: u128) -> Vec<u8> {
    (nonce, 0u32, 1u32, 0u32, free, 5u128, 7u128, 1u128 << 127).encode()
}

#[test]
fn balances_and_absent_accounts_are_proven_against_a_verified_header() {
    let mut state: State = (0..200u8).map(|tag| (account_key(&[tag; 32]), info(u32::from(tag), 1_000))).collect();
    state.insert(timestamp_key(), (NOW + DAY_MS).encode());
    let (proof, root) = prove(&state, &[account_key(&[42; 32]), account_key(&[250; 32])]);
    let known = Account { nonce: 42, free: 1_000, reserved: 5, frozen: 7 };
    assert_eq!(account(&root, &[42; 32], &proof), Ok(known));
    assert_eq!(account(&root, &[250; 32], &proof), Ok(Account::default()));
    // A node left out, another root, a key that the proof does not cover: nothing is concluded.
    for missing in 0..proof.len() {
        let mut less = proof.clone();
        less.remove(missing);
        let both = [account(&root, &[42; 32], &less), account(&root, &[250; 32], &less)];
        assert!(both.iter().any(Result::is_err), "node {missing} is needed");
    }
    assert!(matches!(account(&[1; 32], &[42; 32], &proof), Err(ProofError::Incomplete { .. })));
    assert!(matches!(account(&root, &[43; 32], &proof), Err(ProofError::Incomplete { .. })));
    let huge = vec![vec![0; 1 << 20]; 5];
    assert!(matches!(verify_proof(&root, &[b"k"], &huge), Err(ProofError::TooLarge { nodes: 5, .. })));
}

#[test]
fn a_checkpoint_needs_its_hash_only_and_a_proven_time_renews_trust() {
    let mut chain = Chain::new(vec![(0, 1), (1, 1), (2, 1), (3, 1)]);
    let [current, upcoming] = validator_set_keys();
    let (now_in_force, decided) = (set(&vec![(0, 1), (1, 1), (2, 1)]), set(&vec![(4, 9)]));
    let mut state = State::new();
    state.insert(current.clone(), now_in_force.encode());
    state.insert(upcoming.clone(), [&[4][..], &12u32.to_le_bytes(), &decided.encode()].concat());
    state.insert(timestamp_key(), (NOW + DAY_MS).encode());
    let (proof, root) = prove(&state, &[current.clone(), upcoming, timestamp_key()]);
    let at = header(10, [8; 32], root, vec![]);
    let hash = x0_crypto::blake2b_256(&at);
    let mut trust = TrustedState::checkpoint(chain.genesis, hash, &at, &proof, NOW).unwrap();
    assert_eq!(trust.set_at(11).unwrap(), &now_in_force);
    assert_eq!(trust.set_at(12).unwrap(), &decided);
    assert!(matches!(trust.set_at(10), Err(LightError::SetUnknown { number: 10, first: 11 })));
    let (less, _) = prove(&state, &[current]);
    assert!(matches!(
        TrustedState::checkpoint(chain.genesis, hash, &at, &less, NOW),
        Err(LightError::Proof(ProofError::Incomplete { .. }))
    ));

    // The time of the newest accepted block is proven, and may not come from the future.
    assert!(matches!(refresh(&mut trust, &proof, NOW), Err(LightError::ClockBehind { .. })));
    assert_eq!(refresh(&mut trust, &proof, NOW + 2 * DAY_MS).unwrap(), NOW + DAY_MS);
    let late = NOW + 15 * DAY_MS;
    let next = header(11, hash, [1; 32], vec![]);
    chain.genesis = *trust.genesis_hash();
    let by = certificate(&chain.genesis, 11, x0_crypto::blake2b_256(&next), &[0, 1, 2]).encode();
    verify_header(&mut trust, &next, &by, late).unwrap();
    // The proof was for block 10; it says nothing about block 11.
    assert!(matches!(refresh(&mut trust, &proof, late), Err(LightError::Proof(ProofError::Incomplete { .. }))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the state, a whole proof gives exactly the state's values, and a changed proof never
    /// gives another value.
    #[test]
    fn proofs_give_the_states_values_or_an_error(
        state in proptest::collection::btree_map(
            proptest::collection::vec(0u8..4, 0..6),
            proptest::collection::vec(any::<u8>(), 0..80),
            1..40,
        ),
        asked in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..6), 1..6),
        node in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let (proof, root) = prove(&state, &asked);
        let keys: Vec<_> = asked.iter().map(Vec::as_slice).collect();
        let expected: Vec<_> = asked.iter().map(|key| state.get(key).cloned()).collect();
        prop_assert_eq!(verify_proof(&root, &keys, &proof).unwrap(), expected.clone());
        let mut changed = proof;
        let at = node.index(changed.len());
        if !changed[at].is_empty() {
            let byte = byte.index(changed[at].len());
            changed[at][byte] ^= flip;
            if let Ok(found) = verify_proof(&root, &keys, &changed) {
                prop_assert_eq!(found, expected);
            }
        }
        // The trie behind the proof is the one that the node's state machine reads.
        let (backend, _) = backend(&state);
        for key in &asked {
            prop_assert_eq!(backend.storage(key).unwrap(), state.get(key).cloned());
        }
    }
}
