//! Calls about attestations and audits.

use x0_types::{AccountId, Balance, Hash, MlDsa65Signature, trust::AttestationStatement};

use super::Call;

/// Hands in what an agent said about its binary.
#[must_use]
pub fn attest(statement: &AttestationStatement<AccountId>, signature: &MlDsa65Signature) -> Call {
    Call::encoded("Trust", "attest", (statement, signature))
}

/// Adds to the caller's bond as an auditor.
#[must_use]
pub fn bond_auditor(amount: Balance) -> Call {
    Call::encoded("Trust", "bond_auditor", amount)
}

/// Says how far an auditor trusts the binary that a node attested.
#[must_use]
pub fn audit(node: &AccountId, tier: u8, measurement: Hash, quote: Option<Hash>, evidence: Hash) -> Call {
    Call::encoded("Trust", "audit", (node, tier, measurement, quote, evidence))
}

/// Takes the caller's word on a node back.
#[must_use]
pub fn withdraw_audit(node: &AccountId) -> Call {
    Call::encoded("Trust", "withdraw_audit", node)
}

/// Gives the caller's bond as an auditor back.
#[must_use]
pub fn retire_auditor() -> Call {
    Call::encoded("Trust", "retire_auditor", ())
}
