//! Errors of the storage crate.

use std::path::PathBuf;
use x0_types::{BlockNumber, Hash};

/// Why an operation on the data directory was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process holds the directory.
    #[error("{path} is in use by {}: stop that node first, or use another data directory",
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("the process with pid {pid}")), path = path.display())]
    AlreadyRunning {
        /// The data directory.
        path: PathBuf,
        /// The holder's process id, when its lock file names one.
        pid: Option<u32>,
    },
    /// The directory holds another chain.
    #[error(
        "the data directory belongs to the chain with genesis {found:?}, and this node was started for {expected:?}"
    )]
    OtherChain {
        /// The genesis hash that the caller wants.
        expected: Hash,
        /// The genesis hash in the directory.
        found: Hash,
    },
    /// A newer program wrote the directory.
    #[error("{path} has storage format {found}; this program knows formats up to {known}: use a newer program", path = path.display())]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Version in the directory.
        found: u32,
        /// Highest version that this program knows.
        known: u32,
    },
    /// The format file does not hold what this program writes.
    #[error("{path} is not a storage format file: {detail}", path = path.display())]
    BadFormatFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A database is there but the file that names its format is not.
    #[error("{path} is missing although a database is there: the directory is damaged or not ours", path = path.display())]
    FormatFileMissing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A file of the database is damaged or missing.
    #[error("the database file {file} is damaged: {detail}", file = file.display())]
    Damaged {
        /// The file; the database's directory when the database does not name one.
        file: PathBuf,
        /// What the database says.
        detail: String,
    },
    /// A record of ours does not decode.
    #[error("the record {key} of column {column} is damaged: {detail}")]
    DamagedRecord {
        /// The column.
        column: &'static str,
        /// The record's key in hex.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The disk is full.
    #[error("no space is left for {path}: {detail}", path = path.display())]
    DiskFull {
        /// The data directory.
        path: PathBuf,
        /// What the database says.
        detail: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The database refused an operation for another reason.
    #[error("the database failed to {action}: {detail}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What the database says.
        detail: String,
    },
    /// A block is offered before the genesis block is there.
    #[error("the database is empty: the genesis block comes first")]
    NoGenesis,
    /// Another block is decided at this height.
    #[error("block {number} is decided as {stored:?}; {offered:?} is refused")]
    DifferentBlock {
        /// The height.
        number: BlockNumber,
        /// The decided block.
        stored: Hash,
        /// The refused block.
        offered: Hash,
    },
    /// The block does not follow the head.
    #[error("block {number} does not follow the head {head}")]
    Gap {
        /// The head's height.
        head: BlockNumber,
        /// The offered height.
        number: BlockNumber,
    },
    /// The block's parent is not the head.
    #[error("block {number} has parent {offered:?}, but the head is {head:?}")]
    WrongParent {
        /// The offered height.
        number: BlockNumber,
        /// The head's hash.
        head: Hash,
        /// The offered parent.
        offered: Hash,
    },
    /// The lists of a commit do not match one another.
    #[error("block {number}: {hashes} transaction hashes for {extrinsics} extrinsics")]
    HashesMismatch {
        /// The offered height.
        number: BlockNumber,
        /// Hashes given.
        hashes: usize,
        /// Extrinsics given.
        extrinsics: usize,
    },
    /// The state of this block is not kept any more, or not there yet.
    #[error("the state of block {number} is not available: this node keeps the states of blocks {oldest} to {newest}")]
    StateUnavailable {
        /// The wanted block.
        number: BlockNumber,
        /// The oldest block whose state is kept.
        oldest: BlockNumber,
        /// The head.
        newest: BlockNumber,
    },
    /// No such undecided block.
    #[error("no undecided block {id:?} at height {height}, round {round}")]
    UnknownUndecided {
        /// The height.
        height: u64,
        /// The round.
        round: i64,
        /// The block's id.
        id: Hash,
    },
}

/// A failure after which the node must not go on: going on would turn a fault of this machine's
/// disk into a wrong answer about the chain.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// The trie refers to a node that is not there.
    #[error("state node {hash:?} is missing: the database is damaged; restore it or sync it anew")]
    MissingNode {
        /// The node's hash.
        hash: Hash,
    },
    /// The database cannot read a record (an input/output error or a wrong checksum).
    #[error("cannot read {column}: {detail}")]
    Read {
        /// The column.
        column: &'static str,
        /// What the database says.
        detail: String,
    },
    /// The database cannot write. What it acknowledged is whole; nothing more can be acknowledged, so the node must
    /// not go on to sign as if it could.
    #[error("cannot {action}: {detail}")]
    Write {
        /// What it was to do.
        action: &'static str,
        /// What the database says.
        detail: String,
    },
    /// A record was read and makes no sense.
    #[error("the record {key} of {column} is damaged: {detail}")]
    BadRecord {
        /// The column.
        column: &'static str,
        /// The record's key in hex.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
}
