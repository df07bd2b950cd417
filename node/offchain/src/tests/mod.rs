//! The worker against agents over real TLS, and against a chain and a clock that the test controls.

mod agent;
mod fake;
mod probes;
mod real;
mod worker;
