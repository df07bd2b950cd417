//! What FRAME's executive does with one transaction, without its detours.
//!
//! `frame_executive` takes a decoded extrinsic, encodes it, decodes it again and works on the copy, so that the
//! bytes that count are the bytes that are checked. Here they are the same already: an extrinsic enters through
//! [`crate::decode_extrinsic`] only, which compares its encoding with the bytes that came. With 5 kB of key and
//! signature in every transaction the detour is a measurable part of its cost. Tests hold both against each other.

use codec::Encode;
use frame_support::{
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::IsInherent,
};
use frame_system::ChainContext;
use sp_runtime::{
    ApplyExtrinsicResult,
    generic::Preamble,
    traits::{Applyable, Checkable, TransactionExtension, Verify},
    transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidity},
};
use x0_runtime::{Executive, Runtime, System, UncheckedExtrinsic};
use x0_types::Hash;

/// Payloads longer than this are signed as their hash (a rule of Substrate's transaction format).
const PAYLOAD_BYTES_MAX: usize = 256;

/// Judges a transaction for the block after `head`; inside externalities.
///
/// # Errors
/// Why it cannot enter that block.
pub(crate) fn validate(
    source: TransactionSource,
    extrinsic: UncheckedExtrinsic,
    bytes: usize,
    head: Hash,
) -> TransactionValidity {
    System::initialize(&System::block_number().saturating_add(1), &head, &sp_runtime::Digest::default());
    let checked = extrinsic.check(&ChainContext::<Runtime>::default())?;
    let info = checked.get_dispatch_info();
    if info.class == DispatchClass::Mandatory {
        return Err(InvalidTransaction::MandatoryValidation.into());
    }
    checked.validate::<Runtime>(source, &info, bytes)
}

/// Applies an extrinsic, whose encoding is `encoded`, to the block at hand; inside externalities.
///
/// # Errors
/// Why it cannot be in this block. What it wrote before the error is for the caller to roll back.
pub(crate) fn apply(extrinsic: UncheckedExtrinsic, encoded: &[u8]) -> ApplyExtrinsicResult {
    let is_inherent = <Runtime as IsInherent<UncheckedExtrinsic>>::is_inherent(&extrinsic);
    let checked = extrinsic.check(&ChainContext::<Runtime>::default())?;
    let info = checked.get_dispatch_info();
    if !is_inherent && !System::inherents_applied() {
        Executive::inherents_applied();
    }
    System::note_extrinsic(encoded.to_vec());
    let result = checked.apply::<Runtime>(&info, encoded.len())?;
    if result.is_err() && info.class == DispatchClass::Mandatory {
        return Err(InvalidTransaction::BadMandatory.into());
    }
    System::note_applied_extrinsic(&result, info);
    Ok(result.map(|_| ()).map_err(|failure| failure.error))
}

/// Whether the signature of a transaction holds on the state at hand; inside externalities. Leaves the extrinsic
/// where it is: `Checkable::check` would take it apart, and copying it costs more than reading it.
pub(crate) fn signature_holds(extrinsic: &UncheckedExtrinsic) -> bool {
    let Preamble::Signed(sp_runtime::MultiAddress::Id(signer), signature, extension) = &extrinsic.preamble else {
        return false;
    };
    let Ok(implicit) = extension.implicit() else { return false };
    let mut payload = Vec::with_capacity(2 * PAYLOAD_BYTES_MAX);
    match &extrinsic.encoded_call {
        Some(call) => payload.extend_from_slice(call),
        None => extrinsic.function.encode_to(&mut payload),
    }
    extension.encode_to(&mut payload);
    implicit.encode_to(&mut payload);
    if payload.len() > PAYLOAD_BYTES_MAX {
        payload = sp_io::hashing::blake2_256(&payload).to_vec();
    }
    signature.verify(payload.as_slice(), signer)
}
