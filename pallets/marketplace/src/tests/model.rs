//! Random histories of everything that can happen to a running deal, against a model that replays them.
//!
//! The model shares no code with the pallets and has no counters, queues, windows in state or janitor:
//! it knows which calls were accepted and when, walks through every slot of every deal and computes
//! balances with plain arithmetic.

mod million;
mod walk;

use std::collections::BTreeMap;

use super::replay::{NODES, Pace, RENTERS, Script, USUAL, script};
use crate::{Ruling, mock::*};
use proptest::prelude::*;
use sp_runtime::BoundedVec;
use x0_types::{
    deal::{Capacity, CloseReason, DealState, DealTerms, Offer, Rate, SlaPolicy, SlaTerms},
    market::{DealId, Slot},
};

use walk::{oracle, replay, state_of};

/// What each of the three nodes promises. Notices and windows are far below what an offer may have,
/// so that a history of some hundred slots has many of them.
const PROMISES: [SlaTerms; 3] = [
    SlaTerms {
        policy: SlaPolicy::ProRata,
        window_slots: 12,
        availability_ppm_min: 600_000,
        round_trip_ms_max: 0,
        throughput_kbps_min: 0,
        notice_slots: 9,
        cancel_notice_slots: 4,
        renewal: true,
    },
    SlaTerms {
        policy: SlaPolicy::ForfeitWindow,
        window_slots: 10,
        availability_ppm_min: 500_000,
        round_trip_ms_max: 0,
        throughput_kbps_min: 0,
        notice_slots: 6,
        cancel_notice_slots: 0,
        renewal: true,
    },
    SlaTerms {
        policy: SlaPolicy::ProRata,
        window_slots: 14_400,
        availability_ppm_min: 0,
        round_trip_ms_max: 0,
        throughput_kbps_min: 0,
        notice_slots: 0,
        cancel_notice_slots: 7,
        renewal: false,
    },
];
/// Slots of announced maintenance of all nodes.
const MAINTENANCE: [(Slot, Slot); 2] = [(22, 26), (50, 58)];
/// A tenth of a deal may be maintenance, and a quarter of slots in doubt contests a record.
const TERMS: DealTerms =
    DealTerms { conflict_run_slots: 3, contested_ppm: 250_000, maintenance_ppm: 100_000, ..UNCONTESTED };

#[derive(Clone, Debug)]
enum Op {
    Rent { renter: usize, node: usize, kbps: u32, term: u64, deposit: u32 },
    Confirm(usize),
    Settle(usize),
    Cancel(usize),
    TopUp(usize, usize, u32),
    Renewal(usize, u32),
    Reclaim(usize),
    Dispute(usize, bool),
    Rule(usize, u64, bool),
    Fee(u32),
    Score(usize, u32),
    Block(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..2, 0usize..3, 50u32..900, 10u64..40, 50u32..220)
            .prop_map(|(renter, node, kbps, term, deposit)| Op::Rent { renter, node, kbps, term, deposit }),
        5 => any::<usize>().prop_map(Op::Confirm),
        2 => any::<usize>().prop_map(Op::Settle),
        1 => any::<usize>().prop_map(Op::Cancel),
        2 => (any::<usize>(), 0usize..2, 1u32..90).prop_map(|(deal, payer, amount)| Op::TopUp(deal, payer, amount)),
        2 => (any::<usize>(), 0u32..200).prop_map(|(deal, limit)| Op::Renewal(deal, limit)),
        1 => any::<usize>().prop_map(Op::Reclaim),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(deal, by_renter)| Op::Dispute(deal, by_renter)),
        2 => (any::<usize>(), 0u64..6, any::<bool>()).prop_map(|(deal, counted, slash)| Op::Rule(deal, counted, slash)),
        1 => (0u32..200_000).prop_map(Op::Fee),
        1 => (0usize..3, 0u32..=1_000_000).prop_map(|(node, score)| Op::Score(node, score)),
        8 => prop_oneof![4 => Just(1u64), 1 => Just(0u64), 1 => 2u64..6].prop_map(Op::Block),
    ]
}

/// A call on a running deal that was accepted when this slot was the last closed one.
#[derive(Clone, Copy, Debug)]
enum Change {
    TopUp {
        payer: u64,
        amount: u128,
    },
    Limit(u128),
    /// With the slot of the notice.
    Notice(Slot),
    Cancel,
}

#[derive(Clone, Debug)]
struct Accepted {
    renter: u64,
    node: usize,
    kbps: u128,
    term: u64,
    deposit: u128,
    /// Slot, fee and trust of the confirmation.
    confirmed: Option<(Slot, u32, u32)>,
    changes: Vec<(Slot, Change)>,
    /// Who disputed.
    disputed_by_renter: Option<bool>,
    ruling: Option<Ruling>,
}

/// Applies a step and writes down what was accepted.
fn apply(op: &Op, deals: &mut Vec<Accepted>, pace: Pace) {
    let pick = |index: usize| (!deals.is_empty()).then(|| index % deals.len().max(1));
    let closed = world(|w| w.closed);
    let id = |index: usize| index as DealId;
    match op {
        Op::Rent { renter, node, kbps, term, deposit } => {
            let capacity = Capacity { bandwidth_kbps: *kbps, sessions: 1 };
            if rent(RENTERS[*renter], *node as u64, capacity, *term, u128::from(*deposit)).is_ok() {
                deals.push(Accepted {
                    renter: RENTERS[*renter],
                    node: *node,
                    kbps: u128::from(*kbps),
                    term: *term,
                    deposit: u128::from(*deposit),
                    confirmed: None,
                    changes: Vec::new(),
                    disputed_by_renter: None,
                    ruling: None,
                });
            }
        }
        Op::Confirm(index) => {
            if let Some(index) = pick(*index) {
                let fee = crate::Parameters::<Test>::get().fee_ppm;
                let score = world(|w| w.scores.get(&NODES[deals[index].node]).copied().unwrap_or(PAR_TRUST));
                if confirm(id(index)).is_ok() {
                    deals[index].confirmed = Some((world(|w| w.current), fee, score));
                }
            }
        }
        Op::Settle(index) => {
            if let Some(index) = pick(*index) {
                let before = balances();
                let _ = Market::settle(signed(RENTER), id(index));
                // I5: nobody's free balance falls.
                assert!(balances().iter().zip(&before).all(|(after, before)| after >= before));
            }
        }
        Op::Cancel(index) => {
            if let Some(index) = pick(*index)
                && Market::cancel(signed(deals[index].renter), id(index)).is_ok()
                && reason(id(index)) == CloseReason::CancelledByRenter
            {
                deals[index].changes.push((closed, Change::Cancel));
            }
        }
        Op::TopUp(index, payer, amount) => {
            let (payer, amount) = (RENTERS[*payer], u128::from(*amount));
            if let Some(index) = pick(*index)
                && Market::top_up(signed(payer), id(index), amount).is_ok()
            {
                deals[index].changes.push((closed, Change::TopUp { payer, amount }));
            }
        }
        Op::Renewal(index, limit) => {
            if let Some(index) = pick(*index)
                && Market::set_renewal(signed(deals[index].renter), id(index), u128::from(*limit)).is_ok()
            {
                deals[index].changes.push((closed, Change::Limit(u128::from(*limit))));
            }
        }
        Op::Reclaim(index) => {
            if let Some(index) = pick(*index)
                && Market::reclaim(signed(NODES[deals[index].node] / 100), id(index)).is_ok()
            {
                deals[index].changes.push((closed, Change::Notice(world(|w| w.current))));
            }
        }
        Op::Dispute(index, by_renter) => {
            if let Some(index) = pick(*index) {
                let who = if *by_renter { deals[index].renter } else { NODES[deals[index].node] / 100 };
                if Market::dispute(signed(who), id(index)).is_ok() {
                    deals[index].disputed_by_renter = Some(*by_renter);
                }
            }
        }
        Op::Rule(index, counted_slots, slash) => {
            if let Some(index) = pick(*index) {
                let ruling = Ruling { counted_slots: *counted_slots, slash: *slash };
                let agreed = (0..3).filter(|n| Market::rule(signed(JUDGE + n), id(index), ruling).is_ok()).count();
                assert!(agreed == 0 || agreed == 3);
                if agreed == 3 {
                    deals[index].ruling = Some(ruling);
                }
            }
        }
        Op::Fee(fee_ppm) => set_terms(DealTerms { fee_ppm: *fee_ppm, ..TERMS }).unwrap(),
        Op::Score(node, score) => drop(world(|w| w.scores.insert(NODES[*node], *score))),
        Op::Block(slots) => {
            forward(*slots);
            for _ in 0..pace.extra_blocks {
                forward(0);
            }
        }
    }
    check();
}

#[derive(Debug, PartialEq)]
struct End {
    balances: Vec<u128>,
    deals: Vec<(DealState, u64)>,
}

fn run(ops: &[Op], script: &Script, price: Rate, pace: Pace) -> (End, Vec<Accepted>) {
    let mut end = None;
    with_chain(|| {
        Cap::set(pace.cap);
        script.load();
        set_terms(TERMS).unwrap();
        let wide = Capacity { bandwidth_kbps: 1_000, sessions: 1_000 };
        for (index, node) in NODES.iter().enumerate() {
            let offer: Offer = offer(price, wide, region("eu"), 10, 1_000, BOND);
            Market::list(signed(node / 100), *node, offer).unwrap();
            // Shorter than an offer may be: see PROMISES.
            crate::Listings::<Test>::mutate(index as u64, |listing| {
                listing.as_mut().unwrap().offer.sla = PROMISES[index];
            });
            let entries = MAINTENANCE.map(|(from_slot, to_slot)| crate::Maintenance { from_slot, to_slot });
            crate::Calendars::<Test>::insert(node, BoundedVec::truncate_from(entries.to_vec()));
        }
        let mut deals: Vec<Accepted> = Vec::new();
        for op in ops {
            apply(op, &mut deals, pace);
            if pace.settle_all {
                for deal in 0..deals.len() as DealId {
                    let _ = Market::settle(signed(RENTER_2), deal);
                }
                check();
            }
        }
        // Every deal ends without a user: a limit pays for at most 600 slots of the cheapest deal.
        let mut blocks = 0;
        while crate::Deals::<Test>::iter_values().any(|deal| !deal.state.is_terminal()) {
            forward(1);
            blocks += 1;
            assert!(blocks < 1_000, "a deal does not end");
        }
        // I14: each deal kept the parameters of its confirmation.
        for (id, deal) in deals.iter().enumerate() {
            if let (Some((_, fee, score)), Some(run)) = (deal.confirmed, deal_of(id as DealId).run) {
                assert_eq!((run.terms, run.trust_ppm), (DealTerms { fee_ppm: fee, ..TERMS }, score));
            }
        }
        let ended = (0..deals.len() as DealId).map(|id| (state(id), outcome(id).good_slots)).collect();
        end = Some((End { balances: balances(), deals: ended }, deals));
    });
    end.unwrap()
}

/// A price at which a small share of a node uses up a small deposit.
const DEAR: Rate = Rate { num: 280, den: 1 };

/// Capacity frees up when a deal is paid, so a history that fills a node may accept other requests at
/// another pace. Histories that compare paces never fill a node.
fn small(ops: &[Op]) -> Vec<Op> {
    let small = |op: &Op| match op {
        Op::Rent { renter, node, kbps, term, deposit } => {
            Op::Rent { renter: *renter, node: *node, kbps: kbps % 20 + 10, term: *term, deposit: deposit % 120 + 60 }
        }
        other => other.clone(),
    };
    ops.iter().map(small).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    /// I1 to I18 hold after each step and block, and every history ends with the balances and states of
    /// its replay.
    #[test]
    fn the_chain_agrees_with_the_model(ops in proptest::collection::vec(op(), 30..160), script in script()) {
        let (end, deals) = run(&ops, &script, PRICE, USUAL);
        let (balances, ends) = oracle(&deals, &script);
        for (index, expected) in ends.iter().enumerate() {
            prop_assert_eq!(&end.deals[index], expected, "deal {} {:?}", index, &deals[index]);
        }
        prop_assert_eq!(end.balances, balances);
    }

    /// I6: however often anybody settles, and however many blocks a slot has, the end is the same.
    #[test]
    fn the_path_changes_nothing(ops in proptest::collection::vec(op(), 30..100), script in script()) {
        let ops = small(&ops);
        let usual = run(&ops, &script, DEAR, USUAL).0;
        prop_assert_eq!(&run(&ops, &script, DEAR, Pace { settle_all: true, ..USUAL }).0, &usual);
        prop_assert_eq!(&run(&ops, &script, DEAR, Pace { extra_blocks: 2, ..USUAL }).0, &usual);
    }

    /// I7: a janitor that works off one entry a block ends with the balances of one without a limit.
    #[test]
    fn the_backlog_changes_nothing(ops in proptest::collection::vec(op(), 30..100), script in script()) {
        let ops = small(&ops);
        let unlimited = run(&ops, &script, DEAR, Pace { cap: 1_000_000, ..USUAL }).0;
        prop_assert_eq!(&run(&ops, &script, DEAR, Pace { cap: 1, ..USUAL }).0, &unlimited);
    }
}

/// The histories are not idle: every way to end, every policy's consequence and every kind of call
/// occurs in them.
#[test]
fn histories_reach_every_ending() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut met: BTreeMap<&'static str, usize> = BTreeMap::new();
    for _ in 0..40 {
        let ops = proptest::collection::vec(op(), 30..160).new_tree(&mut runner).unwrap().current();
        let script = script().new_tree(&mut runner).unwrap().current();
        let deals = run(&ops, &script, PRICE, USUAL).1;
        for deal in &deals {
            let ending = replay(deal, &script);
            let mut meet = |name: &'static str, holds: bool| *met.entry(name).or_default() += usize::from(holds);
            meet(ending.reason.name(), true);
            meet("resolved", state_of(deal, &ending) == DealState::Resolved);
            meet("ruled", deal.ruling.is_some());
            meet("disputed by a party", deal.disputed_by_renter.is_some());
            meet("topped up", !ending.gifts.is_empty());
            meet("renewed", ending.slots > deal.term);
            meet("forfeited", deal.node == 1 && ending.reason.is_failure() && ending.billed > 0);
        }
    }
    let expected = [
        "TermServed",
        "CancelledByRenter",
        "DepositExhausted",
        "ReclaimedByProvider",
        "NotConfirmed",
        "NodeDown",
        "WindowMissed",
        "resolved",
        "ruled",
        "disputed by a party",
        "topped up",
        "renewed",
        "forfeited",
    ];
    for name in expected {
        assert!(met.get(name).is_some_and(|count| *count > 0), "never met: {name}; {met:?}");
    }
}
