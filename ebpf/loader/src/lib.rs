//! Loads the agent's BPF programs, attaches them to interfaces, tells them what to let in and reads
//! what they count.
//!
//! ```text
//!   ebpf/object/x0-tc.o --load--> kernel --attach--> TC ingress (or XDP) of an interface
//!                                    \--maps--> Counters::peers()         the availability service
//!                                    \--maps--> mesh::{MeshFilter, FilterReader, MeshGuard}
//! ```
//!
//! # Correctness
//! The object is committed and embedded, so that an ordinary build needs no BPF tool chain. Programs
//! are attached by links that belong to file descriptors: dropping the owner detaches them, and a
//! killed process loses them with its descriptors. Where the kernel has no such links for TC (before
//! Linux 6.6) a program may survive a killed process; it then never enforces tags, and the next start
//! removes it.
//!
//! # Limits
//! [`x0_ebpf_shared::layout`] and [`mesh::FilterConfig`].
//!
//! # Errors
//! [`LoaderError`] tells missing rights apart from a missing interface and from a kernel that rejects
//! the program, because an agent goes on without its programs in the first case.
//! [`mesh::FilterError`] adds what only the filter can refuse.
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

mod counters;
mod hook;
mod interface;
pub mod mesh;
mod object;

pub use counters::Counters;
pub use object::{OBJECT, VERIFIED_INSTRUCTIONS_MAX};
pub use x0_ebpf_shared::{PeerCounters, Reason};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

/// Why a program is not there, or a map does not do what it is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// The process may not load BPF programs.
    #[error("no right to load BPF programs (root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, is needed)")]
    NotPermitted,
    /// There is no such network interface.
    #[error("there is no network interface {interface:?}")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The interface's frames begin with a header that the programs do not read.
    #[error("{interface} has link type {link_type} (ARPHRD); only Ethernet, loopback and bare IP are read")]
    LinkType {
        /// The interface.
        interface: String,
        /// The kernel's number for it, see `if_arp.h`.
        link_type: u16,
    },
    /// The kernel does not say what the interface is.
    #[error("the network interface {interface} cannot be looked at: {error}")]
    Interface {
        /// The interface.
        interface: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The kernel or the loader rejects the object.
    #[error("the kernel does not take the BPF object: {0}")]
    Object(#[from] EbpfError),
    /// The kernel rejects the program or its attachment.
    #[error("the BPF program cannot be attached: {0}")]
    Program(#[from] ProgramError),
    /// A map cannot be read or written.
    #[error("a BPF map cannot be used: {0}")]
    Map(#[from] MapError),
    /// The object lacks a program or a map that this version expects.
    #[error("the BPF object has no {0:?}")]
    Missing(&'static str),
    /// The system does not say how many CPUs it may have, which values of per-CPU maps need.
    #[error("the number of CPUs is unknown: {0}")]
    Cpus(std::io::Error),
}

/// Tells missing rights apart from every other failure, by the operating system's error at the root.
pub(crate) fn permitted<E: std::error::Error + 'static>(error: E, other: fn(E) -> LoaderError) -> LoaderError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && matches!(io.raw_os_error(), Some(libc::EPERM | libc::EACCES))
        {
            return LoaderError::NotPermitted;
        }
        source = current.source();
    }
    other(error)
}
