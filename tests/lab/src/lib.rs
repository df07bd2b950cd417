//! The lab: real validators in network namespaces, on wires that the lab cuts, slows and disturbs.
//!
//! ```text
//!   scenario --> [`network`] four x0-node processes from `x0-node testnet`, one namespace each
//!          \        |  kill, stop, clock, disk            ^ JSON-RPC through [`proxy`]
//!           \--> [`machine`] file system, service and operator's shell of a node's own: the manual, upgrades
//!                [`fabric`] tunnel devices, packets forwarded in user space under [`link`] rules (seeded)
//! ```
//!
//! # Correctness
//! * What a scenario concludes it reads over JSON-RPC and from files, with decoding of its own.
//! * Processes are killed by the id of their start, and end with the lab however it ends; so do namespaces.
//! * Everything random comes from the seed that a failing scenario prints.
//!
//! # Limits
//! Every wait has an end. The wires hold back 100,000 packets.
//!
//! # Errors
//! Scenarios fail with what they saw and the end of the validators' logs.
#![allow(
    clippy::missing_errors_doc,
    reason = "every function here fails with a readable account of what the scenario saw"
)]
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

pub mod fabric;
pub mod link;
pub mod machine;
pub mod netns;
pub mod network;
pub mod proxy;
pub mod scenarios;
pub mod testnet;
pub mod traffic;
pub mod validator;

pub use network::Network;
pub use validator::{Start, Validator};
