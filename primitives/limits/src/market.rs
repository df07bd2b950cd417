//! Limits of the market and of trust.

#[allow(unused_imports, reason = "doc links and sums name limits of the other groups")]
use crate::*;

// ---- market

/// Most live deals on one node.
pub const DEALS_PER_NODE_MAX: u32 = 32;
/// Most live listings of one provider.
pub const LISTINGS_PER_PROVIDER_MAX: u32 = 64;
/// Most agents that one deal's manifest names.
pub const MANIFEST_AGENTS_MAX: u32 = 16;
/// Longest region name, bytes.
pub const REGION_BYTES_MAX: u32 = 32;
/// Longest network endpoint in text, bytes.
pub const ENDPOINT_BYTES_MAX: u32 = 128;
/// Queue entries that the janitor works off in one block.
pub const JANITOR_CAP: u32 = 100;
/// Attempts before an entry that fails is reported as stuck (it stays in the queue).
pub const JANITOR_ATTEMPTS_MAX: u8 = 3;
/// Slots after which an entry that is reported as stuck is tried again by itself.
pub const JANITOR_STUCK_RETRY_SLOTS: u64 = 100;
/// Ended deals whose records stay in state; with one more, the oldest goes.
pub const CLOSED_DEALS_KEPT: u64 = 10_000;
/// The treasury's share of a provider's earnings, parts per million.
pub const FEE_PPM: u32 = 25_000;
/// The renter's share of a slashed bond, parts per million. Less than the whole, so that renting a
/// node and attacking it does not pay.
pub const COMPENSATION_PPM: u32 = 800_000;
/// Shares of the bond slashed at a provider's first, second and each further failure within
/// [`SLASH_WINDOW_MS`], parts per million.
pub const SLASH_LADDER_PPM: [u32; 3] = [50_000, 200_000, 1_000_000];
/// How long a failure counts on the slash ladder, milliseconds (90 days).
pub const SLASH_WINDOW_MS: u64 = 90 * 24 * 60 * 60 * 1_000;

// ---- trust

/// Slots for which an attestation counts in full: 24 hours of slots of six seconds.
pub const ATTESTATION_LIFE_SLOTS: u64 = 14_400;
/// Slots that may lie between an attestation's signature and its block.
pub const ATTESTATION_AGE_SLOTS_MAX: u64 = 100;
/// Slots in which a penalty halves: seven days.
pub const TRUST_HALF_LIFE_SLOTS: u64 = 7 * 14_400;
/// Longest life and half-life that governance may set, slots: one year.
pub const TRUST_SLOTS_MAX: u64 = 365 * 14_400;
/// Slots of an epoch: scores are computed once in each.
pub const TRUST_EPOCH_SLOTS: u64 = 600;
/// Nodes that one block passes while scores are computed.
pub const TRUST_NODES_PER_BLOCK: u32 = 32;
/// Epochs without a valid attestation after which an attested node takes no new deals.
pub const TRUST_SUSPENDED_AFTER_EPOCHS: u8 = 2;
/// Highest tier of an audit.
pub const AUDIT_TIER_MAX: u8 = 4;
/// Slots for which an audit counts: 90 days.
pub const AUDIT_LIFE_SLOTS: u64 = 90 * 14_400;
/// Audits of one node that stand at once.
pub const AUDITS_PER_NODE_MAX: u32 = 4;
/// Auditors at once.
pub const AUDITORS_MAX: u32 = 256;
/// Slots after which a conflict of auditors is over by itself: 90 days.
pub const AUDIT_CONFLICT_SLOTS: u64 = 90 * 14_400;
/// Conflicts that one block ends.
pub const AUDIT_CONFLICTS_PER_BLOCK: u32 = 4;
/// Entries of a node's audit log.
pub const AUDIT_LOG_ENTRIES: u32 = 16;
/// Binaries that governance approves at once.
pub const MEASUREMENTS_MAX: u32 = 64;
/// Versions of the formula that stay readable.
pub const TRUST_VERSIONS_MAX: u16 = 1_024;
/// Slots in which a provider confirms a funded deal.
pub const CONFIRM_DEADLINE_SLOTS: u64 = 100;
/// Shortest and longest term of a deal, slots.
pub const DEAL_TERM_SLOTS_MIN: u64 = 10;
/// Longest term of a deal, slots (about 720 hours of 6 s slots).
pub const DEAL_TERM_SLOTS_MAX: u64 = 432_000;
/// Most attributes of a listing or a request.
pub const ATTRIBUTES_MAX: u32 = 16;
/// Longest key of an attribute, bytes.
pub const ATTRIBUTE_KEY_BYTES_MAX: u32 = 32;
/// Longest text of an attribute, bytes.
pub const ATTRIBUTE_TEXT_BYTES_MAX: u32 = 64;
/// Most service checks of one manifest.
pub const SERVICE_CHECKS_MAX: u32 = 4;
/// Longest path of an HTTP check, bytes.
pub const CHECK_PATH_BYTES_MAX: u32 = 128;
/// Most steps of a listing's congestion curve.
pub const CONGESTION_STEPS_MAX: u32 = 8;
/// Smallest factor on a price, parts per million (a tenth).
pub const PRICE_FACTOR_PPM_MIN: u32 = 100_000;
/// Largest factor on a price, parts per million (ten times).
pub const PRICE_FACTOR_PPM_MAX: u32 = 10_000_000;
/// Most bids that stand for one request.
pub const BIDS_PER_REQUEST_MAX: u32 = 20;
/// Bids of an expired request that the janitor returns at once; the rest follows in the next blocks, so
/// that no entry costs more than a deal's pay-out.
pub const BIDS_RETURNED_PER_WAKE: u32 = 2;
/// Shortest time for bids, slots.
pub const BID_WINDOW_SLOTS_MIN: u64 = 2;
/// Longest time for bids, slots (about a day of 6 s slots): so long a bid can bind a provider.
pub const BID_WINDOW_SLOTS_MAX: u64 = 14_400;
/// Held from a provider for each bid, base units, unless governance says otherwise.
pub const BID_DEPOSIT: u128 = 10_000_000_000;
/// Smallest deposit for a bid that governance may set, base units.
pub const BID_DEPOSIT_MIN: u128 = 1;
/// Largest deposit for a bid that governance may set, base units.
pub const BID_DEPOSIT_MAX: u128 = 1_000_000_000_000_000;
/// The usual window of availability, slots (a day of 6 s slots).
pub const SLA_WINDOW_SLOTS: u64 = 14_400;
/// Shortest window of availability, slots.
pub const SLA_WINDOW_SLOTS_MIN: u64 = 10;
/// The usual promise of availability, parts per million.
pub const SLA_AVAILABILITY_PPM: u32 = 999_000;
/// Shortest notice of a provider that ends a deal early, slots (an hour of 6 s slots).
pub const NOTICE_SLOTS_MIN: u64 = 600;
/// Longest notice of a provider, slots (720 hours of 6 s slots).
pub const NOTICE_SLOTS_MAX: u64 = 432_000;
/// Most slots that a renter who cancels still pays for (a day of 6 s slots).
pub const CANCEL_NOTICE_SLOTS_MAX: u64 = 14_400;
/// Most accounts on one account's blocklist.
pub const BLOCKED_MAX: u32 = 64;
/// Largest fee that governance may set, parts per million.
pub const FEE_PPM_MAX: u32 = 200_000;
/// Largest share of a slash that a renter may get, parts per million: below the whole, so that renting
/// a node and attacking it does not pay.
pub const COMPENSATION_PPM_MAX: u32 = 900_000;
/// Longest run of DOWN or CONFLICT slots that governance may ask for.
pub const FAIL_RUN_SLOTS_MAX: u32 = 1_000;
/// CONFLICT slots in a row after which a deal is contested.
pub const CONFLICT_RUN_SLOTS: u32 = 3;
/// Share of CONFLICT and UNKNOWN slots in a deal above which it is contested, parts per million.
pub const CONTESTED_PPM: u32 = 100_000;
/// Slots for which a contested deal waits for a dispute (a day of 6 s slots).
pub const DISPUTE_WINDOW_SLOTS: u64 = 14_400;
/// Slots in which the validators may rule on a dispute (a week of 6 s slots).
pub const RULING_SLOTS: u64 = 7 * 14_400;
/// Longest wait for a dispute or a ruling that governance may set, slots (28 days of 6 s slots).
pub const DISPUTE_SLOTS_MAX: u64 = 28 * 14_400;
/// Share of the price of the contested slots that a party posts to open a dispute, parts per million.
pub const DISPUTE_BOND_PPM: u32 = 100_000;
/// Share of a deal's slots that announced maintenance may take, parts per million.
pub const MAINTENANCE_PPM: u32 = 10_000;
/// Largest share for maintenance that governance may set, parts per million.
pub const MAINTENANCE_PPM_MAX: u32 = 100_000;
/// Slots between an announcement of maintenance and its start, at least (an hour of 6 s slots).
pub const MAINTENANCE_LEAD_SLOTS: u64 = 600;
/// How far ahead maintenance may be announced, slots (30 days of 6 s slots).
pub const MAINTENANCE_AHEAD_SLOTS_MAX: u64 = 432_000;
/// Longest single maintenance, slots (a day of 6 s slots).
pub const MAINTENANCE_SLOTS_MAX: u64 = 14_400;
/// Announcements of maintenance that stand for one node.
pub const MAINTENANCE_ANNOUNCED_MAX: u32 = 4;

/// Deals, and listings, that one subscription to the market's notices follows.
pub const NOTICE_DEALS_MAX: usize = 64;
