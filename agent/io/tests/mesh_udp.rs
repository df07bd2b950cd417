//! The underlays' sockets over a real wire: batches arrive whole and in order, sizes and ways that the
//! system refuses are told apart, and the tunnel has its address, its size and its route.
//!
//! Needs root, network namespaces and `/dev/net/tun`; fails with the reason where they are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod mesh_support;

use anyhow::{Context as _, Result, ensure};
use mesh_support::{PATIENCE, namespaces};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use x0_agent_io::mesh::{
    MeshIoError, TunnelConfig, UnderlayConfig, interface_mtu,
    netlink::{Netlink, NetlinkEvent},
    now,
    tun::Tunnel,
    udp::{BUFFERS, Batches, Failure, ReceiveBuffers, UnderlaySocket},
};
use x0_mesh::{Time, node::UnderlayId};
use x0_test_support::netns::Namespace;

fn open(namespace: &Namespace, device: &str, listen: &str) -> Result<UnderlaySocket> {
    let listen = listen.parse()?;
    let config = UnderlayConfig { id: UnderlayId(3), name: device.into(), interface: Some(device.to_owned()), listen };
    namespace.inside(move || Ok(UnderlaySocket::open(&config)?))
}

/// Reads datagrams until there are this many.
fn receive(socket: &mut UnderlaySocket, count: usize) -> Result<Vec<(SocketAddr, Time, Vec<u8>)>> {
    let (mut buffers, mut found) = (ReceiveBuffers::default(), Vec::new());
    let end = Instant::now() + PATIENCE;
    while found.len() < count {
        ensure!(Instant::now() < end, "{} of {count} datagrams came", found.len());
        let filled = socket.receive(&mut buffers)?;
        ensure!(filled <= BUFFERS);
        for index in 0..filled {
            let mut datagrams = socket.datagrams(&mut buffers, index).context("a buffer")?;
            let (from, at) = (datagrams.from, datagrams.received);
            found.extend(datagrams.each().map(|bytes| (from, at, bytes.to_vec())));
        }
        if filled == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(found)
}

/// Datagrams of mixed sizes, each with its number.
fn datagrams(count: u32) -> Vec<Vec<u8>> {
    let size = |number: u32| match number % 50 {
        49 => 7 + number as usize % 300,
        _ => 1_200 + (number as usize / 100) * 8,
    };
    (0..count).map(|number| number.to_be_bytes().into_iter().cycle().take(size(number)).collect()).collect()
}

#[test]
fn batches_arrive_whole_and_in_order() -> Result<()> {
    let (one, two) = namespaces(1, 1_500)?;
    for (near, far, from) in [
        ("10.0.0.1:7001", "10.0.0.2:7001", "10.0.0.1:7001"),
        // An unspecified IPv6 socket reaches IPv4, and a peer's address is IPv4 there too.
        ("[::]:7002", "[::]:7002", "10.0.0.1:7002"),
    ] {
        let (mut sender, mut receiver) = (open(&one, "a0", near)?, open(&two, "b0", far)?);
        ensure!(sender.offloads().gso && receiver.offloads().gro, "{:?}", sender.offloads());
        ensure!(receiver.offloads().stamps, "{:?}", receiver.offloads());
        let to = SocketAddr::new([10, 0, 0, 2].into(), receiver.local_addr().port());
        let (sent, start) = (datagrams(500), now());
        let (mut batches, mut failures) = (Batches::default(), Vec::new());
        for bytes in &sent {
            batches.push(&mut sender, to, bytes, &mut failures);
        }
        batches.flush(&mut sender, &mut failures);
        ensure!(failures.is_empty(), "{failures:?}");
        let received = receive(&mut receiver, sent.len())?;
        let end = now();
        ensure!(received.iter().map(|(_, _, bytes)| bytes).eq(&sent), "changed or out of order");
        ensure!(received.iter().all(|(sender, _, _)| sender.to_string() == from), "{:?}", received[0].0);
        ensure!(received.iter().all(|(_, at, _)| (start..=end).contains(at)), "stamps by the monotonic clock");

        // The answer leaves from the address that was spoken to.
        receiver.send_now(received[0].0, b"answer", &mut failures);
        let answer = receive(&mut sender, 1)?;
        ensure!(failures.is_empty() && answer[0].0 == to && answer[0].2 == b"answer", "{answer:?} {failures:?}");
    }
    Ok(())
}

#[test]
fn what_the_system_refuses_is_told_apart() -> Result<()> {
    let (one, two) = namespaces(1, 1_400)?;
    let mut socket = open(&one, "a0", "10.0.0.1:7003")?;
    let mut other = open(&two, "b0", "10.0.0.2:7003")?;
    assert_eq!(socket.payload_bytes_max(), 1_372);
    let there = "10.0.0.2:7003".parse()?;
    let mut failures = Vec::new();
    // "Don't fragment" holds to the byte.
    socket.send_now(there, &[1; 1_372], &mut failures);
    socket.send_now(there, &[1; 1_373], &mut failures);
    assert_eq!(failures, [Failure::TooLong(there, 1_373)]);
    // A batch whose datagrams are too long says so, and the next batch passes.
    failures.clear();
    let mut batches = Batches::default();
    for _ in 0..3 {
        batches.push(&mut socket, there, &[2; 1_373], &mut failures);
    }
    batches.flush(&mut socket, &mut failures);
    assert_eq!(failures, [Failure::TooLong(there, 1_373); 3]);
    failures.clear();
    for _ in 0..3 {
        batches.push(&mut socket, there, &[3; 1_372], &mut failures);
    }
    batches.flush(&mut socket, &mut failures);
    let received = receive(&mut other, 4)?;
    ensure!(failures.is_empty() && received.iter().all(|(_, _, bytes)| bytes.len() == 1_372), "{failures:?}");
    // Nobody reads there: what ICMP says of it keeps no later datagram back.
    drop(other);
    for _ in 0..3 {
        socket.send_now(there, &[4; 10], &mut failures);
    }
    assert_eq!(failures, []);
    // Without the device there is no way.
    one.set_device("a0", false)?;
    socket.send_now(there, &[5; 10], &mut failures);
    assert_eq!(failures, [Failure::Unreachable(there)]);
    Ok(())
}

#[test]
fn a_device_that_is_missing_is_named() -> Result<()> {
    let namespace = Namespace::create()?;
    let error = open(&namespace, "absent0", "0.0.0.0:0").unwrap_err();
    ensure!(matches!(error.downcast_ref(), Some(MeshIoError::NoInterface { name }) if name == "absent0"), "{error}");
    let error = open(&namespace, "a-name-that-is-too-long", "0.0.0.0:0").unwrap_err();
    ensure!(matches!(error.downcast_ref(), Some(MeshIoError::InterfaceName { length: 23, .. })), "{error}");
    Ok(())
}

#[test]
fn the_tunnel_has_its_address_its_size_and_the_mesh_s_route() -> Result<()> {
    let namespace = Namespace::create()?;
    let config = TunnelConfig::new("x0t%d", "fd12:3456:789a::7".parse()?);
    let (tunnel, mtu) = namespace.inside(move || {
        let tunnel = Tunnel::open(&config)?;
        // The address can be used at once, without waiting for a search for duplicates.
        std::net::UdpSocket::bind((config.address, 0)).context("binding to the overlay address")?;
        let mtu = interface_mtu(tunnel.name())?;
        Ok((tunnel, mtu))
    })?;
    assert_eq!((tunnel.name(), mtu), ("x0t0", 1_380));
    ensure!(tunnel.offloads().tcp, "{:?}", tunnel.offloads());
    let routes = namespace.ip("-6 route show dev x0t0")?;
    ensure!(routes.contains("fd12:3456:789a::/48"), "{routes}");
    let addresses = namespace.ip("-6 address show dev x0t0")?;
    ensure!(addresses.contains("fd12:3456:789a::7/48") && !addresses.contains("fe80"), "{addresses}");
    drop(tunnel);
    ensure!(namespace.ip("link show dev x0t0").is_err(), "the device goes with its descriptor");
    Ok(())
}

#[test]
fn the_carrier_of_the_far_end_is_seen() -> Result<()> {
    let (one, two) = namespaces(1, 1_500)?;
    let mut netlink = one.inside(|| Ok(Netlink::open()?))?;
    let mut wait = |up: bool| -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut events = Vec::new();
            netlink.events(&mut events)?;
            let hit = |event: &NetlinkEvent| matches!(event, NetlinkEvent::Link { name, up: seen, .. } if name == "a0" && *seen == up);
            if events.iter().any(hit) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "no event about a0, up {up}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait(true)?;
    two.set_device("b0", false)?;
    wait(false)?;
    two.set_device("b0", true)?;
    wait(true)
}
