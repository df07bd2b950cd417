//! The byte formats of the mesh: every datagram that an agent sends or reads, and their limits.
//!
//! Agents and the packet filter in the kernel share this crate, so it has no allocator, no operating
//! system and no unsafe code; nothing here loops further than a named limit.
//!
//! ```text
//!  UDP payload
//!  +--------------------------- link header, 20 bytes ----------------------------+ n x 4    + rest
//!  | version:4 kind:4 | flags | labels:4 pointer:4 | ttl | link_tag u32 |         | labels   | body
//!  | link_seq u32 | hop_mac 8                                                     |          |
//!  +------------------------------------------------------------------------------+----------+------
//!   Hello Answer Proof Cookie   body: one handshake message             (handshake)
//!   Heartbeat Control Probe     body: sealed by the link's key          (heartbeat, control)
//!   Data                        body: session_index u32 | pn u64 | sealed by the session's key | tag
//!                                     0 u32             | one end-to-end handshake message   (handshake)
//! ```
//!
//! All numbers are in network order. [`Frame`] reads a datagram without copying it; [`Header::write`]
//! starts one; [`relay`](header::relay) rewrites one in place for the next hop.
//!
//! # Correctness
//! * Reading never panics and never reads past the end; what is written is read back the same.
//! * One form per meaning: reserved fields must be zero and only data carries labels, so that a
//!   datagram cannot be changed on its way without a reader noticing.
//!
//! # Limits
//! [`limits`]: each a constant with its reason.
//!
//! # Errors
//! [`WireError`]: one variant per broken rule, with its numbers.
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

pub mod control;
pub mod data;
mod error;
pub mod handshake;
pub mod header;
pub mod heartbeat;
mod labels;
pub mod limits;
mod mac;

pub use control::{ControlFragment, PathProbe, Probe};
pub use data::{DataBody, Inner, InnerKind};
pub use error::WireError;
pub use header::{Flags, Frame, Header, Kind};
pub use heartbeat::Heartbeat;
pub use labels::Labels;
pub use mac::HopKey;
