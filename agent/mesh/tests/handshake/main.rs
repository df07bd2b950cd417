//! Handshakes between whole nodes, over good and bad wires, among friends and strangers.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]

mod attacks;
mod by_hand;
mod good_weather;
mod lossy;
mod world;
