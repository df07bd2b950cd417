//! The mempool in front of a real chain: real signatures, a real runtime, a real database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod admission;
mod blocks;
mod support;
