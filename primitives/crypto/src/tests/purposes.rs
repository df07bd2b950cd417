//! A signature counts for its own purpose, chain and body only.

use crate::{CryptoError, PublicKey, Signature, SigningKey, dev, portable, verify_possession, verify_transaction};

type Verify = Box<dyn Fn(&PublicKey, &[u8; 32], &[u8], &Signature) -> Result<(), CryptoError>>;

const GENESIS: [u8; 32] = [1; 32];
const BODY: &[u8] = b"body";

/// Each purpose by name, its check, and whether it is bound to a genesis hash by itself.
fn verifiers() -> Vec<(&'static str, Verify, bool)> {
    macro_rules! bound {
        ($method:ident) => {
            (
                stringify!($method),
                Box::new(|key: &PublicKey, genesis: &[u8; 32], body: &[u8], signature: &Signature| {
                    key.$method(genesis, body, signature)
                }) as Verify,
                true,
            )
        };
    }
    macro_rules! free {
        ($method:ident) => {
            (
                stringify!($method),
                Box::new(|key: &PublicKey, _: &[u8; 32], body: &[u8], signature: &Signature| {
                    key.$method(body, signature)
                }) as Verify,
                false,
            )
        };
    }
    vec![
        free!(verify_transaction),
        free!(verify_transaction_registered),
        bound!(verify_vote),
        bound!(verify_proposal),
        bound!(verify_proposal_part),
        bound!(verify_receipt),
        bound!(verify_possession),
        bound!(verify_playbook),
        bound!(verify_usage),
        bound!(verify_attestation),
        bound!(verify_mesh_handshake_init),
        bound!(verify_mesh_handshake_resp),
        bound!(verify_node_record),
        bound!(verify_link_state),
    ]
}

fn signatures(key: &SigningKey) -> Vec<Signature> {
    vec![
        key.sign_transaction(BODY),
        key.sign_transaction_registered(BODY),
        key.sign_vote(&GENESIS, BODY),
        key.sign_proposal(&GENESIS, BODY),
        key.sign_proposal_part(&GENESIS, BODY),
        key.sign_receipt(&GENESIS, BODY),
        key.sign_possession(&GENESIS, BODY),
        key.sign_playbook(&GENESIS, BODY),
        key.sign_usage(&GENESIS, BODY),
        key.sign_attestation(&GENESIS, BODY),
        key.sign_mesh_handshake_init(&GENESIS, BODY),
        key.sign_mesh_handshake_resp(&GENESIS, BODY),
        key.sign_node_record(&GENESIS, BODY),
        key.sign_link_state(&GENESIS, BODY),
    ]
    .into_iter()
    .map(Result::unwrap)
    .collect()
}

fn portable_signatures(key: &portable::SigningKey) -> Vec<Signature> {
    vec![
        key.sign_transaction(BODY),
        key.sign_transaction_registered(BODY),
        key.sign_vote(&GENESIS, BODY),
        key.sign_proposal(&GENESIS, BODY),
        key.sign_proposal_part(&GENESIS, BODY),
        key.sign_receipt(&GENESIS, BODY),
        key.sign_possession(&GENESIS, BODY),
        key.sign_playbook(&GENESIS, BODY),
        key.sign_usage(&GENESIS, BODY),
        key.sign_attestation(&GENESIS, BODY),
        key.sign_mesh_handshake_init(&GENESIS, BODY),
        key.sign_mesh_handshake_resp(&GENESIS, BODY),
        key.sign_node_record(&GENESIS, BODY),
        key.sign_link_state(&GENESIS, BODY),
    ]
    .into_iter()
    .map(Result::unwrap)
    .collect()
}

#[test]
fn a_signature_is_worthless_for_another_purpose_chain_body_or_key() {
    let seed = dev::seed("purposes", "test");
    let key = SigningKey::from_seed(&seed).unwrap();
    let stranger = SigningKey::generate().unwrap();
    let sets = [signatures(&key), portable_signatures(&portable::SigningKey::from_seed(&seed))];
    for (made, set) in sets.iter().flat_map(|set| (0..set.len()).map(move |made| (made, set))) {
        for (judged, (name, verify, bound)) in verifiers().iter().enumerate() {
            let signature = &set[made];
            let good = verify(key.public(), &GENESIS, BODY, signature).is_ok();
            assert_eq!(good, made == judged, "{name}, signature {made}");
            assert!(verify(key.public(), &GENESIS, b"another body", signature).is_err());
            assert!(verify(stranger.public(), &GENESIS, BODY, signature).is_err());
            if *bound {
                assert!(verify(key.public(), &[2; 32], BODY, signature).is_err(), "{name} on another chain");
            }
        }
    }
}

#[test]
fn the_functions_on_plain_arrays_agree_with_the_methods() {
    let key = SigningKey::generate().unwrap();
    let transaction = key.sign_transaction(BODY).unwrap();
    let proof = key.sign_possession(&GENESIS, BODY).unwrap();
    assert!(verify_transaction(key.public().as_bytes(), BODY, transaction.as_bytes()));
    assert!(!crate::verify_transaction_registered(key.public().as_bytes(), BODY, transaction.as_bytes()));
    assert!(verify_possession(key.public().as_bytes(), &GENESIS, BODY, proof.as_bytes()));
    assert!(!verify_possession(key.public().as_bytes(), &[9; 32], BODY, proof.as_bytes()));
}

#[test]
fn wrong_lengths_say_what_was_found_and_secrets_are_not_printed() {
    assert_eq!(PublicKey::from_bytes(&[0; 10]), Err(CryptoError::PublicKeyLength { found: 10 }));
    assert_eq!(Signature::from_bytes(&[]), Err(CryptoError::SignatureLength { found: 0 }));
    let seed = dev::seed("alice", "account");
    assert_eq!(format!("{seed:?}"), "Seed(secret)");
    let key = SigningKey::from_seed(&seed).unwrap();
    assert!(format!("{key:?}").len() < 60, "{key:?}");
}
