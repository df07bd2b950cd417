//! The mesh's hands: UDP sockets, the tunnel device, carrier events, priorities, and the data thread
//! that runs the protocol between them.
//!
//! ```text
//!             TUN (super-packets)             UDP (GSO/GRO, kernel stamps)      netlink (carrier)
//!               |  segment / coalesce            |  batch / split                 |
//!               v                                v                                v
//!   +-----------------------------------------------------------------------------------------+
//!   | data thread: x0_mesh::Mesh, alone, SCHED_FIFO within a share                             |
//!   +-----------------------------------------------------------------------------------------+
//!        |  jobs (signatures, KEM)            |  outputs, bounded         ^  commands, bounded
//!        v                                    v                          |
//!     job threads, ordinary priority       daemon (tokio) ---------------+
//! ```
//!
//! # Correctness
//! See [`thread`] for who owns what, [`udp`] and [`tun`] for what stays in order, [`realtime`] for why
//! bulk data cannot starve the host.
//!
//! # Limits
//! [`config`] names them.
//!
//! # Errors
//! [`MeshIoError`] where the data plane cannot start or go on. Missing rights and offloads are warnings
//! in [`StartReport`], because a slower mesh is better than none.

pub mod config;
mod entropy;
pub mod error;
pub mod netlink;
pub mod realtime;
mod sys;
pub mod thread;
pub mod tun;
pub mod udp;
pub mod yggdrasil;

pub use config::{DeniedSource, MeshThreadConfig, Priority, TunnelConfig, UnderlayConfig};
pub use entropy::OsEntropy;
pub use error::MeshIoError;
pub use sys::{interface_index, interface_mtu, now};
pub use thread::{
    CaptureRequest, Captured, IoStatus, KernelSeen, MeshHandle, MeshThread, Opened, Output, Outputs, StartReport,
    StopReport, UnderlayReport,
};
