//! The receipts behind the latest reports, within bounds.

use crate::probe::Proved;
use codec::Encode as _;
use parking_lot::RwLock;
use std::{collections::VecDeque, sync::Arc};
use x0_types::{
    Hash,
    market::{NodeIndex, Slot},
    merkle,
    receipt::ReceiptProof,
};

/// The receipts of one slot, in the order of node indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReceipts {
    /// The slot.
    pub slot: Slot,
    /// The root that the report names.
    pub root: Hash,
    /// Receipts of the nodes that were up.
    pub receipts: Vec<(NodeIndex, Proved)>,
}

impl SlotReceipts {
    /// Sorts a slot's receipts and computes their root.
    #[must_use]
    pub fn new(slot: Slot, mut receipts: Vec<(NodeIndex, Proved)>) -> Self {
        receipts.sort_by_key(|(index, _)| *index);
        Self { slot, root: merkle::root(&leaves(&receipts)), receipts }
    }

    /// What shows that the receipt of a node stands under the root.
    #[must_use]
    pub fn prove(&self, index: NodeIndex) -> Option<ReceiptProof> {
        let place = self.receipts.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        let (_, proved) = self.receipts.get(place)?;
        let path = merkle::prove(&leaves(&self.receipts), u32::try_from(place).ok()?)?;
        Some(ReceiptProof { blind: proved.blind, signed: proved.signed.clone(), path })
    }

    fn bytes(&self) -> usize {
        self.receipts.iter().map(|(_, receipt)| receipt.encoded_size()).sum()
    }
}

fn leaves(receipts: &[(NodeIndex, Proved)]) -> Vec<Hash> {
    receipts.iter().map(|(index, proved)| merkle::leaf(*index, &proved.blind, &proved.signed)).collect()
}

/// The receipts of the latest slots, in memory; the diary keeps the same slots on the disk.
#[derive(Debug)]
pub struct ReceiptStore {
    slots: RwLock<(VecDeque<Arc<SlotReceipts>>, usize)>,
    slots_max: usize,
    bytes_max: usize,
}

impl ReceiptStore {
    /// An empty store with these bounds; the latest slot stays whatever its size.
    #[must_use]
    pub fn new(slots_max: usize, bytes_max: usize) -> Self {
        Self { slots: RwLock::default(), slots_max, bytes_max }
    }

    /// Adds a slot; the oldest go, and are named.
    pub fn insert(&self, receipts: Arc<SlotReceipts>) -> Vec<Slot> {
        let mut guard = self.slots.write();
        let (slots, bytes) = &mut *guard;
        *bytes += receipts.bytes();
        slots.push_back(receipts);
        let mut gone = Vec::new();
        while slots.len() > 1 && (slots.len() > self.slots_max || *bytes > self.bytes_max) {
            if let Some(oldest) = slots.pop_front() {
                *bytes -= oldest.bytes();
                gone.push(oldest.slot);
            }
        }
        gone
    }

    /// The receipts of a slot, if they are kept.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<Arc<SlotReceipts>> {
        self.slots.read().0.iter().find(|receipts| receipts.slot == slot).cloned()
    }
}
