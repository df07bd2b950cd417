//! What the tests of several crates share: starting the product's programs, calling nodes, signing.
//!
//! The crate exists so that each of these is written once, and a test file begins with its subject.
//!
//! ```text
//!   ready     the READY line of any program, for tests with processes of their own
//!   process   Program --start--> Process: READY line, id, SIGTERM, SIGKILL, killed when dropped
//!   node      x0-node in a directory of its own, beside the program under test
//!   netns     (feature `netns`) network namespaces that end with the process
//!   rpc       ask, refusal, subscribe, next: JSON-RPC with answers that must be good
//!   sign      (feature `sign`) development accounts, transfers, transactions with the runtime's types
//!   tls       (feature `tls`) clients that believe X.509 certificates
//! ```
//!
//! # Correctness
//! * Everything here panics when it cannot do its work: a test that cannot set up must fail.
//! * Only processes that a test started are ended, by their id, and all of them are.
//! * Programs start without the `X0_*` variables of whoever runs the tests.
//!
//! # Limits
//! [`PATIENCE`] for everything that a working program does in a fraction of it.
//!
//! # Errors
//! Panics with the program's words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]
#![allow(clippy::missing_panics_doc, reason = "all of it panics, as the crate's documentation says")]

#[cfg(feature = "netns")]
pub mod netns;
pub mod node;
pub mod process;
pub mod ready;
pub mod rpc;
#[cfg(feature = "sign")]
pub mod sign;
#[cfg(feature = "tls")]
pub mod tls;

use std::time::{Duration, Instant};

/// How long a test waits for something that a working program does in a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is there.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that is free now.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
