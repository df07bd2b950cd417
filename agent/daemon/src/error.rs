//! What ends the agent, and the exit code that says so to its supervisor.

use std::path::PathBuf;

/// Exit codes of `x0-agent`, in line with those of `x0-node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Configuration, key or files do not fit: starting again changes nothing.
    Configuration = 1,
    /// Something failed that may work the next time.
    Restartable = 10,
}

/// An error of the daemon.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration file.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the name of the field.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The agent's key.
    #[error("{}: {source}", path.display())]
    Keystore {
        /// The keystore file.
        path: PathBuf,
        /// What is wrong.
        source: x0_crypto::keystore::KeystoreError,
    },
    /// A key of another role.
    #[error("{} holds a key of role {found}, and an agent needs a key of role agent: one key has one role", path.display())]
    Role {
        /// The keystore file.
        path: PathBuf,
        /// Its role.
        found: String,
    },
    /// The password.
    #[error(transparent)]
    Password(#[from] x0_client::password::PasswordError),
    /// The cryptographic library.
    #[error(transparent)]
    Crypto(#[from] x0_crypto::CryptoError),
    /// The node.
    #[error(transparent)]
    Client(#[from] x0_client::ClientError),
    /// The probe listener.
    #[error(transparent)]
    Responder(#[from] x0_agent_io::ResponderError),
    /// The socket that serves the status.
    #[error("status.path {}: {reason}", path.display())]
    StatusSocket {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The listener for metrics.
    #[error("metrics.address {address}: {source}")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The data plane of the mesh does not start.
    #[error("the mesh: {0}")]
    Mesh(#[from] crate::mesh::plane::PlaneError),
    /// The data plane of the mesh ended by itself.
    #[error("the mesh's data thread ended: {reason}")]
    MeshEnded {
        /// Why.
        reason: String,
    },
    /// The running agent says no.
    #[error("the agent says: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// No agent answers on the status socket.
    #[error("no agent answers on {}: {reason}", path.display())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Something of the operating system: signals, threads, standard output.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl AgentError {
    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Config { .. }
            | Self::File { .. }
            | Self::Keystore { .. }
            | Self::Role { .. }
            | Self::Password(_)
            | Self::StatusSocket { .. }
            | Self::Metrics { .. }
            | Self::Refused { .. }
            // As with x0-node: an address that is taken or not this machine's is a setting to change.
            | Self::Responder(x0_agent_io::ResponderError::Bind { .. })
            | Self::Client(
                x0_client::ClientError::Account { .. }
                | x0_client::ClientError::Url { .. }
                | x0_client::ClientError::Plaintext { .. },
            ) => Exit::Configuration,
            Self::Client(_)
            | Self::Responder(_)
            | Self::NoAgent { .. }
            | Self::System { .. }
            | Self::Crypto(_)
            | Self::Mesh(_)
            | Self::MeshEnded { .. } => Exit::Restartable,
        }
    }
}

/// The daemon's result.
pub type Result<T> = std::result::Result<T, AgentError>;
