//! `x0 gov`: owners, credits, proposals and votes.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use x0_client::{
    Client, ClientError,
    amount::{format_amount, parse_amount},
    call::governance as call,
    rpc_types::governance::{Ballot, Cost, Credits, Delegation, Owner, Proposal, Track, WhyFailed},
    text::{account_text, hex_text, parse_hash, parse_hex},
};
use x0_types::{
    AccountId, Hash,
    governance::{SealedVote, TrackId},
};

use crate::{
    cli::{Gov, Propose, ProposeOptions, TxOptions},
    context::Context,
    error::{Result, WalletError},
    home::{read_settings, write_file},
    send::{Request, send, send_call, send_over},
};

/// The kind of a file that opens a sealed vote.
const SEALED_KIND: &str = "x0-sealed-vote/v1";
/// Between two looks at a watched proposal.
const WATCH: Duration = Duration::from_millis(1_000);

/// What opens a sealed vote.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SealedFile {
    kind: String,
    genesis_hash: Hash,
    proposal: u32,
    owner: u32,
    votes: i8,
    spam: bool,
    salt: Hash,
}

/// An owner and its credits.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnerAnswer {
    owner: Owner,
    credits: Credits,
}

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Gov) -> Result<()> {
    match command {
        Gov::Owner { account } => show_owner(context, account.as_ref()).await,
        Gov::Apply { accounts, evidence, tx } => {
            let accounts = accounts.iter().map(|name| context.account(name)).collect::<Result<Vec<_>>>()?;
            send_call(context, &call::apply(&accounts, parse_hash("the evidence", &evidence)?), &tx).await
        }
        Gov::Attest { motion, digest, tx } => {
            send_call(context, &call::attest(motion, parse_hash("the digest", &digest)?), &tx).await
        }
        Gov::Tracks => {
            let (_, client) = context.connect().await?;
            context.answer(&client.tracks().await?, |tracks| track_lines(tracks))
        }
        Gov::Proposals => {
            let (_, client) = context.connect().await?;
            context.answer(&client.proposals(0).await?, |proposals| summary_lines(proposals))
        }
        Gov::Proposal { number, watch } => show_proposal(context, number, watch).await,
        Gov::Propose(what) => propose(context, &what).await,
        Gov::Cost { number, votes, account } => {
            let account = own_account(context, account.as_ref())?;
            let (_, client) = context.connect().await?;
            context.answer(&client.vote_cost(&account, number, votes).await?, cost_words)
        }
        Gov::Vote { number, votes, spam, reason, tx } => {
            vote(context, number, votes, spam, reason.as_deref(), &tx).await
        }
        Gov::Commit { number, votes, spam, output, tx } => commit(context, number, votes, spam, &output, &tx).await,
        Gov::Reveal { file, tx } => reveal(context, &file, &tx).await,
        Gov::Delegate { track, owner, tx } => {
            send_call(context, &call::delegate(parse_track(&track)?, owner), &tx).await
        }
        Gov::Undelegate { track, tx } => send_call(context, &call::undelegate(parse_track(&track)?), &tx).await,
        Gov::Delegations { account } => {
            let account = own_account(context, account.as_ref())?;
            let (_, client) = context.connect().await?;
            context.answer(&client.delegations(&account).await?, |list| delegation_lines(list))
        }
        Gov::Contest { number, tx } => send_call(context, &call::contest(number), &tx).await,
        Gov::Withdraw { number, tx } => send_call(context, &call::withdraw(number), &tx).await,
    }
}

/// The account that is named, or that of the only key.
fn own_account(context: &Context, name: Option<&String>) -> Result<AccountId> {
    match name {
        Some(name) => context.account(name),
        None => Ok(context.choose_key(None)?.account),
    }
}

fn parse_track(name: &str) -> Result<TrackId> {
    TrackId::ALL.into_iter().find(|track| track.name() == name).ok_or_else(|| {
        let known = TrackId::ALL.map(TrackId::name).join(", ");
        WalletError::Usage(format!("there is no track `{name}`, only {known}"))
    })
}

async fn show_owner(context: &Context, name: Option<&String>) -> Result<()> {
    let account = own_account(context, name)?;
    let (_, client) = context.connect().await?;
    let unknown = || ClientError::NotFound { what: format!("owner of account {}", account_text(&account)) };
    let owner = client.owner(&account).await?.ok_or_else(unknown)?;
    let credits = client.credits(&account).await?;
    context.answer(&OwnerAnswer { owner, credits }, |answer| {
        let OwnerAnswer { owner, credits } = answer;
        let mut lines = vec![format!("owner {}, since slot {}", owner.owner, owner.since_slot)];
        lines.extend(owner.accounts.iter().map(|account| format!("  {}", account_text(account))));
        lines.push(match (credits.eligible_from, owner.revoked) {
            (_, Some(evidence)) => format!("revoked, evidence {}", hex_text(evidence)),
            (Some(from), _) if from > credits.epoch => format!("votes from epoch {from} on (now {})", credits.epoch),
            _ => format!(
                "epoch {}: {} of {} credits left ({} spent, {} locked by sealed votes)",
                credits.epoch, credits.remaining, credits.total, credits.spent, credits.locked
            ),
        });
        lines.join("\n")
    })
}

async fn propose(context: &Context, what: &Propose) -> Result<()> {
    let (network, client) = context.connect().await?;
    let (bytes, track, options) = proposed(context, &client, what).await?;
    let track = options.track.as_deref().map_or(Ok(track), parse_track)?;
    let description = client.description().await?;
    // The call is read as it stands before anybody is asked to sign that it be carried out.
    description.call_value(&bytes)?;
    let simulation = client.simulate(track, &bytes).await?;
    match &simulation.error {
        Some(error) => context.say(&format!("tried now, the call would fail: {error}")),
        None => context.say(&format!(
            "tried now, the call changes {} entries of the state (hash {})",
            simulation.changes_count,
            hex_text(simulation.hash)
        )),
    }
    let call = call::propose(track, &bytes, options.delay, Some(simulation.hash));
    send_over(context, &network, &client, &call, &options.tx).await
}

/// The bytes of what is proposed, the track that is meant for it, and how it is proposed.
async fn proposed<'a>(
    context: &Context,
    client: &Client,
    what: &'a Propose,
) -> Result<(Vec<u8>, TrackId, &'a ProposeOptions)> {
    let description = client.description().await?;
    Ok(match what {
        Propose::Market {
            fee_ppm,
            compensation_ppm,
            fail_run_slots,
            dispute_window_slots,
            ruling_slots,
            maintenance_ppm,
            options,
        } => {
            let old = client.deal_terms().await?;
            let new = x0_types::deal::DealTerms {
                fee_ppm: fee_ppm.unwrap_or(old.fee_ppm),
                compensation_ppm: compensation_ppm.unwrap_or(old.compensation_ppm),
                fail_run_slots: fail_run_slots.unwrap_or(old.fail_run_slots),
                dispute_window_slots: dispute_window_slots.unwrap_or(old.dispute_window_slots),
                ruling_slots: ruling_slots.unwrap_or(old.ruling_slots),
                maintenance_ppm: maintenance_ppm.unwrap_or(old.maintenance_ppm),
                ..old
            };
            if new == old {
                return Err(WalletError::Usage("name at least one parameter that is to change".into()));
            }
            (description.encode_call(&call::set_deal_terms(old, new))?, TrackId::Parameters, options)
        }
        Propose::Pay { to, amount, options } => {
            let call = call::spend(&context.account(to)?, parse_amount(amount)?);
            (description.encode_call(&call)?, TrackId::Treasury, options)
        }
        Propose::Call { call, options } => (parse_hex("the call", call)?, TrackId::Root, options),
    })
}

/// Casts votes after saying what they cost.
async fn vote(
    context: &Context,
    number: u32,
    votes: i8,
    spam: bool,
    reason: Option<&str>,
    options: &TxOptions,
) -> Result<()> {
    let key = context.choose_key(options.key.as_deref())?;
    let (network, client) = context.connect().await?;
    let cost = client.vote_cost(&key.account, number, votes).await?;
    context.say(&cost_words(&cost));
    if cost.remaining_after.is_none() {
        return Err(WalletError::Usage(format!("at most {} votes are possible here", cost.votes_max)));
    }
    let call = call::vote(number, votes, spam, reason);
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options }).await
}

/// Writes what opens the vote before anything is sent: a commitment without it is lost.
async fn commit(
    context: &Context,
    number: u32,
    votes: i8,
    spam: bool,
    output: &Path,
    options: &TxOptions,
) -> Result<()> {
    let key = context.choose_key(options.key.as_deref())?;
    let (network, client) = context.connect().await?;
    let owner = client
        .owner(&key.account)
        .await?
        .ok_or_else(|| ClientError::NotFound { what: format!("owner of account {}", account_text(&key.account)) })?;
    let description = client.description().await?;
    let salt = x0_crypto::random_salt().map_err(|error| WalletError::Usage(error.to_string()))?;
    let sealed = SealedVote { proposal: number, owner: owner.owner, votes, spam, salt };
    let file = SealedFile {
        kind: SEALED_KIND.to_owned(),
        genesis_hash: description.genesis_hash,
        proposal: number,
        owner: owner.owner,
        votes,
        spam,
        salt: Hash::from(salt),
    };
    if output.exists() {
        return Err(WalletError::Usage(format!("{} exists: a vote's file is never overwritten", output.display())));
    }
    let text = serde_json::to_string_pretty(&file)
        .map_err(|error| WalletError::Usage(format!("the vote cannot be written: {error}")))?;
    write_file(output, text.as_bytes(), 0o600)?;
    context.say(&format!("{} opens this vote: keep it, and reveal it in time", output.display()));
    let commitment = Hash::from(x0_crypto::blake2b_256(&sealed.preimage(&description.genesis_hash)));
    let call = call::commit_vote(number, commitment);
    send(Request { context, network: &network, client: &client, call: &call, key: &key, options }).await
}

async fn reveal(context: &Context, file: &Path, options: &TxOptions) -> Result<()> {
    let wrong = |reason: String| WalletError::Usage(format!("{} opens no vote: {reason}", file.display()));
    let read: SealedFile = serde_json::from_str(&read_settings(file)?).map_err(|error| wrong(error.to_string()))?;
    if read.kind != SEALED_KIND {
        return Err(wrong(format!("its kind is not {SEALED_KIND}")));
    }
    let (network, client) = context.connect().await?;
    if client.description().await?.genesis_hash != read.genesis_hash {
        return Err(wrong("it belongs to another chain".to_owned()));
    }
    let SealedFile { proposal, owner, votes, spam, salt, .. } = read;
    let call = call::reveal_vote(&SealedVote { proposal, owner, votes, spam, salt: salt.0 });
    send_over(context, &network, &client, &call, options).await
}

async fn show_proposal(context: &Context, number: u32, watch: bool) -> Result<()> {
    let (_, client) = context.connect().await?;
    let mut last = None;
    loop {
        let proposal = client.proposal(number).await?;
        if last.as_ref() != Some(&proposal) {
            context.answer(&proposal, proposal_words)?;
        }
        if !watch || proposal.terminal {
            return Ok(());
        }
        last = Some(proposal);
        tokio::time::sleep(WATCH).await;
    }
}

/// Parts per million as a percentage.
fn percent(ppm: u32) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}

/// "9 votes cost 81 of your 99 credits; 18 left".
fn cost_words(cost: &Cost) -> String {
    let noun = if cost.votes.unsigned_abs() == 1 { "vote costs" } else { "votes cost" };
    let head = format!("{} {noun} {} of your {} credits", cost.votes, cost.cost, cost.total);
    match cost.remaining_after {
        Some(left) if cost.standing == 0 => format!("{head}; {left} left"),
        Some(left) => {
            let change = match cost.difference {
                difference if difference < 0 => format!("{} come back", difference.unsigned_abs()),
                difference => format!("{difference} more than your {} votes now", cost.standing),
            };
            format!("{head} ({change}); {left} left")
        }
        None => format!("{head}, which is more than you have; at most {} votes", cost.votes_max),
    }
}

fn ballot_lines(ballot: &Ballot) -> [String; 3] {
    let name = if ballot.round == 0 { "ballot" } else { "second ballot" };
    let tally = &ballot.tally;
    [
        format!("{name}: slots {} to {}, {} owners may vote", ballot.began, ballot.ends, ballot.electorate),
        format!(
            "  {} votes for, {} against; {} owners for, {} against; {} call it spam",
            tally.ayes, tally.nays, tally.heads_for, tally.heads_against, tally.spam
        ),
        format!(
            "  needs {} of the votes and {} of the owners now: {}",
            percent(ballot.approval_needed_ppm),
            percent(ballot.support_needed_ppm),
            if ballot.passes { "passes" } else { "does not pass" }
        ),
    ]
}

fn why_words(why: &WhyFailed) -> String {
    match why {
        WhyFailed::NotPassed { approval, support, spam } => {
            let missing = match (approval, support) {
                (false, false) => "too few votes and too few owners in favour",
                (false, true) => "too few votes in favour",
                (true, false) => "too few owners in favour",
                (true, true) => "it did not pass for long enough",
            };
            format!("failed: {missing}{}", if *spam { "; called spam, its deposit is lost" } else { "" })
        }
        WhyFailed::NoPlace => "failed: its track never had a place for it".to_owned(),
        WhyFailed::Overturned => "failed: validators contested it, and the second ballot did not confirm it".to_owned(),
        WhyFailed::Withdrawn => "taken back".to_owned(),
        WhyFailed::CallFailed { error } => format!("failed: its call ended with {error}"),
    }
}

fn proposal_words(proposal: &Proposal) -> String {
    let call = proposal.call_name.as_deref().unwrap_or("a call whose bytes the chain does not keep any more");
    let mut lines = vec![
        format!("proposal {} ({}): {}", proposal.id, proposal.track.name(), proposal.state),
        format!("  {call}, hash {}", hex_text(proposal.call_hash)),
        format!("  by {}, deposit {}", account_text(&proposal.proposer), format_amount(proposal.deposit.0)),
    ];
    lines.extend(proposal.next.map(|slot| format!("  goes on in slot {slot}")));
    lines.extend(proposal.ballots.iter().flat_map(ballot_lines));
    lines.extend(proposal.why.as_ref().map(why_words));
    lines.join("\n")
}

fn summary_lines(proposals: &[Proposal]) -> String {
    if proposals.is_empty() {
        return "no proposals".to_owned();
    }
    let line = |proposal: &Proposal| {
        let call = proposal.call_name.as_deref().unwrap_or("(call not kept)");
        format!("{:>6}  {:<12} {:<16} {call}", proposal.id, proposal.track.name(), proposal.state)
    };
    proposals.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn track_lines(tracks: &[Track]) -> String {
    let line = |track: &Track| {
        let sealed = match (track.reveal_slots, track.envelope) {
            (Some(slots), Some(envelope)) => format!(", sealed ({envelope} credits each, {slots} slots to reveal)"),
            _ => String::new(),
        };
        format!(
            "{:<12} deposit {}, prepare {}, decide {}, confirm {}, enact after {} slots{sealed}",
            track.track.name(),
            format_amount(track.deposit.0),
            track.prepare_slots,
            track.decide_slots,
            track.confirm_slots,
            track.enact_slots
        )
    };
    tracks.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn delegation_lines(delegations: &[Delegation]) -> String {
    if delegations.is_empty() {
        return "no delegations".to_owned();
    }
    let line = |one: &Delegation| {
        let to = one.delegate.map(|owner| format!("owner {owner} votes for you")).unwrap_or_default();
        let numbers = one.delegators.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let from = if numbers.is_empty() { String::new() } else { format!("you vote for owners {numbers}") };
        format!("{:<12} {to}{from}", one.track.name())
    };
    delegations.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_read_as_people_count() {
        let cost = Cost {
            votes: 9,
            cost: 81,
            difference: 81,
            remaining_after: Some(18),
            votes_max: 9,
            standing: 0,
            total: 99,
        };
        assert_eq!(cost_words(&cost), "9 votes cost 81 of your 99 credits; 18 left");
        let less = Cost { votes: 3, cost: 9, difference: -72, remaining_after: Some(90), standing: 9, ..cost };
        assert_eq!(cost_words(&less), "3 votes cost 9 of your 99 credits (72 come back); 90 left");
        let much = Cost { remaining_after: None, votes_max: 4, ..cost };
        assert_eq!(
            cost_words(&much),
            "9 votes cost 81 of your 99 credits, which is more than you have; at most 4 votes"
        );
    }

    #[test]
    fn tracks_are_known_by_name() {
        assert_eq!(parse_track("treasury").unwrap(), TrackId::Treasury);
        let error = parse_track("taxes").unwrap_err().to_string();
        assert!(error.contains("taxes") && error.contains("parameters"), "{error}");
    }
}
