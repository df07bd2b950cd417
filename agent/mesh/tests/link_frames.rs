//! What a link refuses, how it names itself, and how it finds the size that passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod link_lab;

use link_lab::{Lab, MS, data, pair};
use proptest::prelude::*;
use x0_mesh::{
    Time,
    link::{BASE_BYTES, Duty, Freshness, Link, LinkConfig, LinkError, PmtuPhase, Received, State, TAG_EPOCH_MS},
};
use x0_mesh_wire::Header;

#[test]
fn a_recorded_hour_replayed_changes_nothing() {
    let mut lab = Lab::new(21);
    lab.tape = Some(vec![]);
    lab.duty(Duty::Active);
    lab.ends[0].data_every_ns = Some(3 * MS);
    lab.run_ms(2_000);
    let tape = lab.tape.take().unwrap();
    lab.run_ms(100);
    lab.forget_changes();
    let (received, data_received) = (lab.ends[1].link.counters().received, lab.ends[1].data_received);
    lab.ends[0].data_every_ns = None;
    lab.run_ms(100);
    // The sender dies. Who has recorded it cannot keep its link alive.
    lab.cut([true, true]);
    let cut = lab.now;
    let fresh = lab.ends[1].link.counters().received;
    for round in 0..100 {
        for (_, frame) in tape.iter().filter(|(from, _)| *from == 0).skip(round * 7).take(20) {
            lab.inject(1, frame.clone());
        }
        // Reflected: what this end has sent itself.
        for (_, frame) in tape.iter().filter(|(from, _)| *from == 1).skip(round * 7).take(20) {
            lab.inject(1, frame.clone());
        }
        lab.run_ms(1);
    }
    assert!(lab.first(1, State::Down).unwrap().0.since_ns(cut) < 9 * MS);
    let counters = lab.ends[1].link.counters();
    assert!(fresh > received && counters.received <= fresh + 1, "{counters:?}");
    assert!(counters.repeated >= 1_000 && counters.junk >= 1_000, "{counters:?}");
    assert!(data_received > 600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A changed bit anywhere in any frame: it is refused, and the window has not moved, so that the unchanged frame
    /// and those after it are taken. Data is sealed further in; here its header and first bytes are covered.
    #[test]
    fn a_forged_frame_moves_nothing(bit in 0usize..(56 * 8), kind in 0u8..3) {
        let (a, b) = pair::keys(22);
        let config = LinkConfig { payload_bytes_max: 1_472 };
        let (mut a, mut b) = (Link::new(a, config, Time(0)), Link::new(b, config, Time(0)));
        let mut buffer = vec![0; 2_000];
        let mut frame = match kind {
            0 => data(56),
            1 => {
                let bytes = a.seal_control(Time(1), &[9; 40], &mut buffer).unwrap();
                buffer[..bytes].to_vec()
            }
            _ => {
                // The first thing due is a probe of the largest size.
                let due = a.transmit(Time(1), &mut buffer).unwrap().unwrap();
                buffer[..due.bytes].to_vec()
            }
        };
        if kind == 0 {
            a.stamp(Time(1), &mut frame).unwrap();
        }
        let covered = if kind == 0 { 36 * 8 } else { frame.len() * 8 };
        let bit = bit % covered;
        let mut forged = frame.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(b.receive(Time(2), Time(2), &mut forged).is_err());
        prop_assert_eq!(b.heard_at(), None);
        let taken = b.receive(Time(3), Time(3), &mut frame.clone()).map(|_| ());
        prop_assert_eq!(taken, Ok(()));
        prop_assert_eq!(b.heard_at(), Some(Time(3)));
        let again = b.receive(Time(4), Time(4), &mut frame);
        match kind {
            0 => prop_assert_eq!(again, Ok(Received::Data(Freshness::Repeated))),
            _ => prop_assert_eq!(again, Err(LinkError::Replayed { seq: 1 })),
        }
        prop_assert_eq!(b.heard_at(), Some(Time(3)), "a replay is no sign of life");
    }

    /// Any bytes are refused without harm.
    #[test]
    fn any_bytes_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in any::<bool>()) {
        if version && !bytes.is_empty() {
            bytes[0] = 0x15;
        }
        let mut link = Link::new(pair::keys(23).0, LinkConfig { payload_bytes_max: 1_472 }, Time(0));
        prop_assert!(link.receive(Time(1), Time(1), &mut bytes).is_err());
        prop_assert_eq!(link.counters().junk, 1);
    }
}

#[test]
fn control_frames_arrive_once_and_in_any_order_within_the_window() {
    let (a, b) = pair::keys(24);
    let config = LinkConfig { payload_bytes_max: 1_472 };
    let (mut a, mut b) = (Link::new(a, config, Time(0)), Link::new(b, config, Time(0)));
    let mut frames = vec![];
    for number in 0..2_000u32 {
        let mut buffer = vec![0; 200];
        let bytes = a.seal_control(Time(1), &number.to_be_bytes(), &mut buffer).unwrap();
        frames.push(buffer[..bytes].to_vec());
    }
    // Pairs swapped, then each third again, then one from long ago.
    for pair in frames.chunks_mut(2) {
        pair.swap(0, 1);
    }
    let mut got = std::collections::BTreeSet::new();
    for (at, frame) in frames.iter().enumerate() {
        let mut bytes = frame.clone();
        let Ok(Received::Control(body)) = b.receive(Time(2), Time(2), &mut bytes) else { panic!("frame {at}") };
        assert!(got.insert(u32::from_be_bytes(body.try_into().unwrap())));
        if at % 3 == 0 {
            assert!(b.receive(Time(2), Time(2), &mut frame.clone()).is_err());
        }
    }
    assert_eq!(got.len(), 2_000);
    assert!(matches!(b.receive(Time(3), Time(3), &mut frames[5].clone()), Err(LinkError::Replayed { .. })));
    let mut small = [0; 30];
    assert!(matches!(a.seal_control(Time(1), &[0; 40], &mut small), Err(LinkError::NoSpace { needed: 76, found: 30 })));
}

#[test]
fn both_ends_agree_on_tags_although_their_handshakes_ended_minutes_apart() {
    let (a, b) = pair::keys(25);
    let config = LinkConfig { payload_bytes_max: 1_472 };
    let skew = Time(0).plus_ms(TAG_EPOCH_MS / 2 - 1_000);
    let (mut a, mut b) = (Link::new(a, config, Time(0)), Link::new(b, config, skew));
    let mut seen = std::collections::HashSet::new();
    for minute in 6..200u64 {
        let now = Time(0).plus_ms(minute * 60_000);
        let (own, changes) = b.own_tags(now);
        assert!(changes > now);
        assert!(own.contains(&a.peer_tag(now)), "minute {minute}");
        assert!(a.own_tags(now).0.contains(&b.peer_tag(now)), "minute {minute}");
        assert_ne!(a.peer_tag(now), b.peer_tag(now), "each direction has names of its own");
        seen.insert(a.peer_tag(now));
        let mut frame = data(100);
        a.stamp(now, &mut frame).unwrap();
        assert_eq!(Header::read(&frame).unwrap().link_tag, a.peer_tag(now));
    }
    assert_eq!(seen.len(), 20);
}

#[test]
fn the_largest_size_that_passes_is_found_and_a_black_hole_for_it_too() {
    let mut lab = Lab::new(26);
    lab.duty(Duty::Active);
    for wire in &mut lab.wires {
        wire.bytes_max = 1_400;
    }
    lab.run_ms(5_000);
    for end in &lab.ends {
        let found = usize::from(end.link.payload_bytes());
        assert!((1_392..=1_400).contains(&found), "{found}");
        assert_eq!(end.link.pmtu_phase(), PmtuPhase::SearchComplete);
    }
    // Large data flows, and the path shrinks below it: the link stays up, the size falls.
    lab.ends[0].data_every_ns = Some(MS);
    lab.ends[0].data_bytes = 1_390;
    lab.run_ms(500);
    lab.forget_changes();
    lab.wires[0].bytes_max = 1_300;
    let shrunk = lab.now;
    while lab.ends[0].link.payload_bytes() > BASE_BYTES {
        lab.run_ms(1);
        assert!(lab.now.since_ns(shrunk) < 500 * MS, "{:?}", lab.ends[0].link.measured(lab.now));
    }
    println!("black hole found after {} us", lab.now.since_ns(shrunk) / 1_000);
    assert_eq!(lab.entered(State::Down), 0, "small frames pass, so the link lives");
    lab.ends[0].data_bytes = 1_200;
    lab.run_ms(15_000);
    let found = usize::from(lab.ends[0].link.payload_bytes());
    assert!((1_292..=1_300).contains(&found), "{found}");
    assert_eq!(lab.ends[0].link.measured(lab.now).black_holes, 1);
}

#[test]
fn fresh_keys_keep_what_is_known_and_start_on_trial() {
    let mut lab = Lab::settled(27);
    let before = lab.ends[0].link.measured(lab.now);
    let (a, b) = pair::keys(28);
    for (end, keys) in lab.ends.iter_mut().zip([a, b]) {
        end.link = end.link.renewed(keys, lab.now);
        assert_eq!(end.link.state(), State::Recovering);
        end.link.set_duty(Duty::Active);
    }
    lab.forget_changes();
    lab.run_ms(20);
    assert_eq!(lab.states(), [State::Up; 2]);
    let after = lab.ends[0].link.measured(lab.now);
    assert_eq!((after.rtt_us_min, after.payload_bytes), (before.rtt_us_min, before.payload_bytes));
    // What was sealed with the old keys is junk now.
    assert!(lab.ends.iter().all(|end| end.changes.len() == 1));
}
