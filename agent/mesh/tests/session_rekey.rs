//! New handshakes beside old sessions: who sends on what, and that both ends end up with the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod session_lab;

use proptest::prelude::*;
use session_lab::{Lab, Network};
use std::collections::BTreeSet;
use x0_mesh::{
    handshake::Role,
    session::{SessionLimits, SessionSet},
};

fn index(lab: &mut Lab, end: usize) -> u32 {
    lab.session(end).local_index() / 10
}

/// Sends on both ends for some milliseconds and tells what was sent and not delivered.
fn exchange(lab: &mut Lab, ms: u64) {
    for _ in 0..ms {
        for end in 0..2 {
            assert!(lab.send(end));
        }
        lab.run_ms(1);
    }
}

fn nothing_lost(lab: &Lab) {
    for to in 0..2 {
        let once: BTreeSet<u64> = lab.peers[to].delivered.iter().copied().collect();
        assert_eq!(once.len(), lab.peers[to].delivered.len());
        assert_eq!(once.len() as u64, lab.peers[1 - to].next, "{:?}", lab.peers[to].refused);
    }
}

#[test]
fn the_responder_keeps_the_old_session_until_data_confirms_the_new_one() {
    let mut lab = Lab::new(50, SessionLimits::PRODUCT);
    exchange(&mut lab, 50);
    // The responder has answered; its proof is still on the way, so the initiator has no keys yet.
    lab.install(1, Role::Responder, 2, SessionLimits::PRODUCT);
    exchange(&mut lab, 200);
    assert_eq!((index(&mut lab, 0), index(&mut lab, 1)), (1, 1));
    lab.install(0, Role::Initiator, 2, SessionLimits::PRODUCT);
    // The initiator asks for confirmation by itself, data or not.
    lab.run_ms(20);
    assert_eq!((index(&mut lab, 0), index(&mut lab, 1)), (2, 2));
    exchange(&mut lab, 50);
    lab.run_ms(100);
    nothing_lost(&lab);
}

#[test]
fn a_proof_that_never_arrives_leaves_the_old_session_in_use() {
    let mut lab = Lab::new(51, SessionLimits::PRODUCT);
    exchange(&mut lab, 50);
    lab.install(1, Role::Responder, 2, SessionLimits::PRODUCT);
    for _ in 0..40 {
        exchange(&mut lab, 5);
        lab.run_ms(1_000);
    }
    assert_eq!(index(&mut lab, 1), 1);
    assert_eq!(lab.peers[1].sessions.iter_mut().count(), 1, "the other one was dropped");
    lab.run_ms(100);
    nothing_lost(&lab);
}

#[test]
fn the_old_session_goes_on_opening_what_is_late() {
    let mut lab = Lab::new(52, SessionLimits::PRODUCT);
    exchange(&mut lab, 20);
    lab.network.delay_ms = (3_000, 3_000);
    exchange(&mut lab, 20);
    lab.network.delay_ms = (1, 2);
    lab.install(1, Role::Responder, 2, SessionLimits::PRODUCT);
    lab.install(0, Role::Initiator, 2, SessionLimits::PRODUCT);
    exchange(&mut lab, 3_500);
    lab.run_ms(100);
    nothing_lost(&lab);
    lab.run_ms(20_000);
    for peer in &mut lab.peers {
        assert_eq!(peer.sessions.iter_mut().count(), 1, "and is over when nothing uses it");
    }
}

#[test]
fn an_end_that_lost_its_keys_is_followed_to_the_session_it_has() {
    for names in [(2, 3), (3, 2)] {
        let mut lab = Lab::empty(53);
        lab.install(1, Role::Responder, names.0, SessionLimits::PRODUCT);
        lab.install(0, Role::Initiator, names.0, SessionLimits::PRODUCT);
        exchange(&mut lab, 500);
        // End 1 starts anew at once and has only the session that it begins itself.
        lab.peers[1].sessions = SessionSet::new();
        lab.install(0, Role::Responder, names.1, SessionLimits::PRODUCT);
        lab.install(1, Role::Initiator, names.1, SessionLimits::PRODUCT);
        exchange(&mut lab, 1_200);
        lab.run_ms(100);
        assert_eq!(index(&mut lab, 0), u32::from(names.1));
        let before = lab.peers[1].delivered.len();
        exchange(&mut lab, 100);
        lab.run_ms(100);
        assert_eq!(lab.peers[1].delivered.len(), before + 100, "{names:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Both ends began a handshake at the same moment and both handshakes came to their end, in any interleaving,
    /// with traffic all the while, and with an old session or without: both ends soon send on the same session, and
    /// nothing is lost on a network that loses nothing.
    #[test]
    fn crossing_handshakes_end_in_one_session(
        had_one in any::<bool>(),
        gaps in proptest::collection::vec(0u64..60, 4),
        order in 0usize..6,
        delay in 1u64..40,
        names in any::<bool>(),
    ) {
        let mut lab = if had_one { Lab::new(60, SessionLimits::PRODUCT) } else { Lab::empty(60) };
        lab.network = Network { delay_ms: (1, delay), ..Network::default() };
        lab.run_ms(100);
        let (one, two) = if names { (2, 3) } else { (3, 2) };
        // A responder has its keys before its initiator has.
        let steps = [(1, Role::Responder, one), (0, Role::Initiator, one), (0, Role::Responder, two), (1, Role::Initiator, two)];
        let orders = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 2, 3, 1], [2, 0, 1, 3], [2, 0, 3, 1], [2, 3, 0, 1]];
        for (step, gap) in orders[order].iter().zip(gaps) {
            let (end, role, number) = steps[*step];
            lab.install(end, role, number, SessionLimits::PRODUCT);
            for _ in 0..gap {
                for end in 0..2 {
                    // Without an old session an end may have none yet; and its peer may get packets it has no keys for.
                    if had_one { prop_assert!(lab.send(end)); }
                }
                lab.run_ms(1);
            }
        }
        lab.run_ms(1_000);
        exchange(&mut lab, 100);
        lab.run_ms(200);
        prop_assert_eq!(index(&mut lab, 0), index(&mut lab, 1));
        nothing_lost(&lab);
        // And it stays so when the others are gone.
        lab.run_ms(30_000);
        exchange(&mut lab, 100);
        lab.run_ms(200);
        nothing_lost(&lab);
        for peer in &mut lab.peers {
            prop_assert_eq!(peer.sessions.iter_mut().count(), 1);
        }
    }
}
