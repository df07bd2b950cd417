//! Keys of two ends that have shaken hands, the same for the same seed.
#![allow(dead_code, reason = "each test binary uses its part")]

use x0_crypto::{
    PublicKey, Seed, SigningKey,
    kem::{CIPHERTEXT_BYTES, DecapsulationKey},
    mesh::{InitiatorTranscript, OpeningTranscript, ResponderTranscript, Traffic, X25519Secret},
};
use x0_mesh::{
    Entropy,
    handshake::{Keys, Role},
};

/// The keys of initiator and responder.
pub fn keys(seed: u8) -> (Keys, Keys) {
    (Keys::new(traffic(seed), Role::Initiator), Keys::new(traffic(seed), Role::Responder))
}

fn public() -> PublicKey {
    SigningKey::from_seed(&Seed::from_bytes([9; 32])).unwrap().public().clone()
}

fn traffic(seed: u8) -> Traffic {
    let key = public();
    let opening = OpeningTranscript::new(&[1; 32], &[2; 32], &[seed], &[3]);
    let initiator = InitiatorTranscript::new(&opening, &[4; 32], &[5; 32], &key, &[6; 32]);
    let transcript = ResponderTranscript::new(&initiator, &[7], &key);
    // A ciphertext that was never made gives a secret all the same (implicit rejection), and always the same one.
    let kem = DecapsulationKey::from_seed(&[seed; 64]).unwrap().decapsulate(&[seed; CIPHERTEXT_BYTES]).unwrap();
    let x25519 = X25519Secret::from_random(&[seed; 32]).unwrap();
    let peer = X25519Secret::from_random(&[8; 32]).unwrap();
    Traffic::new(&kem, &x25519.agree(peer.public()).unwrap(), &transcript).unwrap()
}

/// A small seeded generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a million cases.
    pub fn chance(&mut self, ppm: u64) -> bool {
        self.below(1_000_000) < ppm
    }
}

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next().to_be_bytes()[0];
        }
    }
}
