//! Coverage-guided fuzzing of everything that reads bytes from outside.
//!
//! ```text
//!   cargo xtask fuzz --seconds 3        every file of targets/ for so long, with coverage of our crates
//!   fuzz/regressions/TARGET/*           inputs that once failed; they run first
//!   fuzz/seeds/TARGET/*                 inputs to begin with, where a few seconds from nothing reach nothing
//! ```
//!
//! # Correctness
//! A target fails when the code panics, hangs, takes more than a GiB, or breaks a property that the target
//! states: what was read can be written, and reads back as the same; after each block of a [`history`] the
//! state is in order.
//!
//! # Limits
//! Inputs of at most 64 KiB.
//!
//! # Errors
//! A failing input is written beside the corpus, and its path is printed.

pub mod history;

/// Reads, writes what was read, and reads that again: both readings must agree.
#[allow(clippy::panic, reason = "a panic is how a fuzz target reports")]
pub fn round_trip<T: PartialEq, E>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, E>, write: impl Fn(&T) -> Vec<u8>) {
    if let Ok(value) = read(bytes) {
        let written = write(&value);
        assert!(read(&written).is_ok_and(|again| again == value), "what was read reads back otherwise");
    }
}
