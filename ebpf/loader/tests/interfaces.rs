//! The filter on real interfaces: virtual wires, tunnels, routers, and processes that die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod support;

use aya::programs::{SchedClassifier, TcAttachType};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};
use support::{DATA, HELLO, PEER, PORT, TAG, Wire, bound, datagram, namespace, next_mark, send_super};
use x0_ebpf_loader::{
    Counters, LoaderError, Reason,
    mesh::{FilterConfig, FilterError, FilterStatus, Hook, MeshFilter, MeshGuard, Mode, PeerAction, PeerRule},
};
use x0_test_support::netns::Namespace;

/// Makes the child of a test behave as told.
const ROLE: &str = "X0_LOADER_TEST_ROLE";

/// An armed filter with one tag on an interface of a namespace.
fn armed(namespace: &Namespace, interface: &'static str, mode: Mode) -> (MeshFilter, Hook) {
    namespace
        .inside(move || {
            let mut filter = MeshFilter::load(&FilterConfig::new(&[PORT]))?;
            filter.allow(TAG, PEER)?;
            filter.arm(true)?;
            let hook = filter.attach(interface, mode)?;
            Ok((filter, hook))
        })
        .unwrap()
}

#[test]
fn strangers_are_dropped_on_a_wire_and_ours_pass_in_super_packets() {
    let Some(wire) = Wire::lay() else { return };
    let (filter, hook) = armed(&wire.far, "b1", Mode::Tc);
    assert_eq!(hook, Hook::Tcx);
    let reader = filter.reader();
    for (v6, before) in [(false, 0), (true, 10)] {
        let (receiver, sender) = (wire.receiver(v6), wire.sender(v6));
        sender.send(&datagram(DATA, 99, 1)).unwrap();
        sender.send(&[0xff; 60]).unwrap();
        let ours: Vec<Vec<u8>> = (10..20).map(|mark| datagram(DATA, TAG, mark)).collect();
        send_super(&sender, &ours);
        let marks: Vec<u8> = (0..10).map(|_| next_mark(&receiver)).collect();
        assert_eq!(marks, (10..20).collect::<Vec<u8>>());
        let traffic = reader.tag(TAG).unwrap().unwrap();
        assert_eq!(traffic.packets, before + 10);
    }
    // One super-packet of each family: one run of the program each, and so at most one time between.
    let traffic = reader.tag(TAG).unwrap().unwrap();
    assert!(traffic.intervals.iter().sum::<u64>() <= 1, "{traffic:?}");
    // Ethernet, IP and UDP headers of each segment are on the wire.
    assert_eq!(traffic.bytes, 10 * (14 + 20 + 8 + 49) + 10 * (14 + 40 + 8 + 49));
    let totals = reader.totals().unwrap();
    assert_eq!((totals.of(Reason::UnknownTag), totals.of(Reason::Version)), (2, 2));
    assert!(reader.last_seen(TAG).is_some());
}

#[test]
fn dropping_the_filter_or_detaching_it_lets_everything_through() {
    let Some(wire) = Wire::lay() else { return };
    let (receiver, sender) = (wire.receiver(false), wire.sender(false));
    let (mut filter, _) = armed(&wire.far, "b1", Mode::Tc);
    assert!(matches!(filter.attach("b1", Mode::Tc), Err(FilterError::AlreadyAttached { .. })));
    sender.send(&datagram(DATA, 99, 1)).unwrap();
    assert!(filter.detach("b1") && !filter.detach("b1"));
    sender.send(&datagram(DATA, 99, 2)).unwrap();
    assert_eq!(next_mark(&receiver), 2);
    drop(filter);
    let (filter, _) = armed(&wire.far, "b1", Mode::Tc);
    sender.send(&datagram(DATA, 99, 3)).unwrap();
    drop(filter);
    sender.send(&datagram(DATA, 99, 4)).unwrap();
    assert_eq!(next_mark(&receiver), 4);
}

/// The counters of the availability service and the filter may sit on one interface, in either order:
/// each hands packets on, and what the filter drops is dropped.
#[test]
fn counters_and_filter_share_an_interface() {
    let Some(wire) = Wire::lay() else { return };
    for filter_first in [true, false] {
        let count = || wire.far.inside(|| Ok(Counters::attach("b1", PORT)?)).unwrap();
        let (filter, counters) = if filter_first {
            let (filter, _) = armed(&wire.far, "b1", Mode::Tc);
            (filter, count())
        } else {
            let counters = count();
            (armed(&wire.far, "b1", Mode::Tc).0, counters)
        };
        let (receiver, sender) = (wire.receiver(false), wire.sender(false));
        sender.send(&datagram(DATA, 99, 1)).unwrap();
        sender.send(&datagram(DATA, TAG, 2)).unwrap();
        assert_eq!(next_mark(&receiver), 2);
        assert_eq!(filter.reader().totals().unwrap().of(Reason::UnknownTag), 1);
        let counted: u64 = counters.peers().unwrap().values().map(|sender| sender.packets).sum();
        assert_eq!(counted, if filter_first { 2 } else { 1 }, "who came last sees packets first");
    }
}

#[test]
fn xdp_is_refused_without_hardware_and_works_when_forced() {
    let Some(wire) = Wire::lay() else { return };
    let refused = wire
        .far
        .inside(|| Ok(MeshFilter::load(&FilterConfig::new(&[PORT]))?.attach("b1", Mode::Xdp)))
        .unwrap()
        .unwrap_err();
    assert!(matches!(&refused, FilterError::XdpNeedsHardware { driver, .. } if driver == "veth"), "{refused}");
    assert!(refused.to_string().contains("use TC"), "{refused}");

    let (filter, hook) = armed(&wire.far, "b1", Mode::XdpForced);
    assert_eq!(hook, Hook::XdpDriver);
    let (receiver, sender) = (wire.receiver(true), wire.sender(true));
    sender.send(&datagram(DATA, 99, 1)).unwrap();
    sender.send(&datagram(DATA, TAG, 2)).unwrap();
    assert_eq!(next_mark(&receiver), 2);
    assert_eq!(filter.reader().totals().unwrap().of(Reason::UnknownTag), 1);
}

/// Tunnels such as Yggdrasil's hand over packets that begin with the IP header.
#[test]
fn tunnels_without_ethernet_headers_are_filtered_too() {
    let Some(host) = namespace() else { return };
    let tunnel = host.tunnel("ygg0", Ipv4Addr::new(10, 78, 0, 1), Ipv4Addr::new(255, 255, 255, 0), 1_400).unwrap();
    let (mut filter, hook) = armed(&host, "ygg0", Mode::Tc);
    assert_eq!(hook, Hook::Tcx);
    let no_xdp = host.inside(|| Ok(MeshFilter::load(&FilterConfig::new(&[PORT]))?.attach("ygg0", Mode::XdpForced)));
    assert!(matches!(no_xdp.unwrap(), Err(FilterError::XdpNeedsEthernet { .. })));
    let receiver = bound(&host, "10.78.0.1", PORT).unwrap();
    let mut write = File::from(tunnel);
    for (tag, mark) in [(99, 1), (TAG, 2)] {
        write.write_all(&ipv4_udp([10, 78, 0, 2], [10, 78, 0, 1], &datagram(DATA, tag, mark))).unwrap();
    }
    assert_eq!(next_mark(&receiver), 2);
    assert_eq!(filter.reader().totals().unwrap().of(Reason::UnknownTag), 1);
    assert!(filter.detach("ygg0"));
}

/// A UDP packet to the mesh's port with a correct IP checksum and none for UDP.
fn ipv4_udp(from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((28 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    for field in [40_000, PORT, 8 + payload.len() as u16, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// A router's guests may use the mesh's port among themselves: only what is for the router is filtered.
#[test]
fn what_a_router_passes_on_is_left_alone() {
    let Some(wire) = Wire::lay() else { return };
    let Some(beyond) = namespace() else { return };
    wire.far.wire("b2", &beyond, "c1").unwrap();
    wire.far.ip("address add 10.79.0.1/24 dev b2").unwrap();
    wire.far.ip("address add fd79::1/64 dev b2 nodad").unwrap();
    beyond.ip("address add 10.79.0.2/24 dev c1").unwrap();
    beyond.ip("address add fd79::2/64 dev c1 nodad").unwrap();
    wire.near.ip("route add 10.79.0.0/24 via 10.77.0.2").unwrap();
    wire.near.ip("route add fd79::/64 via fd77::2").unwrap();
    wire.far
        .inside(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
            Ok(())
        })
        .unwrap();
    let (filter, _) = armed(&wire.far, "b1", Mode::Tc);
    for (v6, own, far, there) in
        [(false, "10.77.0.1", "10.77.0.2", "10.79.0.2"), (true, "fd77::1", "fd77::2", "fd79::2")]
    {
        let guest = bound(&beyond, there, PORT).unwrap();
        let router = wire.receiver(v6);
        let sender = bound(&wire.near, own, 0).unwrap();
        let to = |address: &str| std::net::SocketAddr::new(address.parse().unwrap(), PORT);
        sender.send_to(&datagram(DATA, 99, 1), to(there)).unwrap();
        sender.send_to(&datagram(DATA, 99, 2), to(far)).unwrap();
        sender.send_to(&datagram(DATA, TAG, 3), to(far)).unwrap();
        assert_eq!((next_mark(&guest), next_mark(&router)), (1, 3));
    }
    let totals = filter.reader().totals().unwrap();
    assert_eq!((totals.of(Reason::Forwarded), totals.of(Reason::UnknownTag)), (2, 2));
}

/// The child of the tests below; as a test of its own it has no role and does nothing.
#[test]
fn child() {
    match std::env::var(ROLE).as_deref() {
        Ok("hold") => {
            let mut filter = MeshFilter::load(&FilterConfig::new(&[PORT])).unwrap();
            filter.arm(true).unwrap();
            filter.attach("b1", Mode::Tc).unwrap();
            println!("\nattached");
            // Lives until it is killed, or until its parent is gone.
            std::io::stdin().lock().lines().for_each(drop);
        }
        Ok("powerless") => {
            let mut guard = MeshGuard::load(&FilterConfig::new(&[PORT]));
            assert_eq!(guard.attach("lo", Mode::Tc), None);
            guard.allow(TAG, PEER).unwrap();
            guard.arm(true).unwrap();
            guard.revoke(TAG).unwrap();
            assert_eq!(guard.last_seen(TAG), None);
            println!("\n{}", guard.status());
        }
        Ok("named rights") => {
            for (interface, mode) in [("b1", Mode::Tc), ("b1", Mode::XdpForced), ("ygg0", Mode::Tc)] {
                let filter = MeshFilter::load(&FilterConfig::new(&[PORT]));
                let mut filter = filter.unwrap_or_else(|error| panic!("{error}"));
                filter.attach(interface, mode).unwrap_or_else(|error| panic!("{interface} {mode:?}: {error}"));
            }
            println!("\nattached everywhere");
        }
        Ok("gives up") => {
            let mut filter = MeshFilter::load(&FilterConfig::new(&[PORT])).unwrap();
            filter.attach("b1", Mode::Tc).unwrap();
            // SAFETY: changes the user of this whole process, which ends below; its rights go with it.
            assert_eq!(unsafe { libc::setresuid(65_534, 65_534, 65_534) }, 0);
            let refused = MeshFilter::load(&FilterConfig::new(&[PORT])).unwrap_err();
            assert!(matches!(refused, FilterError::Loader(LoaderError::NotPermitted)), "{refused}");
            filter.allow(TAG, PEER).unwrap();
            filter.arm(true).unwrap();
            filter.set_rules(&[PeerRule { peer: [1; 32], action: PeerAction::Deny }], &[]).unwrap();
            println!("\nruled");
            std::io::stdin().lock().lines().next();
            println!("\n{:?}", filter.reader().tag(TAG).unwrap().unwrap().packets);
        }
        _ => {}
    }
}

fn child_with(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(ROLE, role);
    command
}

#[test]
fn a_killed_process_takes_its_filter_along() {
    let Some(wire) = Wire::lay() else { return };
    let (receiver, sender) = (wire.receiver(false), wire.sender(false));
    let attached =
        |far: &Namespace| far.inside(|| Ok(SchedClassifier::query_tcx("b1", TcAttachType::Ingress)?.1.len())).unwrap();
    let mut command = child_with("hold");
    wire.far.enter(&mut command);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "attached"), "the child attaches");
    assert_eq!(attached(&wire.far), 1);
    sender.send(&datagram(DATA, TAG, 1)).unwrap();
    sender.send(&datagram(HELLO, 0, 2)).unwrap();
    assert_eq!(next_mark(&receiver), 2, "the filter is at work");

    holder.kill().unwrap();
    assert!(!holder.wait().unwrap().success());
    assert_eq!(attached(&wire.far), 0);
    sender.send(&datagram(DATA, TAG, 3)).unwrap();
    assert_eq!(next_mark(&receiver), 3);
}

/// Numbers of capabilities (linux/capability.h).
const NET_ADMIN: libc::c_int = 12;
const SYS_ADMIN: libc::c_int = 21;
const PERFMON: libc::c_int = 38;
const BPF: libc::c_int = 39;
const LAST: libc::c_int = 40;

/// Lets the process start without some of root's capabilities; others than root have none to lose.
fn without(command: &mut Command, lost: fn(libc::c_int) -> bool) {
    // SAFETY: between fork and exec only `prctl` is called, with numbers.
    unsafe {
        command.pre_exec(move || {
            for capability in (0..=LAST).filter(|capability| lost(*capability)) {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            Ok(())
        });
    }
}

/// The three capabilities that the documentation names are enough, and needed.
#[test]
fn three_capabilities_are_enough_and_needed() {
    let Some(wire) = Wire::lay() else { return };
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    let _tunnel = wire.far.tunnel("ygg0", Ipv4Addr::new(10, 78, 0, 1), mask, 1_400).unwrap();
    let start = |lost| {
        let mut command = child_with("named rights");
        wire.far.enter(&mut command);
        without(&mut command, lost);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (success, says) = start(|capability| ![NET_ADMIN, PERFMON, BPF].contains(&capability));
    assert!(success && says.contains("attached everywhere"), "{says}");
    for lost in [
        (|capability| ![PERFMON, BPF].contains(&capability)) as fn(_) -> _,
        |capability| ![NET_ADMIN, PERFMON].contains(&capability),
        |capability| ![NET_ADMIN, BPF].contains(&capability),
    ] {
        let (success, says) = start(lost);
        assert!(!success && says.contains("no right to load BPF programs"), "{says}");
    }
}

/// An agent may attach as root and go on as nobody: descriptors are enough to rule and to read.
#[test]
fn rights_may_be_given_up_after_attaching() {
    let Some(wire) = Wire::lay() else { return };
    let (receiver, sender) = (wire.receiver(false), wire.sender(false));
    let mut command = child_with("gives up");
    wire.far.enter(&mut command);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ruled"), "the child rules");
    sender.send(&datagram(DATA, 99, 1)).unwrap();
    sender.send(&datagram(DATA, TAG, 2)).unwrap();
    assert_eq!(next_mark(&receiver), 2);
    writeln!(holder.stdin.take().unwrap()).unwrap();
    assert!(lines.any(|line| line == "1"), "the child reads its counters");
    assert!(holder.wait().unwrap().success());
}

#[test]
fn without_rights_the_guard_says_degraded_and_why() {
    let mut command = child_with("powerless");
    without(&mut command, |capability| [NET_ADMIN, SYS_ADMIN, BPF].contains(&capability));
    let output = command.output().unwrap();
    let says = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{says}");
    assert!(says.lines().any(|line| line.starts_with("degraded: no right to load BPF programs")), "{says}");
}

#[test]
fn an_interface_that_is_missed_is_named_and_the_others_go_on() {
    let Some(host) = namespace() else { return };
    let (status, complete) = host
        .inside(|| {
            let mut guard = MeshGuard::load(&FilterConfig::new(&[PORT]));
            assert_eq!(guard.attach("lo", Mode::Tc), Some(Hook::Tcx));
            assert_eq!(guard.attach("wan9", Mode::Tc), None);
            let status = guard.status();
            guard.detach("wan9");
            Ok((status, guard.status().is_complete()))
        })
        .unwrap();
    assert!(!status.is_complete() && complete);
    let FilterStatus::Kernel { interfaces, missing, .. } = &status else { panic!("{status}") };
    assert_eq!(interfaces, &[("lo".to_owned(), Hook::Tcx)]);
    assert!(missing.len() == 1 && missing[0].1.contains("no network interface"), "{status}");
    assert_eq!(MeshGuard::off("switched off").status().to_string(), "degraded: switched off");
}
