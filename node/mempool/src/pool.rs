//! The waiting transactions as a data structure: no threads, no clock, no crypto.
//!
//! ```text
//!   account -> queue by nonce:   [7][8][9]   [12]        state nonce 7, `ready_end` 10
//!                                 ready....   future
//!   heads: first ready transaction of each account, best priority first   -> what goes into a block
//!   tails: last transaction of each account, worst first                  -> what goes when it is full
//! ```
//!
//! # Correctness
//! * Ready transactions of an account are contiguous from its state nonce: a block builder that
//!   takes them in order never meets a gap.
//! * Only the last transaction of an account is ever evicted, so that eviction makes no gap.
//! * Count, bytes and the share of one account never exceed the limits, whatever is submitted.

mod outcome;
mod room;

pub use outcome::{Event, PoolError};

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet},
};
use x0_types::{AccountId, Balance, BlockNumber, Hash, Nonce};

/// Entries for which the tables keep their memory.
const TABLE_ENTRIES_KEPT: usize = 1_024;

/// A transaction that passed admission.
#[derive(Clone, Debug)]
pub struct Queued<T> {
    /// BLAKE2b-256 of the bytes.
    pub hash: Hash,
    /// Who signed it.
    pub sender: AccountId,
    /// The sender's count of transactions before it.
    pub nonce: Nonce,
    /// What the sender offers beyond the fee; decides replacement.
    pub tip: Balance,
    /// The runtime's priority; decides order and eviction.
    pub priority: u64,
    /// Length of the encoded transaction.
    pub bytes: usize,
    /// Once this block is imported, the transaction's era is over.
    pub expires_at: BlockNumber,
    /// What the caller keeps with it.
    pub payload: T,
}

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Transactions.
    pub count: usize,
    /// Bytes of transactions.
    pub bytes: usize,
    /// Transactions of one account, and how far its nonces may run ahead of the state.
    pub per_account: usize,
}

/// Best first: higher priority, then earlier arrival.
type HeadKey = (Reverse<u64>, u64, AccountId);
/// Worst first: future before ready, lower priority, later arrival.
type TailKey = (bool, u64, Reverse<u64>, AccountId);

#[derive(Debug)]
struct Entry<T> {
    transaction: Queued<T>,
    arrival: u64,
}

#[derive(Debug)]
struct Account<T> {
    state_nonce: Nonce,
    /// Nonces from `state_nonce` up to here (exclusive) are all present.
    ready_end: Nonce,
    queue: BTreeMap<Nonce, Entry<T>>,
    head: Option<HeadKey>,
    tail: Option<TailKey>,
}

impl<T> Account<T> {
    const fn new(state_nonce: Nonce) -> Self {
        Self { state_nonce, ready_end: state_nonce, queue: BTreeMap::new(), head: None, tail: None }
    }

    /// Transactions that can go into the next block.
    fn ready_len(&self) -> usize {
        usize::try_from(self.ready_end - self.state_nonce).unwrap_or(usize::MAX)
    }

    /// Moves `ready_end` over transactions that are contiguous now.
    fn extend(&mut self, events: &mut Vec<Event>) {
        while let Some(entry) = self.queue.get(&self.ready_end) {
            let Some(next) = self.ready_end.checked_add(1) else { break };
            events.push(Event::Ready(entry.transaction.hash));
            self.ready_end = next;
        }
    }
}

/// The waiting transactions.
#[derive(Debug)]
pub struct Pool<T> {
    limits: Limits,
    accounts: HashMap<AccountId, Account<T>>,
    by_hash: HashMap<Hash, (AccountId, Nonce)>,
    heads: BTreeSet<HeadKey>,
    tails: BTreeSet<TailKey>,
    expiry: BTreeSet<(BlockNumber, Hash)>,
    bytes: usize,
    ready: usize,
    arrivals: u64,
}

impl<T> Pool<T> {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            accounts: HashMap::new(),
            by_hash: HashMap::new(),
            heads: BTreeSet::new(),
            tails: BTreeSet::new(),
            expiry: BTreeSet::new(),
            bytes: 0,
            ready: 0,
            arrivals: 0,
        }
    }

    /// Transactions that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Transactions that can go into the next block.
    #[must_use]
    pub const fn ready_len(&self) -> usize {
        self.ready
    }

    /// Whether the transaction waits here.
    #[must_use]
    pub fn contains(&self, hash: &Hash) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// The waiting transaction with this hash.
    #[must_use]
    pub fn get(&self, hash: &Hash) -> Option<&Queued<T>> {
        let (account, nonce) = self.by_hash.get(hash)?;
        Some(&self.accounts.get(account)?.queue.get(nonce)?.transaction)
    }

    /// Every waiting transaction, account by account in the order of nonces.
    pub fn iter(&self) -> impl Iterator<Item = &Queued<T>> {
        self.accounts.values().flat_map(|account| account.queue.values()).map(|entry| &entry.transaction)
    }

    /// The first nonce from `state_nonce` on that no waiting transaction of the account uses.
    #[must_use]
    pub fn next_nonce(&self, account: &AccountId, state_nonce: Nonce) -> Nonce {
        let Some(account) = self.accounts.get(account) else { return state_nonce };
        if (account.state_nonce..account.ready_end).contains(&state_nonce) {
            return account.ready_end;
        }
        (state_nonce..Nonce::MAX).find(|nonce| !account.queue.contains_key(nonce)).unwrap_or(Nonce::MAX)
    }

    /// Takes a transaction in. `state_nonce` is the sender's nonce on chain as of the last imported
    /// block. Appends what happened to this one and to others.
    ///
    /// # Errors
    /// Why it stays outside; see [`PoolError`].
    pub fn insert(
        &mut self,
        transaction: Queued<T>,
        state_nonce: Nonce,
        events: &mut Vec<Event>,
    ) -> Result<(), PoolError> {
        if self.contains(&transaction.hash) {
            return Err(PoolError::AlreadyKnown);
        }
        self.advance(&transaction.sender, state_nonce, events);
        self.check_nonce(&transaction, state_nonce)?;
        let sender = transaction.sender.clone();
        let nonce = transaction.nonce;
        if let Some(waiting) = self.accounts.get(&sender).and_then(|account| account.queue.get(&nonce)) {
            return self.replace(waiting.transaction.tip, waiting.transaction.hash, transaction, events);
        }
        self.make_room_in_account(&sender, nonce, events)?;
        let ready = nonce == self.accounts.get(&sender).map_or(state_nonce, |account| account.ready_end);
        self.make_room(&transaction, ready, 0, events)?;
        let hash = transaction.hash;
        self.put(transaction, state_nonce);
        if ready {
            self.extend(&sender, events);
        } else {
            events.push(Event::Future(hash));
        }
        self.reindex(&sender);
        Ok(())
    }

    /// Moves an account's state nonce forward: transactions below it are out of date.
    pub fn advance(&mut self, sender: &AccountId, state_nonce: Nonce, events: &mut Vec<Event>) {
        self.advance_with(sender, state_nonce, events, Event::Stale);
    }

    /// Removes what a block contains. A nonce in a block means that all lower ones of its sender
    /// are used up too.
    pub fn included(&mut self, hashes: &HashSet<Hash>, events: &mut Vec<Event>) {
        let mut nonces: BTreeMap<AccountId, Nonce> = BTreeMap::new();
        for (account, nonce) in hashes.iter().filter_map(|hash| self.by_hash.get(hash)) {
            let next = nonces.entry(account.clone()).or_default();
            *next = nonce.saturating_add(1).max(*next);
        }
        for (account, nonce) in nonces {
            self.advance_with(&account, nonce, events, |hash| {
                if hashes.contains(&hash) { Event::Included(hash) } else { Event::Stale(hash) }
            });
        }
        self.shrink();
    }

    fn advance_with(
        &mut self,
        sender: &AccountId,
        state_nonce: Nonce,
        events: &mut Vec<Event>,
        gone_as: impl Fn(Hash) -> Event,
    ) {
        let Some(account) = self.accounts.get_mut(sender) else { return };
        if account.state_nonce >= state_nonce {
            return;
        }
        let rest = account.queue.split_off(&state_nonce);
        let gone = std::mem::replace(&mut account.queue, rest);
        let before = account.ready_len();
        account.state_nonce = state_nonce;
        account.ready_end = account.ready_end.max(state_nonce);
        account.extend(events);
        self.ready = self.ready - before + account.ready_len();
        for Entry { transaction, .. } in gone.into_values() {
            self.by_hash.remove(&transaction.hash);
            self.expiry.remove(&(transaction.expires_at, transaction.hash));
            self.bytes -= transaction.bytes;
            events.push(gone_as(transaction.hash));
        }
        self.reindex(sender);
    }

    /// Removes a transaction; later ones of its sender wait for a new one with its nonce.
    pub fn remove(&mut self, hash: &Hash) -> Option<Queued<T>> {
        let removed = self.take(hash)?;
        self.reindex(&removed.sender);
        Some(removed)
    }

    /// Gives memory back after a burst: the tables keep room for twice what waits.
    fn shrink(&mut self) {
        let waiting = self.by_hash.len().max(TABLE_ENTRIES_KEPT);
        if self.by_hash.capacity() / 4 > waiting {
            self.by_hash.shrink_to(waiting * 2);
        }
        if self.accounts.capacity() / 4 > waiting {
            self.accounts.shrink_to(waiting * 2);
        }
    }

    /// Removes the transactions whose era is over once block `number` is imported.
    pub fn expire(&mut self, number: BlockNumber, events: &mut Vec<Event>) {
        while let Some((at, hash)) = self.expiry.first().copied() {
            if at > number {
                return;
            }
            self.remove(&hash);
            events.push(Event::Expired(hash));
        }
    }

    /// The best transactions that fit into `bytes_max` bytes and `count_max` transactions: each
    /// account's in the order of nonces, accounts by the priority of what comes next.
    #[must_use]
    pub fn ready(&self, bytes_max: usize, count_max: usize) -> Vec<&Queued<T>> {
        let mut heads = self.heads.iter().peekable();
        let mut following: BinaryHeap<Reverse<(HeadKey, Nonce)>> = BinaryHeap::new();
        let (mut chosen, mut bytes) = (Vec::new(), 0usize);
        while chosen.len() < count_max {
            let from_heap = match (heads.peek(), following.peek()) {
                (None, None) => break,
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some(head), Some(Reverse((next, _)))) => next < *head,
            };
            let (account, nonce) = if from_heap {
                let Some(Reverse(((.., account), nonce))) = following.pop() else { break };
                (account, nonce)
            } else {
                let Some((.., account)) = heads.next() else { break };
                let Some(nonce) = self.accounts.get(account).map(|account| account.state_nonce) else { continue };
                (account.clone(), nonce)
            };
            let Some(queue) = self.accounts.get(&account) else { continue };
            let Some(entry) = queue.queue.get(&nonce) else { continue };
            let size = entry.transaction.bytes;
            if bytes + size > bytes_max {
                // The account's later ones must not overtake this one; others may be smaller.
                continue;
            }
            bytes += size;
            chosen.push(&entry.transaction);
            let next = nonce.saturating_add(1);
            if next < queue.ready_end
                && let Some(entry) = queue.queue.get(&next)
            {
                following.push(Reverse(((Reverse(entry.transaction.priority), entry.arrival, account), next)));
            }
        }
        chosen
    }

    fn check_nonce(&self, transaction: &Queued<T>, state_nonce: Nonce) -> Result<(), PoolError> {
        let nonce = transaction.nonce;
        let expected = self.accounts.get(&transaction.sender).map_or(state_nonce, |account| account.state_nonce);
        if nonce < expected {
            return Err(PoolError::Stale { nonce, expected });
        }
        let max = self.limits.per_account;
        if usize::try_from(nonce - expected).map_or(true, |ahead| ahead >= max) {
            return Err(PoolError::TooFarAhead { nonce, expected, max });
        }
        Ok(())
    }

    fn replace(
        &mut self,
        waiting: Balance,
        old: Hash,
        transaction: Queued<T>,
        events: &mut Vec<Event>,
    ) -> Result<(), PoolError> {
        if transaction.tip <= waiting {
            return Err(PoolError::Underpriced { nonce: transaction.nonce, waiting, offered: transaction.tip });
        }
        let (sender, nonce, by) = (transaction.sender.clone(), transaction.nonce, transaction.hash);
        let freed = self.get(&old).map_or(0, |old| old.bytes);
        let account = self.accounts.get(&sender);
        let ready = account.is_some_and(|account| nonce < account.ready_end);
        let state_nonce = account.map_or(nonce, |account| account.state_nonce);
        self.make_room(&transaction, ready, freed, events)?;
        // Eviction takes tails of other accounts only, so the old one is still here.
        self.take(&old);
        self.put(transaction, state_nonce);
        events.push(Event::Usurped { old, by });
        if ready {
            self.extend(&sender, events);
        } else {
            events.push(Event::Future(by));
        }
        self.reindex(&sender);
        Ok(())
    }

    /// Stores a transaction under its place, which is free.
    fn put(&mut self, transaction: Queued<T>, state_nonce: Nonce) {
        self.arrivals += 1;
        self.bytes += transaction.bytes;
        self.by_hash.insert(transaction.hash, (transaction.sender.clone(), transaction.nonce));
        self.expiry.insert((transaction.expires_at, transaction.hash));
        let account = self.accounts.entry(transaction.sender.clone()).or_insert_with(|| Account::new(state_nonce));
        account.queue.insert(transaction.nonce, Entry { arrival: self.arrivals, transaction });
    }

    /// Removes a transaction from everything but the order indexes of its account, which the
    /// caller brings up to date with [`Self::reindex`].
    fn take(&mut self, hash: &Hash) -> Option<Queued<T>> {
        let (sender, nonce) = self.by_hash.remove(hash)?;
        let account = self.accounts.get_mut(&sender)?;
        let entry = account.queue.remove(&nonce)?;
        if nonce < account.ready_end {
            let before = account.ready_len();
            account.ready_end = nonce;
            self.ready = self.ready - before + account.ready_len();
        }
        self.bytes -= entry.transaction.bytes;
        self.expiry.remove(&(entry.transaction.expires_at, *hash));
        Some(entry.transaction)
    }

    fn extend(&mut self, sender: &AccountId, events: &mut Vec<Event>) {
        if let Some(account) = self.accounts.get_mut(sender) {
            let before = account.ready_len();
            account.extend(events);
            self.ready = self.ready - before + account.ready_len();
        }
    }

    /// Brings the account's places in the order indexes up to date, and forgets an empty account.
    fn reindex(&mut self, sender: &AccountId) {
        let Some(account) = self.accounts.get_mut(sender) else { return };
        let head = (account.ready_end > account.state_nonce)
            .then(|| account.queue.get(&account.state_nonce))
            .flatten()
            .map(|entry| (Reverse(entry.transaction.priority), entry.arrival, sender.clone()));
        let tail = account.queue.last_key_value().map(|(nonce, entry)| {
            (*nonce < account.ready_end, entry.transaction.priority, Reverse(entry.arrival), sender.clone())
        });
        if account.head != head {
            if let Some(old) = &account.head {
                self.heads.remove(old);
            }
            self.heads.extend(head.clone());
            account.head = head;
        }
        if account.tail != tail {
            if let Some(old) = &account.tail {
                self.tails.remove(old);
            }
            self.tails.extend(tail.clone());
            account.tail = tail;
        }
        if account.queue.is_empty() {
            self.accounts.remove(sender);
        }
    }
}

#[cfg(test)]
mod tests;
