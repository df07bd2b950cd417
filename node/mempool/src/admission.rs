//! What a worker thread does with submissions.

use crate::{error::SubmitError, pool::Queued};
use codec::{Compact, Decode};
use sp_runtime::generic::Preamble;
use std::sync::Arc;
use x0_executor::{Admitted, Executor, Submission};
use x0_runtime::{Address, ChainSignature, TxExtension};
use x0_types::{AccountId, Balance, BlockNumber, Nonce};

/// A transaction that the executor found valid, and the block on which its sender's nonce was read.
pub(crate) struct Checked {
    pub(crate) transaction: Queued<Arc<Admitted>>,
    pub(crate) state_nonce: Nonce,
    pub(crate) read_at: BlockNumber,
}

/// Judges the signatures and the validity of transactions on the head, each by itself.
pub(crate) fn check_many(executor: &Executor, submissions: &[Submission]) -> Vec<Result<Checked, SubmitError>> {
    // The head is read first: the judgement happens on this block or on a later one.
    let read_at = executor.head().number;
    executor
        .validate_many(submissions)
        .into_iter()
        .zip(submissions)
        .map(|(judged, submission)| {
            let nonce = || offer(&submission.bytes).map_or(0, |(nonce, _)| nonce);
            let admitted = judged.map_err(|error| SubmitError::from_extrinsic(error, nonce()))?;
            checked(executor, admitted, read_at)
        })
        .collect()
}

fn checked(executor: &Executor, admitted: Admitted, read_at: BlockNumber) -> Result<Checked, SubmitError> {
    // Without requirements the nonce is exactly the account's.
    let (state_nonce, read_at) = if admitted.requires.is_empty() {
        (admitted.nonce, read_at)
    } else {
        nonce_on_head(executor, &admitted.sender)?
    };
    let transaction = Queued {
        hash: admitted.hash,
        sender: admitted.sender.clone(),
        nonce: admitted.nonce,
        tip: admitted.tip,
        priority: admitted.priority,
        bytes: admitted.bytes.len(),
        expires_at: read_at.saturating_add(BlockNumber::try_from(admitted.longevity).unwrap_or(BlockNumber::MAX)),
        payload: Arc::new(admitted),
    };
    Ok(Checked { transaction, state_nonce, read_at })
}

/// The next nonce of an account, and the block on which it was read, or one before it.
pub(crate) fn nonce_on_head(executor: &Executor, account: &AccountId) -> Result<(Nonce, BlockNumber), SubmitError> {
    let read_at = executor.head().number;
    executor.head_nonce(account).map(|nonce| (nonce, read_at)).map_err(|error| SubmitError::Node(error.to_string()))
}

/// Nonce and tip of an encoded transaction. Reads no further than the extension, so that the call,
/// which may nest, is not decoded here.
pub(crate) fn offer(bytes: &[u8]) -> Option<(Nonce, Balance)> {
    let mut input = bytes;
    Compact::<u32>::decode(&mut input).ok()?;
    match Preamble::<Address, ChainSignature, TxExtension>::decode(&mut input).ok()? {
        Preamble::Signed(_, _, extension) => Some((extension.5.0, extension.7.tip())),
        Preamble::Bare(_) | Preamble::General(_) => None,
    }
}
