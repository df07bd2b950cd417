//! A runtime with this module, a validator set that tests change at will, and a market that
//! writes down what it hears.

use crate as pallet_x0_measurement;
use crate::{Observations, Pallet};
use codec::Encode as _;
use frame_support::{
    derive_impl,
    dispatch::PostDispatchInfo,
    parameter_types,
    traits::{ConstU64, ConstU128, OnFinalize, OnInitialize},
};
use sp_runtime::{
    BuildStorage, DigestItem, DispatchErrorWithPostInfo,
    traits::{Dispatchable, IdentityLookup},
};
use std::collections::{BTreeMap, BTreeSet};
use x0_crypto::SigningKey;
use x0_types::{
    AccountId, Balance, Hash, KeyRole, MlDsa65PublicKey, Moment,
    account::{PROPOSER_ENGINE_ID, UNIT},
    governance::{OwnerId, OwnerRegistry},
    market::{
        Counters, DealId, Identities, MarketHooks, Meter, Observation, SlaBreach, SlaObserver, SlaPromise, Slot,
        SlotWork, ValidatorSet, Verdict, VerdictListener, pack_observations,
    },
    receipt::report_commitment,
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
    #[runtime::pallet_index(3)]
    pub type Balances = pallet_balances;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

impl pallet_timestamp::Config for Test {
    type Moment = Moment;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = ();
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<1>;
}

impl pallet_x0_measurement::Config for Test {
    type Time = Timestamp;
    type Validators = MockSet;
    type Hooks = MockMarket;
    type Listener = MockTrust;
    type Sla = MockSla;
    type Owners = MockOwners;
    type Identities = MockKeys;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type ParametersOrigin = frame_system::EnsureRoot<AccountId>;
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
    /// What the trust module heard.
    pub static Told: Vec<(Slot, AccountId, Verdict)> = Vec::new();
    /// Registered owners of accounts.
    pub static Owned: BTreeMap<AccountId, OwnerId> = BTreeMap::new();
    /// Height from which each node's key is valid; 0 when it is not named.
    pub static KeysSince: BTreeMap<AccountId, u32> = BTreeMap::new();
    /// Controllers of agents.
    pub static Controllers: BTreeMap<AccountId, AccountId> = BTreeMap::new();
    pub static Promises: BTreeMap<DealId, SlaPromise<AccountId>> = BTreeMap::new();
    /// Broken promises that the market heard of.
    pub static Broken: Vec<(DealId, Slot, Slot, SlaBreach)> = Vec::new();
    /// Reports that were committed to and wait to be shown: validator, slot, observations.
    pub static Pending: Vec<(u8, Slot, Vec<u8>)> = Vec::new();
    /// Validators that never show what they committed to.
    pub static Withholding: BTreeSet<u8> = BTreeSet::new();
    /// Who makes the blocks, in turns; the validators of the set when empty.
    pub static Turns: Vec<u8> = Vec::new();
}

pub struct MockTrust;
impl VerdictListener<AccountId> for MockTrust {
    fn verdict(slot: Slot, node: &AccountId, verdict: Verdict) {
        Told::mutate(|told| told.push((slot, node.clone(), verdict)));
    }
}

pub struct MockOwners;
impl OwnerRegistry<AccountId> for MockOwners {
    fn owner_of(account: &AccountId) -> Option<OwnerId> {
        Owned::get().get(account).copied()
    }
}

pub struct MockSla;
impl SlaObserver<AccountId> for MockSla {
    fn promise(deal: DealId) -> Option<SlaPromise<AccountId>> {
        Promises::get().get(&deal).cloned()
    }
    fn broken(deal: DealId, first: Slot, last: Slot, breach: SlaBreach) {
        Broken::mutate(|all| all.push((deal, first, last, breach)));
    }
}

/// The key of a node or of a renter's agent.
pub fn key_of(account: &AccountId) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::dev::seed(&format!("{account:?}"), "measured")).unwrap()
}

pub struct MockKeys;
impl Identities<AccountId> for MockKeys {
    fn controller(subject: &AccountId) -> Option<AccountId> {
        Controllers::get().get(subject).cloned()
    }
    fn key(subject: &AccountId, role: KeyRole) -> Option<MlDsa65PublicKey> {
        (role == KeyRole::Agent).then(|| MlDsa65PublicKey(key_of(subject).public().clone().to_boxed()))
    }
    fn key_since(subject: &AccountId, _: KeyRole) -> Option<u32> {
        Some(KeysSince::get().get(subject).copied().unwrap_or_default())
    }
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

/// Somebody with money and without any role.
pub fn challenger(n: u8) -> AccountId {
    let mut bytes = [n; 32];
    bytes[1] = 0xCC;
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

/// The root that reports of these tests name, unless they show receipts.
pub const ROOT: Hash = Hash::repeat_byte(9);
/// The salt of all commitments of these tests.
pub const SALT: [u8; 32] = [3; 32];

/// Commits as validator `n` to a report with an observation for each index from zero on; it is shown in the first
/// block that takes it.
pub fn report(n: u8, slot: Slot, observations: &[Observation]) -> Outcome {
    let packed = pack_observations(observations);
    let outcome = commit(reporter(n), slot, report_commitment(&validator(n), slot, &packed, &ROOT, &SALT));
    if outcome.is_ok() {
        Pending::mutate(|pending| pending.push((n, slot, packed)));
    }
    outcome
}

pub fn commit(who: AccountId, slot: Slot, commitment: Hash) -> Outcome {
    let call = crate::Call::<Test>::commit_report { slot, commitment };
    RuntimeCall::Measurement(call).dispatch(RuntimeOrigin::signed(who))
}

pub fn reveal(who: AccountId, slot: Slot, packed: Vec<u8>, receipts_root: Hash) -> Outcome {
    let observations = Observations::try_from(packed).unwrap();
    let call = crate::Call::<Test>::reveal_report { slot, observations, receipts_root, salt: SALT };
    RuntimeCall::Measurement(call).dispatch(RuntimeOrigin::signed(who))
}

/// Shows what may be shown.
fn show_pending() {
    let open: BTreeSet<Slot> =
        crate::OpenSlots::<Test>::get().iter().filter(|open| open.revealing.is_some()).map(|open| open.slot).collect();
    let (due, rest): (Vec<_>, Vec<_>) = Pending::take().into_iter().partition(|(_, slot, _)| open.contains(slot));
    Pending::set(rest);
    for (n, slot, packed) in due {
        if !Withholding::get().contains(&n) {
            // Who left the set cannot show anything any more.
            let outcome = reveal(reporter(n), slot, packed, ROOT);
            assert!(outcome.is_ok() || Set::get().iter().all(|(m, _)| *m != n), "{outcome:?}");
        }
    }
}

/// Begins a block, whose parent's time is what `Timestamp` holds, and gives it its own time.
pub fn begin(time_ms: Moment) {
    let height = System::block_number() + 1;
    let turns = Turns::get();
    let set: Vec<u8> = if turns.is_empty() { Set::get().iter().map(|(n, _)| *n).collect() } else { turns };
    let author = (!set.is_empty()).then(|| validator(set[height as usize % set.len()]));
    let logs = author.map(|author| DigestItem::PreRuntime(PROPOSER_ENGINE_ID, author.encode()));
    let digest = sp_runtime::Digest { logs: logs.into_iter().collect() };
    System::initialize(&height, &System::block_hash(height - 1), &digest);
    System::reset_events();
    Measurement::on_initialize(height);
    pallet_timestamp::Now::<Test>::put(time_ms);
    show_pending();
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

/// Blocks inside a slot: the slot of the second one, which its parent's time decides, is this, and as many
/// validators make blocks as any window waits for.
pub fn go_to(slot: Slot) {
    block(time_in(slot), || {});
    let validators = Set::get().len();
    for _ in 0..=if validators <= 10 { validators } else { validators / 3 + 1 } {
        block(time_in(slot), || {});
    }
}

/// Lets the reports on a slot be shown, and closes it.
pub fn close(slot: Slot) {
    go_to(slot + 2);
    go_to(slot + 3);
    assert_eq!(Measurement::closed_slot(), slot);
}

/// Runs a test with these validators, in a chain at slot 0.
pub fn run(set: &[(u8, u64)], test: impl FnOnce()) {
    let genesis =
        crate::GenesisConfig { genesis_time_ms: GENESIS_MS, slot_ms: SLOT_MS, _config: core::marker::PhantomData };
    let rich = (1..=9).map(|n| (challenger(n), 100 * UNIT)).collect();
    let balances = pallet_balances::GenesisConfig { balances: rich, ..Default::default() };
    let storage =
        RuntimeGenesisConfig { measurement: genesis, balances, ..Default::default() }.build_storage().unwrap();
    Budget::set(x0_limits::SLOT_WORK_PER_BLOCK_MAX);
    Set::set(set.to_vec());
    Verdicts::set(Vec::new());
    ClosedSlots::set(Vec::new());
    MarketWork::set(BTreeMap::new());
    DismissOnVerdict::set(None);
    EnrolOnVerdict::set(None);
    Told::set(Vec::new());
    Owned::set(BTreeMap::new());
    KeysSince::set(BTreeMap::new());
    Controllers::set(BTreeMap::new());
    Promises::set(BTreeMap::new());
    Broken::set(Vec::new());
    Pending::set(Vec::new());
    Withholding::set(BTreeSet::new());
    Turns::set(Vec::new());
    sp_io::TestExternalities::from(storage).execute_with(|| {
        test();
        Pallet::<Test>::check_invariants().unwrap();
    });
}
