//! Between the engine and the carrier: bytes to messages, checked signatures, requests and answers.
//!
//! The engine's own network is not used. This actor takes the engine's messages and hands them to a
//! [`Carrier`]; a task of its own reads the carrier, decodes within bounds, and passes on only votes, proposals and
//! openings whose signature it has checked against the set of their height: the engine queues messages of future
//! heights without looking at them, and would let one peer fill that queue.
//!
//! ```text
//!   engine -- messages --> actor (here) ------------------> carrier --> peers
//!                            | [`own`]: said again to a peer that comes (back)
//!   engine <-- [`events`] <-- [`edge`] <-- pump (here) <--- carrier <-- peers
//!                              | offences --> carrier; contradictions --> evidence
//! ```

mod edge;
mod events;
mod own;

pub(crate) use edge::FrameError;

use crate::{
    book::Book,
    context::{ChainContext, Height},
    evidence::EvidenceBox,
    exchange::{Exchange, Outcome, frame_of},
    pacing::Pacer,
    parts::Part,
    signer::CachingVerifier,
    stats::Ledger,
    wire::{ChainCodec, CodecError},
    witness::Said,
};
use bytes::{BufMut, Bytes, BytesMut};
use events::Events;
use malachite_codec::Codec;
use malachite_core_consensus::{LivenessMsg, SignedConsensusMsg};
use malachite_engine::{
    network::{NetworkEvent, NetworkMsg, Status},
    util::streaming::{StreamContent, StreamMessage},
};
use malachite_peer::PeerId;
use malachite_sync::{InboundRequestId, OutboundFailureReason, OutboundRequestId, Request, Response};
use own::OwnWords;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, watch};
use x0_network::{Carrier, CarrierEvent, Channel, PeerKey, SendError};

/// Code and length of a multihash of 32 bytes, as the engine names peers.
const MULTIHASH_PREFIX: [u8; 2] = [0x12, 0x20];
const TAG_STATUS: u8 = 0;
const TAG_WAKE: u8 = 1;
const TAG_ACCOUNT: u8 = 2;

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

fn account_frame(account: &crate::exchange::Account) -> Bytes {
    let body = account.encode();
    let mut frame = BytesMut::with_capacity(1 + body.len());
    frame.put_u8(TAG_ACCOUNT);
    frame.put_slice(&body);
    frame.freeze()
}

fn report(channel: Channel, sent: Result<(), SendError>) {
    if let Err(error) = sent {
        // Lost frames are part of the carrier's contract; the engine repeats itself.
        tracing::debug!(?channel, %error, "not sent");
    }
}

/// Requests under way in both directions.
#[derive(Default)]
struct Requests {
    next: AtomicU64,
    outbound: Mutex<HashMap<u64, PeerKey>>,
    inbound: Mutex<BTreeMap<(PeerKey, u64), InboundRequestId>>,
}

/// What the edge needs of the rest of the engine.
pub(crate) struct Surroundings {
    pub book: Arc<Book>,
    pub verifier: CachingVerifier,
    pub pacer: Arc<Pacer>,
    pub evidence: Arc<EvidenceBox>,
    pub ledger: Arc<Ledger>,
    /// The last committed height.
    pub height: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// What actor and pump share.
pub(crate) struct Fabric {
    carrier: Arc<dyn Carrier>,
    events: Events,
    requests: Requests,
    own: OwnWords,
    /// What was heard here, and what the peers say that they heard.
    exchange: Mutex<Exchange>,
    /// What the peers said of their tips and of the start of their history.
    tips: Mutex<BTreeMap<PeerKey, (u64, u64)>>,
    around: Surroundings,
    /// Peers with a standing link.
    pub(crate) peers: watch::Sender<usize>,
}

impl Fabric {
    pub(crate) fn new(carrier: Arc<dyn Carrier>, around: Surroundings) -> Arc<Self> {
        Arc::new(Self {
            carrier,
            events: Events::default(),
            requests: Requests::default(),
            own: OwnWords::default(),
            exchange: Mutex::default(),
            tips: Mutex::default(),
            around,
            peers: watch::Sender::new(0),
        })
    }

    /// What this peer said of its tip.
    fn tip_of(&self, peer: PeerKey, tip: u64, history: u64) {
        let mut tips = self.tips.lock();
        if self.events.knows(&peer) {
            tips.insert(peer, (tip, history));
        }
    }

    /// How many peers say that their tip is beyond this height.
    pub(crate) fn peers_beyond(&self, height: u64) -> usize {
        self.tips.lock().values().filter(|(tip, _)| *tip > height).count()
    }

    /// Whether a peer says that it has the block of this height.
    pub(crate) fn anybody_has(&self, height: u64) -> bool {
        self.tips.lock().values().any(|(tip, history)| (*history..=*tip).contains(&height))
    }

    /// Lets the synchronisation forget its peers and meet them again, with what they said of themselves.
    pub(crate) fn introduce_again(&self) {
        let tips = self.tips.lock().clone();
        for peer in self.events.peers() {
            let Some(id) = peer_id(&peer) else { continue };
            self.fail_requests(peer, id);
            self.events.peer_down(peer);
            self.events.peer_up(peer);
            if let Some((tip, history)) = tips.get(&peer) {
                self.events.emit(&NetworkEvent::Status(id, Status::new(Height(*tip), Height(*history))));
            }
        }
    }

    /// Takes a statement whose signature was checked, and follows up on a contradiction here or at a peer.
    pub(crate) fn hear(&self, said: Said) {
        let Some(set) = self.around.book.any_set(said.statement.place().height) else { return };
        let Outcome { contradiction, answers, news } = self.exchange.lock().hear(said, &set);
        for (peer, said) in answers {
            self.answer(&peer, &said);
        }
        if let Some(account) = news {
            report(Channel::Status, self.carrier.broadcast(Channel::Status, account_frame(&account)));
        }
        let Some(contradiction) = contradiction else { return };
        let (evidence, book) = (Arc::clone(&self.around.evidence), Arc::clone(&self.around.book));
        tokio::spawn(async move { evidence.keep(&book, contradiction).await });
    }

    /// Tells the peers what was heard at a decided height, and forgets heights that are long decided.
    pub(crate) fn decided(&self, height: u64, block: [u8; 32]) {
        let Some(set) = self.around.book.any_set(height) else { return };
        let accounts = self.exchange.lock().decide(height, block, &set);
        for account in &accounts {
            report(Channel::Status, self.carrier.broadcast(Channel::Status, account_frame(account)));
        }
    }

    /// Sends a statement to a peer that heard something else from its signer.
    fn answer(&self, peer: &PeerKey, said: &Said) {
        tracing::debug!(%peer, place = %said.statement.place(), "a peer heard something else");
        match frame_of(said) {
            Ok((channel, frame)) => report(channel, self.carrier.send(peer, channel, frame)),
            Err(error) => tracing::error!(%error, "cannot write a statement"),
        }
    }

    fn broadcast(&self, channel: Channel, frame: Result<Bytes, CodecError>) {
        match frame {
            Ok(frame) => report(channel, self.carrier.broadcast(channel, frame)),
            Err(error) => tracing::error!(?channel, %error, "cannot write a message"),
        }
    }

    fn request(&self, peer: &PeerId, request: &Request<ChainContext>) -> OutboundRequestId {
        let number = self.requests.next.fetch_add(1, Ordering::Relaxed);
        self.around.ledger.sync_request();
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
                    self.peers.send_replace(self.events.count());
                    // The peer may have missed what was said while the link was down, and others may wait for it: without
                    // this, both would wait for the engine's timer.
                    for (channel, frame) in self.own.all() {
                        report(channel, self.carrier.send(&peer, channel, frame));
                    }
                    for account in self.exchange.lock().greet() {
                        report(Channel::Status, self.carrier.send(&peer, Channel::Status, account_frame(&account)));
                    }
                }
                CarrierEvent::PeerDown(peer) => self.peer_down(peer),
                CarrierEvent::Frame { from, channel, bytes } => {
                    if let Err(error) = self.frame(from, channel, bytes).await {
                        self.refuse(from, channel, &error);
                    }
                }
            }
        }
    }

    fn refuse(&self, from: PeerKey, channel: Channel, error: &FrameError) {
        self.around.ledger.refused(error);
        match error.offence() {
            Some(offence) => {
                tracing::debug!(%from, ?channel, %error, ?offence, "frame refused");
                self.carrier.penalize(&from, offence);
            }
            None => tracing::trace!(%from, ?channel, %error, "frame of no use"),
        }
    }

    /// Ends what waits for this peer, and what this peer waits for.
    fn fail_requests(&self, peer: PeerKey, id: PeerId) {
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
    }

    fn peer_down(&self, peer: PeerKey) {
        let Some(id) = peer_id(&peer) else { return };
        self.fail_requests(peer, id);
        self.events.peer_down(peer);
        self.tips.lock().remove(&peer);
        self.exchange.lock().forget(&peer);
        self.peers.send_replace(self.events.count());
    }

    fn publish(&self, message: &SignedConsensusMsg<ChainContext>) {
        let (height, statement, signature) = match message {
            SignedConsensusMsg::Vote(vote) => (
                vote.message.height.0,
                crate::signer::vote_statement(&vote.message).map(Into::into),
                vote.signature.clone(),
            ),
            SignedConsensusMsg::Proposal(proposal) => (
                proposal.message.height.0,
                crate::signer::proposal_statement(&proposal.message).map(Into::into),
                proposal.signature.clone(),
            ),
        };
        // Another process with this key would show here, too.
        if let Some(statement) = statement {
            self.hear(Said { statement, signature });
        }
        let frame = ChainCodec.encode(message);
        if let Ok(frame) = &frame {
            self.own.say(height, frame.clone());
        }
        self.broadcast(Channel::Consensus, frame);
    }

    fn publish_liveness(&self, message: &LivenessMsg<ChainContext>) {
        let frame = ChainCodec.encode(message);
        if let (Ok(frame), LivenessMsg::SkipRoundCertificate(certificate)) = (&frame, message) {
            self.own.certify(certificate.height.0, frame.clone());
        }
        self.broadcast(Channel::Liveness, frame);
    }

    fn publish_part(&self, part: &StreamMessage<Part>) {
        let frame = ChainCodec.encode(part);
        if let (Ok(frame), StreamContent::Data(data)) = (&frame, &part.content) {
            match data {
                Part::Opening(opening) => {
                    let (statement, signature) = (opening.opening.statement().into(), opening.signature.clone());
                    self.hear(Said { statement, signature });
                    self.own.open(opening.opening.height.0, frame.clone());
                }
                Part::Body(_) => self.own.add_part(frame.clone()),
            }
        }
        self.broadcast(Channel::Parts, frame);
    }
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
            NetworkMsg::PublishConsensusMsg(message) => fabric.publish(&message),
            NetworkMsg::PublishLivenessMsg(message) => fabric.publish_liveness(&message),
            NetworkMsg::PublishProposalPart(part) => fabric.publish_part(&part),
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
