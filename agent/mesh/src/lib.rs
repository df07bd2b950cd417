//! The mesh protocol without sockets, clocks and files.
//!
//! # Correctness
//! * Everything is a function of its arguments: time, randomness, datagrams and results of jobs come in as values.
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
pub mod session;
mod window;

pub use base::{Entropy, NodeId, Time};
pub mod node;
pub mod route;
