//! From bytes to a transaction: the first thing that happens to anything that comes from outside.

use crate::error::ExtrinsicError;
use bytes::Bytes;
use codec::{DecodeLimit, Encode};
use sp_runtime::{MultiAddress, generic::Preamble};
use x0_limits::{CALL_DEPTH_MAX, EXTRINSIC_BYTES_MAX};
use x0_runtime::UncheckedExtrinsic;
use x0_types::{AccountId, Balance, Hash, Nonce};

/// The hash under which a transaction is known: BLAKE2b-256 of its bytes, length prefix included.
#[must_use]
pub fn extrinsic_hash(bytes: &[u8]) -> Hash {
    Hash::from(sp_io::hashing::blake2_256(bytes))
}

/// [`extrinsic_hash`] of each, in the same order; faster than one after the other.
#[must_use]
pub fn extrinsic_hashes<B: AsRef<[u8]>>(extrinsics: &[B]) -> Vec<Hash> {
    let views: Vec<&[u8]> = extrinsics.iter().map(AsRef::as_ref).collect();
    x0_runtime::hashing::blake2_256_many(&views).into_iter().map(Hash::from).collect()
}

/// Decodes one extrinsic from its bytes (with the length prefix, as it stands in a block).
///
/// # Errors
/// [`ExtrinsicError::TooLarge`], [`ExtrinsicError::Undecodable`] (also for calls that nest too deep
/// and for bytes that are left over) and [`ExtrinsicError::NotCanonical`].
pub fn decode_extrinsic(bytes: &[u8]) -> Result<UncheckedExtrinsic, ExtrinsicError> {
    if bytes.len() > EXTRINSIC_BYTES_MAX {
        return Err(ExtrinsicError::TooLarge { bytes: bytes.len(), max: EXTRINSIC_BYTES_MAX });
    }
    let extrinsic = decode_admitted(bytes)?;
    // The decoded value keeps the bytes of its call as they came, so the call is compared through
    // its own encoding.
    if !is_canonical(&extrinsic, bytes) {
        return Err(ExtrinsicError::NotCanonical);
    }
    Ok(extrinsic)
}

/// Decodes an extrinsic whose bytes went through [`decode_extrinsic`] before.
pub(crate) fn decode_admitted(bytes: &[u8]) -> Result<UncheckedExtrinsic, ExtrinsicError> {
    UncheckedExtrinsic::decode_all_with_depth_limit(CALL_DEPTH_MAX, &mut &bytes[..])
        .map_err(|error| ExtrinsicError::Undecodable { reason: error.to_string() })
}

fn is_canonical(extrinsic: &UncheckedExtrinsic, bytes: &[u8]) -> bool {
    let mut inner = Vec::with_capacity(bytes.len());
    extrinsic.preamble.encode_to(&mut inner);
    extrinsic.function.encode_to(&mut inner);
    let prefix = codec::Compact(u32::try_from(inner.len()).unwrap_or(u32::MAX)).encode();
    bytes.strip_prefix(prefix.as_slice()).is_some_and(|rest| rest == inner)
}

/// A signed transaction: its decoded form, the hash of its bytes, signer, nonce and tip.
#[derive(Debug)]
pub struct Signed {
    pub(crate) extrinsic: UncheckedExtrinsic,
    pub(crate) hash: Hash,
    pub(crate) sender: AccountId,
    pub(crate) nonce: Nonce,
    pub(crate) tip: Balance,
}

impl Signed {
    /// Decodes what a user may send: a signed transaction whose signer is an account id. `hash` is
    /// [`extrinsic_hash`] of the bytes.
    ///
    /// # Errors
    /// As [`decode_extrinsic`]; [`ExtrinsicError::NotSigned`] and [`ExtrinsicError::SignerForm`].
    pub fn decode_hashed(bytes: &[u8], hash: Hash) -> Result<Self, ExtrinsicError> {
        let extrinsic = decode_extrinsic(bytes)?;
        let (sender, nonce, tip) = match &extrinsic.preamble {
            Preamble::Signed(MultiAddress::Id(sender), _, extension) => {
                (sender.clone(), extension.5.0, extension.7.tip())
            }
            Preamble::Signed(..) => return Err(ExtrinsicError::SignerForm),
            _ => return Err(ExtrinsicError::NotSigned),
        };
        Ok(Self { extrinsic, hash, sender, nonce, tip })
    }
}

/// Encodes an extrinsic as it stands in a block.
pub(crate) fn encode(extrinsic: &UncheckedExtrinsic) -> Bytes {
    Bytes::from(extrinsic.encode())
}
