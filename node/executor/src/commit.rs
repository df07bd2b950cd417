//! Committing executed blocks and telling the rest of the node.

use crate::{Executed, Executor, TxOutcome, error::ExecutorError};
use bytes::Bytes;
use codec::Encode;
use std::sync::Arc;
use x0_runtime::Header;
use x0_storage::{BlockCommit, Head};
use x0_types::{BlockNumber, Hash, Moment};

/// A block that is final and durable.
#[derive(Clone, Debug)]
pub struct ImportedBlock {
    /// Its header.
    pub header: Header,
    /// BLAKE2b-256 of the header.
    pub hash: Hash,
    /// Its height.
    pub number: BlockNumber,
    /// Its timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: Moment,
    /// What became of each extrinsic, in order.
    pub results: Vec<TxOutcome>,
    /// The encoded extrinsics, in order.
    pub body: Vec<Bytes>,
    /// The SCALE events of the block (`System.Events`).
    pub events: Bytes,
}

impl Executor {
    /// Makes an executed block final: writes it durably, moves the head, tells subscribers.
    ///
    /// # Errors
    /// [`ExecutorError::NotOnHead`] when the block does not follow the head; storage errors, after
    /// which the head is where it was.
    pub fn commit(&self, executed: Executed, certificate: Vec<u8>) -> Result<Head, ExecutorError> {
        let _committing = self.0.committing.lock();
        let before = self.head();
        if executed.header.parent_hash != before.hash {
            return Err(ExecutorError::NotOnHead { parent: executed.header.parent_hash, head: before.hash });
        }
        let head = Head {
            number: executed.number,
            hash: executed.hash,
            state_root: executed.header.state_root,
            timestamp_ms: executed.timestamp_ms,
        };
        self.0.database.commit_block(BlockCommit {
            number: head.number,
            hash: head.hash,
            parent_hash: executed.header.parent_hash,
            state_root: head.state_root,
            timestamp_ms: head.timestamp_ms,
            header: executed.header.encode(),
            body: executed.body.clone(),
            encoded: Some(executed.encoded),
            extrinsic_hashes: executed.results.iter().map(|outcome| outcome.hash).collect(),
            account_touches: executed.account_touches,
            state: executed.state_changes,
            certificate: Some(certificate),
            validator_set: executed.validator_set,
        })?;
        self.0.marks.forget(executed.results.iter().map(|outcome| outcome.hash));
        self.0.head.send_replace(head);
        self.0.views.clear();
        let imported = ImportedBlock {
            header: executed.header,
            hash: head.hash,
            number: head.number,
            timestamp_ms: head.timestamp_ms,
            results: executed.results,
            body: executed.body,
            events: executed.events,
        };
        // Without subscribers there is nobody to tell, which is no failure.
        let _ = self.0.imported.send(Arc::new(imported));
        Ok(head)
    }
}
