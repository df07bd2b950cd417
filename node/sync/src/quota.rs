//! What one peer may ask of a serving node. No clock and no I/O: time comes with each call.

use std::collections::BTreeMap;
use x0_limits::{
    SNAPSHOT_BYTES_PER_PEER_MINUTE, SNAPSHOT_REFUSALS_PER_MINUTE_MAX, SNAPSHOT_SERVED_PEERS_MAX,
    SNAPSHOT_WAITING_PER_PEER_MAX,
};
use x0_network::PeerKey;

const MINUTE_MS: u64 = 60_000;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is answered.
    Taken,
    /// The peer is told to ask later.
    Busy,
    /// The peer asks far too much: it is reported and told nothing.
    Flooding,
}

#[derive(Debug, Default)]
struct Account {
    waiting: usize,
    minute: u64,
    bytes: u64,
    refusals: u32,
}

/// Accounts of all peers.
#[derive(Debug, Default)]
pub struct Quota {
    accounts: BTreeMap<PeerKey, Account>,
}

impl Quota {
    /// A question came in at this time (milliseconds of any steady clock).
    pub fn ask(&mut self, peer: PeerKey, now_ms: u64) -> Admission {
        if !self.accounts.contains_key(&peer) && self.accounts.len() >= SNAPSHOT_SERVED_PEERS_MAX {
            let minute = now_ms / MINUTE_MS;
            self.accounts.retain(|_, account| account.waiting > 0 || account.minute == minute);
            if self.accounts.len() >= SNAPSHOT_SERVED_PEERS_MAX {
                return Admission::Busy;
            }
        }
        let account = self.accounts.entry(peer).or_default();
        account.turn(now_ms);
        if account.waiting < SNAPSHOT_WAITING_PER_PEER_MAX && account.bytes < SNAPSHOT_BYTES_PER_PEER_MINUTE {
            account.waiting += 1;
            return Admission::Taken;
        }
        account.refusals = account.refusals.saturating_add(1);
        if account.refusals > SNAPSHOT_REFUSALS_PER_MINUTE_MAX { Admission::Flooding } else { Admission::Busy }
    }

    /// A question of this peer was answered with so many bytes.
    pub fn answered(&mut self, peer: &PeerKey, bytes: usize, now_ms: u64) {
        if let Some(account) = self.accounts.get_mut(peer) {
            account.turn(now_ms);
            account.waiting = account.waiting.saturating_sub(1);
            account.bytes = account.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
    }
}

impl Account {
    fn turn(&mut self, now_ms: u64) {
        let minute = now_ms / MINUTE_MS;
        if minute != self.minute {
            (self.minute, self.bytes, self.refusals) = (minute, 0, 0);
        }
    }
}
