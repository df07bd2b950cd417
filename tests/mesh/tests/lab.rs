//! The lab's own honesty: faults do what they say, and measurements find what was done. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]

use std::{
    net::{IpAddr, UdpSocket},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};
use x0_mesh_lab::{
    bpf::{Direction, Drops, Fault, loses},
    campaign,
    fault::Class,
    impair::Rule,
    outcome::{Window, judge, latencies_us, percentile},
    probe::{Ends, Packet, Prober, Record, Transport},
    process::{self, Daemon},
    realtime::now_ns,
    systems::{self, Launch, Running},
    topology::{A, B, Shape, Topology},
};

/// The ends of a stream over the first wire.
fn ends(lab: &Topology) -> Ends {
    let wire = &lab.wires[0];
    Ends {
        a: (lab.namespace(A).clone(), IpAddr::V4(wire.left.address)),
        b: (lab.namespace(B).clone(), IpAddr::V4(wire.right.address)),
        transport: Transport::Udp,
    }
}

/// Two wires on which nothing moves but what a test sends.
fn quiet() -> Topology {
    let lab = Topology::build(Shape::direct(2)).unwrap();
    for node in [A, B] {
        lab.namespace(node).command("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1").unwrap();
    }
    lab
}

fn arrived(packets: &[Packet]) -> u64 {
    packets.iter().filter(|packet| packet.copies > 0).count() as u64
}

fn dropped(drops: [Drops; 2]) -> u64 {
    drops.iter().map(|drops| drops.dropped).sum()
}

/// Runs the stream for a while around something.
fn stream(lab: &Topology, during: impl FnOnce()) -> Record {
    let prober = Prober::start(&ends(lab), 30).unwrap();
    during();
    prober.finish().unwrap()
}

#[test]
fn a_black_hole_swallows_both_directions_at_once_and_counts_what_it_swallows() {
    let lab = quiet();
    let (mut before, mut after) = (0, 0);
    let record = stream(&lab, || {
        sleep(Duration::from_millis(300));
        before = now_ns();
        lab.set(0, Direction::Both, Fault::BlackHole).unwrap();
        after = now_ns();
        sleep(Duration::from_millis(300));
    });
    let lost: Vec<u64> = record.directions.iter().map(|packets| packets.len() as u64 - arrived(packets)).collect();
    for (packets, name) in record.directions.iter().zip(["to b", "to a"]) {
        assert!(
            packets.iter().filter(|packet| packet.sent_ns > after).all(|packet| packet.copies == 0),
            "{name}: nothing that is sent after the cut arrives"
        );
        assert!(
            packets.iter().any(|packet| packet.arrived_ns > 0 && packet.arrived_ns < before),
            "{name}: before it does"
        );
    }
    let drops = lab.drops(0).unwrap();
    assert_eq!(drops.map(|drops| drops.dropped), [lost[1], lost[0]], "every lost packet was counted");
    assert!(drops.iter().all(|drops| drops.dropped > 0 && drops.seen == drops.dropped), "{drops:?}");
}

#[test]
fn one_direction_can_be_cut_and_the_other_wire_is_not_touched() {
    let lab = quiet();
    lab.set(1, Direction::Both, Fault::BlackHole).unwrap();
    let record = stream(&lab, || {
        lab.set(0, Direction::ToRight, Fault::BlackHole).unwrap();
        sleep(Duration::from_millis(200));
    });
    let [to_b, to_a] = &record.directions;
    assert!(arrived(to_b) < to_b.len() as u64 / 2);
    assert_eq!(arrived(to_a), to_a.len() as u64);
    assert_eq!(lab.drops(0).unwrap()[0], Drops::default());
    assert_eq!(dropped(lab.drops(1).unwrap()), 0, "nothing travels on the second wire");
}

/// Sends numbered datagrams to the right under a fault, and returns which arrived.
fn numbers_that_pass(lab: &Topology, count: u32, bytes: usize, fault: Fault) -> Vec<u32> {
    let ends = ends(lab);
    let open = |(namespace, address): &(x0_test_support::netns::Namespace, IpAddr)| -> UdpSocket {
        let at = (*address, 0);
        namespace.inside(move || Ok(UdpSocket::bind(at)?)).unwrap()
    };
    let (left, right) = (open(&ends.a), open(&ends.b));
    right.set_nonblocking(true).unwrap();
    let to = right.local_addr().unwrap();
    lab.set(0, Direction::Both, fault).unwrap();
    let mut passed = Vec::new();
    let mut buffer = vec![0; 2_000];
    for number in 0..count {
        let mut payload = vec![0; bytes];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        left.send_to(&payload, to).unwrap();
        // On these wires a packet is in its socket, or dropped and counted, soon after it is sent.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if right.recv(&mut buffer).is_ok() {
                passed.push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
                break;
            }
            if lab.drops(0).unwrap()[1].dropped + passed.len() as u64 > u64::from(number) {
                break;
            }
            assert!(Instant::now() < deadline, "packet {number} neither arrives nor is counted");
        }
    }
    passed
}

#[test]
fn a_seeded_loss_is_the_sequence_of_its_seed_and_repeats_exactly() {
    let lab = quiet();
    let fault = |seed| Fault::Loss { per_mille: 100, seed };
    let first = numbers_that_pass(&lab, 2_000, 100, fault(7));
    // Packets to the right begin one after the seed.
    let expected: Vec<u32> = (0..2_000).filter(|number| !loses(8, u64::from(*number), 100)).collect();
    assert_eq!(first, expected);
    assert_eq!(numbers_that_pass(&lab, 2_000, 100, fault(7)), first);
    assert_ne!(numbers_that_pass(&lab, 2_000, 100, fault(9)), first);
}

#[test]
fn every_nth_and_large_packets_can_be_lost() {
    let lab = quiet();
    let passed = numbers_that_pass(&lab, 20, 100, Fault::EveryNth(5));
    assert_eq!(passed, (0..20).filter(|number| number % 5 != 4).collect::<Vec<_>>());
    // Ethernet, IPv4 and UDP headers are 42 bytes.
    assert_eq!(numbers_that_pass(&lab, 5, 458, Fault::LargerThan(500)).len(), 5);
    assert_eq!(numbers_that_pass(&lab, 5, 459, Fault::LargerThan(500)).len(), 0);
}

#[test]
fn the_stream_counts_a_known_loss_exactly() {
    let lab = quiet();
    let mut window = Window { from_ns: 0, until_ns: 0 };
    let record = stream(&lab, || {
        sleep(Duration::from_millis(100));
        window.from_ns = now_ns();
        lab.set(0, Direction::ToRight, Fault::EveryNth(4)).unwrap();
        sleep(Duration::from_secs(1));
        lab.lift(0).unwrap();
        window.until_ns = now_ns();
        sleep(Duration::from_millis(100));
    });
    let outcome = judge(&record, window);
    let dropped = lab.drops(0).unwrap()[1].dropped;
    assert!(dropped > 0);
    assert_eq!(record.directions[0].len() as u64 - arrived(&record.directions[0]), dropped);
    assert_eq!((outcome.lost, outcome.lost_run, outcome.copies), (dropped, 1, 0));
}

#[test]
fn a_throttled_path_holds_back_what_its_queue_takes_and_loses_the_rest() {
    let lab = quiet();
    let record = stream(&lab, || {
        lab.throttle(0, Some(500)).unwrap();
        sleep(Duration::from_secs(1));
        lab.throttle(0, None).unwrap();
        sleep(Duration::from_millis(100));
    });
    for packets in &record.directions {
        assert!(arrived(packets) < packets.len() as u64, "1.7 Mbit/s do not fit in 0.5");
        assert!(packets.last().unwrap().copies == 1, "the wire is itself again");
        let held = packets.iter().filter(|packet| packet.copies > 0).map(|packet| packet.arrived_ns - packet.sent_ns);
        assert!(held.max() > Some(50_000_000), "the queue of 100 ms fills");
    }
}

#[test]
fn an_impaired_wire_delays_by_what_its_rule_says() {
    let rule = Rule { delay_us: 5_000, jitter_us: 4_000, in_order: false };
    let lab = Topology::build(Shape::direct(1).impaired(rule)).unwrap();
    let from_ns = now_ns();
    let record = stream(&lab, || sleep(Duration::from_secs(1)));
    let latencies = latencies_us(&record, Window { from_ns, until_ns: now_ns() });
    assert!(latencies.len() > 1_000);
    assert!(latencies[0] >= 5_000, "no packet is early: {} us", latencies[0]);
    // The median of a uniform jitter of 4 ms is 2 ms; a busy machine makes it later, never earlier.
    let median = percentile(&latencies, 50);
    assert!((6_500..12_000).contains(&median), "{median} us");
    let all = Window { from_ns: 0, until_ns: u64::MAX };
    assert!(judge(&record, all).overtaken > 0, "packets overtake each other");
}

#[test]
fn a_path_without_carrier_comes_back_with_its_neighbours() {
    let lab = quiet();
    let record = stream(&lab, || {
        lab.carrier(0, true, false).unwrap();
        sleep(Duration::from_millis(100));
        lab.carrier(0, true, true).unwrap();
        sleep(Duration::from_millis(500));
    });
    let last = record.directions.each_ref().map(|packets| packets.last().unwrap().copies);
    assert_eq!(last, [1, 1]);
    assert!(record.directions.iter().all(|packets| arrived(packets) < packets.len() as u64));
}

#[test]
fn a_stopped_process_does_nothing_until_it_goes_on_and_ends_with_its_owner() {
    let lab = Topology::build(Shape::relayed(2)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("ticks");
    let script = format!("while :; do echo tick >> {}; sleep 0.01; done", written.display());
    let mut running = Running::new(lab.wires[0].left.address, lab.wires[0].right.address, folder.path());
    let launch = Launch::new(2, "ticker", "/bin/sh".into(), ["-c", &script]);
    let pid = running.launch(&lab, launch).unwrap().pid();
    let ticks = || std::fs::read_to_string(&written).unwrap_or_default().lines().count();
    let grows = |from: usize| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while ticks() <= from {
            assert!(Instant::now() < deadline, "no tick after {from}");
            sleep(Duration::from_millis(10));
        }
    };
    grows(0);
    running.on(2).try_for_each(|daemon: &mut Daemon| daemon.signal(libc::SIGSTOP)).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    while !state().contains(") T ") {
        sleep(Duration::from_millis(10));
    }
    let stopped = ticks();
    sleep(Duration::from_millis(200));
    assert_eq!(ticks(), stopped);
    running.on(2).try_for_each(|daemon| daemon.signal(libc::SIGCONT)).unwrap();
    grows(stopped);
    drop(running);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn our_mesh_carries_the_stream_around_a_black_hole() {
    let ours = systems::all().into_iter().find(|system| system.name() == systems::OURS).unwrap();
    let block = campaign::run(ours.as_ref(), Class::BlackHole, 2, 1, None).unwrap();
    for row in &block.rows {
        // Without a second path everything that is sent while the fault is there would be lost.
        assert!(!row.fault.open && row.fault.lost < row.fault.sent / 2, "{row:?}");
    }
}

#[test]
fn processes_end_with_the_thread_that_owns_the_lab_even_when_nobody_stops_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let pid = std::thread::spawn(move || {
        let lab = Topology::build(Shape::direct(1)).unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let daemon = Daemon::start(lab.namespace(A), "sleeper", &path, &mut command).unwrap();
        let pid = daemon.pid();
        // As if the lab had been killed: no destructor runs.
        std::mem::forget(daemon);
        pid
    });
    let pid = pid.join().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(20);
    // Nobody waits for it here, so its end is a zombie.
    while !state().contains(") Z ") {
        assert!(Instant::now() < deadline, "{}", state());
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn folders_of_labs_that_were_killed_are_removed_and_those_of_living_ones_stay() {
    let alive = process::folder().unwrap();
    let mut ended = Command::new("true").spawn().unwrap();
    let dead = std::env::temp_dir().join(format!("x0-mesh-lab-{}-test", ended.id()));
    ended.wait().unwrap();
    std::fs::create_dir(&dead).unwrap();
    drop(process::folder().unwrap());
    assert!(!dead.exists() && alive.path().exists());
}

#[test]
fn nothing_is_left_behind() {
    let lab = Topology::build(Shape::relayed(3)).unwrap();
    assert_eq!(lab.nodes.len(), 5);
    let relay = lab.namespace(2).clone();
    let shown = || relay.ip("-o link show").unwrap();
    assert!(shown().contains("r1a") && shown().contains("r1b"));
    let outside = Command::new("ip").args(["-o", "link", "show"]).output().unwrap().stdout;
    assert!(!String::from_utf8(outside).unwrap().contains("r1a"), "all of it is in namespaces without a name");
    drop(lab);
    // A wire goes with either of its ends: the namespaces of `a` and `b` are gone.
    let deadline = Instant::now() + Duration::from_secs(20);
    while shown().contains("r1a") || shown().contains("r1b") {
        assert!(Instant::now() < deadline, "{}", shown());
        sleep(Duration::from_millis(10));
    }
}
