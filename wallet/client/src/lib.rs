//! The chain client of wallet, agent and tests: it connects, asks, builds, signs, submits and reads.
//!
//! It exists so that everything outside the node speaks to the chain through one typed door, with
//! post-quantum signatures, exact amounts and errors that say who has to act.
//!
//! ```text
//!   Endpoint --connect--> Client --description--> ChainDescription (metadata, versions)
//!                           |                          |  works without a node as well
//!        heads, state,      |   Call --encode/prepare--+--> UnsignedTransaction
//!        market, did  <-----+                                    | Signer (inline or registered form)
//!                           +<--- submit_and_wait --- SignedTransaction
//!                           +---> Outcome: block, fee, events | ClientError::Dispatch by name
//! ```
//!
//! # Correctness
//! * Calls are encoded by name through the chain's own metadata and read back the same way before a
//!   user confirms them; nothing that the user did not see is signed.
//! * For the calls that it knows, the client holds the chain's description against its own knowledge: a
//!   node that gives one call the name of another is found out before anything is signed.
//! * The signature's form follows what the chain names now (architecture D3), never a cache.
//! * What is called proven stands in a state whose root more than two thirds of the validators' power have signed, from a
//!   block on that a person vouches for.
//! * A transaction that was handed over and not seen final is "unknown", never "failed".
//!
//! # Limits
//! `CLIENT_CONNECT_TIMEOUT_MS`, `CLIENT_REQUEST_TIMEOUT_MS`, `RPC_RESPONSE_BYTES_MAX`, `TRANSACTION_LIFE_MS`,
//! `CALL_DEPTH_MAX` and `EXTRINSIC_BYTES_MAX` of `x0-limits`. Plain text never leaves this machine.
//!
//! # Errors
//! [`ClientError`]; [`ClientError::class`] sorts it by who has to act. [`amount::AmountError`] for amounts.
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

pub mod amount;
pub mod call;
mod chain;
mod client;
mod connect;
pub mod describe;
mod error;
pub mod guard;
mod light;
pub mod password;
mod pins;
pub mod proof;
mod query;
mod read;
mod refusal;
mod signer;
mod submit;
pub mod text;
mod transaction;

pub use call::Call;
pub use chain::{ChainConfig, ChainSignature};
pub use client::{Client, Head};
pub use connect::{Endpoint, RPC_ALPN};
pub use error::{ClientError, ErrorClass};
pub use light::{AgreedTerms, ProvenHead};
pub use query::{AccountInfo, Hold};
pub use read::{ReadTransaction, read_transaction};
pub use signer::{SignatureForm, Signer, account_of, signature_form};
pub use submit::{EventRecord, Outcome, Progress};
pub use transaction::{ChainDescription, Era, SignedTransaction, UnsignedTransaction};
pub use x0_rpc_types as rpc_types;
