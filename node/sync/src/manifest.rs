//! What a snapshot consists of.

use codec::{Compact, Decode, Encode};
use x0_crypto::certificate::CERTIFICATE_BYTES_MAX;
use x0_light::{Header, HeaderError};
use x0_limits::{LIGHT_HEADER_BYTES_MAX, SNAPSHOT_ANCESTORS, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNKS_MAX};
use x0_types::Hash;

/// The format that this version writes and reads.
pub const FORMAT_VERSION: u8 = 1;

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The format is unknown.
    #[error("snapshot format {found}; this version knows {FORMAT_VERSION}")]
    Version {
        /// The version in the bytes.
        found: u8,
    },
    /// A field does not decode.
    #[error("the manifest's {0} does not decode")]
    Malformed(&'static str),
    /// The number of chunks does not fit the bytes of the state.
    #[error("{chunks} chunks for a state of {state_bytes} bytes")]
    Chunks {
        /// Chunks named.
        chunks: usize,
        /// Bytes of the state.
        state_bytes: u64,
    },
    /// The header does not decode.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The headers before it are too few, too many, or not those that it follows.
    #[error("the headers before block {0} are not those that it follows")]
    Ancestors(u32),
}

/// A snapshot's table of contents.
///
/// The state stands in it as a stream of trie nodes, depth first ([`x0_storage::StateNodes`]), each
/// with its length in four bytes before it, cut into chunks of [`SNAPSHOT_CHUNK_BYTES`]. The order is
/// given by the state itself, so that all honest nodes make the same chunks of the same height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The chain.
    pub genesis: [u8; 32],
    /// The SCALE header of the snapshot's block.
    pub header: Vec<u8>,
    /// Its commit certificate. Honest nodes may hold different ones.
    pub certificate: Vec<u8>,
    /// The SCALE headers of the [`SNAPSHOT_ANCESTORS`] blocks before it (or as many as there are after
    /// the genesis block), ascending. The header names them by their hashes, so they need no proof.
    pub ancestors: Vec<Vec<u8>>,
    /// Bytes of the stream of nodes.
    pub state_bytes: u64,
    /// BLAKE2b-256 of each chunk.
    pub chunks: Vec<[u8; 32]>,
}

/// Chunks of a state of this size.
#[must_use]
pub const fn chunks_of(state_bytes: u64) -> u64 {
    state_bytes.div_ceil(SNAPSHOT_CHUNK_BYTES as u64)
}

impl Manifest {
    /// Name of the snapshot: the same for all honest nodes. It leaves the certificate out.
    #[must_use]
    pub fn content(&self) -> [u8; 32] {
        let header = x0_crypto::blake2b_256(&self.header);
        let mut parts = vec![FORMAT_VERSION];
        parts.extend_from_slice(&self.genesis);
        parts.extend_from_slice(&header);
        parts.extend_from_slice(&self.state_bytes.to_le_bytes());
        self.chunks.iter().for_each(|chunk| parts.extend_from_slice(chunk));
        x0_crypto::blake2b_256(&parts)
    }

    /// The snapshot's block.
    ///
    /// # Errors
    /// [`ManifestError::Header`].
    pub fn block(&self) -> Result<Header, ManifestError> {
        Ok(Header::decode(&self.header)?)
    }

    /// Place and length of a chunk in the stream; `None` for a chunk that the snapshot does not have.
    #[must_use]
    pub fn place(&self, index: u32) -> Option<(u64, usize)> {
        self.chunks.get(usize::try_from(index).ok()?)?;
        let start = u64::from(index).checked_mul(u64::try_from(SNAPSHOT_CHUNK_BYTES).ok()?)?;
        let left = self.state_bytes.checked_sub(start)?;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK_BYTES);
        Some((start, length))
    }

    /// Whether these bytes are that chunk.
    #[must_use]
    pub fn is_chunk(&self, index: u32, bytes: &[u8]) -> bool {
        let hash = usize::try_from(index).ok().and_then(|index| self.chunks.get(index));
        self.place(index).is_some_and(|(_, length)| length == bytes.len())
            && hash == Some(&x0_crypto::blake2b_256(bytes))
    }

    /// The root of the snapshot's state, out of its header.
    ///
    /// # Errors
    /// [`ManifestError::Header`].
    pub fn state_root(&self) -> Result<Hash, ManifestError> {
        Ok(Hash::from(self.block()?.state_root))
    }

    /// The bytes as they are stored and sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT_VERSION];
        bytes.extend_from_slice(&self.genesis);
        let ancestors = u32::try_from(self.ancestors.len()).unwrap_or(u32::MAX);
        for field in [&self.header, &self.certificate] {
            put_field(&mut bytes, field);
        }
        Compact(ancestors).encode_to(&mut bytes);
        self.ancestors.iter().for_each(|header| put_field(&mut bytes, header));
        bytes.extend_from_slice(&self.state_bytes.to_le_bytes());
        self.chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes
    }

    /// Reads what [`Manifest::encode`] wrote. Every length is checked before memory is taken.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (version, mut rest) = bytes.split_first().ok_or(ManifestError::Malformed("version"))?;
        if *version != FORMAT_VERSION {
            return Err(ManifestError::Version { found: *version });
        }
        let genesis = <[u8; 32]>::decode(&mut rest).map_err(|_| ManifestError::Malformed("genesis hash"))?;
        let header = field(&mut rest, LIGHT_HEADER_BYTES_MAX, "header")?;
        let certificate = field(&mut rest, CERTIFICATE_BYTES_MAX, "certificate")?;
        let count = Compact::<u32>::decode(&mut rest).map_err(|_| ManifestError::Malformed("list of headers"))?.0;
        if count > SNAPSHOT_ANCESTORS {
            return Err(ManifestError::Malformed("list of headers"));
        }
        let ancestors = (0..count)
            .map(|_| field(&mut rest, LIGHT_HEADER_BYTES_MAX, "list of headers"))
            .collect::<Result<_, _>>()?;
        let state_bytes = u64::decode(&mut rest).map_err(|_| ManifestError::Malformed("size"))?;
        let (chunks, tail) = rest.as_chunks::<32>();
        if !tail.is_empty() {
            return Err(ManifestError::Malformed("list of chunks"));
        }
        if chunks.len() > SNAPSHOT_CHUNKS_MAX || u64::try_from(chunks.len()) != Ok(chunks_of(state_bytes)) {
            return Err(ManifestError::Chunks { chunks: chunks.len(), state_bytes });
        }
        let manifest = Self { genesis, header, certificate, ancestors, state_bytes, chunks: chunks.to_vec() };
        manifest.check_ancestors()?;
        Ok(manifest)
    }

    /// The headers before the snapshot's own, checked against it: each names the one before by its hash.
    fn check_ancestors(&self) -> Result<(), ManifestError> {
        let block = self.block()?;
        let wrong = || ManifestError::Ancestors(block.number);
        let expected = SNAPSHOT_ANCESTORS.min(block.number.saturating_sub(1));
        if u32::try_from(self.ancestors.len()) != Ok(expected) {
            return Err(wrong());
        }
        let mut after = block.clone();
        for bytes in self.ancestors.iter().rev() {
            let header = Header::decode(bytes)?;
            if header.hash != after.parent_hash || header.number.checked_add(1) != Some(after.number) {
                return Err(wrong());
            }
            after = header;
        }
        Ok(())
    }
}

fn put_field(bytes: &mut Vec<u8>, field: &[u8]) {
    Compact(u32::try_from(field.len()).unwrap_or(u32::MAX)).encode_to(bytes);
    bytes.extend_from_slice(field);
}

fn field(rest: &mut &[u8], max: usize, name: &'static str) -> Result<Vec<u8>, ManifestError> {
    let length = Compact::<u32>::decode(rest).map_err(|_| ManifestError::Malformed(name))?.0;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > max {
        return Err(ManifestError::Malformed(name));
    }
    let (bytes, tail) = rest.split_at_checked(length).ok_or(ManifestError::Malformed(name))?;
    *rest = tail;
    Ok(bytes.to_vec())
}
