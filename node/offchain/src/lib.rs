//! Off-chain workers: probing agents and reporting what was seen.
//!
//! This crate exists so that a validator, without anybody asking, looks at every enrolled node once
//! in every measuring slot, over the path that a renter would use, and tells the chain what it saw.
//!
//! ```text
//!   slot s:  |--- moment (private per node) ---> TLS, nonce, receipt, signature ---|  margin |
//!            start                             + declared services, + trials              end
//!   targets from the head's state                                                           |
//!   end of s: hash of (observations, root of receipts, salt) --> commitment --> mempool <---+
//!   each head: what may be shown --> report; what is asked for --> receipt with its proof
//! ```
//!
//! Beside it, [`accuse`] reports what consensus proves: validators that contradicted themselves.
//!
//! # Correctness
//! * UP needs a receipt by the node's own key on chain, over the fresh nonce, for this slot and this
//!   prober. Everything else that the node could cause is DOWN; what this machine failed to do is
//!   "not probed".
//! * Each probe has a key of its own, and its moment is a private draw, so that a node cannot tell a prober from
//!   somebody who thinks of renting, nor one probe's maker from another's. What still tells: the address it comes
//!   from, and that it is none of the renter's agents, whose keys the node knows; service checks, trials and usage receipts are
//!   for that.
//! * The nonce of a probe is bound to this validator by a secret, so that nobody can show a receipt that another
//!   collected; the agent sees random bytes.
//! * A node that answers probes and does not serve what a manifest of its running deals declares is DOWN.
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
mod diary;
mod endpoint;
mod node_chain;
mod private;
mod probe;
mod receipts;
mod reporter;
mod service;
mod slot;
#[cfg(test)]
mod tests;
mod trial;
mod worker;

pub use accuser::accuse;
pub use chain::{Asked, Chain, ChainError, Gate, Message, Promise, Showing, Target};
pub use clock::{Clock, SlotClock, SystemClock};
pub use endpoint::EndpointPolicy;
pub use node_chain::NodeChain;
pub use probe::{ProbeFailure, Prober, Proved};
pub use receipts::{ReceiptStore, SlotReceipts};
pub use service::ServiceFault;
pub use worker::{ProbeConfig, ProbeHandle, ProbeStatus, ProbeWorker};
