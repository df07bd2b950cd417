//! Says how the node is doing: metrics for Prometheus, health and readiness for supervisors.
//!
//! This crate exists so that every part of the node may count in its own plain numbers, and only one place
//! knows names, formats and the HTTP that machines ask over.
//!
//! ```text
//!   parts' stats() --[`Source`]--> [`Samples`] --+
//!   /proc/self, statvfs --[`process`]------------+--> text (OpenMetrics) --> GET /metrics
//!   the engine's own registry -------------------+
//!   [`Status`]: health, readiness ----------------------> JSON, 200 or 503 --> GET /health, /ready
//! ```
//!
//! # Correctness
//! * Values are read when they are asked for; nothing shown is older than the request.
//! * A metric has one name, kind and help: its [`Metric`] constant. Samples of one metric stand together.
//! * Reading runs on a blocking thread: a slow disk delays the answer and nothing else.
//!
//! # Limits
//! `TELEMETRY_CONNECTIONS_MAX` connections at once, one request each, `TELEMETRY_REQUEST_BYTES_MAX` for its
//! head, `TELEMETRY_REQUEST_MS` for all of it. Requests have no body.
//!
//! # Errors
//! [`TelemetryError`] when the listener does not start; a request gets 404, 405 or 503 and a reason.
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

mod exposition;
pub mod process;
mod server;
mod status;

pub use exposition::{Distribution, Kind, Metric, Samples, Source, Value};
pub use server::{Server, Telemetry, TelemetryError, serve};
pub use status::{Report, Status};
