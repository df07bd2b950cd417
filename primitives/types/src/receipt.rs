//! What a validator commits to and shows later: its report on a slot, and the receipts behind it; and what the
//! two agents of a deal sign together about its use.
//!
//! ```text
//!   commit   blake2b("x0/report/v1" || SCALE(validator, slot, observations, root, salt))
//!   nonce    blake2b("x0/probe-nonce/v1" || SCALE(validator, slot, node, blind))     one for each probe
//! ```
//!
//! A commitment names its validator, so that nobody can repeat another one's; a nonce is made from its validator
//! and a secret, so that the agent learns nothing from it and yet nobody can show a receipt that another
//! validator collected.

use crate::{
    AccountId, Hash, MlDsa65Signature,
    market::{DealId, NodeIndex, Slot},
    merkle::{self, Proof},
    probe::{Receipt, SignedReceipt},
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_io::hashing::blake2_256;

/// Domain of [`report_commitment`].
const REPORT_DOMAIN: &[u8] = b"x0/report/v1";
/// Domain of [`bound_nonce`].
const NONCE_DOMAIN: &[u8] = b"x0/probe-nonce/v1";

/// What a validator commits to before it shows its report on a slot.
#[must_use]
pub fn report_commitment(
    validator: &AccountId,
    slot: Slot,
    observations: &[u8],
    receipts_root: &Hash,
    salt: &[u8; 32],
) -> Hash {
    let mut bytes = REPORT_DOMAIN.to_vec();
    (validator, slot, observations, receipts_root, salt).encode_to(&mut bytes);
    Hash::from(blake2_256(&bytes))
}

/// The nonce of a probe of `node` by `validator` in `slot`. `blind` is random, and secret until the receipt is
/// asked for.
#[must_use]
pub fn bound_nonce(validator: &AccountId, slot: Slot, node: &AccountId, blind: &[u8; 32]) -> [u8; 32] {
    let mut bytes = NONCE_DOMAIN.to_vec();
    (validator, slot, node, blind).encode_to(&mut bytes);
    blake2_256(&bytes)
}

/// A receipt with all that shows that it stands behind a report.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ReceiptProof {
    /// The secret behind the nonce.
    pub blind: [u8; 32],
    /// The agent's receipt.
    pub signed: SignedReceipt,
    /// Its place under the root.
    pub path: Proof,
}

/// Why a receipt does not back a report's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// The receipt is of another node or slot.
    #[error("the receipt is of another node or slot")]
    Other,
    /// The nonce is not the validator's.
    #[error("the receipt's nonce belongs to another validator")]
    Nonce,
    /// The receipt does not stand under the report's root.
    #[error("the receipt does not stand under the report's root")]
    Root,
}

impl ReceiptProof {
    /// Whether this proves that `validator` got an answer from `node` in `slot`, under the root of its report. The
    /// agent's signature is checked apart, with the node's key.
    ///
    /// # Errors
    /// [`ReceiptFault`] names what does not fit.
    pub fn backs(
        &self,
        validator: &AccountId,
        slot: Slot,
        (index, node): (NodeIndex, &AccountId),
        root: &Hash,
    ) -> Result<(), ReceiptFault> {
        let receipt: &Receipt = &self.signed.receipt;
        if receipt.node != *node || receipt.slot != slot {
            return Err(ReceiptFault::Other);
        }
        if receipt.nonce != bound_nonce(validator, slot, node, &self.blind) {
            return Err(ReceiptFault::Nonce);
        }
        if !merkle::verify(root, &merkle::leaf(index, &self.blind, &self.signed), &self.path) {
            return Err(ReceiptFault::Root);
        }
        Ok(())
    }
}

/// What both agents of a deal saw of its use: bytes that the node sent to the renter's agent in one go, how long
/// that took, and the shortest round trip.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Usage {
    /// The deal.
    pub deal: DealId,
    /// The provider's node.
    pub node: AccountId,
    /// The renter's agent.
    pub agent: AccountId,
    /// The slot in which it ended.
    pub slot: Slot,
    /// Bytes that were moved; not 0.
    pub bytes: u64,
    /// How long that took, milliseconds; not 0.
    pub duration_ms: u32,
    /// The shortest round trip, milliseconds.
    pub round_trip_ms: u32,
}

impl Usage {
    /// The throughput, kilobits per second (bits per millisecond), floored.
    #[must_use]
    pub fn throughput_kbps(&self) -> u64 {
        self.bytes.saturating_mul(8).checked_div(u64::from(self.duration_ms)).unwrap_or_default()
    }

    /// The bytes that both sign under `x0/usage/v1` with the genesis hash: the SCALE encoding.
    #[must_use]
    pub fn signed_body(&self) -> Vec<u8> {
        self.encode()
    }
}

/// A [`Usage`] with the signatures of both agents' keys in role Agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct SignedUsage {
    /// What is signed.
    pub usage: Usage,
    /// By the renter's agent.
    pub by_renter: MlDsa65Signature,
    /// By the provider's node.
    pub by_provider: MlDsa65Signature,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn account(byte: u8) -> AccountId {
        AccountId::new([byte; 32])
    }

    #[test]
    fn a_commitment_depends_on_each_part() {
        let base = report_commitment(&account(1), 7, &[1, 2], &Hash::zero(), &[9; 32]);
        let others = [
            report_commitment(&account(2), 7, &[1, 2], &Hash::zero(), &[9; 32]),
            report_commitment(&account(1), 8, &[1, 2], &Hash::zero(), &[9; 32]),
            report_commitment(&account(1), 7, &[1], &Hash::zero(), &[9; 32]),
            report_commitment(&account(1), 7, &[1, 2], &Hash::repeat_byte(1), &[9; 32]),
            report_commitment(&account(1), 7, &[1, 2], &Hash::zero(), &[8; 32]),
        ];
        assert!(others.iter().all(|other| *other != base));
        assert_eq!(base, report_commitment(&account(1), 7, &[1, 2], &Hash::zero(), &[9; 32]));
    }

    #[test]
    fn a_receipt_backs_its_own_validators_report_only() {
        let (validator, node, blind) = (account(1), account(2), [5; 32]);
        let nonce = bound_nonce(&validator, 9, &node, &blind);
        let receipt = Receipt {
            node: node.clone(),
            slot: 9,
            nonce,
            prober: Hash::zero(),
            admissions: Hash::zero(),
            agent_time_ms: 0,
        };
        let signed = SignedReceipt { receipt, signature: MlDsa65Signature(Box::new([0; 3309])) };
        let leaves = [merkle::leaf(3, &blind, &signed), Hash::repeat_byte(4)];
        let root = merkle::root(&leaves);
        let proof = ReceiptProof { blind, signed, path: merkle::prove(&leaves, 0).unwrap() };
        assert_eq!(proof.backs(&validator, 9, (3, &node), &root), Ok(()));
        assert_eq!(proof.backs(&account(7), 9, (3, &node), &root), Err(ReceiptFault::Nonce), "a copied receipt");
        assert_eq!(proof.backs(&validator, 8, (3, &node), &root), Err(ReceiptFault::Other));
        assert_eq!(proof.backs(&validator, 9, (3, &account(7)), &root), Err(ReceiptFault::Other));
        assert_eq!(proof.backs(&validator, 9, (4, &node), &root), Err(ReceiptFault::Root));
        assert_eq!(proof.backs(&validator, 9, (3, &node), &Hash::zero()), Err(ReceiptFault::Root));
    }

    #[test]
    fn throughput_is_bits_per_millisecond() {
        let usage = |bytes, duration_ms| Usage {
            deal: 1,
            node: account(1),
            agent: account(2),
            slot: 3,
            bytes,
            duration_ms,
            round_trip_ms: 1,
        };
        assert_eq!(usage(1_000_000, 1_000).throughput_kbps(), 8_000);
        assert_eq!(usage(1, 9).throughput_kbps(), 0);
        assert_eq!(usage(1, 0).throughput_kbps(), 0);
        assert_eq!(usage(u64::MAX, 1).throughput_kbps(), u64::MAX);
    }
}
