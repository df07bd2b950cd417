//! Random histories against an oracle that replays them slot by slot.
//!
//! The oracle shares no code with the pallets: it knows which calls were accepted and what every node was
//! in every slot, counts good slots one by one, and computes balances with plain arithmetic. It
//! has no counters, no queues and no janitor, so it cannot depend on their order.

use std::collections::BTreeMap;

use crate::mock::*;
use proptest::prelude::*;
use x0_types::{
    deal::{Capacity, DealState, DealTerms, Rate},
    market::{DealId, Slot},
};

const SLOTS: u64 = 90;
/// Nodes of two providers, in the order in which verdicts are told.
pub(super) const NODES: [u64; 3] = [NODE, NODE_2, OTHER_NODE];
pub(super) const RENTERS: [u64; 2] = [RENTER, RENTER_2];

/// What a user or the clock does.
#[derive(Clone, Debug)]
enum Op {
    Rent {
        renter: usize,
        node: usize,
        kbps: u32,
        term: u64,
        deposit: u32,
    },
    Confirm(usize),
    Settle(usize),
    Cancel(usize),
    Fee(u32),
    /// A block, this many slots after the last.
    Block(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0usize..2, 0usize..3, 50u32..1_000, 10u64..40, 70u32..600)
            .prop_map(|(renter, node, kbps, term, deposit)| Op::Rent { renter, node, kbps, term, deposit }),
        4 => any::<usize>().prop_map(Op::Confirm),
        2 => any::<usize>().prop_map(Op::Settle),
        1 => any::<usize>().prop_map(Op::Cancel),
        1 => (0u32..200_000).prop_map(Op::Fee),
        6 => prop_oneof![4 => Just(1u64), 1 => Just(0u64), 1 => 2u64..6].prop_map(Op::Block),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        6 => Just(Seen::Up),
        5 => (2u8..16).prop_map(Seen::Down),
        1 => Just(Seen::Unknown),
        1 => Just(Seen::Conflict),
    ]
}

/// What every node is in every slot; each drawn value lasts for some slots, so that runs happen.
#[derive(Clone, Debug)]
pub(super) struct Script {
    nodes: Vec<Vec<(Seen, u64)>>,
    pub(super) void: Vec<Slot>,
}

impl Script {
    pub(super) fn node(&self, node: usize, slot: Slot) -> Seen {
        let mut at = 0;
        for (seen, lasts) in self.nodes[node].iter().cycle() {
            at += lasts;
            if slot < at {
                return *seen;
            }
        }
        Seen::Up
    }

    pub(super) fn load(&self) {
        for slot in 0..SLOTS * 20 {
            for (index, node) in NODES.iter().enumerate() {
                plan(*node, [slot], self.node(index, slot));
            }
        }
        world(|w| w.void_slots.extend(self.void.iter().copied()));
    }
}

pub(super) fn script() -> impl Strategy<Value = Script> {
    let node = proptest::collection::vec((seen(), 1u64..6), 5..30);
    (proptest::collection::vec(node, 3), proptest::collection::vec(0..SLOTS, 0..8))
        .prop_map(|(nodes, void)| Script { nodes, void })
}

/// What was accepted about a deal.
#[derive(Clone, Debug)]
struct Accepted {
    renter: u64,
    node: usize,
    kbps: u32,
    term: u64,
    deposit: u128,
    confirmed: Option<(Slot, u32)>,
    /// The last closed slot when the renter cancelled.
    cancelled: Option<Slot>,
}

/// How the oracle says a deal ends.
#[derive(Clone, Debug, PartialEq)]
struct Ending {
    state: DealState,
    good: u64,
    /// The slot of the verdict, for a failed deal.
    failed: Option<Slot>,
}

/// Replays one deal slot by slot.
fn replay(deal: &Accepted, script: &Script) -> Ending {
    let Some((confirmed, _)) = deal.confirmed else {
        return Ending { state: DealState::Expired, good: 0, failed: None };
    };
    // Price 7 for 1000 kbps: the slots that the deposit affords.
    let afford = u64::try_from(deal.deposit * 1_000 / (7 * u128::from(deal.kbps))).unwrap();
    let (mut good, mut run, mut reporters) = (0, 0, 0u8);
    for slot in confirmed + 1..=confirmed + deal.term {
        if deal.cancelled.is_some_and(|last| slot > last) {
            return Ending { state: DealState::Cancelled, good, failed: None };
        }
        if !script.void.contains(&slot) {
            match script.node(deal.node, slot) {
                Seen::Up => (good, run, reporters) = (good + 1, 0, 0),
                Seen::Down(bits) => (run, reporters) = (run + 1, reporters | bits),
                Seen::Unknown | Seen::Conflict => {}
            }
        }
        if good == afford && afford < deal.term {
            return Ending { state: DealState::Exhausted, good, failed: None };
        }
        if run >= 3 && reporters.count_ones() * 3 > 8 {
            return Ending { state: DealState::Failed, good, failed: Some(slot) };
        }
    }
    // A renter who cancels in the deal's last slots ends it like the term does.
    let state = if deal.cancelled == Some(confirmed + deal.term) { DealState::Cancelled } else { DealState::Completed };
    Ending { state, good, failed: None }
}

/// Balances of providers, renters and the treasury after all deals have ended, and the endings.
fn oracle(deals: &[Accepted], script: &Script) -> (Vec<u128>, Vec<Ending>) {
    let endings: Vec<_> = deals.iter().map(|deal| replay(deal, script)).collect();
    // Failures in the order of verdicts; the third and later of a provider cost everything.
    let mut outages: Vec<_> =
        deals.iter().zip(&endings).filter_map(|(deal, ending)| Some((ending.failed?, deal.node))).collect();
    outages.sort_unstable();
    outages.dedup();
    let mut steps = BTreeMap::new();
    let mut count: BTreeMap<u64, usize> = BTreeMap::new();
    for (slot, node) in outages {
        let before = count.entry(NODES[node] / 100).or_default();
        steps.insert((slot, node), [50_000, 200_000, 1_000_000][(*before).min(2)]);
        *before += 1;
    }

    let mut money: BTreeMap<u64, i128> = ACCOUNTS.iter().map(|account| (*account, 1_000_000_000_000)).collect();
    let mut treasury: i128 = 100;
    for (deal, ending) in deals.iter().zip(&endings) {
        let kbps = u128::from(deal.kbps);
        let gross = u128::from(ending.good) * 7 * kbps / 1_000;
        let fee = gross * u128::from(deal.confirmed.map_or(0, |(_, fee)| fee)) / 1_000_000;
        let bond = (100_000 * kbps).div_ceil(1_000);
        let slash = ending.failed.map_or(0, |slot| bond * steps[&(slot, deal.node)] / 1_000_000);
        let compensation = slash * 800_000 / 1_000_000;
        let signed = |amount: u128| i128::try_from(amount).unwrap();
        *money.get_mut(&(NODES[deal.node] / 100)).unwrap() += signed(gross - fee) - signed(slash);
        *money.get_mut(&deal.renter).unwrap() += signed(compensation) - signed(gross);
        treasury += signed(fee + slash - compensation);
    }
    // Storage deposits of the three listings stay held.
    *money.get_mut(&PROVIDER).unwrap() -= 2 * 5_000;
    *money.get_mut(&PROVIDER_2).unwrap() -= 5_000;
    let all = ACCOUNTS.iter().map(|account| money[account]).chain([treasury]);
    (all.map(|amount| u128::try_from(amount).unwrap()).collect(), endings)
}

/// How a history is run: none of this may change an amount.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) cap: u32,
    /// Somebody settles every deal after every step.
    pub(super) settle_all: bool,
    /// Empty blocks after each block, in the same slot.
    pub(super) extra_blocks: u32,
}

pub(super) const USUAL: Pace = Pace { cap: 100, settle_all: false, extra_blocks: 0 };
/// A price at which a small share of a node uses up a small deposit.
const DEAR: Rate = Rate { num: 100, den: 1 };

/// What a history ended with.
#[derive(Debug, PartialEq)]
struct End {
    balances: Vec<u128>,
    endings: Vec<(u64, u128)>,
    states: Vec<DealState>,
}

fn run(ops: &[Op], script: &Script, price: Rate, pace: Pace) -> (End, Vec<Accepted>) {
    let mut end = None;
    with_chain(|| {
        Cap::set(pace.cap);
        script.load();
        let wide = Capacity { bandwidth_kbps: 1_000, sessions: 1_000 };
        for node in NODES {
            Market::list(signed(node / 100), node, offer(price, wide, region("eu"), 10, 1_000, BOND)).unwrap();
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
        // Every deal ends without a user.
        let mut blocks = 0;
        while crate::Deals::<Test>::iter_values().any(|deal| !deal.state.is_terminal()) {
            forward(1);
            blocks += 1;
            assert!(blocks < 1_000, "a deal does not end");
        }
        let outcomes = (0..deals.len() as DealId).map(outcome).map(|o| (o.good_slots, o.gross)).collect();
        let states = (0..deals.len() as DealId).map(state).collect();
        end = Some((End { balances: balances(), endings: outcomes, states }, deals));
    });
    end.unwrap()
}

/// Applies a step and writes down what was accepted.
fn apply(op: &Op, deals: &mut Vec<Accepted>, pace: Pace) {
    let pick = |index: usize| (!deals.is_empty()).then(|| index % deals.len().max(1));
    match op {
        Op::Rent { renter, node, kbps, term, deposit } => {
            let capacity = Capacity { bandwidth_kbps: *kbps, sessions: 1 };
            if rent(RENTERS[*renter], *node as u64, capacity, *term, u128::from(*deposit)).is_ok() {
                deals.push(Accepted {
                    renter: RENTERS[*renter],
                    node: *node,
                    kbps: *kbps,
                    term: *term,
                    deposit: u128::from(*deposit),
                    confirmed: None,
                    cancelled: None,
                });
            }
        }
        Op::Confirm(index) => {
            if let Some(index) = pick(*index) {
                let fee = crate::Parameters::<Test>::get().fee_ppm;
                if confirm(index as DealId).is_ok() {
                    deals[index].confirmed = Some((world(|w| w.current), fee));
                }
            }
        }
        Op::Settle(index) => {
            if let Some(index) = pick(*index) {
                let before = balances();
                let _ = Market::settle(signed(RENTER), index as DealId);
                // I5: nobody's free balance falls.
                assert!(balances().iter().zip(&before).all(|(after, before)| after >= before));
            }
        }
        Op::Cancel(index) => {
            if let Some(index) = pick(*index) {
                let renter = deals[index].renter;
                if Market::cancel(signed(renter), index as DealId).is_ok()
                    && state(index as DealId) == DealState::Cancelled
                {
                    deals[index].cancelled = Some(world(|w| w.closed));
                }
            }
        }
        Op::Fee(fee_ppm) => {
            set_terms(DealTerms { fee_ppm: *fee_ppm, ..UNCONTESTED }).unwrap();
        }
        Op::Block(slots) => {
            forward(*slots);
            for _ in 0..pace.extra_blocks {
                forward(0);
            }
        }
    }
    check();
}

/// Capacity frees up when a deal is paid, so a history that runs into full nodes may accept other
/// requests at another pace. Histories for comparing paces therefore never fill a node.
fn small(ops: &[Op]) -> Vec<Op> {
    ops.iter()
        .map(|op| match op {
            Op::Rent { renter, node, kbps, term, deposit } => {
                Op::Rent { renter: *renter, node: *node, kbps: kbps % 20 + 10, term: *term, deposit: deposit % 90 + 50 }
            }
            // A cancel meets the janitor's backlog only in deals that are over anyway.
            other => other.clone(),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    /// Every history ends with the balances and states of its replay.
    #[test]
    fn the_chain_agrees_with_the_replay(ops in proptest::collection::vec(op(), 20..120), script in script()) {
        let (end, deals) = run(&ops, &script, PRICE, USUAL);
        let (expected, endings) = oracle(&deals, &script);
        for (index, ending) in endings.iter().enumerate() {
            prop_assert_eq!(end.states[index], ending.state, "deal {} {:?}", index, deals[index]);
            prop_assert_eq!(end.endings[index].0, ending.good, "deal {} {:?}", index, deals[index]);
        }
        prop_assert_eq!(end.balances, expected);
    }

    /// I6: however often anybody settles, and however many blocks a slot has, the end is the same.
    #[test]
    fn settling_and_block_rate_change_nothing(ops in proptest::collection::vec(op(), 20..100), script in script()) {
        let ops = small(&ops);
        let usual = run(&ops, &script, DEAR, USUAL).0;
        prop_assert_eq!(&run(&ops, &script, DEAR, Pace { settle_all: true, ..USUAL }).0, &usual);
        prop_assert_eq!(&run(&ops, &script, DEAR, Pace { extra_blocks: 2, ..USUAL }).0, &usual);
    }

    /// I7: a janitor that works off one entry a block ends with the balances of one without a limit.
    #[test]
    fn the_janitors_backlog_changes_nothing(ops in proptest::collection::vec(op(), 20..100), script in script()) {
        let ops = small(&ops);
        let unlimited = run(&ops, &script, DEAR, Pace { cap: 1_000_000, ..USUAL }).0;
        prop_assert_eq!(&run(&ops, &script, DEAR, Pace { cap: 1, ..USUAL }).0, &unlimited);
    }
}
