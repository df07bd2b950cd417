//! The agent without sockets, clocks and files: whom it admits, what it answers, which phase it is in.
//!
//! ```text
//!   chain view --observe--> AdmissionList --admits?--> data plane (later)
//!                                |
//!   probe request ----answer-----+--> Answer: receipt to sign | reply | refusal
//!                        |
//!   events --handle--> Phase: Starting -> Enrolled -> Serving -> Draining -> Stopped
//! ```
//!
//! Everything here is a function of its arguments: time, peers and the chain come in as values, so
//! every behaviour can be tested and replayed. `x0-agent-io` adds sockets, `x0-agent` the process.
//!
//! # Correctness
//! * A foreign agent is admitted exactly while a deal on this node that names it is Active or Suspect
//!   in the newest view, and the view is not older than [`x0_limits::AGENT_VIEW_LIFE_MS`].
//! * A receipt is made in phase Serving only, for a slot that this agent's own clock confirms, and for
//!   one prober; a receipt for tomorrow cannot be collected today.
//!
//! # Limits
//! Rates, slots and list lengths: the `PROBE_*` and `AGENT_*` constants of `x0-limits`.
//!
//! # Errors
//! [`ViewError`] for a view of the chain that breaks a bound, [`PhaseError`] for an event that does
//! not fit the phase. What a prober gets refused is a [`Refusal`], not an error.
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

mod admission;
mod agent;
mod clock;
mod lifecycle;
mod rate;

pub use admission::{AdmissionList, ChainView, DealView, ViewError};
pub use agent::{Agent, Answer, Counters, LinkUse, Refusal, ViewOutcome, sign_receipt};
pub use clock::{Now, SlotClock};
pub use lifecycle::{Event, Phase, PhaseError};
pub use rate::RateLimiter;
