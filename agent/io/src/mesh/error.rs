//! What can go wrong between the mesh and the operating system.

use std::{io, net::SocketAddr};

/// Why a part of the data plane cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshIoError {
    /// A system call that the data plane cannot do without failed.
    #[error("{call}: {source}")]
    System {
        /// What was asked of the system.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The process may not do this.
    #[error("no right to {action} ({right} is needed)")]
    NotPermitted {
        /// What was tried.
        action: &'static str,
        /// The capability or the file that gives the right.
        right: &'static str,
    },
    /// There is no such network interface.
    #[error("there is no network interface {name:?}")]
    NoInterface {
        /// The name that was asked for.
        name: String,
    },
    /// An underlay's socket cannot be bound.
    #[error("underlay {name:?} cannot listen at {address}: {source}")]
    Bind {
        /// The underlay's name.
        name: String,
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A name does not fit into the kernel's 15 bytes.
    #[error("the interface name {name:?} has {length} bytes of at most 15, or a zero byte")]
    InterfaceName {
        /// The name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More underlays than the data thread serves.
    #[error("{count} underlays, at most {max}")]
    Underlays {
        /// How many were given.
        count: usize,
        /// How many are served.
        max: usize,
    },
    /// A number of the configuration is outside its bounds.
    #[error("{name} is {value}; it must be {min} to {max}")]
    OutOfBounds {
        /// The field's name.
        name: &'static str,
        /// The value that was given.
        value: u64,
        /// The least that is taken.
        min: u64,
        /// The most that is taken.
        max: u64,
    },
    /// The data thread has stopped, so that it does not take commands any more.
    #[error("the data thread has stopped")]
    Stopped,
    /// The data thread's queue of commands is full: it has more to do than it can.
    #[error("{waiting} commands wait for the data thread already")]
    Busy {
        /// How many commands wait.
        waiting: usize,
    },
    /// A thread of the data plane panicked; the text is the panic's.
    #[error("the {thread} thread panicked: {reason}")]
    Panicked {
        /// Which thread.
        thread: &'static str,
        /// What it said.
        reason: String,
    },
}

impl MeshIoError {
    /// The last error of the system, for a call.
    pub(crate) fn last(call: &'static str) -> Self {
        Self::System { call, source: io::Error::last_os_error() }
    }
}

/// Results of this module.
pub type Result<T, E = MeshIoError> = std::result::Result<T, E>;
