//! The mesh's filter in the kernel: tags, handshake buckets, rules of playbooks, and counters.
//!
//! ```text
//!   daemon --allow/revoke, rules, arm--> MeshFilter --maps--> x0_ingress / x0_ingress_ip / x0_xdp
//!   data thread, status <--last_seen, totals-- FilterReader <--maps--/
//!   MeshGuard = MeshFilter, or the reason why there is none
//! ```
//!
//! The filter is not a boundary of security: a tag is 32 bits in clear text. It takes load away from
//! the process behind it, which checks every datagram's MAC and seal whatever the filter did.

mod config;
mod error;
mod filter;
mod guard;
mod reader;
mod rules;
mod stats;
#[cfg(test)]
mod tests;

pub use config::{
    BucketConfig, FILTER_PORTS_MAX, FILTER_RULES_MAX, FilterConfig, Hook, Mode, PeerAction, PeerId, PeerRule,
    PrefixAction, PrefixRule, TAGS_MAX_DEFAULT,
};
pub use error::FilterError;
pub use filter::MeshFilter;
pub use guard::{FilterStatus, MeshGuard};
pub use reader::FilterReader;
pub use stats::{PeerTraffic, Totals, Traffic};
