//! Between the engine and the carrier: bytes to messages, checked signatures, requests and answers.
//!
//! The engine's own network is not used. This actor takes the engine's messages and hands them to a
//! [`Carrier`]; a task of its own reads the carrier, decodes within bounds, and passes on only votes, proposals and
//! openings whose signature it has checked against the set of their height: the engine queues messages of future
//! heights without looking at them, and would let one peer fill that queue.

use crate::{
    book::Book,
    context::{ChainContext, Height},
    pacing::Pacer,
    parts::Part,
    signer::CachingVerifier,
    wire::{ChainCodec, CodecError},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use malachite_codec::Codec;
use malachite_core_consensus::{LivenessMsg, SignedConsensusMsg};
use malachite_core_types::{SignedProposal, SignedVote};
use malachite_engine::{
    network::{NetworkEvent, NetworkMsg, Status, Subscriber},
    util::streaming::{StreamContent, StreamMessage},
};
use malachite_network::Channel as EngineChannel;
use malachite_peer::PeerId;
use malachite_sync::{InboundRequestId, OutboundFailureReason, OutboundRequestId, Request, Response};
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, watch};
use x0_network::{Carrier, CarrierEvent, Channel, PeerKey, SendError};

/// Requests of one peer that wait for an answer here.
const INBOUND_PER_PEER_MAX: usize = 16;
/// Code and length of a multihash of 32 bytes, as the engine names peers.
const MULTIHASH_PREFIX: [u8; 2] = [0x12, 0x20];
const TAG_STATUS: u8 = 0;
const TAG_WAKE: u8 = 1;

/// The engine's name of a peer.
#[must_use]
pub fn peer_id(peer: &PeerKey) -> Option<PeerId> {
    PeerId::from_bytes(&[&MULTIHASH_PREFIX[..], &peer.0].concat()).ok()
}

/// The carrier's name of a peer.
#[must_use]
pub fn peer_key(peer: &PeerId) -> Option<PeerKey> {
    let bytes = peer.to_bytes();
    let key = bytes.strip_prefix(&MULTIHASH_PREFIX)?;
    key.try_into().ok().map(PeerKey)
}

/// What the host sends past the engine.
#[derive(Clone)]
pub(crate) struct Outbox(pub Arc<dyn Carrier>);

impl Outbox {
    /// Tells the peers that this node starts a height, so that their idle waits end.
    pub(crate) fn wake(&self, height: u64) {
        let mut frame = BytesMut::with_capacity(9);
        frame.put_u8(TAG_WAKE);
        frame.put_u64(height);
        report(Channel::Status, self.0.broadcast(Channel::Status, frame.freeze()));
    }
}

fn report(channel: Channel, sent: Result<(), SendError>) {
    if let Err(error) = sent {
        // Lost frames are part of the carrier's contract; the engine repeats itself.
        tracing::debug!(?channel, %error, "not sent");
    }
}

type Event = NetworkEvent<ChainContext>;

#[derive(Default)]
struct Audience {
    subscribers: Vec<Box<dyn Subscriber<Event>>>,
    listening: bool,
    peers: BTreeSet<PeerKey>,
}

/// Events for everybody who listens, early or late.
#[derive(Default)]
struct Events(Mutex<Audience>);

fn listening() -> Option<Event> {
    // The engine only wants to see that there is an address.
    "/memory/1".parse().ok().map(NetworkEvent::Listening)
}

impl Events {
    fn subscribe(&self, subscriber: Box<dyn Subscriber<Event>>) {
        let mut audience = self.0.lock();
        if audience.listening
            && let Some(event) = listening()
        {
            subscriber.send(event);
        }
        for peer in audience.peers.iter().filter_map(peer_id) {
            subscriber.send(NetworkEvent::PeerConnected(peer));
            subscriber.send(NetworkEvent::PeerSubscribed(peer, EngineChannel::Sync));
        }
        audience.subscribers.push(subscriber);
    }

    fn emit(&self, event: &Event) {
        for subscriber in &self.0.lock().subscribers {
            subscriber.send(event.clone());
        }
    }

    fn listening(&self) {
        self.0.lock().listening = true;
        if let Some(event) = listening() {
            self.emit(&event);
        }
    }

    fn peer_up(&self, peer: PeerKey) {
        let new = self.0.lock().peers.insert(peer);
        if let (true, Some(id)) = (new, peer_id(&peer)) {
            self.emit(&NetworkEvent::PeerConnected(id));
            // The sync actor answers this with its status at once.
            self.emit(&NetworkEvent::PeerSubscribed(id, EngineChannel::Sync));
        }
    }

    fn peer_down(&self, peer: PeerKey) {
        let known = self.0.lock().peers.remove(&peer);
        if let (true, Some(id)) = (known, peer_id(&peer)) {
            self.emit(&NetworkEvent::PeerDisconnected(id));
        }
    }
}

/// Requests under way in both directions.
#[derive(Default)]
struct Requests {
    next: AtomicU64,
    outbound: Mutex<HashMap<u64, PeerKey>>,
    inbound: Mutex<BTreeMap<(PeerKey, u64), InboundRequestId>>,
}

/// What actor and pump share.
pub(crate) struct Fabric {
    carrier: Arc<dyn Carrier>,
    events: Events,
    requests: Requests,
    book: Arc<Book>,
    verifier: CachingVerifier,
    pacer: Arc<Pacer>,
    /// Peers with a standing link.
    pub(crate) peers: watch::Sender<usize>,
    /// Frames that were no message, or not signed as they must be.
    pub(crate) refused: AtomicU64,
    height: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Fabric {
    pub(crate) fn new(
        carrier: Arc<dyn Carrier>,
        book: Arc<Book>,
        verifier: CachingVerifier,
        pacer: Arc<Pacer>,
        height: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            events: Events::default(),
            requests: Requests::default(),
            book,
            verifier,
            pacer,
            peers: watch::Sender::new(0),
            refused: AtomicU64::new(0),
            height,
        })
    }

    fn broadcast(&self, channel: Channel, frame: Result<Bytes, CodecError>) {
        match frame {
            Ok(frame) => report(channel, self.carrier.broadcast(channel, frame)),
            Err(error) => tracing::error!(?channel, %error, "cannot write a message"),
        }
    }

    fn request(&self, peer: &PeerId, request: &Request<ChainContext>) -> OutboundRequestId {
        let number = self.requests.next.fetch_add(1, Ordering::Relaxed);
        let id = OutboundRequestId::new(number);
        let sent = peer_key(peer).and_then(|key| {
            let body = ChainCodec.encode(request).ok()?;
            let mut frame = BytesMut::with_capacity(8 + body.len());
            frame.put_u64(number);
            frame.put_slice(&body);
            self.requests.outbound.lock().insert(number, key);
            let sent = self.carrier.send(&key, Channel::SyncRequest, frame.freeze());
            if sent.is_err() {
                self.requests.outbound.lock().remove(&number);
            }
            sent.ok()
        });
        if sent.is_none() {
            self.events.emit(&NetworkEvent::SyncRequestFailed(
                id.clone(),
                *peer,
                OutboundFailureReason::ConnectionClosed,
            ));
        }
        id
    }

    fn respond(&self, id: &InboundRequestId, response: &Response<ChainContext>) {
        let Some((peer, number)) = self.take_inbound(id) else { return };
        match ChainCodec.encode(response) {
            Ok(body) => {
                let mut frame = BytesMut::with_capacity(8 + body.len());
                frame.put_u64(number);
                frame.put_slice(&body);
                report(Channel::SyncResponse, self.carrier.send(&peer, Channel::SyncResponse, frame.freeze()));
            }
            Err(error) => tracing::error!(%error, "cannot write an answer"),
        }
    }

    fn take_inbound(&self, id: &InboundRequestId) -> Option<(PeerKey, u64)> {
        let mut inbound = self.requests.inbound.lock();
        let key = inbound.iter().find(|(_, known)| *known == id).map(|(key, _)| *key)?;
        inbound.remove(&key);
        Some(key)
    }

    fn cancel(&self, id: &OutboundRequestId) {
        if let Ok(number) = id.to_string().parse() {
            self.requests.outbound.lock().remove(&number);
        }
    }

    /// Reads the carrier until it closes.
    pub(crate) async fn pump(self: Arc<Self>, mut events: mpsc::Receiver<CarrierEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                CarrierEvent::Listening => self.events.listening(),
                CarrierEvent::PeerUp(peer) => {
                    self.events.peer_up(peer);
                    self.peers.send_replace(self.events.0.lock().peers.len());
                }
                CarrierEvent::PeerDown(peer) => self.peer_down(peer),
                CarrierEvent::Frame { from, channel, bytes } => {
                    match self.frame(from, channel, bytes).await {
                        Ok(()) => {}
                        // Votes come in after a quorum has formed without them; that is nobody's fault.
                        Err(FrameError::NotDue(height)) => tracing::trace!(%from, ?channel, height, "frame is not due"),
                        // The engine takes requests back when it has decided meanwhile, and the answer is under way.
                        Err(FrameError::NotAsked) => tracing::trace!(%from, "an answer that nobody waits for"),
                        Err(error) => {
                            self.refused.fetch_add(1, Ordering::Relaxed);
                            tracing::debug!(%from, ?channel, %error, "frame refused");
                        }
                    }
                }
            }
        }
    }

    fn peer_down(&self, peer: PeerKey) {
        let Some(id) = peer_id(&peer) else { return };
        let mut lost = Vec::new();
        self.requests.outbound.lock().retain(|number, to| {
            let keep = *to != peer;
            if !keep {
                lost.push(*number);
            }
            keep
        });
        for number in lost {
            let request = OutboundRequestId::new(number);
            self.events.emit(&NetworkEvent::SyncRequestFailed(request, id, OutboundFailureReason::ConnectionClosed));
        }
        let mut gone = Vec::new();
        self.requests.inbound.lock().retain(|(from, _), request| {
            let keep = *from != peer;
            if !keep {
                gone.push(request.clone());
            }
            keep
        });
        for request in gone {
            self.events.emit(&NetworkEvent::SyncInboundRequestFailed(request, id));
        }
        self.events.peer_down(peer);
        self.peers.send_replace(self.events.0.lock().peers.len());
    }

    async fn frame(&self, from: PeerKey, channel: Channel, mut bytes: Bytes) -> Result<(), FrameError> {
        let id = peer_id(&from).ok_or(FrameError::Peer)?;
        match channel {
            Channel::Consensus => match ChainCodec.decode(bytes)? {
                SignedConsensusMsg::Vote(vote) => self.vote(id, vote).await,
                SignedConsensusMsg::Proposal(proposal) => self.proposal(id, proposal).await,
            },
            Channel::Liveness => match ChainCodec.decode(bytes)? {
                LivenessMsg::Vote(vote) => self.vote(id, vote).await,
                // The engine checks each signature of a certificate itself, and only at its own height.
                LivenessMsg::PolkaCertificate(certificate) => {
                    self.due(certificate.height)?;
                    self.events.emit(&NetworkEvent::PolkaCertificate(id, certificate));
                    Ok(())
                }
                LivenessMsg::SkipRoundCertificate(certificate) => {
                    self.due(certificate.height)?;
                    self.events.emit(&NetworkEvent::RoundCertificate(id, certificate));
                    Ok(())
                }
            },
            Channel::Parts => self.part(id, ChainCodec.decode(bytes)?).await,
            Channel::Status => self.status(id, &mut bytes),
            Channel::SyncRequest => {
                let number = number(&mut bytes)?;
                let request = ChainCodec.decode(bytes)?;
                self.asked(from, id, number, request)
            }
            Channel::SyncResponse => {
                let number = number(&mut bytes)?;
                if self.requests.outbound.lock().get(&number) != Some(&from) {
                    return Err(FrameError::NotAsked);
                }
                let response: Response<ChainContext> = ChainCodec.decode(bytes)?;
                self.requests.outbound.lock().remove(&number);
                self.events.emit(&NetworkEvent::SyncResponse(OutboundRequestId::new(number), id, Some(response)));
                Ok(())
            }
            // Other parts of the node read these, each on its own branch of the carrier.
            Channel::Transactions | Channel::SnapshotRequest | Channel::SnapshotResponse => Err(FrameError::Channel),
        }
    }

    /// Whether messages of this height are of use now.
    fn due(&self, height: Height) -> Result<(), FrameError> {
        if self.book.set(height.0).is_some() { Ok(()) } else { Err(FrameError::NotDue(height.0)) }
    }

    async fn vote(&self, from: PeerId, vote: SignedVote<ChainContext>) -> Result<(), FrameError> {
        let height = vote.message.height.0;
        let set = self.book.set(height).ok_or(FrameError::NotDue(height))?;
        if !self.verifier.vote(&set, &vote.message, &vote.signature).await {
            return Err(FrameError::Signature);
        }
        self.pacer.peer_at(height);
        self.events.emit(&NetworkEvent::Vote(from, vote));
        Ok(())
    }

    async fn proposal(&self, from: PeerId, proposal: SignedProposal<ChainContext>) -> Result<(), FrameError> {
        let height = proposal.message.height.0;
        let set = self.book.set(height).ok_or(FrameError::NotDue(height))?;
        if !self.verifier.proposal(&set, &proposal.message, &proposal.signature).await {
            return Err(FrameError::Signature);
        }
        self.pacer.peer_at(height);
        self.events.emit(&NetworkEvent::Proposal(from, proposal));
        Ok(())
    }

    async fn part(&self, from: PeerId, message: StreamMessage<Part>) -> Result<(), FrameError> {
        if let StreamContent::Data(Part::Opening(opening)) = &message.content {
            let height = opening.opening.height.0;
            let set = self.book.set(height).ok_or(FrameError::NotDue(height))?;
            if !self.verifier.opening(&set, opening).await {
                return Err(FrameError::Signature);
            }
            self.pacer.peer_at(height);
        }
        // Consensus keeps parts by the peer that sent them: nobody relays for others.
        self.events.emit(&NetworkEvent::ProposalPart(from, Some(from), message));
        Ok(())
    }

    fn status(&self, from: PeerId, bytes: &mut Bytes) -> Result<(), FrameError> {
        match (bytes.len(), bytes.first().copied()) {
            (17, Some(TAG_STATUS)) => {
                bytes.advance(1);
                let (tip, history) = (bytes.get_u64(), bytes.get_u64());
                self.pacer.peer_at(tip);
                self.events.emit(&NetworkEvent::Status(from, Status::new(Height(tip), Height(history))));
                Ok(())
            }
            (9, Some(TAG_WAKE)) => {
                bytes.advance(1);
                let height = bytes.get_u64();
                // A node that is that far behind catches up by synchronisation, not by waking.
                if height <= (self.height)().saturating_add(x0_limits::FUTURE_HEIGHTS_MAX) {
                    self.pacer.peer_at(height);
                }
                Ok(())
            }
            _ => Err(FrameError::Malformed),
        }
    }

    fn asked(&self, from: PeerKey, id: PeerId, number: u64, request: Request<ChainContext>) -> Result<(), FrameError> {
        let inbound = InboundRequestId::new(format!("{}-{number}", id));
        {
            let mut waiting = self.requests.inbound.lock();
            if waiting.range((from, 0)..=(from, u64::MAX)).count() >= INBOUND_PER_PEER_MAX {
                return Err(FrameError::TooManyRequests);
            }
            waiting.insert((from, number), inbound.clone());
        }
        self.events.emit(&NetworkEvent::SyncRequest(inbound, id, request));
        Ok(())
    }
}

fn number(bytes: &mut Bytes) -> Result<u64, FrameError> {
    if bytes.len() < 8 { Err(FrameError::Malformed) } else { Ok(bytes.get_u64()) }
}

/// Why a frame is not passed on.
#[derive(Debug, thiserror::Error)]
enum FrameError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("malformed")]
    Malformed,
    #[error("the peer's name is malformed")]
    Peer,
    #[error("not a channel of consensus")]
    Channel,
    #[error("height {0} is not due")]
    NotDue(u64),
    #[error("not signed as it must be")]
    Signature,
    #[error("an answer that was not asked for")]
    NotAsked,
    #[error("too many requests at once")]
    TooManyRequests,
}

/// The engine's network actor.
pub(crate) struct Network;

#[async_trait::async_trait]
impl Actor for Network {
    type Msg = NetworkMsg<ChainContext>;
    type State = Arc<Fabric>;
    type Arguments = Arc<Fabric>;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, fabric: Arc<Fabric>) -> Result<Arc<Fabric>, ActorProcessingErr> {
        Ok(fabric)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        fabric: &mut Arc<Fabric>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NetworkMsg::Subscribe(subscriber) => fabric.events.subscribe(subscriber),
            NetworkMsg::PublishConsensusMsg(message) => {
                fabric.broadcast(Channel::Consensus, ChainCodec.encode(&message))
            }
            NetworkMsg::PublishLivenessMsg(message) => fabric.broadcast(Channel::Liveness, ChainCodec.encode(&message)),
            NetworkMsg::PublishProposalPart(part) => fabric.broadcast(Channel::Parts, ChainCodec.encode(&part)),
            NetworkMsg::BroadcastStatus(status) => {
                let mut frame = BytesMut::with_capacity(17);
                frame.put_u8(TAG_STATUS);
                frame.put_u64(status.tip_height.0);
                frame.put_u64(status.history_min_height.0);
                fabric.broadcast(Channel::Status, Ok(frame.freeze()));
            }
            NetworkMsg::OutgoingRequest(peer, request, reply) => {
                // The sync actor waits for the id; a receiver that is gone does not.
                drop(reply.send(fabric.request(&peer, &request)));
            }
            NetworkMsg::CancelRequest(id) => fabric.cancel(&id),
            NetworkMsg::OutgoingResponse(id, response) => fabric.respond(&id, &response),
            NetworkMsg::CancelInboundRequest(id) => drop(fabric.take_inbound(&id)),
            NetworkMsg::DumpState(reply) => drop(reply.send(None)),
            NetworkMsg::UpdatePersistentPeers(_, reply) => {
                drop(reply.send(Err(malachite_network::PersistentPeerError::NetworkStopped)));
            }
            // Admission follows the chain's registry in the carrier; proofs are never asked for; the
            // engine's own network is not running.
            NetworkMsg::UpdateValidatorSet(_) | NetworkMsg::ValidatorProofVerified { .. } | NetworkMsg::NewEvent(_) => {
            }
        }
        Ok(())
    }
}
