//! What others put on the wires: forged, replayed, reflected, changed, doubled and reordered datagrams.

use super::{
    faults::report,
    random::Random,
    wires::Wire,
    world::{Stream, World, address, pair},
};
use x0_mesh::{Time, node::Counters};

fn counters(world: &World, n: usize) -> Counters {
    world.nodes[n].mesh.status(Time(world.now_us * 1_000)).counters
}

/// The oracle of every delivery stands behind this: nothing twice, nothing changed, nothing unsent.
#[test]
fn replayed_reflected_doubled_and_late_datagrams_change_nothing() {
    for seed in 0..5 {
        let wire = Wire {
            jitter_us: 3_000,
            duplicate_ppm: 200_000,
            replay_ppm: 100_000,
            reflect_ppm: 100_000,
            late_ppm: 50_000,
            late_us: 20_000,
            ..Wire::default()
        };
        let mut world = pair(seed, 2, &wire);
        world.connect(0, 1, 10_000_000);
        let start_us = world.now_us;
        let until_us = start_us + 3_000_000;
        world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 300, until_us });
        world.stream(Stream { from: 1, to: 0, every_us: 1_500, bytes: 900, until_us });
        world.run_us(9_000_000);
        assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
        assert_eq!(world.oracle.lost(1, 0, start_us, until_us), Vec::<u64>::new(), "seed {seed}");
        let counted = counters(&world, 1);
        assert!(counted.refused_repeated + counted.refused_duplicate > 0, "{counted:#?}");
        assert_eq!(counted.sessions_opened, 1, "{counted:#?}");
    }
}

#[test]
fn changed_datagrams_are_refused_and_the_session_goes_on() {
    let mut world = pair(21, 2, &Wire { tamper_ppm: 30_000, ..Wire::default() });
    world.connect(0, 1, 10_000_000);
    let start_us = world.now_us;
    let until_us = start_us + 3_000_000;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 300, until_us });
    world.run_us(4_000_000);
    let counted = counters(&world, 1);
    assert!(counted.refused_forged + counted.refused_sealed > 0, "{counted:#?}");
    assert_eq!(counted.sessions_opened, 1);
    let lost = world.oracle.lost(0, 1, start_us, until_us).len();
    assert!(lost < 200, "{lost} of 3000 lost");
}

/// An attacker who sees every frame copies them with changes, as fast as the nodes talk.
#[test]
fn forged_frames_move_no_window_and_open_nothing() {
    let mut world = pair(22, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let mut random = Random(99);
    let start_us = world.now_us;
    let until_us = start_us + 2_000_000;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 300, until_us });
    let before = counters(&world, 1);
    while world.now_us < until_us {
        world.run_us(500);
        for _ in 0..4 {
            let length = usize::try_from(1 + random.below(200)).unwrap();
            let mut bytes: Vec<u8> = (0..length).map(|_| (random.next() & 255) as u8).collect();
            bytes[0] = 0x10 | u8::try_from(1 + random.below(8)).unwrap();
            world.inject(1, 0, address(0, 0), bytes, 10);
        }
        if let Some(mut bytes) = world.last_frame.clone() {
            // The packet number and link number of a real frame, far ahead.
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << random.below(8);
            world.inject(1, 0, address(0, 0), bytes, 10);
        }
    }
    world.run_us(500_000);
    assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new());
    let after = counters(&world, 1);
    assert!(
        after.refused_forged + after.refused_tag + after.refused_malformed > before.refused_malformed + 1_000,
        "{after:#?}"
    );
    assert_eq!((after.links_opened, after.sessions_opened), (before.links_opened, before.sessions_opened));
}

/// A neighbour whose address changes, as behind a NAT that forgets: the link follows it, and nobody
/// else's say-so moves it.
#[test]
fn a_link_follows_its_neighbour_to_another_address() {
    let mut waits = Vec::new();
    for seed in 0..5 {
        let mut world = pair(seed, 1, &Wire::default());
        world.connect(0, 1, 3_000_000);
        world.stream(Stream { from: 0, to: 1, every_us: 2_000, bytes: 200, until_us: 20_000_000 });
        world.stream(Stream { from: 1, to: 0, every_us: 2_000, bytes: 200, until_us: 20_000_000 });
        world.run_us(500_000);
        let elsewhere = address(40, 0);
        world.nodes[0].addresses.insert(0, elsewhere);
        let moved_us = world.now_us;
        let arrived = world.run_until(5_000_000, |world| counters(world, 1).links_moved > 0);
        assert!(arrived, "seed {seed}: the link did not move\n{}", world.state());
        waits.push(world.now_us - moved_us);
        let start_us = world.now_us + 200_000;
        world.run_us(1_500_000);
        assert_eq!(world.oracle.lost(1, 0, start_us, start_us + 1_000_000), Vec::<u64>::new(), "seed {seed}");
        assert_eq!(counters(&world, 1).links_opened, 1, "the link moved, it was not made again");
    }
    report("link moved after", waits);
}

/// A copy of real frames from another address does not move the link there: its receiver cannot answer.
#[test]
fn copies_from_another_address_move_nothing() {
    let mut world = pair(31, 1, &Wire::default());
    world.connect(0, 1, 3_000_000);
    let start_us = world.now_us;
    let until_us = start_us + 1_000_000;
    world.stream(Stream { from: 0, to: 1, every_us: 1_000, bytes: 200, until_us });
    while world.now_us < until_us {
        world.run_us(100);
        if let Some(bytes) = world.last_frame.take() {
            // Faster than the wire, so that the copy is the first to arrive.
            world.inject(1, 0, address(50, 0), bytes, 0);
        }
    }
    world.run_us(300_000);
    assert_eq!(counters(&world, 1).links_moved, 0);
    assert_eq!(world.oracle.lost(0, 1, start_us, until_us), Vec::<u64>::new());
}
