//! What a link notices, how fast, and what it does not take for a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod link_lab;

use link_lab::{Lab, MS};
use x0_mesh::{
    Time,
    link::{ACTIVE_MS, Duty, Reason, State},
};

#[test]
fn two_ends_come_up_within_two_round_trips_and_measure_them() {
    let mut lab = Lab::new(1);
    for wire in &mut lab.wires {
        wire.delay_ns = 10 * MS;
    }
    lab.run_ms(45);
    assert_eq!(lab.states(), [State::Up; 2]);
    lab.run_ms(2_000);
    for end in &lab.ends {
        let measured = end.link.measured(lab.now);
        assert!((19_900..20_300).contains(&measured.srtt_us.unwrap()), "{measured:?}");
        assert!(measured.rtt_us_min >= 20_000 && measured.rttvar_us < 500, "{measured:?}");
        assert_eq!((measured.loss_in_q16, measured.loss_out_q16), (0, 0));
        assert!(measured.jitter_us < 200, "{measured:?}");
        assert_eq!(end.changes.len(), 1, "{:?}", end.changes);
    }
}

/// Independent loss for ten minutes of simulated time; the number of false "down" of both ends together.
fn false_downs(percent: u8) -> usize {
    let mut lab = Lab::new(100 + percent);
    lab.duty(Duty::Active);
    for wire in &mut lab.wires {
        wire.loss_ppm = u64::from(percent) * 10_000;
    }
    lab.run_ms(600_000);
    let (a, b) = (lab.ends[0].link.measured(lab.now), lab.ends[1].link.measured(lab.now));
    for loss in [a.loss_in_q16, a.loss_out_q16, b.loss_in_q16, b.loss_out_q16] {
        let expected = i64::from(percent) * 65_536 / 100;
        assert!((i64::from(loss) - expected).abs() < 65_536 / 40, "{a:?} {b:?}");
    }
    assert!(a.down_after_us <= 10_000, "{a:?}");
    println!(
        "loss {percent} %: {} false down, {} suspicions, D {} us, P {} us",
        lab.entered(State::Down),
        lab.entered(State::Suspect),
        a.down_after_us,
        a.interval_us
    );
    lab.entered(State::Down)
}

#[test]
fn one_percent_of_loss_is_no_failure_in_ten_minutes() {
    assert_eq!(false_downs(1), 0);
}

#[test]
fn five_percent_of_loss_are_no_failure_in_ten_minutes() {
    assert_eq!(false_downs(5), 0);
}

#[test]
fn ten_percent_of_loss_are_no_failure_in_ten_minutes() {
    assert_eq!(false_downs(10), 0);
}

#[test]
fn a_black_hole_at_any_phase_is_suspected_within_s_and_down_within_d() {
    let mut slowest = 0;
    for phase in 0..60u64 {
        let mut lab = Lab::settled(3);
        lab.run_until(lab.now.plus_us(phase * 137));
        lab.forget_changes();
        let cut = lab.now;
        lab.cut([true, true]);
        let measured = lab.ends.each_ref().map(|end| end.link.measured(lab.now));
        lab.run_ms(50);
        for (end, measured) in measured.iter().enumerate() {
            // What was on the wire still arrives; then the thresholds run.
            let grace_us = 600;
            let (suspected, _) = lab.first(end, State::Suspect).unwrap();
            let (down, change) = lab.first(end, State::Down).unwrap();
            assert_eq!(change.reason, Reason::Silence);
            let (s, d) = (suspected.since_ns(cut) / 1_000, down.since_ns(cut) / 1_000);
            assert!(s <= measured.suspect_after_us + grace_us, "phase {phase}: suspected after {s} us, {measured:?}");
            assert!(d <= measured.down_after_us + grace_us, "phase {phase}: down after {d} us, {measured:?}");
            assert!(measured.down_after_us <= 7_000, "{measured:?}");
            slowest = slowest.max(d);
        }
    }
    println!("slowest of 120: {slowest} us");
}

#[test]
fn a_cut_of_one_direction_is_noticed_by_both_ends() {
    for cut in [[true, false], [false, true]] {
        for phase in 0..20u64 {
            let mut lab = Lab::settled(4);
            lab.run_until(lab.now.plus_us(phase * 211));
            lab.forget_changes();
            let at = lab.now;
            lab.cut(cut);
            let (deaf, mute) = if cut[0] { (1, 0) } else { (0, 1) };
            let measured = lab.ends[deaf].link.measured(lab.now);
            lab.run_ms(50);
            let (heard_nothing, change) = lab.first(deaf, State::Down).unwrap();
            assert_eq!(change.reason, Reason::Silence);
            let (was_told, told) = lab.first(mute, State::Down).unwrap();
            assert_eq!(told.reason, Reason::ReportedSilence);
            // D at the deaf end, and one way for the news.
            assert!(heard_nothing.since_ns(at) / 1_000 <= measured.down_after_us + 600);
            assert!(was_told.since_ns(heard_nothing) <= 600_000, "{phase}");
            assert!(lab.first(mute, State::Suspect).is_some(), "suspicion is told too");
        }
    }
}

#[test]
fn a_stall_of_the_own_loop_is_not_silence_of_the_neighbour() {
    for (kernel, judges_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut lab = Lab::settled(5);
        lab.ends[0].kernel = kernel;
        lab.ends[0].judges_first = judges_first;
        for round in 0..200u64 {
            lab.forget_changes();
            let stall_us = 100 + lab.random.below(60_000);
            lab.ends[0].asleep_until = lab.now.plus_us(stall_us);
            lab.run_ms(400);
            let wrong: Vec<_> = lab.ends[0]
                .changes
                .iter()
                .filter(|(_, change)| change.reason == Reason::Silence && change.to == State::Down)
                .collect();
            assert!(wrong.is_empty(), "round {round}, stall {stall_us} us: {wrong:?}");
        }
        assert!(lab.ends[0].link.counters().stalls > 0);
    }
}

#[test]
fn a_pause_of_the_whole_machine_is_not_silence_either() {
    // Nothing reaches the kernel while the machine stands still, and this end's own silence is real for the other.
    for round in 0..50u64 {
        let mut lab = Lab::settled(6);
        lab.ends[0].judges_first = true;
        lab.forget_changes();
        let pause = lab.now.plus_us(5_000 + lab.random.below(100_000));
        lab.ends[0].asleep_until = pause;
        lab.wires[1].cut = true;
        lab.run_until(pause);
        lab.wires[1].cut = false;
        lab.run_ms(50);
        let wrong =
            lab.ends[0].changes.iter().any(|(_, change)| change.reason == Reason::Silence && change.to == State::Down);
        assert!(!wrong, "round {round}: {:?}", lab.ends[0].changes);
    }
}

#[test]
fn a_failure_during_a_stall_is_still_found_after_it() {
    for kernel in [false, true] {
        let mut lab = Lab::settled(7);
        lab.ends[0].kernel = kernel;
        lab.forget_changes();
        let woken = lab.now.plus_ms(40);
        lab.ends[0].asleep_until = woken;
        lab.cut([true, true]);
        let measured = lab.ends[0].link.measured(lab.now);
        lab.run_ms(100);
        let (down, _) = lab.first(0, State::Down).unwrap();
        let after_us = down.since_ns(woken) / 1_000;
        let bound = if kernel { 4_000 } else { measured.down_after_us + 1_500 };
        assert!(after_us <= bound, "kernel {kernel}: {after_us} us, allowed {bound}");
    }
}

#[test]
fn flapping_comes_up_at_most_once_in_each_time_of_damping() {
    let mut lab = Lab::settled(8);
    lab.forget_changes();
    for _ in 0..60 {
        lab.cut([true, true]);
        lab.run_ms(500);
        lab.cut([false, false]);
        lab.run_ms(500);
    }
    for end in &lab.ends {
        let ups: Vec<Time> = end
            .changes
            .iter()
            .filter(|(_, change)| (change.from, change.to) == (State::Recovering, State::Up))
            .map(|(at, _)| *at)
            .collect();
        // 100 ms of damping fit in half a second, a second does not.
        assert_eq!(ups.len(), 1, "{ups:?}");
        assert!(end.link.counters().downs >= 60);
    }
    // When the flapping ends the link is used again after its time of damping.
    let damping = lab.ends[0].link.measured(lab.now).damping_ms;
    assert!(damping >= 1_000);
    lab.run_ms(damping + 100);
    assert_eq!(lab.states(), [State::Up; 2]);
}

#[test]
fn damping_grows_with_slow_flaps_and_is_forgiven_after_a_quiet_minute() {
    let mut lab = Lab::settled(9);
    let mut damped = vec![];
    for _ in 0..8 {
        lab.cut([true, true]);
        lab.run_ms(50);
        lab.cut([false, false]);
        let down = lab.now;
        damped.push(lab.ends[0].link.measured(lab.now).damping_ms);
        lab.run_ms(31_000);
        assert_eq!(lab.states(), [State::Up; 2]);
        let (up, _) = *lab.ends[0]
            .changes
            .iter()
            .rev()
            .find(|(_, change)| change.to == State::Up && change.from == State::Recovering)
            .unwrap();
        assert!(up.since_ns(down) >= damped.last().unwrap() * MS);
        assert!(up.since_ns(down) <= (damped.last().unwrap() + 30) * MS);
    }
    assert_eq!(damped, [100, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    lab.run_ms(61_000);
    lab.cut([true, true]);
    lab.run_ms(50);
    assert_eq!(lab.ends[0].link.measured(lab.now).damping_ms, 100);
}

#[test]
fn a_restored_link_is_used_again_within_a_second() {
    let mut lab = Lab::settled(10);
    lab.cut([true, true]);
    lab.run_ms(5_000);
    assert_eq!(lab.states(), [State::Down; 2]);
    lab.cut([false, false]);
    let restored = lab.now;
    lab.forget_changes();
    lab.run_ms(1_000);
    for end in 0..2 {
        let (up, _) = lab.first(end, State::Up).unwrap();
        assert!(up.since_ns(restored) < 150 * MS, "{} us", up.since_ns(restored) / 1_000);
    }
}

#[test]
fn slower_probing_is_announced_and_never_taken_for_silence() {
    let mut lab = Lab::settled(11);
    lab.forget_changes();
    for (duty, interval_us) in [
        (Duty::Standby, 20_000),
        (Duty::Active, 2_000),
        (Duty::Idle, 200_000),
        (Duty::Standby, 20_000),
        (Duty::Idle, 200_000),
    ] {
        lab.duty(duty);
        lab.run_ms(1_000);
        for end in &lab.ends {
            let measured = end.link.measured(lab.now);
            assert_eq!((measured.interval_us, measured.peer_interval_us), (interval_us, interval_us));
        }
    }
    for end in &lab.ends {
        assert!(end.changes.is_empty(), "{:?}", end.changes);
    }
    // Data wakes both ends up at once, and they rest again when it ends.
    lab.ends[0].data_every_ns = Some(10 * MS);
    lab.ends[0].link.set_duty(Duty::Idle);
    lab.run_ms(500);
    for end in &lab.ends {
        assert_eq!(end.link.measured(lab.now).interval_us, 2_000);
    }
    lab.ends[0].data_every_ns = None;
    lab.run_ms(ACTIVE_MS + 1_000);
    for end in &lab.ends {
        assert_eq!(end.link.measured(lab.now).interval_us, 200_000);
        assert!(end.changes.is_empty(), "{:?}", end.changes);
    }
}

#[test]
fn data_takes_the_place_of_heartbeats_and_keeps_the_link_alive() {
    let mut quiet = Lab::settled(12);
    let before = quiet.ends[0].link.counters().heartbeats_sent;
    quiet.run_ms(1_000);
    let idle = quiet.ends[0].link.counters().heartbeats_sent - before;
    let mut lab = Lab::settled(12);
    lab.forget_changes();
    let before = lab.ends[0].link.counters().heartbeats_sent;
    lab.ends[0].data_every_ns = Some(MS);
    lab.run_ms(1_000);
    let busy = lab.ends[0].link.counters().heartbeats_sent - before;
    assert!(lab.ends[1].data_received > 900);
    assert!(busy * 3 < idle * 2 && busy >= 240, "{busy} heartbeats with data, {idle} without");
    assert!(lab.ends.iter().all(|end| end.changes.is_empty()));
    // A cut is found as fast under load.
    let cut = lab.now;
    lab.cut([true, false]);
    lab.run_ms(30);
    assert!(lab.first(0, State::Down).unwrap().0.since_ns(cut) < 9 * MS);
}

#[test]
fn carrier_and_refused_sending_count_at_once() {
    let mut lab = Lab::settled(13);
    let change = lab.ends[0].link.carrier(lab.now, false).unwrap();
    assert_eq!((change.to, change.reason), (State::Down, Reason::Carrier));
    assert_eq!(lab.ends[0].link.carrier(lab.now, false), None);
    lab.cut([true, true]);
    lab.run_ms(100);
    lab.ends[0].link.carrier(lab.now, true);
    lab.cut([false, false]);
    lab.run_ms(200);
    assert_eq!(lab.states(), [State::Up; 2]);
    let change = lab.ends[1].link.send_failed(lab.now).unwrap();
    assert_eq!((change.to, change.reason), (State::Down, Reason::SendFailed));
    lab.run_ms(1_200);
    assert_eq!(lab.states(), [State::Up; 2]);
}
