//! What is known of one neighbour's records, and what it still has to get.

use super::{Message, Refusal, message::chunks, state::LinkStateTable};
use crate::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use x0_mesh_wire::limits::{
    ROUTE_CHUNK_BYTES, ROUTE_CHUNKS_MAX, ROUTE_GOSSIP_BURST_BYTES, ROUTE_GOSSIP_BYTES_PER_S, ROUTE_HAVE_MAX,
    ROUTE_NOTICES_PER_S, ROUTE_REASSEMBLY_MAX, ROUTE_RETRY_MS, ROUTE_VERIFY_PER_S,
};

/// How long to wait for the neighbour's list of records before sending it everything, milliseconds.
const LIST_WAIT_MS: u64 = 2_000;
/// Time between two lists of all records, milliseconds.
const LIST_INTERVAL_MS: u64 = 60_000;

/// Allows `rate` units a second in the long run and `burst` at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Units times 10^9.
    level: u64,
    burst: u64,
    rate: u64,
    at: Time,
}

const NS_PER_S: u64 = 1_000_000_000;

impl Bucket {
    pub fn new(rate: u64, burst: u64, now: Time) -> Self {
        Self { level: burst.saturating_mul(NS_PER_S), burst, rate, at: now }
    }

    fn fill(&mut self, now: Time) {
        let gained = now.since_ns(self.at).saturating_mul(self.rate);
        self.level = self.level.saturating_add(gained).min(self.burst.saturating_mul(NS_PER_S));
        self.at = self.at.max(now);
    }

    /// Takes `units` when they are there.
    pub fn take(&mut self, now: Time, units: u64) -> bool {
        self.fill(now);
        match self.level.checked_sub(units.saturating_mul(NS_PER_S)) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }
}

/// A record that the neighbour lacks, and when it is sent (again).
#[derive(Clone, Copy, Debug)]
struct Missing {
    due: Time,
    tries: u32,
}

/// A record that is put together.
#[derive(Clone, Debug)]
struct Partial {
    node: NodeId,
    seq: u64,
    total: u16,
    pieces: [Option<Vec<u8>>; ROUTE_CHUNKS_MAX],
    age_s: u16,
}

/// The gossip with one neighbour.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Own links to it.
    pub links: BTreeSet<u32>,
    /// Signatures that its records may cost.
    pub verify: Bucket,
    /// Notices that it may send.
    pub notices: Bucket,
    /// Its records that wait for their verification.
    pub waiting: usize,
    known: BTreeMap<NodeId, u64>,
    /// Nodes whose records it named since its last list began.
    named: BTreeSet<NodeId>,
    missing: BTreeMap<NodeId, Missing>,
    confirm: BTreeMap<NodeId, u64>,
    /// Entries of the list of all records that are still to be sent; none when no list is under way.
    list: Option<Vec<(NodeId, u64)>>,
    /// Whether a part of that list was sent.
    list_begun: bool,
    next_list: Time,
    /// Before this moment, and before its list is complete, it gets no records.
    quiet_until: Time,
    bytes: Bucket,
    partial: Vec<Partial>,
}

/// A record that is complete, with its age in seconds.
pub(super) type Complete = (Vec<u8>, u16);

impl Peer {
    pub fn new(now: Time, table: &LinkStateTable) -> Self {
        let mut peer = Self {
            links: BTreeSet::new(),
            verify: Bucket::new(ROUTE_VERIFY_PER_S, ROUTE_VERIFY_PER_S, now),
            notices: Bucket::new(ROUTE_NOTICES_PER_S, ROUTE_NOTICES_PER_S, now),
            waiting: 0,
            known: BTreeMap::new(),
            named: BTreeSet::new(),
            missing: BTreeMap::new(),
            confirm: BTreeMap::new(),
            list: None,
            list_begun: false,
            next_list: now,
            quiet_until: now.plus_ms(LIST_WAIT_MS),
            bytes: Bucket::new(ROUTE_GOSSIP_BYTES_PER_S, ROUTE_GOSSIP_BURST_BYTES, now),
            partial: Vec::new(),
        };
        for (node, _) in table.living() {
            peer.lacks(node, now);
        }
        peer
    }

    /// A record of `node` is new here: the neighbour gets it unless it is known to have it.
    pub fn offer(&mut self, now: Time, node: NodeId, seq: u64) {
        if self.known.get(&node).is_none_or(|known| *known < seq) {
            self.lacks(node, now);
        }
    }

    fn lacks(&mut self, node: NodeId, now: Time) {
        self.missing.insert(node, Missing { due: now, tries: 0 });
    }

    /// The neighbour says which record of `node` it has; `own` is the number of the one that is known here.
    pub fn has(&mut self, now: Time, node: NodeId, seq: u64, own: Option<u64>) {
        // Only nodes that are known here are remembered, so that lists cannot fill the memory.
        let Some(own) = own else { return };
        self.known.insert(node, seq);
        self.named.insert(node);
        if seq >= own {
            self.missing.remove(&node);
        } else if !self.missing.contains_key(&node) {
            self.lacks(node, now);
        }
    }

    /// The neighbour's list of all records begins.
    pub fn list_begins(&mut self) {
        self.named.clear();
    }

    /// The neighbour's list of all records is complete: it lacks what it did not name, for example after a restart. A
    /// part of the list that was lost costs some records that are sent in vain.
    pub fn list_complete(&mut self, now: Time, table: &LinkStateTable) {
        self.quiet_until = self.quiet_until.min(now);
        let named = core::mem::take(&mut self.named);
        self.known.retain(|node, _| named.contains(node));
        for (node, _) in table.living().filter(|(node, _)| !named.contains(node)) {
            if !self.missing.contains_key(&node) {
                self.lacks(node, now);
            }
        }
    }

    /// The neighbour gets a confirmation for this record.
    pub fn confirm(&mut self, node: NodeId, seq: u64) {
        self.confirm.insert(node, seq);
    }

    /// Forgets a node whose record is gone.
    pub fn forget(&mut self, node: &NodeId) {
        self.known.remove(node);
        self.named.remove(node);
        self.missing.remove(node);
    }

    /// Whether something waits to be sent.
    pub fn is_busy(&self) -> bool {
        !self.confirm.is_empty() || self.list.is_some() || !self.missing.is_empty()
    }

    /// Takes a piece of a record; the record when it is complete.
    pub fn chunk(
        &mut self,
        node: NodeId,
        seq: u64,
        age_s: u16,
        total: u16,
        index: u8,
        bytes: Vec<u8>,
    ) -> Option<Complete> {
        let same = |partial: &Partial| partial.node == node && partial.seq == seq && partial.total == total;
        if !self.partial.iter().any(same) {
            if self.partial.len() >= ROUTE_REASSEMBLY_MAX {
                self.partial.remove(0);
            }
            self.partial.push(Partial { node, seq, total, pieces: [const { None }; ROUTE_CHUNKS_MAX], age_s });
        }
        let at = self.partial.iter().position(same)?;
        let partial = self.partial.get_mut(at)?;
        partial.age_s = partial.age_s.max(age_s);
        *partial.pieces.get_mut(usize::from(index))? = Some(bytes);
        let complete: Vec<u8> = partial.pieces.iter().map_while(Option::as_ref).flatten().copied().collect();
        if complete.len() < usize::from(total) {
            return None;
        }
        Some((complete, self.partial.remove(at).age_s))
    }

    /// The messages that are due, within the neighbour's share.
    pub fn due(&mut self, now: Time, table: &LinkStateTable) -> Vec<Message> {
        let mut messages = Vec::new();
        if self.list.is_none() && now >= self.next_list {
            self.next_list = now.plus_ms(LIST_INTERVAL_MS);
            self.list = Some(table.living().collect());
        }
        while let Some(list) = &mut self.list {
            let entries = list.split_off(list.len().saturating_sub(ROUTE_HAVE_MAX));
            let (first, last) = (!self.list_begun, list.is_empty());
            if !self.send(now, Message::Have { entries: entries.clone(), first, last }, &mut messages) {
                if let Some(list) = &mut self.list {
                    list.extend(entries);
                }
                break;
            }
            self.list_begun = !last;
            if last {
                self.list = None;
            }
        }
        while !self.confirm.is_empty() {
            let entries: Vec<_> = self.confirm.iter().take(ROUTE_HAVE_MAX).map(|(node, seq)| (*node, *seq)).collect();
            let names: Vec<NodeId> = entries.iter().map(|(node, _)| *node).collect();
            if !self.send(now, Message::Have { entries, first: false, last: false }, &mut messages) {
                break;
            }
            self.confirm.retain(|node, _| !names.contains(node));
        }
        if now >= self.quiet_until {
            self.due_records(now, table, &mut messages);
        }
        messages
    }

    fn due_records(&mut self, now: Time, table: &LinkStateTable, messages: &mut Vec<Message>) {
        let due: Vec<NodeId> = self.missing.iter().filter(|(_, one)| one.due <= now).map(|(node, _)| *node).collect();
        for node in due {
            let Some((bytes, seq, age_s)) = table.outgoing(now, &node) else {
                self.missing.remove(&node);
                continue;
            };
            // All pieces or none: a record that is cut by the rate would be sent in vain.
            if !self.bytes.take(now, u64::try_from(bytes.len()).unwrap_or(u64::MAX)) {
                break;
            }
            let total = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            for (index, piece) in (0u8..).zip(bytes.chunks(ROUTE_CHUNK_BYTES)).take(chunks(bytes.len())) {
                messages.push(Message::Chunk { node, seq, age_s, total, index, bytes: piece.to_vec() });
            }
            if let Some(missing) = self.missing.get_mut(&node) {
                let (first, longest) = ROUTE_RETRY_MS;
                let wait = first.checked_shl(missing.tries.min(16)).unwrap_or(longest).min(longest);
                *missing = Missing { due: now.plus_ms(wait), tries: missing.tries.saturating_add(1) };
            }
        }
    }

    /// Adds a message when the neighbour's share allows it.
    fn send(&mut self, now: Time, message: Message, messages: &mut Vec<Message>) -> bool {
        let bytes = u64::try_from(codec::Encode::encoded_size(&message)).unwrap_or(u64::MAX);
        let allowed = self.bytes.take(now, bytes);
        if allowed {
            messages.push(message);
        }
        allowed
    }

    /// Whether a further record of this neighbour may cost a verification.
    pub fn may_verify(&mut self, now: Time, waiting_max: usize) -> Result<(), Refusal> {
        if self.waiting >= waiting_max {
            return Err(Refusal::PendingFull);
        }
        if !self.verify.take(now, 1) {
            return Err(Refusal::TooFast { what: "records" });
        }
        Ok(())
    }
}
