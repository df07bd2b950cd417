//! The drop program: one classifier at the ingress of both ends of every wire, steered by one map in shared memory.
//!
//! ```text
//!   FaultMap (one array map, memory shared with this process)
//!     wire 0: mode | directions | threshold | seed | every | size | seen[2] | dropped[2]
//!     wire 1: ...
//!        ^ one store of `mode` is seen by both ends at once
//!   device a1 ingress: program(wire 0, direction b->a)      device b1 ingress: program(wire 0, direction a->b)
//! ```
//!
//! Faults act where packets *arrive*: a drop at the sending end would be told to the sender (`ENOBUFS`), and no
//! real black hole is so kind.

mod assembler;
mod kernel;
mod program;

pub use program::{Direction, Drops, Fault, FaultMap, WIRES_MAX, loses};
