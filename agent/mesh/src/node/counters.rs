//! What a node counts. Every refusal has a counter of its own: a fault that is seen nowhere is a fault
//! that lasts.

/// Declares the counters once: the struct, its serde form, and the list for metrics.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that a node counts, since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Names and values, in the order of declaration, for metrics.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counters! {
    /// Datagrams that came in.
    datagrams_in,
    /// Bytes of them.
    bytes_in,
    /// Datagrams that went out.
    datagrams_out,
    /// Bytes of them.
    bytes_out,
    /// Inner packets that the host sent.
    packets_in,
    /// Inner packets that were handed to the host.
    packets_delivered,
    /// Bytes of them.
    bytes_delivered,
    /// Copies of packets on a second path, for suspicion or for their class.
    copies_sent,
    /// Packets that were sent again on another path after a fault.
    packets_replayed,
    /// Frames that were passed on for others.
    relayed,
    /// Bytes of them.
    bytes_relayed,
    /// Relayed frames whose rest of the route was replaced because the next link is down.
    repaired,
    /// Handshakes that ended with a link.
    links_opened,
    /// Handshakes that ended with a session.
    sessions_opened,
    /// Links that followed their neighbour to another address.
    links_moved,
    /// Times that a session's primary path changed.
    switches,
    /// Times that a link or a path was called down.
    downs,
    /// Jobs that were handed out.
    jobs_out,

    /// Refused: not a datagram of this protocol or version.
    refused_malformed,
    /// Refused: an underlay that is not configured.
    refused_underlay,
    /// Refused: a tag that no link has.
    refused_tag,
    /// Refused: a frame whose MAC or seal does not hold.
    refused_forged,
    /// Refused: a frame that a link saw before or that is too old.
    refused_repeated,
    /// Refused: a handshake datagram that is malformed, forged, late or not wanted.
    refused_handshake,
    /// Refused: a peer without the right to a link.
    refused_link_right,
    /// Refused: a peer without the right to a session.
    refused_session_right,
    /// Refused: relaying from or to a neighbour without the right to it.
    refused_relay_right,
    /// Refused: frames of a peer above its rate limit.
    refused_rate,
    /// Refused: a label that names no link of this node.
    refused_label,
    /// Refused: hops used up.
    refused_ttl,
    /// Refused: the next link is down and there is no way around it.
    refused_no_way_on,
    /// Refused: a frame that would leave where it came from.
    refused_turn,
    /// Refused: a session index that is not in use.
    refused_session_index,
    /// Refused: a body whose seal does not hold.
    refused_sealed,
    /// Refused: a packet number that a session saw before or that is too old. Copies and replays end here.
    refused_duplicate,
    /// Refused: an inner packet with a source address that is not its sender's.
    refused_source,
    /// Refused: an inner packet for another address than this node's.
    refused_target,
    /// Refused: an inner packet that is not one IPv6 packet.
    refused_inner,
    /// Refused: a packet of the host to an address that no peer has.
    refused_no_peer,
    /// Refused: a packet of the host to a peer to which no path leads.
    refused_no_path,
    /// Refused: a packet of the host that does not fit the queue before a session is open.
    refused_queue,
    /// Refused: a packet of the host that is longer than two tunnel fragments carry.
    refused_too_long,
    /// Refused: something would exceed a bound on links, sessions, handshakes or jobs.
    refused_bound,
    /// Refused: a control message that is malformed or out of place.
    refused_control,
    /// Refused: a gossip record that is malformed, stale, unknown or not signed by its node.
    refused_record,
    /// Answers of workers that nothing waits for any more.
    stale_answers,
    /// Jobs that a worker refused.
    jobs_refused,
    /// Packets that waited for a session and were dropped, because it did not open in time.
    dropped_waiting,
    /// Errors of the cryptographic library or of buffers; never expected.
    internal_errors,
}
