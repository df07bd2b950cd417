//! Owners change a rule, and a node is rented by auction under it, while an earlier deal keeps its own rules.
//!
//! The amounts are computed here from bids, good slots and the two fees, and compared to the last unit.

use crate::{
    Agent, Wallet,
    ledger::{Ledger, units},
    main_job::{Narrator, agent_identity, free_port, new_account, number, treasury, wait_for_deal},
    process::Node,
    rpc::Rpc,
};
use anyhow::{Context, Result, ensure};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep};
use x0_rpc_types::{
    governance::{Credits, Proposal},
    market::Deal,
    offers::{Request, SearchPage},
};
use x0_types::{AccountId, account::UNIT};

/// The fee that owners decide on, parts per million; it was 25,000.
pub(crate) const NEW_FEE_PPM: u128 = 50_000;
/// The wait for a dispute that owners decide on, slots; it was a day.
const DISPUTE_WINDOW_SLOTS: u64 = 5;
/// Votes that each owner casts, and what they cost.
const VOTES: u32 = 9;
const COST: u32 = VOTES * VOTES;
/// Who votes: the accounts of the validators' operators, each an owner of its own.
const VOTERS: [&str; 4] = ["validator-1", "validator-2", "validator-3", "validator-4"];
/// How long any one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(90);
/// The auctioned deal: term in slots, and the price of the bid that is taken (1 X0T for so many slots).
const TERM_SLOTS: u64 = 10;
const SLOTS_PER_UNIT: u128 = 5;

/// What the auction needs of the cast.
pub struct Stage<'a> {
    /// Where agents keep their files.
    pub folder: &'a Path,
    /// The node that wallet and agents speak to.
    pub node: &'a Node,
    /// The same, over RPC.
    pub rpc: &'a Rpc,
    /// The wallet with all keys.
    pub wallet: &'a Wallet,
    /// The renter's account and its mesh's agent.
    pub renter: &'a AccountId,
    /// The account of the renter's agent.
    pub renter_agent: &'a str,
    /// The first provider's listing, which bids too.
    pub listing: u64,
}

/// Owners raise the market's fee by quadratic votes.
pub async fn vote(stage: &Stage<'_>, say: Narrator<'_>) -> Result<()> {
    let Stage { rpc, wallet, .. } = stage;
    say(
        "   Meanwhile an owner proposes, for future deals, a fee of 5 % in place of 2.5 % and shorter disputes, and the owners vote.",
    );
    let dispute = format!("{DISPUTE_WINDOW_SLOTS}");
    wallet
        .run(&[
            "gov",
            "propose",
            "market",
            "--fee-ppm",
            "50000",
            "--dispute-window-slots",
            &dispute,
            "--key",
            VOTERS[0],
        ])
        .await?;
    let opened = wait_for(rpc, "a ballot", |proposal| !proposal.ballots.is_empty()).await?;
    let id = opened.id.to_string();
    for voter in VOTERS {
        wallet.run(&["gov", "vote", &id, &VOTES.to_string(), "--key", voter]).await?;
        let shown = wallet.run(&["gov", "owner", voter]).await?;
        let credits: Credits = serde_json::from_value(shown["credits"].clone())?;
        ensure!(
            credits.spent == COST && credits.remaining == credits.total - COST,
            "{VOTES} votes cost {COST} credits, and {voter} has {credits:?}"
        );
    }
    let counted = wait_for(rpc, "four voters", |proposal| {
        proposal.ballots.first().is_some_and(|ballot| ballot.tally.heads_for >= 4)
    })
    .await?;
    let ballot = counted.ballots.first().context("a ballot")?;
    let expected = u64::from(VOTES) * VOTERS.len() as u64;
    ensure!(ballot.tally.ayes.0 == expected && ballot.tally.nays.0 == 0, "{VOTES} votes each: {:?}", ballot.tally);
    say(&format!(
        "   {} owners of {} cast {VOTES} votes each: {COST} of 99 credits, since votes cost their square.",
        ballot.tally.heads_for, ballot.electorate
    ));
    let done = wait_for(rpc, "the end", |proposal| proposal.terminal).await?;
    ensure!(done.state == "executed", "the proposal ended as {} ({:?})", done.state, done.why);
    ensure!(done.deposit.0 == 0, "an ended proposal holds no deposit: {done:?}");
    say("   The proposal passed and was carried out by the chain itself; its deposit is back.");
    Ok(())
}

/// Waits until the first proposal is as wanted.
async fn wait_for(rpc: &Rpc, what: &str, wanted: impl Fn(&Proposal) -> bool) -> Result<Proposal> {
    let deadline = Instant::now() + STEP_TIME_MAX;
    loop {
        let all: Vec<Proposal> = rpc.call("gov_proposals", &[]).await?;
        if let Some(proposal) = all.into_iter().next_back() {
            if wanted(&proposal) {
                return Ok(proposal);
            }
            ensure!(Instant::now() < deadline, "waited for {what} in vain: {proposal:?}");
        }
        ensure!(Instant::now() < deadline, "no proposal");
        sleep(Duration::from_millis(250)).await;
    }
}

/// The renter asks for bids; the cheaper one serves its term and is paid under the new fee.
pub async fn auction(stage: &Stage<'_>, say: Narrator<'_>) -> Result<()> {
    let Stage { folder, node, rpc, wallet, renter, renter_agent, listing } = stage;
    say("   A second provider lists a node; the renter asks both for bids on another 50 Mbit/s.");
    let second = new_account(wallet, "provider-2", "2000 X0T").await?;
    let files = agent_identity(folder, "agent-2", node, &second, Some(free_port()?), None)?;
    wallet.run(&["did", "register-agent", "--proof", &files.proof, "--key", "provider-2"]).await?;
    let agent = Agent::start(Path::new(&files.config)).await?;
    let listed = wallet
        .run(&[
            "market",
            "list",
            "--node",
            &agent.node,
            "--price",
            "1 X0T/2",
            "--bandwidth",
            "50000",
            "--sessions",
            "8",
            "--region",
            "eu-central",
            "--term-min",
            "10",
            "--term-max",
            "3600",
            "--bond",
            "100 X0T",
            "--key",
            "provider-2",
        ])
        .await?;
    let second_listing = number(&listed, "listing")?;
    let found: SearchPage = rpc.call("market_search", &[serde_json::json!({ "region": "eu-central" })]).await?;
    ensure!(found.total == 2, "both listings are found: {found:?}");
    let before = Ledger::read(rpc).await?;
    let asked = wallet
        .run(&[
            "market",
            "request",
            "--bandwidth",
            "50000",
            "--sessions",
            "4",
            "--term",
            &TERM_SLOTS.to_string(),
            "--price-max",
            "1 X0T/2",
            "--region",
            "eu-central",
            "--mesh",
            "renters-mesh",
            "--agent",
            renter_agent,
            "--key",
            "renter",
        ])
        .await?;
    let request = number(&asked, "deal")?.to_string();
    let bid = |listing: u64, price: &'static str, key: &'static str| {
        let (request, listing) = (request.clone(), listing.to_string());
        async move { wallet.run(&["market", "bid", &request, "--listing", &listing, "--price", price, "--key", key]).await }
    };
    bid(*listing, "1 X0T/4", "provider").await?;
    bid(second_listing, "1 X0T/5", "provider-2").await?;
    let open: Vec<Request> = rpc.call("market_requests", &[]).await?;
    let bids = &open.first().context("the request takes bids")?.bids;
    ensure!(bids.len() == 2, "two bids: {bids:?}");
    let cheapest = bids.iter().find(|bid| bid.provider == second).context("the second provider's bid")?;
    say("   Bids: 1 X0T for 4 slots, and 1 X0T for 5 slots. The renter takes the cheaper one.");
    wallet.run(&["market", "accept", &request, &cheapest.bid.to_string(), "--key", "renter"]).await?;
    let open: Vec<Request> = rpc.call("market_requests", &[]).await?;
    ensure!(open.is_empty(), "the loser's deposit is free at once: {open:?}");
    wallet.run(&["market", "confirm", &request, "--key", "provider-2"]).await?;
    let deal = wait_for_deal(rpc, request.parse()?, STEP_TIME_MAX, |deal| deal.terminal).await?;
    ensure!(deal.state == "Completed", "ended as {} ({:?})", deal.state, deal.reason);
    check_completed(rpc, &before, &deal, (&second, renter), say).await?;
    agent.kill().await
}

/// What a deal paid.
pub(crate) struct Paid {
    pub(crate) good: u128,
    pub(crate) gross: u128,
    pub(crate) fee: u128,
    pub(crate) refund: u128,
    /// The ledger after it.
    pub(crate) after: Ledger,
}

/// The oracle of a deal without a slash: it paid its good slots at its price (1 X0T for so many), less the fee that the
/// owners decided on, the rest came back, and issuance is what it was.
pub(crate) async fn check_paid(
    rpc: &Rpc,
    before: &Ledger,
    deal: &Deal,
    slots_per_unit: u128,
    renter: &AccountId,
) -> Result<Paid> {
    let outcome = deal.outcome.context("a paid deal has an outcome")?;
    let good = u128::from(outcome.good_slots.0);
    let gross = good * UNIT / slots_per_unit;
    let fee = gross * NEW_FEE_PPM / 1_000_000;
    let found = (outcome.gross.0, outcome.fee.0, outcome.to_provider.0, outcome.refund.0, outcome.slash.0);
    let expected = (gross, fee, gross - fee, deal.deposit.0 - gross, 0);
    ensure!(found == expected, "the outcome is {expected:?}, and the chain says {found:?}");
    let after = Ledger::read(rpc).await?;
    after.check_issuance()?;
    ensure!(before.issuance == after.issuance, "issuance changed");
    ensure!(after.of(renter).held <= before.of(renter).held, "nothing is held of the renter for this deal any more");
    Ok(Paid { good, gross, fee, refund: outcome.refund.0, after })
}

/// The auctioned deal served its term at the bid's price.
async fn check_completed(
    rpc: &Rpc,
    before: &Ledger,
    deal: &Deal,
    (provider, renter): (&AccountId, &AccountId),
    say: Narrator<'_>,
) -> Result<()> {
    let Paid { good, gross, fee, refund, after } = check_paid(rpc, before, deal, SLOTS_PER_UNIT, renter).await?;
    ensure!(good <= u128::from(TERM_SLOTS) && good > 0, "{good} of {TERM_SLOTS} slots were good");
    // The treasury has no other income meanwhile; both parties also pay fees of transactions.
    let earned = after.of(&treasury()).total() - before.of(&treasury()).total();
    ensure!(earned >= fee, "the treasury got {earned}, at least the fee {fee}");
    ensure!(after.of(provider).held <= before.of(provider).held, "nothing is held of the provider any more");
    say(&format!(
        "   Deal {} served its term: {good} good slots, {} to the provider, {} fee (5 %), {} back to the renter.",
        deal.id.0,
        units(gross - fee),
        units(fee),
        units(refund)
    ));
    Ok(())
}
