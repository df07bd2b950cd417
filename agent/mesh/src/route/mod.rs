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

mod bypass;
mod candidate;
mod error;
mod explain;
mod graph;
mod paths;
mod pheromone;
mod record;
mod relay;
mod schedule;
mod state;

pub use bypass::{Bypass, Bypasses, bypasses};
pub use candidate::{Lane, Measure};
pub use error::{Refusal, RefusalCounters};
pub use explain::{
    Cause, Evidence, Explanation, HopExplanation, PathExplanation, PathState, Switch, SwitchReason,
};
pub use graph::{Edge, Graph, cost_us};
pub use paths::{Disjointness, Hop, Path, PathId, disjoint_paths, shortest_path};
pub use pheromone::{Pheromone, QualityInput, TAU_MAX, TAU_MIN, TICK_NS, link_quality, quality, tick_of};
pub use record::{Adjacency, LinkRecord, SignedRecord};
pub use relay::{Decision, DropReason, LinkState, RelayInput, RelayTable};
pub use schedule::{Choice, Class, DAMPING_MS, Scheduler, Tick};
pub use state::{DeltaClaim, LinkStateTable, Verdict, VerifiedRecord};
