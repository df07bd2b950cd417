//! The lab of meshes: topologies in namespaces, faults at known moments, and a stream that shows what they cost, for
//! our agent and for everything else that can be installed.
//!
//! ```text
//!   report --> campaign --> topology   namespaces, wires; ends with the process
//!     |           |            \------ bpf      drop program at both ends of each wire, one shared map
//!     |           |             \----- impair   wires with delay, jitter and reordering in user space
//!     |           |--> systems  ours, the bare wire, babeld, MPTCP, Yggdrasil, Nebula, three WireGuards
//!     |           |--> fault    classes of faults: set on the path in use, lifted
//!     |           |--> probe    1 kHz stream with kernel stamps --> outcome: lost, gap, own stalls
//!     |           \--> process  daemons that die with the lab, busy loops
//!     |--> speed   one TCP stream, processor time, memory
//!     \--> markdown, svg, JSON
//! ```
//!
//! # Correctness
//! * A fault is silent: packets are dropped where they arrive, so no sender learns of it. One store cuts both
//!   directions; the moment before and after it is recorded.
//! * Loss, jitter and the phases of faults follow from seeds (SplitMix64), never from the system's randomness.
//! * Arrivals carry kernel stamps; where the prober itself came late, the row says so.
//! * Namespaces and wires have no names outside of this process, and processes are tied to it: whatever ends the lab,
//!   SIGKILL included, leaves nothing behind but files: sockets of WireGuards and folders of logs, whose names hold the
//!   owner's id and which the next lab removes.
//!
//! # Limits
//! [`topology::PATHS_MAX`] paths, [`bpf::WIRES_MAX`] wires. Impaired wires carry single packets, not trains: they are
//! for latency. A seeded loss decides about what the kernel carries as one packet, which may be a train.
//!
//! # Errors
//! Everything fails with a readable account, and the end of the log of the daemon that was concerned. In a report, a
//! system that is missing or fails is a row that says why.
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

pub mod bpf;
pub mod campaign;
pub mod fault;
pub mod impair;
pub mod outcome;
pub mod probe;
pub mod process;
pub mod realtime;
pub mod report;
pub mod speed;
mod stream;
pub mod systems;
pub mod topology;
