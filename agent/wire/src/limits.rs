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
/// Payload that fits a proof fragment on the smallest underlay with the longest routes there and back.
pub const PROOF_FRAGMENT_BYTES_MIN: usize = 1_106;
/// Largest payload of a proof fragment.
pub const PROOF_FRAGMENT_BYTES_MAX: usize = 1_188;
/// Handshakes of its own that a node runs at the same time.
pub const HANDSHAKE_RUNNING_MAX: usize = 256;
/// Ways over which one handshake sends.
pub const HANDSHAKE_WAYS_MAX: usize = 3;
/// First wait before a handshake datagram is sent again; each is half as long again as the one before.
pub const HANDSHAKE_RETRY_MS: u64 = 60;
/// Longest wait before a handshake datagram is sent again.
pub const HANDSHAKE_RETRY_MS_MAX: u64 = 1_000;
/// Wait for the rest of a proof of which a part arrived, before the rest is asked for.
pub const HANDSHAKE_GAP_MS: u64 = 15;
/// Time after which a handshake of its own fails.
pub const HANDSHAKE_GIVE_UP_MS: u64 = 8_000;
/// Handshakes that others began and that are not over.
pub const HALF_OPEN_MAX: usize = 2_048;
/// Life of such a handshake: longer than an initiator tries.
pub const HALF_OPEN_LIFE_MS: u64 = 10_000;
/// Half-open handshakes above which a hello needs a cookie.
pub const HALF_OPEN_BEFORE_COOKIES: usize = HALF_OPEN_MAX / 2;
/// Half-open handshakes of one IPv4 address, one IPv6 /64 or one link.
pub const HALF_OPEN_PER_PLACE_MAX: usize = 64;
/// Hellos per second above which a hello needs a cookie: an answer costs about 50 microseconds, so
/// this keeps answers below 2 % of a core.
pub const HELLOS_PER_S_BEFORE_COOKIES: u64 = 400;
/// Answers that are being made; more hellos are dropped.
pub const ANSWERS_PENDING_MAX: usize = 64;
/// Half-open handshakes that hold parts of a proof.
pub const PROOFS_PENDING_MAX: usize = 256;
/// Halves of end-to-end hellos that wait for their other half, and how long.
pub const HALVES_MAX: usize = 64;
/// Time that half of a hello waits for the other.
pub const HALVES_MS: u64 = 2_000;
/// Times that a responder sends missing parts of its proof again, and the time between.
pub const PROOF_RESENDS_MAX: u32 = 24;
/// Shortest time between two of them.
pub const PROOF_RESEND_MS: u64 = 10;
/// Life of a cookie secret; the one before stays valid as long.
pub const COOKIE_SECRET_MS: u64 = 120_000;
/// Cookies that one handshake takes.
pub const COOKIES_PER_HANDSHAKE_MAX: u32 = 3;
/// Handshakes of one name that are completed within a minute. More mean that two machines use one key.
pub const HANDSHAKES_PER_PEER_PER_MINUTE: u32 = 60;
/// Names whose handshakes are counted, and names that want the key sent.
pub const HANDSHAKE_PEERS_REMEMBERED_MAX: usize = 1_024;
/// Random ids that are tried before a handshake is refused for want of a free one.
pub const HANDSHAKE_ID_TRIES: u32 = 16;

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
pub const ROUTE_RECORD_BODY_BYTES_MAX: usize = 32 + 32 + 8 + 2 + 1 + ROUTE_ADJACENCIES_MAX * 43;
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
