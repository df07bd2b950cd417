//! What this node says about its own links, and when it says it anew.

use super::{
    Adjacency, DeltaClaim, LinkRecord, LinkState,
    record::{Difference, differ},
    schedule::mix,
};
use crate::{NodeId, Time};
use std::collections::BTreeMap;
use x0_mesh_wire::limits::{
    ROUTE_ADJACENCIES_MAX, ROUTE_DELTA_INTERVAL_MS, ROUTE_LIFETIME_S, ROUTE_PARALLEL_MAX, ROUTE_RECORD_INTERVAL_MS,
    ROUTE_REFRESH_MS,
};

/// Time between two records that differ in qualities alone, milliseconds.
const QUALITY_INTERVAL_MS: u64 = 10_000;
/// A signature that did not come back within this time is asked for again, milliseconds.
const SIGN_WAIT_MS: u64 = 2_000;

/// An own link as routing sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLink {
    /// This node's name for it, not zero, and never used again for another link.
    pub label: u32,
    /// The other end.
    pub neighbour: NodeId,
    /// Shared-risk group of the underlay.
    pub underlay: u32,
    /// [`super::link_quality`] of what was measured.
    pub quality: u16,
    /// Its state.
    pub state: LinkState,
}

/// The own links and what was said of them last.
#[derive(Clone, Debug)]
pub(super) struct Own {
    me: NodeId,
    mesh: [u8; 32],
    seed: u64,
    links: BTreeMap<u32, OwnLink>,
    /// Number of the next record.
    next_seq: u64,
    /// The claims of the last record and its number.
    signed: Option<(u64, Vec<Adjacency>)>,
    signed_at: Option<Time>,
    refresh_at: Time,
    /// The record that is being signed.
    signing: Option<(LinkRecord, Time)>,
    /// The claims that neighbours heard last, in the record or in a delta.
    told: Vec<Adjacency>,
    told_at: Option<Time>,
    deltas: u32,
}

impl Own {
    pub fn new(me: NodeId, mesh: [u8; 32], first_seq: u64, seed: u64, now: Time) -> Self {
        Self {
            me,
            mesh,
            seed,
            links: BTreeMap::new(),
            next_seq: first_seq.max(1),
            signed: None,
            signed_at: None,
            refresh_at: now,
            signing: None,
            told: Vec::new(),
            told_at: None,
            deltas: 0,
        }
    }

    /// The link before the change.
    pub fn set(&mut self, link: OwnLink) -> Option<OwnLink> {
        self.links.insert(link.label, link)
    }

    pub fn remove(&mut self, label: u32) -> Option<OwnLink> {
        self.links.remove(&label)
    }

    pub fn link(&self, label: u32) -> Option<&OwnLink> {
        self.links.get(&label)
    }

    pub fn links(&self) -> impl Iterator<Item = &OwnLink> + '_ {
        self.links.values()
    }

    /// What is claimed: links that carry first, so that the limits cut off the others.
    pub fn claims(&self) -> Vec<Adjacency> {
        let mut sorted: Vec<&OwnLink> = self.links.values().collect();
        sorted.sort_by_key(|link| (!link.state.carries(), link.label));
        let mut claims: Vec<Adjacency> = Vec::new();
        for link in sorted {
            let parallel = claims.iter().filter(|claim| claim.neighbour == link.neighbour).count();
            if claims.len() < ROUTE_ADJACENCIES_MAX && parallel < ROUTE_PARALLEL_MAX {
                claims.push(Adjacency {
                    neighbour: link.neighbour,
                    label: link.label,
                    underlay: link.underlay,
                    quality: link.quality,
                    up: link.state.carries(),
                });
            }
        }
        claims.sort_unstable_by_key(|claim| claim.label);
        claims
    }

    /// When a record is due, as things stand.
    pub fn record_due(&self) -> Time {
        if let Some((_, since)) = &self.signing {
            return since.plus_ms(SIGN_WAIT_MS);
        }
        let (Some((_, before)), Some(at)) = (&self.signed, self.signed_at) else { return Time(0) };
        match differ(before, &self.claims()) {
            Difference::None => self.refresh_at,
            Difference::Quality => at.plus_ms(QUALITY_INTERVAL_MS).min(self.refresh_at),
            Difference::Links => at.plus_ms(ROUTE_RECORD_INTERVAL_MS),
        }
    }

    /// The record to sign now.
    pub fn record(&mut self, now: Time) -> LinkRecord {
        let seq = self.next_seq;
        self.next_seq = self.next_seq.saturating_add(1);
        let (mesh, node, adjacencies) = (self.mesh, self.me, self.claims());
        let record = LinkRecord { mesh, node, seq, lifetime_s: ROUTE_LIFETIME_S, adjacencies };
        self.signing = Some((record.clone(), now));
        record
    }

    /// The record with this number, when it is the one that is being signed.
    pub fn signed(&mut self, now: Time, seq: u64) -> Option<LinkRecord> {
        let (record, _) = self.signing.take_if(|(record, _)| record.seq == seq)?;
        let (shortest, longest) = ROUTE_REFRESH_MS;
        self.refresh_at = now.plus_ms(shortest + mix(self.seed, seq) % (longest - shortest + 1));
        self.signed = Some((seq, record.adjacencies.clone()));
        self.signed_at = Some(now);
        self.told.clone_from(&record.adjacencies);
        self.deltas = 0;
        Some(record)
    }

    /// Somebody holds a record of this node that is not older than the last one: from before a restart. The next one
    /// goes beyond it.
    pub fn overtake(&mut self, seq: u64) {
        if seq >= self.next_seq.saturating_sub(1) {
            self.next_seq = seq.saturating_add(1);
            self.signing = None;
            self.signed = None;
        }
    }

    /// What neighbours should hear now: the base, the count, and all changes against the base.
    pub fn delta(&mut self, now: Time) -> Option<(u64, u32, Vec<DeltaClaim>)> {
        let (base, before) = self.signed.as_ref()?;
        let claims = self.claims();
        // A delta changes signed links and adds none; those wait for the next record.
        let known = |label: u32| before.iter().find(|claim| claim.label == label);
        let news: Vec<Adjacency> = before
            .iter()
            .map(|claim| match claims.iter().find(|now| now.label == claim.label) {
                Some(now) => Adjacency { quality: now.quality, up: now.up, ..*claim },
                None => Adjacency { up: false, ..*claim },
            })
            .collect();
        if differ(&self.told, &news) == Difference::None
            || self.told_at.is_some_and(|at| now < at.plus_ms(ROUTE_DELTA_INTERVAL_MS))
        {
            return None;
        }
        let changes = news
            .iter()
            .filter(|claim| known(claim.label) != Some(claim))
            .map(|claim| DeltaClaim { label: claim.label, quality: claim.quality, up: claim.up })
            .collect();
        let base = *base;
        self.told = news;
        self.told_at = Some(now);
        self.deltas = self.deltas.saturating_add(1);
        Some((base, self.deltas, changes))
    }
}
