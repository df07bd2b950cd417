//! Promises of round trip and throughput: broken when enough validators say so.

use super::equals;
use crate::{Complaints, ComplaintsOpened, Error, mock::*};
use frame_support::{assert_noop, assert_ok, pallet_prelude::Pays};
use proptest::prelude::*;
use x0_types::{
    MlDsa65Signature,
    market::{SlaBreach, SlaPromise, Slot},
    receipt::{SignedUsage, Usage},
};

const W: u64 = x0_limits::TRIAL_WINDOW_SLOTS;
const SLOW: SlaBreach = SlaBreach { round_trip: true, throughput: false };
const THIN: SlaBreach = SlaBreach { round_trip: false, throughput: true };

fn promise(first_slot: Slot) -> SlaPromise<x0_types::AccountId> {
    SlaPromise {
        node: node(1),
        provider: stranger(),
        renter: challenger(1),
        round_trip_ms_max: 50,
        throughput_kbps_min: 10_000,
        first_slot,
    }
}

fn complain(n: u8, deal: u64, window: u64, breach: SlaBreach) -> frame_support::dispatch::DispatchResultWithPostInfo {
    Measurement::complain(RuntimeOrigin::signed(reporter(n)), deal, window, breach)
}

fn fails(outcome: frame_support::dispatch::DispatchResultWithPostInfo, error: Error<Test>) {
    assert_eq!(outcome.unwrap_err().error, error.into());
}

/// A chain in the window after window 1.
fn in_window_two(set: &[(u8, u64)], test: impl FnOnce()) {
    run(set, || {
        Promises::set([(7, promise(W))].into());
        go_to(2 * W + 1);
        test();
    });
}

/// M16: two thirds are not enough, more are; each kind once.
#[test]
fn more_than_two_thirds_break_a_promise_once() {
    in_window_two(&equals(4), || {
        assert_eq!(complain(1, 7, 1, SLOW).unwrap().pays_fee, Pays::No);
        fails(complain(1, 7, 1, SLOW), Error::AlreadyComplained);
        complain(2, 7, 1, SLOW).unwrap();
        assert_eq!(Broken::get(), vec![]);
        complain(3, 7, 1, SLOW).unwrap();
        complain(4, 7, 1, SlaBreach { round_trip: true, throughput: true }).unwrap();
        assert_eq!(Broken::get(), vec![(7, W, 2 * W - 1, SLOW)], "3 of 4, told once");
        complain(1, 7, 1, THIN).unwrap();
        complain(2, 7, 1, THIN).unwrap();
        assert_eq!(Broken::get()[1..], [(7, W, 2 * W - 1, THIN)]);
    });
    // Exactly two thirds.
    in_window_two(&equals(3), || {
        complain(1, 7, 1, SLOW).unwrap();
        complain(2, 7, 1, SLOW).unwrap();
        assert_eq!(Broken::get(), vec![]);
    });
}

/// M38: who belongs to the provider or the renter has no say and does not count.
#[test]
fn parties_have_no_say() {
    in_window_two(&equals(4), || {
        Owned::set([(validator(1), 3), (challenger(1), 3), (validator(2), 4), (stranger(), 4)].into());
        fails(complain(1, 7, 1, SLOW), Error::NotImpartial);
        fails(complain(2, 7, 1, SLOW), Error::NotImpartial);
        complain(3, 7, 1, SLOW).unwrap();
        assert_eq!(Broken::get(), vec![]);
        complain(4, 7, 1, SLOW).unwrap();
        assert_eq!(Broken::get().len(), 1, "both of the two others");
    });
}

#[test]
fn complaints_are_about_promises_of_whole_past_windows() {
    in_window_two(&equals(4), || {
        fails(complain(1, 8, 1, SLOW), Error::NoPromise);
        fails(complain(1, 7, 1, SlaBreach::default()), Error::NoPromise);
        fails(complain(1, 7, 0, SLOW), Error::WindowNotOpen);
        fails(complain(1, 7, 2, SLOW), Error::WindowNotOpen);
        fails(complain(9, 7, 1, SLOW), Error::UnknownReporter);
        Promises::set([(7, SlaPromise { throughput_kbps_min: 0, ..promise(W) }), (9, promise(W + 1))].into());
        fails(complain(1, 7, 1, THIN), Error::NoPromise);
        fails(complain(1, 9, 1, SLOW), Error::WindowNotOpen);
        go_to(3 * W);
        fails(complain(1, 7, 1, SLOW), Error::WindowNotOpen);
        complain(1, 7, 2, SLOW).unwrap();
    });
}

/// One validator cannot fill the state, and what is over goes.
#[test]
fn complaints_are_bounded_and_go() {
    in_window_two(&equals(4), || {
        let deals = u64::from(x0_limits::COMPLAINTS_OPENED_MAX) + 1;
        Promises::set((0..100).map(|deal| (deal, promise(W))).collect());
        for deal in 0..deals {
            assert_eq!(complain(1, deal, 1, SLOW).is_ok(), deal + 1 < deals);
        }
        complain(2, 50, 1, SLOW).unwrap();
        complain(1, 50, 1, SLOW).expect("joining another's complaint opens none");
        assert_eq!(Complaints::<Test>::iter().count() as u64, deals);
        go_to(4 * W);
        go_to(4 * W + 1);
        assert_eq!((Complaints::<Test>::iter().count(), ComplaintsOpened::<Test>::iter().count()), (0, 0));
    });
}

/// A usage receipt of 1,000,000 bytes, signed by both agents.
fn usage(slot: Slot, duration_ms: u32, round_trip_ms: u32) -> SignedUsage {
    let (agent, bytes) = (challenger(5), 1_000_000);
    let usage = Usage { deal: 7, node: node(1), agent: agent.clone(), slot, bytes, duration_ms, round_trip_ms };
    let (genesis, body) = (System::block_hash(0).0, usage.signed_body());
    let sign = |who| MlDsa65Signature(key_of(who).sign_usage(&genesis, &body).unwrap().to_boxed());
    SignedUsage { by_renter: sign(&agent), by_provider: sign(&node(1)), usage }
}

fn record(signed: SignedUsage) -> frame_support::dispatch::DispatchResult {
    Measurement::record_usage(RuntimeOrigin::signed(stranger()), Box::new(signed))
}

/// M16: the provider's own signature replaces a third of the witnesses, and never all of them.
#[test]
fn a_usage_receipt_of_both_agents_needs_one_honest_witness() {
    in_window_two(&equals(4), || {
        Controllers::set([(challenger(5), challenger(1))].into());
        assert_ok!(record(usage(W + 3, 100, 10)));
        assert_eq!(Complaints::<Test>::iter().count(), 0, "80,000 kbit/s and 10 ms are what was promised");
        assert_ok!(record(usage(W + 3, 1_000, 10)));
        assert_eq!(Broken::get(), vec![], "8,000 kbit/s, but nobody saw that it was the node's fault");
        complain(1, 7, 1, THIN).unwrap();
        assert_eq!(Broken::get(), vec![], "one of four is not more than a third");
        complain(2, 7, 1, SLOW).unwrap();
        complain(3, 7, 1, SLOW).unwrap();
        assert_eq!(Broken::get(), vec![], "the receipt shows no long round trip");
        complain(2, 7, 1, THIN).unwrap();
        assert_eq!(Broken::get(), vec![(7, W, 2 * W - 1, THIN)]);
        assert_ok!(record(usage(W + 4, 1_000, 51)));
        assert_eq!(Broken::get()[1..], [(7, W, 2 * W - 1, SLOW)], "the receipt may come last");
    });
}

#[test]
fn a_usage_receipt_must_be_of_both_sides_of_the_deal() {
    in_window_two(&equals(4), || {
        assert_noop!(record(usage(W + 3, 1_000, 10)), Error::<Test>::UsageInvalid);
        Controllers::set([(challenger(5), challenger(1))].into());
        assert_noop!(record(usage(0, 1_000, 10)), Error::<Test>::WindowNotOpen);
        assert_noop!(record(usage(3 * W, 1_000, 10)), Error::<Test>::WindowNotOpen);
        let mut changed = usage(W + 3, 1_000, 10);
        changed.usage.duration_ms = 2_000;
        assert_noop!(record(changed), Error::<Test>::UsageInvalid);
        let mut one_sided = usage(W + 3, 1_000, 10);
        one_sided.by_provider = one_sided.by_renter.clone();
        assert_noop!(record(one_sided), Error::<Test>::UsageInvalid);
        assert_ok!(record(usage(W + 3, 1_000, 10)));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whoever says what in whatever order, the market hears exactly what a plain sum of powers says.
    #[test]
    fn the_market_hears_what_a_plain_sum_says(
        powers in proptest::collection::vec(1u64..5, 1..7),
        parties in proptest::collection::vec(any::<bool>(), 7),
        said in proptest::collection::vec((0usize..7, any::<bool>(), any::<bool>()), 0..20),
        usage_at in proptest::option::of(0usize..20),
    ) {
        let set: Vec<_> = (1u8..).zip(powers.iter().copied()).collect();
        in_window_two(&set, || {
            Controllers::set([(challenger(5), challenger(1))].into());
            let registered = (1u8..8).zip(&parties).filter(|(_, party)| **party).map(|(n, _)| (validator(n), 4));
            Owned::set(registered.chain([(stranger(), 4)]).collect());
            let eligible: u64 = set.iter().zip(&parties).filter(|(_, party)| !**party).map(|((_, power), _)| power).sum();
            let (mut against, mut confirmed) = ([0u64; 2], [false; 2]);
            let mut voices = std::collections::BTreeSet::new();
            let mut expected = Vec::new();
            let mut told = [false; 2];
            for (step, (who, round_trip, throughput)) in said.iter().enumerate() {
                if usage_at == Some(step) {
                    assert_ok!(record(usage(W + 3, 1_000, 10)));
                    confirmed[1] = true;
                }
                // What anybody says is refused or booked; the sum decides.
                let _refused_or_not = complain(*who as u8 + 1, 7, 1, SlaBreach { round_trip: *round_trip, throughput: *throughput });
                if *who < set.len() && !parties[*who] {
                    for (kind, said) in [round_trip, throughput].into_iter().enumerate() {
                        if *said && voices.insert((*who, kind)) {
                            against[kind] += powers[*who];
                        }
                    }
                }
                for kind in 0..2 {
                    let is_proved = against[kind] > eligible * 2 / 3 || (confirmed[kind] && against[kind] > eligible / 3);
                    if is_proved && !told[kind] {
                        told[kind] = true;
                        expected.push(kind);
                    }
                }
            }
            let heard: Vec<usize> = Broken::get().into_iter().flat_map(|(.., breach)| [(breach.round_trip, 0), (breach.throughput, 1)]).filter(|(yes, _)| *yes).map(|(_, kind)| kind).collect();
            assert_eq!(heard, expected);
        });
    }
}
