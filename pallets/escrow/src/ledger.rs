//! What the escrow keeps about the money of a deal.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use x0_accounting::{Accrued, accrued};
use x0_types::{Balance, deal::Rate};

/// The money of one deal that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Ledger<AccountId> {
    /// Who gets what is not earned.
    pub renter: AccountId,
    /// Who earns.
    pub provider: AccountId,
    /// What was paid in for the deal.
    pub deposit: Balance,
    /// What the provider posted; 0 until the deal is confirmed.
    pub bond: Balance,
    /// The price of a good slot.
    pub rate: Rate,
    /// The treasury's share of `gross_paid`, fixed when the bond is posted.
    pub fee_ppm: u32,
    /// Good slots paid for so far.
    pub good_paid: u64,
    /// What left the deposit for those slots, fee included.
    pub gross_paid: Balance,
    /// The fee within `gross_paid` as it is due: `floor(gross_paid * fee_ppm / 10^6)`.
    pub fee_due: Balance,
    /// The fee that the treasury received; differs from `fee_due` only where it could not receive.
    pub fee_paid: Balance,
    /// The renter's spending limit for renewals that is not spent, held beside the deposit.
    pub reserve: Balance,
    /// What a party put up to open a dispute.
    pub stake: Option<Stake>,
}

/// What a party put up to open a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Stake {
    /// Whether the renter put it up; the provider otherwise.
    pub by_renter: bool,
    /// How much.
    pub amount: Balance,
}

impl<AccountId> Ledger<AccountId> {
    /// The ledger of a deal that is not confirmed.
    #[must_use]
    pub const fn new(renter: AccountId, provider: AccountId, deposit: Balance, rate: Rate) -> Self {
        Self {
            renter,
            provider,
            deposit,
            bond: 0,
            rate,
            fee_ppm: 0,
            good_paid: 0,
            gross_paid: 0,
            fee_due: 0,
            fee_paid: 0,
            reserve: 0,
            stake: None,
        }
    }

    /// What the deal owes for this many good slots in all: see [`x0_accounting::accrued`].
    #[must_use]
    pub fn owed(&self, good_slots: u64) -> Accrued {
        accrued(self.deposit, &self.rate, good_slots, self.fee_ppm)
    }
}

/// A payment for good slots in the course of a deal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accrual {
    /// What the provider received now.
    pub to_provider: Balance,
    /// What the treasury received now.
    pub fee: Balance,
}
