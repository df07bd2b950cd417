//! Sockets of the agent: the responder over post-quantum TLS for probes and peers, the declared services,
//! and the mesh's data plane.
//!
//! ```text
//!   accept --> address limits --> ClientHello --> handshake --> frames --> Agent::answer
//!              (rate, count)      (async, no      (blocking      |            |
//!                                  crypto yet)     thread)       |       sign on a blocking thread
//!                                                                +<--- response frame
//!
//!   mesh:  TUN <--> data thread <--> UDP, one socket for each underlay        (see [`mesh`])
//! ```
//!
//! # Correctness
//! * No cryptography of public keys runs on an async thread: handshakes and signatures have their own
//!   threads, bounded in number, so a flood of handshakes cannot stop the answers under way.
//! * A peer counts only after [`x0_crypto::tls::peer`] has approved the connection: right key
//!   exchange, right chain. Any key is admitted; the receipt names it.
//! * The mesh's data thread runs no cryptography of public keys either, and shares nothing with the
//!   asynchronous threads but bounded queues.
//! * A response is sent whole or not at all, also when the agent stops.
//!
//! # Limits
//! [`Limits`], whose defaults are the `PROBE_*` constants of `x0-limits`. A peer that exceeds a limit
//! loses its connection, not the others theirs. Those of the mesh are in [`mesh::config`].
//!
//! # Errors
//! [`ResponderError`] when the responder cannot start. What single connections do wrong is counted in
//! [`ResponderStats`] and logged at level debug, because anybody can cause it. [`mesh::MeshIoError`] when
//! the data plane cannot start or go on.
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

mod address;
mod clock;
mod connection;
pub mod mesh;
mod responder;
mod services;
mod stats;

pub use clock::SystemClock;
pub use responder::{DrainReport, Limits, ProbeResponder, ResponderConfig, ResponderError, SharedAgent};
pub use services::{Pages, Services};
pub use stats::ResponderStats;
