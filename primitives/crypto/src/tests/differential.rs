//! aws-lc-rs against ml-dsa on random and on mutated input.

use crate::{
    Message, Native, PUBLIC_KEY_BYTES, Portable, SIGNATURE_BYTES, Seed, SignatureVerifier, SigningKey, portable,
};
use proptest::prelude::*;

/// Where the hints of a signature begin: 48 bytes of challenge and 5 times 640 bytes of `z` come
/// before them (FIPS 204, algorithm 26). Their encoding has the most rules, so mutations aim there.
const HINTS_START: usize = 48 + 5 * 640;

/// One change of one byte of one of the inputs.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Key { place: usize, xor: u8 },
    Challenge { place: usize, xor: u8 },
    Response { place: usize, value: u8 },
    Hint { place: usize, value: u8 },
    SwapHints { a: usize, b: usize },
    Body { place: usize, xor: u8 },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let hint = HINTS_START..SIGNATURE_BYTES;
    prop_oneof![
        (0..PUBLIC_KEY_BYTES, 1u8..).prop_map(|(place, xor)| Mutation::Key { place, xor }),
        (0..48usize, 1u8..).prop_map(|(place, xor)| Mutation::Challenge { place, xor }),
        (48..HINTS_START, any::<u8>()).prop_map(|(place, value)| Mutation::Response { place, value }),
        (hint.clone(), any::<u8>()).prop_map(|(place, value)| Mutation::Hint { place, value }),
        (hint.clone(), hint).prop_map(|(a, b)| Mutation::SwapHints { a, b }),
        (any::<usize>(), 1u8..).prop_map(|(place, xor)| Mutation::Body { place, xor }),
    ]
}

fn judge(key: &[u8; PUBLIC_KEY_BYTES], body: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> (bool, bool) {
    let message = Message::transaction(body);
    (Native.verify(key, message, signature), Portable.verify(key, message, signature))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// One seed is one key in both libraries, and each accepts what the other signs.
    #[test]
    fn both_derive_the_same_key_and_accept_each_other(seed: [u8; 32], body in proptest::collection::vec(any::<u8>(), 0..700)) {
        let seed = Seed::from_bytes(seed);
        let fast = SigningKey::from_seed(&seed).unwrap();
        let small = portable::SigningKey::from_seed(&seed);
        prop_assert_eq!(fast.public(), small.public());
        for signature in [fast.sign_transaction(&body).unwrap(), small.sign_transaction(&body).unwrap()] {
            prop_assert_eq!(judge(fast.public().as_bytes(), &body, signature.as_bytes()), (true, true));
        }
    }

    /// Any change of key, signature or body is refused, by both.
    #[test]
    fn both_refuse_whatever_was_changed(
        seed: [u8; 32],
        body in proptest::collection::vec(any::<u8>(), 1..100),
        mutations in proptest::collection::vec(mutation(), 8),
    ) {
        let signing = SigningKey::from_seed(&Seed::from_bytes(seed)).unwrap();
        let signature = signing.sign_transaction(&body).unwrap();
        for mutation in mutations {
            let mut key = *signing.public().as_bytes();
            let mut changed = *signature.as_bytes();
            let mut text = body.clone();
            match mutation {
                Mutation::Key { place, xor } => key[place] ^= xor,
                Mutation::Challenge { place, xor } => changed[place] ^= xor,
                Mutation::Response { place, value } | Mutation::Hint { place, value } => changed[place] = value,
                Mutation::SwapHints { a, b } => changed.swap(a, b),
                Mutation::Body { place, xor } => text[place % body.len()] ^= xor,
            }
            let same = key == *signing.public().as_bytes() && changed == *signature.as_bytes() && text == body;
            prop_assert_eq!(judge(&key, &text, &changed), (same, same), "{:?}", mutation);
        }
    }

    /// On bytes that nobody signed, both say no.
    #[test]
    fn both_refuse_random_bytes(
        key in proptest::collection::vec(any::<u8>(), PUBLIC_KEY_BYTES),
        signature in proptest::collection::vec(any::<u8>(), SIGNATURE_BYTES),
        zero_hints: bool,
    ) {
        let key = <[u8; PUBLIC_KEY_BYTES]>::try_from(key).unwrap();
        let mut signature = <[u8; SIGNATURE_BYTES]>::try_from(signature).unwrap();
        if zero_hints {
            // Without this, random hints end the check before the arithmetic is reached.
            signature[HINTS_START..].fill(0);
        }
        prop_assert_eq!(judge(&key, b"", &signature), (false, false));
    }
}
