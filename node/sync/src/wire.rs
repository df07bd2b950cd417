//! Questions and answers of state sync. Each question has a number, and its answer repeats it.
#![allow(clippy::cast_possible_truncation, reason = "derived codecs cast the indices of variants, which are small")]

use crate::manifest::{Manifest, ManifestError};
use bytes::Bytes;
use codec::{Compact, Decode, DecodeAll, Encode};
use x0_light::SetChangeProof;
use x0_limits::{SET_CHANGES_PAGE_MAX, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_OFFERS_MAX};

/// What a restoring node asks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Question {
    /// Which snapshots are there?
    Offers,
    /// Changes of the validator set after one height, up to another.
    SetChanges {
        /// Only changes announced after this block.
        after: u32,
        /// Only changes announced up to this block.
        last: u32,
    },
    /// The manifest of a snapshot.
    Manifest {
        /// Its name.
        content: [u8; 32],
    },
    /// A chunk of a snapshot.
    Chunk {
        /// The snapshot's name.
        content: [u8; 32],
        /// The chunk.
        index: u32,
    },
}

/// A snapshot that a node offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Offer {
    /// Height of its block.
    pub number: u32,
    /// Its name ([`Manifest::content`]).
    pub content: [u8; 32],
    /// Bytes of its state.
    pub state_bytes: u64,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// The snapshot is not there any more.
    Unknown,
    /// Too many questions wait; ask later.
    Busy,
}

/// What a serving node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The snapshots that are there.
    Offers(Vec<Offer>),
    /// Changes of the validator set in the order of heights.
    SetChanges {
        /// The changes.
        proofs: Vec<SetChangeProof>,
        /// Whether there are more after the last one.
        more: bool,
    },
    /// The manifest of a snapshot.
    Manifest(Manifest),
    /// A chunk of a snapshot.
    Chunk(Bytes),
    /// None of these.
    Refused(Refusal),
}

/// Why a frame of state sync is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field does not decode.
    #[error("{0} does not decode")]
    Malformed(&'static str),
    /// A list or a chunk is longer than allowed.
    #[error("{found} {what}; {max} are allowed")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The bytes of a question.
#[must_use]
pub fn encode_question(id: u32, question: &Question) -> Bytes {
    Bytes::from((id, question).encode())
}

/// Reads a question and its number.
///
/// # Errors
/// [`WireError::Malformed`].
pub fn decode_question(bytes: &[u8]) -> Result<(u32, Question), WireError> {
    <(u32, Question)>::decode_all(&mut &bytes[..]).map_err(|_| WireError::Malformed("question"))
}

fn count(length: usize) -> Compact<u32> {
    Compact(u32::try_from(length).unwrap_or(u32::MAX))
}

/// The bytes of an answer.
#[must_use]
pub fn encode_answer(id: u32, answer: &Answer) -> Bytes {
    let mut bytes = id.encode();
    match answer {
        Answer::Offers(offers) => {
            bytes.push(0);
            offers.encode_to(&mut bytes);
        }
        Answer::SetChanges { proofs, more } => {
            bytes.push(1);
            more.encode_to(&mut bytes);
            count(proofs.len()).encode_to(&mut bytes);
            proofs.iter().for_each(|proof| bytes.extend_from_slice(&proof.encode()));
        }
        Answer::Manifest(manifest) => {
            bytes.push(2);
            bytes.extend_from_slice(&manifest.encode());
        }
        Answer::Chunk(chunk) => {
            bytes.push(3);
            bytes.extend_from_slice(chunk);
        }
        Answer::Refused(refusal) => {
            bytes.push(4);
            refusal.encode_to(&mut bytes);
        }
    }
    Bytes::from(bytes)
}

/// Reads the number of the question that a frame answers.
///
/// # Errors
/// [`WireError::Malformed`].
pub fn answered_id(bytes: &[u8]) -> Result<u32, WireError> {
    bytes.first_chunk::<4>().map(|id| u32::from_le_bytes(*id)).ok_or(WireError::Malformed("answer"))
}

fn list_length(rest: &mut &[u8], what: &'static str, max: usize) -> Result<usize, WireError> {
    let found = Compact::<u32>::decode(rest).map_err(|_| WireError::Malformed(what))?.0;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > max { Err(WireError::TooMany { what, found, max }) } else { Ok(found) }
}

/// Reads an answer. Lists are bounded before memory is taken; a chunk stays a slice of the frame.
///
/// # Errors
/// [`WireError`].
pub fn decode_answer(frame: &Bytes) -> Result<(u32, Answer), WireError> {
    let id = answered_id(frame)?;
    let tag = frame.get(4).ok_or(WireError::Malformed("answer"))?;
    let body = frame.slice(5..);
    let mut rest: &[u8] = &body;
    let answer = match tag {
        0 => {
            let length = list_length(&mut rest, "offers", SNAPSHOT_OFFERS_MAX)?;
            let offers = (0..length).map(|_| Offer::decode(&mut rest)).collect::<Result<_, _>>();
            Answer::Offers(offers.map_err(|_| WireError::Malformed("offer"))?)
        }
        1 => {
            let more = bool::decode(&mut rest).map_err(|_| WireError::Malformed("set changes"))?;
            let length = list_length(&mut rest, "set changes", SET_CHANGES_PAGE_MAX)?;
            let proofs = (0..length).map(|_| SetChangeProof::read(&mut rest)).collect::<Result<_, _>>();
            Answer::SetChanges { proofs: proofs.map_err(|_| WireError::Malformed("set change"))?, more }
        }
        2 => return Ok((id, Answer::Manifest(Manifest::decode(rest)?))),
        3 if body.len() > SNAPSHOT_CHUNK_BYTES => {
            let found = body.len();
            return Err(WireError::TooMany { what: "bytes of a chunk", found, max: SNAPSHOT_CHUNK_BYTES });
        }
        3 => return Ok((id, Answer::Chunk(body))),
        4 => Answer::Refused(Refusal::decode(&mut rest).map_err(|_| WireError::Malformed("refusal"))?),
        _ => return Err(WireError::Malformed("kind of answer")),
    };
    if rest.is_empty() { Ok((id, answer)) } else { Err(WireError::Malformed("end of the answer")) }
}
