//! NIST's own vectors (ACVP) of ML-DSA-65 and ML-KEM-768; `tests/vectors/README.md` says where they come from.
//!
//! ACVP tests the inner algorithms of FIPS 204, whose messages carry no context. AWS-LC does not open these, so that
//! signatures are held against the pure-Rust crate, which every other test holds against AWS-LC.

use crate::{
    PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Seed, SigningKey,
    kem::{self, CIPHERTEXT_BYTES, DecapsulationKey, EncapsulationKey, KEM_SEED_BYTES},
    portable,
};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey as FastKey, ML_KEM_768};
use ml_dsa::{EncodedSignature, EncodedVerifyingKey, ExpandedSigningKeyBytes, MlDsa65, Signature, VerifyingKey};
use ml_kem::ml_kem_768;
use serde_json::Value;

fn groups(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["groups"].as_array().unwrap().clone()
}

fn tests(group: &Value) -> &Vec<Value> {
    group["tests"].as_array().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

#[test]
fn signing_keys_come_out_of_their_seeds_as_nist_says() {
    let mut count = 0;
    for group in groups(include_str!("../../../../tests/vectors/acvp/ml-dsa-65-key-gen.json")) {
        for test in tests(&group) {
            let seed = Seed::from_bytes(array(&test["seed"]));
            let public: [u8; PUBLIC_KEY_BYTES] = array(&test["pk"]);
            assert_eq!(*SigningKey::from_seed(&seed).unwrap().public().as_bytes(), public, "{}", test["tcId"]);
            assert_eq!(*portable::SigningKey::from_seed(&seed).public().as_bytes(), public, "{}", test["tcId"]);
            count += 1;
        }
    }
    assert_eq!(count, 25);
}

#[test]
fn signatures_are_made_as_nist_says() {
    let (mut deterministic, mut randomised) = (0, 0);
    for group in groups(include_str!("../../../../tests/vectors/acvp/ml-dsa-65-sig-gen.json")) {
        for test in tests(&group) {
            let encoded = ExpandedSigningKeyBytes::<MlDsa65>::try_from(&bytes(&test["sk"])[..]).unwrap();
            #[allow(deprecated, reason = "the vectors give expanded keys; ours are always seeds")]
            let key = ml_dsa::ExpandedSigningKey::<MlDsa65>::from_expanded(&encoded);
            let random: [u8; 32] = if group["deterministic"] == true { [0; 32] } else { array(&test["rnd"]) };
            let signature = key.sign_internal(&[&bytes(&test["message"])], &random.into());
            assert_eq!(signature.encode()[..], bytes(&test["signature"])[..], "{}", test["tcId"]);
            if group["deterministic"] == true { deterministic += 1 } else { randomised += 1 }
        }
    }
    assert_eq!((deterministic, randomised), (10, 10));
}

#[test]
fn signatures_are_judged_as_nist_says() {
    let (mut good, mut bad) = (0, 0);
    for group in groups(include_str!("../../../../tests/vectors/acvp/ml-dsa-65-sig-ver.json")) {
        let public: [u8; PUBLIC_KEY_BYTES] = array(&group["pk"]);
        let key = VerifyingKey::<MlDsa65>::decode(&EncodedVerifyingKey::<MlDsa65>::from(public));
        for test in tests(&group) {
            let encoded: [u8; SIGNATURE_BYTES] = array(&test["signature"]);
            let signature = Signature::<MlDsa65>::decode(&EncodedSignature::<MlDsa65>::from(encoded));
            let holds = signature.is_some_and(|signature| key.verify_internal(&bytes(&test["message"]), &signature));
            assert_eq!(holds, test["testPassed"].as_bool().unwrap(), "{}: {}", test["tcId"], test["reason"]);
            if holds { good += 1 } else { bad += 1 }
        }
    }
    assert_eq!((good, bad), (3, 12));
}

#[test]
fn encapsulation_keys_come_out_of_their_seeds_as_nist_says() {
    let mut count = 0;
    for group in groups(include_str!("../../../../tests/vectors/acvp/ml-kem-768-key-gen.json")) {
        for test in tests(&group) {
            let seed: [u8; KEM_SEED_BYTES] = [bytes(&test["d"]), bytes(&test["z"])].concat().try_into().unwrap();
            let key = DecapsulationKey::from_seed(&seed).unwrap();
            assert_eq!(key.encapsulation_key().as_bytes()[..], bytes(&test["ek"])[..], "{}", test["tcId"]);
            count += 1;
        }
    }
    assert_eq!(count, 25);
}

#[test]
fn secrets_are_agreed_on_as_nist_says() {
    let (mut made, mut opened) = (0, 0);
    for group in groups(include_str!("../../../../tests/vectors/acvp/ml-kem-768-encap-decap.json")) {
        for test in tests(&group) {
            let (ciphertext, secret) = (bytes(&test["c"]), bytes(&test["k"]));
            assert_eq!((ciphertext.len(), secret.len()), (CIPHERTEXT_BYTES, kem::SHARED_SECRET_BYTES));
            if group["function"] == "encapsulation" {
                let key = EncapsulationKey::from_bytes(&bytes(&test["ek"])).unwrap();
                // The vector fixes the randomness, which only the pure-Rust crate can set.
                let portable = ml_kem_768::EncapsulationKey::new(&(*key.as_bytes()).into()).unwrap();
                let (found, shared) = portable.encapsulate_deterministic(&array::<32>(&test["m"]).into());
                assert_eq!((&found[..], &shared[..]), (&ciphertext[..], &secret[..]), "{}", test["tcId"]);
                made += 1;
            } else {
                // Also a changed ciphertext gives a secret: one that nobody else has.
                let key = FastKey::new(&ML_KEM_768, &bytes(&group["dk"])).unwrap();
                let shared = key.decapsulate(Ciphertext::from(&ciphertext[..])).unwrap();
                assert_eq!(shared.as_ref(), secret, "{}: {}", test["tcId"], test["reason"]);
                opened += 1;
            }
        }
    }
    assert_eq!((made, opened), (25, 10));
}
