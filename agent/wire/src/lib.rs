//! The byte formats of the mesh: every datagram that an agent sends or reads, and their limits.
//!
//! # Correctness
//! * Reading never panics and never reads past the end; what is written is read back the same.
#![no_std]
#![forbid(unsafe_code)]
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

pub mod limits;
