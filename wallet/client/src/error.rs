//! What can go wrong between a wallet or agent and the chain.

/// An error of the chain client.
///
/// The variants follow who has to act: the user (address, key, amount), the operator (node away,
/// wrong chain), or nobody because the chain said no. [`ClientError::class`] sorts them for exit codes.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is not an address of a node.
    #[error("`{url}` is not an address of a node: {reason}")]
    Url {
        /// The text given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Plain text to a host that is not this machine.
    #[error("refusing to talk to `{url}` in plain text: ws:// is for loopback only, use x0s://HOST:PORT")]
    Plaintext {
        /// The address given.
        url: String,
    },
    /// No connection could be opened.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// The address tried.
        url: String,
        /// The transport's reason.
        reason: String,
    },
    /// The connection broke or timed out during a request.
    #[error("the connection to the node failed during {method}: {reason}")]
    Transport {
        /// The method called.
        method: String,
        /// The transport's reason.
        reason: String,
    },
    /// The node answered a request with a JSON-RPC error.
    #[error("the node refused {method}: {message} (code {code}){}", detail(.data))]
    Rpc {
        /// The method called.
        method: String,
        /// The JSON-RPC error code.
        code: i32,
        /// The node's words.
        message: String,
        /// The node's details, if any.
        data: Option<String>,
    },
    /// The node's pool did not take the transaction; nothing was changed and no fee was paid.
    #[error("the node did not take the transaction: {message} (code {code})")]
    Rejected {
        /// The JSON-RPC error code (1010 for an invalid transaction).
        code: i32,
        /// The node's words.
        message: String,
        /// The node's stable word for the broken rule (`stale`, `payment`, ...), if it gives one.
        rule: Option<String>,
    },
    /// The pool took the transaction and later gave it up; it is not on chain.
    #[error("the transaction {hash} was given up by the pool: {reason}")]
    Dropped {
        /// Hash of the transaction.
        hash: String,
        /// Why, in the node's words.
        reason: String,
    },
    /// The transaction is on chain, its fee is paid, and its call failed.
    #[error("the call failed on chain: {error}{} (transaction {hash} in block {block})", meaning(.words))]
    Dispatch {
        /// Hash of the transaction.
        hash: String,
        /// Height of its block.
        block: u64,
        /// The runtime's error by name, for example `Marketplace.UnknownDeal`.
        error: String,
        /// What it means, with the bounds that were broken; empty when the chain does not say.
        words: String,
    },
    /// The transaction was handed over, and its fate could not be learnt.
    #[error("the fate of transaction {hash} is unknown: {reason}. It may still be included: look before you repeat it")]
    OutcomeUnknown {
        /// Hash of the transaction.
        hash: String,
        /// What ended the wait.
        reason: String,
    },
    /// The node serves another chain than the one asked for.
    #[error("the node serves another chain: expected genesis {expected}, found {found}")]
    OtherChain {
        /// Genesis hash that was asked for.
        expected: String,
        /// Genesis hash of the node.
        found: String,
    },
    /// A development-only action on a chain of another type.
    #[error("this is for development chains only, and this chain calls itself `{found}`")]
    NotDevelopment {
        /// The chain's type as the node names it.
        found: String,
    },
    /// The chain's description of itself is missing something or cannot be read.
    #[error("the chain's metadata cannot be used for {what}: {reason}")]
    Metadata {
        /// What was looked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// Bytes or JSON that do not have the expected shape.
    #[error("cannot read {what}: {reason}")]
    Decode {
        /// What was read.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// A call or key that the chain's metadata cannot express.
    #[error("cannot encode {what}: {reason}")]
    Encode {
        /// What was encoded.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// Something asked for does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// What the node says does not follow from what is trusted.
    #[error("{}: {error}", unproven(.0), error = .0)]
    Unproven(x0_light::LightError),
    /// The node has no state of the checkpoint any more.
    #[error(
        "the node keeps no state of block {number} any more: have a newer checkpoint printed by `x0-node checkpoint`"
    )]
    CheckpointGone {
        /// Height of the checkpoint.
        number: u32,
    },
    /// The node's head is no higher than what this client has seen proven, or just above its checkpoint.
    #[error(
        "the node's head is block {head}, too low to be proven from block {known} on: wait for further blocks, or ask a \
         node that is not behind"
    )]
    Behind {
        /// Height of the node's head.
        head: u32,
        /// Height of the newest proven block.
        known: u32,
    },
    /// A text that is not an account.
    #[error("`{text}` is not an account: {reason}")]
    Account {
        /// The text given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key cannot sign, or may not sign for this account.
    #[error("cannot sign: {reason}")]
    Key {
        /// What is wrong.
        reason: String,
    },
    /// A call that nests deeper than [`x0_limits::CALL_DEPTH_MAX`].
    #[error("the call is not readable: {reason}")]
    UnsafeCall {
        /// Which bound it breaks.
        reason: String,
    },
}

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The input is wrong.
    Usage,
    /// The node cannot be reached, broke off, or is another node than expected.
    Network,
    /// The chain said no.
    Rejected,
    /// Nobody knows whether the chain said yes.
    Unknown,
    /// The key is wrong.
    Key,
    /// Client and node do not fit together.
    Incompatible,
}

impl ClientError {
    /// Sorts the error by who has to act.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Url { .. }
            | Self::Plaintext { .. }
            | Self::Account { .. }
            | Self::NotFound { .. }
            | Self::CheckpointGone { .. }
            | Self::UnsafeCall { .. } => ErrorClass::Usage,
            Self::Unproven(error) if is_old(error) => ErrorClass::Usage,
            Self::Connect { .. }
            | Self::Transport { .. }
            | Self::OtherChain { .. }
            | Self::Unproven(_)
            | Self::Behind { .. } => ErrorClass::Network,
            Self::Rpc { .. }
            | Self::Rejected { .. }
            | Self::Dropped { .. }
            | Self::Dispatch { .. }
            | Self::NotDevelopment { .. } => ErrorClass::Rejected,
            Self::OutcomeUnknown { .. } => ErrorClass::Unknown,
            Self::Key { .. } => ErrorClass::Key,
            Self::Metadata { .. } | Self::Decode { .. } | Self::Encode { .. } => ErrorClass::Incompatible,
        }
    }

    /// A short stable name of the kind, for machine-readable output.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } => "url",
            Self::Plaintext { .. } => "plaintext",
            Self::Connect { .. } => "connect",
            Self::Transport { .. } => "transport",
            Self::Rpc { .. } => "rpc",
            Self::Rejected { .. } => "rejected",
            Self::Dropped { .. } => "dropped",
            Self::Dispatch { .. } => "dispatch",
            Self::OutcomeUnknown { .. } => "outcome-unknown",
            Self::OtherChain { .. } => "other-chain",
            Self::NotDevelopment { .. } => "not-development",
            Self::Metadata { .. } => "metadata",
            Self::Decode { .. } => "decode",
            Self::Encode { .. } => "encode",
            Self::NotFound { .. } => "not-found",
            Self::Account { .. } => "account",
            Self::Key { .. } => "key",
            Self::UnsafeCall { .. } => "unsafe-call",
            Self::Unproven(error) if is_old(error) => "trust-expired",
            Self::Unproven(_) => "unproven",
            Self::CheckpointGone { .. } => "checkpoint-gone",
            Self::Behind { .. } => "behind",
        }
    }
}

/// Whether trust or clock are the matter, which no node can mend.
const fn is_old(error: &x0_light::LightError) -> bool {
    matches!(error, x0_light::LightError::TrustExpired { .. } | x0_light::LightError::ClockBehind { .. })
}

/// Whose fault it is that something is not proven.
const fn unproven(error: &x0_light::LightError) -> &'static str {
    if is_old(error) { "nothing can be proven" } else { "the node's answer is not proven; do not rely on it" }
}

/// What an error means, after its name.
fn meaning(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

/// The node's details as the end of a sentence.
fn detail(data: &Option<String>) -> String {
    data.as_ref().map(|data| format!(": {data}")).unwrap_or_default()
}

/// Turns an error of the transport into ours, keeping the node's refusals apart from a broken line.
pub(crate) fn rpc_error(method: &str, error: subxt::rpcs::Error) -> ClientError {
    match error {
        subxt::rpcs::Error::User(user) => ClientError::Rpc {
            method: method.to_owned(),
            code: user.code,
            message: user.message,
            data: user.data.map(|data| plain_json(data.get())),
        },
        subxt::rpcs::Error::Deserialization(reason) => {
            ClientError::Decode { what: format!("the answer to {method}"), reason: reason.to_string() }
        }
        other => ClientError::Transport { method: method.to_owned(), reason: other.to_string() },
    }
}

/// A JSON string without its quotes; any other JSON as it stands.
fn plain_json(text: &str) -> String {
    serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned())
}
