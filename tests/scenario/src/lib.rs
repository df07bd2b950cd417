//! Scenario tests over real processes, sockets, signatures and disk, and the demo.
//!
//! ```text
//!   scenario --starts--> x0-node, x0-agent, x0      (real binaries, real sockets, a temporary folder)
//!            --reads---> plain JSON-RPC             (keys and decoding restated here, see `ledger`)
//! ```
//!
//! # Correctness
//! What a scenario concludes about money it computes from raw storage with its own decoding, not
//! with the product's. A process is killed by its id only, and every process that a scenario started
//! ends with it, also when the scenario panics.
//!
//! # Limits
//! Every wait has an end; what did not happen in time is an error that shows the end of the log.
#![allow(
    clippy::missing_errors_doc,
    reason = "every function here fails with a readable account of what the scenario saw"
)]

pub mod cluster;
pub mod dispute_job;
pub mod gateway;
pub mod ledger;
pub mod main_job;
pub mod market_job;
pub mod mesh_job;
pub mod process;
pub mod promises;
pub mod rpc;
pub mod torture;
pub mod wallet;

pub use cluster::Cluster;
pub use process::{Agent, Node};
pub use wallet::Wallet;
