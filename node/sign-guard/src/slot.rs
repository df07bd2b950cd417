//! One of the guard's two files: fixed-size records, each written twice, and what reading them back tells.

use crate::guard::{GuardError, Signed};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use x0_crypto::{
    SIGNATURE_BYTES, Signature,
    statement::{Place, Step},
};
use x0_limits::GUARD_RECORDS_PER_SLOT_MAX;

/// Size of a record: a page, so that a record never shares one with another.
pub(crate) const RECORD_BYTES: usize = 4096;
/// Bytes of one copy of all records. The second copy follows.
pub(crate) const COPY_BYTES: usize = GUARD_RECORDS_PER_SLOT_MAX * RECORD_BYTES;
/// Size of a slot file, always.
pub(crate) const SLOT_BYTES: usize = 2 * COPY_BYTES;
const MAGIC: &[u8; 8] = b"x0guard1";
const CHECKSUM_AT: usize = RECORD_BYTES - 32;
const SIGNATURE_AT: usize = 160;
const _: () = assert!(SIGNATURE_AT + SIGNATURE_BYTES <= CHECKSUM_AT);

/// What stands at one index of a slot, both copies taken together.
pub(crate) enum Entry {
    /// Never written.
    Empty,
    /// A record. `both` tells whether the two copies agree.
    Whole { signed: Box<Signed>, both: bool },
    /// One copy is damaged and the other one was never written: what a crash in mid-write leaves.
    Torn,
    /// Both copies are damaged, which no crash does.
    Damaged,
}

pub(crate) struct Slot {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Slot {
    pub(crate) fn io(&self, source: std::io::Error) -> GuardError {
        GuardError::Io { path: self.path.clone(), source }
    }

    pub(crate) fn open(directory: &Path, name: &str) -> Result<Self, GuardError> {
        let path = directory.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| GuardError::Io { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    /// Gives the file its size. A file that is too long has something behind the records; one that is too short
    /// may have lost records, unless only second copies are gone. `fresh` files have not had their size yet.
    pub(crate) fn fit(&self, fresh: bool) -> Result<(), GuardError> {
        let found = self.file.metadata().map_err(|error| self.io(error))?.len();
        let (slot, copy) = (length(SLOT_BYTES), length(COPY_BYTES));
        if found < copy && !fresh {
            return Err(GuardError::Truncated { path: self.path.clone(), found, expected: slot });
        }
        if found != slot {
            self.file.set_len(slot).and_then(|()| self.file.sync_all()).map_err(|error| self.io(error))?;
        }
        Ok(())
    }

    /// Reads all entries.
    pub(crate) fn scan(&self, binding: &[u8; 32]) -> Result<Vec<Entry>, GuardError> {
        let mut bytes = vec![0; SLOT_BYTES];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| self.io(error))?;
        let (first, second) = bytes.split_at(COPY_BYTES);
        first
            .chunks_exact(RECORD_BYTES)
            .zip(second.chunks_exact(RECORD_BYTES))
            .map(|(first, second)| {
                join(read_record(first, binding), read_record(second, binding))
                    .ok_or_else(|| GuardError::OtherKey(self.path.clone()))
            })
            .collect()
    }

    /// Writes records from this index on, both copies, and waits for the disk.
    pub(crate) fn write(&self, index: usize, records: &[u8]) -> Result<(), GuardError> {
        self.put(index, records)?;
        self.sync()
    }

    /// Writes records from this index on, both copies.
    pub(crate) fn put(&self, index: usize, records: &[u8]) -> Result<(), GuardError> {
        let at = index * RECORD_BYTES;
        for offset in [at, COPY_BYTES + at] {
            self.file.write_all_at(records, length(offset)).map_err(|error| self.io(error))?;
        }
        Ok(())
    }

    /// Waits until the disk has what was put.
    pub(crate) fn sync(&self) -> Result<(), GuardError> {
        self.file.sync_data().map_err(|error| self.io(error))
    }
}

enum Copy {
    Empty,
    Whole(Box<Signed>),
    OtherKey,
    Damaged,
}

/// `None` when a copy belongs to another key.
fn join(first: Copy, second: Copy) -> Option<Entry> {
    Some(match (first, second) {
        (Copy::OtherKey, _) | (_, Copy::OtherKey) => return None,
        (Copy::Empty, Copy::Empty) => Entry::Empty,
        (Copy::Whole(first), Copy::Whole(second)) if first == second => Entry::Whole { signed: first, both: true },
        // A crash between the two copies leaves the new record and the one that it overwrites.
        (Copy::Whole(first), Copy::Whole(second)) if first.place != second.place => {
            Entry::Whole { signed: if first.place > second.place { first } else { second }, both: false }
        }
        (Copy::Whole(_), Copy::Whole(_)) | (Copy::Damaged, Copy::Damaged) => Entry::Damaged,
        (Copy::Whole(signed), _) | (_, Copy::Whole(signed)) => Entry::Whole { signed, both: false },
        (Copy::Damaged, Copy::Empty) | (Copy::Empty, Copy::Damaged) => Entry::Torn,
    })
}

pub(crate) fn write_record(signed: &Signed, binding: &[u8; 32]) -> Box<[u8; RECORD_BYTES]> {
    let mut record = Box::new([0; RECORD_BYTES]);
    record[..8].copy_from_slice(MAGIC);
    record[8..40].copy_from_slice(binding);
    record[40..48].copy_from_slice(&signed.place.height.to_be_bytes());
    record[48..52].copy_from_slice(&signed.place.round.to_be_bytes());
    record[52] = signed.place.step.byte();
    if let Some(block) = &signed.block {
        record[53] = 1;
        record[54..86].copy_from_slice(block);
    }
    if let Some(round) = signed.pol_round {
        record[86] = 1;
        record[87..91].copy_from_slice(&round.to_be_bytes());
    }
    record[91..123].copy_from_slice(&signed.digest);
    record[SIGNATURE_AT..SIGNATURE_AT + SIGNATURE_BYTES].copy_from_slice(signed.signature.as_bytes());
    let checksum = x0_crypto::blake2b_256(&record[..CHECKSUM_AT]);
    record[CHECKSUM_AT..].copy_from_slice(&checksum);
    record
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// A record that came from another process, bound to this key and chain.
pub(crate) fn read_whole(record: &[u8], binding: &[u8; 32]) -> Option<Signed> {
    match read_record(record, binding) {
        Copy::Whole(signed) => Some(*signed),
        Copy::Empty | Copy::OtherKey | Copy::Damaged => None,
    }
}

fn read_record(record: &[u8], binding: &[u8; 32]) -> Copy {
    if record.iter().all(|byte| *byte == 0) {
        return Copy::Empty;
    }
    if record.len() != RECORD_BYTES || x0_crypto::blake2b_256(&record[..CHECKSUM_AT]) != record[CHECKSUM_AT..] {
        return Copy::Damaged;
    }
    if record[..8] != MAGIC[..] || record[8..40] != binding[..] {
        return Copy::OtherKey;
    }
    let (Some(step), Ok(signature)) =
        (Step::from_byte(record[52]), Signature::from_bytes(&record[SIGNATURE_AT..SIGNATURE_AT + SIGNATURE_BYTES]))
    else {
        return Copy::Damaged;
    };
    Copy::Whole(Box::new(Signed {
        place: Place {
            height: u64::from_be_bytes(array(&record[40..48])),
            round: u32::from_be_bytes(array(&record[48..52])),
            step,
        },
        block: (record[53] == 1).then(|| array(&record[54..86])),
        pol_round: (record[86] == 1).then(|| u32::from_be_bytes(array(&record[87..91]))),
        digest: array(&record[91..123]),
        signature,
    }))
}
