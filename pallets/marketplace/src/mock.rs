//! A chain with balances, escrow, market and janitor, and a measuring module that follows a script.
//!
//! A block does what the runtime does: slots close (verdicts, then `slot_closed`), then the janitor
//! works. Each block ends with every invariant checked.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use frame_support::{PalletId, derive_impl, parameter_types, traits::Hooks};
use frame_system::EnsureRoot;
use sp_core::{ConstU64, ConstU128, H256};
use sp_runtime::{BoundedVec, BuildStorage, DispatchError, DispatchResult};
use x0_types::{
    Balance, KeyRole, MlDsa65PublicKey,
    deal::{Capacity, CloseReason, DealState, DealTerms, Manifest, Offer, Rate, Region, SlaTerms},
    governance::{OwnerId, OwnerRegistry},
    market::{Counters, DealId, Identities, ListingId, MarketHooks, Meter, NodeIndex, Slot, ValidatorSet, Verdict},
    trust::{TrustReading, TrustSource},
};

pub type Block = frame_system::mocking::MockBlockU32<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Balances: pallet_balances,
        Escrow: pallet_x0_escrow,
        Market: crate,
        Janitor: pallet_x0_janitor,
    }
);

/// A provider controls the nodes `100 * provider + n`.
pub const PROVIDER: u64 = 1;
pub const PROVIDER_2: u64 = 2;
pub const RENTER: u64 = 11;
pub const RENTER_2: u64 = 12;
pub const NODE: u64 = 100;
pub const NODE_2: u64 = 101;
pub const OTHER_NODE: u64 = 200;
pub const ACCOUNTS: [u64; 4] = [PROVIDER, PROVIDER_2, RENTER, RENTER_2];

pub const RICH: Balance = 1_000_000_000_000;
pub const EXISTENTIAL: Balance = 100;
pub const LISTING_DEPOSIT: Balance = 5_000;
pub const BOND: Balance = 100_000;
pub const BLOCK_DEPOSIT: Balance = 700;
/// The trust at which a deal's bond is neither raised nor lowered.
pub const PAR_TRUST: u32 = 384_616;
/// What every bid of these tests holds, unless they set it otherwise.
pub const BID_DEPOSIT: Balance = 3_000;
pub const PRICE: Rate = Rate { num: 7, den: 1 };
pub const CAPACITY: Capacity = Capacity { bandwidth_kbps: 1_000, sessions: 10 };
pub const SMALL: Capacity = Capacity { bandwidth_kbps: 100, sessions: 1 };

parameter_types! {
    pub const ExistentialDeposit: Balance = EXISTENTIAL;
    pub const TreasuryId: PalletId = PalletId(*b"x0/trsry");
    pub static Cap: u32 = 100;
    pub static SlotBudget: u32 = 256;
    pub static ClosedDealsKept: u64 = 1_000;
    /// Validators that judge.
    pub static Validators: u32 = 4;
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
    type RuntimeHoldReason = RuntimeHoldReason;
}

impl pallet_x0_escrow::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type TreasuryId = TreasuryId;
}

impl pallet_x0_janitor::Config for Test {
    type Meter = Script;
    type Worker = Market;
    type Cap = Cap;
    type RetryOrigin = EnsureRoot<u64>;
    type WeightInfo = ();
}

impl crate::Config for Test {
    type Meter = Script;
    type Queue = Janitor;
    type Identities = Script;
    type Owners = Script;
    type Trust = Script;
    type Validators = Script;
    type ParametersOrigin = EnsureRoot<u64>;
    type SlotMs = ConstU64<{ x0_limits::SLOT_MS }>;
    type ListingDeposit = ConstU128<LISTING_DEPOSIT>;
    type DealDepositMin = ConstU128<50>;
    type BondMin = ConstU128<10>;
    type BlockDeposit = ConstU128<BLOCK_DEPOSIT>;
    type ClosedDealsKept = ClosedDealsKept;
    type WeightInfo = ();
}

/// What the script says of a node in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Up,
    /// With the bits of the validators that reported it.
    Down(u8),
    Unknown,
    Conflict,
}

/// Slots after which a slot closes, its own one included.
pub const CLOSING_SLOTS: u64 = 1 + x0_limits::REPORT_GRACE_SLOTS + x0_limits::REVEAL_SLOTS;

/// All four validators.
pub const ALL: u8 = 0b1111;

/// The scripted measuring module.
#[derive(Default)]
pub struct World {
    pub current: Slot,
    pub closed: Slot,
    pub void: u64,
    pub nodes: BTreeMap<u64, (u64, u64)>,
    /// What is not UP.
    pub plan: BTreeMap<(Slot, u64), Seen>,
    pub void_slots: BTreeSet<Slot>,
    pub revoked: BTreeSet<u64>,
    pub suspended: BTreeSet<u64>,
    /// Score of a node; the others have [`PAR_TRUST`].
    pub scores: BTreeMap<u64, u32>,
    pub owners: BTreeMap<u64, OwnerId>,
    /// The slot whose `slot_closed` is not done.
    working: Option<Slot>,
    suspects: BTreeSet<u64>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Reads or changes the script.
pub fn world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(f)
}

pub struct Script;

impl Meter<u64> for Script {
    fn current_slot() -> Slot {
        world(|w| w.current)
    }
    fn closed_slot() -> Slot {
        world(|w| w.closed)
    }
    fn counters(node: &u64) -> Option<Counters> {
        world(|w| {
            w.nodes.get(node).map(|(bad, unknown)| Counters {
                closed: w.closed,
                void: w.void,
                bad: *bad,
                unknown: *unknown,
            })
        })
    }
    fn enrol(node: &u64, _: &u64) -> Result<NodeIndex, DispatchError> {
        world(|w| {
            w.nodes.entry(*node).or_default();
        });
        Ok(0)
    }
    fn dismiss(node: &u64) {
        world(|w| w.nodes.remove(node));
    }
}

impl Identities<u64> for Script {
    fn controller(subject: &u64) -> Option<u64> {
        (*subject >= 100 && !world(|w| w.revoked.contains(subject))).then_some(subject / 100)
    }
    fn key(subject: &u64, role: KeyRole) -> Option<MlDsa65PublicKey> {
        (role == KeyRole::Agent && Self::controller(subject).is_some())
            .then(|| MlDsa65PublicKey(Box::new([0; x0_types::key::PUBLIC_KEY_BYTES])))
    }
}

impl TrustSource<u64> for Script {
    fn reading(node: &u64) -> TrustReading {
        world(|w| TrustReading {
            suspended: w.suspended.contains(node),
            score_ppm: w.scores.get(node).copied().unwrap_or(PAR_TRUST),
            ..TrustReading::default()
        })
    }
}

/// The controllers of the validators, as many as [`Validators`] says.
pub const JUDGE: u64 = 50;

impl ValidatorSet<u64> for Script {
    fn current() -> Vec<(u64, u64)> {
        (0..u64::from(Validators::get())).map(|n| (JUDGE + n, 1)).collect()
    }
    fn index_of_reporter(_: &u64) -> Option<u32> {
        None
    }
}

impl OwnerRegistry<u64> for Script {
    fn owner_of(account: &u64) -> Option<OwnerId> {
        world(|w| w.owners.get(account).copied())
    }
}

/// Closes all slots that are due: what the measuring module does at the start of a block.
fn close_slots() {
    loop {
        if let Some(slot) = world(|w| w.working) {
            if !Market::slot_closed(slot, SlotBudget::get()).done {
                return;
            }
            world(|w| w.working = None);
        }
        let Some(slot) = world(|w| (w.closed + CLOSING_SLOTS < w.current).then_some(w.closed + 1)) else {
            return;
        };
        close(slot);
    }
}

fn close(slot: Slot) {
    let void = world(|w| w.void_slots.contains(&slot));
    let nodes: Vec<u64> = world(|w| w.nodes.keys().copied().collect());
    let mut verdicts = Vec::new();
    world(|w| {
        w.closed = slot;
        if void {
            w.void += 1;
            return;
        }
        for node in nodes {
            let seen = w.plan.get(&(slot, node)).copied().unwrap_or(Seen::Up);
            let counters = w.nodes.get_mut(&node).unwrap();
            match seen {
                Seen::Up => {
                    if w.suspects.remove(&node) {
                        verdicts.push((node, Verdict::Up, 0));
                    }
                }
                Seen::Down(bits) => {
                    counters.0 += 1;
                    w.suspects.insert(node);
                    verdicts.push((node, Verdict::Down, bits));
                }
                Seen::Unknown => {
                    counters.1 += 1;
                    verdicts.push((node, Verdict::Unknown, 0));
                }
                Seen::Conflict => {
                    counters.1 += 1;
                    verdicts.push((node, Verdict::Conflict, 0));
                }
            }
        }
    });
    for (node, verdict, bits) in verdicts {
        let reporters: &[u8] = if verdict == Verdict::Down { &[bits] } else { &[] };
        Market::verdict(slot, &node, verdict, reporters, Validators::get());
    }
    world(|w| w.working = Some(slot));
}

/// The next block, with the clock at this slot.
pub fn block_at(slot: Slot) {
    let next = System::block_number() + 1;
    System::set_block_number(next);
    world(|w| w.current = slot.max(w.current));
    close_slots();
    Janitor::on_initialize(next);
    check();
}

/// The next block, this many slots later.
pub fn forward(slots: u64) {
    block_at(world(|w| w.current) + slots);
}

/// One block for each slot up to the one in which this slot has closed.
pub fn close_up_to(slot: Slot) {
    while world(|w| w.closed) < slot {
        forward(1);
    }
}

/// Everything that is true after every block.
pub fn check() {
    Escrow::check_invariants().unwrap();
    Market::check_invariants().unwrap();
    Janitor::check_invariants().unwrap();
    // I1 and I3: issuance is the sum of all accounts, and every held unit belongs to a deal or a listing.
    let accounts: Balance = frame_system::Account::<Test>::iter().map(|(_, a)| a.data.free + a.data.reserved).sum();
    assert_eq!(pallet_balances::TotalIssuance::<Test>::get(), accounts);
    assert_eq!(accounts, ACCOUNTS.len() as u128 * RICH + EXISTENTIAL, "the market mints and burns nothing");
    let held = |reason: RuntimeHoldReason| -> Balance {
        let holds = pallet_balances::Holds::<Test>::iter_values().flatten();
        holds.filter(|hold| hold.id == reason).map(|hold| hold.amount).sum()
    };
    assert_eq!(held(pallet_x0_escrow::HoldReason::DealEscrow.into()), pallet_x0_escrow::EscrowTotal::<Test>::get());
    assert_eq!(held(pallet_x0_escrow::HoldReason::DealBond.into()), pallet_x0_escrow::BondTotal::<Test>::get());
    assert_eq!(held(pallet_x0_escrow::HoldReason::DealDispute.into()), pallet_x0_escrow::StakeTotal::<Test>::get());
    assert!(Escrow::solvency().unwrap().is_solvent, "M39");
    let listings: Balance = crate::Listings::<Test>::iter_values().map(|listing| listing.storage_deposit).sum();
    assert_eq!(held(crate::HoldReason::Listing.into()), listings);
    let open: Balance = crate::Requests::<Test>::iter_values().flat_map(|r| r.bids).map(|bid| bid.deposit).sum();
    let accepted: Balance = crate::AcceptedBids::<Test>::iter_values().map(|bid| bid.amount).sum();
    assert_eq!(held(crate::HoldReason::Bid.into()), open + accepted, "I18");
}

/// The usual parameters, but no record is ever contested.
pub const UNCONTESTED: DealTerms = DealTerms {
    fee_ppm: x0_limits::FEE_PPM,
    compensation_ppm: x0_limits::COMPENSATION_PPM,
    slash_ladder_ppm: x0_limits::SLASH_LADDER_PPM,
    fail_run_slots: x0_limits::FAIL_RUN_SLOTS,
    conflict_run_slots: x0_limits::FAIL_RUN_SLOTS_MAX,
    contested_ppm: x0_types::deal::PPM,
    dispute_window_slots: 20,
    ruling_slots: 30,
    maintenance_ppm: x0_limits::MAINTENANCE_PPM,
};

/// Governance sets the parameters of deals that are confirmed from now on.
pub fn set_terms(new: DealTerms) -> DispatchResult {
    Market::set_parameters(RuntimeOrigin::root(), crate::Parameters::<Test>::get(), new)
}

fn genesis() -> sp_storage::Storage {
    world(|w| *w = World { current: 10, closed: 10 - CLOSING_SLOTS, ..World::default() });
    let genesis = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: ACCOUNTS.iter().map(|account| (*account, RICH)).collect(),
            ..Default::default()
        },
        ..Default::default()
    };
    genesis.build_storage().unwrap()
}

fn set_up() {
    System::set_block_number(1);
    crate::Prices::<Test>::mutate(|prices| prices.bid_deposit = BID_DEPOSIT);
    // Tests of disputes set the usual limits again.
    crate::Parameters::<Test>::put(UNCONTESTED);
}

/// A new chain in slot 10, with a state in a trie.
pub fn chain() -> sp_io::TestExternalities {
    let mut chain: sp_io::TestExternalities = genesis().into();
    chain.execute_with(set_up);
    chain
}

/// Runs a test on a new chain in slot 10, with a state in a map: histories read it all after each call.
pub fn with_chain(test: impl FnOnce()) {
    sp_state_machine::BasicExternalities::execute_with_storage(&mut genesis(), || {
        set_up();
        test();
        check();
    });
}

pub fn signed(who: u64) -> RuntimeOrigin {
    RuntimeOrigin::signed(who)
}

/// Lists a node with the constants above.
pub fn list_node(node: u64) -> Result<ListingId, DispatchError> {
    let listing = crate::NextListing::<Test>::get();
    Market::list(signed(node / 100), node, offer(PRICE, CAPACITY, region("eu"), 10, 1_000, BOND))?;
    Ok(listing)
}

/// An offer that promises nothing special, at one price.
pub fn offer(price: Rate, capacity: Capacity, region: Region, min: u64, max: u64, bond: Balance) -> Offer {
    Offer::plain(price, capacity, region, min..=max, bond)
}

pub fn region(name: &str) -> Region {
    BoundedVec::try_from(name.as_bytes().to_vec()).unwrap()
}

pub fn manifest() -> Manifest<u64> {
    Manifest {
        mesh: H256::repeat_byte(7),
        agents: BoundedVec::try_from(vec![900, 901]).unwrap(),
        checks: Default::default(),
    }
}

/// A price that nobody minds.
pub const ANY_PRICE: Rate = Rate { num: u128::MAX, den: 1 };

/// Rents at the listing's present version and price.
pub fn rent(
    renter: u64,
    listing: ListingId,
    capacity: Capacity,
    term: u64,
    deposit: Balance,
) -> Result<DealId, DispatchError> {
    let deal = crate::NextDeal::<Test>::get();
    let version = crate::Listings::<Test>::get(listing).map_or(0, |listing| listing.version);
    Market::rent(signed(renter), listing, version, capacity, term, deposit, ANY_PRICE, manifest())?;
    Ok(deal)
}

pub fn confirm(deal: DealId) -> DispatchResult {
    let record = deal_of(deal);
    Market::confirm(signed(record.provider), deal, record.manifest_hash)
}

/// A deal over the node's whole capacity, confirmed in this slot.
pub fn confirmed(node: u64, term: u64, deposit: Balance) -> DealId {
    let listing = crate::ListingOf::<Test>::get(node).unwrap_or_else(|| list_node(node).unwrap());
    let deal = rent(RENTER, listing, CAPACITY, term, deposit).unwrap();
    confirm(deal).unwrap();
    deal
}

pub fn deal_of(deal: DealId) -> crate::Deal<u64> {
    crate::Deals::<Test>::get(deal).unwrap()
}

pub fn state(deal: DealId) -> DealState {
    deal_of(deal).state
}

pub fn outcome(deal: DealId) -> x0_types::deal::Outcome {
    deal_of(deal).outcome.unwrap()
}

pub fn free(who: u64) -> Balance {
    Balances::free_balance(who)
}

/// Free balances of all parties and the treasury.
pub fn balances() -> Vec<Balance> {
    ACCOUNTS.iter().copied().chain([Escrow::treasury()]).map(free).collect()
}

/// The script says this of a node in these slots.
pub fn plan(node: u64, slots: impl IntoIterator<Item = Slot>, seen: Seen) {
    world(|w| w.plan.extend(slots.into_iter().map(|slot| ((slot, node), seen))));
}

/// A deal over the node's whole capacity with these promises, confirmed in this slot.
pub fn promised(node: u64, sla: SlaTerms, term: u64, deposit: Balance) -> DealId {
    let offer = Offer { sla, ..offer(PRICE, CAPACITY, region("eu"), 10, 10_000, BOND) };
    let listing = crate::NextListing::<Test>::get();
    Market::list(signed(node / 100), node, offer).unwrap();
    let deal = rent(RENTER, listing, CAPACITY, term, deposit).unwrap();
    confirm(deal).unwrap();
    deal
}

/// Why a deal ended.
pub fn reason(deal: DealId) -> CloseReason {
    deal_of(deal).frozen.unwrap().reason
}
