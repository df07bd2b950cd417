//! What the node's guard remembers, for the simulated disk.

use x0_consensus::context::Signature;
use x0_crypto::{blake2b_256, statement::Statement};
use x0_sign_guard::{Memory, Signed};

/// A statement with its signature, as the guard records it.
pub(crate) fn record(statement: &Statement, signature: &Signature) -> Signed {
    Signed {
        place: statement.place(),
        block: statement.block(),
        pol_round: statement.pol_round(),
        digest: blake2b_256(&statement.body()),
        signature: signature.inner().clone(),
    }
}

/// A memory without anything in it.
pub(crate) fn empty() -> Memory {
    Memory::default()
}
