//! What can be wrong with a network definition.

use std::path::PathBuf;

/// A network definition that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChainSpecError {
    /// The file cannot be read.
    #[error("cannot read the chain specification {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any definition.
    #[error("the chain specification has {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// [`x0_limits::CHAIN_SPEC_BYTES_MAX`].
        max: u64,
    },
    /// The text is not JSON.
    #[error("the chain specification is not JSON: {0}")]
    Syntax(serde_json::Error),
    /// A field that must be there is not.
    #[error("field `{path}` is missing")]
    Missing {
        /// The field.
        path: String,
    },
    /// A field that nobody knows: most often a typing error.
    #[error("field `{path}` is unknown; known here: {known}")]
    Unknown {
        /// The field.
        path: String,
        /// The fields that may stand there.
        known: String,
    },
    /// A value of a wrong kind or out of range.
    #[error("field `{path}`: {reason}")]
    Value {
        /// The field.
        path: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// Development keys could not be derived.
    #[error("development keys: {0}")]
    Crypto(#[from] x0_crypto::CryptoError),
    /// The runtime refuses the configuration as a whole.
    #[error(transparent)]
    Genesis(#[from] x0_runtime::genesis::GenesisError),
}
