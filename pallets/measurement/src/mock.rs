//! A runtime with this module, a validator set that tests change at will, and a market that
//! writes down what it hears.

use crate as pallet_x0_measurement;
use crate::{Observations, Pallet};
use frame_support::{
    derive_impl,
    dispatch::PostDispatchInfo,
    parameter_types,
    traits::{ConstU64, OnFinalize, OnInitialize},
};
use sp_runtime::{
    BuildStorage, DispatchErrorWithPostInfo,
    traits::{Dispatchable, IdentityLookup},
};
use std::collections::BTreeMap;
use x0_types::{
    AccountId, Hash, Moment,
    market::{Counters, MarketHooks, Meter, Observation, Slot, SlotWork, ValidatorSet, Verdict, pack_observations},
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
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(2)]
    pub type Measurement = pallet_x0_measurement;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = ();
}

impl pallet_timestamp::Config for Test {
    type Moment = Moment;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = ();
}

impl pallet_x0_measurement::Config for Test {
    type Time = Timestamp;
    type Validators = MockSet;
    type Hooks = MockMarket;
    type SlotWorkPerBlock = Budget;
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

/// What the market heard of one verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub slot: Slot,
    pub node: AccountId,
    pub verdict: Verdict,
    pub down_reporters: Vec<u8>,
    pub validators: u32,
    /// The node's counters at that moment.
    pub counters: Counters,
}

parameter_types! {
    pub static Budget: u32 = x0_limits::SLOT_WORK_PER_BLOCK_MAX;
    /// Validators by number, with their powers.
    pub static Set: Vec<(u8, u64)> = Vec::new();
    pub static Verdicts: Vec<Heard> = Vec::new();
    pub static ClosedSlots: Vec<Slot> = Vec::new();
    /// Units of work that the market has in a slot.
    pub static MarketWork: BTreeMap<Slot, u32> = BTreeMap::new();
    /// A node that the market dismisses as soon as it hears of it.
    pub static DismissOnVerdict: Option<AccountId> = None;
    /// A node that the market enrols as soon as it hears of any.
    pub static EnrolOnVerdict: Option<AccountId> = None;
}

pub struct MockSet;
impl ValidatorSet<AccountId> for MockSet {
    fn current() -> Vec<(AccountId, u64)> {
        Set::get().into_iter().map(|(n, power)| (validator(n), power)).collect()
    }
    fn index_of_reporter(account: &AccountId) -> Option<u32> {
        Set::get().iter().position(|(n, _)| reporter(*n) == *account).map(|place| place as u32)
    }
}

pub struct MockMarket;
impl MarketHooks<AccountId> for MockMarket {
    fn verdict(slot: Slot, node: &AccountId, verdict: Verdict, down_reporters: &[u8], validators: u32) {
        let counters = Measurement::counters(node).unwrap();
        let heard =
            Heard { slot, node: node.clone(), verdict, down_reporters: down_reporters.to_vec(), validators, counters };
        Verdicts::mutate(|list| list.push(heard));
        if DismissOnVerdict::get().as_ref() == Some(node) {
            Measurement::dismiss(node);
        }
        if let Some(newcomer) = EnrolOnVerdict::take() {
            Measurement::enrol(&newcomer, &stranger()).unwrap();
        }
    }
    fn slot_closed(slot: Slot, budget: u32) -> SlotWork {
        assert!(budget > 0);
        assert_eq!(Measurement::closed_slot(), slot, "all verdicts of the slot are in");
        let mut work = MarketWork::get();
        let left = work.remove(&slot).unwrap_or_default();
        let used = left.min(budget);
        if used < left {
            work.insert(slot, left - used);
        } else {
            ClosedSlots::mutate(|list| list.push(slot));
        }
        MarketWork::set(work);
        SlotWork { used, done: used == left }
    }
    fn next_slot_with_work(after: Slot) -> Option<Slot> {
        MarketWork::get().range(after + 1..).next().map(|(slot, _)| *slot)
    }
}

pub fn validator(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

pub fn reporter(n: u8) -> AccountId {
    let mut bytes = [n; 32];
    bytes[31] = 0xEE;
    AccountId::new(bytes)
}

pub fn node(n: u8) -> AccountId {
    let mut bytes = [n; 32];
    bytes[0] = 0xAA;
    AccountId::new(bytes)
}

/// An owner that validates nothing.
pub fn stranger() -> AccountId {
    AccountId::new([0xFF; 32])
}

/// Genesis time and slot length of these tests: an awkward start shows forgotten subtractions.
pub const GENESIS_MS: Moment = 1_700_000_000_123;
pub const SLOT_MS: Moment = 1_000;

/// A time inside a slot.
pub fn time_in(slot: Slot) -> Moment {
    GENESIS_MS + slot * SLOT_MS + 250
}

pub type Outcome = Result<PostDispatchInfo, DispatchErrorWithPostInfo<PostDispatchInfo>>;

/// Reports as validator `n`: an observation for each index from zero on.
pub fn report(n: u8, slot: Slot, observations: &[Observation]) -> Outcome {
    report_from(reporter(n), slot, pack_observations(observations))
}

pub fn report_from(who: AccountId, slot: Slot, packed: Vec<u8>) -> Outcome {
    let observations = Observations::try_from(packed).unwrap();
    let call = crate::Call::<Test>::report { slot, observations, receipts_root: Hash::repeat_byte(9) };
    RuntimeCall::Measurement(call).dispatch(RuntimeOrigin::signed(who))
}

/// Begins a block, whose parent's time is what `Timestamp` holds, and gives it its own time.
pub fn begin(time_ms: Moment) {
    let height = System::block_number() + 1;
    System::set_block_number(height);
    System::reset_events();
    Measurement::on_initialize(height);
    pallet_timestamp::Now::<Test>::put(time_ms);
}

pub fn end() {
    Measurement::on_finalize(System::block_number());
    Pallet::<Test>::check_invariants().unwrap();
}

/// A whole block in which `calls` happens.
pub fn block<R>(time_ms: Moment, calls: impl FnOnce() -> R) -> R {
    begin(time_ms);
    let result = calls();
    end();
    result
}

/// Two blocks inside a slot: the slot of the second one, which its parent's time decides, is this.
pub fn go_to(slot: Slot) {
    block(time_in(slot), || {});
    block(time_in(slot), || {});
}

/// Runs a test with these validators, in a chain at slot 0.
pub fn run(set: &[(u8, u64)], test: impl FnOnce()) {
    let genesis =
        crate::GenesisConfig { genesis_time_ms: GENESIS_MS, slot_ms: SLOT_MS, _config: core::marker::PhantomData };
    let storage = RuntimeGenesisConfig { measurement: genesis, ..Default::default() }.build_storage().unwrap();
    Budget::set(x0_limits::SLOT_WORK_PER_BLOCK_MAX);
    Set::set(set.to_vec());
    Verdicts::set(Vec::new());
    ClosedSlots::set(Vec::new());
    MarketWork::set(BTreeMap::new());
    DismissOnVerdict::set(None);
    EnrolOnVerdict::set(None);
    sp_io::TestExternalities::from(storage).execute_with(|| {
        test();
        Pallet::<Test>::check_invariants().unwrap();
    });
}
