//! What the janitor promises: every entry is worked off in order, within the cap, and none is lost.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use crate::{Entries, Entry, Error, Event, Place, weights::MeasuredWeight};
use frame_support::{assert_noop, assert_ok, derive_impl, parameter_types, traits::Hooks};
use frame_system::EnsureRoot;
use proptest::prelude::*;
use sp_runtime::{BuildStorage, DispatchError, traits::BadOrigin};
use x0_limits::{JANITOR_ATTEMPTS_MAX, JANITOR_STUCK_RETRY_SLOTS};
use x0_types::market::{Counters, DealId, DealProgress, DealQueue, DealWorker, Meter, NodeIndex, Slot};

type Block = frame_system::mocking::MockBlockU32<Test>;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        Janitor: crate,
    }
);

parameter_types! {
    pub static Cap: u32 = 100;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
}

impl crate::Config for Test {
    type Meter = Script;
    type Worker = Script;
    type Cap = Cap;
    type RetryOrigin = EnsureRoot<u64>;
    type WeightInfo = MeasuredWeight<Test>;
}

/// What deals do when they wake, and a log of it.
#[derive(Default)]
struct World {
    slot: Slot,
    /// Deals whose work fails.
    failing: BTreeSet<DealId>,
    /// Deals that are not due before this slot.
    not_before: BTreeMap<DealId, Slot>,
    /// Block and deal of each finished work, in order.
    done: Vec<(u32, DealId)>,
    /// All calls of the worker.
    calls: u32,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fn world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(f)
}

pub struct Script;

impl DealWorker for Script {
    fn work(deal: DealId) -> Result<DealProgress, DispatchError> {
        // Written before the failure, so that a rollback that does not happen is seen.
        sp_io::storage::set(&deal.to_be_bytes(), b"touched");
        world(|world| {
            world.calls += 1;
            if world.failing.contains(&deal) {
                return Err(DispatchError::Other("scripted"));
            }
            if let Some(slot) = world.not_before.get(&deal)
                && *slot > world.slot
            {
                return Ok(DealProgress::NotBefore(*slot));
            }
            world.done.push((System::block_number(), deal));
            Ok(DealProgress::Terminal)
        })
    }

    fn reason(_: DealId) -> Option<Vec<u8>> {
        Some(b"scripted".to_vec())
    }
}

impl Meter<u64> for Script {
    fn current_slot() -> Slot {
        world(|world| world.slot)
    }
    fn closed_slot() -> Slot {
        Self::current_slot().saturating_sub(2)
    }
    fn counters(_: &u64) -> Option<Counters> {
        None
    }
    fn enrol(_: &u64, _: &u64) -> Result<NodeIndex, DispatchError> {
        Ok(0)
    }
    fn dismiss(_: &u64) {}
}

fn with_chain(test: impl FnOnce()) {
    world(|world| *world = World::default());
    let mut chain: sp_io::TestExternalities =
        frame_system::GenesisConfig::<Test>::default().build_storage().unwrap().into();
    chain.execute_with(|| {
        System::set_block_number(1);
        test();
    });
}

/// The next block, at this slot.
fn block_at(slot: Slot) {
    Janitor::check_invariants().unwrap();
    let next = System::block_number() + 1;
    System::set_block_number(next);
    world(|world| world.slot = slot);
    Janitor::on_initialize(next);
    Janitor::check_invariants().unwrap();
}

fn done() -> Vec<(u32, DealId)> {
    world(|world| world.done.clone())
}

fn events() -> Vec<Event<Test>> {
    System::events()
        .into_iter()
        .filter_map(|record| if let RuntimeEvent::Janitor(event) = record.event { Some(event) } else { None })
        .collect()
}

#[test]
fn what_is_added_in_a_block_is_worked_off_in_the_next() {
    with_chain(|| {
        Janitor::wake_next_block(7);
        // The same block once more: nothing happens before the next one.
        Janitor::on_initialize(System::block_number());
        assert_eq!(done(), vec![]);
        block_at(0);
        assert_eq!(done(), vec![(2, 7)]);
        assert!(!Janitor::is_queued(7));
    });
}

#[test]
fn a_deal_wakes_at_the_first_block_of_its_slot_or_later() {
    with_chain(|| {
        Janitor::wake_at_slot(1, 10);
        Janitor::wake_at_slot(2, 256);
        Janitor::wake_at_slot(3, 11);
        block_at(9);
        assert_eq!(done(), vec![]);
        block_at(10);
        assert_eq!(done(), vec![(3, 1)]);
        // The clock may jump over slots: the order of work is the order of slots.
        block_at(300);
        assert_eq!(done(), vec![(3, 1), (4, 3), (4, 2)]);
    });
}

/// Mutants: queue overflow dropped; take before filter.
#[test]
fn two_hundred_and_fifty_entries_take_three_blocks_of_a_hundred() {
    with_chain(|| {
        // Entries that are not due stand before and behind those that are.
        Janitor::wake_at_slot(1_000, 99);
        for deal in 0..250 {
            Janitor::wake_next_block(deal);
        }
        Janitor::wake_at_slot(1_001, 1);
        for expected in [100, 200, 251] {
            block_at(5);
            assert_eq!(done().len(), expected);
        }
        let order: Vec<_> = done().into_iter().map(|(_, deal)| deal).collect();
        assert_eq!(order[..250], (0..250).collect::<Vec<_>>());
        assert_eq!(order[250], 1_001);
        assert!(Janitor::is_queued(1_000));
    });
}

#[test]
fn the_latest_wake_replaces_the_earlier_one() {
    with_chain(|| {
        Janitor::wake_at_slot(1, 10);
        Janitor::wake_at_slot(1, 20);
        Janitor::wake_next_block(2);
        Janitor::wake_at_slot(2, 30);
        Janitor::wake_at_slot(3, 10);
        Janitor::wake_next_block(3);
        Janitor::wake_next_block(4);
        Janitor::forget(4);
        Janitor::forget(5);
        block_at(10);
        assert_eq!(done(), vec![(2, 3)]);
        block_at(20);
        assert_eq!(done(), vec![(2, 3), (3, 1)]);
        block_at(30);
        assert_eq!(done(), vec![(2, 3), (3, 1), (4, 2)]);
    });
}

#[test]
fn a_deal_that_is_not_due_moves_strictly_forward() {
    with_chain(|| {
        world(|world| world.not_before.insert(1, 40));
        Janitor::wake_at_slot(1, 10);
        block_at(10);
        assert_eq!(Entries::<Test>::get(1), Some(Entry { place: Place::AtSlot(40), attempts: 0 }));
        // Even a worker that names a slot of the past is asked again only in a later slot.
        world(|world| world.not_before.insert(2, 11));
        Janitor::wake_next_block(2);
        world(|world| world.slot = 10);
        block_at(10);
        assert_eq!(Entries::<Test>::get(2).unwrap().place, Place::AtSlot(11));
        let calls = world(|world| world.calls);
        block_at(10);
        assert_eq!(world(|world| world.calls), calls);
        block_at(40);
        assert_eq!(done(), vec![(5, 2), (5, 1)]);
    });
}

/// Mutant: an entry that fails is dropped.
#[test]
fn an_entry_that_fails_is_kept_reported_and_retried() {
    with_chain(|| {
        world(|world| world.failing.insert(1));
        Janitor::wake_next_block(1);
        Janitor::wake_next_block(2);
        for attempt in 1..JANITOR_ATTEMPTS_MAX {
            block_at(5);
            assert_eq!(Entries::<Test>::get(1).unwrap().attempts, attempt);
            assert!(sp_io::storage::get(&1u64.to_be_bytes()).is_none(), "the failed work was rolled back");
        }
        assert_eq!(done(), vec![(2, 2)], "others go on");
        block_at(5);
        let retry_at_slot = 5 + JANITOR_STUCK_RETRY_SLOTS;
        assert_eq!(
            Entries::<Test>::get(1),
            Some(Entry { place: Place::AtSlot(retry_at_slot), attempts: JANITOR_ATTEMPTS_MAX })
        );
        let failed = events().into_iter().filter(|e| matches!(e, Event::JanitorFailed { deal: 1, .. })).count();
        assert_eq!(failed, usize::from(JANITOR_ATTEMPTS_MAX));
        assert!(events().contains(&Event::JanitorStuck { deal: 1, reason: Some(b"scripted".to_vec()), retry_at_slot }));

        // Stuck entries do not use up the cap of later blocks.
        let calls = world(|world| world.calls);
        block_at(6);
        assert_eq!(world(|world| world.calls), calls);
        // It is tried again by itself, and ends once the cause is gone.
        block_at(retry_at_slot);
        assert!(Janitor::is_queued(1));
        world(|world| world.failing.clear());
        block_at(retry_at_slot + JANITOR_STUCK_RETRY_SLOTS);
        assert_eq!(done().last().unwrap().1, 1);
        assert!(!Janitor::is_queued(1));
    });
}

#[test]
fn root_retries_a_stuck_entry_at_once() {
    with_chain(|| {
        world(|world| world.failing.insert(1));
        Janitor::wake_next_block(1);
        for _ in 0..JANITOR_ATTEMPTS_MAX {
            block_at(5);
        }
        assert_noop!(Janitor::retry(RuntimeOrigin::signed(1), 1), BadOrigin);
        assert_noop!(Janitor::retry(RuntimeOrigin::root(), 2), Error::<Test>::NotQueued);
        world(|world| world.failing.clear());
        assert_ok!(Janitor::retry(RuntimeOrigin::root(), 1));
        assert_eq!(Entries::<Test>::get(1).unwrap().attempts, 0);
        block_at(5);
        assert_eq!(done().len(), 1);
    });
}

/// A hundred entries that always fail do not keep others from being worked off.
#[test]
fn failing_entries_do_not_starve_the_rest() {
    with_chain(|| {
        Cap::set(10);
        for deal in 0..30 {
            world(|world| world.failing.insert(deal));
            Janitor::wake_next_block(deal);
        }
        for deal in 100..130 {
            Janitor::wake_at_slot(deal, 1);
        }
        for _ in 0..12 {
            block_at(5);
        }
        assert_eq!(done().len(), 30, "9 blocks of failures, then 3 blocks of work");
        assert_eq!(Entries::<Test>::iter().count(), 30, "the failures are still there");
    });
}

#[test]
fn the_weight_counts_the_entries_worked_off() {
    use crate::WeightInfo as _;
    with_chain(|| {
        for deal in 0..3 {
            Janitor::wake_next_block(deal);
        }
        System::set_block_number(2);
        let weight = Janitor::on_initialize(2);
        let expected = MeasuredWeight::<Test>::on_initialize_base()
            .saturating_add(MeasuredWeight::<Test>::entry().saturating_mul(3));
        assert_eq!(weight, expected);
    });
}

#[derive(Clone, Debug)]
enum Op {
    AtSlot(DealId, Slot),
    NextBlock(DealId),
    Forget(DealId),
    Fail(DealId, bool),
    Block(Slot),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u64..12, 0u64..40).prop_map(|(deal, slot)| Op::AtSlot(deal, slot)),
        (0u64..12).prop_map(Op::NextBlock),
        (0u64..12).prop_map(Op::Forget),
        (0u64..12, any::<bool>()).prop_map(|(deal, fails)| Op::Fail(deal, fails)),
        (0u64..4).prop_map(Op::Block),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is queued, forgotten and failing: a deal leaves the queue only when its work is done
    /// or it is taken back, and the cap is kept.
    #[test]
    fn no_entry_is_ever_lost(ops in proptest::collection::vec(op(), 1..120), cap in 1u32..5) {
        with_chain(|| {
            Cap::set(cap);
            let mut queued = BTreeSet::new();
            let mut slot = 0;
            for op in ops {
                match op {
                    Op::AtSlot(deal, at) => { Janitor::wake_at_slot(deal, at); queued.insert(deal); }
                    Op::NextBlock(deal) => { Janitor::wake_next_block(deal); queued.insert(deal); }
                    Op::Forget(deal) => { Janitor::forget(deal); queued.remove(&deal); }
                    Op::Fail(deal, fails) => world(|world| {
                        if fails { world.failing.insert(deal) } else { world.failing.remove(&deal) };
                    }),
                    Op::Block(steps) => {
                        slot += steps;
                        let (before, calls) = (done().len(), world(|world| world.calls));
                        block_at(slot);
                        assert!(world(|world| world.calls) - calls <= cap);
                        for (_, deal) in &done()[before..] {
                            assert!(queued.remove(deal), "deal {deal} was worked off without an entry");
                        }
                    }
                }
                let present: BTreeSet<_> = Entries::<Test>::iter_keys().collect();
                assert_eq!(present, queued);
            }
            // Once nothing fails any more, everything ends.
            world(|world| world.failing.clear());
            for _ in 0..60 {
                slot += JANITOR_STUCK_RETRY_SLOTS;
                block_at(slot);
            }
            assert_eq!(Entries::<Test>::iter().count(), 0);
        });
    }
}
