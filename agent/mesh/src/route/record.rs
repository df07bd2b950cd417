//! What a node says about its links, and signs.
//!
//! ```text
//!   body       mesh 32 | node 32 | seq 8 | lifetime_s 2 | claims: compact count, then
//!              neighbour 32 | label 4 | underlay 4 | quality 2 | up 1         (SCALE, little-endian)
//!   record     body | ML-DSA-65 signature 3,309
//! ```
//! Lifetimes are relative and shrink on the way (as the age of OSPF's records, RFC 2328 section 12.1.1), because the
//! protocol reads no wall clock: a stepped clock can neither kill nor revive a record.

use super::{Refusal, graph::cost_us};
use crate::NodeId;
use codec::{Decode, DecodeAll, Encode};
use std::sync::Arc;
use x0_mesh_wire::limits::{
    ROUTE_ADJACENCIES_MAX, ROUTE_LIFETIME_S_MAX, ROUTE_PARALLEL_MAX, ROUTE_RECORD_BYTES_MAX, ROUTE_SIGNATURE_BYTES,
};

/// One link as its node claims it. It counts only when the other end claims it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Adjacency {
    /// The other end.
    pub neighbour: NodeId,
    /// The claimer's name for the link; what stands in the labels of a source route. Not zero.
    pub label: u32,
    /// The claimer's underlays with the same number share a fate (shared-risk link group, RFC 4202 section 2.3).
    pub underlay: u32,
    /// How good the link is, 65,535 for perfect: [`super::quality`] of what the claimer measured.
    pub quality: u16,
    /// Whether it carries packets.
    pub up: bool,
}

/// A change of cost that matters: a quarter, and at least this, microseconds.
const COST_CHANGE_US: u32 = 500;

/// How much two lists of claims differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// Not so much that it matters.
    None,
    /// The same links, at other costs.
    Quality,
    /// Other links, or others that are up.
    Links,
}

/// Compares claims in the order in which they stand.
pub(super) fn differ(before: &[Adjacency], after: &[Adjacency]) -> Difference {
    let same_link = |a: &Adjacency, b: &Adjacency| Adjacency { quality: b.quality, ..*a } == *b;
    if before.len() != after.len() || before.iter().zip(after).any(|(a, b)| !same_link(a, b)) {
        return Difference::Links;
    }
    let moved = before.iter().zip(after).any(|(a, b)| {
        let (a, b) = (cost_us(a.quality), cost_us(b.quality));
        a.abs_diff(b) > (a / 4).max(COST_CHANGE_US)
    });
    if moved { Difference::Quality } else { Difference::None }
}

/// The form in which a claim travels.
#[derive(Encode, Decode)]
struct WireAdjacency([u8; 32], u32, u32, u16, bool);

#[derive(Encode, Decode)]
struct WireRecord {
    mesh: [u8; 32],
    node: [u8; 32],
    seq: u64,
    lifetime_s: u16,
    claims: Vec<WireAdjacency>,
}

/// Everything that a node says about its links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The mesh that it belongs to.
    pub mesh: [u8; 32],
    /// Who says it.
    pub node: NodeId,
    /// Grows with each record of the node; a higher one replaces a lower one.
    pub seq: u64,
    /// How long it is believed after it was signed, seconds.
    pub lifetime_s: u16,
    /// The links.
    pub adjacencies: Vec<Adjacency>,
}

impl LinkRecord {
    /// The bytes that are signed, under the purpose `link_state` of `x0-crypto`.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let claims = self
            .adjacencies
            .iter()
            .map(|claim| WireAdjacency(claim.neighbour.0, claim.label, claim.underlay, claim.quality, claim.up))
            .collect();
        let (mesh, node, seq, lifetime_s) = (self.mesh, self.node.0, self.seq, self.lifetime_s);
        WireRecord { mesh, node, seq, lifetime_s, claims }.encode()
    }

    /// Reads a body and checks every rule that needs no knowledge of other records.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::TooManyAdjacencies`], [`Refusal::TooManyParallel`],
    /// [`Refusal::SelfAdjacency`], [`Refusal::Label`], [`Refusal::Lifetime`].
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed { what: "body of a record", bytes: body.len() };
        let WireRecord { mesh, node, seq, lifetime_s, claims } =
            WireRecord::decode_all(&mut &*body).map_err(|_| malformed)?;
        let adjacencies = claims
            .into_iter()
            .map(|WireAdjacency(neighbour, label, underlay, quality, up)| Adjacency {
                neighbour: NodeId(neighbour),
                label,
                underlay,
                quality,
                up,
            })
            .collect();
        let record = Self { mesh, node: NodeId(node), seq, lifetime_s, adjacencies };
        record.check()?;
        Ok(record)
    }

    /// Checks the rules of one record.
    ///
    /// # Errors
    /// Those of [`LinkRecord::read`].
    pub fn check(&self) -> Result<(), Refusal> {
        if self.lifetime_s == 0 || self.lifetime_s > ROUTE_LIFETIME_S_MAX {
            return Err(Refusal::Lifetime { lifetime_s: self.lifetime_s });
        }
        if self.adjacencies.len() > ROUTE_ADJACENCIES_MAX {
            return Err(Refusal::TooManyAdjacencies { claims: self.adjacencies.len() });
        }
        for (at, claim) in self.adjacencies.iter().enumerate() {
            let before = self.adjacencies.get(..at).unwrap_or(&[]);
            if claim.neighbour == self.node {
                return Err(Refusal::SelfAdjacency { node: self.node });
            }
            if claim.label == 0 || before.iter().any(|other| other.label == claim.label) {
                return Err(Refusal::Label { node: self.node, label: claim.label });
            }
            let claims = before.iter().filter(|other| other.neighbour == claim.neighbour).count() + 1;
            if claims > ROUTE_PARALLEL_MAX {
                return Err(Refusal::TooManyParallel { neighbour: claim.neighbour, claims });
            }
        }
        Ok(())
    }
}

/// A record with its signature, in the bytes in which it travels. Whether the signature holds is not yet said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRecord {
    /// What it says.
    pub record: LinkRecord,
    bytes: Arc<[u8]>,
}

impl SignedRecord {
    /// Joins a record and the signature over its body.
    #[must_use]
    pub fn new(record: LinkRecord, signature: &[u8; ROUTE_SIGNATURE_BYTES]) -> Self {
        let mut bytes = record.body();
        bytes.extend_from_slice(signature);
        Self { record, bytes: bytes.into() }
    }

    /// Reads a signed record; the signature is not verified.
    ///
    /// # Errors
    /// [`Refusal::RecordTooLong`], [`Refusal::Malformed`] and those of [`LinkRecord::read`].
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > ROUTE_RECORD_BYTES_MAX {
            return Err(Refusal::RecordTooLong { bytes: bytes.len() });
        }
        let malformed = Refusal::Malformed { what: "signed record", bytes: bytes.len() };
        let (body, _) = bytes.split_last_chunk::<ROUTE_SIGNATURE_BYTES>().ok_or(malformed)?;
        Ok(Self { record: LinkRecord::read(body)?, bytes: bytes.into() })
    }

    /// The bytes as they travel.
    #[must_use]
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The signed part.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.split_last_chunk::<ROUTE_SIGNATURE_BYTES>().map_or(&[], |(body, _)| body)
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> Option<&[u8; ROUTE_SIGNATURE_BYTES]> {
        self.bytes.last_chunk()
    }
}
