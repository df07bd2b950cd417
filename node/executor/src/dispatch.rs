//! What FRAME's executive does with one transaction, without its detours.
//!
//! `frame_executive` takes a decoded extrinsic, encodes it, decodes it again and works on the copy, so that the
//! bytes that count are the bytes that are checked. Here they are the same already: an extrinsic enters through
//! [`crate::decode_extrinsic`] only, which compares its encoding with the bytes that came. With 5 kB of key and
//! signature in every transaction the detour is a measurable part of its cost.
//!
//! FRAME also keeps each extrinsic of the block at hand in the state, to hash them when the block ends, which copies
//! each of them four times. They are at hand here, so their root is computed from them: [`extrinsics_root`]. Tests hold
//! all of this against the executive.

use bytes::Bytes;
use codec::Encode;
use frame_support::{
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::IsInherent,
};
use frame_system::ChainContext;
use sp_core::storage::StateVersion;
use sp_runtime::{
    ApplyExtrinsicResult, MultiAddress,
    generic::{Era, Preamble},
    traits::{Applyable, BlakeTwo256, Checkable, TransactionExtension},
    transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidity, TransactionValidityError},
};
use sp_trie::{LayoutV0, LayoutV1, TrieConfiguration as _};
use x0_runtime::{Executive, Runtime, System, TxExtension, UncheckedExtrinsic, VERSION, preverify::Candidate};
use x0_storage::Head;
use x0_types::Hash;

/// Payloads longer than this are signed as their hash (a rule of Substrate's transaction format).
const PAYLOAD_BYTES_MAX: usize = 256;

/// Makes the state at hand that in which transactions of the block after `head` are judged; inside externalities.
pub(crate) fn begin(head: &Head) {
    System::initialize(&head.number.saturating_add(1), &head.hash, &sp_runtime::Digest::default());
}

/// Judges a transaction of `bytes` bytes after [`begin`]; inside externalities.
///
/// # Errors
/// Why it cannot enter that block.
pub(crate) fn validate(source: TransactionSource, extrinsic: UncheckedExtrinsic, bytes: usize) -> TransactionValidity {
    let checked = extrinsic.check(&ChainContext::<Runtime>::default())?;
    let info = checked.get_dispatch_info();
    if info.class == DispatchClass::Mandatory {
        return Err(InvalidTransaction::MandatoryValidation.into());
    }
    checked.validate::<Runtime>(source, &info, bytes)
}

/// Applies an extrinsic of `bytes` bytes to the block at hand; inside externalities.
///
/// # Errors
/// Why it cannot be in this block. What it wrote before the error is for the caller to roll back.
pub(crate) fn apply(extrinsic: UncheckedExtrinsic, bytes: usize) -> ApplyExtrinsicResult {
    let is_inherent = <Runtime as IsInherent<UncheckedExtrinsic>>::is_inherent(&extrinsic);
    let checked = extrinsic.check(&ChainContext::<Runtime>::default())?;
    let info = checked.get_dispatch_info();
    if !is_inherent && !System::inherents_applied() {
        Executive::inherents_applied();
    }
    let result = checked.apply::<Runtime>(&info, bytes)?;
    if result.is_err() && info.class == DispatchClass::Mandatory {
        return Err(InvalidTransaction::BadMandatory.into());
    }
    System::note_applied_extrinsic(&result, info);
    Ok(result.map(|_| ()).map_err(|failure| failure.error))
}

/// Root of the trie of a block's extrinsics by their index, as the header names it.
pub(crate) fn extrinsics_root(body: &[Bytes]) -> Hash {
    match VERSION.extrinsics_root_state_version() {
        StateVersion::V0 => LayoutV0::<BlakeTwo256>::ordered_trie_root(body),
        StateVersion::V1 => LayoutV1::<BlakeTwo256>::ordered_trie_root(body),
    }
}

/// What transactions sign without carrying it (versions, genesis block, the block that their era begins with), as of one
/// state. It is the same for all transactions of an era, and takes four reads of the state to make.
#[derive(Default)]
pub(crate) struct Implicits(Vec<(Era, Vec<u8>)>);

/// Eras that are kept: a transaction that lives for an era of its own takes the reads.
const IMPLICITS_MAX: usize = 8;

impl Implicits {
    fn append(&mut self, extension: &TxExtension, payload: &mut Vec<u8>) -> Result<(), TransactionValidityError> {
        let era = extension.4.0;
        if let Some((_, implicit)) = self.0.iter().find(|(known, _)| *known == era) {
            payload.extend_from_slice(implicit);
            return Ok(());
        }
        let implicit = extension.implicit()?.encode();
        payload.extend_from_slice(&implicit);
        if self.0.len() < IMPLICITS_MAX {
            self.0.push((era, implicit));
        }
        Ok(())
    }
}

/// What the signer of a transaction has signed, if it was made for the state at hand; inside externalities. Leaves the
/// extrinsic where it is: `Checkable::check` would take it apart, and copying it costs more than reading it.
///
/// # Errors
/// What `Checkable::check` says before it looks at the signature.
pub(crate) fn candidate<'a>(
    extrinsic: &'a UncheckedExtrinsic,
    hash: Hash,
    implicits: &mut Implicits,
) -> Result<Option<Candidate<'a>>, TransactionValidityError> {
    let Preamble::Signed(MultiAddress::Id(signer), signature, extension) = &extrinsic.preamble else {
        return Ok(None);
    };
    let mut payload = Vec::with_capacity(2 * PAYLOAD_BYTES_MAX);
    match &extrinsic.encoded_call {
        Some(call) => payload.extend_from_slice(call),
        None => extrinsic.function.encode_to(&mut payload),
    }
    extension.encode_to(&mut payload);
    implicits.append(extension, &mut payload)?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        payload = sp_io::hashing::blake2_256(&payload).to_vec();
    }
    Ok(Some(Candidate { extrinsic: hash, signature, signer, payload }))
}
