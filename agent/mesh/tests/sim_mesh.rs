//! Meshes in a simulated network. Everything is seeded and in virtual time; what is printed are
//! distributions over seeds, in virtual microseconds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]

mod sim;

#[global_allocator]
static COUNTING: sim::memory::Counting = sim::memory::Counting;
