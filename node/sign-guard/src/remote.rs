//! The consensus key in another process: the signer's listener, and the key as its node sees it.
//!
//! ```text
//!   node                                       signer (x0-node signer)
//!    | -- TLS 1.3, both sides show raw ML-DSA-65 keys, ALPN x0-signer/1/<genesis> --> |
//!    | <- Hello: public half of the consensus key ----------------------------------- |
//!    | -- Sign: one statement, or a pair --------------------------------------------> |  guard, fsync, sign
//!    | <- signatures | conflict, with the recorded statement | regression | refusal -- |
//! ```
//!
//! # Correctness
//! * The guard runs on the signer's side, so that any number of nodes may ask: each place of the protocol gets one answer.
//! * A request names a statement, never bytes: the signer signs nothing that it cannot read.
//! * A lost answer is harmless. The node asks again, and the signer repeats the stored signature.
//! * While the signer is away the node signs nothing. It asks for `SIGNER_PATIENCE_MS` and then gives
//!   [`GuardError::Unavailable`], with which the node ends in an orderly way and may be started again.

mod client;
mod frame;
mod server;

pub use client::{RemoteConfig, RemoteKey};
pub use server::{ServeError, serve};

/// The application protocol of one chain's signers.
fn alpn(genesis: &[u8; 32]) -> Vec<u8> {
    format!("x0-signer/1/{}", hex::encode(genesis)).into_bytes()
}

#[cfg(test)]
mod tests;
