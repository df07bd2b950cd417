//! Commit certificates: what a quorum signed, how it travels, and the check that a light client runs.
//!
//! This module knows no engine, no database and no thread, and builds without an operating system: nodes,
//! agents without a C compiler and browsers check certificates with the same code.
//!
//! # Correctness
//! A certificate is accepted only when validators with more than two thirds of the whole power of the
//! given set have each signed, once, the precommit for exactly this height, round and block on exactly
//! this chain. Anything else is refused with the rule that it breaks.

use crate::{PublicKey, SIGNATURE_BYTES, Signature};
use alloc::{string::String, vec::Vec};
use codec::{Decode, DecodeAll, Encode};
use x0_limits::VALIDATORS_MAX;

pub use crate::statement::{VoteKind, vote_body};

/// Bytes of a signature entry: the address, and an ML-DSA-65 signature.
const ENTRY_BYTES: usize = 32 + SIGNATURE_BYTES;
/// Version, height, round, block, and the length of the list.
const HEAD_BYTES_MAX: usize = 1 + 8 + 4 + 32 + 4;
/// Largest encoded certificate, bytes.
pub const CERTIFICATE_BYTES_MAX: usize = HEAD_BYTES_MAX + VALIDATORS_MAX as usize * ENTRY_BYTES;
/// The version that this module writes and reads.
pub const CERTIFICATE_VERSION: u8 = 1;

/// One validator's signature in a [`Certificate`].
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateEntry {
    /// BLAKE2b-256 of the validator's consensus key.
    pub address: [u8; 32],
    /// Its signature over the precommit.
    pub signature: Signature,
}

impl core::fmt::Debug for CertificateEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{:?}", hex::encode(&self.address[..4]), self.signature)
    }
}

/// A quorum's precommits for one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Height of the block.
    pub height: u64,
    /// Round in which the quorum formed.
    pub round: u32,
    /// BLAKE2b-256 of the block's header.
    pub block: [u8; 32],
    /// The signatures.
    pub entries: Vec<CertificateEntry>,
}

/// A validator as a certificate's reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateValidator {
    /// The consensus key.
    pub public: PublicKey,
    /// Voting power.
    pub power: u64,
}

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are no certificate of a known version.
    #[error("not a certificate of version {CERTIFICATE_VERSION}: {0}")]
    Malformed(&'static str),
    /// It is for another block.
    #[error("the certificate is for block {found}, not {expected}")]
    OtherBlock {
        /// The block that was asked for, in hex.
        expected: String,
        /// The block that the certificate names, in hex.
        found: String,
    },
    /// A signer is not in the set.
    #[error("signer {0} is not in the validator set")]
    UnknownSigner(String),
    /// A signer signed twice.
    #[error("signer {0} appears more than once")]
    RepeatedSigner(String),
    /// A signature is wrong.
    #[error("the signature of {0} is not valid")]
    WrongSignature(String),
    /// The signers hold too little power.
    #[error("signers hold {signed} of {total} voting power; more than two thirds are needed")]
    TooLittlePower {
        /// Power of the signers.
        signed: u128,
        /// Power of the set.
        total: u128,
    },
    /// The set is empty or without power.
    #[error("the validator set has no power")]
    NoPower,
}

/// Whether `signed` of `total` is a quorum: strictly more than two thirds.
#[must_use]
pub const fn is_quorum(signed: u128, total: u128) -> bool {
    // Powers are 64-bit and at most VALIDATORS_MAX of them are summed, so that the products fit.
    signed.saturating_mul(3) > total.saturating_mul(2)
}

impl Certificate {
    /// The bytes as they are stored and sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES_MAX + self.entries.len() * ENTRY_BYTES);
        CERTIFICATE_VERSION.encode_to(&mut bytes);
        self.height.encode_to(&mut bytes);
        self.round.encode_to(&mut bytes);
        self.block.encode_to(&mut bytes);
        codec::Compact(u32::try_from(self.entries.len()).unwrap_or(u32::MAX)).encode_to(&mut bytes);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.address);
            bytes.extend_from_slice(entry.signature.as_bytes());
        }
        bytes
    }

    /// Reads what [`Certificate::encode`] wrote. Memory is taken only for entries that are there.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateError::Malformed("too long"));
        }
        let mut input = bytes;
        let short = |_| CertificateError::Malformed("too short");
        if u8::decode(&mut input).map_err(short)? != CERTIFICATE_VERSION {
            return Err(CertificateError::Malformed("unknown version"));
        }
        let height = u64::decode(&mut input).map_err(short)?;
        let round = u32::decode(&mut input).map_err(short)?;
        let block = <[u8; 32]>::decode(&mut input).map_err(short)?;
        let count = codec::Compact::<u32>::decode(&mut input).map_err(short)?.0;
        if count > VALIDATORS_MAX {
            return Err(CertificateError::Malformed("more signatures than validators can be"));
        }
        let (chunks, rest) = input.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() || u32::try_from(chunks.len()) != Ok(count) {
            return Err(CertificateError::Malformed("the number of signatures does not fit the length"));
        }
        let entries = chunks
            .iter()
            .map(|chunk| {
                let (address, signature) = chunk.split_at(32);
                Ok(CertificateEntry {
                    address: <[u8; 32]>::decode_all(&mut &*address).map_err(short)?,
                    signature: Signature::from_bytes(signature)
                        .map_err(|_| CertificateError::Malformed("a signature of the wrong length"))?,
                })
            })
            .collect::<Result<_, CertificateError>>()?;
        Ok(Self { height, round, block, entries })
    }

    /// Keeps the first signatures, in the order of the set, that make a quorum, and drops the rest:
    /// they prove nothing more and are stored for ever. A certificate without a quorum keeps all.
    pub fn trim(&mut self, validators: &[CertificateValidator]) {
        let total: u128 = validators.iter().map(|validator| u128::from(validator.power)).sum();
        let mut kept = Vec::with_capacity(self.entries.len());
        let mut signed: u128 = 0;
        for validator in validators {
            if is_quorum(signed, total) {
                break;
            }
            let address = validator.public.fingerprint();
            if let Some(entry) = self.entries.iter().find(|entry| entry.address == address) {
                kept.push(entry.clone());
                signed = signed.saturating_add(u128::from(validator.power));
            }
        }
        if is_quorum(signed, total) {
            self.entries = kept;
        }
    }

    /// Checks the certificate against the set of its height.
    ///
    /// # Errors
    /// Each variant of [`CertificateError`] but [`CertificateError::Malformed`] and [`CertificateError::OtherBlock`].
    pub fn verify(&self, validators: &[CertificateValidator], genesis: &[u8; 32]) -> Result<(), CertificateError> {
        let set: Vec<_> = validators.iter().map(|validator| (validator.public.fingerprint(), validator)).collect();
        let total: u128 = validators.iter().map(|validator| u128::from(validator.power)).sum();
        if total == 0 {
            return Err(CertificateError::NoPower);
        }
        let mut signed: u128 = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let name = || hex::encode(entry.address);
            if self.entries.iter().take(index).any(|earlier| earlier.address == entry.address) {
                return Err(CertificateError::RepeatedSigner(name()));
            }
            let (_, validator) = set
                .iter()
                .find(|(address, _)| *address == entry.address)
                .ok_or_else(|| CertificateError::UnknownSigner(name()))?;
            let body = vote_body(VoteKind::Precommit, self.height, self.round, Some(&self.block), &entry.address);
            validator
                .public
                .verify_vote(genesis, &body, &entry.signature)
                .map_err(|_| CertificateError::WrongSignature(name()))?;
            signed = signed.saturating_add(u128::from(validator.power));
        }
        if is_quorum(signed, total) { Ok(()) } else { Err(CertificateError::TooLittlePower { signed, total }) }
    }
}

/// Checks that the bytes are a valid certificate for the block with this header hash.
///
/// `validators` is the set of the block's height (the genesis set, or the one that the header two
/// heights earlier announced), `genesis` the chain's genesis hash.
///
/// # Errors
/// Each variant of [`CertificateError`].
pub fn verify_certificate(
    bytes: &[u8],
    validators: &[CertificateValidator],
    header_hash: &[u8; 32],
    genesis: &[u8; 32],
) -> Result<Certificate, CertificateError> {
    let certificate = Certificate::decode(bytes)?;
    if certificate.block != *header_hash {
        return Err(CertificateError::OtherBlock {
            expected: hex::encode(header_hash),
            found: hex::encode(certificate.block),
        });
    }
    certificate.verify(validators, genesis)?;
    Ok(certificate)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::{Seed, SigningKey};
    use proptest::prelude::*;

    const GENESIS: [u8; 32] = [7; 32];
    const BLOCK: [u8; 32] = [9; 32];

    fn keys(count: u8) -> (Vec<SigningKey>, Vec<CertificateValidator>) {
        let keys: Vec<_> =
            (0..count).map(|tag| SigningKey::from_seed(&Seed::from_bytes([tag + 1; 32])).unwrap()).collect();
        let set = keys.iter().map(|key| CertificateValidator { public: key.public().clone(), power: 10 }).collect();
        (keys, set)
    }

    fn entry(key: &SigningKey, height: u64, round: u32, kind: VoteKind) -> CertificateEntry {
        let address = key.public().fingerprint();
        let body = vote_body(kind, height, round, Some(&BLOCK), &address);
        CertificateEntry { address, signature: key.sign_vote(&GENESIS, &body).unwrap() }
    }

    fn certificate(signers: &[SigningKey]) -> Certificate {
        let entries = signers.iter().map(|key| entry(key, 5, 1, VoteKind::Precommit)).collect();
        Certificate { height: 5, round: 1, block: BLOCK, entries }
    }

    #[test]
    fn three_of_four_convince_and_two_do_not() {
        let (keys, set) = keys(4);
        assert_eq!(verify_certificate(&certificate(&keys[..3]).encode(), &set, &BLOCK, &GENESIS).unwrap().height, 5);
        assert_eq!(
            verify_certificate(&certificate(&keys[..2]).encode(), &set, &BLOCK, &GENESIS),
            Err(CertificateError::TooLittlePower { signed: 20, total: 40 })
        );
        // Exactly two thirds are not enough.
        assert!(matches!(
            verify_certificate(&certificate(&keys[..2]).encode(), &set[..3], &BLOCK, &GENESIS),
            Err(CertificateError::TooLittlePower { signed: 20, total: 30 })
        ));
    }

    #[test]
    fn every_field_counts() {
        let (keys, set) = keys(4);
        let good = certificate(&keys[..3]);
        let check = |certificate: &Certificate| verify_certificate(&certificate.encode(), &set, &BLOCK, &GENESIS);
        assert!(check(&good).is_ok());
        let change = |alter: &dyn Fn(&mut Certificate)| {
            let mut changed = good.clone();
            alter(&mut changed);
            check(&changed).unwrap_err()
        };
        assert!(matches!(change(&|c| c.height += 1), CertificateError::WrongSignature(_)));
        assert!(matches!(change(&|c| c.round += 1), CertificateError::WrongSignature(_)));
        assert!(matches!(change(&|c| c.block[0] ^= 1), CertificateError::OtherBlock { .. }));
        assert!(matches!(change(&|c| c.entries[0].address[0] ^= 1), CertificateError::UnknownSigner(_)));
        assert!(matches!(change(&|c| c.entries.push(c.entries[0].clone())), CertificateError::RepeatedSigner(_)));
        assert!(matches!(
            change(&|c| c.entries[2] = entry(&keys[2], 5, 1, VoteKind::Prevote)),
            CertificateError::WrongSignature(_)
        ));
        assert!(matches!(
            verify_certificate(&good.encode(), &set, &BLOCK, &[8; 32]),
            Err(CertificateError::WrongSignature(_))
        ));
        assert_eq!(verify_certificate(&good.encode(), &[], &BLOCK, &GENESIS), Err(CertificateError::NoPower));
    }

    #[test]
    fn trimming_keeps_a_quorum_and_no_more() {
        let (keys, set) = keys(4);
        let mut all = certificate(&keys);
        all.trim(&set);
        assert_eq!(all.entries.len(), 3);
        all.verify(&set, &GENESIS).unwrap();
        let mut few = certificate(&keys[..2]);
        few.trim(&set);
        assert_eq!(few.entries.len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// No bytes make the reader panic, and what it accepts it writes back.
        #[test]
        fn mutated_bytes_never_panic(cut in 0usize..10_200, at in 0usize..10_200, flip in 1u8.., junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (keys, set) = keys(3);
            let good = certificate(&keys).encode();
            let mut bytes = good.clone();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            // A flipped bit may leave a well-formed certificate, but never one for the same block by the same signers.
            prop_assert!(verify_certificate(&bytes, &set, &BLOCK, &GENESIS).is_err());
            prop_assert!(Certificate::decode(&good[..cut % good.len()]).is_err());
            let mut longer = good.clone();
            longer.extend_from_slice(&junk);
            prop_assert_eq!(Certificate::decode(&longer).is_ok(), junk.is_empty());
            if let Ok(read) = Certificate::decode(&junk) {
                prop_assert_eq!(read.encode(), junk);
            }
        }
    }
}
