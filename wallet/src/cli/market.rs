//! The command line of `x0 market`.

use clap::{Args, Subcommand};

use super::TxOptions;

/// `x0 market`.
#[derive(Subcommand, Debug)]
pub enum Market {
    /// Offer a node.
    List(ListNode),
    /// What is on offer.
    Listings {
        /// Only this provider's.
        #[arg(long, value_name = "ACCOUNT")]
        provider: Option<String>,
        /// Only this node.
        #[arg(long, value_name = "ACCOUNT")]
        node: Option<String>,
        /// Only in this region.
        #[arg(long)]
        region: Option<String>,
        /// Retired ones as well.
        #[arg(long)]
        all: bool,
    },
    /// One listing.
    Listing {
        /// Its number.
        listing: u64,
    },
    /// Take a listing off the market; running deals go on.
    Retire {
        /// Its number.
        listing: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Rent a node: the deposit goes into escrow for this deal.
    Rent(Rent),
    /// Take a deal as its provider: the bond is posted, and the deal starts.
    Confirm {
        /// Number of the deal.
        deal: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// One deal with its meter.
    Deal {
        /// Its number.
        deal: u64,
    },
    /// Deals.
    Deals {
        /// Only this renter's.
        #[arg(long, value_name = "ACCOUNT")]
        renter: Option<String>,
        /// Only this provider's.
        #[arg(long, value_name = "ACCOUNT")]
        provider: Option<String>,
        /// Only on this node.
        #[arg(long, value_name = "ACCOUNT")]
        node: Option<String>,
        /// Only in this state: Requested, Bidding, Funded, Active, Suspect, Reclaiming, Frozen, Disputed,
        /// Completed, Cancelled, Reclaimed, Exhausted, Failed, Resolved or Expired.
        #[arg(long)]
        state: Option<String>,
        /// Only deals that are not over.
        #[arg(long)]
        live: bool,
    },
    /// Pay the provider what has accrued.
    Settle {
        /// Number of the deal.
        deal: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End a deal as its renter.
    Cancel {
        /// Number of the deal.
        deal: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Whether the market holds what it owes.
    Solvency,
    /// Finding, auctions, and what happens while a deal runs.
    #[command(flatten)]
    Further(super::Deals),
}

/// `x0 market list`.
#[derive(Args, Debug)]
pub struct ListNode {
    /// The node: its agent's account or DID.
    #[arg(long, value_name = "ACCOUNT")]
    pub node: String,
    /// Price of the whole capacity per good slot: `0.001 X0T`, or `1 X0T/1000` for 1 X0T per 1000 slots.
    #[arg(long, value_name = "AMOUNT[/SLOTS]")]
    pub price: String,
    /// Bandwidth, kbit/s.
    #[arg(long, value_name = "KBPS")]
    pub bandwidth: u32,
    /// Sessions at the same time.
    #[arg(long)]
    pub sessions: u32,
    /// Region, free text.
    #[arg(long)]
    pub region: String,
    /// Shortest term, slots.
    #[arg(long, value_name = "SLOTS")]
    pub term_min: u64,
    /// Longest term, slots.
    #[arg(long, value_name = "SLOTS")]
    pub term_max: u64,
    /// Bond for a deal over the whole capacity.
    #[arg(long, value_name = "AMOUNT")]
    pub bond: String,
    /// How the transaction is made.
    #[command(flatten)]
    pub tx: TxOptions,
}

/// `x0 market rent`.
#[derive(Args, Debug)]
pub struct Rent {
    /// Number of the listing.
    pub listing: u64,
    /// Length of the deal, slots.
    #[arg(long, value_name = "SLOTS")]
    pub term: u64,
    /// Deposit [default: the price of the whole term, at least the chain's minimum].
    #[arg(long, value_name = "AMOUNT")]
    pub deposit: Option<String>,
    /// Bandwidth, kbit/s [default: all that is free].
    #[arg(long, value_name = "KBPS")]
    pub bandwidth: Option<u32>,
    /// Sessions at the same time [default: all that are free].
    #[arg(long)]
    pub sessions: Option<u32>,
    /// The renter's mesh: a 32-byte hash, or a name whose BLAKE2b-256 is taken.
    #[arg(long, value_name = "NAME")]
    pub mesh: String,
    /// An agent of the mesh that may relay; once for each.
    #[arg(long = "agent", value_name = "ACCOUNT", required = true)]
    pub agents: Vec<String>,
    /// Version of the terms that was read; refused when the listing has changed since.
    #[arg(long)]
    pub version: Option<u32>,
    /// How the transaction is made.
    #[command(flatten)]
    pub tx: TxOptions,
}
