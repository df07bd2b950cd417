//! The responder over real sockets, asked by an independent client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parking_lot::Mutex;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x0_agent_core::{Agent, ChainView, DealView, Event, SlotClock};
use x0_agent_io::{Limits, ProbeResponder, ResponderConfig, SystemClock};
use x0_crypto::{
    Signature, SigningKey,
    tls::{PeerPolicy, TlsIdentity, client_config, peer, unused_server_name},
};
use x0_types::{
    AccountId, Hash, MlDsa65Signature,
    deal::DealState,
    probe::{
        Admission, ProbeRequest, ProbeResponse, decode_frame, encode_frame, frame_length, probe_alpn, transfer_piece,
    },
    receipt::Usage,
};

const GENESIS: [u8; 32] = [0x42; 32];
const SLOT_MS: u64 = 1_000;
/// Longer than anything here takes; a test that hangs fails instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    responder: ProbeResponder,
    agent: Arc<Mutex<Agent>>,
    key: SigningKey,
    clock: SystemClock,
    node: AccountId,
}

async fn start(limits: Limits) -> Fixture {
    let key = SigningKey::generate().unwrap();
    let node = x0_types::account::account_id(key.public().as_bytes());
    let mut agent = Agent::new(node.clone(), SlotClock::new(0, SLOT_MS));
    agent.handle(Event::Enrolled).unwrap();
    agent.handle(Event::ListenerReady).unwrap();
    let agent = Arc::new(Mutex::new(agent));
    let clock = SystemClock::start();
    let config = ResponderConfig { listen: "127.0.0.1:0".parse().unwrap(), genesis: GENESIS, limits };
    let responder = ProbeResponder::start(config, Arc::clone(&agent), key.clone(), clock.clone()).await.unwrap();
    Fixture { responder, agent, key, clock, node }
}

impl Fixture {
    fn slot(&self) -> u64 {
        self.clock.now().unix_ms / SLOT_MS
    }

    fn address(&self) -> SocketAddr {
        self.responder.local_addr()
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address(), &self.key, &probe_alpn(&GENESIS)).await.unwrap()
    }
}

struct Client {
    tls: TlsStream<TcpStream>,
    key: SigningKey,
}

impl Client {
    async fn connect(address: SocketAddr, server: &SigningKey, alpn: &[u8]) -> std::io::Result<Self> {
        let key = SigningKey::generate().unwrap();
        let policy = PeerPolicy::only(server.public().clone());
        let config = client_config(&TlsIdentity::from_key(&key), policy, alpn.to_vec()).unwrap();
        let stream = TcpStream::connect(address).await?;
        let tls = TlsConnector::from(config).connect(unused_server_name(), stream).await?;
        assert_eq!(peer(tls.get_ref().1, alpn).unwrap(), *server.public());
        Ok(Self { tls, key })
    }

    async fn send(&mut self, request: &ProbeRequest) -> std::io::Result<()> {
        self.tls.write_all(&encode_frame(request).unwrap()).await
    }

    /// A whole response, or `None` when the connection ended before the first byte of it. An error
    /// is a response that was cut.
    async fn receive(&mut self) -> std::io::Result<Option<ProbeResponse>> {
        let mut header = [0; 4];
        match tokio::time::timeout(PATIENCE, self.tls.read(&mut header[..1])).await.expect("an answer in time") {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => self.tls.read_exact(&mut header[1..]).await?,
        };
        let mut payload = vec![0; frame_length(header).unwrap()];
        self.tls.read_exact(&mut payload).await?;
        Ok(Some(decode_frame(&payload).unwrap()))
    }

    async fn ask(&mut self, request: ProbeRequest) -> ProbeResponse {
        self.send(&request).await.unwrap();
        self.receive().await.unwrap().expect("an answer")
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well: the other side had nothing more to say.
        let _ = tokio::time::timeout(PATIENCE, self.tls.read_to_end(&mut rest)).await.expect("an end in time");
        assert!(rest.is_empty(), "{} unexpected bytes", rest.len());
    }
}

/// Waits until a condition holds that the responder brings about on another thread.
async fn eventually(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition in time");
}

fn view(height: u32, node: &AccountId, state: DealState) -> ChainView {
    let agents = vec![AccountId::new([1; 32]), AccountId::new([2; 32])];
    ChainView { height, deals: vec![DealView { id: 7, node: node.clone(), state, mesh: Hash::repeat_byte(3), agents }] }
}

#[tokio::test]
async fn a_probe_gets_a_receipt_that_its_prober_can_check() {
    let fixture = start(Limits::default()).await;
    let mut client = fixture.connect().await;
    for round in 0..3 {
        let (slot, nonce) = (fixture.slot(), [round; 32]);
        let ProbeResponse::Receipt(signed) = client.ask(ProbeRequest::Alive { slot, nonce }).await else {
            panic!("no receipt")
        };
        let prober = Hash::from(client.key.public().fingerprint());
        signed.receipt.answers(&fixture.node, slot, &nonce, &prober).unwrap();
        let signature = Signature::from(signed.signature.0);
        fixture.key.public().verify_receipt(&GENESIS, &signed.receipt.signed_body(), &signature).unwrap();
    }
    eventually(|| fixture.responder.stats().receipts == 3).await;
    drop(client);
    assert_eq!(fixture.responder.stop().await.cut, 0);
}

#[tokio::test]
async fn the_admission_list_follows_the_chain() {
    let fixture = start(Limits::default()).await;
    let mut client = fixture.connect().await;
    let stages = [(DealState::Funded, 0), (DealState::Active, 1), (DealState::Suspect, 1), (DealState::Failed, 0)];
    for (height, (state, entries)) in (1..).zip(stages) {
        let now = fixture.clock.now().monotonic_ms;
        fixture.agent.lock().observe(&view(height, &fixture.node, state), now).unwrap();
        let ProbeResponse::Admissions(list) = client.ask(ProbeRequest::Admissions).await else { panic!("no list") };
        assert_eq!(list.len(), entries, "{state:?}");
        let ProbeResponse::Receipt(signed) =
            client.ask(ProbeRequest::Alive { slot: fixture.slot(), nonce: [0; 32] }).await
        else {
            panic!("no receipt")
        };
        assert_eq!(signed.receipt.admissions, x0_types::probe::admissions_hash(&list));
        let agents = |admission: &Admission| admission.agents.len();
        assert_eq!(list.iter().map(agents).sum::<usize>(), 2 * entries);
    }
    fixture.responder.stop().await;
}

/// M16: round trips and transfers for whoever asks, within each address's share.
#[tokio::test]
async fn anybody_may_try_round_trip_and_throughput_within_bounds() {
    let fixture = start(Limits::default()).await;
    let mut client = fixture.connect().await;
    assert_eq!(client.ask(ProbeRequest::Ping { nonce: 7 }).await, ProbeResponse::Pong { nonce: 7 });
    let (bytes, seed) = (100_000u32, [9; 32]);
    client.send(&ProbeRequest::Transfer { bytes, seed }).await.unwrap();
    let (mut got, mut number) = (0, 0);
    while got < bytes as usize {
        let Some(ProbeResponse::Piece(piece)) = client.receive().await.unwrap() else { panic!("no piece") };
        assert_eq!(piece, transfer_piece(&seed, number, piece.len()));
        (got, number) = (got + piece.len(), number + 1);
    }
    assert_eq!(got, bytes as usize);
    let full = ProbeRequest::Transfer { bytes: x0_limits::TRIAL_BYTES_MAX, seed };
    let mut refused = None;
    for _ in 0..20 {
        client.send(&full).await.unwrap();
        match client.receive().await.unwrap().expect("an answer") {
            ProbeResponse::Refused(reason) => {
                refused = Some(String::from_utf8(reason).unwrap());
                break;
            }
            ProbeResponse::Piece(first) => {
                let mut got = first.len();
                while got < x0_limits::TRIAL_BYTES_MAX as usize {
                    let Some(ProbeResponse::Piece(piece)) = client.receive().await.unwrap() else { panic!() };
                    got += piece.len();
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused.as_deref(), Some("too many transfers"));
    let again = client.ask(ProbeRequest::Ping { nonce: 8 }).await;
    assert_eq!(again, ProbeResponse::Pong { nonce: 8 }, "the link goes on");
    fixture.responder.stop().await;
}

/// M16: both agents of a deal sign what they saw of its use, and the node signs no worse than it saw itself.
#[tokio::test]
async fn both_agents_of_a_deal_sign_its_use() {
    let fixture = start(Limits::default()).await;
    let mut client = fixture.connect().await;
    let agent = x0_types::account::account_id(client.key.public().as_bytes());
    let deal = DealView {
        id: 7,
        node: fixture.node.clone(),
        state: DealState::Active,
        mesh: Hash::repeat_byte(3),
        agents: vec![agent.clone()],
    };
    let now = fixture.clock.now().monotonic_ms;
    fixture.agent.lock().observe(&ChainView { height: 1, deals: vec![deal] }, now).unwrap();
    for nonce in 0..2 {
        client.ask(ProbeRequest::Ping { nonce }).await;
    }
    let bytes = 50_000u32;
    client.send(&ProbeRequest::Transfer { bytes, seed: [1; 32] }).await.unwrap();
    let mut got = 0;
    while got < bytes as usize {
        let Some(ProbeResponse::Piece(piece)) = client.receive().await.unwrap() else { panic!("no piece") };
        got += piece.len();
    }
    let usage = Usage {
        deal: 7,
        node: fixture.node.clone(),
        agent,
        slot: fixture.slot(),
        bytes: bytes.into(),
        duration_ms: 1,
        round_trip_ms: 0,
    };
    let by = |key: &SigningKey, usage: &Usage| {
        MlDsa65Signature(key.sign_usage(&GENESIS, &usage.signed_body()).unwrap().to_boxed())
    };
    let worse = Usage { duration_ms: 60_000, ..usage.clone() };
    let own = client.key.clone();
    let refused = client.ask(ProbeRequest::Usage { by_renter: by(&own, &worse), usage: worse }).await;
    assert_eq!(refused, ProbeResponse::Refused(b"this side saw another use of the link".to_vec()));
    let forged = ProbeRequest::Usage { usage: usage.clone(), by_renter: by(&fixture.key, &usage) };
    assert!(matches!(client.ask(forged).await, ProbeResponse::Refused(_)), "the renter's agent must sign itself");
    let honest = ProbeRequest::Usage { usage: usage.clone(), by_renter: by(&own, &usage) };
    let ProbeResponse::Usage(signed) = client.ask(honest).await else { panic!("not signed") };
    assert_eq!(signed.usage, usage);
    let (body, by_provider) = (usage.signed_body(), Signature::from(signed.by_provider.0));
    fixture.key.public().verify_usage(&GENESIS, &body, &by_provider).unwrap();
    fixture.responder.stop().await;
}

#[tokio::test]
async fn a_probe_for_another_time_is_refused_and_the_connection_goes_on() {
    let fixture = start(Limits::default()).await;
    let mut client = fixture.connect().await;
    let ProbeResponse::Refused(reason) =
        client.ask(ProbeRequest::Alive { slot: fixture.slot() + 100, nonce: [0; 32] }).await
    else {
        panic!("not refused")
    };
    assert!(String::from_utf8(reason).unwrap().starts_with("slot "));
    let answer = client.ask(ProbeRequest::Alive { slot: fixture.slot(), nonce: [0; 32] }).await;
    assert!(matches!(answer, ProbeResponse::Receipt(_)));
    fixture.responder.stop().await;
}

#[tokio::test]
async fn frames_that_are_no_requests_end_the_connection_with_a_reason() {
    let fixture = start(Limits::default()).await;
    let garbage: [&[u8]; 4] =
        [&[0xFF; 4], &[0, 0, 0, 3, 9, 9, 9], &[0, 0, 0, 0], &[0, 0, 0, 2, 1, 1] /* one byte too many */];
    for bytes in garbage {
        let mut client = fixture.connect().await;
        client.tls.write_all(bytes).await.unwrap();
        let answer = client.receive().await.unwrap();
        assert_eq!(answer, Some(ProbeResponse::Refused(b"not a request".to_vec())), "{bytes:?}");
        client.expect_end().await;
    }
    eventually(|| fixture.responder.stats().malformed == 4).await;
    fixture.responder.stop().await;
}

#[tokio::test]
async fn another_chain_and_a_missing_protocol_are_refused() {
    let fixture = start(Limits::default()).await;
    let other = Client::connect(fixture.address(), &fixture.key, &probe_alpn(&[0x43; 32])).await;
    assert!(other.is_err(), "another genesis");

    // Without any protocol name, the handshake itself passes; the responder hangs up after it.
    let identity = TlsIdentity::from_key(&SigningKey::generate().unwrap());
    let config = client_config(&identity, PeerPolicy::Any, probe_alpn(&GENESIS)).unwrap();
    let mut config = rustls::ClientConfig::clone(&config);
    config.alpn_protocols.clear();
    let stream = TcpStream::connect(fixture.address()).await.unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(unused_server_name(), stream).await.unwrap();
    let mut client = Client { tls, key: SigningKey::generate().unwrap() };
    // Writing may already fail, since the responder has gone.
    let _ = client.send(&ProbeRequest::Admissions).await;
    client.expect_end().await;
    eventually(|| fixture.responder.stats().handshakes_failed == 2).await;
    assert_eq!(fixture.responder.stats().requests, 0);
    fixture.responder.stop().await;
}

#[tokio::test]
async fn silent_and_senseless_peers_lose_their_connection_and_disturb_nobody() {
    let limits = Limits { handshake_timeout: Duration::from_millis(2_000), ..Limits::default() };
    let fixture = start(limits).await;
    let mut silent = TcpStream::connect(fixture.address()).await.unwrap();
    let mut senseless = TcpStream::connect(fixture.address()).await.unwrap();
    senseless.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut client = fixture.connect().await;
    let answer = client.ask(ProbeRequest::Alive { slot: fixture.slot(), nonce: [0; 32] }).await;
    assert!(matches!(answer, ProbeResponse::Receipt(_)), "served beside them");
    for stream in [&mut silent, &mut senseless] {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    }
    eventually(|| fixture.responder.stats().handshakes_failed == 2).await;
    fixture.responder.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_frame_that_never_ends_too() {
    let limits = Limits {
        idle_timeout: Duration::from_millis(200),
        handshake_timeout: Duration::from_millis(2_000),
        ..Limits::default()
    };
    let fixture = start(limits).await;
    let mut idle = fixture.connect().await;
    idle.expect_end().await;
    let mut endless = fixture.connect().await;
    endless.tls.write_all(&[0, 0, 1, 0, 1]).await.unwrap();
    endless.expect_end().await;
    assert_eq!(fixture.responder.stop().await.cut, 0);
}

#[tokio::test]
async fn one_address_gets_its_share_of_connections_and_no_more() {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    let fixture = start(limits).await;
    let first = fixture.connect().await;
    let _second = fixture.connect().await;
    let third = Client::connect(fixture.address(), &fixture.key, &probe_alpn(&GENESIS)).await;
    assert!(third.is_err());
    eventually(|| fixture.responder.stats().turned_away == 1).await;
    drop(first);
    // The seat comes back as soon as the responder has seen the end of the first connection.
    let mut connected = None;
    for _ in 0..1_000 {
        connected = Client::connect(fixture.address(), &fixture.key, &probe_alpn(&GENESIS)).await.ok();
        if connected.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    assert!(connected.is_some());
    fixture.responder.stop().await;
}

#[tokio::test]
async fn one_address_cannot_open_connections_faster_than_its_rate() {
    let limits = Limits { handshake_burst: 3, handshakes_per_second: 0, ..Limits::default() };
    let fixture = start(limits).await;
    for attempt in 0..5 {
        let connected = Client::connect(fixture.address(), &fixture.key, &probe_alpn(&GENESIS)).await;
        assert_eq!(connected.is_ok(), attempt < 3, "attempt {attempt}");
    }
    eventually(|| fixture.responder.stats().turned_away == 2).await;
    fixture.responder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_probers_at_once_all_get_their_own_receipt() {
    let fixture = start(Limits::default()).await;
    let probers = (0..40u8).map(|number| {
        let fixture = &fixture;
        async move {
            let mut client = fixture.connect().await;
            let (slot, nonce) = (fixture.slot(), [number; 32]);
            let ProbeResponse::Receipt(signed) = client.ask(ProbeRequest::Alive { slot, nonce }).await else {
                panic!("no receipt")
            };
            let prober = Hash::from(client.key.public().fingerprint());
            signed.receipt.answers(&fixture.node, slot, &nonce, &prober).unwrap();
        }
    });
    futures::future::join_all(probers).await;
    // The counter moves after the bytes have left.
    eventually(|| fixture.responder.stats().receipts == 40).await;
    fixture.responder.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_closes_idle_connections_and_cuts_no_answer() {
    let fixture = start(Limits::default()).await;
    let mut idle = fixture.connect().await;
    let slot = fixture.slot();
    let address = fixture.address();
    let request = ProbeRequest::Alive { slot, nonce: [0; 32] };
    let mut askers = Vec::new();
    for _ in 0..4 {
        let mut client = fixture.connect().await;
        // With an answer in hand, the responder has accepted the connection for certain.
        assert!(matches!(client.ask(request.clone()).await, ProbeResponse::Receipt(_)));
        let request = request.clone();
        askers.push(tokio::spawn(async move {
            while client.send(&request).await.is_ok() {
                match client.receive().await.expect("an answer is whole") {
                    Some(ProbeResponse::Receipt(_)) => {}
                    Some(ProbeResponse::Refused(_)) | None => break,
                    Some(other) => panic!("{other:?}"),
                }
            }
        }));
    }
    let agent = Arc::clone(&fixture.agent);
    eventually(|| agent.lock().counters().receipts >= 8).await;
    agent.lock().handle(Event::StopRequested).unwrap();
    let report = fixture.responder.stop().await;
    assert_eq!(report.cut, 0);
    agent.lock().handle(Event::Drained).unwrap();
    for asker in askers {
        asker.await.unwrap();
    }
    idle.expect_end().await;
    assert!(TcpStream::connect(address).await.is_err(), "the socket is closed");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let fixture = start(Limits::default()).await;
    let config = ResponderConfig { listen: fixture.address(), genesis: GENESIS, limits: Limits::default() };
    let refused =
        ProbeResponder::start(config, Arc::clone(&fixture.agent), fixture.key.clone(), SystemClock::start()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains(&fixture.address().to_string()), "{text}");
    fixture.responder.stop().await;
}
