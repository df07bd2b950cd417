//! What a handshake gives.

use super::{Purpose, Via};
use crate::NodeId;
use x0_crypto::{
    PublicKey,
    mesh::{ChainKey, PacketKey, TagKey, Traffic},
};
use x0_mesh_wire::HopKey;

/// The only set of algorithms, as `status` prints it.
pub const ALGORITHMS: &str = "ML-KEM-768+X25519, ML-DSA-65, AES-256-GCM, HKDF-SHA-384, SipHash-2-4";

/// Which end began a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sent the hello.
    Initiator,
    /// Answered it.
    Responder,
}

/// The keys of one end of a link or session.
#[derive(Debug)]
pub struct Keys {
    /// Seals what this end sends.
    pub send: PacketKey,
    /// Opens what the peer sends.
    pub receive: PacketKey,
    /// MAC of what this end sends.
    pub send_mac: HopKey,
    /// MAC of what the peer sends.
    pub receive_mac: HopKey,
    /// Tags on frames that this end sends: the peer's names for the link.
    pub send_tags: TagKey,
    /// Tags on frames that the peer sends: our names for the link.
    pub receive_tags: TagKey,
    /// From which later keys come.
    pub chain: ChainKey,
    /// A public name of these keys, equal on both ends and bound to everything that was agreed on.
    pub transcript: [u8; 32],
}

impl Keys {
    /// The keys as this end uses them: after a handshake, and after each ratchet.
    #[must_use]
    pub fn new(traffic: Traffic, role: Role) -> Self {
        let Traffic { initiator, responder, chain, id } = traffic;
        let (ours, theirs) = match role {
            Role::Initiator => (initiator, responder),
            Role::Responder => (responder, initiator),
        };
        Self {
            send: ours.packet,
            receive: theirs.packet,
            send_mac: HopKey::new(*ours.mac),
            receive_mac: HopKey::new(*theirs.mac),
            send_tags: ours.tags,
            receive_tags: theirs.tags,
            chain,
            transcript: id,
        }
    }
}

/// A handshake that gave keys.
#[derive(Debug)]
pub struct Established {
    /// For what the keys are.
    pub purpose: Purpose,
    /// Which end this is. A responder's keys replace older ones only when data confirms them.
    pub role: Role,
    /// The peer, verified and authorised at this moment.
    pub peer: NodeId,
    /// The key with which it proved itself.
    pub peer_key: PublicKey,
    /// The way on which the peer's proof arrived.
    pub via: Via,
    /// Our id, which becomes the session index on packets to us. It stays taken until
    /// [`super::Handshakes::release`].
    pub local_id: u32,
    /// The peer's id: the session index on packets to it.
    pub peer_id: u32,
    /// The keys.
    pub keys: Keys,
    /// Algorithms that were agreed on: [`ALGORITHMS`].
    pub algorithms: &'static str,
    /// From our first datagram of this handshake to this moment.
    pub took_ns: u64,
}
