//! What a block costs when many deals run: accesses to storage, counted one by one.

use core::any::{Any, TypeId};

use crate::{Deals, mock::*};
use frame_support::traits::Hooks as _;
use sp_externalities::{
    Error, Extension, ExtensionStore, Externalities, MultiRemovalResults, set_and_run_with_externalities,
};
use sp_storage::{ChildInfo, StateVersion, TrackedStorageKey};
use x0_types::{
    deal::{DealState, queue_key},
    market::{DealId, DealQueue as _, MarketHooks as _, Verdict},
};

/// Passes everything on and counts reads, looks for the next key, and writes.
struct Counting<'a> {
    inner: &'a mut dyn Externalities,
    reads: usize,
    writes: usize,
}

impl ExtensionStore for Counting<'_> {
    fn extension_by_type_id(&mut self, id: TypeId) -> Option<&mut dyn Any> {
        self.inner.extension_by_type_id(id)
    }
    fn register_extension_with_type_id(&mut self, id: TypeId, extension: Box<dyn Extension>) -> Result<(), Error> {
        self.inner.register_extension_with_type_id(id, extension)
    }
    fn deregister_extension_by_type_id(&mut self, id: TypeId) -> Result<(), Error> {
        self.inner.deregister_extension_by_type_id(id)
    }
}

impl Externalities for Counting<'_> {
    fn storage(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.reads += 1;
        self.inner.storage(key)
    }
    fn storage_hash(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.reads += 1;
        self.inner.storage_hash(key)
    }
    fn exists_storage(&mut self, key: &[u8]) -> bool {
        self.reads += 1;
        self.inner.exists_storage(key)
    }
    fn next_storage_key(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.reads += 1;
        self.inner.next_storage_key(key)
    }
    fn place_storage(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.writes += 1;
        self.inner.place_storage(key, value);
    }
    fn storage_append(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes += 1;
        self.inner.storage_append(key, value);
    }
    fn clear_prefix(&mut self, prefix: &[u8], limit: Option<u32>, cursor: Option<&[u8]>) -> MultiRemovalResults {
        self.writes += 1;
        self.inner.clear_prefix(prefix, limit, cursor)
    }
    fn storage_start_transaction(&mut self) {
        self.inner.storage_start_transaction();
    }
    fn storage_rollback_transaction(&mut self) -> Result<(), ()> {
        self.inner.storage_rollback_transaction()
    }
    fn storage_commit_transaction(&mut self) -> Result<(), ()> {
        self.inner.storage_commit_transaction()
    }
    fn storage_root(&mut self, version: StateVersion) -> Vec<u8> {
        self.inner.storage_root(version)
    }
    fn set_offchain_storage(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.inner.set_offchain_storage(key, value);
    }
    // No pallet here has child tries.
    fn child_storage_hash(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.child_storage_hash(child, key)
    }
    fn child_storage(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.child_storage(child, key)
    }
    fn next_child_storage_key(&mut self, child: &ChildInfo, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.next_child_storage_key(child, key)
    }
    fn kill_child_storage(
        &mut self,
        child: &ChildInfo,
        limit: Option<u32>,
        cursor: Option<&[u8]>,
    ) -> MultiRemovalResults {
        self.inner.kill_child_storage(child, limit, cursor)
    }
    fn clear_child_prefix(
        &mut self,
        child: &ChildInfo,
        prefix: &[u8],
        limit: Option<u32>,
        cursor: Option<&[u8]>,
    ) -> MultiRemovalResults {
        self.inner.clear_child_prefix(child, prefix, limit, cursor)
    }
    fn place_child_storage(&mut self, child: &ChildInfo, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.inner.place_child_storage(child, key, value);
    }
    fn child_storage_root(&mut self, child: &ChildInfo, version: StateVersion) -> Vec<u8> {
        self.inner.child_storage_root(child, version)
    }
    fn wipe(&mut self) {
        self.inner.wipe();
    }
    fn commit(&mut self) {
        self.inner.commit();
    }
    fn read_write_count(&self) -> (u32, u32, u32, u32) {
        self.inner.read_write_count()
    }
    fn reset_read_write_count(&mut self) {
        self.inner.reset_read_write_count();
    }
    fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
        self.inner.get_whitelist()
    }
    fn set_whitelist(&mut self, new: Vec<TrackedStorageKey>) {
        self.inner.set_whitelist(new);
    }
    fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
        self.inner.get_read_and_written_keys()
    }
}

/// Puts copies of a running deal into state, each where its state says that it waits.
fn crowd(deal: DealId, copies: u64) {
    let record = deal_of(deal);
    let milestone = record.milestone().unwrap();
    for copy in 0..copies {
        let id = 1_000_000 + copy;
        let mut other = record.clone();
        // Other nodes: a node has at most 32 deals.
        other.node = 1_000_000 + copy / 32;
        Deals::<Test>::insert(id, other);
        crate::Ends::<Test>::insert(queue_key(milestone + copy % 5_000, id), ());
        Janitor::wake_at_slot(id, milestone + copy % 5_000);
    }
}

/// Reads and writes of a block in which a slot closes with a DOWN verdict on one node and its deal, and
/// in which the janitor pays a deal that failed in the block before.
fn cost_of_a_block(running: u64) -> (usize, usize) {
    let mut chain = chain();
    let (fails, suspected) = chain.execute_with(|| {
        let (fails, suspected) = (confirmed(NODE, 1_000, 100_000), confirmed(NODE_2, 1_000, 100_000));
        plan(NODE, 13..16, Seen::Down(ALL));
        close_up_to(14);
        crowd(fails, running);
        let next = System::block_number() + 1;
        world(|w| w.closed = 15);
        Market::verdict(15, &NODE, Verdict::Down, &[ALL], 4);
        assert_eq!(state(fails), DealState::Frozen);
        System::set_block_number(next);
        (fails, suspected)
    });
    let mut ext = chain.ext();
    let mut counting = Counting { inner: &mut ext, reads: 0, writes: 0 };
    set_and_run_with_externalities(&mut counting, || {
        world(|w| w.closed = 16);
        Market::verdict(16, &NODE_2, Verdict::Down, &[ALL], 4);
        assert!(Market::slot_closed(16, 256).done);
        assert!(Market::next_slot_with_work(16).is_some());
        Janitor::on_initialize(System::block_number());
    });
    let cost = (counting.reads, counting.writes);
    chain.execute_with(|| {
        assert_eq!((state(fails), state(suspected)), (DealState::Failed, DealState::Suspect));
    });
    cost
}

/// M6, M14: a block reads and writes the same with 1,000 and with 10,000 running deals: it costs what
/// happened in it.
#[test]
fn a_block_costs_the_same_with_ten_times_the_deals() {
    let few = cost_of_a_block(1_000);
    assert!(few.0 > 20 && few.1 > 10, "{few:?}");
    assert_eq!(few, cost_of_a_block(10_000), "reads and writes");
}
