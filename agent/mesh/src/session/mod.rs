//! One end-to-end session: packets sealed once, sent on any number of routes, delivered once.
//!
//! ```text
//!   IP packet --seal--> body (index, pn, ciphertext, tag) --sent(paths)--> TailPool --tail--> again on a new route
//!   body --open--> [keys by phase] -> [tag] -> [16,384-packet window] --+--> IP packet
//!                                                                       +--> acknowledgement, ratchet, fragments
//!   transmit: what the session itself has to say (acknowledgements, ratchet), as sealed bodies
//! ```
//!
//! # How it is used
//! ```text
//!   let sealed = session.seal(now, Inner::Packet, ip, &mut out)?;      // out = body of a data frame
//!   session.sent(now, &mut pool, paths, &sealed, &out[..sealed.bytes]); // remembered for replay
//!   ... session.tail(&pool, dead, since) -> in order; then session.tail_moved(dead, onto)
//!   let opened = sessions.open(now, body)?;                             // in place; Opened::Packet(&[u8]) etc.
//!   while let Some(sealed) = session.transmit(now, entropy, &mut out)?  { send on the primary path }
//!   session.deadline()
//! ```

/// A set of paths of a session: bit n is path slot n (0..8).
pub struct PathSet(pub u8);

/// What a sealed body carries (wire inner types).
pub enum Inner { Packet, Control, PathProbe, First, Last }

/// A sealed body, at the start of the buffer.
pub struct Sealed { pub pn: u64, pub bytes: usize }

/// What was in a body.
pub enum Opened<'a> {
    /// An IP packet.
    Packet(&'a [u8]),
    /// A path probe or echo: its payload, for the scheduler.
    PathProbe(&'a [u8]),
    /// A control message that belongs to the node (not to the session itself).
    Control(&'a [u8]),
    /// Absorbed: an acknowledgement, a part of a ratchet, half a packet.
    Nothing,
}

/// Which end began the handshake.
pub enum Role { Initiator, Responder }

impl Session {
    /// `local`: the index that the peer writes on bodies to us; `remote`: what we write on bodies to the peer.
    pub fn new(keys: SessionKeys, role: Role, local: u32, remote: u32, now: Time, entropy: &mut dyn Entropy) -> Self;

    /// Bytes that sealing adds: 12 + 1 + 16.
    pub const OVERHEAD_BYTES: usize;

    pub fn seal(&mut self, now: Time, inner: Inner, payload: &[u8], out: &mut [u8]) -> Result<Sealed, SessionError>;
    /// Splits a packet in two tunnel fragments (each at most `inner_bytes_max` of payload) and seals both.
    pub fn seal_split(&mut self, now: Time, packet: &[u8], inner_bytes_max: usize, first: &mut [u8], last: &mut [u8]) -> Result<[Sealed; 2], SessionError>;
    pub fn open<'a>(&'a mut self, now: Time, body: &'a mut [u8]) -> Result<Opened<'a>, SessionError>;

    /// Remembers a sealed body that went out on `paths`.
    pub fn sent(&mut self, now: Time, pool: &mut TailPool, paths: PathSet, pn: u64, body: &[u8]);
    /// Sealed bodies, oldest first, that went only on `dead` paths, within the window, and are not acknowledged.
    pub fn tail<'a>(&'a self, now: Time, pool: &'a TailPool, dead: PathSet) -> impl Iterator<Item = (u64, &'a [u8])>;
    /// The tail of `dead` now counts as sent on `onto` too.
    pub fn tail_moved(&mut self, dead: PathSet, onto: PathSet);

    /// The next acknowledgement or ratchet frame that is due.
    pub fn transmit(&mut self, now: Time, entropy: &mut dyn Entropy, out: &mut [u8]) -> Result<Option<Sealed>, SessionError>;
    /// Acknowledge now what is held back (end of a batch).
    pub fn flush(&mut self, now: Time);
    pub fn deadline(&self) -> Option<Time>;

    /// A new handshake is due (hourly; earlier when asked by `demand_handshake`).
    pub fn wants_handshake(&self, now: Time) -> bool;
    /// No ratchet for 180 s: nothing is sealed or opened any more.
    pub fn expired(&self, now: Time) -> bool;
    /// The peer has proved by data that it holds the keys.
    pub fn confirmed(&self) -> bool;
    pub fn counters(&self) -> &SessionCounters;
    pub fn status(&self, now: Time) -> SessionStatus;
}

/// The sessions with one peer: the one in use, one that waits for its confirmation, one that retires.
/// A new session takes over when data confirms it; the old one goes on opening for 10 s.
impl SessionSet {
    pub fn new() -> Self;
    /// Adds a session; the initiator of its handshake may send on it at once, a responder when data came on it,
    /// unless there is no other. Answers the local indices that are no longer in use.
    pub fn install(&mut self, now: Time, session: Session) -> Vec<u32>;
    /// The session to send on.
    pub fn sending(&mut self) -> Option<&mut Session>;
    /// Opens a body with the session that its index names.
    pub fn open<'a>(&'a mut self, now: Time, body: &'a mut [u8]) -> Result<Opened<'a>, SessionError>;
    /// Drops what is over; the local indices that are free again.
    pub fn prune(&mut self, now: Time) -> Vec<u32>;
    pub fn deadline(&self) -> Option<Time>;
}

impl TailPool {
    /// A pool of `bytes` for all sessions of a node (8 MiB in the product), never more.
    pub fn new(bytes: usize) -> Self;
}

/// How a packet is sent: read from an IPv4 or IPv6 packet's DSCP.
pub enum Class { Critical, Normal, Bulk }
pub fn class_of(packet: &[u8]) -> Class;
