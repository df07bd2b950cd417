//! What the outside may ask of the runtime.
//!
//! Each function exists twice: as a plain typed function for the node's own use, and in the runtime
//! API traits, from which the metadata tells wallets the names and types. The node never dispatches
//! by name through the generated table, because that decodes parameters without a depth limit; the
//! executor has a router over the functions that it serves.

mod declared;

pub use declared::RUNTIME_API_VERSIONS;

use crate::{AccountId, Balance, Executive, Nonce, Runtime, System, TransactionPayment, UncheckedExtrinsic};
use frame_support::weights::Weight;
use pallet_transaction_payment::FeeDetails;
use pallet_transaction_payment_rpc_runtime_api::RuntimeDispatchInfo;
use sp_core::OpaqueMetadata;
use sp_runtime::{
    generic::Preamble,
    transaction_validity::{TransactionSource, TransactionValidity},
};
use sp_version::RuntimeVersion;

/// The version of the rules as of the state at hand.
#[must_use]
pub fn version() -> RuntimeVersion {
    <crate::version::ActiveVersion as frame_support::traits::Get<RuntimeVersion>>::get()
}

/// The metadata in the oldest format that clients still ask for by `state_getMetadata`.
#[must_use]
pub fn metadata() -> OpaqueMetadata {
    OpaqueMetadata::new(Runtime::metadata().into())
}

/// The metadata in a given format.
#[must_use]
pub fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
    Runtime::metadata_at_version(version)
}

/// The metadata formats on offer.
#[must_use]
pub fn metadata_versions() -> Vec<u32> {
    Runtime::metadata_versions()
}

/// Whether a transaction could enter the next block.
///
/// # Errors
/// Why it could not.
pub fn validate_transaction(
    source: TransactionSource,
    transaction: UncheckedExtrinsic,
    parent: x0_types::Hash,
) -> TransactionValidity {
    Executive::validate_transaction(source, transaction, parent)
}

/// The next nonce of an account.
#[must_use]
pub fn account_nonce(account: AccountId) -> Nonce {
    System::account_nonce(account)
}

/// Weight, class and fee of a transaction of this length.
///
/// Wallets estimate fees with a placeholder signature, which is 5.2 kB shorter than a real one; the
/// missing length is added here, so that the estimate is what will be charged.
#[must_use]
pub fn query_info(transaction: UncheckedExtrinsic, length: u32) -> RuntimeDispatchInfo<Balance> {
    let length = real_length(&transaction, length);
    TransactionPayment::query_info(transaction, length)
}

/// The parts of a transaction's fee; lengths as in [`query_info`].
#[must_use]
pub fn query_fee_details(transaction: UncheckedExtrinsic, length: u32) -> FeeDetails<Balance> {
    let length = real_length(&transaction, length);
    TransactionPayment::query_fee_details(transaction, length)
}

/// The fee of a weight.
#[must_use]
pub fn query_weight_to_fee(weight: Weight) -> Balance {
    TransactionPayment::weight_to_fee(weight)
}

/// The fee of a length in bytes.
#[must_use]
pub fn query_length_to_fee(length: u32) -> Balance {
    TransactionPayment::length_to_fee(length)
}

fn real_length(transaction: &UncheckedExtrinsic, length: u32) -> u32 {
    match &transaction.preamble {
        Preamble::Signed(_, signature, _) => length.saturating_add(signature.missing_bytes()),
        _ => length,
    }
}
