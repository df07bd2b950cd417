//! How an undecided block lies in the database: its signed opening, when it came with one, and its bytes.

use crate::{chain::StoredBlock, parts::SignedOpening};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A stored block that does not read back.
#[derive(Debug, thiserror::Error)]
#[error("a stored block does not read back: {0}")]
pub(crate) struct EnvelopeError(String);

/// An undecided block with what its proposer said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// The signed opening; `None` for own blocks, whose opening the guard repeats, and for synced blocks.
    pub opening: Option<SignedOpening>,
    /// The SCALE block.
    pub encoded: Bytes,
}

impl Envelope {
    pub(crate) fn write(&self) -> Result<Bytes, EnvelopeError> {
        let opening = match &self.opening {
            Some(opening) => borsh::to_vec(opening).map_err(|error| EnvelopeError(error.to_string()))?,
            None => Vec::new(),
        };
        let length = u32::try_from(opening.len()).map_err(|error| EnvelopeError(error.to_string()))?;
        let mut bytes = BytesMut::with_capacity(4 + opening.len() + self.encoded.len());
        bytes.put_u32(length);
        bytes.put_slice(&opening);
        bytes.put_slice(&self.encoded);
        Ok(bytes.freeze())
    }

    pub(crate) fn read(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        let mut rest = bytes.clone();
        if rest.len() < 4 {
            return Err(EnvelopeError("too short".into()));
        }
        let length = usize::try_from(rest.get_u32()).unwrap_or(usize::MAX);
        if length > rest.len() {
            return Err(EnvelopeError("the opening is longer than the record".into()));
        }
        let opening = rest.split_to(length);
        let opening = if opening.is_empty() {
            None
        } else {
            Some(borsh::from_slice(&opening).map_err(|error| EnvelopeError(error.to_string()))?)
        };
        Ok(Self { opening, encoded: rest })
    }

    pub(crate) fn into_stored(self, round: u32, hash: [u8; 32], valid: bool) -> Result<StoredBlock, EnvelopeError> {
        Ok(StoredBlock { round, hash, bytes: self.write()?, valid })
    }
}
