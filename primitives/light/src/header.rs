//! Headers as light clients read them.
#![allow(clippy::cast_possible_truncation, reason = "derived codecs cast the indices of variants, which are small")]

use crate::HeaderError;
use alloc::{string::ToString, vec::Vec};
use codec::{Compact, Decode, DecodeAll, Encode};
use x0_limits::LIGHT_HEADER_BYTES_MAX;

/// Engine id of the digest item that announces another validator set.
pub const VALIDATOR_SET_ENGINE: [u8; 4] = *b"x0vs";

/// An item of a header's digest, with the indices of Substrate's `DigestItem`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LogItem {
    /// Data that no engine names.
    #[codec(index = 0)]
    Other(Vec<u8>),
    /// What the runtime tells an engine; the announcement of a set is one.
    #[codec(index = 4)]
    Consensus([u8; 4], Vec<u8>),
    /// What an engine adds after execution.
    #[codec(index = 5)]
    Seal([u8; 4], Vec<u8>),
    /// What an engine tells the runtime; the proposer is one.
    #[codec(index = 6)]
    PreRuntime([u8; 4], Vec<u8>),
    /// The runtime changed.
    #[codec(index = 8)]
    RuntimeEnvironmentUpdated,
}

/// A block's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hash of the header before.
    pub parent_hash: [u8; 32],
    /// The block's height.
    pub number: u32,
    /// Root of the state after the block.
    pub state_root: [u8; 32],
    /// Root of the block's extrinsics.
    pub extrinsics_root: [u8; 32],
    /// The digest.
    pub logs: Vec<LogItem>,
    /// BLAKE2b-256 of the encoded header: the block's hash.
    pub hash: [u8; 32],
}

impl Header {
    /// Reads a SCALE header of this chain.
    ///
    /// # Errors
    /// [`HeaderError::TooLong`], [`HeaderError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > LIGHT_HEADER_BYTES_MAX {
            return Err(HeaderError::TooLong { bytes: bytes.len(), max: LIGHT_HEADER_BYTES_MAX });
        }
        type Fields = ([u8; 32], Compact<u32>, [u8; 32], [u8; 32], Vec<LogItem>);
        let (parent_hash, number, state_root, extrinsics_root, logs) =
            Fields::decode_all(&mut &bytes[..]).map_err(|error| HeaderError::Malformed(error.to_string()))?;
        let hash = x0_crypto::blake2b_256(bytes);
        Ok(Self { parent_hash, number: number.0, state_root, extrinsics_root, logs, hash })
    }

    /// The hash of the validator set that decides two heights later, when this header announces one.
    ///
    /// # Errors
    /// [`HeaderError::RepeatedAnnouncement`], [`HeaderError::BadAnnouncement`].
    pub fn announced_set(&self) -> Result<Option<[u8; 32]>, HeaderError> {
        let mut announced = self.logs.iter().filter_map(|item| match item {
            LogItem::Consensus(engine, bytes) if *engine == VALIDATOR_SET_ENGINE => Some(bytes),
            _ => None,
        });
        match (announced.next(), announced.next()) {
            (None, _) => Ok(None),
            (Some(bytes), None) => <[u8; 32]>::try_from(bytes.as_slice())
                .map(Some)
                .map_err(|_| HeaderError::BadAnnouncement { number: self.number, bytes: bytes.len() }),
            (Some(_), Some(_)) => Err(HeaderError::RepeatedAnnouncement(self.number)),
        }
    }
}
