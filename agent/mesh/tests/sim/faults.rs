//! Direct paths that fail: nothing is lost, and it takes as long as detection takes.

use super::{
    wires::Wire,
    world::{Stream, World, pair},
};

/// Which directions of a wire are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Both,
    /// From the stream's source to its target.
    Forward,
    Backward,
}

const SEEDS: u64 = 200;

/// A median, a high quantile and a maximum, in microseconds.
pub fn report(name: &str, mut values: Vec<u64>) {
    values.sort_unstable();
    let at = |percent: usize| values[(values.len() - 1) * percent / 100];
    println!("{name}: {} runs, p50 {} us, p99 {} us, max {} us", values.len(), at(50), at(99), at(100));
}

/// A stream of 1,000 packets a second over two wires; the one in use goes dark. Lost packets and the gap.
fn black_hole(seed: u64, cut: Cut) -> (Vec<u64>, u64) {
    let mut world = pair(seed, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    world.run_us(300_000);
    let start_us = world.now_us;
    let until_us = start_us + 700_000;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
    let phase_us = world.random.below(50_000);
    world.run_us(200_000 + phase_us);
    let used = world.busiest_underlay(0);
    if cut != Cut::Backward {
        world.wires.change((0, used), (1, used), |wire| wire.black_hole = true);
    }
    if cut != Cut::Forward {
        world.wires.change((1, used), (0, used), |wire| wire.black_hole = true);
    }
    world.run_us(until_us - world.now_us + 300_000);
    assert!(world.oracle.sent(0, 1, start_us, until_us) >= 700);
    (world.oracle.lost(0, 1, start_us, until_us), world.oracle.gap_us(0, 1, start_us, until_us))
}

fn black_holes(cut: Cut) {
    let mut gaps = Vec::new();
    for seed in 0..SEEDS {
        let (lost, gap_us) = black_hole(seed, cut);
        assert_eq!(lost, Vec::<u64>::new(), "seed {seed}, cut {cut:?}");
        gaps.push(gap_us);
    }
    report(&format!("black hole, {cut:?}: gap"), gaps);
}

#[test]
fn a_path_that_goes_dark_both_ways_loses_nothing() {
    black_holes(Cut::Both);
}

#[test]
fn a_path_that_goes_dark_forward_only_loses_nothing() {
    black_holes(Cut::Forward);
}

#[test]
fn a_path_that_goes_dark_backward_only_loses_nothing() {
    black_holes(Cut::Backward);
}

#[test]
fn a_lost_carrier_switches_at_once_and_loses_nothing() {
    let mut gaps = Vec::new();
    for seed in 0..20 {
        let mut world = pair(seed, 2, &Wire::default());
        world.connect(0, 1, 3_000_000);
        let start_us = world.now_us;
        let until_us = start_us + 600_000;
        world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
        world.run_us(150_000 + seed * 137);
        let used = world.busiest_underlay(0);
        world.wires.change_both((0, used), (1, used), |wire| wire.black_hole = true);
        world.call(0, |mesh, now, sink| mesh.carrier(now, x0_mesh::node::UnderlayId(used), false, sink));
        world.run_us(until_us - world.now_us + 300_000);
        assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
        gaps.push(world.oracle.gap_us(0, 1, start_us, until_us));
    }
    report("carrier lost: gap", gaps);
}

#[test]
fn three_paths_survive_the_loss_of_two() {
    for seed in 0..10 {
        let mut world = pair(seed, 3, &Wire::default());
        world.connect(0, 1, 3_000_000);
        world.run_us(300_000);
        let start_us = world.now_us;
        let until_us = start_us + 1_500_000;
        world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
        for _ in 0..2 {
            world.run_us(300_000 + world.random.clone().below(20_000));
            let used = world.busiest_underlay(0);
            world.wires.change_both((0, used), (1, used), |wire| wire.black_hole = true);
        }
        world.run_us(until_us - world.now_us + 300_000);
        assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
    }
}

/// A wire that comes and goes each second for a minute: the stream goes on, nothing is lost.
#[test]
fn a_flapping_path_for_a_minute_loses_nothing() {
    let mut world = pair(7, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let start_us = world.now_us;
    let until_us = start_us + 60_000_000;
    world.stream(Stream { from: 0, to: 1, every_us: 5_000, bytes: 200, until_us });
    let before = switches(&world);
    for second in 0..60 {
        world.run_us(500_000);
        world.wires.change_both((0, 0), (1, 0), |wire| wire.black_hole = true);
        world.run_us(500_000);
        world.wires.change_both((0, 0), (1, 0), |wire| wire.black_hole = false);
        assert!(world.now_us >= start_us + second * 1_000_000);
    }
    world.run_us(300_000);
    assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new());
    let switched = switches(&world) - before;
    println!("60 flaps in 60 s: {switched} changes of the primary path");
    // Damping doubles the wait up to 30 s, so that a minute of flaps cannot cause a switch each.
    assert!(switched <= 20, "{switched} changes of the primary path");
}

fn switches(world: &World) -> u64 {
    world.nodes[0].mesh.status(x0_mesh::Time(world.now_us * 1_000)).counters.switches
}

#[test]
fn a_restored_path_carries_traffic_again_within_five_seconds() {
    let mut waits = Vec::new();
    for seed in 0..5 {
        // The second wire is slower, so that the first is wanted back.
        let mut world = pair(seed, 2, &Wire::default());
        world.wires.change_both((0, 1), (1, 1), |wire| wire.delay_us = 8_000);
        world.connect(0, 1, 3_000_000);
        world.stream(Stream { from: 0, to: 1, every_us: 2_000, bytes: 200, until_us: 60_000_000 });
        world.run_us(2_000_000);
        assert_eq!(world.busiest_underlay(0), 0, "the faster wire carries the stream");
        world.wires.change_both((0, 0), (1, 0), |wire| wire.black_hole = true);
        world.run_us(2_000_000);
        assert_eq!(world.busiest_underlay(0), 1);
        world.wires.change_both((0, 0), (1, 0), |wire| wire.black_hole = false);
        let restored_us = world.now_us;
        while world.busiest_underlay(0) != 0 {
            assert!(world.now_us < restored_us + 5_000_000, "seed {seed}: not used again\n{}", world.state());
        }
        waits.push(world.now_us - restored_us);
    }
    report("restored path used again after", waits);
}

/// Loss is no reason to break a session or to lose more than the wire loses.
#[test]
fn ten_percent_loss_breaks_no_session() {
    for loss_ppm in [10_000, 50_000, 100_000] {
        let mut world = pair(3, 2, &Wire { loss_ppm, ..Wire::default() });
        world.connect(0, 1, 10_000_000);
        let start_us = world.now_us;
        let until_us = start_us + 20_000_000;
        world.stream(Stream { from: 0, to: 1, every_us: 2_000, bytes: 200, until_us });
        world.run_us(20_500_000);
        let (sent, lost) =
            (world.oracle.sent(0, 1, start_us, until_us), world.oracle.lost(0, 1, start_us, until_us).len());
        let status = world.nodes[0].mesh.status(x0_mesh::Time(world.now_us * 1_000));
        println!("loss of {loss_ppm} ppm: {lost} of {sent} lost, {} times down in 20 s", status.counters.downs);
        assert_eq!(status.counters.sessions_opened, 1, "the session went on");
        assert!(lost * 1_000_000 <= sent * (loss_ppm as usize) * 12 / 10, "{lost} of {sent} lost");
    }
}

/// A node that lost all its state: its neighbour does not know, and only the neighbour's host talks.
#[test]
fn a_peer_that_starts_anew_is_reached_again_although_it_says_nothing() {
    let mut waits = Vec::new();
    for seed in 0..5 {
        let mut world = pair(seed, 2, &Wire::default());
        world.connect(0, 1, 3_000_000);
        world.stream(Stream { from: 0, to: 1, every_us: 5_000, bytes: 200, until_us: 60_000_000 });
        world.run_us(500_000);
        let start_us = world.now_us;
        world.restart(1);
        // What was on its way is lost or arrives; from 20 ms on a delivery is one of the new life.
        let back = world.run_until(20_000_000, |world| world.oracle.first_after(0, 1, start_us + 20_000).is_some());
        assert!(back, "seed {seed}\n{}", world.state());
        waits.push(world.now_us - start_us);
    }
    report("peer started anew, reached after", waits);
}

/// Packets of every size cross, whatever the wires carry; those that are too long travel in two pieces.
#[test]
fn packets_of_all_sizes_cross_wires_of_all_sizes() {
    for bytes_max in [1_232, 1_300, 1_472] {
        let mut world = pair(u64::try_from(bytes_max).unwrap(), 2, &Wire { bytes_max, ..Wire::default() });
        world.connect(0, 1, 5_000_000);
        world.run_us(3_000_000);
        let start_us = world.now_us;
        for bytes in (80..=1_440).step_by(40) {
            world.send(0, 1, bytes);
            world.send(1, 0, bytes);
            world.run_us(1_000);
        }
        world.run_us(500_000);
        assert_eq!(world.oracle.lost(0, 1, start_us, u64::MAX), Vec::<u64>::new(), "wires for {bytes_max} bytes");
        assert_eq!(world.oracle.lost(1, 0, start_us, u64::MAX), Vec::<u64>::new(), "wires for {bytes_max} bytes");
    }
}

/// A node that has nothing to do sleeps: its deadlines are those of heartbeats and ticks, not a spin.
#[test]
fn an_idle_node_wakes_rarely() {
    let mut world = pair(4, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    world.run_us(5_000_000);
    let (ticks, frames) = (world.nodes[0].ticks, world.frames);
    world.run_us(10_000_000);
    let ticks = world.nodes[0].ticks - ticks;
    let sent: u64 = world.frames.iter().zip(frames).map(|(now, before)| now - before).sum();
    println!("idle, two links, one session: {} wake-ups and {} datagrams a second", ticks / 10, sent / 20);
    assert!(ticks / 10 < 400, "{ticks} wake-ups in 10 s");
}
