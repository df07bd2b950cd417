//! Runtime functions by name, for `state_call`.
//!
//! The generated dispatch table is not used, because it decodes parameters without a depth limit
//! and offers functions that nobody outside may call. Each function that is served stands here.

use crate::{Executor, error::ExecutorError, query::run_query};
use bytes::Bytes;
use codec::{Decode, DecodeLimit, Encode};
use frame_support::weights::Weight;
use sp_runtime::transaction_validity::TransactionSource;
use x0_limits::{CALL_DEPTH_MAX, EXTRINSIC_BYTES_MAX};
use x0_runtime::{UncheckedExtrinsic, apis};
use x0_types::{AccountId, Hash};

/// The functions that [`Executor::runtime_call`] serves.
pub const RUNTIME_CALLS: &[&str] = &[
    "Core_version",
    "Metadata_metadata",
    "Metadata_metadata_at_version",
    "Metadata_metadata_versions",
    "AccountNonceApi_account_nonce",
    "TaggedTransactionQueue_validate_transaction",
    "TransactionPaymentApi_query_info",
    "TransactionPaymentApi_query_fee_details",
    "TransactionPaymentApi_query_weight_to_fee",
    "TransactionPaymentApi_query_length_to_fee",
];

/// Parameters are an extrinsic and a few words at most.
const PARAMETERS_BYTES_MAX: usize = EXTRINSIC_BYTES_MAX + 256;
/// Key of the metadata cache for the function without a format argument.
const OLDEST_FORMAT: u32 = 0;

impl Executor {
    /// Calls a runtime function of [`RUNTIME_CALLS`] on the state after block `at`.
    ///
    /// # Errors
    /// [`ExecutorError::UnknownFunction`], [`ExecutorError::Parameters`], and as
    /// [`Executor::with_state`].
    pub fn runtime_call(&self, at: Hash, name: &str, data: &[u8]) -> Result<Vec<u8>, ExecutorError> {
        let Some(name) = RUNTIME_CALLS.iter().copied().find(|known| *known == name) else {
            return Err(ExecutorError::UnknownFunction { name: name.chars().take(128).collect() });
        };
        if data.len() > PARAMETERS_BYTES_MAX {
            let reason = format!("{} bytes, at most {PARAMETERS_BYTES_MAX} are allowed", data.len());
            return Err(ExecutorError::Parameters { name, reason });
        }
        match name {
            "Core_version" => self.call(at, name, data, |()| apis::version().encode()),
            "Metadata_metadata" => {
                parameters::<()>(name, data)?;
                self.metadata(at, OLDEST_FORMAT, || Some(apis::metadata().encode()))
            }
            "Metadata_metadata_at_version" => {
                let format: u32 = parameters(name, data)?;
                self.metadata(at, format, || Some(apis::metadata_at_version(format).encode()))
            }
            "Metadata_metadata_versions" => self.call(at, name, data, |()| apis::metadata_versions().encode()),
            "AccountNonceApi_account_nonce" => {
                self.call(at, name, data, |account: AccountId| apis::account_nonce(account).encode())
            }
            "TaggedTransactionQueue_validate_transaction" => self.call(
                at,
                name,
                data,
                |(source, extrinsic, parent): (TransactionSource, UncheckedExtrinsic, Hash)| {
                    apis::validate_transaction(source, extrinsic, parent).encode()
                },
            ),
            "TransactionPaymentApi_query_info" => {
                self.call(at, name, data, |(extrinsic, length): (UncheckedExtrinsic, u32)| {
                    apis::query_info(extrinsic, length).encode()
                })
            }
            "TransactionPaymentApi_query_fee_details" => {
                self.call(at, name, data, |(extrinsic, length): (UncheckedExtrinsic, u32)| {
                    apis::query_fee_details(extrinsic, length).encode()
                })
            }
            "TransactionPaymentApi_query_weight_to_fee" => {
                self.call(at, name, data, |weight: Weight| apis::query_weight_to_fee(weight).encode())
            }
            "TransactionPaymentApi_query_length_to_fee" => {
                self.call(at, name, data, |length: u32| apis::query_length_to_fee(length).encode())
            }
            _ => Err(ExecutorError::UnknownFunction { name: name.to_owned() }),
        }
    }

    fn call<P: Decode>(
        &self,
        at: Hash,
        name: &'static str,
        data: &[u8],
        function: impl FnOnce(P) -> Vec<u8>,
    ) -> Result<Vec<u8>, ExecutorError> {
        let parameters = parameters(name, data)?;
        let state = self.state_at(at)?;
        run_query(&state.backend, || function(parameters))
    }

    /// Metadata depends on nothing but the rules version and the format, so it is built once.
    fn metadata(
        &self,
        at: Hash,
        format: u32,
        build: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ExecutorError> {
        let state = self.state_at(at)?;
        let version = run_query(&state.backend, || apis::version().spec_version)?;
        if let Some(metadata) = self.0.metadata.lock().get(&(version, format)) {
            return Ok(metadata.to_vec());
        }
        let built = run_query(&state.backend, build)?.unwrap_or_default();
        let served = run_query(&state.backend, apis::metadata_versions)?;
        // Unknown formats are answered and not kept, or a caller could fill the memory with them.
        if format == OLDEST_FORMAT || served.contains(&format) {
            self.0.metadata.lock().insert((version, format), Bytes::from(built.clone()));
        }
        Ok(built)
    }
}

/// Decodes parameters, all bytes of them, with the depth limit.
fn parameters<P: Decode>(name: &'static str, data: &[u8]) -> Result<P, ExecutorError> {
    P::decode_all_with_depth_limit(CALL_DEPTH_MAX, &mut &data[..])
        .map_err(|error| ExecutorError::Parameters { name, reason: error.to_string() })
}
