//! What a handshake agrees on, and that each deviation is refused, counted, and hurts nobody else.

use super::*;
use crate::p2p::transport::{Judgement, dial_address, peer_id};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector, TlsStream,
    rustls::{
        CipherSuite, ClientConfig, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, ProtocolVersion,
        SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs as provider},
        pki_types::{CertificateDer, ServerName, UnixTime},
        version::TLS13,
    },
};
use x0_crypto::tls::HandshakeFault;

/// DER of the object identifier of ML-DSA-65, 2.16.840.1.101.3.4.3.18 (RFC 9881).
const ML_DSA_65_OID: [u8; 11] = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12];

fn security(tag: u8, genesis: [u8; 32], admitted: &'static [u8]) -> Security {
    let judge = move |peer: &PeerKey| {
        if admitted.iter().any(|tag| name(*tag) == *peer) { Judgement::Admitted } else { Judgement::NotAdmitted }
    };
    Security::new(
        TlsIdentity::from_key(&key(tag)),
        &genesis,
        Arc::new(judge),
        tokio::runtime::Handle::current(),
        Arc::default(),
    )
}

type Outcome = Result<(PeerKey, libp2p::PeerId, TlsStream<TcpStream>), HandshakeError>;

async fn shake(client: &Security, server: &Security, expected: PeerKey) -> (Outcome, Outcome) {
    let listener = TcpListener::bind(here()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let dial = async { client.connect(TcpStream::connect(address).await.unwrap(), expected).await };
    let accept = async { server.accept(listener.accept().await.unwrap().0).await };
    timeout(PATIENCE, futures::future::join(dial, accept)).await.unwrap()
}

#[tokio::test]
async fn both_sides_use_tls_1_3_the_hybrid_exchange_and_ml_dsa_65() {
    let (a, b) = (security(1, GENESIS, &[2]), security(2, GENESIS, &[1]));
    let (dialled, accepted) = shake(&a, &b, name(2)).await;
    let alpn = format!("x0-link/{LINK_VERSION}/{}", hex::encode(GENESIS));
    for (outcome, tag) in [(dialled, 2), (accepted, 1)] {
        let (peer, id, stream) = outcome.unwrap();
        assert_eq!(peer, name(tag));
        assert_eq!(Some(id), peer_id(key(tag).public()));
        assert_eq!(id.as_ref().code(), 0x12, "SHA-256");
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(connection.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        assert_eq!(connection.negotiated_cipher_suite().unwrap().suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(connection.alpn_protocol(), Some(alpn.as_bytes()));
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        let [raw_key] = connection.peer_certificates().unwrap() else { panic!("one raw key") };
        assert!(raw_key.windows(11).any(|window| window == ML_DSA_65_OID));
        assert!(raw_key.ends_with(key(tag).public().as_bytes()));
    }
}

#[tokio::test]
async fn each_deviation_between_our_own_sides_has_its_own_error() {
    let (a, b) = (security(1, GENESIS, &[2, 3]), security(2, GENESIS, &[1]));
    let (dialled, accepted) = shake(&a, &b, name(3)).await;
    assert!(
        matches!(dialled, Err(HandshakeError::WrongPeer { expected, found }) if expected == name(3) && found == name(2))
    );
    assert!(accepted.is_err());

    let other = security(1, [8; 32], &[2]);
    let (dialled, accepted) = shake(&other, &b, name(2)).await;
    assert!(matches!(dialled, Err(HandshakeError::Fault(HandshakeFault::Protocol))));
    assert!(matches!(accepted, Err(HandshakeError::Fault(HandshakeFault::Protocol))));

    let unlisted = security(9, GENESIS, &[2]);
    let (dialled, accepted) = shake(&unlisted, &b, name(2)).await;
    assert!(matches!(accepted, Err(HandshakeError::NotAdmitted(peer)) if peer == name(9)));
    // TLS 1.3 lets the dialling side finish first; that is why only a hello counts.
    assert!(dialled.is_ok());

    let (dialled, _) = shake(&security(1, GENESIS, &[]), &b, name(2)).await;
    assert!(matches!(dialled, Err(HandshakeError::NotAdmitted(peer)) if peer == name(2)));
    let (dialled, _) = shake(&b, &b, name(2)).await;
    assert!(matches!(dialled, Err(HandshakeError::Itself)));
}

/// Believes any certificate, for clients outside our rules.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client that speaks TLS 1.3 with these groups and knows X.509 only.
pub(super) fn foreign_client(groups: Vec<&'static dyn SupportedKxGroup>) -> Arc<ClientConfig> {
    let provider = CryptoProvider { kx_groups: groups, ..provider::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    config.alpn_protocols = vec![format!("x0-link/{LINK_VERSION}/{}", hex::encode(GENESIS)).into_bytes()];
    Arc::new(config)
}

/// A node with one honest peer, and a check that the two still hear each other.
struct Victim {
    node: Node,
    honest: Node,
}

impl Victim {
    async fn start() -> Self {
        let mut node = Node::start(1, vec![]).await;
        node.admit(&[2]);
        let mut honest = Node::start(2, vec![node.address()]).await;
        honest.until_linked(&[1]).await;
        node.until_linked(&[2]).await;
        Self { node, honest }
    }

    fn socket(&self) -> SocketAddr {
        self.node.carrier.listening()[0]
    }

    async fn counts(&mut self, what: &str, counter: impl Fn(&P2pMetrics) -> u64) {
        eventually(what, || counter(&self.node.carrier.metrics()) > 0).await;
        self.is_unharmed().await;
    }

    async fn is_unharmed(&mut self) {
        self.honest.carrier.broadcast(Channel::Consensus, Bytes::from_static(b"still here")).unwrap();
        match self.node.next().await {
            CarrierEvent::Frame { from, bytes, .. } => assert_eq!((from, &bytes[..]), (name(2), &b"still here"[..])),
            other => panic!("{other:?}"),
        }
        assert_eq!(self.node.carrier.metrics().links_ended, 0);
    }

    /// Shakes hands as a stranger does; the stranger's side never succeeds.
    async fn visit(&self, config: Arc<ClientConfig>) {
        let tcp = TcpStream::connect(self.socket()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        if let Ok(mut stream) = TlsConnector::from(config).connect(name, tcp).await {
            let mut byte = [0];
            assert!(!matches!(stream.read(&mut byte).await, Ok(1)), "a stranger is told nothing");
        }
    }
}

#[tokio::test]
async fn strangers_are_refused_by_a_running_node_and_harm_nobody() {
    let mut victim = Victim::start().await;

    let mut plain = TcpStream::connect(victim.socket()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    victim.counts("plain TCP is refused", |metrics| metrics.refused_not_tls).await;

    victim.visit(foreign_client(vec![provider::kx_group::X25519, provider::kx_group::SECP256R1])).await;
    victim.counts("another key exchange is refused", |metrics| metrics.refused_key_exchange).await;

    victim.visit(foreign_client(vec![provider::kx_group::X25519MLKEM768])).await;
    victim.counts("a side without an ML-DSA key is refused", |metrics| metrics.refused_key_kind).await;

    let unlisted = Node::start(9, vec![victim.node.address()]).await;
    victim.counts("an unlisted key is refused", |metrics| metrics.refused_not_admitted).await;
    eventually("it knows that it has no link", || {
        unlisted.carrier.unlinked().iter().any(|missing| missing.attempts > 1 && missing.last_error.is_some())
    })
    .await;
    assert!(unlisted.carrier.peers().is_empty());
    drop(unlisted);

    let config = P2pConfig::new(here(), vec![victim.node.address()]);
    let other_chain = P2pCarrier::start(config, key(2), [8; 32], Arc::new(|| 0)).await.unwrap();
    victim.counts("another chain is refused", |metrics| metrics.refused_protocol).await;
    eventually("the other side names the reason", || {
        other_chain
            .unlinked()
            .iter()
            .any(|missing| missing.last_error.as_deref().is_some_and(|error| error.contains("Protocol")))
    })
    .await;
    drop(other_chain);

    let wrong = PeerAddress { key: name(5), ..victim.node.address() };
    let misled = Node::start(6, vec![wrong]).await;
    eventually("the wrong peer is refused", || misled.carrier.metrics().refused_wrong_peer > 0).await;
    victim.is_unharmed().await;
}

#[tokio::test]
async fn a_server_with_a_classical_certificate_is_refused() {
    const CERTIFICATE: &[u8] = include_bytes!("../../../../../tests/vectors/web-tls/certificate.pem");
    const CERTIFICATE_KEY: &[u8] = include_bytes!("../../../../../tests/vectors/web-tls/key.pem");
    let config = x0_crypto::tls::web_server_config(CERTIFICATE, CERTIFICATE_KEY, true).unwrap();
    let listener = TcpListener::bind(here()).await.unwrap();
    let address = HostPort::from_socket(listener.local_addr().unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let server = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            drop(acceptor.accept(tcp).await);
        }
    });
    let node = Node::start(1, vec![PeerAddress { key: name(2), address }]).await;
    eventually("refused", || {
        let metrics = node.carrier.metrics();
        metrics.refused_key_kind + metrics.refused_other + metrics.refused_protocol > 0
    })
    .await;
    assert!(node.carrier.peers().is_empty());
    server.abort();
}

#[tokio::test]
async fn who_says_nothing_after_the_handshake_or_before_it_is_let_go() {
    let mut victim = Victim::start().await;
    let mute_below = TcpStream::connect(victim.socket()).await.unwrap();
    // An admitted peer that never says hello is no peer.
    let security = security(2, GENESIS, &[1]);
    let tcp = TcpStream::connect(victim.socket()).await.unwrap();
    let (_, _, mut mute) = security.connect(tcp, name(1)).await.unwrap();
    victim.counts("a mute handshake ends", |metrics| metrics.refused_timeout).await;
    victim.counts("a mute peer ends", |metrics| metrics.hello_failed).await;
    let mut rest = Vec::new();
    drop(timeout(PATIENCE, mute.read_to_end(&mut rest)).await.expect("the connection is closed"));
    drop(mute_below);
    assert!(victim.node.events.try_recv().is_err());
}

#[tokio::test]
async fn an_oversized_frame_ends_its_connection_and_is_held_against_its_sender() {
    let mut nodes = network(3).await;
    eventually("bulk is apart", || nodes[0].carrier.metrics().peers_bulk_apart == 2).await;
    let queue = Arc::clone(&nodes[2].carrier.shared.routes.read()[&name(1)].votes.queue);
    // Past the check of the sending side, as a faulty or hostile program would.
    let bytes = Bytes::from(vec![0; Channel::Consensus.frame_bytes_max() + 1]);
    queue.push(Waiting { bytes, ..frame(Channel::Consensus) });
    eventually("the offence is noted", || nodes[0].carrier.metrics().offences > 0).await;
    // Once is not enough for a ban: the connection comes back, and the other one stood all the time.
    eventually("the connection ends", || queue.push(frame(Channel::Status)) == 1).await;
    eventually("it comes back", || nodes.iter().all(|node| node.carrier.metrics().peers_bulk_apart == 2)).await;
    assert!(nodes[0].events.try_recv().is_err(), "nobody went");
    nodes[0].carrier.broadcast(Channel::Consensus, Bytes::from_static(b"on")).unwrap();
    assert_eq!(nodes[1].frame().await.2, Bytes::from_static(b"on"));
}

#[test]
fn a_dial_address_names_the_socket_and_the_key() {
    let address = dial_address(&name(1), "10.0.0.1:30300".parse().unwrap()).unwrap();
    assert!(address.to_string().starts_with("/ip4/10.0.0.1/tcp/30300/certhash/"), "{address}");
    assert_eq!(transport::socket(&address), Some("10.0.0.1:30300".parse().unwrap()));
}
