//! Telling submitters what becomes of their transactions.

use std::collections::HashMap;
use tokio::sync::mpsc;
use x0_types::Hash;

/// What became of a watched transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// It waits for transactions of its sender with lower nonces.
    Future,
    /// It can go into the next block.
    Ready,
    /// This block contains it.
    InBlock(Hash),
    /// This block contains it and is final. The last status.
    Finalized(Hash),
    /// This transaction took its place. The last status.
    Usurped(Hash),
    /// It went to make room for others, or by an operator's command. The last status.
    Dropped,
    /// It cannot enter a block any more, for this reason. The last status.
    Invalid(String),
}

impl TxStatus {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Finalized(_) | Self::Usurped(_) | Self::Dropped | Self::Invalid(_))
    }
}

/// The watchers of waiting transactions.
#[derive(Debug, Default)]
pub(crate) struct Watchers(HashMap<Hash, mpsc::Sender<TxStatus>>);

impl Watchers {
    /// Watches a transaction. There is one watcher per transaction: a second submission of the same
    /// bytes is refused.
    pub(crate) fn insert(&mut self, hash: Hash, watcher: mpsc::Sender<TxStatus>) {
        self.0.insert(hash, watcher);
    }

    /// Tells the transaction's watcher, if there is one that still listens.
    pub(crate) fn tell(&mut self, hash: &Hash, status: TxStatus) {
        let last = status.is_last();
        if let Some(watcher) = self.0.get(hash) {
            // A watcher that is gone or does not read loses the message, by design.
            let lost = watcher.try_send(status).is_err();
            if last || (lost && watcher.is_closed()) {
                self.0.remove(hash);
            }
        }
    }
}
