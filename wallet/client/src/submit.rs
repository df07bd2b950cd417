//! Handing a transaction over and learning its fate.

use std::time::Duration;

use scale_value::Composite;
use serde::{Deserialize, Serialize};
use subxt::{events::Phase, rpcs::methods::legacy::TransactionStatus};
use x0_rpc_types::Amount;
use x0_types::Hash;

use crate::{
    Client, ClientError,
    client::params,
    describe::{Amounts, describe_fields},
    error::rpc_error,
    refusal,
    text::{hex_text, parse_hex},
    transaction::SignedTransaction,
};

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits, but not for the next block: an earlier transaction of the account is missing.
    Future,
    /// It waits for the next block.
    Ready,
    /// It stands in this block.
    InBlock(Hash),
    /// Its block is final.
    Finalised(Hash),
}

/// An event of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Name of the pallet.
    pub pallet: String,
    /// Name of the event.
    pub event: String,
    /// Its fields: amounts in base units as decimal text, accounts as SS58.
    pub fields: serde_json::Value,
}

/// A transaction that is final and whose call succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Name of the transaction.
    pub hash: Hash,
    /// Its block.
    pub block_hash: Hash,
    /// That block's height.
    pub block_number: u64,
    /// Its place in the block.
    pub index: u32,
    /// What the account paid, base units.
    pub fee: Option<Amount>,
    /// The transaction's events in order.
    pub events: Vec<EventRecord>,
}

impl Outcome {
    /// The fields of the first event with this name.
    #[must_use]
    pub fn event(&self, pallet: &str, event: &str) -> Option<&serde_json::Value> {
        self.events.iter().find(|record| record.pallet == pallet && record.event == event).map(|record| &record.fields)
    }
}

impl Client {
    /// Hands the transaction over and returns at once.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] when the pool does not take it, [`ClientError::OutcomeUnknown`] when the line
    /// breaks before the node answers.
    pub async fn submit(&self, transaction: &SignedTransaction) -> Result<Hash, ClientError> {
        const METHOD: &str = "author_submitExtrinsic";
        let answer: Result<String, _> = self.call(METHOD, params![hex_text(&transaction.bytes.0)]).await;
        match answer {
            Ok(_) => Ok(transaction.hash),
            Err(error) => Err(submission_error(transaction.hash, error)),
        }
    }

    /// Hands the transaction over and waits until it is final, telling `on_progress` each step.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] before the pool, [`ClientError::Dropped`] in the pool,
    /// [`ClientError::Dispatch`] when the call failed on chain (the fee is paid), and
    /// [`ClientError::OutcomeUnknown`] when the line breaks or `timeout` passes first.
    pub async fn submit_and_wait(
        &self,
        transaction: &SignedTransaction,
        timeout: Duration,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Outcome, ClientError> {
        let hash = transaction.hash;
        let wait = self.wait_for_finality(transaction, &mut on_progress);
        let block = tokio::time::timeout(timeout, wait).await.map_err(|_| ClientError::OutcomeUnknown {
            hash: hex_text(hash),
            reason: format!("not final after {} s", timeout.as_secs()),
        })??;
        self.outcome(transaction, block).await
    }

    async fn wait_for_finality(
        &self,
        transaction: &SignedTransaction,
        on_progress: &mut impl FnMut(Progress),
    ) -> Result<Hash, ClientError> {
        const METHOD: &str = "author_submitAndWatchExtrinsic";
        let hash = transaction.hash;
        let dropped = |reason: &str| ClientError::Dropped { hash: hex_text(hash), reason: reason.to_owned() };
        let mut statuses = self
            .rpc()
            .subscribe::<TransactionStatus<Hash>>(
                METHOD,
                params![hex_text(&transaction.bytes.0)],
                "author_unwatchExtrinsic",
            )
            .await
            .map_err(|error| submission_error(hash, rpc_error(METHOD, error)))?;
        while let Some(status) = statuses.next().await {
            let status = status.map_err(|error| submission_error(hash, rpc_error(METHOD, error)))?;
            match status {
                TransactionStatus::Future => on_progress(Progress::Future),
                TransactionStatus::Ready => on_progress(Progress::Ready),
                TransactionStatus::InBlock(block) => on_progress(Progress::InBlock(block)),
                TransactionStatus::Finalized(block) => {
                    on_progress(Progress::Finalised(block));
                    return Ok(block);
                }
                TransactionStatus::Usurped(_) => {
                    return Err(dropped("another transaction with its number took its place"));
                }
                TransactionStatus::Dropped => return Err(dropped("the pool is full")),
                TransactionStatus::Invalid => return Err(dropped("it is no longer valid in the current state")),
                TransactionStatus::Broadcast(_)
                | TransactionStatus::Retracted(_)
                | TransactionStatus::FinalityTimeout(_) => {}
            }
        }
        Err(ClientError::OutcomeUnknown { hash: hex_text(hash), reason: "the node stopped reporting on it".into() })
    }

    /// Reads what a transaction did in a block.
    ///
    /// # Errors
    /// [`ClientError::Dispatch`] when its call failed, [`ClientError::NotFound`] when it is not in the block.
    pub async fn outcome(&self, transaction: &SignedTransaction, block: Hash) -> Result<Outcome, ClientError> {
        let signed: SignedBlock =
            self.call::<Option<SignedBlock>>("chain_getBlock", params![hex_text(block)])
                .await?
                .ok_or_else(|| ClientError::NotFound { what: format!("block {}", hex_text(block)) })?;
        let index = self.index_in(&signed, transaction)?;
        let at = self.at(block).await?;
        let unreadable = |reason: String| ClientError::Decode { what: "the events of the block".into(), reason };
        let events = at.events().fetch().await.map_err(|error| unreadable(error.to_string()))?;
        let metadata = at.metadata();
        let mut outcome = Outcome {
            hash: transaction.hash,
            block_hash: block,
            block_number: at.block_number(),
            index,
            fee: None,
            events: Vec::new(),
        };
        for event in events.iter() {
            let event = event.map_err(|error| unreadable(error.to_string()))?;
            if event.phase() != Phase::ApplyExtrinsic(index) {
                continue;
            }
            if (event.pallet_name(), event.event_name()) == ("System", "ExtrinsicFailed") {
                let refusal = refusal::read(event.field_bytes(), &metadata);
                return Err(ClientError::Dispatch {
                    hash: hex_text(transaction.hash),
                    block: outcome.block_number,
                    error: refusal.name,
                    words: refusal.words,
                });
            }
            let record = event_record(&event, &metadata).map_err(unreadable)?;
            if (record.pallet.as_str(), record.event.as_str()) == ("TransactionPayment", "TransactionFeePaid") {
                outcome.fee =
                    record.fields.get("actual_fee").and_then(|fee| fee.as_str()).and_then(|fee| fee.parse().ok());
            }
            outcome.events.push(record);
        }
        Ok(outcome)
    }

    fn index_in(&self, block: &SignedBlock, transaction: &SignedTransaction) -> Result<u32, ClientError> {
        for (index, extrinsic) in block.block.extrinsics.iter().enumerate() {
            if parse_hex("an extrinsic", extrinsic)? == transaction.bytes.0 {
                return u32::try_from(index)
                    .map_err(|error| ClientError::Decode { what: "a block".into(), reason: error.to_string() });
            }
        }
        Err(ClientError::NotFound {
            what: format!("transaction {} in the block that should hold it", hex_text(transaction.hash)),
        })
    }
}

/// A refusal is certain; a broken line is not.
fn submission_error(hash: Hash, error: ClientError) -> ClientError {
    match error {
        ClientError::Rpc { code, message, data, .. } => {
            ClientError::Rejected { code, message, rule: data.and_then(|data| rule_word(&data)) }
        }
        ClientError::Transport { reason, .. } => ClientError::OutcomeUnknown { hash: hex_text(hash), reason },
        other => other,
    }
}

/// The word for the broken rule in the data of a refusal.
fn rule_word(data: &str) -> Option<String> {
    serde_json::from_str::<x0_rpc_types::error::InvalidTransactionData>(data).ok().map(|data| data.kind)
}

fn event_record(
    event: &subxt::events::Event<'_, crate::chain::ChainConfig>,
    metadata: &subxt::Metadata,
) -> Result<EventRecord, String> {
    let variant = metadata
        .pallet_by_event_index(event.pallet_index())
        .and_then(|pallet| pallet.event_variant_by_index(event.event_index()).cloned())
        .ok_or_else(|| format!("no event {}.{}", event.pallet_name(), event.event_name()))?;
    let mut types = variant.fields.iter().map(|field| scale_decode::Field::new(field.ty.id, field.name.as_deref()));
    let fields: Composite<u32> =
        scale_value::scale::decode_as_fields(&mut event.field_bytes(), &mut types, metadata.types())
            .map_err(|error| error.to_string())?;
    let type_names: Vec<_> = variant.fields.iter().map(|field| field.type_name.clone()).collect();
    Ok(EventRecord {
        pallet: event.pallet_name().to_owned(),
        event: event.event_name().to_owned(),
        fields: describe_fields(&fields, &type_names, metadata.types(), Amounts::Base),
    })
}

/// The part of `chain_getBlock` that is read here.
#[derive(Deserialize)]
struct SignedBlock {
    block: BlockBody,
}

/// The body of a block.
#[derive(Deserialize)]
struct BlockBody {
    extrinsics: Vec<String>,
}
