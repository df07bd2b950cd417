//! One link: a neighbour over one underlay. Is it alive, how good is it, how large may a datagram be.
//!
//! ```text
//!   frames in --receive--> [hop MAC] -> [tag of sealed frames] -> [sequence window] --+--> Liveness --judge--> Change
//!                                                                                     +--> rtt, loss, behaviour
//!   frames out <--transmit-- heartbeats, probes, echoes (what is due)                 +--> Pmtu
//!              <--stamp / seal_control-- data and control of the node
//! ```
//!
//! # How it is used
//! ```text
//!   loop {
//!     each datagram of the link (kind 5..=8, found by its tag):  link.receive(now, received, frame)
//!     link.judge(now, kernel_last_seen)                          -> Option<Change>
//!     while let Some(frame) = link.transmit(now, &mut buffer)?   -> send it (frame.sized: don't fragment)
//!     sleep until link.deadline()
//!   }
//! ```

/// What a link is believed to be.
pub enum State {
    /// New or back, not yet carrying: waits for two-way evidence and for its time of damping.
    Recovering,
    /// Alive both ways.
    Up,
    /// Late: send copies elsewhere.
    Suspect,
    /// Dead in at least one direction.
    Down,
}

/// Why a link's state changed.
pub enum Reason {
    /// Both directions are heard.
    Heard,
    /// Nothing came for the time.
    Silence,
    /// The other end says that it hears nothing.
    ReportedSilence,
    /// No carrier.
    Carrier,
    /// The operating system refused to send.
    SendFailed,
}

/// A change of state; what `judge` and the instant signals answer.
pub struct Change { pub from: State, pub to: State, pub reason: Reason, pub age_us: u64, pub at: Time }

/// How eagerly a link is probed when nothing passes.
pub enum Duty {
    /// In a route of a session that carried traffic within 2 s: 2 ms (the link sets this itself when data passes).
    Active,
    /// In a route of a session: 20 ms.
    Standby,
    /// In no route: 200 ms.
    Idle,
}

/// What does not change while a link lives.
pub struct LinkConfig {
    /// Largest UDP payload that the interface takes, bytes.
    pub payload_bytes_max: u16,
    /// Bytes of IP and UDP headers below: 28 or 48.
    pub underlay_header_bytes: u16,
}

/// What a frame was.
pub enum Received<'a> {
    /// Absorbed: a heartbeat, a probe or its echo. Nothing to do.
    Nothing,
    /// A data frame whose hop MAC holds. Relay or open it, unless `freshness` is `Repeated`.
    Data { freshness: Freshness },
    /// A control frame, opened in place: its body.
    Control(&'a [u8]),
}

/// Whether a link sequence number was seen before.
pub enum Freshness { New, Repeated, TooOld }

/// A frame that is due; it lies at the start of the buffer.
pub struct Due { pub bytes: usize, pub sized: bool }

impl Link {
    /// A link whose handshake is done; state `Recovering`, Up with the first heartbeat that confirms our own.
    pub fn new(keys: LinkKeys, config: LinkConfig, now: Time) -> Self;

    /// Tags that the other end may put on frames to us now (two are valid), and until when.
    pub fn own_tags(&self, now: Time) -> ([u32; 2], Time);
    /// The tag for frames to the other end now.
    pub fn peer_tag(&self, now: Time) -> u32;

    /// A frame of this link arrived at `received` (kernel stamp). Verified before anything moves.
    pub fn receive<'a>(&mut self, now: Time, received: Time, frame: &'a mut [u8]) -> Result<Received<'a>, LinkError>;

    /// Gives a laid-out data frame (header, labels, body) its tag, sequence number and hop MAC for this link.
    /// `replay` frames and copies get numbers of their own.
    pub fn stamp(&mut self, now: Time, frame: &mut [u8]) -> Result<(), LinkError>;
    /// Seals a control frame; its length.
    pub fn seal_control(&mut self, now: Time, body: &[u8], out: &mut [u8]) -> Result<usize, LinkError>;
    /// The next heartbeat, probe or echo that is due.
    pub fn transmit(&mut self, now: Time, out: &mut [u8]) -> Result<Option<Due>, LinkError>;

    /// Judges the age of the link. Call it after all waiting datagrams were handed in.
    /// `kernel_last_seen`: when the kernel filter last saw a frame with one of our tags, if known.
    pub fn judge(&mut self, now: Time, kernel_last_seen: Option<Time>) -> Option<Change>;
    /// The interface got or lost its carrier.
    pub fn carrier(&mut self, now: Time, up: bool) -> Option<Change>;
    /// The operating system refused a datagram for lack of a route.
    pub fn send_failed(&mut self, now: Time) -> Option<Change>;
    /// EMSGSIZE for a datagram of this many bytes.
    pub fn too_long(&mut self, now: Time, bytes: usize);
    /// The path below changed (address moved): path MTU and timing start anew, liveness goes on.
    pub fn moved(&mut self, now: Time);

    /// When something is due next: judge, then transmit.
    pub fn deadline(&self) -> Option<Time>;

    pub fn set_duty(&mut self, now: Time, duty: Duty);
    /// Lower bound of the heartbeat interval; `governed_interval_us(links)` keeps probing under 5 % of a core.
    pub fn set_interval_min_us(&mut self, us: u32);

    pub fn state(&self) -> State;
    /// Largest UDP payload that is confirmed to pass, bytes.
    pub fn payload_bytes(&self) -> u16;
    /// What has been measured: srtt_us, rttvar_us, rtt_us_min, jitter_us, loss_in_q16, loss_out_q16, age_us, ...
    pub fn measure(&self, now: Time) -> Measured;
    pub fn behaviour(&self) -> BehaviourSummary;
    pub fn counters(&self) -> &LinkCounters;
}

/// Smallest heartbeat interval that keeps probing of so many active links under 5 % of a core.
pub const fn governed_interval_us(links: u32) -> u32;
