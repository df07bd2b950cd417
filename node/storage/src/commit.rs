//! Committing blocks: one synced write batch each, with the pruning of old states.

use crate::{
    Database, Head, StorageError, body,
    columns::{self, Column, META_GENESIS, META_HEAD, META_HISTORY_START, META_OLDEST_STATE},
    database::Inner,
    state,
};
use bytes::Bytes;
use codec::{DecodeAll, Encode};
use rocksdb::WriteBatch;
use sp_runtime::traits::BlakeTwo256;
use sp_trie::PrefixedMemoryDB;
use x0_types::{AccountId, BlockNumber, Hash, Moment};

/// The chain's first block.
pub struct GenesisCommit {
    /// BLAKE2b-256 of the header.
    pub hash: Hash,
    /// Root of the genesis state.
    pub state_root: Hash,
    /// The SCALE header.
    pub header: Vec<u8>,
    /// The nodes of the genesis state.
    pub state: PrefixedMemoryDB<BlakeTwo256>,
}

/// A decided and executed block.
pub struct BlockCommit {
    /// Its height.
    pub number: BlockNumber,
    /// BLAKE2b-256 of the header.
    pub hash: Hash,
    /// The parent's hash.
    pub parent_hash: Hash,
    /// Root of the state after the block.
    pub state_root: Hash,
    /// The block's timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: Moment,
    /// The SCALE header.
    pub header: Vec<u8>,
    /// The encoded extrinsics, in order.
    pub body: Vec<Bytes>,
    /// The encoded block: header, count, extrinsics. If consensus stored exactly this, the body is not written again.
    pub encoded: Option<Bytes>,
    /// The extrinsics' hashes, in the same order.
    pub extrinsic_hashes: Vec<Hash>,
    /// Accounts with the index of an extrinsic that they signed or that touched them.
    pub account_touches: Vec<(AccountId, u32)>,
    /// Changes of the state's nodes: positive counts are written, negative ones dropped.
    pub state: PrefixedMemoryDB<BlakeTwo256>,
    /// The commit certificate, when there is one already.
    pub certificate: Option<Vec<u8>>,
    /// The SCALE validator set that the block's header announces, if it announces one.
    pub validator_set: Option<Vec<u8>>,
}

impl Database {
    /// Writes the genesis block into an empty database. Repeating it is no error.
    ///
    /// # Errors
    /// [`StorageError::OtherChain`] when another genesis block is there; write errors.
    pub fn commit_genesis(&self, genesis: GenesisCommit) -> Result<(), StorageError> {
        let inner = &self.0;
        let _writer = inner.writer.lock();
        if self.genesis_hash().is_some() {
            return self.check_genesis(genesis.hash);
        }
        let head = Head { number: 0, hash: genesis.hash, state_root: genesis.state_root, timestamp_ms: 0 };
        let mut batch = WriteBatch::new();
        inner.put_state(&mut batch, 0, genesis.state)?;
        inner.put_header(&mut batch, 0, genesis.hash, &genesis.header)?;
        batch.put_cf(inner.cf(Column::Bodies)?, columns::number_key(0), Vec::<Bytes>::new().encode());
        let meta = inner.cf(Column::Meta)?;
        batch.put_cf(meta, META_GENESIS, genesis.hash);
        batch.put_cf(meta, META_HEAD, head.encode());
        inner.write(batch, "commit the genesis block")?;
        *inner.genesis.write() = Some(genesis.hash);
        *inner.head.write() = Some(head);
        Ok(())
    }

    /// Commits a block: everything of it in one batch that is on the disk when this returns.
    ///
    /// Committing the same block again changes nothing (a certificate that was missing is added).
    ///
    /// # Errors
    /// [`StorageError::DifferentBlock`] at a decided height, [`StorageError::Gap`] and
    /// [`StorageError::WrongParent`] for a block that does not follow the head; write errors, after
    /// which the database is as before.
    pub fn commit_block(&self, commit: BlockCommit) -> Result<(), StorageError> {
        let inner = &self.0;
        let _writer = inner.writer.lock();
        let head = self.head().ok_or(StorageError::NoGenesis)?;
        if commit.number <= head.number {
            return self.repeat(&commit);
        }
        inner.check_follows(&head, &commit)?;
        let head = Head {
            number: commit.number,
            hash: commit.hash,
            state_root: commit.state_root,
            timestamp_ms: commit.timestamp_ms,
        };
        let mut batch = WriteBatch::new();
        // Deletions come first: if this block writes such a node again, its write wins.
        let oldest_state = inner.prune(&mut batch, commit.number)?;
        inner.put_header(&mut batch, commit.number, commit.hash, &commit.header)?;
        inner.put_body(&mut batch, &commit)?;
        inner.put_state(&mut batch, commit.number, commit.state)?;
        if let Some(certificate) = &commit.certificate {
            batch.put_cf(inner.cf(Column::Certificates)?, columns::number_key(commit.number), certificate);
        }
        if let Some(set) = &commit.validator_set {
            batch.put_cf(inner.cf(Column::ValidatorSets)?, columns::number_key(commit.number), set);
        }
        let history_start = inner.prune_history(&mut batch, commit.number)?;
        let meta = inner.cf(Column::Meta)?;
        batch.put_cf(meta, META_HEAD, head.encode());
        batch.put_cf(meta, META_OLDEST_STATE, columns::number_key(oldest_state));
        batch.put_cf(meta, META_HISTORY_START, columns::number_key(history_start));
        inner.write(batch, "commit a block")?;
        inner.set_history_start(history_start);
        *inner.head.write() = Some(head);
        Ok(())
    }

    /// A block at a decided height: the same one is fine, another one is refused.
    fn repeat(&self, commit: &BlockCommit) -> Result<(), StorageError> {
        let stored = self.hash_of(commit.number).unwrap_or_default();
        if stored != commit.hash {
            return Err(StorageError::DifferentBlock { number: commit.number, stored, offered: commit.hash });
        }
        match &commit.certificate {
            Some(certificate) if self.certificate(commit.number).is_none() => {
                self.put_certificate(commit.number, certificate)
            }
            _ => Ok(()),
        }
    }
}

impl Inner {
    fn check_follows(&self, head: &Head, commit: &BlockCommit) -> Result<(), StorageError> {
        if head.number.checked_add(1) != Some(commit.number) {
            return Err(StorageError::Gap { head: head.number, number: commit.number });
        }
        if commit.parent_hash != head.hash {
            return Err(StorageError::WrongParent {
                number: commit.number,
                head: head.hash,
                offered: commit.parent_hash,
            });
        }
        if commit.body.len() != commit.extrinsic_hashes.len() {
            return Err(StorageError::HashesMismatch {
                number: commit.number,
                hashes: commit.extrinsic_hashes.len(),
                extrinsics: commit.body.len(),
            });
        }
        Ok(())
    }

    pub(crate) fn put_header(
        &self,
        batch: &mut WriteBatch,
        number: BlockNumber,
        hash: Hash,
        header: &[u8],
    ) -> Result<(), StorageError> {
        let record = [hash.as_bytes(), header].concat();
        batch.put_cf(self.cf(Column::Headers)?, columns::number_key(number), record);
        batch.put_cf(self.cf(Column::NumberByHash)?, hash, columns::number_key(number));
        Ok(())
    }

    /// Writes the body, or where it is, and the indexes of its extrinsics.
    fn put_body(&self, batch: &mut WriteBatch, commit: &BlockCommit) -> Result<(), StorageError> {
        let number = commit.number;
        let bodies = self.cf(Column::Bodies)?;
        match self.stored_round(commit) {
            Some(round) => batch.put_cf(bodies, columns::number_key(number), body::reference(round)),
            None => batch.put_cf(bodies, columns::number_key(number), commit.body.encode()),
        }
        let transactions = self.cf(Column::TransactionIndex)?;
        for (index, hash) in (0u32..).zip(&commit.extrinsic_hashes) {
            batch.put_cf(transactions, hash, columns::location(number, index));
        }
        let accounts = self.cf(Column::AccountIndex)?;
        for (account, index) in &commit.account_touches {
            let account: &[u8; 32] = account.as_ref();
            batch.put_cf(accounts, [account.as_slice(), &columns::location(number, *index)].concat(), []);
        }
        Ok(())
    }

    /// The round for which consensus stored this very block, if reading it back gives this very body.
    fn stored_round(&self, commit: &BlockCommit) -> Option<i64> {
        let encoded = commit.encoded.as_ref().filter(|encoded| encoded.starts_with(&commit.header))?;
        let same_body = body::split(encoded, commit.header.len()).is_some_and(|body| body == commit.body);
        same_body.then(|| self.remembered.round_of(u64::from(commit.number), commit.hash, encoded)).flatten()
    }

    /// Writes new nodes, and notes dropped ones in the journal: older states still need them.
    fn put_state(
        &self,
        batch: &mut WriteBatch,
        number: BlockNumber,
        mut nodes: PrefixedMemoryDB<BlakeTwo256>,
    ) -> Result<(), StorageError> {
        let column = self.cf(Column::State)?;
        let mut dropped = Vec::new();
        for (key, (node, count)) in nodes.drain() {
            match count {
                1.. => batch.put_cf(column, &key, state::stamped(number, &node)),
                0 => {}
                _ => dropped.push(key),
            }
        }
        if !dropped.is_empty() {
            batch.put_cf(self.cf(Column::PruneJournal)?, columns::number_key(number), dropped.encode());
        }
        Ok(())
    }

    /// Works off the journals of blocks that are old enough, and returns the oldest state that
    /// stays whole. A node that a later block wrote again carries that block's number and stays.
    fn prune(&self, batch: &mut WriteBatch, number: BlockNumber) -> Result<BlockNumber, StorageError> {
        let (first, last) = {
            let mut pins = self.pins.lock();
            let wanted = number.saturating_sub(self.states_kept).min(pins.lowest().unwrap_or(BlockNumber::MAX));
            let first = pins.oldest.saturating_add(1);
            let budget = u32::try_from(x0_limits::PRUNE_JOURNALS_PER_COMMIT).unwrap_or(u32::MAX);
            let last = wanted.min(pins.oldest.saturating_add(budget));
            // From here on nobody can pin what goes away, even before the batch is written.
            pins.oldest = pins.oldest.max(last);
            (first, last)
        };
        let (nodes, journal) = (self.cf(Column::State)?, self.cf(Column::PruneJournal)?);
        for block in first..=last {
            let key = columns::number_key(block);
            let Some(dropped) =
                self.read(Column::PruneJournal, &key, |mut bytes| Vec::<Vec<u8>>::decode_all(&mut bytes).ok())
            else {
                continue;
            };
            for node in dropped {
                if self.read(Column::State, &node, state::stamp).is_some_and(|written| written <= block) {
                    batch.delete_cf(nodes, node);
                }
            }
            batch.delete_cf(journal, key);
        }
        Ok(first.saturating_sub(1).max(last))
    }
}
