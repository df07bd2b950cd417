//! `market_subscribe`: what happens to deals and listings, block by block, and warnings of deposits that run out.
//!
//! ```text
//!   finalised block --> events of the market --> those that the filter wants --> one message, if there are any
//!                  \--> meters of followed deals --> DepositLow, once until the deal is topped up
//! ```
//!
//! # Correctness
//! * Blocks come in order and without gaps; a reader that is slower than the node's history is told what it missed.
//! * A warning is sent once for each time a deposit falls to the limit.

use crate::{
    error::{RpcResult, invalid_params},
    feed::Waiting,
    market::{live_deals_of, takes_part},
    module::{Module, Registered},
    node::Node,
    params::Args,
};
use jsonrpsee::core::SubscriptionResult;
use pallet_x0_marketplace::{self as pallet, Event};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};
use x0_limits::NOTICE_DEALS_MAX;
use x0_rpc_types::{
    Amount, Number,
    notices::{Notice, NoticeFilter, Notices},
};
use x0_runtime::{Runtime, RuntimeEvent};
use x0_types::{
    AccountId,
    market::{DealId, ListingId},
};

/// Adds the subscription.
pub(crate) fn register(module: &mut Module) -> Registered {
    module.register_subscription(
        "market_subscribe",
        "market_notices",
        "market_unsubscribe",
        |params, pending, node, extensions| {
            let filter = Args::new(&params).and_then(filter);
            follow(filter, Waiting::new(pending, &extensions), Arc::clone(&node))
        },
    )?;
    Ok(())
}

fn filter(mut args: Args) -> RpcResult<NoticeFilter> {
    let filter: NoticeFilter = args.optional_text("filter")?.unwrap_or_default();
    args.end()?;
    for (name, found) in [("deals", filter.deals.len()), ("listings", filter.listings.len())] {
        if found > NOTICE_DEALS_MAX {
            return Err(invalid_params(format!("'{name}': {found} given, at most {NOTICE_DEALS_MAX} are followed")));
        }
    }
    if filter.low_slots.is_some() && filter.account.is_none() && filter.deals.is_empty() {
        return Err(invalid_params("'lowSlots' needs an account or deals to watch"));
    }
    Ok(filter)
}

/// Sends the notices of each block that becomes final from now on.
async fn follow(filter: RpcResult<NoticeFilter>, waiting: Waiting, node: Arc<Node>) -> SubscriptionResult {
    let mut updates = node.heads();
    let mut next = updates.borrow_and_update().number.saturating_add(1);
    let Some((filter, feed)) = waiting.judged(filter).await? else { return Ok(()) };
    let filter = Arc::new(filter);
    let mut watched = match first_watched(&node, &filter).await {
        Ok(watched) => watched,
        Err(cause) => return Err(cause.message().to_owned().into()),
    };
    loop {
        let newest = updates.borrow_and_update().number;
        while next <= newest {
            let (number, wanted, mut seen) = (next, Arc::clone(&filter), std::mem::take(&mut watched));
            let told = node.run(move |node| notices(node, number, &wanted, &mut seen).map(|told| (told, seen))).await;
            match told {
                Ok((told, seen)) => {
                    watched = seen;
                    if told.missed || !told.notices.is_empty() {
                        feed.send(&told).await?;
                    }
                }
                Err(cause) => return Err(cause.message().to_owned().into()),
            }
            next = next.saturating_add(1);
        }
        tokio::select! {
            changed = updates.changed() => changed?,
            () = feed.closed() => return Ok(()),
        }
    }
}

/// Deals whose deposits are watched, and whether the subscriber was warned.
type Watched = BTreeMap<DealId, bool>;

/// The deals that the filter names, and those of its account that run already.
async fn first_watched(node: &Arc<Node>, filter: &NoticeFilter) -> RpcResult<Watched> {
    if filter.low_slots.is_none() {
        return Ok(Watched::new());
    }
    let mut watched: Watched = filter.deals.iter().map(|deal| (deal.0, false)).collect();
    if let Some(account) = &filter.account {
        let live = live_deals_of(node, account, NOTICE_DEALS_MAX).await?;
        watched.extend(live.into_iter().map(|deal| (deal, false)));
    }
    Ok(watched)
}

/// The notices of one block.
fn notices(node: &Node, number: u32, filter: &NoticeFilter, watched: &mut Watched) -> RpcResult<Notices> {
    let block = node.database.hash_of(number).unwrap_or_default();
    if number < node.database.oldest_state() {
        return Ok(Notices { block, number, timestamp_ms: None, missed: true, notices: Vec::new() });
    }
    node.read(Some(block), |block| {
        let mut told = Vec::new();
        for record in frame_system::Pallet::<Runtime>::read_events_no_consensus() {
            let RuntimeEvent::Marketplace(event) = &record.event else { continue };
            let Some(known) = describe(event).filter(|known| known.is_wanted(filter)) else { continue };
            if let Some(deal) = known.deal.filter(|_| filter.low_slots.is_some() && watched.len() < NOTICE_DEALS_MAX) {
                watched.entry(deal).or_insert(false);
            }
            told.push(known.notice());
        }
        if let Some(Number(limit)) = filter.low_slots {
            told.extend(warnings(limit, watched));
        }
        let timestamp_ms = Some(pallet_timestamp::Now::<Runtime>::get());
        Notices { block, number, timestamp_ms, missed: false, notices: told }
    })
}

/// Warnings of deposits that fell to the limit. Deals that are over are watched no longer.
fn warnings(limit: u64, watched: &mut Watched) -> Vec<Notice> {
    let mut told = Vec::new();
    watched.retain(|deal, warned| {
        let over = pallet::Deals::<Runtime>::get(deal).is_none_or(|deal| deal.state.is_terminal());
        // A deal that is not confirmed yet has no meter.
        let Some(meter) = pallet::Pallet::<Runtime>::meter(*deal).filter(|_| !over) else { return !over };
        let left = meter.affordable_slots.saturating_sub(meter.good);
        if left <= limit && !*warned {
            let details = [("goodSlotsLeft", value(Number(left))), ("remaining", value(Amount(meter.remaining)))];
            told.push(Known::new("DepositLow", Some(*deal), None, &[], details).notice());
        }
        *warned = left <= limit;
        true
    });
    told
}

/// An event of the market as subscribers read it.
struct Known {
    name: &'static str,
    deal: Option<DealId>,
    listing: Option<ListingId>,
    /// Accounts that the event names, beside the deal's parties.
    accounts: Vec<AccountId>,
    details: Map<String, Value>,
}

impl Known {
    fn new<const N: usize>(
        name: &'static str,
        deal: Option<DealId>,
        listing: Option<ListingId>,
        accounts: &[&AccountId],
        details: [(&str, Value); N],
    ) -> Self {
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { name, deal, listing, accounts: accounts.iter().map(|account| (*account).clone()).collect(), details }
    }

    /// Whether the filter lets this pass. Call it on the state of the event's block.
    fn is_wanted(&self, filter: &NoticeFilter) -> bool {
        let all = filter.account.is_none() && filter.deals.is_empty() && filter.listings.is_empty();
        all || self.deal.is_some_and(|deal| filter.deals.contains(&Number(deal)))
            || self.listing.is_some_and(|listing| filter.listings.contains(&Number(listing)))
            || filter.account.as_ref().is_some_and(|account| self.concerns(account))
    }

    fn concerns(&self, account: &AccountId) -> bool {
        let parties =
            || self.deal.and_then(pallet::Deals::<Runtime>::get).is_some_and(|deal| takes_part(&deal, account));
        let offers = || {
            let listing = self.listing.and_then(pallet::Listings::<Runtime>::get);
            listing.is_some_and(|listing| listing.provider == *account || listing.node == *account)
        };
        self.accounts.contains(account) || parties() || offers()
    }

    fn notice(self) -> Notice {
        Notice {
            event: self.name.to_owned(),
            deal: self.deal.map(Number),
            listing: self.listing.map(Number),
            details: self.details,
        }
    }
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

fn slot(of: u64) -> Value {
    value(Number(of))
}

fn amount(of: u128) -> Value {
    value(Amount(of))
}

/// The event with its fields by name; `None` for what concerns no deal and no listing.
fn describe(event: &Event<Runtime>) -> Option<Known> {
    offers(event).or_else(|| bids(event)).or_else(|| life(event)).or_else(|| endings(event))
}

/// Events of listings.
fn offers(event: &Event<Runtime>) -> Option<Known> {
    let on = |name, listing: &ListingId| Known::new(name, None, Some(*listing), &[], []);
    Some(match event {
        Event::Listed { listing, provider, node } => Known::new(
            "Listed",
            None,
            Some(*listing),
            &[provider, node],
            [("provider", value(provider)), ("node", value(node))],
        ),
        Event::ListingUpdated { listing, version } => {
            Known::new("ListingUpdated", None, Some(*listing), &[], [("version", value(version))])
        }
        Event::ListingRetired { listing } => on("ListingRetired", listing),
        Event::ListingClosed { listing } => on("ListingClosed", listing),
        Event::ListingPaused { listing } => on("ListingPaused", listing),
        Event::ListingResumed { listing } => on("ListingResumed", listing),
        Event::FreeCapacityChanged { listing, free } => Known::new(
            "FreeCapacityChanged",
            None,
            Some(*listing),
            &[],
            [("bandwidthKbps", value(free.bandwidth_kbps)), ("sessions", value(free.sessions))],
        ),
        Event::MaintenanceAnnounced { listing, node, from_slot, to_slot } => Known::new(
            "MaintenanceAnnounced",
            None,
            Some(*listing),
            &[node],
            [("fromSlot", slot(*from_slot)), ("toSlot", slot(*to_slot))],
        ),
        Event::MaintenanceWithdrawn { listing, node, from_slot } => {
            Known::new("MaintenanceWithdrawn", None, Some(*listing), &[node], [("fromSlot", slot(*from_slot))])
        }
        _ => return None,
    })
}

/// Events before a deal begins.
fn bids(event: &Event<Runtime>) -> Option<Known> {
    Some(match event {
        Event::DealRequested { deal, renter, deposit, bids_until_slot, .. } => Known::new(
            "DealRequested",
            Some(*deal),
            None,
            &[renter],
            [("renter", value(renter)), ("deposit", amount(*deposit)), ("bidsUntilSlot", slot(*bids_until_slot))],
        ),
        Event::BidPlaced { deal, bid, provider, listing, rate, .. } => Known::new(
            "BidPlaced",
            Some(*deal),
            Some(*listing),
            &[provider],
            [("bid", value(bid)), ("provider", value(provider)), ("rate", value(crate::market::rate(*rate)))],
        ),
        Event::BidReturned { deal, bid, provider, amount: returned } => Known::new(
            "BidReturned",
            Some(*deal),
            None,
            &[provider],
            [("bid", value(bid)), ("provider", value(provider)), ("amount", amount(*returned))],
        ),
        Event::BidAccepted { deal, bid, provider } => Known::new(
            "BidAccepted",
            Some(*deal),
            None,
            &[provider],
            [("bid", value(bid)), ("provider", value(provider))],
        ),
        Event::BidForfeited { deal, provider, renter, amount: forfeited } => Known::new(
            "BidForfeited",
            Some(*deal),
            None,
            &[provider, renter],
            [("provider", value(provider)), ("amount", amount(*forfeited))],
        ),
        Event::RequestClosed { deal, renter, reason, deposit } => Known::new(
            "RequestClosed",
            Some(*deal),
            None,
            &[renter],
            [("reason", value(reason.name())), ("deposit", amount(*deposit))],
        ),
        Event::DealFunded { deal, listing, renter, provider, node, deposit, confirm_by_slot, .. } => Known::new(
            "DealFunded",
            Some(*deal),
            Some(*listing),
            &[renter, provider, node],
            [
                ("renter", value(renter)),
                ("provider", value(provider)),
                ("node", value(node)),
                ("deposit", amount(*deposit)),
                ("confirmBySlot", slot(*confirm_by_slot)),
            ],
        ),
        _ => return None,
    })
}

/// Events of a deal that runs.
fn life(event: &Event<Runtime>) -> Option<Known> {
    Some(match event {
        Event::DealConfirmed { deal, confirmed_slot, end_slot, bond } => about(
            "DealConfirmed",
            deal,
            [("confirmedSlot", slot(*confirmed_slot)), ("endSlot", slot(*end_slot)), ("bond", amount(*bond))],
        ),
        Event::DealStarted { deal, slot: at } => about("DealStarted", deal, [("slot", slot(*at))]),
        Event::DealSettled { deal, good_slots, to_provider, fee } => about(
            "DealSettled",
            deal,
            [("goodSlots", slot(*good_slots)), ("toProvider", amount(*to_provider)), ("fee", amount(*fee))],
        ),
        Event::DealSuspect { deal, slot: at, run } => {
            about("DealSuspect", deal, [("slot", slot(*at)), ("run", value(run))])
        }
        Event::DealRecovered { deal, slot: at } => about("DealRecovered", deal, [("slot", slot(*at))]),
        Event::DealToppedUp { deal, payer, amount: paid, affordable_slots } => Known::new(
            "DealToppedUp",
            Some(*deal),
            None,
            &[payer],
            [("payer", value(payer)), ("amount", amount(*paid)), ("affordableSlots", slot(*affordable_slots))],
        ),
        Event::RenewalSet { deal, limit } => about("RenewalSet", deal, [("limit", amount(*limit))]),
        Event::DealRenewed { deal, end_slot, amount: drawn, renewals } => about(
            "DealRenewed",
            deal,
            [("endSlot", slot(*end_slot)), ("amount", amount(*drawn)), ("renewals", value(renewals))],
        ),
        Event::DealReclaiming { deal, end_slot } => about("DealReclaiming", deal, [("endSlot", slot(*end_slot))]),
        Event::WindowConfirmed { deal, window, good_slots } => {
            about("WindowConfirmed", deal, [("window", slot(*window)), ("goodSlots", slot(*good_slots))])
        }
        Event::PromiseBroken { deal, first, last, breach } => about(
            "PromiseBroken",
            deal,
            [("first", slot(*first)), ("last", slot(*last)), ("breach", value(format!("{breach:?}")))],
        ),
        Event::SlotExcused { deal, slot: at, left } => {
            about("SlotExcused", deal, [("slot", slot(*at)), ("left", slot(*left))])
        }
        Event::ManifestChanged { deal, version, before, now } => about(
            "ManifestChanged",
            deal,
            [("version", value(version)), ("before", value(before)), ("now", value(now))],
        ),
        _ => return None,
    })
}

/// Events of a deal that ends.
fn endings(event: &Event<Runtime>) -> Option<Known> {
    Some(match event {
        Event::DealFrozen { deal, reason, slot: at, good_slots } => about(
            "DealFrozen",
            deal,
            [("reason", value(reason.name())), ("slot", slot(*at)), ("goodSlots", slot(*good_slots))],
        ),
        Event::DealContested { deal, held, until_slot } => {
            about("DealContested", deal, [("held", amount(*held)), ("untilSlot", slot(*until_slot))])
        }
        Event::DealDisputed { deal, opened_by, deadline_slot } => {
            about("DealDisputed", deal, [("openedBy", value(opened_by)), ("deadlineSlot", slot(*deadline_slot))])
        }
        Event::RulingGiven { deal, validator, ruling } => Known::new(
            "RulingGiven",
            Some(*deal),
            None,
            &[validator],
            [
                ("validator", value(validator)),
                ("countedSlots", slot(ruling.counted_slots)),
                ("slash", value(ruling.slash)),
            ],
        ),
        Event::DealRuled { deal, ruling } => {
            about("DealRuled", deal, [("countedSlots", slot(ruling.counted_slots)), ("slash", value(ruling.slash))])
        }
        Event::DealClosed { deal, state, reason, code, outcome } => about(
            "DealClosed",
            deal,
            [
                ("state", value(format!("{state:?}"))),
                ("reason", value(reason.name())),
                ("code", value(code)),
                ("goodSlots", slot(outcome.good_slots)),
                ("toProvider", amount(outcome.to_provider)),
                ("fee", amount(outcome.fee)),
                ("refund", amount(outcome.refund)),
                ("compensation", amount(outcome.compensation)),
                ("slash", amount(outcome.slash)),
                ("bondBack", amount(outcome.bond_back)),
            ],
        ),
        _ => return None,
    })
}

fn about<const N: usize>(name: &'static str, deal: &DealId, details: [(&str, Value); N]) -> Known {
    Known::new(name, Some(*deal), None, &[], details)
}
