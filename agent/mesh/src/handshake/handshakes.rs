//! All handshakes of a node.

/// All handshakes of a node, in both roles.
pub struct Handshakes { /* private */ }

impl Handshakes {
    pub fn new(local: Local, entropy: &mut dyn Entropy) -> Self;

    /// Begins a handshake with a peer: for a link over one socket address, for a session over up to
    /// three routes. The id names it in [`Action::Failed`] and [`Established::local_id`].
    pub fn connect(&mut self, now: Time, peer: NodeId, ways: &[Via], authority: &dyn Authority, entropy: &mut dyn Entropy, out: &mut Vec<Action>) -> Result<u32, ConnectError>;

    /// Ends a handshake of ours without a word.
    pub fn cancel(&mut self, id: u32);
    /// A session is over: its index may be given again.
    pub fn release(&mut self, local_id: u32);
    /// Forgets everything about a peer that lost its rights.
    pub fn forget(&mut self, peer: &NodeId);

    /// A datagram of kind 1 to 4 arrived on a socket: all of it.
    pub fn link_datagram(&mut self, now: Time, underlay: u16, from: SocketAddr, bytes: &[u8], authority: &dyn Authority, entropy: &mut dyn Entropy, out: &mut Vec<Action>) -> Result<(), Refusal>;
    /// An end-to-end handshake datagram ([`DataBody::Handshake`]) arrived on this link.
    pub fn end_to_end_datagram(&mut self, now: Time, link: u32, bytes: &[u8], authority: &dyn Authority, entropy: &mut dyn Entropy, out: &mut Vec<Action>) -> Result<(), Refusal>;
    /// The answer to a job.
    pub fn complete(&mut self, now: Time, done: JobDone, authority: &dyn Authority, entropy: &mut dyn Entropy, out: &mut Vec<Action>) -> Result<(), Refusal>;
    /// Does what is due.
    pub fn tick(&mut self, now: Time, authority: &dyn Authority, entropy: &mut dyn Entropy, out: &mut Vec<Action>);
    pub fn deadline(&self) -> Option<Time>;

    /// Whether a handshake of ours with this peer runs.
    pub fn is_running(&self, peer: &NodeId, purpose: Purpose) -> bool;
    pub fn counters(&self) -> &HandshakeCounters;
}

// job.rs
impl Job {
    pub fn kind(&self) -> JobKind; // Agree, Sign, Verify
    /// Does the work: 0.05 to 0.3 ms.
    pub fn run(self, key: &x0_crypto::SigningKey) -> JobDone;
    /// Answers without the work: the queue is full.
    pub fn refuse(self) -> JobDone;
}
