//! `x0 market`: finding, auctions, and what happens while a deal runs.

use std::time::Duration;

use x0_client::{
    amount::{format_amount, parse_amount},
    call::deals::{self as call, RequestTerms},
    rpc_types::{
        Amount, Number,
        market::{Capacity as CapacityShape, Deal, DealMeter},
        offers::{CloseReason, Found, Quote, Request as Asked, Search, SearchOrder, SearchPage},
    },
    text::{account_text, hex_text},
};
use x0_types::deal::{Capacity, Rate, Wanted};

use super::market::{deal_words, listing_lines, parse_mesh, parse_rate, rate_text};
use crate::{
    cli::{Deals, Order, RequestOptions, SearchOptions},
    context::Context,
    error::{Result, WalletError},
    send::send_call,
};

/// Between two looks at a watched deal.
const WATCH: Duration = Duration::from_millis(1_000);
/// Slots before the end of the deposit at which a watcher is warned: a day and an hour of slots of six seconds.
const LOW_BALANCE_SLOTS: [u64; 2] = [14_400, 600];

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Deals) -> Result<()> {
    match command {
        Deals::Search(options) => search(context, &options).await,
        Deals::Quote { listing, bandwidth, sessions, term } => {
            let capacity = CapacityShape { bandwidth_kbps: bandwidth, sessions };
            let (_, client) = context.connect().await?;
            context.answer(&client.quote(listing, &capacity, term).await?, quote_words)
        }
        Deals::Requests => {
            let (_, client) = context.connect().await?;
            context.answer(&client.requests().await?, |requests| request_lines(requests))
        }
        Deals::CloseReasons => {
            let (_, client) = context.connect().await?;
            context.answer(&client.close_reasons().await?, |reasons| reason_lines(reasons))
        }
        Deals::Request(options) => request(context, &options).await,
        Deals::Bid { request, listing, price, notice, tx } => {
            send_call(context, &call::bid(request, listing, parse_rate(&price)?, notice), &tx).await
        }
        Deals::Accept { request, bid, tx } => send_call(context, &call::accept(request, bid), &tx).await,
        Deals::WithdrawRequest { request, tx } => send_call(context, &call::withdraw_request(request), &tx).await,
        Deals::Decline { deal, tx } => send_call(context, &call::decline(deal), &tx).await,
        Deals::Agents { deal, agents, tx } => {
            let agents = agents.iter().map(|agent| context.account(agent)).collect::<Result<Vec<_>>>()?;
            send_call(context, &call::set_agents(deal, &agents), &tx).await
        }
        Deals::Block { account, tx } => send_call(context, &call::block(&context.account(&account)?), &tx).await,
        Deals::Unblock { account, tx } => send_call(context, &call::unblock(&context.account(&account)?), &tx).await,
        Deals::TopUp { deal, amount, tx } => send_call(context, &call::top_up(deal, parse_amount(&amount)?), &tx).await,
        Deals::Renewal { deal, limit, tx } => {
            send_call(context, &call::set_renewal(deal, parse_amount(&limit)?), &tx).await
        }
        Deals::Reclaim { deal, tx } => send_call(context, &call::reclaim(deal), &tx).await,
        Deals::Maintenance { listing, from, slots, withdraw, tx } => {
            let call = if withdraw {
                call::withdraw_maintenance(listing, from)
            } else {
                call::announce_maintenance(listing, from, slots)
            };
            send_call(context, &call, &tx).await
        }
        Deals::Dispute { deal, tx } => send_call(context, &call::dispute(deal), &tx).await,
        Deals::Rule { deal, counted, slash, tx } => send_call(context, &call::rule(deal, counted, slash), &tx).await,
        Deals::Watch { deal } => watch(context, deal).await,
        Deals::Notices(options) => super::notices::run(context, &options).await,
    }
}

async fn search(context: &Context, options: &SearchOptions) -> Result<()> {
    let search = Search {
        region: options.region.clone(),
        bandwidth_kbps_min: options.bandwidth,
        sessions_min: options.sessions,
        price_per_mbps_max: options.price_max.as_deref().map(parse_amount).transpose()?.map(Amount),
        term_slots: options.term.map(Number),
        availability_ppm_min: options.availability_ppm,
        order: match options.order {
            Order::Price => SearchOrder::Price,
            Order::Trust => SearchOrder::Trust,
            Order::Capacity => SearchOrder::Capacity,
            Order::Number => SearchOrder::Number,
        },
        cursor: options.cursor.clone(),
        limit: Some(options.limit),
        ..Search::default()
    };
    let (_, client) = context.connect().await?;
    context.answer(&client.search(&search).await?, page_lines)
}

async fn request(context: &Context, options: &RequestOptions) -> Result<()> {
    let agents = options.agents.iter().map(|agent| context.account(agent)).collect::<Result<Vec<_>>>()?;
    let rate_max = parse_rate(&options.price_max)?;
    let deposit = options.deposit.as_deref().map(parse_amount).transpose()?;
    let mesh = parse_mesh(&options.mesh)?;
    let region = options
        .region
        .as_ref()
        .map(|region| region.as_bytes().to_vec().try_into())
        .transpose()
        .map_err(|_| WalletError::Usage("this region's name is too long".into()))?;
    let (_, client) = context.connect().await?;
    let deposit = match deposit {
        Some(deposit) => deposit,
        None => whole_term(rate_max, options.term)?.max(client.deal_deposit_min().await?),
    };
    let terms = RequestTerms {
        capacity: Capacity { bandwidth_kbps: options.bandwidth, sessions: options.sessions },
        term_slots: options.term,
        rate_max,
        deposit,
        wanted: Wanted { region, cancel_notice_slots_max: u64::MAX, ..Wanted::default() },
        bid_slots: options.bid_slots,
        mesh,
        agents,
    };
    send_call(context, &call::request(&terms), &options.tx).await
}

/// What a whole term costs: ceiled, so that the last slot is covered. What is not used comes back.
fn whole_term(rate: Rate, term_slots: u64) -> Result<u128> {
    rate.amount_ceil(term_slots)
        .ok_or_else(|| WalletError::Usage("this price and term are too large: check them, or give --deposit".into()))
}

/// Shows a deal whenever its state or its slots change, until nothing follows.
async fn watch(context: &Context, number: u64) -> Result<()> {
    #[derive(serde::Serialize)]
    struct Report {
        #[serde(flatten)]
        deal: Deal,
        meter: Option<DealMeter>,
    }
    let (_, client) = context.connect().await?;
    let (mut last, mut warned) = (None, LOW_BALANCE_SLOTS.len());
    loop {
        let report = Report { deal: client.deal(number).await?, meter: client.deal_meter(number).await? };
        let seen = (report.deal.state.clone(), report.meter.as_ref().map(|meter| meter.closed_slot));
        if last.as_ref() != Some(&seen) {
            context.answer(&report, |report| deal_words(&report.deal, report.meter.as_ref()))?;
            last = Some(seen);
        }
        let left = report.meter.as_ref().map(|meter| meter.affordable_slots.0.saturating_sub(meter.good.0));
        let level = left.map_or(0, |left| LOW_BALANCE_SLOTS.iter().filter(|limit| left <= **limit).count());
        if !report.deal.terminal && warned != level {
            warned = level;
            if let Some(left) = left.filter(|_| level > 0) {
                context.say(&format!("the deposit lasts for {left} more good slots: top it up to go on"));
            }
        }
        if report.deal.terminal {
            return Ok(());
        }
        tokio::time::sleep(WATCH).await;
    }
}

fn page_lines(page: &SearchPage) -> String {
    if page.found.is_empty() {
        return "nothing found".to_owned();
    }
    let mut lines: Vec<String> = page.found.iter().map(found_lines).collect();
    lines.push(format!("{} of {} found", page.found.len(), page.total));
    lines.extend(page.next.as_ref().map(|next| format!("more: --cursor {next}")));
    lines.join("\n")
}

fn found_lines(found: &Found) -> String {
    format!(
        "{}\n  trust {:?} ({}.{:04} %)  availability {} ppm over {} slots, {:?}",
        listing_lines(std::slice::from_ref(&found.listing)),
        found.tier,
        found.score_ppm / 10_000,
        found.score_ppm % 10_000,
        found.sla.availability_ppm_min,
        found.sla.window_slots,
        found.sla.policy
    )
}

pub(super) fn quote_words(quote: &Quote) -> String {
    [
        format!("price {} (version {})", rate_text(&quote.rate), quote.version),
        format!("  network factor {} ppm, congestion {} ppm", quote.factor_ppm, quote.congestion_ppm),
        format!(
            "  deposit for the term {} (at least {})",
            format_amount(quote.deposit_for_term.0),
            format_amount(quote.deposit_min.0)
        ),
        format!("  provider's bond {} with its trust now", format_amount(quote.bond_now.0)),
        format!("  fee {} ppm of what the provider earns", quote.fee_ppm),
    ]
    .join("\n")
}

fn request_lines(requests: &[Asked]) -> String {
    if requests.is_empty() {
        return "no requests".to_owned();
    }
    let mut lines = Vec::new();
    for request in requests {
        lines.push(format!(
            "request {}: {} kbit/s, {} sessions for {} slots, at most {}, bids until slot {}",
            request.request,
            request.capacity.bandwidth_kbps,
            request.capacity.sessions,
            request.term_slots,
            rate_text(&request.rate_max),
            request.bids_until_slot
        ));
        lines.push(format!("  by {}, manifest {}", account_text(&request.renter), hex_text(request.manifest_hash)));
        lines.extend(request.bids.iter().map(|bid| {
            format!(
                "  bid {}: {} with listing {}, bond {}, by {}",
                bid.bid,
                rate_text(&bid.rate),
                bid.listing,
                format_amount(bid.bond.0),
                account_text(&bid.provider)
            )
        }));
    }
    lines.join("\n")
}

fn reason_lines(reasons: &[CloseReason]) -> String {
    let line = |reason: &CloseReason| {
        let blame = if reason.failure { ", the provider broke its promise" } else { "" };
        format!("{:>4}  {:<20} leads to {}{blame}", reason.code, reason.name, reason.state)
    };
    reasons.iter().map(line).collect::<Vec<_>>().join("\n")
}
