//! The records of all nodes, each the newest of its node, while it lives.

use super::{
    Adjacency, Graph, Refusal, SignedRecord,
    record::{Difference, differ},
};
use crate::{NodeId, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use x0_mesh_wire::limits::{ROUTE_NODES_MAX, ROUTE_REMEMBERED_MAX};

/// What became of the signature of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds under the key that the authority names for the node.
    Valid,
    /// It does not hold.
    Invalid,
    /// The authority names no key for the node.
    UnknownNode,
    /// Nobody had time to verify it; it may come again.
    Unjudged,
}

/// A record whose signature holds. Only [`VerifiedRecord::judge`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedRecord(SignedRecord);

impl VerifiedRecord {
    /// Takes the verdict of whoever verified the signature over [`SignedRecord::body`].
    ///
    /// # Errors
    /// [`Refusal::Forged`], [`Refusal::UnknownNode`], [`Refusal::PendingFull`] without a verdict.
    pub fn judge(record: SignedRecord, verdict: Verdict) -> Result<Self, Refusal> {
        let (node, seq) = (record.record.node, record.record.seq);
        match verdict {
            Verdict::Valid => Ok(Self(record)),
            Verdict::Invalid => Err(Refusal::Forged { node, seq }),
            Verdict::UnknownNode => Err(Refusal::UnknownNode { node }),
            Verdict::Unjudged => Err(Refusal::PendingFull),
        }
    }
}

/// A change of one claim between two records: the neighbour itself says it, over its own link, so that the MAC of the
/// link proves who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub struct DeltaClaim {
    /// Which link.
    pub label: u32,
    /// Its quality now.
    pub quality: u16,
    /// Whether it carries packets now.
    pub up: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    signed: SignedRecord,
    /// The claims of the record, as changed by deltas; shared with plans.
    claims: Arc<[Adjacency]>,
    /// The claims when they last differed so much that routes had to be found anew.
    settled: Arc<[Adjacency]>,
    delta: u32,
    expires: Time,
}

/// What nodes claim, as of one moment.
pub(super) type Snapshot = Vec<(NodeId, Arc<[Adjacency]>)>;

/// The newest living record of each node, bounded.
///
/// # Correctness
/// * A record replaces only one with a lower number, and its signature was verified before.
/// * A record that expired stays dead: its number is remembered (for [`ROUTE_REMEMBERED_MAX`] nodes).
/// * A delta changes quality and state of claims that were signed, and adds none.
#[derive(Clone, Debug)]
pub struct LinkStateTable {
    me: NodeId,
    mesh: [u8; 32],
    entries: BTreeMap<NodeId, Entry>,
    remembered: BTreeMap<NodeId, (u64, Time)>,
}

/// The claims that routes rest on from now on, and whether these are others than before.
fn settle(before: Option<Arc<[Adjacency]>>, now: &Arc<[Adjacency]>) -> (Arc<[Adjacency]>, bool) {
    match before {
        Some(before) if differ(&before, now) == Difference::None => (before, false),
        _ => (now.clone(), true),
    }
}

const NS_PER_S: u64 = 1_000_000_000;

impl LinkStateTable {
    /// An empty table of `me` in `mesh`.
    #[must_use]
    pub const fn new(me: NodeId, mesh: [u8; 32]) -> Self {
        Self { me, mesh, entries: BTreeMap::new(), remembered: BTreeMap::new() }
    }

    /// The number of the newest record of a node that was ever accepted, as far as remembered.
    #[must_use]
    pub fn known_seq(&self, node: &NodeId) -> Option<u64> {
        let living = self.entries.get(node).map(|entry| entry.signed.record.seq);
        living.or_else(|| self.remembered.get(node).map(|(seq, _)| *seq))
    }

    /// Checks everything but the signature.
    ///
    /// # Errors
    /// [`Refusal::OtherMesh`], [`Refusal::Stale`], [`Refusal::Expired`], [`Refusal::TableFull`].
    pub fn check(&self, signed: &SignedRecord, age_s: u16) -> Result<(), Refusal> {
        let record = &signed.record;
        if record.mesh != self.mesh {
            return Err(Refusal::OtherMesh);
        }
        if age_s >= record.lifetime_s {
            return Err(Refusal::Expired { age_s, lifetime_s: record.lifetime_s });
        }
        if let Some(known) = self.known_seq(&record.node).filter(|known| record.seq <= *known) {
            return Err(Refusal::Stale { node: record.node, seq: record.seq, known });
        }
        // This node always has its own place, so that nobody can crowd it out.
        let others = self.entries.keys().filter(|node| **node != self.me).count();
        if record.node != self.me && !self.entries.contains_key(&record.node) && others + 1 >= ROUTE_NODES_MAX {
            return Err(Refusal::TableFull { node: record.node });
        }
        Ok(())
    }

    /// Takes over a record that was on the way for `age_s` seconds. True when it says so much that is new that routes
    /// must be found anew; most records are refreshes.
    ///
    /// # Errors
    /// Those of [`LinkStateTable::check`]: others may have come while the signature was verified.
    pub fn accept(&mut self, now: Time, verified: VerifiedRecord, age_s: u16) -> Result<bool, Refusal> {
        let VerifiedRecord(signed) = verified;
        self.check(&signed, age_s)?;
        let life_s = u64::from(signed.record.lifetime_s.saturating_sub(age_s));
        let claims: Arc<[Adjacency]> = signed.record.adjacencies.as_slice().into();
        self.remembered.remove(&signed.record.node);
        let expires = now.plus_ns(life_s.saturating_mul(NS_PER_S));
        let before = self.entries.get(&signed.record.node).map(|entry| entry.settled.clone());
        let (settled, news) = settle(before, &claims);
        self.entries.insert(signed.record.node, Entry { signed, claims, settled, delta: 0, expires });
        Ok(news)
    }

    /// Applies a delta that `node` itself sent over its link. True when routes must be found anew.
    ///
    /// # Errors
    /// [`Refusal::Delta`] when it changes another record than the known one or is older than the last,
    /// [`Refusal::Label`] when it names a link that was not signed; nothing changes then.
    pub fn apply_delta(
        &mut self,
        node: &NodeId,
        base: u64,
        number: u32,
        changes: &[DeltaClaim],
    ) -> Result<bool, Refusal> {
        let known = self.entries.get(node).map_or(0, |entry| entry.signed.record.seq);
        let refusal = Refusal::Delta { node: *node, base, known };
        let entry = self.entries.get_mut(node).filter(|_| known == base).ok_or(refusal)?;
        if number <= entry.delta {
            return Err(refusal);
        }
        let signed = |change: &&DeltaClaim| !entry.claims.iter().any(|claim| claim.label == change.label);
        if let Some(change) = changes.iter().find(signed) {
            return Err(Refusal::Label { node: *node, label: change.label });
        }
        entry.delta = number;
        let mut claims = entry.claims.to_vec();
        for change in changes {
            for claim in claims.iter_mut().filter(|claim| claim.label == change.label) {
                claim.quality = change.quality;
                claim.up = change.up;
            }
        }
        entry.claims = claims.into();
        let (settled, news) = settle(Some(entry.settled.clone()), &entry.claims);
        entry.settled = settled;
        Ok(news)
    }

    /// Drops what has expired; the nodes whose records died.
    pub fn expire(&mut self, now: Time) -> Vec<NodeId> {
        let dead: Vec<NodeId> =
            self.entries.iter().filter(|(_, entry)| entry.expires <= now).map(|(node, _)| *node).collect();
        for node in &dead {
            self.forget(now, node);
        }
        dead
    }

    /// Drops the record of a node, for example when the authority no longer admits it. Its number stays known.
    pub fn forget(&mut self, now: Time, node: &NodeId) -> bool {
        let Some(entry) = self.entries.remove(node) else { return false };
        self.remembered.insert(*node, (entry.signed.record.seq, now));
        while self.remembered.len() > ROUTE_REMEMBERED_MAX {
            let oldest =
                self.remembered.iter().min_by_key(|(node, (_, since))| (*since, **node)).map(|(node, _)| *node);
            let Some(oldest) = oldest else { break };
            self.remembered.remove(&oldest);
        }
        true
    }

    /// When the next record expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.entries.values().map(|entry| entry.expires).min()
    }

    /// The bytes of a node's record and how old it is, seconds rounded up, for sending it on. None when it has less
    /// than a second to live.
    #[must_use]
    pub fn outgoing(&self, now: Time, node: &NodeId) -> Option<(Arc<[u8]>, u64, u16)> {
        let entry = self.entries.get(node)?;
        let left_s = u16::try_from(entry.expires.since_ns(now) / NS_PER_S).unwrap_or(u16::MAX);
        let age_s = entry.signed.record.lifetime_s.saturating_sub(left_s);
        (left_s > 0).then(|| (entry.signed.bytes().clone(), entry.signed.record.seq, age_s))
    }

    /// Nodes with a living record and the numbers of these.
    pub fn living(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        self.entries.iter().map(|(node, entry)| (*node, entry.signed.record.seq))
    }

    /// What a node claims now.
    #[must_use]
    pub fn claims(&self, node: &NodeId) -> Option<&[Adjacency]> {
        self.entries.get(node).map(|entry| &*entry.claims)
    }

    /// How many nodes have a living record.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no node has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All living claims, with `own` in place of this node's record, which may be older than what it knows itself.
    /// Cheap: the claims are shared.
    #[must_use]
    pub(super) fn snapshot(&self, own: &[Adjacency]) -> Snapshot {
        let others = self.entries.iter().filter(|(node, _)| **node != self.me);
        let mut claims: Snapshot = others.map(|(node, entry)| (*node, entry.claims.clone())).collect();
        claims.push((self.me, own.into()));
        claims
    }

    /// The graph of a snapshot. Links of `excluded` nodes are left out.
    #[must_use]
    pub fn graph(&self, own: &[Adjacency], excluded: &BTreeSet<NodeId>) -> Graph {
        Graph::build(self.snapshot(own).iter().map(|(node, claims)| (*node, &**claims)), excluded)
    }
}
