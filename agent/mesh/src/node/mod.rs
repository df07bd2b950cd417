//! The whole data plane of an agent, without sockets and clocks.
mod config;
mod counters;
mod filter;

mod overlay;
mod peers;
mod timers;

pub use config::{AuthorityView, Config, Identity, Peer, Rights, Rule, Underlay, UnderlayId};
pub use counters::Counters;
pub use filter::{RULES_MAX, RuleError, WEIGHT_NEUTRAL};
pub use overlay::{PREFIX_BITS, node_id, overlay_address};
pub use peers::{AuthorityError, PEER_ADDRESSES_MAX, PEERS_MAX};
