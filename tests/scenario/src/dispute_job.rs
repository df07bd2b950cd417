//! Validators contradict one another about a node, the record disputes itself, and the deadline decides.
//!
//! Amounts are computed here from the price, the good slots and the fee, and compared to the last unit.

use crate::{
    Agent, Wallet,
    gateway::{Gateway, SlotTimes},
    ledger::{Ledger, units},
    main_job::{Narrator, agent_identity, free_port, meter_of, new_account, number, wait_for_deal},
    market_job::{Paid, Stage, check_paid},
    rpc::Rpc,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep};
use x0_rpc_types::market::{Deal, DealMeter};
use x0_types::{AccountId, account::UNIT};

/// How long any one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(90);
/// Length of the deal in slots; its price is 1 X0T for so many slots; its deposit in X0T.
const TERM_SLOTS: u64 = 24;
const SLOTS_PER_UNIT: u128 = 4;
const DEPOSIT: u128 = 6 * UNIT;
/// Callers in a slot that the thin line lets through: of four validators two see the node and two do not.
const CALLERS_MAX: usize = 2;
/// CONFLICT slots in a row that put a deal's record in doubt (market specification, 6.2).
const CONFLICT_RUN: usize = 3;
/// A listing and an agent's identity hold deposits of their own, which are smaller than the bond of 100 X0T.
const LISTING_DEPOSIT_MAX: u128 = 50 * UNIT;

/// Rents a node with a thin line, and sees the deal through its dispute.
pub async fn dispute(stage: &Stage<'_>, say: Narrator<'_>) -> Result<()> {
    let Stage { folder, node, rpc, wallet, renter, .. } = stage;
    say("   A third provider's node has a line so thin that at times only two of the four validators get through.");
    let provider = new_account(wallet, "provider-thin", "2000 X0T").await?;
    let door = free_port()?;
    let files = agent_identity(folder, "agent-thin", node, &provider, Some(free_port()?), Some(door))?;
    wallet.run(&["did", "register-agent", "--proof", &files.proof, "--key", "provider-thin"]).await?;
    let agent = Agent::start(Path::new(&files.config)).await?;
    let gateway = Gateway::start(door, agent.listen.clone(), SlotTimes::read(rpc).await?).await?;
    let before = Ledger::read(rpc).await?;
    let id = rent(stage, &agent).await?;

    wait_for_meter(rpc, id, "a good slot", |meter| meter.good.0 >= 1).await?;
    gateway.limit(CALLERS_MAX);
    wait_for_meter(rpc, id, "slots of contradictions", has_conflict_run).await?;
    gateway.limit(usize::MAX);
    say(&format!("   {CONFLICT_RUN} slots in a row half of the validators saw it up, and half down."));

    let deal = wait_for_deal(rpc, id, STEP_TIME_MAX, |deal| deal.state == "Disputed" || deal.terminal).await?;
    let (state, reason) = (&deal.state, &deal.reason);
    ensure!(state == "Disputed", "a record in doubt disputes itself, and the deal is {state} ({reason:?})");
    say(&format!("   Deal {id} served its term, and its record disputes itself: the rest of the deposit waits."));
    let deal = wait_for_deal(rpc, id, STEP_TIME_MAX, |deal| deal.terminal).await?;
    check(rpc, &before, &deal, (&provider, renter), say).await?;
    agent.kill().await
}

/// Lists the node and rents it.
async fn rent(stage: &Stage<'_>, agent: &Agent) -> Result<u64> {
    let Stage { wallet, renter_agent, .. } = stage;
    let listing = "--price 1_X0T/4 --bandwidth 50000 --sessions 8 --region eu-north --term-min 10 --term-max 3600 \
                   --bond 100_X0T --key provider-thin";
    let listed = run(wallet, &["market", "list", "--node", &agent.node], listing).await?;
    let listing = number(&listed, "listing")?.to_string();
    let terms = "--bandwidth 50000 --sessions 8 --term 24 --deposit 6_X0T --mesh renters-mesh --key renter";
    let rented = run(wallet, &["market", "rent", &listing, "--agent", renter_agent], terms).await?;
    let deal = number(&rented, "deal")?;
    wallet.run(&["market", "confirm", &deal.to_string(), "--key", "provider-thin"]).await?;
    Ok(deal)
}

/// Runs the wallet with some arguments and further ones in one text, where `_` stands for a blank inside one.
async fn run(wallet: &Wallet, first: &[&str], rest: &str) -> Result<Value> {
    let rest: Vec<String> = rest.split_whitespace().map(|argument| argument.replace('_', " ")).collect();
    let all: Vec<&str> = first.iter().copied().chain(rest.iter().map(String::as_str)).collect();
    wallet.run(&all).await
}

/// Whether the node's latest slots hold enough contradictions one after another.
fn has_conflict_run(meter: &DealMeter) -> bool {
    meter.recent.windows(CONFLICT_RUN).any(|slots| slots.iter().all(|slot| slot.verdict == "CONFLICT"))
}

async fn wait_for_meter(rpc: &Rpc, id: u64, what: &str, wanted: impl Fn(&DealMeter) -> bool) -> Result<()> {
    let deadline = Instant::now() + STEP_TIME_MAX;
    loop {
        let meter = meter_of(rpc, id).await?;
        if wanted(&meter) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "waited for {what} in vain: {meter:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The oracle: nobody spoke, so the record stands. Good slots are paid, contradictions are not, nobody is punished.
async fn check(
    rpc: &Rpc,
    before: &Ledger,
    deal: &Deal,
    (provider, renter): (&AccountId, &AccountId),
    say: Narrator<'_>,
) -> Result<()> {
    ensure!(deal.deposit.0 == DEPOSIT, "the deposit is another: {deal:?}");
    let Paid { good, gross, fee, refund, after } = check_paid(rpc, before, deal, SLOTS_PER_UNIT, renter).await?;
    let contradicted = u128::try_from(CONFLICT_RUN)?;
    ensure!(good > 0 && good + contradicted <= u128::from(TERM_SLOTS), "{good} of {TERM_SLOTS} slots were good");
    let outcome = deal.outcome.context("a paid deal has an outcome")?;
    ensure!(outcome.bond_back.0 == deal.bond.0, "the whole bond comes back: {outcome:?}");
    say(&format!(
        "   Nobody ruled until the deadline, so the record stands: {good} good slots, {} to the provider, {} fee, {} back \
         to the renter, no slash.",
        units(gross - fee),
        units(fee),
        units(refund)
    ));
    ensure!(after.of(provider).held <= before.of(provider).held + LISTING_DEPOSIT_MAX, "the bond is no longer held");
    Ok(())
}
