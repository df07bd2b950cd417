//! Off-chain workers: probing agents and reporting what was seen.
//!
//! This crate exists so that a validator, without anybody asking, looks at every enrolled node once
//! in every measuring slot, over the path that a renter would use, and tells the chain what it saw.
//!
//! ```text
//!   slot s:  |--- phase (random per node) ---> TLS, nonce, receipt, signature ---|  margin |
//!            start                                                                         end
//!   targets from the head's state                                                           |
//!   end of s: observations + root of receipts --signed by the reporter key--> mempool <-----+
//! ```
//!
//! Beside it, [`accuse`] reports what consensus proves: validators that contradicted themselves.
//!
//! # Correctness
//! * UP needs a receipt by the node's own key on chain, over the fresh nonce, for this slot and this
//!   prober. Everything else that the node could cause is DOWN; what this machine failed to do is
//!   "not probed".
//! * One report per slot: slots are worked off in order and once per process, and before sending the
//!   state is asked, so that a restart does not report a slot again.
//! * A slot that fails, in whatever way, does not touch the next one.
//! * When nothing is enrolled, nothing is sent: an idle chain stays idle.
//!
//! # Limits
//! `PROBES_IN_FLIGHT_MAX`, `PROBE_TIMEOUT_MS`, `RECEIPTS_*`, `REPORT_*` of `x0-limits`.
//!
//! # Errors
//! [`ProbeFailure`] says why a node was not seen up, [`ChainError`] why the chain could not be read or
//! a report not be built. Neither stops the worker; both are logged and counted.
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

mod accuser;
mod chain;
mod clock;
mod endpoint;
pub mod merkle;
mod node_chain;
mod probe;
mod receipts;
mod reporter;
mod slot;
#[cfg(test)]
mod tests;
mod worker;

pub use accuser::accuse;
pub use chain::{Chain, ChainError, Gate, Target};
pub use clock::{Clock, SlotClock, SystemClock};
pub use endpoint::EndpointPolicy;
pub use node_chain::NodeChain;
pub use probe::{ProbeFailure, Prober};
pub use receipts::{ReceiptStore, SlotReceipts};
pub use worker::{ProbeConfig, ProbeHandle, ProbeStatus, ProbeWorker};
