//! What a mesh hands out while it works.

use super::{Job, UnderlayId};
use crate::NodeId;
use std::net::SocketAddr;

/// How urgent a datagram is, so that the sender may coalesce data (UDP GSO) without holding back what
/// other nodes judge paths by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Heartbeats, notices and replayed packets: send before anything that waits.
    Now,
    /// Sealed packets: may wait for [`super::Mesh::flush`] of the same batch, no longer.
    Data,
    /// A datagram that tests how large a packet may be: send with "don't fragment", never coalesce.
    Sized,
}

/// Takes what comes out of a mesh. Calls happen inside the call into the mesh that caused them; the
/// slices live as long as the call.
pub trait Sink {
    /// Sends one datagram. A failure is reported by [`super::Mesh::send_failed`].
    fn send(&mut self, underlay: UnderlayId, to: SocketAddr, urgency: Urgency, bytes: &[u8]);
    /// Hands an inner IP packet to this host. Its source address has been checked to be `from`'s.
    fn deliver(&mut self, from: &NodeId, packet: &[u8]);
    /// Hands out slow work. Every job is answered once by [`super::Mesh::complete`], in any order, from
    /// any thread's result; a queue that is full answers with [`Job::refuse`].
    fn job(&mut self, job: Job);
    /// Says what happened. Events explain; nothing depends on them except the kernel filter, which
    /// follows [`Event::TagAdded`] and [`Event::TagRemoved`].
    fn event(&mut self, event: Event);
}

/// Why a link went down or a session closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing was heard for the detection time.
    Silence,
    /// The other end says that it hears nothing.
    ReportedSilence,
    /// The operating system says that the interface has no carrier.
    Carrier,
    /// The operating system refused to send.
    SendFailed,
    /// A relay says that its link is down.
    Notice,
    /// End-to-end probes stay away although the first hop lives.
    Probes,
    /// The authority no longer admits the peer, or its key changed.
    Authority,
    /// A rule denies or quarantines the peer.
    Rule,
    /// A newer link or session took its place.
    Replaced,
    /// No fresh keys within the time that the protocol allows.
    KeysExpired,
    /// Nothing passed for the time after which a session is dropped.
    Idle,
    /// A path that is better for long enough.
    Better,
    /// The path was the first.
    First,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A link's handshake is done.
    LinkUp {
        /// The neighbour.
        peer: NodeId,
        /// Over which underlay.
        underlay: UnderlayId,
        /// The neighbour's address there.
        address: SocketAddr,
    },
    /// A link went down; it is still probed.
    LinkDown {
        /// The neighbour.
        peer: NodeId,
        /// Over which underlay.
        underlay: UnderlayId,
        /// Why.
        cause: Cause,
    },
    /// A link is gone for good.
    LinkClosed {
        /// The neighbour.
        peer: NodeId,
        /// Over which underlay.
        underlay: UnderlayId,
        /// Why.
        cause: Cause,
    },
    /// A neighbour's verified frames come from another address now.
    LinkMoved {
        /// The neighbour.
        peer: NodeId,
        /// Over which underlay.
        underlay: UnderlayId,
        /// The new address.
        address: SocketAddr,
    },
    /// An end-to-end session is open.
    SessionUp {
        /// The other end.
        peer: NodeId,
    },
    /// An end-to-end session is closed.
    SessionClosed {
        /// The other end.
        peer: NodeId,
        /// Why.
        cause: Cause,
    },
    /// Packets to a peer take another primary path.
    Switched {
        /// The other end.
        peer: NodeId,
        /// Why the old path was left.
        cause: Cause,
        /// Packets that were sent again on the new path.
        replayed: u32,
    },
    /// Frames with this tag are ours from now on: the kernel filter lets them in.
    TagAdded {
        /// The tag.
        tag: u32,
        /// The neighbour.
        peer: NodeId,
    },
    /// Frames with this tag are nobody's from now on.
    TagRemoved {
        /// The tag.
        tag: u32,
    },
}
