//! What the BPF programs and the loader share: map layouts, the packet parser, the filter's arithmetic.
//!
//! ```text
//!   frame ----> where the UDP header is      (Ethernet or bare IP, IPv4 options, IPv6 extension headers)
//!   header ---> which mesh datagram it is    (version, kind, labels, tag)
//!   rate -----> may it pass now              (one 64-bit word for each bucket)
//!   arrivals -> how regularly they come      (histogram, smoothed mean and deviation)
//!   layout ---> keys and values of the maps
//! ```
//!
//! # Correctness
//! Both sides compile this crate, so a key or a value cannot be read differently from how it was
//! written, and what the kernel runs is what the host's tests run. Everything in a map is `repr(C)`, a
//! multiple of eight bytes and free of padding. Functions are inlined into the programs; none loops
//! without a constant bound, indexes by a value that is not masked, or can panic, because the kernel's
//! verifier would refuse it.
//!
//! This crate depends on nothing, so that the committed object changes only when the programs do. The
//! parser of a link header is therefore written a second time here; a property test holds it to
//! `x0-mesh-wire`, the formats' home.
//!
//! # Limits
//! Those of [`layout`].
//!
//! # Errors
//! None: a function that cannot read a packet returns `None`, and the packet passes.
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

#[cfg(test)]
extern crate std;

pub mod arrivals;
pub mod frame;
pub mod header;
pub mod layout;
pub mod rate;
pub mod reason;

pub use layout::*;
pub use reason::Reason;
