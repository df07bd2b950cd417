//! Transactions before and after their signature, built without a node.
//!
//! ```text
//!   Call --online: nonce, era, versions--> UnsignedTransaction --Signer--> SignedTransaction --> node
//!                                             |  JSON file  ^
//!                                             +-> offline --+
//! ```

use scale_value::{Composite, Value};
use serde::{Deserialize, Serialize};
use subxt::{
    ArcMetadata, OfflineClient,
    config::DefaultExtrinsicParamsBuilder,
    transactions::DynamicPayload,
    utils::{AccountId32, H256},
};
use x0_limits::{BLOCK_HASH_COUNT, BLOCK_INTERVAL_BUSY_MS, TRANSACTION_LIFE_MS};
use x0_rpc_types::{Amount, HexBytes};
use x0_types::{AccountId, Hash, Nonce};

use crate::describe::{Amounts, describe_call};
use crate::{
    ClientError,
    call::Call,
    chain::{ChainConfig, ChainSignature},
    guard::check_call,
    pins::check_bytes,
    signer::{SignatureForm, Signer},
};

/// When a transaction stops being valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Era {
    /// Blocks for which it is valid: a power of two from 4 to 65,536.
    pub period_blocks: u64,
    /// The block at which it begins.
    pub birth_block: u64,
    /// That block's hash, which binds the transaction to this history.
    pub birth_hash: Hash,
}

impl Era {
    /// Blocks of validity that last at least [`TRANSACTION_LIFE_MS`] at the busiest pace, as a power
    /// of two, and never more than the chain remembers.
    #[must_use]
    pub const fn period_blocks() -> u64 {
        let wanted = (TRANSACTION_LIFE_MS / BLOCK_INTERVAL_BUSY_MS).next_power_of_two();
        if wanted > BLOCK_HASH_COUNT as u64 { BLOCK_HASH_COUNT as u64 } else { wanted }
    }

    /// The block at which an era of [`Era::period_blocks`] begins when `head` is the last block.
    ///
    /// The wire form of long eras rounds the beginning down (to a 4,096th of the period), and the
    /// chain looks up the hash of the rounded block: signing any other hash makes the transaction
    /// invalid.
    #[must_use]
    pub const fn birth_block(head: u64) -> u64 {
        let step = Self::period_blocks() >> 12;
        let step = if step == 0 { 1 } else { step };
        head - head % step
    }

    /// Last block in which the transaction can stand.
    #[must_use]
    pub const fn last_block(&self) -> u64 {
        self.birth_block.saturating_add(self.period_blocks).saturating_sub(1)
    }
}

/// A transaction that lacks only its signature. Its JSON form travels to a machine without network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnsignedTransaction {
    /// The chain.
    pub genesis_hash: Hash,
    /// The runtime's version.
    pub spec_version: u32,
    /// The version of the transaction format.
    pub transaction_version: u32,
    /// Who signs and pays.
    pub account: AccountId,
    /// Which of the account's transactions this is.
    pub nonce: Nonce,
    /// Extra payment for priority, base units.
    pub tip: Amount,
    /// Validity; absent means for ever.
    pub era: Option<Era>,
    /// The form of the signature.
    pub form: SignatureForm,
    /// The call, SCALE.
    pub call: HexBytes,
}

/// A transaction as the chain reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedTransaction {
    /// The chain that it is for.
    pub genesis_hash: Hash,
    /// BLAKE2b-256 of the bytes: its name.
    pub hash: Hash,
    /// The encoded extrinsic.
    pub bytes: HexBytes,
}

impl SignedTransaction {
    /// Wraps encoded bytes.
    #[must_use]
    pub fn from_bytes(genesis_hash: Hash, bytes: Vec<u8>) -> Self {
        Self { genesis_hash, hash: Hash::from(x0_crypto::blake2b_256(&bytes)), bytes: HexBytes(bytes) }
    }
}

/// The chain's description of itself at one version: what building, signing and reading need.
#[derive(Clone, Debug)]
pub struct ChainDescription {
    /// The chain.
    pub genesis_hash: Hash,
    /// The runtime's version.
    pub spec_version: u32,
    /// The version of the transaction format.
    pub transaction_version: u32,
    /// Calls, types and errors by name.
    pub metadata: ArcMetadata,
}

impl ChainDescription {
    /// Reads a description that was written down: the metadata as [`crate::Client::metadata_bytes`]
    /// gives it.
    ///
    /// # Errors
    /// [`ClientError::Metadata`] for bytes that are none.
    pub fn from_bytes(
        genesis_hash: Hash,
        spec_version: u32,
        transaction_version: u32,
        metadata: &[u8],
    ) -> Result<Self, ClientError> {
        let metadata = subxt::Metadata::decode_from(metadata)
            .map_err(|error| ClientError::Metadata { what: "offline work".into(), reason: error.to_string() })?;
        Ok(Self { genesis_hash, spec_version, transaction_version, metadata: metadata.arc() })
    }

    /// Encodes a call.
    ///
    /// # Errors
    /// [`ClientError::Metadata`] when the chain describes a call otherwise than this program knows it,
    /// [`ClientError::Encode`] when this chain has no such call or its arguments do not fit.
    pub fn encode_call(&self, call: &Call) -> Result<Vec<u8>, ClientError> {
        let failed =
            |reason: String| ClientError::Encode { what: format!("{}.{}", call.pallet(), call.name()), reason };
        if let Some(bytes) = call.as_encoded() {
            let read = describe_call(bytes, &self.metadata, Amounts::Base)?;
            return match (read.pallet.as_str(), read.call.as_str()) {
                name if name == (call.pallet(), call.name()) => Ok(bytes.to_vec()),
                (pallet, name) => Err(failed(format!("the chain reads it as {pallet}.{name}"))),
            };
        }
        let at = self.offline().map_err(|error| failed(error.to_string()))?;
        let encoded = at.transactions().call_data(&call.payload()).map_err(|error| failed(error.to_string()))?;
        if let Some(expected) = call.expected() {
            check_bytes(&encoded, expected, call.pallet(), call.name())?;
        }
        Ok(encoded)
    }

    /// A call's bytes as a value, for use inside another call.
    ///
    /// # Errors
    /// [`ClientError::UnsafeCall`] for bytes that break a bound, [`ClientError::Decode`] for bytes that do not
    /// read as a call.
    pub fn call_value(&self, call: &[u8]) -> Result<Value<()>, ClientError> {
        let call_type = self.metadata.outer_enums().call_enum_ty();
        crate::guard::check_call(call, call_type, self.metadata.types())?;
        scale_value::scale::decode_as_type(&mut &*call, call_type, self.metadata.types())
            .map(Value::remove_context)
            .map_err(|error| ClientError::Decode { what: "the call".into(), reason: error.to_string() })
    }

    /// The bytes that the account's key signs (their BLAKE2b-256 when they are longer than 256).
    ///
    /// # Errors
    /// [`ClientError::UnsafeCall`], [`ClientError::Encode`], or [`ClientError::OtherChain`] when the
    /// transaction belongs to another chain or version than this description.
    pub fn payload(&self, transaction: &UnsignedTransaction) -> Result<Vec<u8>, ClientError> {
        self.with_signable(transaction, |signable| signable.signer_payload().map_err(|error| encode_error(&error)))
    }

    /// Signs the transaction. Blocks for about 100 us.
    ///
    /// # Errors
    /// [`ClientError::Key`] when the signer is not the transaction's account, and those of [`Self::payload`].
    pub fn sign(&self, transaction: &UnsignedTransaction, signer: &Signer) -> Result<SignedTransaction, ClientError> {
        if signer.account() != &transaction.account {
            return Err(ClientError::Key {
                reason: format!(
                    "the transaction is {}'s, the key is {}'s",
                    crate::text::account_text(&transaction.account),
                    crate::text::account_text(signer.account())
                ),
            });
        }
        let payload = self.payload(transaction)?;
        let signature = signer.sign(&payload, transaction.form)?;
        self.assemble(transaction, &signature)
    }

    /// The transaction with a signature of zeros: for fee estimates, which depend on the length.
    ///
    /// # Errors
    /// Those of [`Self::payload`].
    pub fn unsigned_bytes(&self, transaction: &UnsignedTransaction) -> Result<Vec<u8>, ClientError> {
        let signature = Box::new([0; x0_types::key::SIGNATURE_BYTES]);
        let signature = match transaction.form {
            SignatureForm::Inline => {
                ChainSignature::Inline { public: Box::new([0; x0_types::key::PUBLIC_KEY_BYTES]), signature }
            }
            SignatureForm::Registered => ChainSignature::Registered { signature },
        };
        Ok(self.assemble(transaction, &signature)?.bytes.0)
    }

    fn assemble(
        &self,
        transaction: &UnsignedTransaction,
        signature: &ChainSignature,
    ) -> Result<SignedTransaction, ClientError> {
        let account = AccountId32(transaction.account.clone().into());
        let bytes = self.with_signable(transaction, |signable| {
            signable
                .sign_with_account_and_signature(&account, signature)
                .map(subxt::transactions::SubmittableTransaction::into_encoded)
                .map_err(|error| encode_error(&error))
        })?;
        Ok(SignedTransaction::from_bytes(self.genesis_hash, bytes))
    }

    fn with_signable<R>(
        &self,
        transaction: &UnsignedTransaction,
        use_it: impl FnOnce(&mut Signable<'_>) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        self.check_versions(transaction)?;
        check_call(&transaction.call.0, self.metadata.outer_enums().call_enum_ty(), self.metadata.types())?;
        let at = self.offline()?;
        let transactions = at.transactions();
        let payload = transactions.from_call_data_bytes(&transaction.call.0).map_err(|error| encode_error(&error))?;
        let params = DefaultExtrinsicParamsBuilder::<ChainConfig>::new()
            .nonce(u64::from(transaction.nonce))
            .tip(transaction.tip.0);
        let params = match transaction.era {
            Some(era) => params.mortal_from_unchecked(era.period_blocks, era.birth_block, H256(era.birth_hash.0)),
            None => params.immortal(),
        };
        let mut signable =
            transactions.create_v4_signable_offline(&payload, params.build()).map_err(|error| encode_error(&error))?;
        use_it(&mut signable)
    }

    fn check_versions(&self, transaction: &UnsignedTransaction) -> Result<(), ClientError> {
        let expected = (self.genesis_hash, self.spec_version, self.transaction_version);
        let found = (transaction.genesis_hash, transaction.spec_version, transaction.transaction_version);
        if expected == found {
            return Ok(());
        }
        let words = |(genesis, spec, format): (Hash, u32, u32)| {
            format!("{genesis:?} (runtime {spec}, transaction format {format})")
        };
        Err(ClientError::OtherChain { expected: words(expected), found: words(found) })
    }

    fn offline(&self) -> Result<subxt::OfflineClientAtBlock<ChainConfig>, ClientError> {
        let config =
            ChainConfig::offline(self.genesis_hash, self.spec_version, self.transaction_version, self.metadata.clone());
        OfflineClient::new_with_config(config)
            .at_block(0u64)
            .map_err(|error| ClientError::Metadata { what: "offline work".into(), reason: error.to_string() })
    }
}

/// A transaction of subxt's that waits for its signature.
type Signable<'a> = subxt::transactions::SignableTransaction<
    'a,
    ChainConfig,
    subxt::client::OfflineClientAtBlockImpl<ChainConfig>,
    DynamicPayload<Composite<()>>,
>;

fn encode_error(error: &subxt::error::ExtrinsicError) -> ClientError {
    ClientError::Encode { what: "the transaction".into(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_lasts_an_hour_of_busy_blocks_and_fits_the_chains_memory() {
        let period = Era::period_blocks();
        assert!(period.is_power_of_two());
        assert!(period * BLOCK_INTERVAL_BUSY_MS >= TRANSACTION_LIFE_MS);
        assert!(period <= u64::from(BLOCK_HASH_COUNT));
    }

    #[test]
    fn an_era_begins_where_the_chain_will_look() {
        // The oracle is the rule of FRAME: the wire form keeps phase / step, and the birth is
        // (current - phase) / period * period + phase with the rounded phase.
        let (period, step) = (Era::period_blocks(), (Era::period_blocks() >> 12).max(1));
        for head in [0, 1, 7, 8, 9, 4_095, 4_096, 32_767, 32_768, 40_001, 1_000_003] {
            let phase = head % period / step * step;
            let birth = (head.max(phase) - phase) / period * period + phase;
            assert_eq!(Era::birth_block(head), birth, "head {head}");
        }
    }
}
