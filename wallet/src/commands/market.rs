//! `x0 market`: let and rent mesh nodes.

use x0_client::{
    Client,
    amount::{format_amount, parse_amount},
    call::{self, ListingTerms, RentTerms},
    rpc_types::market::{
        Capacity as CapacityShape, DEAL_STATES, Deal, DealFilter, DealMeter, Listing, ListingFilter, Rate as RateJson,
        Solvency,
    },
    text::{account_text, hex_text, parse_hash},
};
use x0_types::{
    AccountId, Hash,
    deal::{Capacity, Rate, SlaTerms},
};

use super::deals::quote_words;
use crate::{
    cli::{ListNode, Market, Rent, TxOptions},
    context::Context,
    error::{Result, WalletError},
    send::{Request, send, send_call},
};

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Market) -> Result<()> {
    match command {
        Market::List(options) => list(context, &options).await,
        Market::Listings { provider, node, region, all } => {
            let filter = ListingFilter {
                provider: context.maybe_account(provider.as_ref())?,
                node: context.maybe_account(node.as_ref())?,
                region,
                include_retired: all,
                ..ListingFilter::default()
            };
            let (_, client) = context.connect().await?;
            context.answer(&client.listings(&filter).await?, |listings| listing_lines(listings))
        }
        Market::Listing { listing } => {
            let (_, client) = context.connect().await?;
            context.answer(&client.listing(listing).await?, |listing| listing_lines(std::slice::from_ref(listing)))
        }
        Market::Retire { listing, tx } => send_call(context, &call::retire(listing), &tx).await,
        Market::Rent(options) => rent(context, &options).await,
        Market::Confirm { deal, tx } => confirm(context, deal, &tx).await,
        Market::Settle { deal, tx } => send_call(context, &call::settle(deal), &tx).await,
        Market::Cancel { deal, tx } => send_call(context, &call::cancel(deal), &tx).await,
        Market::Deal { deal } => show_deal(context, deal).await,
        Market::Deals { renter, provider, node, state, live } => {
            let state = state.as_deref().map(parse_state).transpose()?;
            let filter = DealFilter {
                renter: context.maybe_account(renter.as_ref())?,
                provider: context.maybe_account(provider.as_ref())?,
                node: context.maybe_account(node.as_ref())?,
                state,
                live,
                ..DealFilter::default()
            };
            let (_, client) = context.connect().await?;
            context.answer(&client.deals(&filter).await?, |deals| deal_lines(deals))
        }
        Market::Further(command) => super::deals::run(context, command).await,
        Market::Solvency => {
            let (_, client) = context.connect().await?;
            context.answer(&client.solvency().await?, solvency_words)
        }
    }
}

/// Confirms a deal with the manifest that it has now.
async fn confirm(context: &Context, deal: u64, options: &TxOptions) -> Result<()> {
    let key = context.choose_key(options.key.as_deref())?;
    let (network, client) = context.connect().await?;
    let call = &call::confirm(deal, client.deal(deal).await?.manifest_hash);
    send(Request { context, network: &network, client: &client, call, key: &key, options }).await
}

async fn list(context: &Context, options: &ListNode) -> Result<()> {
    let call = call::list(&ListingTerms {
        node: context.account(&options.node)?,
        price: parse_rate(&options.price)?,
        capacity: Capacity { bandwidth_kbps: options.bandwidth, sessions: options.sessions },
        region: options.region.clone(),
        term_min_slots: options.term_min,
        term_max_slots: options.term_max,
        bond: parse_amount(&options.bond)?,
        sla: SlaTerms::default(),
    });
    send_call(context, &call, &options.tx).await
}

/// Reads a price per good slot: an amount, or an amount for several slots (`1 X0T/1000`).
pub(crate) fn parse_rate(text: &str) -> Result<Rate> {
    let (amount, slots) = match text.split_once('/') {
        Some((amount, slots)) => (amount, slots.trim().trim_end_matches("slots").trim_end_matches("slot").trim()),
        None => (text, "1"),
    };
    let den = if slots.is_empty() { 1 } else { slots.parse::<u64>().map_err(|_| wrong_rate(text))? };
    let rate = Rate { num: parse_amount(amount)?, den: u128::from(den) };
    if rate.is_valid() { Ok(rate) } else { Err(wrong_rate(text)) }
}

fn wrong_rate(text: &str) -> WalletError {
    WalletError::Usage(format!(
        "`{text}` is no price: an amount above zero, or an amount for a number of slots such as `1 X0T/1000`"
    ))
}

async fn rent(context: &Context, options: &Rent) -> Result<()> {
    let agents = options.agents.iter().map(|agent| context.account(agent)).collect::<Result<Vec<AccountId>>>()?;
    let deposit = options.deposit.as_deref().map(parse_amount).transpose()?;
    let mesh = parse_mesh(&options.mesh)?;
    let key = context.choose_key(options.tx.key.as_deref())?;
    let (network, client) = context.connect().await?;
    let listing = client.listing(options.listing).await?;
    if let Some(read) = options.version.filter(|read| *read != listing.version) {
        return Err(WalletError::Usage(format!(
            "the listing has version {} now, not {read}: look at its terms again",
            listing.version
        )));
    }
    let capacity = Capacity {
        bandwidth_kbps: options.bandwidth.unwrap_or(listing.free.bandwidth_kbps),
        sessions: options.sessions.unwrap_or(listing.free.sessions),
    };
    let asked = CapacityShape { bandwidth_kbps: capacity.bandwidth_kbps, sessions: capacity.sessions };
    let quote = client.quote(options.listing, &asked, Some(options.term)).await?;
    let terms = RentTerms {
        listing: options.listing,
        version: listing.version,
        capacity,
        term_slots: options.term,
        deposit: deposit.unwrap_or(quote.deposit_for_term.0),
        // What is shown is the most that is paid: when the price rises meanwhile, the chain refuses.
        rate_max: Rate { num: quote.rate.num.0, den: quote.rate.den.0 },
        mesh,
        agents,
    };
    context.say(&listing_lines(std::slice::from_ref(&listing)));
    context.say(&quote_words(&quote));
    send(Request {
        context,
        network: &network,
        client: &client,
        call: &call::rent(&terms),
        key: &key,
        options: &options.tx,
    })
    .await
}

/// The name of a deal's state, whatever case it is written in.
fn parse_state(text: &str) -> Result<String> {
    DEAL_STATES.iter().find(|state| state.eq_ignore_ascii_case(text)).map(ToString::to_string).ok_or_else(|| {
        WalletError::Usage(format!("no deal has the state `{text}`; the states are {}", DEAL_STATES.join(", ")))
    })
}

/// A mesh: 32 bytes in hex, or the BLAKE2b-256 of a name.
pub(crate) fn parse_mesh(text: &str) -> Result<Hash> {
    if text.starts_with("0x") {
        return Ok(parse_hash("the mesh", text)?);
    }
    if text.is_empty() {
        return Err(WalletError::Usage("the mesh has no name".into()));
    }
    Ok(Hash::from(x0_crypto::blake2b_256(text.as_bytes())))
}

async fn show_deal(context: &Context, deal: u64) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Report {
        #[serde(flatten)]
        deal: Deal,
        meter: Option<DealMeter>,
    }
    let (_, client): (_, Client) = context.connect().await?;
    let report = Report { deal: client.deal(deal).await?, meter: client.deal_meter(deal).await? };
    context.answer(&report, |report| deal_words(&report.deal, report.meter.as_ref()))
}

pub(crate) fn rate_text(rate: &RateJson) -> String {
    match rate.den.0 {
        1 => format!("{}/slot", format_amount(rate.num.0)),
        den => format!("{} per {den} slots", format_amount(rate.num.0)),
    }
}

pub(crate) fn listing_lines(listings: &[Listing]) -> String {
    if listings.is_empty() {
        return "no listings".to_owned();
    }
    let lines = listings.iter().map(|listing| {
        format!(
            "listing {} v{} ({:?})  {}  node {}\n  price {}  free {} of {} kbit/s, {} of {} sessions\n  term {} to {} slots  bond {}{}",
            listing.id,
            listing.version,
            listing.state,
            listing.region,
            account_text(&listing.node),
            rate_text(&listing.price),
            listing.free.bandwidth_kbps,
            listing.capacity.bandwidth_kbps,
            listing.free.sessions,
            listing.capacity.sessions,
            listing.term_min_slots,
            listing.term_max_slots,
            format_amount(listing.bond.0),
            listing.endpoint.as_ref().map(|endpoint| format!("  at {endpoint}")).unwrap_or_default(),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn deal_lines(deals: &[Deal]) -> String {
    if deals.is_empty() {
        return "no deals".to_owned();
    }
    let lines = deals.iter().map(|deal| {
        let reason = deal.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!(
            "deal {:<6} {:<10}{reason}  deposit {}  bond {}  node {}",
            deal.id,
            deal.state,
            format_amount(deal.deposit.0),
            format_amount(deal.bond.0),
            account_text(&deal.node)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) fn deal_words(deal: &Deal, meter: Option<&DealMeter>) -> String {
    let mut lines = vec![
        format!(
            "deal {}: {}{}",
            deal.id,
            deal.state,
            deal.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
        ),
        format!("  listing   {} v{}", deal.listing, deal.version),
        format!("  renter    {}", account_text(&deal.renter)),
        format!("  provider  {}", account_text(&deal.provider)),
        format!("  node      {}", account_text(&deal.node)),
        format!("  capacity  {} kbit/s, {} sessions", deal.capacity.bandwidth_kbps, deal.capacity.sessions),
        format!("  rate      {}", rate_text(&deal.rate)),
        format!("  term      {} slots", deal.term_slots),
        format!("  deposit   {}", format_amount(deal.deposit.0)),
        format!("  bond      {}", format_amount(deal.bond.0)),
    ];
    if let Some(manifest) = &deal.manifest {
        lines.push(format!("  mesh      {}", hex_text(manifest.mesh)));
        lines.extend(manifest.agents.iter().map(|agent| format!("    agent   {}", account_text(agent))));
    }
    // The meter of a deal that is not measured any more says only what was earned.
    let measured = !deal.terminal && deal.frozen_block.is_none();
    if let Some(meter) = meter.filter(|_| measured) {
        lines.push(format!(
            "  slots     {}: {} good, {} bad, {} unknown, {} void ({} bad in a row)",
            meter.slots, meter.good, meter.bad, meter.unknown, meter.void, meter.down_run
        ));
        lines.push(format!(
            "  left      {}, good for {} slots in all",
            format_amount(meter.remaining.0),
            meter.affordable_slots
        ));
    }
    if let Some(meter) = meter {
        lines.push(format!("  earned    {} (paid out {})", format_amount(meter.gross.0), format_amount(meter.paid.0)));
    }
    if let Some(outcome) = &deal.outcome {
        let parts = [
            ("paid by the renter", outcome.gross.0),
            ("  to the provider", outcome.to_provider.0),
            ("  fee", outcome.fee.0),
            ("back to the renter", outcome.refund.0),
            ("slashed from the bond", outcome.slash.0),
            ("  to the renter", outcome.compensation.0),
        ];
        lines.push(format!("  closed after {} good slots:", outcome.good_slots));
        lines.extend(parts.iter().map(|(what, amount)| format!("    {what:<24} {}", format_amount(*amount))));
    }
    lines.join("\n")
}

fn solvency_words(solvency: &Solvency) -> String {
    let mut lines = vec![
        format!(
            "block {}: {}",
            solvency.number,
            if solvency.solvent { "the market holds what it owes" } else { "NOT SOLVENT" }
        ),
        format!("  live deals  {}", solvency.live_deals),
        format!(
            "  escrow      owed {}, held {}",
            format_amount(solvency.escrow_owed.0),
            format_amount(solvency.escrow_held.0)
        ),
        format!(
            "  bonds       owed {}, held {}",
            format_amount(solvency.bonds_owed.0),
            format_amount(solvency.bonds_held.0)
        ),
        format!(
            "  issuance    {}, accounts {}",
            format_amount(solvency.issuance.0),
            format_amount(solvency.accounts_total.0)
        ),
    ];
    lines.extend(solvency.violation.iter().map(|violation| format!("  broken: {violation}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_amounts_per_slot_or_per_slots() {
        let unit = x0_types::account::UNIT;
        assert_eq!(parse_rate("0.001 X0T").unwrap(), Rate { num: unit / 1000, den: 1 });
        assert_eq!(parse_rate("1 X0T/1000").unwrap(), Rate { num: unit, den: 1000 });
        assert_eq!(parse_rate("1 X0T / 1000 slots").unwrap(), Rate { num: unit, den: 1000 });
        assert_eq!(parse_rate("2u/slot").unwrap(), Rate { num: 2, den: 1 });
        for text in ["0 X0T", "1 X0T/0", "1 X0T/-1", "1/1000", "", "1 X0T/x"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mesh_is_a_hash_or_a_name() {
        let hash = format!("0x{}", "ab".repeat(32));
        assert_eq!(parse_mesh(&hash).unwrap(), Hash::repeat_byte(0xab));
        assert_ne!(parse_mesh("office").unwrap(), parse_mesh("home").unwrap());
        assert!(parse_mesh("").is_err() && parse_mesh("0xab").is_err());
    }
}
