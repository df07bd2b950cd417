//! What a node says about itself.

use super::Counters;
use crate::{
    NodeId, Time,
    link::{BehaviourSummary, Measured, State},
    route::Explanation,
    session::SessionStatus,
};
use std::net::{Ipv6Addr, SocketAddr};

/// A node as of one moment.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub node: NodeId,
    /// Its overlay address.
    pub address: Ipv6Addr,
    /// Height of the block that the authority's view follows from; none before the first.
    pub authority_height: Option<u64>,
    /// Peers that the authority knows.
    pub peers: usize,
    /// Nodes whose links are known from gossip, this one too.
    pub nodes_known: usize,
    /// Everything that is counted.
    pub counters: Counters,
    /// Its links.
    pub links: Vec<LinkStatus>,
    /// Its sessions, those too whose handshake is on the way.
    pub sessions: Vec<TalkStatus>,
    /// Jobs that wait for their answer.
    pub jobs: usize,
    /// Bytes of packets that wait for a session to open.
    pub waiting_bytes: usize,
}

/// One link.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LinkStatus {
    /// The neighbour.
    pub peer: NodeId,
    /// Name of the underlay.
    pub underlay: String,
    /// The neighbour's address there.
    pub address: SocketAddr,
    /// What is believed of it.
    pub state: State,
    /// When its handshake was done, microseconds of the monotonic clock.
    pub opened_us: Time,
    /// Delay, loss, jitter.
    pub measured: Measured,
    /// How its heartbeats behave.
    pub behaviour: BehaviourSummary,
    /// Largest datagram that passes, bytes.
    pub payload_bytes: u16,
}

/// One session.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TalkStatus {
    /// The other end.
    pub peer: NodeId,
    /// Its overlay address.
    pub address: Ipv6Addr,
    /// Whether packets can be sent now.
    pub open: bool,
    /// Keys, numbers, windows; none while the first handshake is on the way.
    pub session: Option<SessionStatus>,
}

/// The paths of one session and why each stands where it stands.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SessionPaths {
    /// The other end.
    pub peer: NodeId,
    /// Its paths, and the last switches with their reasons.
    pub explanation: Explanation,
    /// For each path: the underlay that it leaves over.
    pub underlays: Vec<String>,
}
