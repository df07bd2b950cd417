//! The mesh protocol of agents, without sockets, clocks and files: how two nodes agree on keys, how a
//! link is known to live, which routes packets take, and how a session survives the loss of a route.
//!
//! ```text
//!                 +---------------------------- node: Mesh -----------------------------+
//!   datagrams <-->| link: liveness, quality   <---- handshake: ML-KEM-768 + X25519,     |<--> chain's view,
//!                 |   |                              ML-DSA-65 identities               |     rules
//!   inner     <-->| session: sealed once, on  <---- route: signed link states, disjoint |<--> jobs for a
//!   packets       |          several routes          paths, pheromones, relays          |     worker
//!                 +----------------------------------------------------------------------+
//! ```
//!
//! [`node::Mesh`] is what a program drives; `x0-agent-io` does so from its data thread. The byte formats
//! are in `x0-mesh-wire`, the keys in `x0-crypto`.
//!
//! # Correctness
//! * Everything is a function of its arguments: time, randomness, datagrams and results of jobs come in
//!   as values, so any second of a node's life can be replayed in a test.
//! * Nothing is believed before its MAC, seal or signature was checked, and nothing moves by what is not.
//! * What each part promises stands at the head of its module.
//!
//! # Limits
//! `x0_mesh_wire::limits` for what travels, the `*_MAX` constants of [`node`] for what a node keeps.
//!
//! # Errors
//! One enum for each part: [`handshake::Refusal`], [`link::LinkError`], [`session::SessionError`],
//! [`route::Refusal`], and those of [`node`]. What others send never fails a call; it is counted.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod base;
pub mod handshake;
pub mod link;
pub mod node;
pub mod route;
pub mod session;
mod window;

pub use base::{Entropy, NodeId, Time};
