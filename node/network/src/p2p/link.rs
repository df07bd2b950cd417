//! One connection with one peer, from its first stream to its end. A pair of peers has two, see [`super::lane`].
//!
//! ```text
//!   streams open --> hellos cross --> manager lets it begin --> readers, writers, pings --> any of them ends
//! ```
//!
//! Every task of a link ends before the manager hears of the end, so that the node hears of no frame
//! after the peer is gone.

use super::{
    lane::Lane,
    metrics::count,
    quota::Quota,
    shared::{Command, LinkFacts, Ready, Route, Shared, unix_ms},
    streams::{Opened, Purpose},
    wire::{self, Control, Hello, WireError},
};
use crate::{
    CarrierEvent, Channel, Offence, PeerKey,
    queue::{Class, LinkQueue, Waiting},
};
use bytes::{Bytes, BytesMut};
use libp2p::{Stream, swarm::ConnectionId};
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

/// Small frames are put together up to this size before they are written, bytes.
const TOGETHER_BYTES: usize = 32 * 1024;
/// Pongs that wait to be written.
const PONGS_MAX: usize = 8;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the connection is closed")]
    Closed,
    #[error("no hello within {} ms", x0_limits::LINK_HELLO_TIMEOUT_MS)]
    NoHello,
    #[error("the first message is no hello")]
    NotHello,
    #[error("the peer is of another chain")]
    OtherChain,
    #[error("the peer speaks version {0} of the link protocol")]
    Version(u16),
    #[error("the peer is not wanted any more")]
    Unwanted,
    #[error("nothing heard for {} ms", x0_limits::LINK_SILENCE_MS_MAX)]
    Silence,
    #[error("a second stream for the same frames")]
    SecondStream,
    #[error("the peer does not know this kind of connection")]
    OtherLane,
    #[error("the node reads no events")]
    NoReader,
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl LinkError {
    const fn offence(&self) -> Option<Offence> {
        match self {
            Self::OtherChain => Some(Offence::WrongChain),
            Self::NotHello | Self::SecondStream => Some(Offence::Malformed),
            Self::Wire(WireError::Malformed(_) | WireError::Channel(_)) => Some(Offence::Malformed),
            Self::Wire(WireError::Oversized { .. }) => Some(Offence::Oversized),
            _ => None,
        }
    }
}

/// A connection that stands.
pub(super) struct LinkContext {
    pub shared: Arc<Shared>,
    pub connection: ConnectionId,
    pub peer: PeerKey,
    pub remote: SocketAddr,
    /// What this side dialled the connection for; `None` when the peer did.
    pub dialled: Option<Lane>,
}

/// Runs a link to its end and tells the manager.
pub(super) async fn run(context: LinkContext, mut opened: mpsc::Receiver<Opened>) {
    let Err(error) = drive(&context, &mut opened).await;
    if let Some(offence) = error.offence() {
        context.shared.offend(context.peer, offence);
    }
    tracing::debug!(peer = %context.peer, remote = %context.remote, %error, "link ended");
    let (connection, peer) = (context.connection, context.peer);
    context.shared.tell(Command::Ended { connection, peer, reason: error.to_string() });
}

/// The streams of a link, and what the peer said first.
struct Greeted {
    lane: Lane,
    hello: Hello,
    /// Version of the addresses that this side has told.
    told: u64,
    control_in: Stream,
    control_out: Stream,
    writers: Vec<(Class, Stream)>,
    early: Vec<(Class, Stream)>,
}

async fn drive(
    context: &LinkContext,
    opened: &mut mpsc::Receiver<Opened>,
) -> Result<std::convert::Infallible, LinkError> {
    let limit = Duration::from_millis(x0_limits::LINK_HELLO_TIMEOUT_MS);
    let greeted = tokio::time::timeout(limit, greet(context, opened)).await.unwrap_or(Err(LinkError::NoHello));
    let greeted = greeted.inspect_err(|_| count(&context.shared.counters.hello_failed))?;
    let shared = &context.shared;
    let queue = Arc::new(LinkQueue::default());
    let facts = Arc::new(LinkFacts::default());
    facts.heard(shared.now());
    facts.tip.store(greeted.hello.tip, Ordering::Relaxed);
    let ahead = i128::from(greeted.hello.time_ms) - i128::from(unix_ms());
    facts.clock_ahead_ms.store(i64::try_from(ahead).unwrap_or(i64::MAX), Ordering::Relaxed);
    let route = Route {
        queue: Arc::clone(&queue),
        facts: Arc::clone(&facts),
        remote: context.remote,
        dialled: context.dialled.is_some(),
        software: greeted.hello.software.clone(),
        since_ms: shared.now(),
    };
    let (begin, begun) = oneshot::channel();
    let (connection, peer, lane) = (context.connection, context.peer, greeted.lane);
    shared.tell(Command::Ready(Box::new(Ready { connection, peer, lane, route, hello: greeted.hello.clone(), begin })));
    begun.await.map_err(|_| LinkError::Unwanted)?;
    let mut tasks = JoinSet::new();
    let error = work(context, opened, greeted, &queue, &facts, &mut tasks).await;
    queue.close();
    tasks.shutdown().await;
    Err(error)
}

/// Waits for the streams, then says hello and hears it. The order matters: who listened before it
/// spoke could wait for a peer that does the same.
async fn greet(context: &LinkContext, opened: &mut mpsc::Receiver<Opened>) -> Result<Greeted, LinkError> {
    let (mut control_in, mut control_out) = (None, None);
    let (mut writers, mut early) = (Vec::new(), Vec::new());
    while control_in.is_none() || control_out.is_none() || writers.len() < Class::ALL.len() {
        let Opened { purpose, ours, stream } = opened.recv().await.ok_or(LinkError::Closed)?;
        match (purpose, ours) {
            (Purpose::Control(_), true) => control_out = Some(stream),
            // A peer of a release with one connection opens the control stream that it knows.
            (Purpose::Control(lane), false) if context.dialled.is_some_and(|dialled| dialled != lane) => {
                return Err(LinkError::OtherLane);
            }
            (Purpose::Control(lane), false) => control_in = Some((lane, stream)),
            (Purpose::Frames(class), true) => writers.push((class, stream)),
            (Purpose::Frames(class), false) => early.push((class, stream)),
        }
    }
    let (Some((lane, mut control_in)), Some(mut control_out)) = (control_in, control_out) else {
        return Err(LinkError::Closed);
    };
    let (own, told) = context.shared.hello();
    wire::write(&mut control_out, &Control::Hello(own).to_frame()).await?;
    let Control::Hello(hello) = wire::read_control(&mut control_in).await? else { return Err(LinkError::NotHello) };
    if hello.version != wire::LINK_VERSION {
        return Err(LinkError::Version(hello.version));
    }
    if hello.genesis != context.shared.genesis {
        return Err(LinkError::OtherChain);
    }
    Ok(Greeted { lane, hello, told, control_in, control_out, writers, early })
}

/// What the tasks of one link share.
#[derive(Clone)]
struct Member {
    shared: Arc<Shared>,
    peer: PeerKey,
    facts: Arc<LinkFacts>,
    /// The last ping that has no answer yet.
    ping: Arc<Mutex<Option<(u64, Instant)>>>,
}

/// Runs everything until the first thing ends; its reason.
async fn work(
    context: &LinkContext,
    opened: &mut mpsc::Receiver<Opened>,
    greeted: Greeted,
    queue: &Arc<LinkQueue>,
    facts: &Arc<LinkFacts>,
    tasks: &mut JoinSet<LinkError>,
) -> LinkError {
    let member = Member {
        shared: Arc::clone(&context.shared),
        peer: context.peer,
        facts: Arc::clone(facts),
        ping: Arc::default(),
    };
    let (pongs, pongs_waiting) = mpsc::channel(PONGS_MAX);
    tasks.spawn(member.clone().speak(greeted.control_out, pongs_waiting, greeted.told));
    tasks.spawn(member.clone().listen(greeted.control_in, pongs));
    for (class, stream) in greeted.writers {
        tasks.spawn(member.clone().write(class, stream, Arc::clone(queue)));
    }
    let mut reading = Vec::new();
    let mut arrived = greeted.early;
    loop {
        for (class, stream) in arrived.drain(..) {
            if reading.contains(&class) {
                return LinkError::SecondStream;
            }
            reading.push(class);
            tasks.spawn(member.clone().read(class, stream));
        }
        tokio::select! {
            ended = tasks.join_next() => return match ended {
                Some(Ok(error)) => error,
                // A task that panicked has said so in the log.
                Some(Err(_)) | None => LinkError::Closed,
            },
            next = opened.recv() => match next {
                Some(Opened { purpose: Purpose::Frames(class), ours: false, stream }) => arrived.push((class, stream)),
                Some(_) => return LinkError::SecondStream,
                None => return LinkError::Closed,
            },
        }
    }
}

impl Member {
    /// Writes the frames of a class.
    async fn write(self, class: Class, mut stream: Stream, queue: Arc<LinkQueue>) -> LinkError {
        let mut buffer = BytesMut::with_capacity(TOGETHER_BYTES);
        while let Some(frame) = queue.pop_class(class).await {
            let mut next = Some(frame);
            let mut large = None;
            while let Some(Waiting { channel, bytes, .. }) = next.take() {
                self.facts.sent.fetch_add(1, Ordering::Relaxed);
                self.shared.counters.sent(channel, bytes.len());
                wire::put_header(&mut buffer, channel, &bytes);
                if bytes.len() > TOGETHER_BYTES {
                    large = Some(bytes);
                    break;
                }
                buffer.extend_from_slice(&bytes);
                if buffer.len() < TOGETHER_BYTES {
                    next = queue.try_pop_class(class);
                }
            }
            let written = match large {
                None => wire::write(&mut stream, &buffer).await,
                Some(bytes) => match wire::write(&mut stream, &buffer).await {
                    Ok(()) => wire::write(&mut stream, &bytes).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = written {
                return error.into();
            }
            buffer.clear();
        }
        LinkError::Unwanted
    }

    /// Reads the frames of a class, no faster than the quota allows.
    async fn read(self, class: Class, mut stream: Stream) -> LinkError {
        let Some(events) = self.shared.events.lock().clone() else { return LinkError::NoReader };
        let mut quotas = self.shared.quotas.map(|rate| Quota::new(rate, self.shared.now()));
        loop {
            let (channel, bytes) = match wire::read_frame(&mut stream, class, &self.shared.budget).await {
                Ok(frame) => frame,
                Err(error) => return error.into(),
            };
            let wait = self.account(channel, &bytes, &mut quotas);
            let event = CarrierEvent::Frame { from: self.peer, channel, bytes };
            if events.send(event).await.is_err() {
                return LinkError::NoReader;
            }
            if wait > 0 {
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }

    /// Counts a frame; how long to wait before the next, milliseconds.
    fn account(&self, channel: Channel, bytes: &Bytes, quotas: &mut [Quota]) -> u64 {
        let now = self.shared.now();
        self.facts.heard(now);
        self.facts.received.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.received(channel, bytes.len());
        let Some(quota) = quotas.get_mut(channel.index()) else { return 0 };
        let wait = quota.take(bytes.len(), now);
        if wait > 0 {
            self.shared.counters.throttled_ms.fetch_add(wait, Ordering::Relaxed);
            if quota.floods() {
                self.shared.offend(self.peer, Offence::Flooding);
            }
        }
        wait
    }

    /// Writes pings, pongs and addresses, and notices silence.
    async fn speak(self, mut stream: Stream, mut pongs: mpsc::Receiver<u64>, mut told: u64) -> LinkError {
        let mut ticks = tokio::time::interval(Duration::from_millis(x0_limits::LINK_PING_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut number = 0u64;
        let mut unsaid = None;
        let mut told_ms = self.shared.now();
        loop {
            let control = tokio::select! {
                Some(number) = pongs.recv() => Control::Pong { number },
                _ = ticks.tick() => {
                    let now = self.shared.now();
                    if now.saturating_sub(self.facts.heard_ms.load(Ordering::Relaxed)) > x0_limits::LINK_SILENCE_MS_MAX {
                        return LinkError::Silence;
                    }
                    if now.saturating_sub(told_ms) >= x0_limits::LINK_TELL_MS
                        && let Some((version, addresses)) = self.shared.tellings.read().since(told)
                    {
                        (told, told_ms) = (version, now);
                        let _ = unsaid.insert(Control::Addresses(addresses));
                    }
                    number += 1;
                    self.ping.lock().get_or_insert((number, Instant::now()));
                    Control::Ping { number, tip: (self.shared.tip)() }
                }
            };
            for control in [Some(control), unsaid.take()].into_iter().flatten() {
                if let Err(error) = wire::write(&mut stream, &control.to_frame()).await {
                    return error.into();
                }
            }
        }
    }

    /// Reads pings, pongs and addresses.
    async fn listen(self, mut stream: Stream, pongs: mpsc::Sender<u64>) -> LinkError {
        let mut told_ms = None;
        loop {
            let control = match wire::read_control(&mut stream).await {
                Ok(control) => control,
                Err(error) => return error.into(),
            };
            let now = self.shared.now();
            self.facts.heard(now);
            match control {
                Control::Hello(_) => return LinkError::NotHello,
                Control::Ping { number, tip } => {
                    self.facts.tip.store(tip, Ordering::Relaxed);
                    // A peer that pings faster than it reads gets fewer pongs.
                    let _ = pongs.try_send(number);
                }
                Control::Pong { number } => {
                    let mut ping = self.ping.lock();
                    if let Some((waiting, sent)) = *ping
                        && number >= waiting
                    {
                        let rtt = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
                        self.facts.rtt_us.store(rtt.max(1), Ordering::Relaxed);
                        *ping = None;
                    }
                }
                Control::Addresses(told) => {
                    // Half of the sender's own interval, for clocks that differ.
                    if told_ms.is_some_and(|last| now.saturating_sub(last) < x0_limits::LINK_TELL_MS / 2) {
                        self.shared.offend(self.peer, Offence::Flooding);
                        continue;
                    }
                    told_ms = Some(now);
                    self.shared.tell(Command::Told(told));
                }
            }
        }
    }
}
