//! The same histories until a number of calls is reached: some in the ordinary suite, a million in `make soak`.

use super::*;
use proptest::{
    strategy::ValueTree as _,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

/// Calls of the ordinary suite.
const CALLS: u64 = 1_500;
const SEED: u64 = 4;
/// Histories are longer here than where a failing one is made shorter.
const STEPS: core::ops::Range<usize> = 100..400;

/// A number from the environment, for `make soak` and for repeating one history.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Values of their own for each history, so that one can be repeated without those before it.
fn runner(seed: u64, history: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&history.to_le_bytes());
    TestRunner::new_with_rng(ProptestConfig::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// I1 to I18: after each call and each block the issuance is the sum of all accounts and every held unit belongs
/// to a deal, a listing or a bid; and each history ends, to the unit, with the balances and states of its replay.
///
/// `X0_MARKET_CALLS` says how many calls, `X0_MARKET_SEED` begins other histories, and `X0_MARKET_HISTORY`
/// repeats the one with this number.
#[test]
fn calls_without_number_agree_with_the_model() {
    let calls_max = setting("X0_MARKET_CALLS").unwrap_or(CALLS);
    let seed = setting("X0_MARKET_SEED").unwrap_or(SEED);
    let only = setting("X0_MARKET_HISTORY");
    let (mut history, mut calls, mut blocks, mut deals_seen) = (only.unwrap_or(0), 0u64, 0u64, 0);
    let mut endings: BTreeMap<String, u64> = BTreeMap::new();
    while calls < calls_max {
        let mut runner = runner(seed, history);
        let ops = proptest::collection::vec(op(), STEPS).new_tree(&mut runner).unwrap().current();
        let script = script().new_tree(&mut runner).unwrap().current();
        let (end, deals) = run(&ops, &script, PRICE, USUAL);
        let (balances, ends) = oracle(&deals, &script);
        assert_eq!(end.deals, ends, "X0_MARKET_SEED={seed} X0_MARKET_HISTORY={history}: {deals:#?}");
        assert_eq!(end.balances, balances, "X0_MARKET_SEED={seed} X0_MARKET_HISTORY={history}: {deals:#?}");
        let steps = ops.iter().filter(|op| matches!(op, Op::Block(_))).count() as u64;
        let before = calls;
        (calls, blocks) = (calls + ops.len() as u64 - steps, blocks + steps);
        deals_seen += deals.len();
        for (state, _) in &end.deals {
            *endings.entry(format!("{state:?}")).or_default() += 1;
        }
        history += 1;
        if only.is_some() {
            break;
        }
        if before / 50_000 < calls / 50_000 {
            println!("seed {seed}: {calls} calls, {blocks} blocks, {history} histories, {deals_seen} deals");
        }
    }
    println!("seed {seed}: {calls} calls, {blocks} blocks, {history} histories, {deals_seen} deals: {endings:?}");
}
