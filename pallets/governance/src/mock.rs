//! A runtime with this module, owners and validators that tests set, and a pallet with calls to decide on.

use crate as pallet_x0_governance;
use crate::{EnsureTrack, Pallet, ProposalState, Proposals, Sealing, Track, TrackSet};
use codec::Encode;
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU32, ConstU64, ConstU128, Hooks, fungible::InspectHold},
    weights::Weight,
};
use sp_runtime::{
    BuildStorage, DispatchError,
    traits::{Dispatchable, IdentityLookup},
};
use std::{cell::RefCell, collections::BTreeMap};
use x0_accounting::{Curve, Gates};
use x0_types::{
    AccountId, Balance, Hash,
    account::MILLI,
    governance::{Electorate, EpochIndex, OwnerId, OwnerRegistry, ProposalId, TrackFilter, TrackId},
    market::{Counters, Meter, NodeIndex, Slot, ValidatorSet},
};

pub type Block = frame_system::mocking::MockBlockU32<Test>;

/// What ballots of these tests decide on.
#[frame_support::pallet]
#[allow(missing_docs)]
pub mod dial {
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::config]
    pub trait Config: frame_system::Config {
        type Turner: EnsureOrigin<Self::RuntimeOrigin>;
    }

    #[pallet::storage]
    pub type Value<T: Config> = StorageValue<_, u32, ValueQuery>;

    #[pallet::storage]
    pub type Turns<T: Config> = StorageValue<_, u32, ValueQuery>;

    #[pallet::error]
    pub enum Error<T> {
        Mismatch,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// A parameter with its old value.
        #[pallet::call_index(0)]
        #[pallet::weight(Weight::from_parts(1_000_000, 0))]
        pub fn turn(origin: OriginFor<T>, expected: u32, new: u32) -> DispatchResult {
            T::Turner::ensure_origin(origin)?;
            // Written before the check: an error must take it back.
            Turns::<T>::mutate(|turns| *turns += 1);
            ensure!(Value::<T>::get() == expected, Error::<T>::Mismatch);
            Value::<T>::put(new);
            Ok(())
        }

        /// A call of any weight.
        #[pallet::call_index(1)]
        #[pallet::weight(Weight::from_parts(*ref_time, 0))]
        pub fn heavy(origin: OriginFor<T>, ref_time: u64) -> DispatchResult {
            T::Turner::ensure_origin(origin)?;
            Turns::<T>::mutate(|turns| *turns += 1);
            let _ = ref_time;
            Ok(())
        }
    }
}

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
    pub type Preimage = pallet_preimage;
    #[runtime::pallet_index(3)]
    pub type Governance = pallet_x0_governance;
    #[runtime::pallet_index(4)]
    pub type Dial = dial;
}

pub const TREASURY: u8 = 200;
pub const BYTE_DEPOSIT: Balance = 3;
/// Budget for decided calls in a block.
pub const BUDGET: u64 = 50_000_000_000;
pub const KEPT: u64 = 50;

parameter_types! {
    pub const ExistentialDeposit: Balance = MILLI;
    pub TreasuryAccount: AccountId = account(TREASURY);
    pub const Budget: Weight = Weight::from_parts(BUDGET, u64::MAX);
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

impl pallet_preimage::Config for Test {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
    type Currency = Balances;
    type ManagerOrigin = frame_system::EnsureRoot<AccountId>;
    type Consideration = ();
}

pub struct Turners;
impl TrackSet for Turners {
    fn contains(track: TrackId) -> bool {
        matches!(track, TrackId::Parameters | TrackId::Root)
    }
}

impl dial::Config for Test {
    type Turner = EnsureTrack<Turners>;
}

/// What the world around the module says.
#[derive(Default)]
pub struct World {
    pub slot: Slot,
    pub epoch: EpochIndex,
    /// Owner and first epoch, by account.
    pub owners: BTreeMap<AccountId, (OwnerId, EpochIndex)>,
    pub revoked: Vec<OwnerId>,
    pub heads: Vec<AccountId>,
    /// Tracks may turn the dial only while this is not set.
    pub closed: bool,
}

thread_local! {
    pub static WORLD: RefCell<World> = RefCell::new(World::default());
}

pub fn world<R>(with: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(with)
}

pub struct Outside;

impl OwnerRegistry<AccountId> for Outside {
    fn owner_of(account: &AccountId) -> Option<OwnerId> {
        world(|world| world.owners.get(account).map(|(owner, _)| *owner))
    }
}

impl Electorate<AccountId> for Outside {
    fn epoch() -> EpochIndex {
        world(|world| world.epoch)
    }
    fn eligible_from(owner: OwnerId) -> Option<EpochIndex> {
        world(|world| {
            let found = world.owners.values().find(|(number, _)| *number == owner).map(|(_, from)| *from);
            found.filter(|_| !world.revoked.contains(&owner))
        })
    }
    fn electorate() -> u32 {
        world(|world| {
            let live =
                world.owners.values().filter(|(owner, from)| *from <= world.epoch && !world.revoked.contains(owner));
            live.map(|(owner, _)| owner).collect::<std::collections::BTreeSet<_>>().len() as u32
        })
    }
}

impl ValidatorSet<AccountId> for Outside {
    fn current() -> Vec<(AccountId, u64)> {
        world(|world| world.heads.iter().map(|head| (head.clone(), 1)).collect())
    }
    fn index_of_reporter(_: &AccountId) -> Option<u32> {
        None
    }
}

impl Meter<AccountId> for Outside {
    fn current_slot() -> Slot {
        world(|world| world.slot)
    }
    fn closed_slot() -> Slot {
        Self::current_slot().saturating_sub(2)
    }
    fn counters(_: &AccountId) -> Option<Counters> {
        None
    }
    fn enrol(_: &AccountId, _: &AccountId) -> Result<NodeIndex, DispatchError> {
        Err(DispatchError::Unavailable)
    }
    fn dismiss(_: &AccountId) {}
}

impl TrackFilter<RuntimeCall> for Outside {
    fn allows(_: TrackId, call: &RuntimeCall) -> bool {
        matches!(call, RuntimeCall::Dial(_)) && world(|world| !world.closed)
    }
}

impl crate::Config for Test {
    type RuntimeCall = RuntimeCall;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type TreasuryAccount = TreasuryAccount;
    type ByteDeposit = ConstU128<BYTE_DEPOSIT>;
    type Preimages = Preimage;
    type Owners = Outside;
    type Validators = Outside;
    type Meter = Outside;
    type TrackFilter = Outside;
    type TracksOrigin = frame_system::EnsureRoot<AccountId>;
    type EnactmentWeight = Budget;
    type TransitionsPerBlock = ConstU32<8>;
    type VotesKeptSlots = ConstU64<KEPT>;
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// The rules of the open track of these tests: 40 slots, approval 100 % to 50 % over 20, support 50 % to 10 %.
pub fn open_track() -> Track {
    Track {
        deposit: MILLI,
        deciding_max: 2,
        prepare_slots: 2,
        waiting_slots: 10,
        decide_slots: 40,
        confirm_slots: 5,
        enact_slots: 6,
        gates: Gates {
            approval: Curve { from_ppm: 1_000_000, to_ppm: 500_000, over_slots: 20 },
            support: Curve { from_ppm: 500_000, to_ppm: 100_000, over_slots: 40 },
        },
        sealing: None,
    }
}

pub fn sealed_track() -> Track {
    Track { sealing: Some(Sealing { reveal_slots: 100, envelope: 25 }), ..open_track() }
}

pub const ENDOWMENT: Balance = 1_000_000 * MILLI;
pub const OPEN: TrackId = TrackId::Parameters;
pub const SEALED: TrackId = TrackId::Root;

/// Accounts 1 to 10 are owners 1 to 10; accounts 11, 21, ... 91 are further accounts of owners 1 to 9; accounts
/// 101 to 107 are validators. Slot 1, epoch 5.
pub fn run<R>(test: impl FnOnce() -> R) -> R {
    let storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: (1..=TREASURY).map(|n| (account(n), ENDOWMENT)).collect(),
            ..Default::default()
        },
        governance: crate::GenesisConfig {
            tracks: vec![(OPEN, open_track()), (SEALED, sealed_track())],
            ..Default::default()
        },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    world(|world| {
        *world = World { slot: 1, epoch: 5, ..World::default() };
        for n in 1..=10u8 {
            world.owners.insert(account(n), (n.into(), 0));
            if n < 10 {
                world.owners.insert(account(n * 10 + 1), (n.into(), 0));
            }
        }
        world.heads = (101..=107).map(account).collect();
    });
    sp_io::TestExternalities::from(storage).execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, Hash::repeat_byte(7));
        System::set_block_number(1);
        let result = test();
        Pallet::<Test>::check_invariants().unwrap();
        result
    })
}

/// The next block, `slots` later.
pub fn pass(slots: u64) -> Weight {
    world(|world| world.slot += slots);
    System::set_block_number(System::block_number() + 1);
    System::reset_events();
    let weight = Governance::on_initialize(System::block_number());
    Pallet::<Test>::check_invariants().unwrap();
    weight
}

/// Blocks of one slot each up to a slot.
pub fn pass_to(slot: Slot) {
    while slot_now() < slot {
        pass(1);
    }
}

pub fn slot_now() -> Slot {
    world(|world| world.slot)
}

/// Dispatches a call as a transaction would: an error leaves the storage as it was.
pub fn call(n: u8, call: crate::Call<Test>) -> Result<(), DispatchError> {
    dispatch(RuntimeOrigin::signed(account(n)), call)
}

pub fn dispatch(origin: RuntimeOrigin, call: crate::Call<Test>) -> Result<(), DispatchError> {
    let before = sp_io::storage::root(sp_runtime::StateVersion::V1);
    let result = RuntimeCall::Governance(call).dispatch(origin);
    Pallet::<Test>::check_invariants().unwrap();
    match result {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(before, sp_io::storage::root(sp_runtime::StateVersion::V1), "an error leaves no trace");
            Err(error.error)
        }
    }
}

pub fn turn(expected: u32, new: u32) -> RuntimeCall {
    RuntimeCall::Dial(dial::Call::turn { expected, new })
}

pub fn propose(n: u8, track: TrackId, what: RuntimeCall) -> Result<ProposalId, DispatchError> {
    let number = crate::NextProposal::<Test>::get();
    call(n, crate::Call::propose { track, call: Box::new(what), delay_slots: 0, dry_run: None })?;
    Ok(number)
}

/// A proposal to turn the dial whose ballot has begun.
pub fn deciding(n: u8, what: RuntimeCall) -> ProposalId {
    let number = propose(n, OPEN, what).unwrap();
    pass(2);
    assert_eq!(state(number), ProposalState::Deciding);
    number
}

pub fn vote(n: u8, proposal: ProposalId, votes: i8) -> Result<(), DispatchError> {
    call(n, crate::Call::vote { proposal, votes, spam: false, reason: None })
}

pub fn proposal(number: ProposalId) -> crate::Proposal {
    Proposals::<Test>::get(number).unwrap()
}

pub fn state(number: ProposalId) -> ProposalState {
    proposal(number).state
}

pub fn left(owner: OwnerId) -> u32 {
    Governance::credits_in(owner, world(|world| world.epoch)).remaining
}

pub fn held(n: u8) -> Balance {
    Balances::balance_on_hold(&crate::HoldReason::Proposal.into(), &account(n))
}

pub fn deposit_for(what: &RuntimeCall) -> Balance {
    MILLI + BYTE_DEPOSIT * what.encode().len() as Balance
}

pub fn dial() -> u32 {
    dial::Value::<Test>::get()
}
