//! Messages between a mesh agent and whoever connects to it: a renter's agent, somebody who thinks of renting, or
//! a validator's probing worker, which looks like the second.
//!
//! A frame is a 4-byte big-endian length and that many bytes of SCALE, at most
//! [`x0_limits::PROBE_FRAME_BYTES_MAX`], inside TLS 1.3 with mutual raw ML-DSA-65 keys.

#![allow(clippy::cast_possible_truncation, reason = "the derive of Encode casts the index of a variant to a byte")]

use crate::{
    AccountId, Hash, MlDsa65Signature, Moment,
    market::Slot,
    receipt::{SignedUsage, Usage},
};
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use x0_limits::PROBE_FRAME_BYTES_MAX;

/// ALPN protocol name of an agent's links, the same for peers and probes; the genesis hash in hex follows it after a
/// slash.
pub const PROBE_ALPN: &str = "x0-link/1";

/// The whole ALPN protocol name of the probe channel of the chain with this genesis hash.
#[must_use]
pub fn probe_alpn(genesis: &[u8; 32]) -> Vec<u8> {
    format!("{PROBE_ALPN}/{}", hex::encode(genesis)).into_bytes()
}

/// What anybody may ask an agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ProbeRequest {
    /// Are you there? Answered by a [`Receipt`] over the nonce.
    Alive {
        /// The slot that the probe judges.
        slot: Slot,
        /// Fresh random bytes of the prober.
        nonce: [u8; 32],
    },
    /// Which agents may relay through you now? Answered by [`ProbeResponse::Admissions`].
    Admissions,
    /// Answered at once by [`ProbeResponse::Pong`]: measures the round trip.
    Ping {
        /// Comes back unchanged.
        nonce: u64,
    },
    /// Send so many bytes, in [`ProbeResponse::Piece`]s: measures the throughput.
    Transfer {
        /// Bytes, at most [`x0_limits::TRIAL_BYTES_MAX`].
        bytes: u32,
        /// The bytes are made from this, so that nothing on the way can have them in store.
        seed: [u8; 32],
    },
    /// Sign this too, which your peer, a renter's agent, saw of its last transfer. Answered by
    /// [`ProbeResponse::Usage`].
    Usage {
        /// What the peer saw.
        usage: Usage,
        /// The peer's signature over it.
        by_renter: MlDsa65Signature,
    },
}

/// What an agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ProbeResponse {
    /// The answer to [`ProbeRequest::Alive`].
    Receipt(SignedReceipt),
    /// The answer to [`ProbeRequest::Admissions`]: one entry per live deal.
    Admissions(Vec<Admission>),
    /// The agent refuses, and says why in a few words.
    Refused(Vec<u8>),
    /// The answer to [`ProbeRequest::Ping`].
    Pong {
        /// The request's.
        nonce: u64,
    },
    /// A piece of the answer to [`ProbeRequest::Transfer`]; the pieces follow one another.
    Piece(Vec<u8>),
    /// The answer to [`ProbeRequest::Usage`]: the agent agrees.
    Usage(SignedUsage),
}

/// The bytes of a transfer, by the piece: BLAKE2b-256 over seed and number of each 32 bytes would cost more than
/// sending them, so each piece repeats a block of 1,024 bytes that depends on seed and piece.
#[must_use]
pub fn transfer_piece(seed: &[u8; 32], number: u32, bytes: usize) -> Vec<u8> {
    let block: Vec<u8> =
        (0u32..32).flat_map(|part| sp_io::hashing::blake2_256(&(seed, number, part).encode())).collect();
    block.iter().copied().cycle().take(bytes).collect()
}

/// What an agent admits on account of one deal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Admission {
    /// The deal.
    pub deal: crate::market::DealId,
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents that may peer and relay.
    pub agents: Vec<AccountId>,
}

/// What an agent signs (domain `x0/receipt/v1`, with the genesis hash) to show that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Receipt {
    /// The agent.
    pub node: AccountId,
    /// The slot of the probe.
    pub slot: Slot,
    /// The prober's nonce.
    pub nonce: [u8; 32],
    /// BLAKE2b-256 of the prober's link key, so that a receipt given to one is worthless to another.
    pub prober: Hash,
    /// BLAKE2b-256 of the agent's admission list at this time.
    pub admissions: Hash,
    /// The agent's clock, milliseconds since the Unix epoch.
    pub agent_time_ms: Moment,
}

/// A receipt and the agent's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// By the agent's key in role Agent.
    pub signature: MlDsa65Signature,
}

impl Receipt {
    /// The bytes that are signed under `x0/receipt/v1` with the genesis hash: the SCALE encoding.
    #[must_use]
    pub fn signed_body(&self) -> Vec<u8> {
        self.encode()
    }

    /// Whether this receipt answers the probe of this node in this slot, with this nonce, by the
    /// prober whose link key has this hash. The signature is checked apart, with the node's key.
    ///
    /// # Errors
    /// [`ReceiptMismatch`] names the first field that belongs to another probe.
    pub fn answers(
        &self,
        node: &AccountId,
        slot: Slot,
        nonce: &[u8; 32],
        prober: &Hash,
    ) -> Result<(), ReceiptMismatch> {
        if self.node != *node {
            return Err(ReceiptMismatch::Node);
        }
        if self.slot != slot {
            return Err(ReceiptMismatch::Slot { asked: slot, answered: self.slot });
        }
        if self.nonce != *nonce {
            return Err(ReceiptMismatch::Nonce);
        }
        if self.prober != *prober {
            return Err(ReceiptMismatch::Prober);
        }
        Ok(())
    }
}

/// A receipt that answers another probe than the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptMismatch {
    /// Another node answered.
    #[error("the receipt is of another node")]
    Node,
    /// Another slot was answered.
    #[error("the receipt is for slot {answered}, asked was slot {asked}")]
    Slot {
        /// The slot that was asked.
        asked: Slot,
        /// The slot in the receipt.
        answered: Slot,
    },
    /// The nonce is not the one that was sent: an old receipt.
    #[error("the receipt carries another nonce")]
    Nonce,
    /// The receipt was made for somebody else.
    #[error("the receipt was made for another prober")]
    Prober,
}

/// BLAKE2b-256 of an admission list as it travels: sorted by deal, agents sorted within each deal.
/// The order of the argument does not matter.
#[must_use]
pub fn admissions_hash(admissions: &[Admission]) -> Hash {
    let mut sorted = admissions.to_vec();
    for admission in &mut sorted {
        admission.agents.sort_unstable();
    }
    sorted.sort_unstable_by_key(|admission| admission.deal);
    Hash::from(sp_io::hashing::blake2_256(&sorted.encode()))
}

/// Bytes of the length that opens a frame.
pub const FRAME_HEADER_BYTES: usize = 4;

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is, or says that it is, larger than any message.
    #[error("a frame has at most {PROBE_FRAME_BYTES_MAX} bytes, this one has {found}")]
    TooLarge {
        /// Bytes of the frame without its header.
        found: usize,
    },
    /// The bytes are not exactly one message.
    #[error("the frame of {bytes} bytes is not a message")]
    Malformed {
        /// Bytes of the frame without its header.
        bytes: usize,
    },
}

/// A message as a frame: 4 big-endian bytes of length, then SCALE.
///
/// # Errors
/// [`FrameError::TooLarge`] when the message is larger than [`PROBE_FRAME_BYTES_MAX`].
pub fn encode_frame<T: Encode>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; FRAME_HEADER_BYTES];
    message.encode_to(&mut frame);
    let found = frame.len() - FRAME_HEADER_BYTES;
    let length = u32::try_from(found).map_err(|_| FrameError::TooLarge { found })?;
    if found > PROBE_FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { found });
    }
    frame[..FRAME_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// How many bytes follow this frame header. Call it before allocating for the frame.
///
/// # Errors
/// [`FrameError::TooLarge`] when that is more than [`PROBE_FRAME_BYTES_MAX`].
pub fn frame_length(header: [u8; FRAME_HEADER_BYTES]) -> Result<usize, FrameError> {
    let found = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if found > PROBE_FRAME_BYTES_MAX { Err(FrameError::TooLarge { found }) } else { Ok(found) }
}

/// The message in a frame without its header. No byte may be left over.
///
/// # Errors
/// [`FrameError::TooLarge`] or [`FrameError::Malformed`].
pub fn decode_frame<T: Decode>(mut payload: &[u8]) -> Result<T, FrameError> {
    let bytes = payload.len();
    if bytes > PROBE_FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { found: bytes });
    }
    T::decode_all(&mut payload).map_err(|_| FrameError::Malformed { bytes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use x0_limits::{DEALS_PER_NODE_MAX, MANIFEST_AGENTS_MAX};

    fn admission(deal: u64, agents: u32) -> Admission {
        let agents = (0..agents).map(|agent| AccountId::new([u8::try_from(agent).unwrap(); 32])).collect();
        Admission { deal, mesh: Hash::repeat_byte(7), agents }
    }

    #[test]
    fn the_longest_admission_list_fits_a_frame() {
        let all = (0..u64::from(DEALS_PER_NODE_MAX)).map(|deal| admission(deal, MANIFEST_AGENTS_MAX)).collect();
        let frame = encode_frame(&ProbeResponse::Admissions(all)).unwrap();
        let length = frame_length(frame[..4].try_into().unwrap()).unwrap();
        assert_eq!(length, frame.len() - 4);
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_on_both_sides() {
        let text = vec![0; PROBE_FRAME_BYTES_MAX];
        assert!(matches!(encode_frame(&ProbeResponse::Refused(text)), Err(FrameError::TooLarge { .. })));
        let header = u32::try_from(PROBE_FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
        assert_eq!(frame_length(header), Err(FrameError::TooLarge { found: PROBE_FRAME_BYTES_MAX + 1 }));
        assert_eq!(frame_length(u32::MAX.to_be_bytes()), Err(FrameError::TooLarge { found: 4_294_967_295 }));
    }

    #[test]
    fn the_admissions_hash_ignores_the_order_and_nothing_else() {
        let (one, two) = (admission(1, 2), admission(2, 3));
        let mut turned = two.clone();
        turned.agents.reverse();
        assert_eq!(admissions_hash(&[one.clone(), two.clone()]), admissions_hash(&[turned, one.clone()]));
        assert_ne!(admissions_hash(std::slice::from_ref(&one)), admissions_hash(&[one.clone(), two]));
        assert_ne!(admissions_hash(&[one]), admissions_hash(&[admission(1, 3)]));
    }

    #[test]
    fn a_receipt_answers_its_own_probe_only() {
        let node = AccountId::new([1; 32]);
        let prober = Hash::repeat_byte(2);
        let receipt =
            Receipt { node: node.clone(), slot: 9, nonce: [3; 32], prober, admissions: Hash::zero(), agent_time_ms: 0 };
        assert_eq!(receipt.answers(&node, 9, &[3; 32], &prober), Ok(()));
        assert_eq!(receipt.answers(&AccountId::new([0; 32]), 9, &[3; 32], &prober), Err(ReceiptMismatch::Node));
        assert_eq!(receipt.answers(&node, 8, &[3; 32], &prober), Err(ReceiptMismatch::Slot { asked: 8, answered: 9 }));
        assert_eq!(receipt.answers(&node, 9, &[4; 32], &prober), Err(ReceiptMismatch::Nonce));
        assert_eq!(receipt.answers(&node, 9, &[3; 32], &Hash::zero()), Err(ReceiptMismatch::Prober));
    }

    proptest! {
        /// A request survives the wire, and one byte more or less does not pass as the same request.
        #[test]
        fn frames_round_trip(slot: u64, nonce: [u8; 32], extra: u8) {
            let transfer = ProbeRequest::Transfer { bytes: 7, seed: nonce };
            for request in [ProbeRequest::Alive { slot, nonce }, ProbeRequest::Admissions, ProbeRequest::Ping { nonce: slot }, transfer] {
                let frame = encode_frame(&request).unwrap();
                prop_assert_eq!(decode_frame::<ProbeRequest>(&frame[4..]), Ok(request));
                let mut longer = frame[4..].to_vec();
                longer.push(extra);
                prop_assert!(decode_frame::<ProbeRequest>(&longer).is_err());
                prop_assert!(decode_frame::<ProbeRequest>(&frame[4..frame.len() - 1]).is_err());
            }
        }

        /// Bytes from the network never panic and never decode to something that encodes otherwise.
        #[test]
        fn random_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(response) = decode_frame::<ProbeResponse>(&bytes) {
                prop_assert_eq!(response.encode(), bytes);
            }
        }
    }
}
