//! Where the body of a block stands: in its own record, or in the block that consensus stored before it was decided.
//!
//! A validator writes each proposed block before it votes for it. When that block is decided, the bodies column takes a
//! reference to what is on the disk already, so that every byte of a transaction is written once:
//!
//! ```text
//!   bodies[number] = SCALE list of extrinsics                      a block that came by synchronisation
//!   bodies[number] = 0xff, round --> undecided[number, round, id]  a block that this node voted on
//! ```
//!
//! The first byte tells them apart: a list of fewer than 2^30 entries never begins with 0xff. The referenced block goes
//! when the body goes, in the same batch.

use crate::{
    Database, StorageError,
    columns::{self, Column},
    database::Inner,
    undecided,
};
use bytes::Bytes;
use codec::{Compact, Decode};
use parking_lot::Mutex;
use std::collections::VecDeque;
use x0_types::{BlockNumber, Hash};

/// First byte of a reference.
const REFERENCE: u8 = 0xff;
/// Stored blocks that are remembered until one of them is decided. Blocks beyond are written once more.
const REMEMBERED_MAX: usize = 2;

/// The reference to the block that was stored for this round.
pub(crate) fn reference(round: i64) -> [u8; 9] {
    let mut record = [REFERENCE; 9];
    record[1..].copy_from_slice(&round.to_be_bytes());
    record
}

/// The round that a record refers to, if it is a reference.
fn read_reference(record: &[u8]) -> Option<i64> {
    match record.split_first()? {
        (&REFERENCE, round) => Some(i64::from_be_bytes(round.try_into().ok()?)),
        _ => None,
    }
}

/// The extrinsics of an encoded block, behind its header, as they stand in it.
pub(crate) fn split(block: &Bytes, header_bytes: usize) -> Option<Vec<Bytes>> {
    let mut rest = block.get(header_bytes..)?;
    let count = usize::try_from(Compact::<u32>::decode(&mut rest).ok()?.0).ok()?;
    // An extrinsic takes a byte at least, so that a wrong count cannot make this reserve more than the block has.
    let mut body = Vec::with_capacity(count.min(rest.len()));
    for _ in 0..count {
        let start = block.len() - rest.len();
        let length = usize::try_from(Compact::<u32>::decode(&mut rest).ok()?.0).ok()?;
        rest = rest.get(length..)?;
        body.push(block.slice(start..block.len() - rest.len()));
    }
    rest.is_empty().then_some(body)
}

/// The last blocks that consensus stored, to recognise the one that is decided.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<VecDeque<Stored>>);

struct Stored {
    height: u64,
    round: i64,
    id: Hash,
    bytes: Bytes,
}

impl Remembered {
    pub(crate) fn note(&self, height: u64, round: i64, id: Hash, bytes: Bytes) {
        let mut stored = self.0.lock();
        // The same place can only be written again, so that the older bytes are not there any more.
        stored.retain(|one| (one.height, one.round, one.id) != (height, round, id));
        stored.push_back(Stored { height, round, id, bytes });
        while stored.len() > REMEMBERED_MAX {
            stored.pop_front();
        }
    }

    pub(crate) fn forget_below(&self, below: u64) {
        self.0.lock().retain(|one| one.height >= below);
    }

    /// The round for which exactly these bytes were stored.
    pub(crate) fn round_of(&self, height: u64, id: Hash, bytes: &Bytes) -> Option<i64> {
        let stored = self.0.lock();
        stored.iter().find(|one| (one.height, one.id) == (height, id) && one.bytes == *bytes).map(|one| one.round)
    }
}

impl Database {
    /// The encoded extrinsics of a block, in order.
    #[must_use]
    pub fn body(&self, number: BlockNumber) -> Option<Vec<Bytes>> {
        let inner = &self.0;
        let key = columns::number_key(number);
        // One copy out of the database; the extrinsics are slices of it.
        let record = inner.read(Column::Bodies, &key, |bytes| Some(Bytes::copy_from_slice(bytes)))?;
        let body = match read_reference(&record) {
            None => codec::decode_from_bytes::<Vec<Bytes>>(record).ok(),
            Some(round) => {
                let header = inner.header_record(number)?;
                let (hash, header_bytes) = (columns::read_hash(header.get(..32)?)?, header.len() - 32);
                let place = undecided::block_key(u64::from(number), round, &hash);
                let read = |bytes: &[u8]| split(&Bytes::copy_from_slice(bytes), header_bytes);
                let body = inner.read(Column::Undecided, &place, read);
                if body.is_none() && inner.read(Column::Bodies, &key, |_| Some(())).is_none() {
                    // It was pruned between the two looks.
                    return None;
                }
                body
            }
        };
        if body.is_none() {
            inner.bad_record(Column::Bodies, &key, "it does not lead to the block's extrinsics");
        }
        body
    }
}

impl Inner {
    /// The round of the stored block that holds the body of a decided block, if it is a stored one.
    pub(crate) fn body_round(&self, number: BlockNumber) -> Option<i64> {
        self.read(Column::Bodies, &columns::number_key(number), |record| Some(read_reference(record))).flatten()
    }

    /// Whether the block that was stored in this place holds the body of a decided block.
    pub(crate) fn holds_body(&self, height: u64, round: i64, id: &Hash) -> bool {
        let Ok(number) = BlockNumber::try_from(height) else { return false };
        self.head.read().is_some_and(|head| number <= head.number)
            && self.body_round(number) == Some(round)
            && self.hash_record(number).is_some_and(|hash| hash == *id)
    }

    /// Removes a body, and the stored block that it stands in.
    pub(crate) fn delete_body(&self, batch: &mut rocksdb::WriteBatch, number: BlockNumber) -> Result<(), StorageError> {
        if let (Some(round), Some(hash)) = (self.body_round(number), self.hash_record(number)) {
            batch.delete_cf(self.cf(Column::Undecided)?, undecided::block_key(u64::from(number), round, &hash));
        }
        batch.delete_cf(self.cf(Column::Bodies)?, columns::number_key(number));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Encode;
    use proptest::prelude::*;

    proptest! {
        /// A block gives its extrinsics back as they were put in, and nothing that is cut or too long does.
        #[test]
        fn a_split_block_is_what_was_joined(
            header in proptest::collection::vec(any::<u8>(), 0..40),
            body in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
            cut in 1..20usize,
        ) {
            let body: Vec<Bytes> = body.into_iter().map(|bytes| bytes.encode().into()).collect();
            let mut block = header.clone();
            Compact(body.len() as u32).encode_to(&mut block);
            body.iter().for_each(|bytes| block.extend_from_slice(bytes));
            let block = Bytes::from(block);
            prop_assert_eq!(split(&block, header.len()), Some(body));
            prop_assert_eq!(split(&block.slice(..block.len().saturating_sub(cut)), header.len()), None);
            prop_assert_eq!(split(&[&block[..], &[0]].concat().into(), header.len()), None);
        }
    }

    #[test]
    fn a_reference_is_never_taken_for_a_list() {
        for round in [-1, 0, 7, i64::MAX] {
            assert_eq!(read_reference(&reference(round)), Some(round));
        }
        for count in [0usize, 1, 63, 64, 20_000] {
            let list = vec![Bytes::from_static(b"x"); count].encode();
            assert_eq!(read_reference(&list), None);
        }
        assert_eq!(read_reference(&[]), None);
        assert_eq!(read_reference(&[REFERENCE, 1]), None);
    }
}
