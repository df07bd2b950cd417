//! `market_quote`, `market_requests`, `market_closeReasons`, `market_refundProof`: beside listings and deals.

use crate::{
    error::{RpcResult, error},
    market::{capacity, rate},
    module::{Module, Registered, blocking, quick},
    node::Node,
    params::Args,
};
use codec::Encode as _;
use pallet_x0_marketplace as pallet;
use std::sync::Arc;
use x0_rpc_types::{
    Amount, HexBytes, Number, error as code,
    market::{self as shape, PAGE_MAX},
    offers::{Bid, CloseReason, Quote, RefundProof, Request},
};
use x0_runtime::{Marketplace, Runtime, Trust};
use x0_types::{
    AccountId,
    deal::{Capacity, CloseReason as Reason, Request as Stored},
    market::{DealId, ListingId},
    trust::TrustSource as _,
};

/// Adds the methods.
pub(crate) fn register(module: &mut Module) -> Registered {
    blocking(module, "market_quote", quote)?;
    blocking(module, "market_requests", requests)?;
    quick(module, "market_closeReasons", close_reasons)?;
    blocking(module, "market_refundProof", refund_proof)
}

/// What a part of a listing costs now.
fn quote(node: &Node, mut args: Args) -> RpcResult<Quote> {
    let Number(listing) = args.required("listing")?;
    let wanted: shape::Capacity = args.required("capacity")?;
    let term_slots = args.optional("termSlots")?.map(|Number(slots)| slots);
    let at = args.block()?;
    args.end()?;
    let wanted = Capacity { bandwidth_kbps: wanted.bandwidth_kbps, sessions: wanted.sessions };
    node.read(at, |_| quoted(listing, &wanted, term_slots))?.ok_or_else(|| {
        error(code::NOT_FOUND, format!("Listing {listing} offers no such capacity (or there is no such listing)"))
    })
}

/// Call it on the state of a block.
fn quoted(listing: ListingId, wanted: &Capacity, term_slots: Option<u64>) -> Option<Quote> {
    let quote = Marketplace::quote(listing, wanted)?;
    let stored = pallet::Listings::<Runtime>::get(listing)?;
    let term = term_slots.unwrap_or(stored.offer.term_min_slots);
    let covered = quote.rate.amount_ceil(term)?.max(quote.deposit_min);
    let trust = Trust::reading(&stored.node);
    Some(Quote {
        version: quote.version,
        rate: rate(quote.rate),
        factor_ppm: quote.factor_ppm,
        congestion_ppm: quote.congestion_ppm,
        deposit_min: Amount(quote.deposit_min),
        deposit_for_term: Amount(covered),
        bond: Amount(quote.bond),
        bond_now: Amount(x0_accounting::bond_for_trust(quote.bond, trust.score_ppm)?),
        fee_ppm: pallet::Parameters::<Runtime>::get().fee_ppm,
    })
}

fn requests(node: &Node, mut args: Args) -> RpcResult<Vec<Request>> {
    let after = args.optional("after")?.map(|Number(after)| after);
    let limit: u32 = args.optional("limit")?.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let at = args.block()?;
    args.end()?;
    node.read(at, |_| {
        let mut all: Vec<_> = pallet::Requests::<Runtime>::iter()
            .filter(|(id, _)| after.is_none_or(|after| *id > after))
            .map(|(id, request)| request_shape(id, request))
            .collect();
        all.sort_unstable_by_key(|request| request.request.0);
        all.truncate(limit as usize);
        all
    })
}

fn request_shape(id: DealId, request: Stored<AccountId>) -> Request {
    Request {
        request: Number(id),
        renter: request.renter,
        capacity: capacity(request.capacity),
        term_slots: Number(request.term_slots),
        rate_max: rate(request.rate_max),
        deposit: Amount(request.deposit),
        manifest_hash: request.manifest_hash,
        bids_until_slot: Number(request.bids_until_slot),
        bids: request
            .bids
            .into_iter()
            .map(|bid| Bid {
                bid: bid.number,
                provider: bid.provider,
                node: bid.node,
                listing: Number(bid.source.listing),
                rate: rate(bid.rate),
                bond: Amount(bid.bond),
                sla: bid.sla,
                deposit: Amount(bid.deposit),
            })
            .collect(),
    }
}

fn close_reasons(_: &Arc<Node>, args: Args) -> RpcResult<Vec<CloseReason>> {
    args.end()?;
    Ok(Reason::ALL
        .into_iter()
        .map(|reason| CloseReason {
            name: reason.name().to_owned(),
            code: reason.code(),
            state: format!("{:?}", reason.terminal_state()),
            failure: reason.is_failure(),
        })
        .collect())
}

fn refund_proof(node: &Node, mut args: Args) -> RpcResult<RefundProof> {
    let Number(deal) = args.required("deal")?;
    let at = args.block()?;
    args.end()?;
    let (block, number) = node.block(at)?;
    let leaf = node.read(Some(block), |_| pallet::Leaves::<Runtime>::get(deal).map(|leaf| leaf.encode()))?;
    let Some(leaf) = leaf else {
        return Err(error(
            code::NOT_FOUND,
            format!("Deal {deal} is not paid out (or its record is not kept any more)"),
        ));
    };
    let key = Marketplace::leaf_key(deal);
    let proof = node
        .executor
        .read_proof(block, std::slice::from_ref(&key))
        .map_err(|cause| crate::state::executor_error(&cause))?;
    Ok(RefundProof {
        block,
        number,
        key: HexBytes(key),
        leaf: HexBytes(leaf),
        proof: proof.into_iter().map(HexBytes).collect(),
    })
}
