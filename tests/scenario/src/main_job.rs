//! The main job from end to end: a node is rented, watched, and refunded.
//!
//! Every step runs the product's own binaries. What the ledger must be at the end is computed here,
//! from the rate, the deposit, the bond and the counted good slots, and compared to the last unit.

use crate::{
    Agent, Cluster, Node, Wallet, dispute_job,
    ledger::{Ledger, units},
    market_job, mesh_job,
    rpc::Rpc,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep};
use x0_rpc_types::{
    chain::History,
    market::{Deal, DealMeter, Solvency},
};
use x0_types::{AccountId, account::UNIT};

/// Validators of the demo's network.
const VALIDATORS: usize = 4;
/// The one that is killed; not the one that wallet and agent speak to.
const VICTIM: usize = 2;
/// Good slots that the demo lets accrue before the agent dies.
const GOOD_SLOTS_WANTED: u64 = 4;
/// How long any one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(60);
/// Consecutive DOWN slots that fail a deal.
const FAIL_RUN: u64 = 3;
/// The treasury's share of what the provider earns, and of what remains of a slash; the first step of the
/// slash ladder; the renter's share of a slash. Parts per million, floored (market specification, 6.2).
const FEE_PPM: u128 = 25_000;
const SLASH_PPM: u128 = 50_000;
const COMPENSATION_PPM: u128 = 800_000;

/// Tells the reader what happens; tests pass a silent one.
pub type Narrator<'a> = &'a dyn Fn(&str);

/// Everything that takes part.
struct Cast {
    cluster: Cluster,
    rpc: Rpc,
    wallet: Wallet,
    agent: Agent,
    provider: AccountId,
    renter: AccountId,
    deal: u64,
    listing: u64,
    renter_agent: String,
}

/// Runs the main job and checks it; `folder` holds wallets and the agent's files.
pub async fn run(folder: &Path, say: Narrator<'_>) -> Result<()> {
    let cast = rent(folder, say).await?;
    decide(&cast, folder, say).await?;
    let (cast, before) = watch(cast, say).await?;
    let (cluster, deal, after) = fail(cast, &before, say).await?;
    survive(cluster, &deal, &after, say).await
}

/// Steps 1 to 3: a chain, an agent, a listing, a deal.
async fn rent(folder: &Path, say: Narrator<'_>) -> Result<Cast> {
    say("1. Four validators start and connect over post-quantum TLS: no single one can decide anything.");
    let cluster = Cluster::start(VALIDATORS).await?;
    let node = cluster.node(0)?;
    let rpc = Rpc::connect(&node.rpc).await?;
    rpc.wait_for_height(1, STEP_TIME_MAX).await?;
    say(&format!("   genesis {}", node.genesis));

    say("2. Provider and renter make keys (ML-DSA-65), and the faucet gives them play money.");
    let wallet = cluster.wallet()?;
    let provider = new_account(&wallet, "provider", "2000 X0T").await?;
    let renter = new_account(&wallet, "renter", "500 X0T").await?;
    let renter_agent = agent_identity(folder, "renter-agent", node, &renter, None, None)?;

    say("   The provider's agent gets an identity of its own, and the provider registers it on chain.");
    let files = agent_identity(folder, "agent", node, &provider, Some(free_port()?), None)?;
    wallet.run(&["did", "register-agent", "--proof", &files.proof, "--key", "provider"]).await?;
    wallet.run(&["did", "register-agent", "--proof", &renter_agent.proof, "--key", "renter"]).await?;
    let agent = Agent::start(Path::new(&files.config)).await?;
    say(&format!("   {} listens on {}", agent.did, agent.listen));

    say("   The provider lists it: 200 Mbit/s, 2 X0T for 3 slots, term 10 to 3600 slots, bond 400 X0T.");
    let listed = wallet
        .run(&[
            "market",
            "list",
            "--node",
            &agent.node,
            "--price",
            "2 X0T/3",
            "--bandwidth",
            "200000",
            "--sessions",
            "64",
            "--region",
            "eu-central",
            "--term-min",
            "10",
            "--term-max",
            "3600",
            "--bond",
            "400 X0T",
            "--key",
            "provider",
        ])
        .await?;
    let listing = number(&listed, "listing")?;

    say("3. The renter rents half of it for 300 slots: the deposit of 100 X0T is held in escrow for this deal.");
    let rented = wallet
        .run(&[
            "market",
            "rent",
            &listing.to_string(),
            "--bandwidth",
            "100000",
            "--sessions",
            "32",
            "--term",
            "300",
            "--deposit",
            "100 X0T",
            "--mesh",
            "renters-mesh",
            "--agent",
            &renter_agent.account,
            "--key",
            "renter",
        ])
        .await?;
    let deal = number(&rented, "deal")?;
    let ledger = Ledger::read(&rpc).await?;
    ensure!(ledger.of(&renter).held >= 100 * UNIT, "the deposit is held");
    say(&format!("   deal {deal}: {} held of the renter", units(ledger.of(&renter).held)));
    ensure!(!admits(&agent, &renter_agent.account).await?, "before the confirmation nobody is admitted");

    say("   The provider confirms and posts its bond.");
    wallet.run(&["market", "confirm", &deal.to_string(), "--key", "provider"]).await?;
    ensure!(deal_of(&rpc, deal).await?.state == "Active", "a confirmed deal is active");
    let renter_agent = renter_agent.account;
    Ok(Cast { cluster, rpc, wallet, agent, provider, renter, deal, listing, renter_agent })
}

/// While the deal runs: owners change a rule, and an auction is held under it.
async fn decide(cast: &Cast, folder: &Path, say: Narrator<'_>) -> Result<()> {
    let stage = market_job::Stage {
        folder,
        node: cast.cluster.node(0)?,
        rpc: &cast.rpc,
        wallet: &cast.wallet,
        renter: &cast.renter,
        renter_agent: &cast.renter_agent,
        listing: cast.listing,
    };
    market_job::vote(&stage, say).await?;
    market_job::auction(&stage, say).await?;
    dispute_job::dispute(&stage, say).await?;
    mesh_job::run(&stage, say).await
}

/// Step 4: probes, reports, accrual.
async fn watch(cast: Cast, say: Narrator<'_>) -> Result<(Cast, Ledger)> {
    let before = Ledger::read(&cast.rpc).await?;
    before.check_issuance()?;
    say(
        "4. Every validator probes the agent in every slot over post-quantum TLS; receipts are signed, good slots accrue.",
    );
    say(&before.table(&names(&cast)));
    let deadline = Instant::now() + STEP_TIME_MAX;
    loop {
        let meter = meter_of(&cast.rpc, cast.deal).await?;
        say(&format!(
            "   slot {}: good {}, bad {}, unknown {}, void {}; earned {}",
            meter.closed_slot.0,
            meter.good.0,
            meter.bad.0,
            meter.unknown.0,
            meter.void.0,
            units(meter.gross.0)
        ));
        if meter.good.0 >= GOOD_SLOTS_WANTED {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "no {GOOD_SLOTS_WANTED} good slots in time; agent's log:\n{}",
            cast.agent.log()
        );
        sleep(Duration::from_secs(1)).await;
    }
    Ok((cast, before))
}

/// Step 5: the agent dies, the deal fails, the janitor pays.
async fn fail(cast: Cast, before: &Ledger, say: Narrator<'_>) -> Result<(Cluster, Deal, Ledger)> {
    say("5. The agent is killed with SIGKILL.");
    let names = names(&cast);
    let Cast { cluster, rpc, wallet: _wallet, agent, provider, renter, deal: id, .. } = cast;
    agent.kill().await?;
    let deal = wait_for_deal(&rpc, id, STEP_TIME_MAX, |deal| deal.terminal).await?;
    ensure!(deal.state == "Failed", "ended as {} ({:?})", deal.state, deal.reason);
    let outcome = deal.outcome.context("a paid deal has an outcome")?;
    let start = deal.start_slot.context("the deal had started")?.0;
    let end = deal.frozen_slot.context("a failed deal was frozen in a slot")?.0;
    let bad = end.saturating_sub(start).saturating_sub(outcome.good_slots.0);
    ensure!(bad >= FAIL_RUN, "slots {start} to {end} hold {} good ones and only {bad} others", outcome.good_slots.0);
    let frozen = deal.frozen_block.context("a failed deal was frozen in a block")?;
    let paid = payout_block(&rpc, frozen, id).await?;
    say(&format!(
        "   After {FAIL_RUN} DOWN slots the deal failed in block {frozen}; the janitor paid in block {paid}."
    ));
    ensure!(paid == frozen + 1, "the payment came {} blocks after the verdict", paid - frozen);

    let after = Ledger::read(&rpc).await?;
    say(&after.table(&names));
    check_payout(before, &after, &deal, outcome.good_slots.0, (&provider, &renter), say)?;
    check_history(&rpc, &renter, paid, (outcome.refund.0, outcome.compensation.0)).await?;
    let solvency: Solvency = rpc.call("market_solvency", &[]).await?;
    ensure!(solvency.escrow_owed == solvency.escrow_held && solvency.bonds_owed == solvency.bonds_held, "{solvency:?}");
    Ok((cluster, deal, after))
}

/// The oracle: every account moved by exactly what the rate, the bond and the good slots say.
fn check_payout(
    before: &Ledger,
    after: &Ledger,
    deal: &Deal,
    good: u64,
    (provider, renter): (&AccountId, &AccountId),
    say: Narrator<'_>,
) -> Result<()> {
    // A node without trust posts half as much again as its listing asks.
    let (deposit, bond) = (100 * UNIT, 300 * UNIT);
    ensure!(deal.deposit.0 == deposit && deal.bond.0 == bond, "deposit or bond differ: {deal:?}");
    let affordable = 300; // 100 X0T at 1 X0T for 3 slots.
    let gross = u128::from(good.min(affordable)) * UNIT / 3;
    let fee = gross * FEE_PPM / 1_000_000;
    let slash = bond * SLASH_PPM / 1_000_000;
    let compensation = slash * COMPENSATION_PPM / 1_000_000;
    let treasury = treasury();
    for (name, account, gains, loses) in [
        ("renter", renter, compensation, gross),
        ("provider", provider, gross - fee, slash),
        ("treasury", &treasury, fee + slash - compensation, 0),
    ] {
        let (was, is) = (before.of(account).total(), after.of(account).total());
        ensure!(is + loses == was + gains, "{name} had {was}, has {is}; expected + {gains} - {loses}");
        say(&format!("   {name:<9} + {:>26} - {:>26}", units(gains), units(loses)));
    }
    ensure!(before.of(renter).held >= after.of(renter).held + deposit, "the renter's deposit is no longer held");
    ensure!(before.of(provider).held >= after.of(provider).held + bond, "the provider's bond is no longer held");
    after.check_issuance()?;
    ensure!(before.issuance == after.issuance, "issuance changed");
    say(&format!("   {good} good slots were paid. Issuance is unchanged: {}", units(after.issuance)));
    Ok(())
}

/// The renter finds its refund and its compensation in its history, although no transaction paid them.
async fn check_history(rpc: &Rpc, renter: &AccountId, paid: u32, expected: (u128, u128)) -> Result<()> {
    let history: History = rpc.call("account_history", &[renter.to_string().into()]).await?;
    let entry = history.entries.iter().find(|entry| entry.block == paid && entry.call.is_none());
    let money = entry.and_then(|entry| entry.money.as_ref()).context("the payout is in no history")?;
    let sum = |kind: &str, to: &AccountId| -> u128 {
        money.iter().filter(|one| one.kind == kind && one.to.as_ref() == Some(to)).map(|one| one.amount.0).sum()
    };
    let found = (sum("Released", renter), sum("TransferOnHold", renter));
    ensure!(found == expected, "refund and compensation are {expected:?}, and the history says {found:?}: {money:?}");
    Ok(())
}

/// Step 6: a validator dies in mid-block, the others go on, and it comes back.
async fn survive(mut cluster: Cluster, deal: &Deal, after: &Ledger, say: Narrator<'_>) -> Result<()> {
    say("6. A validator is killed with SIGKILL in mid-block, under load. The other three go on; it is started again.");
    let rpc = Rpc::connect(&cluster.node(0)?.rpc).await?;
    let victim = cluster.node(VICTIM)?;
    let genesis = victim.genesis.clone();
    let load = tokio::spawn(crate::torture::load_until_gone(victim.rpc.clone(), genesis.clone()));
    let (_, tip) = rpc.finalised().await?;
    rpc.wait_for_height(tip + 2, STEP_TIME_MAX).await?;
    let (_, tip) = Rpc::connect(&victim.rpc).await?.finalised().await?;
    let hashes = hashes(&Rpc::connect(&victim.rpc).await?, tip).await?;
    cluster.kill(VICTIM).await?;
    load.abort();
    let (_, height) = rpc.finalised().await?;
    let without = rpc.wait_for_height(height + 3, STEP_TIME_MAX).await?;

    cluster.restart(VICTIM).await?;
    ensure!(cluster.node(VICTIM)?.genesis == genesis, "another chain");
    for number in 0..VALIDATORS {
        let rpc = Rpc::connect(&cluster.node(number)?.rpc).await?;
        let grown = rpc.wait_for_height(without + 1, STEP_TIME_MAX).await?;
        for (height, hash) in hashes.iter().enumerate() {
            let now = rpc.block_hash(u32::try_from(height)?).await?;
            ensure!(now.as_ref() == Some(hash), "validator {}: height {height} was {hash} and is {now:?}", number + 1);
        }
        let again = deal_of(&rpc, deal.id.0).await?;
        ensure!(again.outcome == deal.outcome && again.terminal, "the deal's outcome changed");
        let ledger = Ledger::read(&rpc).await?;
        ledger.check_issuance()?;
        ensure!(ledger.issuance == after.issuance, "issuance changed");
        say(&format!(
            "   validator {} has the same {} blocks, and goes on at height {grown}.",
            number + 1,
            hashes.len()
        ));
    }
    cluster.stop().await
}

/// Hashes of all final blocks up to a height.
async fn hashes(rpc: &Rpc, tip: u32) -> Result<Vec<String>> {
    let mut hashes = Vec::new();
    for number in 0..=tip {
        hashes.push(rpc.block_hash(number).await?.context("a final height has a block")?);
    }
    Ok(hashes)
}

/// Makes a key and funds its account.
pub(crate) async fn new_account(wallet: &Wallet, name: &str, amount: &str) -> Result<AccountId> {
    let made = wallet.run(&["keys", "new", name]).await?;
    wallet.run(&["transfer", name, amount, "--key", "faucet"]).await?;
    account(made["account"].as_str().or(made["address"].as_str()).with_context(|| format!("keys new printed {made}"))?)
}

/// Files of an agent.
pub(crate) struct AgentFiles {
    pub(crate) config: String,
    pub(crate) proof: String,
    pub(crate) account: String,
}

/// Lets the agent binary make its identity and a proof for its controller. The agent listens on `port`; callers
/// reach it there, or at the port `door` when something stands in between.
pub(crate) fn agent_identity(
    folder: &Path,
    name: &str,
    node: &Node,
    controller: &AccountId,
    port: Option<u16>,
    door: Option<u16>,
) -> Result<AgentFiles> {
    let home = folder.join(name);
    std::fs::create_dir_all(&home)?;
    let path = |file: &str| home.join(file).display().to_string();
    std::fs::write(home.join("password"), "another horse battery staple\n")?;
    let listen = format!("127.0.0.1:{}", port.unwrap_or(1));
    let endpoint = door.map_or_else(|| listen.clone(), |door| format!("127.0.0.1:{door}"));
    let config = format!(
        "[identity]\nkeystore = {:?}\npassword_file = {:?}\n\n[chain]\nurl = {:?}\n\n[listen]\naddress = {listen:?}\n\n[status]\npath = {:?}\n",
        path("agent.json"),
        path("password"),
        node.rpc,
        path("status.sock"),
    );
    std::fs::write(home.join("agent.toml"), config)?;
    let proof = path("proof.json");
    let output = std::process::Command::new(crate::process::binaries()?.join("x0-agent"))
        .args(["init", "--config", &path("agent.toml"), "--controller", &controller.to_string()])
        .args(["--genesis", &node.genesis, "--endpoint", &endpoint, "--proof", &proof])
        .output()
        .context("run x0-agent init")?;
    if !output.status.success() {
        bail!("x0-agent init: {}", String::from_utf8_lossy(&output.stderr));
    }
    let printed: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("x0-agent init printed {}", String::from_utf8_lossy(&output.stdout)))?;
    let account = printed["node"].as_str().context("init names the node")?.to_owned();
    Ok(AgentFiles { config: path("agent.toml"), proof, account })
}

/// Asks a running agent whom it admits, by the status that an operator sees.
async fn admits(agent: &Agent, who: &str) -> Result<bool> {
    let status = agent.status().await?;
    let text = status["admitted"].to_string();
    Ok(text.contains(who))
}

/// The block in which the janitor paid the deal, found by its state at each height.
async fn payout_block(rpc: &Rpc, from: u32, deal: u64) -> Result<u32> {
    let (_, tip) = rpc.finalised().await?;
    for number in from..=tip {
        let hash = rpc.block_hash(number).await?.context("a final height has a block")?;
        let at: Option<Deal> = rpc.call("market_deal", &[deal.to_string().into(), hash.into()]).await?;
        if at.is_some_and(|deal| deal.terminal) {
            return Ok(number);
        }
    }
    bail!("the deal is not paid up to block {tip}")
}

pub(crate) async fn deal_of(rpc: &Rpc, deal: u64) -> Result<Deal> {
    let found: Option<Deal> = rpc.call("market_deal", &[deal.to_string().into()]).await?;
    found.with_context(|| format!("deal {deal}"))
}

/// Waits until a deal is as wanted.
pub(crate) async fn wait_for_deal(
    rpc: &Rpc,
    id: u64,
    within: Duration,
    wanted: impl Fn(&Deal) -> bool,
) -> Result<Deal> {
    let deadline = Instant::now() + within;
    loop {
        let deal = deal_of(rpc, id).await?;
        if wanted(&deal) {
            return Ok(deal);
        }
        ensure!(Instant::now() < deadline, "the deal did not get on: {deal:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn meter_of(rpc: &Rpc, deal: u64) -> Result<DealMeter> {
    let found: Option<DealMeter> = rpc.call("market_dealMeter", &[deal.to_string().into()]).await?;
    found.with_context(|| format!("meter of deal {deal}"))
}

fn names(cast: &Cast) -> Vec<(&'static str, AccountId)> {
    vec![("renter", cast.renter.clone()), ("provider", cast.provider.clone()), ("treasury", treasury())]
}

/// The treasury's account: `modl`, the pallet id, zeros.
pub(crate) fn treasury() -> AccountId {
    let mut bytes = [0u8; 32];
    bytes[..12].copy_from_slice(b"modlx0/trsry");
    AccountId::new(bytes)
}

fn account(text: &str) -> Result<AccountId> {
    use sp_core::crypto::Ss58Codec;
    AccountId::from_ss58check(text).map_err(|error| anyhow::anyhow!("{text} is no address: {error:?}"))
}

pub(crate) fn number(answer: &Value, name: &str) -> Result<u64> {
    let value = &answer[name];
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        .with_context(|| format!("the answer has no {name}: {answer}"))
}

/// A port that is free now. The agent's listing names its port, so it cannot be chosen by the system
/// at start.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
