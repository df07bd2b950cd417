//! `x0 verify`: what the chain says, proven against the signatures of its validators, whatever node is asked.
//!
//! The wallet keeps what it trusts for each chain in `<home>/trust`. It moves forward with each use; trust that was
//! not used for 14 days needs a new checkpoint.

use std::path::PathBuf;

use serde::Serialize;
use x0_client::{
    AgreedTerms, Client, ClientError, ProvenHead,
    amount::format_amount,
    rpc_types::{Amount, Number},
    text::{account_text, hex_text},
};
use x0_light::{Checkpoint, TrustedState};
use x0_types::AccountId;

use crate::{
    cli::Verify,
    context::{Context, now_ms},
    error::{Result, WalletError},
    home::{read_bytes, write_file},
};

/// A proven answer with the block that it is about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Proven<T> {
    block: ProvenHead,
    #[serde(flatten)]
    answer: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Money {
    account: AccountId,
    free: Amount,
    held: Amount,
    nonce: u32,
}

#[derive(Serialize)]
struct Nothing {}

/// What the wallet trusts now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trust {
    genesis: String,
    number: u32,
    hash: String,
    trusted_at_ms: Number,
}

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Verify) -> Result<()> {
    match command {
        Verify::Checkpoint { checkpoint: Some(text) } => begin(context, &text).await,
        Verify::Checkpoint { checkpoint: None } => show(context).await,
        Verify::Head => {
            let (_, block, _) = prove(context).await?;
            context.answer(&Proven { block, answer: Nothing {} }, |proven| head_line(&proven.block))
        }
        Verify::Account { account } => {
            let account = context.account_or_own(account.as_ref())?;
            let (client, block, trust) = prove(context).await?;
            let found = client.proven_account(&trust, &account).await?;
            let money = Money { account, free: Amount(found.free), held: Amount(found.reserved), nonce: found.nonce };
            context.answer(&Proven { block, answer: money }, |proven| {
                let money = &proven.answer;
                format!(
                    "{}\n  free      {}\n  held      {}\n  sent      {} transactions\n{}",
                    account_text(&money.account),
                    format_amount(money.free.0),
                    format_amount(money.held.0),
                    money.nonce,
                    head_line(&proven.block)
                )
            })
        }
        Verify::Deal { deal } => {
            let (client, block, trust) = prove(context).await?;
            let terms = client
                .proven_deal(&trust, deal)
                .await?
                .ok_or_else(|| ClientError::NotFound { what: format!("deal {deal}, and that is proven") })?;
            context.answer(&Proven { block, answer: terms }, |proven| deal_words(&proven.answer, &proven.block))
        }
    }
}

async fn begin(context: &Context, text: &str) -> Result<()> {
    let checkpoint: Checkpoint =
        text.parse().map_err(|error| WalletError::Usage(format!("the checkpoint `{text}`: {error}")))?;
    let (_, client) = context.connect().await?;
    let path = trust_file(context, &client);
    if path.exists() {
        context.confirm("This wallet verifies this network already. Forget that and trust the checkpoint instead?")?;
    }
    let trust = client.trust(&checkpoint, now_ms()?).await?;
    save(context, &client, &trust)?;
    context.answer(&described(&trust), trust_words)
}

async fn show(context: &Context) -> Result<()> {
    let (_, client) = context.connect().await?;
    context.answer(&described(&load(context, &client)?), trust_words)
}

/// Proves the node's head, and keeps what was learnt on the way, also when the node turns out to lie.
async fn prove(context: &Context) -> Result<(Client, ProvenHead, TrustedState)> {
    let (_, client) = context.connect().await?;
    let mut trust = load(context, &client)?;
    let proven = client.prove_head(&mut trust, now_ms()?).await;
    save(context, &client, &trust)?;
    Ok((client, proven?, trust))
}

fn trust_file(context: &Context, client: &Client) -> PathBuf {
    context
        .home
        .root()
        .join("trust")
        .join(format!("{}.trust", hex_text(client.genesis_hash()).trim_start_matches("0x")))
}

fn load(context: &Context, client: &Client) -> Result<TrustedState> {
    let path = trust_file(context, client);
    if !path.exists() {
        return Err(WalletError::Usage(
            "this wallet trusts no block of this network yet: have somebody whom you trust run `x0-node checkpoint`, and pass \
             what it prints under `wallet` to `x0 verify checkpoint`"
                .into(),
        ));
    }
    let damaged = |reason: String| WalletError::File { path: path.clone(), reason };
    let trust = TrustedState::from_bytes(&read_bytes(&path)?).map_err(|error| damaged(error.to_string()))?;
    if *trust.genesis_hash() != client.genesis_hash().0 {
        return Err(damaged("it is about another chain".into()));
    }
    Ok(trust)
}

fn save(context: &Context, client: &Client, trust: &TrustedState) -> Result<()> {
    context.home.prepare()?;
    let path = trust_file(context, client);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| crate::home::file_error(folder, &error))?;
    }
    write_file(&path, &trust.to_bytes(), 0o600)
}

fn described(trust: &TrustedState) -> Trust {
    Trust {
        genesis: hex_text(trust.genesis_hash()),
        number: trust.number(),
        hash: hex_text(trust.hash()),
        trusted_at_ms: Number(trust.trusted_at_ms()),
    }
}

fn trust_words(trust: &Trust) -> String {
    format!(
        "verified from block {} {}\n  of the chain {}\n  as of {} ms since 1970",
        trust.number, trust.hash, trust.genesis, trust.trusted_at_ms.0
    )
}

fn head_line(block: &ProvenHead) -> String {
    let age = now_ms()
        .map_or_else(|_| String::new(), |now| format!(", {} s old", now.saturating_sub(block.timestamp_ms) / 1_000));
    format!("proven in block {} {}{age}", block.head.number, hex_text(block.head.hash))
}

fn deal_words(terms: &AgreedTerms, block: &ProvenHead) -> String {
    format!(
        "deal {} from listing {}, version {}\n  renter    {}\n  provider  {}\n  node      {}\n  capacity  {} kbit/s, {} sessions\n  \
         price     {} for {} good slots\n  term      {} slots\n  deposit   {}\n  bond      {}\n  manifest  {}\n{}",
        terms.deal.0,
        terms.listing.0,
        terms.version,
        account_text(&terms.renter),
        account_text(&terms.provider),
        account_text(&terms.node),
        terms.bandwidth_kbps,
        terms.sessions,
        format_amount(terms.rate.0),
        terms.rate_slots.0,
        terms.term_slots.0,
        format_amount(terms.deposit.0),
        format_amount(terms.bond.0),
        hex_text(terms.manifest_hash),
        head_line(block)
    )
}
