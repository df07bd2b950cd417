//! A look at the engine's write-ahead log before the engine opens it.
//!
//! The log tells a restarted engine what it was locked on, and what it said at its height. The engine takes a
//! damaged length for a torn tail and forgets everything behind it, takes a torn tail with a wrong checksum for a safety failure, and
//! panics at a file that does not begin as a log. Here each of these gets its due:
//!
//! ```text
//!   whole entries, then the end                  nothing to do
//!   whole entries, then something else           cut there, if nothing is missing that this node is known to have said
//!   a log that lacks what this node said         refused: the node may have forgotten what it was locked on
//!   not a log at all                             refused
//! ```
//!
//! What this node said is known from the guard of its key, which is on the disk before the log. The guard's last vote may be
//! missing from the log: a crash may have come between the two, and then nobody has seen it.

use crate::{context::ChainContext, signer::vote_statement, wire::ChainCodec};
use bytes::Bytes;
use malachite_codec::Codec as _;
use malachite_core_consensus::SignedConsensusMsg;
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use x0_sign_guard::{Place, Statement, Step};

/// Bytes of the engine's header: version and height.
const HEADER_BYTES: usize = 12;
/// The version that the engine writes and reads: the last of four bytes.
const VERSION: u8 = 1;
/// Bytes before an entry's content: compression, length, checksum.
const ENTRY_HEAD_BYTES: usize = 13;
/// First byte of an entry with a vote or a proposal. The length of the message follows in eight bytes.
const TAG_MESSAGE: u8 = 1;
const MESSAGE_HEAD_BYTES: usize = 9;
/// A log holds the messages of one height. This is far beyond what the engine's own bounds let it write.
const LOG_BYTES_MAX: u64 = 1 << 30;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The file does not begin as a log.
    #[error(
        "{0} does not begin as a log of this version: the disk lost data; the guard holds what was signed, so once the disk is trusted again, move the file away and start"
    )]
    Damaged(PathBuf),
    /// The log lacks a vote of this node.
    #[error(
        "{path} lacks the vote of this node at {place}, which its guard knows: the disk lost data, and with it perhaps what this node was locked on; wait until the others have decided height {}, then move the file away and start",
        place.height
    )]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The first vote that is missing.
        place: Place,
    },
    /// The file cannot be read or cut.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// How long the log is up to its last whole entry.
///
/// # Errors
/// When the file cannot be read.
pub fn sound_length(log: &mut (impl Read + Seek)) -> io::Result<u64> {
    let mut bytes = Vec::new();
    log.seek(SeekFrom::Start(0))?;
    log.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    let sound = bytes.get(HEADER_BYTES..).map_or(0, |entries| HEADER_BYTES + scan(entries, &[0; 32]).0);
    Ok(u64::try_from(sound).unwrap_or(u64::MAX))
}

/// What is wrong with the bytes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They do not begin as a log.
    NoLog,
    /// The vote of this node at this place is missing.
    Missing(Place),
}

/// How many of these bytes are a log with which a node may start at `height`. `own` is the node's address, `said` are the
/// places at which its guard knows a signature.
///
/// # Errors
/// Each variant of [`Fault`]: then it must not start.
pub fn judge(bytes: &[u8], height: u64, own: &[u8; 32], said: &[Place]) -> Result<usize, Fault> {
    let (at, entries) = match bytes.split_first_chunk::<HEADER_BYTES>() {
        Some(([0, 0, 0, VERSION, at @ ..], entries)) => (Some(u64::from_be_bytes(*at)), entries),
        Some(_) => return Err(Fault::NoLog),
        // Never written to.
        None => (None, &[][..]),
    };
    let (whole, votes) = scan(entries, own);
    let due: BTreeSet<Place> = said
        .iter()
        .copied()
        .filter(|place| place.height == height && matches!(place.step, Step::Prevote | Step::Precommit))
        .collect();
    // A log of another height will be emptied by the engine, so that it holds none of the votes.
    let missing = due.iter().rev().skip(1).rev().find(|place| at != Some(height) || !votes.contains(place));
    match (missing, at) {
        (Some(place), _) => Err(Fault::Missing(*place)),
        (None, Some(_)) => Ok(HEADER_BYTES + whole),
        (None, None) => Ok(0),
    }
}

/// Checks the log, and cuts off what is not whole (see [`judge`]). Blocks on the disk.
///
/// # Errors
/// Each variant of [`WalError`].
pub(crate) fn check(path: &Path, height: u64, own: &[u8; 32], said: &[Place]) -> Result<(), WalError> {
    let io = |source| WalError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(LOG_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?,
        // Moved away by an operator, or the first start.
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(io(cause)),
    };
    let sound = judge(&bytes, height, own, said).map_err(|fault| match fault {
        Fault::NoLog => WalError::Damaged(path.to_owned()),
        Fault::Missing(place) => WalError::Incomplete { path: path.to_owned(), place },
    })?;
    if sound < bytes.len() {
        tracing::warn!(path = %path.display(), bytes = bytes.len() - sound, "cutting a torn tail off the log");
        let file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(u64::try_from(sound).unwrap_or(u64::MAX)).and_then(|()| file.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// How many bytes of whole entries there are, and the places of the votes of `own` in them.
fn scan(entries: &[u8], own: &[u8; 32]) -> (usize, BTreeSet<Place>) {
    let (mut whole, mut votes) = (0, BTreeSet::new());
    while let Some((content, end)) = entry(entries, whole) {
        if let Some(statement) = vote(content)
            && statement.signer() == own
        {
            votes.insert(statement.place());
        }
        whole = end;
    }
    (whole, votes)
}

/// The content of the entry at this place, if it is whole, and where it ends.
fn entry(entries: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (head, rest) = entries.get(at..)?.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
    let [compressed, length @ .., c0, c1, c2, c3] = *head;
    let length = usize::try_from(u64::from_be_bytes(length)).ok()?;
    let content = rest.get(..length)?;
    // Zeros would be an empty entry with the right checksum, which the engine never writes.
    let whole = compressed == 0 && length > 0 && crc32(content) == u32::from_be_bytes([c0, c1, c2, c3]);
    whole.then_some((content, at + ENTRY_HEAD_BYTES + length))
}

fn vote(content: &[u8]) -> Option<Statement> {
    let (head, message) = content.split_first_chunk::<MESSAGE_HEAD_BYTES>()?;
    if head[0] != TAG_MESSAGE {
        return None;
    }
    match ChainCodec.decode(Bytes::copy_from_slice(message)).ok()? {
        SignedConsensusMsg::<ChainContext>::Vote(vote) => Some(vote_statement(&vote.message)?.into()),
        SignedConsensusMsg::Proposal(_) => None,
    }
}

/// The checksum of the log's entries: CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests;
