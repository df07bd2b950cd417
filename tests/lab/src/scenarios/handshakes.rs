//! Strangers who make validators work: handshakes that are never meant to end.

use super::Figures;
use crate::{Network, Start, fabric, netns::Namespace, traffic::Traffic};
use anyhow::{Context as _, Result, ensure};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use x0_crypto::{
    Seed, SigningKey,
    tls::{PeerPolicy, TlsIdentity, client_config, unused_server_name},
};

/// Number of the attackers' namespace.
const ATTACKERS: usize = 4;
/// Addresses that the attackers have.
const ADDRESSES: u8 = 50;
/// Handshakes per second, over all validators.
const PER_SECOND: u64 = 1_000;
/// How often some of them begin.
const TICK: Duration = Duration::from_millis(10);
/// How long an attacker holds a connection that is not closed.
const HELD: Duration = Duration::from_millis(200);
/// Port on which validators of a test network listen for one another.
const LINK_PORT: u16 = 30_000;
/// The version of the link protocol, as its name in the handshake has it.
const LINK_VERSION: u16 = 1;
/// Pause between two transfers to one validator: enough for the pace of a busy chain.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Block rate without, with, and again without a thousand bogus handshakes a second from fifty addresses. Attackers,
/// validators and the wires between them share this machine's processors.
pub async fn storm(seed: u64, window: Duration) -> Result<Figures> {
    let mut network = Network::prepare_with(4, 1, seed).await?;
    network.start_all(&Start::default()).await?;
    let traffic = Traffic::start_with(&network, &[0, 1, 2, 3], PAUSE)?;
    network.wait_progress(&[0, 1, 2, 3], 10, STEP_MAX).await?;
    let before = blocks_per_second(&network, window).await?;
    let storm = Storm::begin(&network)?;
    let during = blocks_per_second(&network, window).await?;
    let (tried, seconds) = storm.end().await?;
    let after = blocks_per_second(&network, window).await?;
    drop(traffic);

    let mut handshakes = 0.0;
    let mut refused = 0.0;
    for number in 0..4 {
        let text = metrics(&network, number).await?;
        handshakes += sum(&text, "x0_p2p_handshakes_total{", "in");
        refused += sum(&text, "x0_p2p_closed_connections_total{", "");
    }
    ensure!(refused > 0.0, "no validator refused anything of {tried} connections");
    network.wait_progress(&[0, 1, 2, 3], 3, STEP_MAX).await.context("after the storm")?;
    network.check_agreement().await?;
    network.stop().await?;
    let quiet = f64::midpoint(before, after);
    #[allow(clippy::cast_precision_loss, reason = "a count of connections in some seconds")]
    let rate = tried as f64 / seconds;
    Ok(Figures::from([
        ("blocks_per_s_before", before),
        ("blocks_per_s_during", during),
        ("blocks_per_s_after", after),
        ("kept_percent", 100.0 * during / quiet.max(0.001)),
        ("tried_per_s", rate),
        ("closed_before_a_handshake", refused),
        ("handshakes_begun", handshakes),
    ]))
}

/// Attackers in their own namespace, until this is ended.
struct Storm {
    over: Arc<AtomicBool>,
    tried: Arc<AtomicU64>,
    begun: Instant,
    thread: JoinHandle<Result<()>>,
}

impl Storm {
    fn begin(network: &Network) -> Result<Self> {
        let namespace: Namespace = network.fabric.namespaces[ATTACKERS].clone();
        let sources: Vec<Ipv4Addr> = (1..=ADDRESSES).map(|alias| fabric::alias(ATTACKERS, alias)).collect();
        for (label, address) in sources.iter().enumerate() {
            namespace.add_address(label, *address)?;
        }
        let flight = Arc::new(first_flight(&network.genesis)?);
        let (over, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (Arc::clone(&over), Arc::clone(&tried));
        let thread = namespace.run("lab-attackers", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(attack(&sources, &flight, &ends, &counts));
            Ok(())
        })?;
        Ok(Self { over, tried, begun: Instant::now(), thread })
    }

    /// Ends it; says how many handshakes began, and in how many seconds.
    async fn end(self) -> Result<(u64, f64)> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let tried = self.tried.load(Ordering::Relaxed);
        self.over.store(true, Ordering::Relaxed);
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the attackers panicked"))??;
        Ok((tried, seconds))
    }
}

async fn attack(sources: &[Ipv4Addr], flight: &Arc<Vec<u8>>, over: &AtomicBool, tried: &AtomicU64) {
    let each = PER_SECOND * u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX) / 1_000;
    let mut ticks = tokio::time::interval(TICK);
    let mut attackers = tokio::task::JoinSet::new();
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        for _ in 0..each {
            let number = usize::try_from(tried.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
            let source = sources[number % sources.len()];
            let to = SocketAddr::new(IpAddr::V4(fabric::address(number % 4)), LINK_PORT);
            let flight = Arc::clone(flight);
            // Most are reset at once; that is the point.
            attackers.spawn(async move { drop(one(source, to, &flight).await) });
        }
        while attackers.try_join_next().is_some() {}
    }
    attackers.shutdown().await;
}

/// Offers a handshake, takes what the validator answers, and goes silent.
async fn one(source: Ipv4Addr, to: SocketAddr, flight: &[u8]) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    let mut tcp: TcpStream = socket.connect(to).await?;
    tcp.write_all(flight).await?;
    let mut answer = vec![0; 16 * 1024];
    let heard = tokio::time::timeout(HELD, async {
        while tcp.read(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    });
    heard.await.unwrap_or(Ok(()))
}

/// The first flight of a client that offers all that is asked for: what costs an attacker least and the attacked most.
fn first_flight(genesis: &str) -> Result<Vec<u8>> {
    let key = SigningKey::from_seed(&Seed::generate()?)?;
    let alpn = format!("x0-link/{LINK_VERSION}/{}", genesis.trim_start_matches("0x")).into_bytes();
    let config = client_config(&TlsIdentity::from_key(&key), PeerPolicy::Any, alpn)?;
    let mut client = rustls::ClientConnection::new(config, unused_server_name())?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// Blocks of the first validator in a time.
async fn blocks_per_second(network: &Network, window: Duration) -> Result<f64> {
    let (from, started) = (network.height(0).await?, Instant::now());
    tokio::time::sleep(window).await;
    let blocks = network.height(0).await?.saturating_sub(from);
    Ok(f64::from(blocks) / started.elapsed().as_secs_f64())
}

/// What a validator's metrics say.
async fn metrics(network: &Network, number: usize) -> Result<String> {
    let url = network.validators[number].metrics_url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// The sum of the samples of a metric whose labels have a text.
fn sum(text: &str, metric: &str, label: &str) -> f64 {
    let samples = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
