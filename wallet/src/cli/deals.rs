//! The command line of `x0 market`: finding, auctions, and what happens while a deal runs.

use clap::{Args, Subcommand, ValueEnum};

use super::TxOptions;

/// Further commands of `x0 market`.
#[derive(Subcommand, Debug)]
pub enum Deals {
    /// Look for listings.
    Search(SearchOptions),
    /// What a part of a listing costs now.
    Quote {
        /// Number of the listing.
        listing: u64,
        /// Bandwidth, kbit/s.
        #[arg(long, value_name = "KBPS")]
        bandwidth: u32,
        /// Sessions at the same time.
        #[arg(long, default_value_t = 1)]
        sessions: u32,
        /// Length, slots [default: the listing's shortest].
        #[arg(long, value_name = "SLOTS")]
        term: Option<u64>,
    },
    /// Requests that take bids, with the bids.
    Requests,
    /// Ask for bids: the deposit is held until a bid is taken or the time is over.
    Request(RequestOptions),
    /// Bid for a request.
    Bid {
        /// Number of the request.
        request: u64,
        /// The listing with which one serves.
        #[arg(long)]
        listing: u64,
        /// Price of the wanted capacity per good slot: `0.001 X0T`, or `1 X0T/1000`.
        #[arg(long, value_name = "AMOUNT[/SLOTS]")]
        price: String,
        /// Notice that one gives before ending the deal early, slots; 0 for never.
        #[arg(long, value_name = "SLOTS", default_value_t = 0)]
        notice: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Take a bid.
    Accept {
        /// Number of the request.
        request: u64,
        /// Number of the bid.
        bid: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Take one's own request back; everything that is held returns.
    WithdrawRequest {
        /// Its number.
        request: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Refuse a deal as its provider: the renter's deposit returns at once.
    Decline {
        /// Number of the deal.
        deal: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Name other agents that the node admits, while the deal runs.
    Agents {
        /// Number of the deal.
        deal: u64,
        /// All agents from now on.
        #[arg(required = true)]
        agents: Vec<String>,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Keep an account out of one's own deals.
    Block {
        /// The account.
        account: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End that.
    Unblock {
        /// The account.
        account: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Add to a deal's deposit; anybody may.
    TopUp {
        /// Number of the deal.
        deal: u64,
        /// How much.
        amount: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Let the deal renew itself from a reserve of this size; 0 ends that.
    Renewal {
        /// Number of the deal.
        deal: u64,
        /// How much is set aside.
        limit: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Give notice as the provider: the deal ends when the agreed notice has run out.
    Reclaim {
        /// Number of the deal.
        deal: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Announce maintenance of a listed node, or take it back with --withdraw.
    Maintenance {
        /// Number of the listing.
        listing: u64,
        /// Its first slot.
        #[arg(long, value_name = "SLOT")]
        from: u64,
        /// How long, slots.
        #[arg(long, default_value_t = 1)]
        slots: u64,
        /// Take the announcement back.
        #[arg(long)]
        withdraw: bool,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Dispute the record of a contested deal before it is paid; a stake is held.
    Dispute {
        /// Number of the deal.
        deal: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Rule on a dispute as a validator.
    Rule {
        /// Number of the deal.
        deal: u64,
        /// How many of the contested slots count as good after all.
        #[arg(long)]
        counted: u64,
        /// Take the recorded slash.
        #[arg(long)]
        slash: bool,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Follow a deal until nothing follows: state, slots, money, and a warning when the deposit runs low.
    Watch {
        /// Number of the deal.
        deal: u64,
    },
    /// Follow what happens to deals and listings: bids, confirmations, failures, payments, deposits that run low.
    Notices(NoticeOptions),
    /// All reasons for which a deal ends, with their numbers.
    CloseReasons,
}

/// What to hear of, and who else is told. Without account, deal and listing: the whole market.
#[derive(Args, Clone, Debug)]
pub struct NoticeOptions {
    /// What concerns this account, as renter, provider or node: a key's name or an address.
    #[arg(long)]
    pub account: Option<String>,
    /// What concerns this deal; may be given again.
    #[arg(long = "deal")]
    pub deals: Vec<u64>,
    /// What concerns this listing; may be given again.
    #[arg(long = "listing")]
    pub listings: Vec<u64>,
    /// Warn once when a deposit pays for at most so many further good slots; 0: never.
    #[arg(long, default_value_t = 600)]
    pub low_slots: u64,
    /// Also post each block's notices as JSON to this address on this machine, `http://127.0.0.1:PORT/PATH`.
    #[arg(long)]
    pub webhook: Option<String>,
}

/// In which order finds are shown.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Cheapest first.
    Price,
    /// Most trusted first.
    Trust,
    /// Most free bandwidth first.
    Capacity,
    /// Oldest first.
    Number,
}

/// `x0 market search`.
#[derive(Args, Debug)]
pub struct SearchOptions {
    /// Only in this region.
    #[arg(long)]
    pub region: Option<String>,
    /// Least free bandwidth, kbit/s.
    #[arg(long, value_name = "KBPS", default_value_t = 0)]
    pub bandwidth: u32,
    /// Least free sessions.
    #[arg(long, default_value_t = 0)]
    pub sessions: u32,
    /// Highest price of a megabit per second and slot.
    #[arg(long, value_name = "AMOUNT")]
    pub price_max: Option<String>,
    /// A term of this many slots must be possible.
    #[arg(long, value_name = "SLOTS")]
    pub term: Option<u64>,
    /// Least promised availability, ppm.
    #[arg(long, default_value_t = 0)]
    pub availability_ppm: u32,
    /// The order.
    #[arg(long, value_enum, default_value_t = Order::Price)]
    pub order: Order,
    /// Most finds.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// Go on after a page: the `next` of its answer.
    #[arg(long)]
    pub cursor: Option<String>,
}

/// `x0 market request`.
#[derive(Args, Debug)]
pub struct RequestOptions {
    /// Bandwidth, kbit/s.
    #[arg(long, value_name = "KBPS")]
    pub bandwidth: u32,
    /// Sessions at the same time.
    #[arg(long, default_value_t = 1)]
    pub sessions: u32,
    /// Length of the deal, slots.
    #[arg(long, value_name = "SLOTS")]
    pub term: u64,
    /// Highest price of the wanted capacity per good slot.
    #[arg(long, value_name = "AMOUNT[/SLOTS]")]
    pub price_max: String,
    /// Deposit [default: the highest price of the whole term, at least the chain's minimum].
    #[arg(long, value_name = "AMOUNT")]
    pub deposit: Option<String>,
    /// Only in this region.
    #[arg(long)]
    pub region: Option<String>,
    /// For how many slots bids are taken.
    #[arg(long, value_name = "SLOTS", default_value_t = 60)]
    pub bid_slots: u64,
    /// The renter's mesh: a 32-byte hash, or a name whose BLAKE2b-256 is taken.
    #[arg(long, value_name = "NAME")]
    pub mesh: String,
    /// An agent of the mesh that may relay; once for each.
    #[arg(long = "agent", value_name = "ACCOUNT", required = true)]
    pub agents: Vec<String>,
    /// How the transaction is made.
    #[command(flatten)]
    pub tx: TxOptions,
}
