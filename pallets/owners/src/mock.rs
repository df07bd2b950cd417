//! A runtime with this module, validators and a clock that tests set.

use crate as pallet_x0_owners;
use crate::{GenesisOwner, Pallet};
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU128, Hooks, fungible::InspectHold},
};
use frame_system::EnsureRoot;
use sp_runtime::{
    BuildStorage, DispatchError,
    traits::{Dispatchable, IdentityLookup},
};
use std::cell::RefCell;
use x0_types::{
    AccountId, Balance, Hash,
    account::MILLI,
    market::{Counters, Meter, NodeIndex, Slot, ValidatorSet},
};

pub type Block = frame_system::mocking::MockBlockU32<Test>;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Test;
    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(2)]
    pub type Owners = pallet_x0_owners;
}

parameter_types! {
    pub const ExistentialDeposit: Balance = MILLI;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type AccountStore = System;
    type ExistentialDeposit = ExistentialDeposit;
}

thread_local! {
    static HEADS: RefCell<Vec<AccountId>> = const { RefCell::new(Vec::new()) };
    static SLOT: RefCell<Slot> = const { RefCell::new(0) };
}

pub struct Outside;

impl ValidatorSet<AccountId> for Outside {
    fn current() -> Vec<(AccountId, u64)> {
        // Powers differ: heads count here, not power.
        HEADS.with_borrow(|heads| heads.iter().cloned().zip([1_000, 1, 1, 1, 1, 1, 1]).collect())
    }
    fn index_of_reporter(_: &AccountId) -> Option<u32> {
        None
    }
}

impl Meter<AccountId> for Outside {
    fn current_slot() -> Slot {
        SLOT.with_borrow(|slot| *slot)
    }
    fn closed_slot() -> Slot {
        0
    }
    fn counters(_: &AccountId) -> Option<Counters> {
        None
    }
    fn enrol(_: &AccountId, _: &AccountId) -> Result<NodeIndex, DispatchError> {
        Err(DispatchError::Unavailable)
    }
    fn dismiss(_: &AccountId) {}
}

pub const DEPOSIT: Balance = 5 * MILLI;
pub const ENDOWMENT: Balance = 1_000 * MILLI;
pub const EPOCH: u64 = 100;

impl crate::Config for Test {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Validators = Outside;
    type Meter = Outside;
    type OwnerDeposit = ConstU128<DEPOSIT>;
    type AppealOrigin = EnsureRoot<AccountId>;
    type ParametersOrigin = EnsureRoot<AccountId>;
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

pub fn accounts(list: &[u8]) -> crate::AccountList {
    list.iter().map(|n| account(*n)).collect::<Vec<_>>().try_into().unwrap()
}

pub fn evidence(n: u8) -> Hash {
    Hash::repeat_byte(n)
}

pub fn set_heads(list: &[u8]) {
    HEADS.with_borrow_mut(|heads| *heads = list.iter().map(|n| account(*n)).collect());
}

/// The next block, in this slot.
pub fn at(slot: Slot) {
    SLOT.with_borrow_mut(|now| *now = slot);
    System::set_block_number(System::block_number() + 1);
    System::reset_events();
    Owners::on_initialize(System::block_number());
    Pallet::<Test>::check_invariants().unwrap();
}

pub fn call(n: u8, call: crate::Call<Test>) -> Result<(), DispatchError> {
    dispatch(RuntimeOrigin::signed(account(n)), call)
}

pub fn dispatch(origin: RuntimeOrigin, call: crate::Call<Test>) -> Result<(), DispatchError> {
    let before = sp_io::storage::root(sp_runtime::StateVersion::V1);
    let result = RuntimeCall::Owners(call).dispatch(origin);
    Pallet::<Test>::check_invariants().unwrap();
    match result {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(before, sp_io::storage::root(sp_runtime::StateVersion::V1), "an error leaves no trace");
            Err(error.error)
        }
    }
}

pub fn held(n: u8) -> Balance {
    Balances::balance_on_hold(&crate::HoldReason::Owner.into(), &account(n))
}

/// Owner 0 has the accounts 1 and 2, owner 1 has account 3; validators are 101 to 107. Slot 1 of epoch 0.
pub fn run<R>(test: impl FnOnce() -> R) -> R {
    let owners = [vec![1, 2], vec![3]]
        .map(|list| GenesisOwner { accounts: accounts(&list).into_inner(), evidence: Hash::zero() })
        .to_vec();
    let storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: (1..=120).map(|n| (account(n), ENDOWMENT)).collect(),
            ..Default::default()
        },
        owners: crate::GenesisConfig { owners, epoch_slots: EPOCH, ..Default::default() },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    set_heads(&[101, 102, 103, 104, 105, 106, 107]);
    SLOT.with_borrow_mut(|slot| *slot = 0);
    sp_io::TestExternalities::from(storage).execute_with(|| {
        at(1);
        let result = test();
        Pallet::<Test>::check_invariants().unwrap();
        result
    })
}
