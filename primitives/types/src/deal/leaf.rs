//! The compact record of an ended deal, for whoever holds only headers.
//!
//! A light client asks for a state proof of this record, checks it against a certified state root, and
//! then with [`DealLeaf::is_consistent`] that its amounts follow from its slots.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::{ConstU32, H256};
use sp_runtime::BoundedVec;
use x0_accounting::{Outcome, Rate};

use super::{CloseReason, DealState};
use crate::{account::Balance, market::Slot};

/// Bytes of a bitmap with one bit for each validator's seat.
const SEATS_BYTES_MAX: u32 = x0_limits::VALIDATORS_MAX.div_ceil(8);

/// What a failure rested on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct LeafEvidence {
    /// The slot of the first DOWN verdict.
    pub since_slot: Slot,
    /// DOWN verdicts in a row.
    pub run: u32,
    /// Validators that might judge the node at the last of them.
    pub validators: u32,
    /// Who saw the node down in any of them: one bit for each seat, least significant bit first.
    pub reporters: BoundedVec<u8, ConstU32<SEATS_BYTES_MAX>>,
}

impl LeafEvidence {
    /// Whether more than two thirds of the validators saw the node down.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let seen: u32 = self.reporters.iter().map(|byte| byte.count_ones()).sum();
        u64::from(seen) * 3 > u64::from(self.validators) * 2
    }
}

/// An ended deal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct DealLeaf<AccountId> {
    /// Version of this record's layout: [`DealLeaf::VERSION`].
    pub version: u8,
    /// Who rented.
    pub renter: AccountId,
    /// Who served.
    pub provider: AccountId,
    /// Subject of the node's agent.
    pub node: AccountId,
    /// BLAKE2b-256 of the manifest that both sides accepted.
    pub manifest_hash: H256,
    /// The price of a good slot.
    pub rate: Rate,
    /// What was paid in.
    pub deposit: Balance,
    /// What the provider had posted.
    pub bond: Balance,
    /// How it ended.
    pub state: DealState,
    /// Why: see [`CloseReason::code`].
    pub reason_code: u16,
    /// The last slot that had closed when the amounts were fixed.
    pub slot: Slot,
    /// The block in which they were fixed.
    pub height: u32,
    /// The block in which they were paid.
    pub paid_height: u32,
    /// Closed slots of the deal in all, and of these DOWN, UNKNOWN or CONFLICT, and VOID.
    pub slots: [u64; 4],
    /// Who got what.
    pub outcome: Outcome,
    /// What the verdict rested on, for a node that was DOWN.
    pub evidence: Option<LeafEvidence>,
}

impl<AccountId> DealLeaf<AccountId> {
    /// The layout that this code writes and reads.
    pub const VERSION: u8 = 1;

    /// Whether the record agrees with itself: the state with the reason, every unit of deposit and bond
    /// with somebody, the price of the billed slots with the rate, and a failure of the node with a proof.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let outcome = &self.outcome;
        let Some(reason) = CloseReason::from_code(self.reason_code) else { return false };
        let deposit = outcome.to_provider.checked_add(outcome.fee).and_then(|paid| paid.checked_add(outcome.refund));
        self.version == Self::VERSION
            && (self.state == reason.terminal_state() || self.state == DealState::Resolved)
            && deposit == Some(self.deposit)
            && outcome.slash.checked_add(outcome.bond_back) == Some(self.bond)
            && outcome.compensation <= outcome.slash
            && (outcome.slash == 0 || reason.is_failure())
            && outcome.gross == self.rate.accrued(self.deposit, outcome.good_slots)
            && outcome.to_provider.checked_add(outcome.fee) == Some(outcome.gross)
            && (reason == CloseReason::NodeDown) == self.evidence.as_ref().is_some_and(LeafEvidence::is_proven)
    }
}
