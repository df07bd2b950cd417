//! Counters of a carrier.

use super::gate::GateRefusal;
use crate::Channel;
use std::sync::atomic::{AtomicU64, Ordering};
use x0_crypto::tls::HandshakeFault;

/// Counters of one channel since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelMetrics {
    /// Frames written to links.
    pub sent: u64,
    /// Bytes of these frames.
    pub sent_bytes: u64,
    /// Frames that came in.
    pub received: u64,
    /// Bytes of these frames.
    pub received_bytes: u64,
    /// Frames that gave way to newer ones in a full queue.
    pub dropped: u64,
}

/// What a carrier counted since its start, and how many links it has now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct P2pMetrics {
    /// Peers with a standing link.
    pub peers: u64,
    /// Peers that are wanted and have none.
    pub peers_missing: u64,
    /// Peers with a standing link whose bulk has a connection of its own.
    pub peers_bulk_apart: u64,
    /// Connections that were accepted by the operating system.
    pub accepted: u64,
    /// Connections that were closed at the gate, for each reason.
    pub gate_source_rate: u64,
    /// As above.
    pub gate_source_pending: u64,
    /// As above.
    pub gate_strangers_rate: u64,
    /// As above.
    pub gate_strangers_pending: u64,
    /// As above.
    pub gate_sources: u64,
    /// Handshakes that were begun as the accepting side.
    pub handshakes_in: u64,
    /// Handshakes that were begun as the dialling side.
    pub handshakes_out: u64,
    /// Handshakes that ended with a link, on both sides.
    pub handshakes_done: u64,
    /// Handshakes that failed because the peer was too slow.
    pub refused_timeout: u64,
    /// Handshakes that failed below TLS.
    pub refused_io: u64,
    /// What came in was not TLS 1.3.
    pub refused_not_tls: u64,
    /// Another chain or another version of the protocol.
    pub refused_protocol: u64,
    /// No X25519MLKEM768 or no AES-256-GCM.
    pub refused_key_exchange: u64,
    /// No raw ML-DSA-65 key, or one that the peer does not hold.
    pub refused_key_kind: u64,
    /// A key that is not on the list of admitted peers.
    pub refused_not_admitted: u64,
    /// A peer that is banned.
    pub refused_banned: u64,
    /// Another key than the one that was dialled.
    pub refused_wrong_peer: u64,
    /// Anything else.
    pub refused_other: u64,
    /// Connections whose hello did not come or did not fit.
    pub hello_failed: u64,
    /// Dials that ended without a link.
    pub dials_failed: u64,
    /// Links that ended.
    pub links_ended: u64,
    /// Links that were closed because the peer left the list.
    pub links_dismissed: u64,
    /// Offences that were noted.
    pub offences: u64,
    /// Bans that followed.
    pub bans: u64,
    /// Waits of readers because of quotas, milliseconds.
    pub throttled_ms: u64,
    /// By channel, in the order of [`Channel::ALL`].
    pub channels: [ChannelMetrics; Channel::ALL.len()],
}

#[derive(Debug, Default)]
pub(super) struct ChannelCounters {
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    received: AtomicU64,
    received_bytes: AtomicU64,
    dropped: AtomicU64,
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// The live counters behind [`P2pMetrics`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub $name: AtomicU64,)*
            channels: [ChannelCounters; Channel::ALL.len()],
        }

        impl Counters {
            /// The counters now.
            pub(super) fn read(&self) -> P2pMetrics {
                let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                P2pMetrics {
                    $($name: get(&self.$name),)*
                    channels: std::array::from_fn(|index| self.channels.get(index).map_or_else(ChannelMetrics::default, |channel| ChannelMetrics {
                        sent: get(&channel.sent),
                        sent_bytes: get(&channel.sent_bytes),
                        received: get(&channel.received),
                        received_bytes: get(&channel.received_bytes),
                        dropped: get(&channel.dropped),
                    })),
                    peers: 0,
                    peers_missing: 0,
                    peers_bulk_apart: 0,
                }
            }
        }
    };
}

counters!(
    accepted,
    gate_source_rate,
    gate_source_pending,
    gate_strangers_rate,
    gate_strangers_pending,
    gate_sources,
    handshakes_in,
    handshakes_out,
    handshakes_done,
    refused_timeout,
    refused_io,
    refused_not_tls,
    refused_protocol,
    refused_key_exchange,
    refused_key_kind,
    refused_not_admitted,
    refused_banned,
    refused_wrong_peer,
    refused_other,
    hello_failed,
    dials_failed,
    links_ended,
    links_dismissed,
    offences,
    bans,
    throttled_ms,
);

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn sent(&self, channel: Channel, bytes: usize) {
        if let Some(counters) = self.channels.get(channel.index()) {
            count(&counters.sent);
            counters.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn received(&self, channel: Channel, bytes: usize) {
        if let Some(counters) = self.channels.get(channel.index()) {
            count(&counters.received);
            counters.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn dropped(&self, channel: Channel, frames: u64) {
        if let Some(counters) = self.channels.get(channel.index()) {
            counters.dropped.fetch_add(frames, Ordering::Relaxed);
        }
    }

    pub(super) fn gate(&self, refusal: GateRefusal) {
        count(match refusal {
            GateRefusal::SourceRate => &self.gate_source_rate,
            GateRefusal::SourcePending => &self.gate_source_pending,
            GateRefusal::StrangersRate => &self.gate_strangers_rate,
            GateRefusal::StrangersPending => &self.gate_strangers_pending,
            GateRefusal::Sources => &self.gate_sources,
        });
    }

    pub(super) fn refused(&self, error: &super::transport::HandshakeError) {
        use super::transport::HandshakeError as E;
        count(match error {
            E::Timeout(_) => &self.refused_timeout,
            E::Socket(_) => &self.refused_io,
            E::NotAdmitted(_) | E::Itself => &self.refused_not_admitted,
            E::Banned { .. } => &self.refused_banned,
            E::WrongPeer { .. } => &self.refused_wrong_peer,
            E::Tls(_) => &self.refused_other,
            E::Fault(fault) => match fault {
                HandshakeFault::NotTls | HandshakeFault::Version => &self.refused_not_tls,
                HandshakeFault::Protocol => &self.refused_protocol,
                HandshakeFault::KeyExchange | HandshakeFault::Cipher => &self.refused_key_exchange,
                HandshakeFault::KeyKind | HandshakeFault::Signature => &self.refused_key_kind,
                HandshakeFault::NotAdmitted => &self.refused_not_admitted,
                HandshakeFault::TurnedAway(_) | HandshakeFault::Other => &self.refused_other,
            },
        });
    }
}
