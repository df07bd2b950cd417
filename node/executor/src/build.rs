//! Building a block out of waiting transactions.

use crate::{
    Admitted, Executed, Executor,
    block::{BlockExecution, timestamp_inherent},
    error::{ExecutorError, ExtrinsicError},
    extrinsic::{self, decode_admitted},
};
use sp_runtime::transaction_validity::InvalidTransaction;
use std::{sync::Arc, time::Instant};
use x0_limits::{BLOCK_BYTES_MAX, BLOCK_EXTRINSICS_MAX, TIMESTAMP_STEP_MS_MIN};
use x0_types::{AccountId, Hash, Moment};

/// Bytes that a block keeps free for its header and the count of extrinsics.
const HEADER_BYTES: usize = 1_024;
/// Transactions that do not fit and are passed over before the builder takes the block for full.
const MISFITS_MAX: usize = 16;

impl Executor {
    /// Builds the block after `parent`, which must be the head, out of `transactions` in their order.
    ///
    /// The block's time is `time_ms`, or one step after the parent's if that is later. The builder
    /// takes transactions until the block is full or `deadline` has passed. Transactions that can
    /// never enter a block are listed in [`Executed::rejected`]; those that only do not fit now are
    /// passed over.
    ///
    /// # Errors
    /// [`ExecutorError::NotOnHead`], [`ExecutorError::UnsupportedSpec`], and failures of this node.
    pub fn build_block(
        &self,
        parent: Hash,
        time_ms: Moment,
        proposer: AccountId,
        transactions: impl Iterator<Item = Arc<Admitted>>,
        deadline: Instant,
    ) -> Result<Executed, ExecutorError> {
        let mut block = BlockExecution::start(self, proposer)?;
        if block.parent.hash != parent {
            return Err(ExecutorError::NotOnHead { parent, head: block.parent.hash });
        }
        let now = time_ms.max(block.parent.timestamp_ms.saturating_add(TIMESTAMP_STEP_MS_MIN));
        let inherent = timestamp_inherent(now);
        let bytes = extrinsic::encode(&inherent);
        let mut room = BLOCK_BYTES_MAX.saturating_sub(HEADER_BYTES).saturating_sub(bytes.len());
        block
            .apply_timestamp(now, inherent, bytes)
            .map_err(|error| ExecutorError::Panicked { place: "the timestamp", message: error.to_string() })?;

        let mut rejected = Vec::new();
        let mut misfits = 0;
        for transaction in transactions {
            if block.len() >= BLOCK_EXTRINSICS_MAX || misfits >= MISFITS_MAX || Instant::now() >= deadline {
                break;
            }
            if transaction.bytes.len() > room {
                misfits += 1;
                continue;
            }
            match apply_admitted(&mut block, &transaction) {
                Ok(()) => room = room.saturating_sub(transaction.bytes.len()),
                Err(ExtrinsicError::Invalid(InvalidTransaction::ExhaustsResources)) => misfits += 1,
                Err(error) if error.may_become_valid() => {}
                Err(error) => rejected.push((transaction.hash, error)),
            }
        }
        block.finish(rejected, None)
    }
}

fn apply_admitted(block: &mut BlockExecution<'_>, transaction: &Admitted) -> Result<(), ExtrinsicError> {
    let extrinsic = decode_admitted(&transaction.bytes)?;
    block.apply(
        extrinsic,
        transaction.bytes.clone(),
        transaction.hash,
        Some(transaction.sender.clone()),
        Some(transaction.verified),
    )
}
