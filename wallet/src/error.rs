//! What ends a command without success, and the exit code that says so.

use std::path::PathBuf;

use x0_client::{ClientError, ErrorClass, amount::AmountError, password::PasswordError};
use x0_crypto::{CryptoError, keystore::KeystoreError, mnemonic::MnemonicError};

/// Exit codes of `x0`. They are part of its interface: scripts rely on them (docs/operating/x0.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something unexpected: a full disk, a node of another version.
    Failure = 1,
    /// The command line or a value on it is wrong.
    Usage = 2,
    /// The node cannot be reached, or is not the expected one.
    Network = 3,
    /// The chain said no.
    Rejected = 4,
    /// Wrong password, missing or damaged key.
    Key = 5,
    /// The user said no.
    Cancelled = 6,
    /// The transaction was handed over and its fate is not known.
    Unknown = 7,
}

/// An error of the wallet.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// Between the wallet and the chain.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An amount that does not read.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// A keystore file.
    #[error("key `{name}`: {source}")]
    Keystore {
        /// Name of the key.
        name: String,
        /// What is wrong.
        source: KeystoreError,
    },
    /// A password that cannot be one.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A backup phrase that does not read.
    #[error(transparent)]
    Phrase(#[from] MnemonicError),
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// No key of this name.
    #[error("there is no key `{name}` in {}; `x0 keys list` shows what there is", home.display())]
    NoKey {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        home: PathBuf,
    },
    /// A key that signs for another account than this machine believes.
    #[error("key `{name}` signs for {account} since a rotation, and this machine does not know: `x0 keys bind {name}`")]
    Unbound {
        /// Name of the key.
        name: String,
        /// Its account.
        account: String,
    },
    /// Keystore files that cannot be read, among others that can.
    #[error("{} of the keys cannot be read: {}", .0.len(), .0.join("; "))]
    Damaged(Vec<String>),
    /// A key made for another role.
    #[error("key `{name}` has the role {found}, and this needs {expected}: one key has one role")]
    Role {
        /// Name of the key.
        name: String,
        /// Its role.
        found: String,
        /// The role needed.
        expected: String,
    },
    /// A value on the command line.
    #[error("{0}")]
    Usage(String),
    /// A file that cannot be read, written or understood.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A setting in a file of the wallet's own.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the name of the field.
        reason: String,
    },
    /// A question was answered with no.
    #[error("cancelled: nothing was done")]
    Cancelled,
    /// A question could not be asked.
    #[error("this needs a confirmation, and there is no terminal to ask on: check the call and pass --yes")]
    NoTerminal,
    /// Standard output was closed or is full.
    #[error("writing the answer: {0}")]
    Output(std::io::Error),
    /// A followed line broke; what follows is not known.
    #[error("the node ended the line: what happened since is not known, start again to go on")]
    LineEnded,
    /// A webhook's receiver did not take a message.
    #[error("webhook {address}: {reason}")]
    Webhook {
        /// Where it was posted.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// A task of the program's own died.
    #[error("an inner task failed: {0}")]
    Task(String),
}

impl WalletError {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => match error.class() {
                ErrorClass::Usage => Exit::Usage,
                ErrorClass::Network => Exit::Network,
                ErrorClass::Rejected => Exit::Rejected,
                ErrorClass::Unknown => Exit::Unknown,
                ErrorClass::Key => Exit::Key,
                ErrorClass::Incompatible => Exit::Failure,
            },
            Self::Amount(_) | Self::Usage(_) | Self::Config { .. } | Self::File { .. } | Self::NoTerminal => {
                Exit::Usage
            }
            Self::Keystore { .. }
            | Self::Password(_)
            | Self::Phrase(_)
            | Self::NoKey { .. }
            | Self::Role { .. }
            | Self::Unbound { .. }
            | Self::Damaged(_) => Exit::Key,
            Self::Cancelled => Exit::Cancelled,
            Self::LineEnded | Self::Webhook { .. } => Exit::Network,
            Self::Crypto(_) | Self::Output(_) | Self::Task(_) => Exit::Failure,
        }
    }

    /// A short stable name of the kind, for `--json`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(error) => error.kind(),
            Self::Amount(_) => "amount",
            Self::Keystore { source: KeystoreError::WrongPassword, .. } => "wrong-password",
            Self::Keystore { .. } => "keystore",
            Self::Password(_) => "password",
            Self::Phrase(_) => "phrase",
            Self::Crypto(_) => "crypto",
            Self::NoKey { .. } => "no-key",
            Self::Role { .. } => "role",
            Self::Unbound { .. } => "unbound",
            Self::Damaged(_) => "damaged",
            Self::Usage(_) => "usage",
            Self::File { .. } => "file",
            Self::Config { .. } => "config",
            Self::Cancelled => "cancelled",
            Self::NoTerminal => "no-terminal",
            Self::Output(_) => "output",
            Self::LineEnded => "line-ended",
            Self::Webhook { .. } => "webhook",
            Self::Task(_) => "internal",
        }
    }
}

/// The wallet's result.
pub type Result<T> = std::result::Result<T, WalletError>;
