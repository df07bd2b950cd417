//! A thousand bogus handshakes a second while frames flow.

use super::{handshake::foreign_client, *};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, AtomicU64},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::rustls::{ClientConnection, crypto::aws_lc_rs as provider, pki_types::ServerName};

/// The first flight of a client that offers all that is asked for: what costs an attacker least and
/// the attacked most.
fn first_flight() -> Vec<u8> {
    let config = foreign_client(vec![provider::kx_group::X25519MLKEM768]);
    let mut client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

async fn connect_from(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    socket.connect(to).await
}

/// Sends numbered votes for a while and counts what arrives: votes in the time.
async fn votes_for(time: Duration, from: &Node, to: &mut Node) -> u64 {
    let begin = Instant::now();
    let mut number = 0u64;
    while begin.elapsed() < time {
        // Like consensus: nobody goes on before the vote is there.
        from.carrier.broadcast(Channel::Consensus, Bytes::copy_from_slice(&number.to_be_bytes())).unwrap();
        let (_, _, bytes) = to.frame().await;
        assert_eq!(bytes, number.to_be_bytes()[..]);
        number += 1;
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_handshakes_costs_no_link_and_lets_admitted_peers_in() {
    let mut victim = Node::start(1, vec![]).await;
    victim.admit(&[2, 3]);
    let mut honest = Node::start(2, vec![victim.address()]).await;
    honest.until_linked(&[1]).await;
    victim.until_linked(&[2]).await;
    let window = Duration::from_millis(1_500);
    let quiet = votes_for(window, &honest, &mut victim).await;

    let (over, tried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let target = victim.carrier.listening()[0];
    let begin = Instant::now();
    let storm = tokio::spawn({
        let (over, tried) = (Arc::clone(&over), Arc::clone(&tried));
        async move {
            let flight = Arc::new(first_flight());
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            let mut attackers = tokio::task::JoinSet::new();
            while !over.load(Ordering::Relaxed) {
                ticks.tick().await;
                for _ in 0..10 {
                    let number = tried.fetch_add(1, Ordering::Relaxed);
                    // A botnet of fifty addresses, none of them that of a peer.
                    let source = Ipv4Addr::new(127, 1, 0, u8::try_from(number % 50).unwrap() + 1);
                    let flight = Arc::clone(&flight);
                    attackers.spawn(async move {
                        // Most are reset at once; that is the point.
                        if let Ok(mut tcp) = connect_from(source, target).await {
                            let _ = tcp.write_all(&flight).await;
                            tokio::time::sleep(Duration::from_millis(200)).await;
                        }
                    });
                }
                while attackers.try_join_next().is_some() {}
            }
        }
    });
    let stormy = votes_for(window, &honest, &mut victim).await;
    // An admitted peer that comes in the middle of it finds its place.
    let mut late = Node::start(3, vec![victim.address()]).await;
    late.until_linked(&[1]).await;
    over.store(true, Ordering::Relaxed);
    storm.await.unwrap();
    let (seconds, tried) = (begin.elapsed().as_secs() + 1, tried.load(Ordering::Relaxed));

    let metrics = victim.carrier.metrics();
    // Printed, not asserted: attackers, validators and whatever else runs share the processors here.
    let hop_us = |votes: u64| window.as_micros() as u64 / votes.max(1);
    let (quiet, stormy) = (hop_us(quiet), hop_us(stormy));
    let interval = x0_limits::BLOCK_INTERVAL_BUSY_MS * 1_000;
    let rate = 100 * interval / (interval + 3 * stormy.saturating_sub(quiet));
    println!(
        "a vote takes {quiet} us, under {tried} handshakes in {seconds} s {stormy} us: a block of three hops keeps {rate} % of its rate; {metrics:?}"
    );
    let allowed = u64::from(x0_limits::LINK_STRANGERS_HANDSHAKE_BURST)
        + u64::from(x0_limits::LINK_STRANGERS_HANDSHAKES_PER_SECOND) * seconds
        + u64::from(x0_limits::LINK_KNOWN_HANDSHAKE_BURST);
    assert!(metrics.handshakes_in <= allowed, "{} handshakes", metrics.handshakes_in);
    let refused = metrics.gate_source_rate
        + metrics.gate_source_pending
        + metrics.gate_strangers_rate
        + metrics.gate_strangers_pending;
    assert!(refused > 0 && refused + metrics.handshakes_in >= metrics.accepted.min(tried));
    assert_eq!(metrics.links_ended, 0, "no link paid for it");
}
