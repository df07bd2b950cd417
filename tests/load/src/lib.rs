//! Load generator and bench report.
//!
//! ```text
//!   keys, transfers (pre-signed) --open loop--> node over JSON-RPC --finalised heads--> observation
//!                                                                        \--> report (docs/qa)
//! ```
//!
//! # Correctness
//! * A transfer counts when a finalised block holds it: after the run every block's body is read and
//!   its transactions are matched by hash. What was only accepted does not count.
//! * Submission times follow the schedule, not the answers (open loop), so that a slow node cannot
//!   make its own latency look better.
//! * The raw verify rate of the signature library is measured in the same run on the same cores, so
//!   that results are ratios and survive a noisy machine.
//!
//! # Limits
//! A run ends by itself: each phase has a deadline.
#![allow(
    clippy::missing_errors_doc,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measuring tool: functions fail with a readable account, and figures are printed as decimals"
)]

pub mod account;
pub mod machine;
pub mod observe;
pub mod report;
pub mod run;
pub mod submit;
pub mod transfers;
