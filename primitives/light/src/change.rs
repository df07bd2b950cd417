//! Proofs that the validator set changed.

use crate::{LightError, set::SET_BYTES_MAX};
use alloc::vec::Vec;
use codec::{Compact, Decode, Encode};
use x0_crypto::certificate::CERTIFICATE_BYTES_MAX;
use x0_limits::LIGHT_HEADER_BYTES_MAX;

/// Largest encoded proof, bytes.
pub const PROOF_BYTES_MAX: usize = LIGHT_HEADER_BYTES_MAX + CERTIFICATE_BYTES_MAX + SET_BYTES_MAX + 3 * 5;

/// What convinces a light client of another validator set.
#[derive(Clone, PartialEq, Eq)]
pub struct SetChangeProof {
    /// The SCALE header that announces the set.
    pub header: Vec<u8>,
    /// The commit certificate of that header.
    pub certificate: Vec<u8>,
    /// The SCALE encoding of the announced set, which decides two heights later.
    pub set: Vec<u8>,
}

impl core::fmt::Debug for SetChangeProof {
    /// Sizes only: a proof has hundreds of kilobytes.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SetChangeProof")
            .field("header_bytes", &self.header.len())
            .field("certificate_bytes", &self.certificate.len())
            .field("set_bytes", &self.set.len())
            .finish()
    }
}

impl SetChangeProof {
    /// The bytes as they travel: three length-prefixed fields.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.header.len() + self.certificate.len() + self.set.len() + 15);
        for field in [&self.header, &self.certificate, &self.set] {
            Compact(u32::try_from(field.len()).unwrap_or(u32::MAX)).encode_to(&mut bytes);
            bytes.extend_from_slice(field);
        }
        bytes
    }

    /// Reads one proof from the front of `input`. Lengths are checked before memory is taken.
    ///
    /// # Errors
    /// [`LightError::Malformed`].
    pub fn read(input: &mut &[u8]) -> Result<Self, LightError> {
        let mut field = |max: usize, name: &'static str| {
            let length = Compact::<u32>::decode(input).map_err(|_| LightError::Malformed(name))?.0;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > max {
                return Err(LightError::Malformed(name));
            }
            let (bytes, rest) = input.split_at_checked(length).ok_or(LightError::Malformed(name))?;
            *input = rest;
            Ok(bytes.to_vec())
        };
        Ok(Self {
            header: field(LIGHT_HEADER_BYTES_MAX, "header")?,
            certificate: field(CERTIFICATE_BYTES_MAX, "certificate")?,
            set: field(SET_BYTES_MAX, "set")?,
        })
    }

    /// Reads exactly one proof.
    ///
    /// # Errors
    /// [`LightError::Malformed`].
    pub fn decode(mut bytes: &[u8]) -> Result<Self, LightError> {
        let proof = Self::read(&mut bytes)?;
        if bytes.is_empty() { Ok(proof) } else { Err(LightError::Malformed("bytes after the proof")) }
    }
}
