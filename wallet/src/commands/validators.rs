//! `x0 validators`: what validators decide together.

use x0_client::{
    Call, call,
    rpc_types::validators::{Proposal, ValidatorPower, ValidatorsStatus},
    text::account_text,
};

use crate::{
    cli::{Action, TxOptions, Validators},
    context::Context,
    error::{Result, WalletError},
    send::send_over,
};

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Validators) -> Result<()> {
    match command {
        Validators::Show => {
            let (_, client) = context.connect().await?;
            context.answer(&client.validators().await?, words)
        }
        Validators::Propose(action) => propose(context, &action).await,
        Validators::Approve { number, tx } => {
            let (network, client) = context.connect().await?;
            let proposal = open(client.validators().await?, number)?;
            let description = client.description().await?;
            let inner = description.call_value(&proposal.call.0)?;
            let call = call::approve_encoded(number, inner, &proposal.call.0);
            send_over(context, &network, &client, &call, &tx).await
        }
        Validators::Withdraw { number, tx } => simple(context, &call::withdraw_approval(number), &tx).await,
        Validators::Leave { tx } => simple(context, &call::leave(), &tx).await,
        Validators::RefreshKey { tx } => simple(context, &call::refresh_consensus_key(), &tx).await,
    }
}

async fn simple(context: &Context, call: &Call, options: &TxOptions) -> Result<()> {
    let (network, client) = context.connect().await?;
    send_over(context, &network, &client, call, options).await
}

async fn propose(context: &Context, action: &Action) -> Result<()> {
    let (inner, options) = decision(context, action)?;
    let (network, client) = context.connect().await?;
    let description = client.description().await?;
    let bytes = description.encode_call(&inner)?;
    let status = client.validators().await?;
    // Two proposals with one content would each wait for the votes that the other one has.
    let number = match status.proposals.iter().find(|proposal| proposal.call.0 == bytes) {
        Some(proposal) => {
            context.say(&format!("proposal {} says the same already: this approves it", proposal.number));
            proposal.number
        }
        None => status.next_proposal,
    };
    send_over(context, &network, &client, &call::approve(number, inner), options).await
}

/// The call that a decision makes, and how it is sent.
fn decision<'a>(context: &Context, action: &'a Action) -> Result<(Call, &'a TxOptions)> {
    Ok(match action {
        Action::Admit { account, tx } => (call::admit_candidate(&context.account(account)?), tx),
        Action::Dismiss { account, tx } => (call::dismiss_candidate(&context.account(account)?), tx),
        Action::Add { account, power, tx } => (call::add_validator(&context.account(account)?, *power), tx),
        Action::Remove { account, tx } => (call::remove_validator(&context.account(account)?), tx),
        Action::Power { account, power, tx } => (call::set_power(&context.account(account)?, *power), tx),
        Action::Readmit { account, tx } => (call::readmit(&context.account(account)?), tx),
        Action::Upgrade { spec_version, height, tx } => (call::schedule_upgrade(*spec_version, *height), tx),
        Action::CancelUpgrade { tx } => (call::cancel_upgrade(), tx),
    })
}

fn open(status: ValidatorsStatus, number: u32) -> Result<Proposal> {
    status.proposals.into_iter().find(|proposal| proposal.number == number).ok_or_else(|| {
        WalletError::Client(x0_client::ClientError::NotFound { what: format!("open proposal {number}") })
    })
}

fn set_lines(set: &[ValidatorPower]) -> Vec<String> {
    let total: u128 = set.iter().map(|validator| u128::from(validator.power.0)).sum();
    set.iter()
        .map(|validator| format!("  {}  power {} of {total}", account_text(&validator.controller), validator.power))
        .collect()
}

fn words(status: &ValidatorsStatus) -> String {
    let mut lines = vec![format!("block {}, rules {}", status.number, status.spec_version)];
    lines.extend(status.upgrade.map(|upgrade| format!("rules {} from block {}", upgrade.spec_version, upgrade.height)));
    lines.push("validators:".to_owned());
    lines.extend(set_lines(&status.current));
    for set in &status.upcoming {
        lines.push(format!("from block {}:", set.from));
        lines.extend(set_lines(&set.validators));
    }
    lines.extend(status.candidates.iter().map(|account| format!("candidate {}", account_text(account))));
    lines.extend(
        status.barred.iter().map(|one| format!("barred {} since block {}", account_text(&one.controller), one.since)),
    );
    for proposal in &status.proposals {
        let name = proposal.name.as_deref().unwrap_or("a call that these rules do not know");
        lines.push(format!(
            "proposal {}: {name}, {} of {} approve, until block {}",
            proposal.number,
            proposal.approvals.len(),
            status.current.len(),
            proposal.expires_at
        ));
    }
    lines.join("\n")
}
