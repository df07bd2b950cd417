//! Who gets what of a deal.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{Amount, Rate, Slots, share_floor};

/// What a slash takes and who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slash {
    /// Share of the bond, ppm, floored.
    pub share_ppm: u32,
    /// The renter's share of the slash, ppm, floored.
    pub compensation_ppm: u32,
}

/// What a deposit owes for good slots, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accrued {
    /// Good slots that are billed: never more than the deposit affords.
    pub good_slots: Slots,
    /// What they cost, the fee included.
    pub gross: Amount,
    /// The treasury's part of it.
    pub fee: Amount,
}

/// How a bond is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BondSplit {
    /// What the provider loses.
    pub slash: Amount,
    /// The part of the slash that goes to the renter.
    pub compensation: Amount,
    /// The part of the slash that goes to the treasury.
    pub to_treasury: Amount,
    /// What goes back to the provider.
    pub back: Amount,
}

/// Who got what at the end of a deal: `to_provider + fee + refund = deposit` and
/// `slash + bond_back = bond`, exactly.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Outcome {
    /// Good slots that were billed.
    pub good_slots: u64,
    /// What the renter paid in all.
    pub gross: Amount,
    /// The provider's part of `gross`, in all.
    pub to_provider: Amount,
    /// The treasury's part of `gross`, in all.
    pub fee: Amount,
    /// The part of the deposit that went back to the renter.
    pub refund: Amount,
    /// The part of the bond that the provider lost.
    pub slash: Amount,
    /// The part of `slash` that went to the renter; the rest went to the treasury.
    pub compensation: Amount,
    /// The part of the bond that went back to the provider.
    pub bond_back: Amount,
}

/// What a deposit owes after this many good slots: the cost floored once on the cumulative count, the
/// fee floored once on the cumulative cost. So the number of payments on the way changes nothing.
#[must_use]
pub fn accrued(deposit: Amount, rate: &Rate, good_slots: Slots, fee_ppm: u32) -> Accrued {
    let good_slots = good_slots.min(rate.affordable_slots(deposit));
    let gross = rate.accrued(deposit, good_slots);
    Accrued { good_slots, gross, fee: share_floor(gross, fee_ppm) }
}

/// Divides a bond: the slash is floored, the renter's part of it is floored, the treasury gets the
/// rest of the slash and the provider the rest of the bond.
#[must_use]
pub fn split_bond(bond: Amount, slash: Option<Slash>) -> BondSplit {
    let Some(Slash { share_ppm, compensation_ppm }) = slash else {
        return BondSplit { back: bond, ..BondSplit::default() };
    };
    let slash = share_floor(bond, share_ppm);
    let compensation = share_floor(slash, compensation_ppm);
    // Shares never exceed the whole, so nothing falls below zero.
    BondSplit { slash, compensation, to_treasury: slash - compensation, back: bond - slash }
}

/// The whole payout of a deal that ends: what every party has received when it is over, if the
/// treasury can receive.
#[must_use]
pub fn outcome(
    deposit: Amount,
    rate: &Rate,
    good_slots: Slots,
    fee_ppm: u32,
    bond: Amount,
    slash: Option<Slash>,
) -> Outcome {
    let Accrued { good_slots, gross, fee } = accrued(deposit, rate, good_slots, fee_ppm);
    let split = split_bond(bond, slash);
    Outcome {
        good_slots,
        gross,
        to_provider: gross - fee,
        fee,
        refund: deposit - gross,
        slash: split.slash,
        compensation: split.compensation,
        bond_back: split.back,
    }
}

/// The step on the slash ladder after this many failures within the ladder's time: the first failure
/// takes step 0, the third and each later one step 2.
#[must_use]
pub fn ladder_step(failures_before: usize) -> u8 {
    match failures_before {
        0 => 0,
        1 => 1,
        _ => 2,
    }
}

/// The share of the bond that a step of the ladder takes, ppm; the last step for any beyond it.
#[must_use]
pub fn ladder_share(ladder_ppm: &[u32; 3], step: u8) -> u32 {
    let [first, second, third] = *ladder_ppm;
    match step {
        0 => first,
        1 => second,
        _ => third,
    }
}
