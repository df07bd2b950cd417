//! The libp2p behaviour: opens the streams of each connection and hands all of them to the link.
//!
//! Each side opens one stream for control and one for each class of frames, and only writes to them;
//! it reads from those that the other side opens. The name of the control stream is that of the connection's lane,
//! which the dialling side chooses and the accepting side repeats.

use super::{
    lane::Lane,
    link::{self, LinkContext},
    shared::Shared,
};
use crate::queue::Class;
use futures::future::{Ready, ready};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Control(Lane),
    Frames(Class),
}

impl Purpose {
    const ALL: [Self; 5] = [
        Self::Control(Lane::Votes),
        Self::Control(Lane::Bulk),
        Self::Frames(Class::Votes),
        Self::Frames(Class::Blocks),
        Self::Frames(Class::Bulk),
    ];

    const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Control(Lane::Votes) => "/x0/control/1",
            Self::Control(Lane::Bulk) => "/x0/bulk-control/1",
            Self::Frames(Class::Votes) => "/x0/votes/1",
            Self::Frames(Class::Blocks) => "/x0/blocks/1",
            Self::Frames(Class::Bulk) => "/x0/bulk/1",
        })
    }
}

/// A stream that stands.
pub(super) struct Opened {
    pub purpose: Purpose,
    /// Whether this side opened it, and writes to it.
    pub ours: bool,
    pub stream: Stream,
}

/// Takes streams of every purpose.
pub(super) struct AnyPurpose;

impl UpgradeInfo for AnyPurpose {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, 5>;

    fn protocol_info(&self) -> Self::InfoIter {
        Purpose::ALL.map(Purpose::protocol).into_iter()
    }
}

impl InboundUpgrade<Stream> for AnyPurpose {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

/// The streams of one connection.
pub(super) struct Handler {
    to_open: Vec<Purpose>,
    /// Not known on the accepting side until the other has opened its control stream.
    lane: Option<Lane>,
    /// Gone once a stream could not be opened: the link then ends.
    link: Option<mpsc::Sender<Opened>>,
}

impl Handler {
    fn new(lane: Option<Lane>, link: mpsc::Sender<Opened>) -> Self {
        let frames = Class::ALL.into_iter().rev().map(Purpose::Frames);
        Self { to_open: frames.chain(lane.map(Purpose::Control)).collect(), lane, link: Some(link) }
    }

    /// Opens the control stream of the accepting side, once the other has said which lane this is.
    fn learn(&mut self, purpose: Purpose) {
        if let (Purpose::Control(lane), None) = (purpose, self.lane) {
            self.lane = Some(lane);
            self.to_open.push(purpose);
        }
    }

    fn hand_over(&mut self, opened: Opened) {
        // A peer that opens more streams than the link has places for loses them.
        if self.link.as_ref().is_some_and(|link| link.try_send(opened).is_err()) {
            tracing::debug!("a stream too many");
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = AnyPurpose;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Purpose;

    fn listen_protocol(&self) -> SubstreamProtocol<AnyPurpose> {
        SubstreamProtocol::new(AnyPurpose, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Purpose, Infallible>> {
        match self.to_open.pop() {
            Some(purpose) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(purpose.protocol()), purpose),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, AnyPurpose, ReadyUpgrade<StreamProtocol>, (), Purpose>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream), ..
            }) => {
                if let Some(purpose) = Purpose::ALL.into_iter().find(|purpose| purpose.protocol() == protocol) {
                    self.learn(purpose);
                    self.hand_over(Opened { purpose, ours: false, stream });
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info }) => {
                self.hand_over(Opened { purpose: info, ours: true, stream });
            }
            ConnectionEvent::DialUpgradeError(error) => {
                tracing::debug!(purpose = ?error.info, error = ?error.error, "cannot open a stream");
                self.link = None;
            }
            // Streams of protocols that this version does not know are refused and that is all.
            _ => {}
        }
    }
}

/// Makes a link of each connection.
pub(super) struct Links {
    shared: Arc<Shared>,
    /// Dials under way for the lane of bulk.
    bulk_dials: BTreeSet<ConnectionId>,
}

impl Links {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, bulk_dials: BTreeSet::new() }
    }

    /// What a dial that is about to begin is for.
    pub(super) fn dialling(&mut self, connection: ConnectionId, lane: Lane) {
        if lane == Lane::Bulk {
            self.bulk_dials.insert(connection);
        }
    }

    /// A dial ended without a connection.
    pub(super) fn dial_failed(&mut self, connection: ConnectionId) {
        self.bulk_dials.remove(&connection);
    }

    fn link(
        &self,
        connection: ConnectionId,
        id: &PeerId,
        remote: &Multiaddr,
        lane: Option<Lane>,
    ) -> Result<Handler, ConnectionDenied> {
        let peer = self.shared.security.peer(id).ok_or_else(|| ConnectionDenied::new("unknown peer"))?;
        let remote = super::transport::socket(remote).ok_or_else(|| ConnectionDenied::new("unknown address"))?;
        let (sender, receiver) = mpsc::channel(2 * Purpose::ALL.len());
        let context = LinkContext { shared: Arc::clone(&self.shared), connection, peer, remote, dialled: lane };
        tokio::spawn(link::run(context, receiver));
        Ok(Handler::new(lane, sender))
    }
}

impl NetworkBehaviour for Links {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.link(connection, &peer, remote, None)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let lane = if self.bulk_dials.remove(&connection) { Lane::Bulk } else { Lane::Votes };
        self.link(connection, &peer, remote, Some(lane))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
