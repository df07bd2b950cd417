//! Every limit of the mesh, in one place.

/// Version of the datagram formats, the high nibble of the first byte.
pub const WIRE_VERSION: u8 = 1;
/// Most labels of a source route: relays between the ends.
pub const LABELS_MAX: usize = 8;
/// Live routes that a session keeps.
pub const ROUTES_MAX: usize = 3;

// ---- sizes of datagrams

/// Bytes of the link header.
pub const HEADER_BYTES: usize = 20;
/// Bytes of a label.
pub const LABEL_BYTES: usize = 4;
/// Bytes of the tag of AES-256-GCM (NIST SP 800-38D).
pub const TAG_BYTES: usize = 16;
/// Bytes at the start of the body that the hop MAC covers. They contain the session index and the
/// packet number of data, and ciphertext in all other frames.
pub const HOP_MAC_BODY_BYTES: usize = 16;
/// UDP payload that every underlay carries: the IPv6 minimum MTU of 1280 (RFC 8200, section 5)
/// without the headers of IPv6 and UDP.
pub const DATAGRAM_BYTES_MIN_MTU: usize = 1_280 - 40 - 8;
/// Largest UDP payload that an agent sends or reads: an Ethernet jumbo frame.
pub const DATAGRAM_BYTES_MAX: usize = 9_000 - 40 - 8;
/// Hops that a frame may make: the labels, the last hop and one bypass.
pub const TTL_MAX: u8 = 24;

// ---- handshake

/// Bytes of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
pub const ENCAPSULATION_KEY_BYTES: usize = 1_184;
/// Bytes of an ML-KEM-768 ciphertext (FIPS 203, table 3).
pub const CIPHERTEXT_BYTES: usize = 1_088;
/// Bytes of an X25519 public key (RFC 7748).
pub const X25519_BYTES: usize = 32;
/// Bytes of a cookie and of the MAC made with it.
pub const COOKIE_BYTES: usize = 16;
/// Bytes of the random nonce that seals a cookie.
pub const COOKIE_NONCE_BYTES: usize = 12;
/// Most data fragments of a proof: a proof with a public key has 5,326 bytes, and with the longest
/// routes on the smallest underlay a fragment carries at least [`PROOF_FRAGMENT_BYTES_MIN`].
pub const PROOF_FRAGMENTS_MAX: usize = 6;
/// Payload that fits a proof fragment on any route.
pub const PROOF_FRAGMENT_BYTES_MIN: usize = 1_068;
/// Largest payload of a proof fragment.
pub const PROOF_FRAGMENT_BYTES_MAX: usize = 1_188;

// ---- control and probes

/// Most fragments of a control message: a link-state record with its signature and 256 adjacencies.
pub const CONTROL_FRAGMENTS_MAX: usize = 32;
/// Bytes of a probe without padding.
pub const PROBE_BYTES_MIN: usize = 7;

// ---- routes

/// Most nodes whose links a node keeps; the design reckons with about 500.
pub const ROUTE_NODES_MAX: usize = 512;
/// Most links that one record may claim.
pub const ROUTE_ADJACENCIES_MAX: usize = 32;
/// Most links between the same two nodes.
pub const ROUTE_PARALLEL_MAX: usize = 4;
/// Bytes of the longest body of a record: mesh, node, number, lifetime, and claims of 43 bytes each.
pub const ROUTE_RECORD_BODY_BYTES_MAX: usize = 32 + 32 + 8 + 2 + 2 + ROUTE_ADJACENCIES_MAX * 43;
/// Bytes of an ML-DSA-65 signature (FIPS 204, table 2).
pub const ROUTE_SIGNATURE_BYTES: usize = 3_309;
/// Bytes of the longest signed record.
pub const ROUTE_RECORD_BYTES_MAX: usize = ROUTE_RECORD_BODY_BYTES_MAX + ROUTE_SIGNATURE_BYTES;
/// Longest time that a record is believed after it was signed, seconds.
pub const ROUTE_LIFETIME_S_MAX: u16 = 300;
/// Lifetime that this implementation signs, seconds: three refreshes may be lost.
pub const ROUTE_LIFETIME_S: u16 = 200;
/// Shortest and longest time between two refreshes of an unchanged record, milliseconds.
pub const ROUTE_REFRESH_MS: (u64, u64) = (30_000, 60_000);
/// Shortest time between two records of one node, milliseconds.
pub const ROUTE_RECORD_INTERVAL_MS: u64 = 1_000;
/// Shortest time between two deltas to a neighbour, milliseconds.
pub const ROUTE_DELTA_INTERVAL_MS: u64 = 200;
/// Expired nodes whose last number is still remembered, so that a replayed record stays dead.
pub const ROUTE_REMEMBERED_MAX: usize = 1_024;
/// Longest body of a control frame that carries gossip: it fits the smallest underlay.
pub const ROUTE_MESSAGE_BYTES_MAX: usize = 1_150;
/// Payload of one chunk of a record.
pub const ROUTE_CHUNK_BYTES: usize = 1_024;
/// Most chunks of a record.
pub const ROUTE_CHUNKS_MAX: usize = ROUTE_RECORD_BYTES_MAX.div_ceil(ROUTE_CHUNK_BYTES);
/// Most entries of one message that lists records.
pub const ROUTE_HAVE_MAX: usize = 28;
/// Gossip to one neighbour, bytes per second in the long run.
pub const ROUTE_GOSSIP_BYTES_PER_S: u64 = 256 * 1_024;
/// Gossip to one neighbour, bytes at once after a rest.
pub const ROUTE_GOSSIP_BURST_BYTES: u64 = 64 * 1_024;
/// Signatures that one neighbour may make this node verify, per second.
pub const ROUTE_VERIFY_PER_S: u64 = 64;
/// Records of one neighbour that wait for their verification.
pub const ROUTE_VERIFY_PENDING_MAX: usize = 16;
/// Records of one neighbour that are put together from chunks at the same time.
pub const ROUTE_REASSEMBLY_MAX: usize = 4;
/// First and longest wait before a record that was not confirmed is sent again, milliseconds.
pub const ROUTE_RETRY_MS: (u64, u64) = (500, 8_000);
/// Notices of dead links that one neighbour may send, per second.
pub const ROUTE_NOTICES_PER_S: u64 = 50;
/// Shortest time between two notices about the same link to the same neighbour, milliseconds.
pub const ROUTE_NOTICE_INTERVAL_MS: u64 = 100;
/// Nodes that a notice passes at most.
pub const ROUTE_NOTICE_HOPS_MAX: u8 = 8;
/// A link counts as used by a neighbour for this long after the last packet, milliseconds.
pub const ROUTE_USED_MS: u64 = 1_000;
/// Routes of passing packets that a relay remembers for its notices.
pub const ROUTE_USED_MAX: usize = 512;
/// Bypasses that are kept for the same link and merging node.
pub const ROUTE_BYPASSES_MAX: usize = 2;
/// Candidates of a session: the live routes and others that are tried from time to time.
pub const ROUTE_CANDIDATES_MAX: usize = 6;
/// Switches of the primary route that a session remembers.
pub const ROUTE_SWITCHES_MAX: usize = 32;
