//! How a block travels: an opening part that the proposer signs, and the bytes in parts of fixed size.
//!
//! ```text
//!   stream (peer, id):  0 Opening{height, round, proposer, block, bytes, digest, signature}
//!                       1 Body(PROPOSAL_PART_BYTES) 2 Body ... n Body(rest)
//! ```
//!
//! # Correctness
//! The engine does not authenticate parts, so the opening does: it binds proposer, height, round and
//! block to the exact bytes by their digest. Bytes that do not match the digest are never a verdict on
//! the block, only on the peer that sent them.
//!
//! # Limits
//! A peer has at most [`x0_limits::PROPOSAL_STREAMS_PER_PEER_MAX`] unfinished streams (the oldest gives
//! way), memory is taken as bytes arrive and never beyond what the opening announces, an opening
//! announces at most [`x0_limits::BLOCK_BYTES_MAX`] and room for the header, and all streams together hold at most
//! [`x0_limits::ASSEMBLY_BYTES_MAX`]: beyond it the peer with the most bytes loses its oldest stream, so that one peer cannot push
//! out another one's block.

use crate::context::{Address, BlockId, Height, Signature};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use malachite_core_types::Round;
use std::collections::{BTreeMap, VecDeque};
use x0_limits::{
    ASSEMBLY_BYTES_MAX, BLOCK_BYTES_MAX, PROPOSAL_PART_BYTES, PROPOSAL_PARTS_MAX, PROPOSAL_STREAMS_PER_PEER_MAX,
};
use x0_network::PeerKey;

/// Bytes of a header and of the list's length, beside the body that [`BLOCK_BYTES_MAX`] bounds.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Largest encoded block that travels, bytes.
pub const ENCODED_BLOCK_BYTES_MAX: usize = BLOCK_BYTES_MAX + HEADER_BYTES_MAX;
const _: () = assert!(ENCODED_BLOCK_BYTES_MAX.div_ceil(PROPOSAL_PART_BYTES) < PROPOSAL_PARTS_MAX);

/// What a proposer says of a block before it sends it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Opening {
    /// Height.
    pub height: Height,
    /// Round.
    pub round: u32,
    /// The proposer.
    pub proposer: Address,
    /// The block.
    pub block: BlockId,
    /// Length of the encoded block, bytes.
    pub bytes: u32,
    /// BLAKE2b-256 of the encoded block.
    pub digest: [u8; 32],
}

impl Opening {
    /// The opening as it is signed.
    #[must_use]
    pub const fn statement(&self) -> x0_crypto::statement::Opening {
        x0_crypto::statement::Opening {
            height: self.height.0,
            round: self.round,
            proposer: self.proposer.0,
            block: self.block.0,
            bytes: self.bytes,
            digest: self.digest,
        }
    }

    /// The round as the engine writes it.
    #[must_use]
    pub const fn round(&self) -> Round {
        Round::new(self.round)
    }

    /// How many body parts follow.
    #[must_use]
    pub fn body_parts(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).div_ceil(PROPOSAL_PART_BYTES)
    }
}

/// An opening and the proposer's signature.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedOpening {
    /// What is signed.
    pub opening: Opening,
    /// By the proposer's consensus key.
    pub signature: Signature,
}

/// One part of a proposal.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// The first one.
    Opening(Box<SignedOpening>),
    /// Bytes of the block: [`PROPOSAL_PART_BYTES`] in each but the last.
    Body(Bytes),
}

impl core::fmt::Debug for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Opening(signed) => signed.opening.fmt(f),
            Self::Body(bytes) => write!(f, "Body({} bytes)", bytes.len()),
        }
    }
}

/// Cuts an encoded block into its body parts without copying.
pub fn body_parts(encoded: &Bytes) -> impl Iterator<Item = Part> + '_ {
    (0..encoded.len().div_ceil(PROPOSAL_PART_BYTES)).map(|index| {
        let start = index * PROPOSAL_PART_BYTES;
        Part::Body(encoded.slice(start..encoded.len().min(start + PROPOSAL_PART_BYTES)))
    })
}

/// Why a part is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// The announced size is out of bounds.
    #[error("an opening announces {0} bytes; a block has 1 to {ENCODED_BLOCK_BYTES_MAX}")]
    Size(u32),
    /// A body part without an opening before it: the stream is unknown or has been evicted.
    #[error("a body part of an unknown stream")]
    UnknownStream,
    /// The stream has an opening already, or the part does not stand where it says.
    #[error("part {sequence} does not belong there")]
    Misplaced {
        /// Its place in the stream.
        sequence: u64,
    },
    /// A part with the wrong number of bytes.
    #[error("part {sequence} has {found} bytes, not {expected}")]
    PartSize {
        /// Its place in the stream.
        sequence: u64,
        /// Bytes found.
        found: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The bytes are not those that the proposer signed for.
    #[error("the assembled bytes do not match the opening's digest")]
    Digest,
}

struct Stream {
    id: Bytes,
    opening: SignedOpening,
    parts: BTreeMap<usize, Bytes>,
}

impl Stream {
    fn bytes(&self) -> usize {
        self.parts.values().map(Bytes::len).sum()
    }
}

/// A whole block, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// What the proposer signed.
    pub opening: SignedOpening,
    /// The encoded block; its digest matches.
    pub encoded: Bytes,
}

/// Puts parts together, for each peer by itself.
#[derive(Default)]
pub struct Assembler {
    streams: BTreeMap<PeerKey, VecDeque<Stream>>,
}

impl Assembler {
    /// Starts a stream. The caller has checked the opening's signature, height and proposer.
    ///
    /// # Errors
    /// [`PartError::Size`], [`PartError::Misplaced`] for a stream that is open already.
    pub fn open(&mut self, peer: PeerKey, stream: Bytes, opening: SignedOpening) -> Result<(), PartError> {
        let bytes = usize::try_from(opening.opening.bytes).unwrap_or(usize::MAX);
        if bytes == 0 || bytes > ENCODED_BLOCK_BYTES_MAX {
            return Err(PartError::Size(opening.opening.bytes));
        }
        let streams = self.streams.entry(peer).or_default();
        if streams.iter().any(|open| open.id == stream) {
            return Err(PartError::Misplaced { sequence: 0 });
        }
        if streams.len() >= PROPOSAL_STREAMS_PER_PEER_MAX {
            streams.pop_front();
        }
        streams.push_back(Stream { id: stream, opening, parts: BTreeMap::new() });
        Ok(())
    }

    /// Adds a body part, and gives the block when it is the last one that was missing.
    ///
    /// # Errors
    /// [`PartError`]; after [`PartError::Digest`] the stream is forgotten.
    pub fn add(
        &mut self,
        peer: PeerKey,
        stream: &Bytes,
        sequence: u64,
        part: Bytes,
    ) -> Result<Option<Assembled>, PartError> {
        let streams = self.streams.get_mut(&peer).ok_or(PartError::UnknownStream)?;
        let at = streams.iter().position(|open| open.id == *stream).ok_or(PartError::UnknownStream)?;
        let open = streams.get_mut(at).ok_or(PartError::UnknownStream)?;
        let count = open.opening.opening.body_parts();
        let index = usize::try_from(sequence)
            .ok()
            .and_then(|sequence| sequence.checked_sub(1))
            .filter(|index| *index < count)
            .ok_or(PartError::Misplaced { sequence })?;
        let total = usize::try_from(open.opening.opening.bytes).unwrap_or(usize::MAX);
        let expected = (total - index * PROPOSAL_PART_BYTES).min(PROPOSAL_PART_BYTES);
        if part.len() != expected {
            return Err(PartError::PartSize { sequence, found: part.len(), expected });
        }
        open.parts.insert(index, part);
        if open.parts.len() < count {
            self.shrink(ASSEMBLY_BYTES_MAX);
            return Ok(None);
        }
        let Some(done) = streams.remove(at) else { return Err(PartError::UnknownStream) };
        let mut encoded = Vec::with_capacity(total);
        done.parts.values().for_each(|part| encoded.extend_from_slice(part));
        if x0_crypto::blake2b_256(&encoded) != done.opening.opening.digest {
            return Err(PartError::Digest);
        }
        Ok(Some(Assembled { opening: done.opening, encoded: encoded.into() }))
    }

    /// Takes streams from the peer with the most bytes until all together hold no more than `max`.
    fn shrink(&mut self, max: usize) {
        let held = |streams: &VecDeque<Stream>| streams.iter().map(Stream::bytes).sum::<usize>();
        while self.streams.values().map(held).sum::<usize>() > max {
            let Some(streams) = self.streams.values_mut().max_by_key(|streams| held(streams)) else { return };
            streams.pop_front();
        }
    }

    /// Forgets streams of heights up to this one, which are decided.
    pub fn prune(&mut self, decided: u64) {
        for streams in self.streams.values_mut() {
            streams.retain(|stream| stream.opening.opening.height.0 > decided);
        }
        self.streams.retain(|_, streams| !streams.is_empty());
    }

    /// Forgets the streams of a peer that is gone.
    pub fn forget(&mut self, peer: &PeerKey) {
        self.streams.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opening(encoded: &[u8]) -> SignedOpening {
        SignedOpening {
            opening: Opening {
                height: Height(3),
                round: 0,
                proposer: Address([1; 32]),
                block: BlockId([2; 32]),
                bytes: u32::try_from(encoded.len()).unwrap(),
                digest: x0_crypto::blake2b_256(encoded),
            },
            signature: x0_crypto::Signature::from(&[0; x0_crypto::SIGNATURE_BYTES]).into(),
        }
    }

    fn id(tag: u8) -> Bytes {
        Bytes::copy_from_slice(&[tag])
    }

    const PEER: PeerKey = PeerKey([5; 32]);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Parts in any order, repeated or not, give the block exactly once, when the last one is in.
        #[test]
        fn any_order_assembles(length in 1usize..(3 * PROPOSAL_PART_BYTES + 5), seed in any::<u64>()) {
            let encoded: Bytes = (0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
            let mut parts: Vec<_> = body_parts(&encoded).enumerate().collect();
            let shift = (seed % parts.len() as u64) as usize;
            parts.rotate_left(shift);
            let mut assembler = Assembler::default();
            assembler.open(PEER, id(1), opening(&encoded)).unwrap();
            let mut done = None;
            for (at, (index, part)) in parts.iter().enumerate() {
                let Part::Body(bytes) = part else { unreachable!() };
                if at + 1 < parts.len() {
                    prop_assert_eq!(assembler.add(PEER, &id(1), *index as u64 + 1, bytes.clone()).unwrap(), None);
                }
                done = assembler.add(PEER, &id(1), *index as u64 + 1, bytes.clone()).unwrap();
            }
            prop_assert_eq!(done.unwrap().encoded, encoded);
            prop_assert_eq!(assembler.add(PEER, &id(1), 1, id(0)), Err(PartError::UnknownStream));
        }
    }

    #[test]
    fn a_greedy_peer_does_not_push_out_a_modest_one() {
        let block: Bytes = vec![7u8; 4 * PROPOSAL_PART_BYTES].into();
        let (greedy, modest) = (PeerKey([8; 32]), PEER);
        let mut assembler = Assembler::default();
        assembler.open(modest, id(1), opening(&block)).unwrap();
        assembler.add(modest, &id(1), 1, block.slice(..PROPOSAL_PART_BYTES)).unwrap();
        for tag in 0..3 {
            assembler.open(greedy, id(tag), opening(&block)).unwrap();
            for sequence in 1..=3 {
                assembler.add(greedy, &id(tag), sequence, block.slice(..PROPOSAL_PART_BYTES)).unwrap();
            }
        }
        assembler.shrink(5 * PROPOSAL_PART_BYTES);
        let held = |assembler: &Assembler, peer| assembler.streams[&peer].iter().map(Stream::bytes).sum::<usize>();
        assert_eq!(held(&assembler, modest), PROPOSAL_PART_BYTES);
        assert_eq!(held(&assembler, greedy), 3 * PROPOSAL_PART_BYTES);
    }

    #[test]
    fn bounds_hold() {
        let mut assembler = Assembler::default();
        let block: Bytes = vec![7u8; PROPOSAL_PART_BYTES + 1].into();
        let mut large = opening(&block);
        large.opening.bytes = u32::try_from(ENCODED_BLOCK_BYTES_MAX).unwrap() + 1;
        assert!(matches!(assembler.open(PEER, id(0), large), Err(PartError::Size(_))));
        let mut empty = opening(&block);
        empty.opening.bytes = 0;
        assert!(matches!(assembler.open(PEER, id(0), empty), Err(PartError::Size(0))));

        assembler.open(PEER, id(1), opening(&block)).unwrap();
        assert_eq!(assembler.open(PEER, id(1), opening(&block)), Err(PartError::Misplaced { sequence: 0 }));
        for sequence in [0, 3, u64::MAX] {
            assert_eq!(assembler.add(PEER, &id(1), sequence, id(0)), Err(PartError::Misplaced { sequence }));
        }
        assert_eq!(
            assembler.add(PEER, &id(1), 2, id(0).slice(..0)),
            Err(PartError::PartSize { sequence: 2, found: 0, expected: 1 })
        );
        // Another peer's stream of the same name is another stream.
        assert_eq!(assembler.add(PeerKey([6; 32]), &id(1), 2, id(7)), Err(PartError::UnknownStream));
        // The oldest stream of a peer gives way.
        for tag in 0..PROPOSAL_STREAMS_PER_PEER_MAX {
            assembler.open(PEER, id(10 + tag as u8), opening(&block)).unwrap();
        }
        assert_eq!(assembler.add(PEER, &id(1), 2, id(7)), Err(PartError::UnknownStream));
        // Wrong bytes are noticed and end the stream.
        assembler.add(PEER, &id(10), 2, id(8)).unwrap();
        assert_eq!(assembler.add(PEER, &id(10), 1, block.slice(..PROPOSAL_PART_BYTES)), Err(PartError::Digest));
        assembler.prune(3);
        assert_eq!(assembler.add(PEER, &id(11), 2, id(7)), Err(PartError::UnknownStream));
    }
}
