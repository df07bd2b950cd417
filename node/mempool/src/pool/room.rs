//! Who may enter a pool that is full, or an account's share of it that is.

use super::{Event, Pool, PoolError, Queued};
use x0_types::{AccountId, Balance, Nonce};

impl<T> Pool<T> {
    /// The tip that a transaction of `bytes` bytes must exceed to be worth a check; `None` while there is room, or
    /// while a transaction waits that cannot go into the next block and would make room for any that can.
    #[must_use]
    pub fn entry_tip(&self, bytes: usize) -> Option<Balance> {
        if self.len() < self.limits.count && self.bytes.saturating_add(bytes) <= self.limits.bytes {
            return None;
        }
        let (ready, .., account) = self.tails.first()?;
        let (_, last) = self.accounts.get(account)?.queue.last_key_value()?;
        ready.then_some(last.transaction.tip)
    }

    /// Keeps one account's share: a transaction that fills a gap displaces the account's last one.
    pub(super) fn make_room_in_account(
        &mut self,
        sender: &AccountId,
        nonce: Nonce,
        events: &mut Vec<Event>,
    ) -> Result<(), PoolError> {
        let max = self.limits.per_account;
        let Some(account) = self.accounts.get(sender) else { return Ok(()) };
        if account.queue.len() < max {
            return Ok(());
        }
        match account.queue.last_key_value() {
            Some((last, entry)) if *last > nonce => {
                let hash = entry.transaction.hash;
                self.remove(&hash);
                events.push(Event::Evicted(hash));
                Ok(())
            }
            _ => Err(PoolError::AccountFull { max }),
        }
    }

    /// Evicts the worst tails until the newcomer fits, as long as it outranks them. Should a later
    /// victim turn out to be better than the newcomer, the earlier ones are gone all the same: they
    /// were the worst, and the pool is full.
    pub(super) fn make_room(
        &mut self,
        transaction: &Queued<T>,
        ready: bool,
        freed: usize,
        events: &mut Vec<Event>,
    ) -> Result<(), PoolError> {
        let replaces = freed > 0;
        let full = PoolError::Full { count: self.len(), bytes: self.bytes };
        while (!replaces && self.len() >= self.limits.count)
            || self.bytes.saturating_sub(freed) + transaction.bytes > self.limits.bytes
        {
            let Some((victim_ready, priority, _, account)) = self.tails.first().cloned() else { return Err(full) };
            if account == transaction.sender || (victim_ready, priority) >= (ready, transaction.priority) {
                return Err(full);
            }
            let hash = self
                .accounts
                .get(&account)
                .and_then(|account| account.queue.last_key_value())
                .map(|(_, entry)| entry.transaction.hash);
            let Some(hash) = hash else { return Err(full) };
            self.remove(&hash);
            events.push(Event::Evicted(hash));
        }
        Ok(())
    }
}
