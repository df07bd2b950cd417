//! The market, the escrow and the janitor with the real measuring module: from the validators'
//! reports to the last unit. Identities and the validator set are scripted; everything else is what
//! the runtime runs, in its order.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests, and items that the runtime macro generates"
)]

use codec::Encode as _;
use frame_support::{PalletId, assert_ok, derive_impl, parameter_types, traits::Hooks};
use frame_system::EnsureRoot;
use pallet_x0_marketplace::{Deals, Manifests};
use proptest::prelude::*;
use sp_core::{ConstU32, ConstU64, ConstU128, H256};
use sp_runtime::{BoundedVec, BuildStorage, DigestItem, traits::IdentityLookup};
use x0_types::{
    AccountId, Balance, KeyRole, MlDsa65PublicKey,
    account::PROPOSER_ENGINE_ID,
    deal::{Capacity, CloseReason, DealState, DealTerms, Manifest, Offer, Outcome, Rate},
    market::{DealId, Identities, Observation, Slot, ValidatorSet, pack_observations},
    receipt::report_commitment,
};

type Block = frame_system::mocking::MockBlockU32<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Timestamp: pallet_timestamp,
        Balances: pallet_balances,
        Measurement: pallet_x0_measurement,
        Escrow: pallet_x0_escrow,
        Marketplace: pallet_x0_marketplace,
        Janitor: pallet_x0_janitor,
    }
);

const RICH: Balance = 1_000_000_000;
const EXISTENTIAL: Balance = 100;
const BOND: Balance = 100_000;
const GENESIS_MS: u64 = 1_700_000_000_123;
const SLOT_MS: u64 = 1_000;
const VALIDATORS: u8 = 4;

parameter_types! {
    pub const ExistentialDeposit: Balance = EXISTENTIAL;
    pub const TreasuryId: PalletId = PalletId(*b"x0/trsry");
    pub static SlotWork: u32 = 256;
    /// Reports that were committed to and not shown yet: reporter, slot, packed observations.
    pub static Pending: Vec<(AccountId, Slot, Vec<u8>)> = Vec::new();
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

impl pallet_timestamp::Config for Test {
    type Moment = u64;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = ();
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ExistentialDeposit;
}

impl pallet_x0_measurement::Config for Test {
    type Time = Timestamp;
    type Validators = Script;
    type Hooks = Marketplace;
    type Listener = ();
    type Sla = Marketplace;
    type Owners = ();
    type Identities = Script;
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type ParametersOrigin = EnsureRoot<AccountId>;
    type SlotWorkPerBlock = SlotWork;
    type WeightInfo = pallet_x0_measurement::weights::MeasuredWeight<Test>;
}

impl pallet_x0_escrow::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type TreasuryId = TreasuryId;
}

impl pallet_x0_marketplace::Config for Test {
    type Meter = Measurement;
    type Queue = Janitor;
    type Identities = Script;
    type Owners = ();
    type Trust = ();
    type Validators = Script;
    type ParametersOrigin = EnsureRoot<AccountId>;
    type SlotMs = ConstU64<SLOT_MS>;
    type ListingDeposit = ConstU128<5_000>;
    type DealDepositMin = ConstU128<50>;
    type BondMin = ConstU128<10>;
    type BlockDeposit = ConstU128<700>;
    type ClosedDealsKept = ConstU64<1_000>;
    type WeightInfo = ();
}

impl pallet_x0_janitor::Config for Test {
    type Meter = Measurement;
    type Worker = Marketplace;
    type Cap = ConstU32<100>;
    type RetryOrigin = EnsureRoot<AccountId>;
    type WeightInfo = ();
}

fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// The `n`-th node; the first two belong to one provider.
fn node(n: usize) -> AccountId {
    AccountId::new([100 + n as u8; 32])
}

fn provider_of(n: usize) -> AccountId {
    account(if n < 2 { 21 } else { 22 })
}

fn renter() -> AccountId {
    account(31)
}

pub struct Script;

impl ValidatorSet<AccountId> for Script {
    fn current() -> Vec<(AccountId, u64)> {
        (0..VALIDATORS).map(|n| (account(1 + n), 1)).collect()
    }
    fn index_of_reporter(reporter: &AccountId) -> Option<u32> {
        (0..VALIDATORS).position(|n| account(11 + n) == *reporter).map(|n| n as u32)
    }
}

impl Identities<AccountId> for Script {
    fn controller(subject: &AccountId) -> Option<AccountId> {
        (0..3).find(|n| node(*n) == *subject).map(provider_of)
    }
    fn key(subject: &AccountId, role: KeyRole) -> Option<MlDsa65PublicKey> {
        (role == KeyRole::Agent && Self::controller(subject).is_some())
            .then(|| MlDsa65PublicKey(Box::new([0; x0_types::key::PUBLIC_KEY_BYTES])))
    }
}

/// What the validators see of the three nodes in one slot; a validator without a row is silent.
type Sight = Vec<Option<[Observation; 3]>>;

fn signed(who: AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

/// A block whose own time lies in this slot, hooks in the runtime's order; the validators make blocks in
/// turns and show the reports that are due.
fn block_in(slot: Slot) {
    let last = System::block_number();
    Measurement::on_finalize(last);
    let height = last + 1;
    let author = account(1 + (height % u32::from(VALIDATORS)) as u8);
    let logs = vec![DigestItem::PreRuntime(PROPOSER_ENGINE_ID, author.encode())];
    System::initialize(&height, &System::block_hash(last), &sp_runtime::Digest { logs });
    System::reset_events();
    Measurement::on_initialize(height);
    Janitor::on_initialize(height);
    pallet_timestamp::Now::<Test>::put(GENESIS_MS + slot * SLOT_MS + 500);
    show_pending();
    check();
}

const ROOT: H256 = H256::repeat_byte(9);

/// Shows the reports whose time it is.
fn show_pending() {
    let open: Vec<Slot> = pallet_x0_measurement::OpenSlots::<Test>::get()
        .iter()
        .filter(|open| open.revealing.is_some())
        .map(|open| open.slot)
        .collect();
    let (due, rest): (Vec<_>, Vec<_>) = Pending::take().into_iter().partition(|(_, slot, _)| open.contains(slot));
    Pending::set(rest);
    for (reporter, slot, packed) in due {
        let observations = BoundedVec::try_from(packed).unwrap();
        assert_ok!(Measurement::reveal_report(signed(reporter), slot, observations, ROOT, SALT));
    }
}

fn check() {
    Measurement::check_invariants().unwrap();
    Escrow::check_invariants().unwrap();
    Marketplace::check_invariants().unwrap();
    Janitor::check_invariants().unwrap();
    let accounts: Balance = frame_system::Account::<Test>::iter().map(|(_, a)| a.data.free + a.data.reserved).sum();
    assert_eq!(accounts, 3 * RICH + EXISTENTIAL);
    assert_eq!(pallet_balances::TotalIssuance::<Test>::get(), accounts);
}

/// The slot passes and the validators report what they saw of it.
fn pass(slot: Slot, sight: &Sight) {
    block_in(slot);
    block_in(slot);
    for (n, row) in sight.iter().enumerate() {
        if let Some(row) = row {
            let (validator, reporter) = (account(1 + n as u8), account(11 + n as u8));
            let packed = pack_observations(row);
            let commitment = report_commitment(&validator, slot, &packed, &ROOT, &SALT);
            assert_ok!(Measurement::commit_report(signed(reporter.clone()), slot, commitment));
            Pending::mutate(|pending| pending.push((reporter, slot, packed)));
        }
    }
    // As many blocks as there are validators: the windows for reports wait for their turns.
    for _ in 0..VALIDATORS {
        block_in(slot);
    }
}

/// Blocks in a slot without reports: as many as any window for reports waits for.
fn stay_in(slot: Slot) {
    for _ in 0..VALIDATORS + 2 {
        block_in(slot);
    }
}

fn all(seen: [Observation; 3]) -> Sight {
    vec![Some(seen); 4]
}

/// The salt of all commitments of these tests.
const SALT: [u8; 32] = [7; 32];
const UP: [Observation; 3] = [Observation::Up; 3];

fn with_chain(test: impl FnOnce()) {
    let genesis = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: [account(21), account(22), renter()].map(|who| (who, RICH)).to_vec(),
            ..Default::default()
        },
        measurement: pallet_x0_measurement::GenesisConfig {
            genesis_time_ms: GENESIS_MS,
            slot_ms: SLOT_MS,
            ..Default::default()
        },
        ..Default::default()
    };
    Pending::set(Vec::new());
    let mut chain: sp_io::TestExternalities = genesis.build_storage().unwrap().into();
    chain.execute_with(|| {
        // Records are contested sometimes: the waits are short, so that histories end.
        let usual = pallet_x0_marketplace::Parameters::<Test>::get();
        let terms = DealTerms { dispute_window_slots: 5, ruling_slots: 5, ..usual };
        assert_ok!(Marketplace::set_parameters(RuntimeOrigin::root(), usual, terms));
        block_in(1);
        block_in(1);
        for n in 0..3 {
            let region = BoundedVec::try_from(b"eu".to_vec()).unwrap();
            let (price, capacity) = (Rate { num: 7, den: 1 }, Capacity { bandwidth_kbps: 1_000, sessions: 1_000 });
            let provider = signed(provider_of(n));
            let offer = Offer::plain(price, capacity, region, 10..=1_000, BOND);
            assert_ok!(Marketplace::list(provider, node(n), offer));
        }
        test();
        check();
    });
}

fn rent_and_confirm(n: usize, kbps: u32, term: u64, deposit: Balance) -> DealId {
    let deal = pallet_x0_marketplace::NextDeal::<Test>::get();
    let manifest = Manifest {
        mesh: H256::repeat_byte(7),
        agents: BoundedVec::try_from(vec![account(90)]).unwrap(),
        checks: Default::default(),
    };
    let (hash, price) = (manifest.hash(), Rate { num: 7, den: 1 });
    let capacity = Capacity { bandwidth_kbps: kbps, sessions: 1 };
    assert_ok!(Marketplace::rent(signed(renter()), n as u64, 0, capacity, term, deposit, price, manifest));
    assert!(Manifests::<Test>::contains_key(deal));
    assert_ok!(Marketplace::confirm(signed(provider_of(n)), deal, hash));
    deal
}

fn deal(id: DealId) -> pallet_x0_marketplace::Deal<AccountId> {
    Deals::<Test>::get(id).unwrap()
}

fn balances() -> Vec<Balance> {
    [account(21), account(22), renter(), Escrow::treasury()].iter().map(Balances::free_balance).collect()
}

/// M14, M17: the main job, from reports to refunds: a node is rented, serves, dies; the verdict fails the
/// deal and the next block pays.
#[test]
fn reports_become_verdicts_and_verdicts_become_refunds() {
    with_chain(|| {
        let (dies, serves) = (rent_and_confirm(0, 1_000, 50, 1_000), rent_and_confirm(2, 500, 50, 1_000));
        // Confirmed in slot 1: slots 2 to 11 are good.
        for slot in 2..=11 {
            pass(slot, &all(UP));
        }
        // The node is killed. One validator is silent: three of four still prove it.
        let down = [Observation::Down, Observation::Up, Observation::Up];
        for slot in 12..=14 {
            pass(slot, &vec![Some(down), Some(down), Some(down), None]);
            assert!(deal(dies).frozen.is_none());
        }
        // Slot 14 closes at the first block whose slot is 17: the one after the block of slot 17.
        stay_in(15);
        stay_in(16);
        block_in(17);
        assert_eq!(deal(dies).state, DealState::Suspect);
        block_in(17);
        let frozen = deal(dies).frozen.unwrap();
        assert_eq!((frozen.reason, frozen.slot, frozen.good_slots), (CloseReason::NodeDown, 14, 10));
        assert_eq!((frozen.height, frozen.evidence.unwrap().reporter_count()), (System::block_number(), 3));
        block_in(17);
        let expected = Outcome {
            good_slots: 10,
            gross: 70,
            to_provider: 69,
            fee: 1,
            refund: 930,
            // Nobody knows the node: it posts half as much again.
            slash: 7_500,
            compensation: 6_000,
            bond_back: 142_500,
        };
        assert_eq!((deal(dies).state, deal(dies).outcome), (DealState::Failed, Some(expected)));
        assert_eq!(deal(serves).state, DealState::Active);
        let held = 2 * 5_000;
        assert_eq!(balances()[0], RICH - held + 69 - 7_500);
        assert_eq!(balances()[2], RICH - 70 + 6_000 - 1_000);
        assert_eq!(balances()[3], EXISTENTIAL + 1 + 1_500);
        // Slots 15 and 16 had no reports: VOID, and nobody pays for them.
        assert_ok!(Marketplace::settle(signed(renter()), serves));
        assert_eq!(Marketplace::meter(serves).unwrap().good, 13);
    });
}

/// A chain that stood still bills nothing for that time and blames nobody.
#[test]
fn a_standstill_is_void() {
    with_chain(|| {
        let id = rent_and_confirm(0, 1_000, 500, 1_000);
        for slot in 2..=5 {
            pass(slot, &all(UP));
        }
        stay_in(300);
        stay_in(301);
        let reading = Marketplace::meter(id).unwrap();
        assert_eq!((reading.closed_slot, reading.good, reading.void), (298, 4, 293));
        // The end slot lies inside a second standstill and stops the closing there.
        let frozen = (0..10).find_map(|_| {
            block_in(900);
            deal(id).frozen
        });
        let frozen = frozen.unwrap();
        assert_eq!((frozen.reason, frozen.slot, frozen.good_slots), (CloseReason::TermServed, 501, 4));
        block_in(900);
        assert_eq!(deal(id).state, DealState::Completed);
    });
}

/// Two validators of four are enough for no billing, and not for a slash.
/// M18: kills the mutants "union check at >= 2N" (two of three below) and "DOWN at D*3 >= N".
#[test]
fn half_the_validators_cannot_fail_a_deal() {
    with_chain(|| {
        let id = rent_and_confirm(0, 1_000, 50, 1_000);
        let down = [Observation::Down, Observation::Up, Observation::Up];
        for slot in 2..=30 {
            pass(slot, &vec![Some(down), Some(down), None, None]);
        }
        stay_in(32);
        stay_in(33);
        assert_eq!(deal(id).state, DealState::Suspect);
        let reading = Marketplace::meter(id).unwrap();
        assert_eq!((reading.bad, reading.good), (29, 0));
    });
}

fn sight() -> impl Strategy<Value = Sight> {
    let seen = prop_oneof![5 => Just(Observation::Up), 4 => Just(Observation::Down), 1 => Just(Observation::None)];
    let row = proptest::option::weighted(0.9, (seen.clone(), seen.clone(), seen).prop_map(|(a, b, c)| [a, b, c]));
    prop_oneof![3 => Just(all(UP)), 4 => proptest::collection::vec(row, 4), 2 => Just(all([Observation::Down; 3]))]
}

/// Runs deals over a history of reports and says how everything ended.
fn history(deals: &[(usize, u32, u64, u32)], sights: &[Sight], slot_work: u32) -> (Vec<Balance>, Vec<Option<Outcome>>) {
    let mut end = None;
    with_chain(|| {
        SlotWork::set(slot_work);
        let ids: Vec<_> = deals
            .iter()
            .map(|(n, kbps, term, deposit)| rent_and_confirm(*n, *kbps, *term, u128::from(*deposit)))
            .collect();
        for (index, sight) in sights.iter().enumerate() {
            let slot = index as u64 + 2;
            pass(slot, sight);
            // Enough blocks for any backlog of closing, within the slot.
            for _ in 0..60 / slot_work.min(60) {
                block_in(slot);
            }
        }
        let mut slot = sights.len() as u64 + 2;
        while ids.iter().any(|id| !deal(*id).state.is_terminal()) {
            block_in(slot);
            // A contested deal waits for a dispute long after everything else is over.
            slot += if slot < 200 { 1 } else { 2_000 };
            assert!(slot < 200_000, "a deal does not end");
        }
        end = Some((balances(), ids.iter().map(|id| deal(*id).outcome).collect()));
    });
    end.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever the validators report, a block that closes little at a time pays what one that closes
    /// everything at once pays.
    #[test]
    fn the_pace_of_closing_changes_no_amount(
        deals in proptest::collection::vec((0usize..3, 20u32..100, 10u64..30, 60u32..200), 1..12),
        sights in proptest::collection::vec(sight(), 10..30),
    ) {
        prop_assert_eq!(history(&deals, &sights, 3), history(&deals, &sights, 256));
    }
}
