//! A chain of balances and the escrow alone.

use frame_support::{PalletId, derive_impl, parameter_types};
use sp_runtime::BuildStorage;
use x0_types::Balance;

pub type Block = frame_system::mocking::MockBlock<Test>;

/// Large, so that amounts below it are easy to make.
pub const EXISTENTIAL: Balance = 100;
pub const RENTER: u64 = 1;
pub const PROVIDER: u64 = 2;
pub const OTHER: u64 = 3;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Escrow: crate,
    }
);

parameter_types! {
    pub const ExistentialDeposit: Balance = EXISTENTIAL;
    pub const TreasuryId: PalletId = PalletId(*b"x0/trsry");
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
}

impl crate::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type TreasuryId = TreasuryId;
}

/// Runs a test on a chain whose accounts have this much, and checks the invariants at its end.
pub fn with_chain(balances: &[(u64, Balance)], test: impl FnOnce()) {
    let genesis = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig { balances: balances.to_vec(), ..Default::default() },
        ..Default::default()
    };
    let mut chain: sp_io::TestExternalities = genesis.build_storage().unwrap().into();
    chain.execute_with(|| {
        System::set_block_number(1);
        test();
        Escrow::check_invariants().unwrap();
        all_money_is_accounted_for();
    });
}

/// I1 and I3: issuance is the sum of all accounts, and every held unit belongs to a ledger.
pub fn all_money_is_accounted_for() {
    let accounts: Balance = frame_system::Account::<Test>::iter().map(|(_, a)| a.data.free + a.data.reserved).sum();
    assert_eq!(pallet_balances::TotalIssuance::<Test>::get(), accounts);
    let held = |reason: crate::HoldReason| -> Balance {
        pallet_balances::Holds::<Test>::iter_values()
            .flatten()
            .filter(|hold| hold.id == reason.into())
            .map(|hold| hold.amount)
            .sum()
    };
    assert_eq!(held(crate::HoldReason::DealEscrow), crate::EscrowTotal::<Test>::get());
    assert_eq!(held(crate::HoldReason::DealBond), crate::BondTotal::<Test>::get());
}
