//! Two agents' data threads over real wires: what their hosts send arrives, super-packets are used, a
//! wire that goes is seen at once, and streams do not notice.
//!
//! Needs root, network namespaces and `/dev/net/tun`; fails with the reason where they are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod mesh_support;

use anyhow::{Context as _, Result, ensure};
use mesh_support::{Agent, PATIENCE, pair};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::FromRawFd as _,
};
use x0_agent_io::mesh::{CaptureRequest, DeniedSource, Output};

/// Bytes that depend on their place, so that a lost or moved piece is seen.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Sends bytes through the mesh by TCP and gives what arrived.
fn stream(from: &Agent, to: &Agent, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let address = to.address;
    let listener = to.namespace.inside(move || Ok(TcpListener::bind((address, 0))?))?;
    let target = listener.local_addr()?;
    let reader = std::thread::spawn(move || -> Result<Vec<u8>> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).context("the stream broke")?;
        Ok(received)
    });
    let mut sender = from.namespace.inside(move || Ok(TcpStream::connect_timeout(&target, PATIENCE)?))?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.write_all(&bytes)?;
    drop(sender);
    reader.join().unwrap()
}

/// One UDP datagram there and back.
fn echo(from: &Agent, to: &Agent, bytes: &[u8]) -> Result<Vec<u8>> {
    let (near, far) = (from.address, to.address);
    let answering = to.namespace.inside(move || Ok(UdpSocket::bind((far, 0))?))?;
    let target = answering.local_addr()?;
    answering.set_read_timeout(Some(PATIENCE))?;
    let answer = std::thread::spawn(move || -> Result<()> {
        let mut buffer = [0; 65_536];
        let (length, sender) = answering.recv_from(&mut buffer)?;
        answering.send_to(&buffer[..length], sender)?;
        Ok(())
    });
    let asking = from.namespace.inside(move || Ok(UdpSocket::bind((near, 0))?))?;
    asking.set_read_timeout(Some(PATIENCE))?;
    asking.send_to(bytes, target)?;
    let mut buffer = [0; 65_536];
    let length = asking.recv(&mut buffer).context("no echo came back")?;
    answer.join().unwrap()?;
    Ok(buffer[..length].to_vec())
}

/// An ICMPv6 echo (RFC 4443 section 4): what comes back of the payload `ping`.
fn ping(from: &Agent, to: &Agent) -> Result<Vec<u8>> {
    let socket = from.namespace.inside(|| {
        // SAFETY: `socket` takes no pointers; the descriptor belongs to nobody else.
        let raw = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMPV6) };
        ensure!(raw >= 0, "a raw ICMPv6 socket: {}", std::io::Error::last_os_error());
        // SAFETY: as above; sending and receiving on it is what a UDP socket does.
        Ok(unsafe { UdpSocket::from_raw_fd(raw) })
    })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // The port has no meaning here; the kernel fills in the checksum.
    socket.send_to(&[128, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'], (to.address, 0))?;
    let mut buffer = [0; 1_500];
    loop {
        let length = socket.recv(&mut buffer).context("no echo came back")?;
        if buffer[0] == 129 && buffer[4..8] == [0x12, 0x34, 0, 1] {
            return Ok(buffer[8..length].to_vec());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_datagrams_pass_with_super_packets() -> Result<()> {
    let (one, two) = pair(2).await?;
    assert_eq!(echo(&one, &two, b"a small one")?, b"a small one");
    // Larger than the tunnel's MTU: the host fragments it, and the fragments pass.
    let large = pattern(9_000);
    assert_eq!(echo(&two, &one, &large)?, large);
    assert_eq!(ping(&one, &two)?, b"ping");

    let bytes = pattern(20_000_000);
    ensure!(stream(&one, &two, bytes.clone())? == bytes, "the stream arrived changed");
    ensure!(stream(&two, &one, bytes.clone())? == bytes, "the stream back arrived changed");
    let report = one.thread.as_ref().unwrap().report();
    ensure!(report.underlays.iter().all(|underlay| underlay.offloads.gso && underlay.offloads.gro), "{report:?}");
    let status = one.handle.status().await?;
    ensure!(status.packets_out > 14_000, "{status:?}");
    ensure!(status.tunnel_reads * 4 < status.packets_out, "the host's super-packets are cut here: {status:?}");
    ensure!(status.tunnel_writes * 2 < status.packets_in, "packets are joined for the host: {status:?}");
    ensure!(status.malformed == 0 && status.tunnel_errors == 0, "{status:?}");
    one.stop()?;
    two.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_goes_is_reported_and_streams_go_on() -> Result<()> {
    let (mut one, two) = pair(2).await?;
    let bytes = pattern(30_000_000);
    let address = two.address;
    let listener = two.namespace.inside(move || Ok(TcpListener::bind((address, 0))?))?;
    let target: SocketAddr = listener.local_addr()?;
    let reader = std::thread::spawn(move || -> Result<Vec<u8>> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).context("the stream broke")?;
        Ok(received)
    });
    let mut sender = one.namespace.inside(move || Ok(TcpStream::connect_timeout(&target, PATIENCE)?))?;
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    sender.write_all(first)?;
    one.namespace.set_device("a0", false)?;
    one.wait_for(
        "the carrier's end",
        |output| matches!(output, Output::Carrier { underlay, up: false } if underlay == "wire0"),
    )
    .await?;
    sender.write_all(second)?;
    one.namespace.set_device("a0", true)?;
    one.wait_for(
        "the carrier's return",
        |output| matches!(output, Output::Carrier { underlay, up: true } if underlay == "wire0"),
    )
    .await?;
    sender.write_all(third)?;
    drop(sender);
    ensure!(reader.join().unwrap()? == bytes, "the stream arrived changed");
    one.stop()?;
    two.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_shows_headers_for_as_long_as_it_was_asked_for() -> Result<()> {
    let (mut one, two) = pair(1).await?;
    one.handle.capture(Some(CaptureRequest { packets_max: 2, duration_ms: 60_000, from: Some(two.id) }))?;
    let secret = b"nobody reads this".repeat(4);
    assert_eq!(echo(&two, &one, &secret)?, secret);
    let captured = one.wait_for("a header", |output| matches!(output, Output::Captured(_))).await?;
    let Output::Captured(captured) = captured else { unreachable!() };
    assert_eq!((captured.packet_bytes, captured.header.len()), (48 + secret.len(), 48));
    assert_eq!(captured.from, Some(two.id));
    assert_eq!(captured.header[8..24], two.address.octets());
    for _ in 0..2 {
        echo(&two, &one, &secret)?;
    }
    one.wait_for("the end of the capture", |output| matches!(output, Output::CaptureEnded)).await?;
    one.stop()?;
    two.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_source_is_not_read() -> Result<()> {
    let (one, two) = pair(2).await?;
    assert_eq!(echo(&one, &two, b"before")?, b"before");
    // One of two wires, in one direction: the session goes on over the other.
    one.handle.deny_sources(vec![DeniedSource { address: [10, 0, 0, 0].into(), bits: 24 }])?;
    let bytes = pattern(1_000_000);
    match stream(&one, &two, bytes.clone()) {
        Ok(received) => ensure!(received == bytes, "the stream arrived changed"),
        Err(error) => anyhow::bail!("{error}\none: {}\ntwo: {}", one.explain().await, two.explain().await),
    }
    let status = one.handle.status().await?;
    ensure!(status.denied > 0, "{status:?}");
    one.stop()?;
    two.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_the_thread_and_is_reported() -> Result<()> {
    let (one, two) = pair(1).await?;
    let handle = one.handle.clone();
    let asked = handle.with(|_, _, _| panic!("a bug")).await;
    ensure!(asked.is_err(), "the command that panicked has no answer");
    let error = one.stop().unwrap_err().to_string();
    ensure!(error.contains("data thread panicked: a bug"), "{error}");
    // Whoever asks afterwards is told.
    ensure!(handle.status().await.is_err());
    two.stop()?;
    Ok(())
}
