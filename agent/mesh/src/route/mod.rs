//! Where packets go: who is linked to whom, which routes are disjoint, which of them carries a packet, and what a
//! relay does with it.
//!
//! ```text
//!   neighbours' gossip --> state (signed records) --> Graph --+--> disjoint paths --> Scheduler (per session)
//!        ^                    |                               |                          |  tau, classes, explain
//!        +--- records, LINK_DOWN notices <--- Router          +--> bypasses --> RelayTable --> Decision per packet
//! ```
//!
//! [`Router`] is what a node composes: one for each mesh, control rate only. [`RelayTable`] is read for each relayed
//! packet and [`Scheduler::choose`] for each sent one; neither allocates.
//!
//! # How it is used
//! ```text
//!   let mut router = Router::new(RouterConfig { me, mesh, first_seq, seed }, now);
//!   router.link(now, OwnLink { label, neighbour, underlay, quality, state }, &mut out)  new, or anything changed
//!   router.link_gone(now, label, &mut out)
//!   router.message(now, label, body, &mut out)?        a control message of kind LINK_STATE came over that link
//!   router.signed(now, seq, Some(&signature))          answers Output::Sign
//!   router.verified(now, ticket, verdict, &mut out)    answers Output::Verify
//!   if router.planned(plan) { .. }                     answers Output::Plan (PlanRequest::run, on any thread):
//!                                                      give router.paths(&destination) to each Scheduler::set_paths
//!   router.want(destination), router.unwant(&destination), router.exclude(nodes), router.forget(now, &node)
//!   router.relay().decide(&RelayInput { .. })          for each frame; then router.used(now, from, &labels[pointer..])
//!   router.tick(now, &mut out) at router.deadline()
//!
//!   let mut scheduler = Scheduler::new(destination, seed, now);    one for each session
//!   scheduler.link(now, label, state)                  each own link, before and whenever it changes
//!   scheduler.set_paths(now, paths), .notice(now, &owner, label), .delivered(now, id, sent)
//!   scheduler.measured(id, measure), .weigh(id, trust_q16, preference)
//!   let tick = scheduler.tick(now) at scheduler.deadline(): send tick.probes(), each told with .probe_sent(now, id)
//!   let choice = scheduler.choose(now, class, flow_hash); for lane in choice.iter() { .. }
//!   Every call that returns Some(Switch) changed the primary route: replay the tail on it.
//! ```
//!
//! # Correctness
//! * [`relay`](RelayTable::decide): no frame passes more than eight relays, and none is repaired twice.
//! * [`Graph`]: one liar can remove its own links and can neither invent nor praise a link to an honest node.
//! * Every choice is a function of the calls made before; integers only, no clock, no randomness but a seed.
//!
//! # Limits
//! The `ROUTE_*` constants of `x0_mesh_wire::limits`.
//!
//! # Errors
//! [`Refusal`] for what neighbours send, [`DropReason`] for frames; both are counted.

mod bypass;
mod candidate;
mod choice;
mod error;
mod explain;
mod graph;
mod message;
mod notice;
mod output;
mod own;
mod paths;
mod peer;
mod pheromone;
mod plan;
mod record;
mod relay;
mod router;
mod schedule;
mod state;

pub use bypass::{Bypass, Bypasses, bypasses};
pub use candidate::{Lane, Measure};
pub use choice::{Choice, Class, Tick};
pub use error::{Refusal, RefusalCounters};
pub use explain::{Cause, Evidence, Explanation, HopExplanation, PathExplanation, PathState, Switch, SwitchReason};
pub use graph::{Edge, Graph, cost_us};
pub use message::Message;
pub use output::{Output, RouterConfig};
pub use own::OwnLink;
pub use paths::{Disjointness, Hop, Path, PathId, disjoint_paths, shortest_path};
pub use pheromone::{Pheromone, QualityInput, TAU_MAX, TAU_MIN, TICK_NS, link_quality, quality, tick_of};
pub use plan::{Plan, PlanRequest, candidates};
pub use record::{Adjacency, LinkRecord, SignedRecord};
pub use relay::{Decision, DropReason, LinkState, RelayInput, RelayTable};
pub use router::Router;
pub use schedule::{DAMPING_MS, Scheduler};
pub use state::{DeltaClaim, LinkStateTable, Verdict, VerifiedRecord};
