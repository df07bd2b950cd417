//! The whole data plane of an agent, without sockets and clocks.
//!
//! ```text
//!   UDP --datagram--> link --------> relay --------------------------> Sink::send
//!                        \---------> session ----> Sink::deliver --> TUN
//!   TUN --packet----> conversation: session, scheduler --> link -----> Sink::send
//!   timer --tick----> heartbeats, judgements, probes, gossip, handshakes
//!   chain --update_authority--> peers, keys, addresses, trust; playbooks --set_rules--> filter
//!   worker <--Sink::job-- signatures, verifications, routes --complete--> handshakes, gossip
//! ```
//!
//! # How it is driven
//! ```text
//!   loop {
//!     read what waits: mesh.datagram(..) for each datagram, mesh.packet(..) for each inner packet
//!     mesh.flush(now); if mesh.deadline() <= now { mesh.tick(now) }
//!     mesh.complete(now, done) for each answer of the worker
//!     sleep until mesh.deadline()
//!   }
//! ```
//!
//! # Correctness
//! * Nothing is delivered that its source did not seal for this node, nothing twice, and nothing whose
//!   source address is not that of the peer that sealed it.
//! * Nothing is relayed from or to a neighbour that has no right to it; a peer that loses its rights has
//!   no link, no session and no route when the call that took them returns.
//! * Every refusal has a counter. Time, randomness and results of slow work are arguments, so a run can
//!   be repeated.
//!
//! # Limits
//! `*_MAX` of this module: peers, links, conversations, waiting packets, jobs, rules, events.

mod config;
mod counters;
mod dialing;
mod dials;
mod filter;
mod gossip;
mod history;
mod job;
mod link_life;
mod links;
mod mesh;
mod neighbour;
mod overlay;
mod peers;
mod receive;
mod report;
mod routes;
mod shake;
mod sink;
mod slots;
mod status;
mod talk;
mod talks;
mod timers;
mod transmit;

pub use config::{AuthorityView, Config, Identity, Peer, Rights, Rule, Underlay, UnderlayId};
pub use counters::Counters;
pub use dials::{LINK_LIFE_MS, REDIAL_MS_FIRST, REDIAL_MS_MAX, YIELD_MS};
pub use filter::{RULES_MAX, RuleError, WEIGHT_NEUTRAL};
pub use history::HISTORY_MAX;
pub use job::{JOBS_MAX, Job, JobDone, JobKind};
pub use links::{LINKS_MAX, LINKS_PER_PEER_MAX};
pub use mesh::{ConfigError, Mesh, TAIL_POOL_BYTES, UNDERLAYS_MAX};
pub use overlay::{PREFIX_BITS, node_id, overlay_address};
pub use peers::{AuthorityError, PEER_ADDRESSES_MAX, PEERS_MAX};
pub use sink::{Cause, Event, Sink, Urgency};
pub use slots::{WAITING_BYTES_MAX, WAITING_PACKETS_MAX};
pub use status::{LinkStatus, SessionPaths, Status, TalkStatus};
pub use talks::{TALK_IDLE_MS, TALKS_MAX, WAITING_MS};
