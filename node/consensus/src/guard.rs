//! The last-signed guard: the memory of every signature of the consensus key.
//!
//! ```text
//!   sign(statement) --> same place, same bytes?  yes: the stored signature, again
//!                       same place, other bytes? Conflict
//!                       behind the last place?   Regression
//!                       ahead:  sign, write one record, fdatasync, then return the signature
//! ```
//!
//! A *place* is (height, round, step). Two slot files of fixed-size records take turns: the records of one
//! height go to one slot, the first record of a later height goes to the other, so that a record is never
//! overwritten before a later one is on the disk.
//!
//! # Correctness
//! * Whatever [`Guard::sign`] returned is on the disk, so after any crash the guard gives the same answer
//!   or refuses. ML-DSA signatures are randomised: the same message would get other bytes.
//! * A torn write can only concern a record whose signature never left the process. A damaged record
//!   with a later one behind it is no torn write, and the guard refuses to open ([`GuardError::Damaged`]).
//! * One process at a time ([`GuardError::InUse`]), one key and one chain per directory ([`GuardError::OtherKey`]).
//!
//! # Limits
//! A slot holds [`x0_limits::GUARD_RECORDS_PER_SLOT_MAX`] records of 4 KiB; then the other one goes on. Damage
//! to the very last record cannot be told from a torn write: against a disk that loses what it
//! acknowledged, the engine's write-ahead log is the second witness.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use x0_crypto::{SIGNATURE_BYTES, Signature};
use x0_limits::GUARD_RECORDS_PER_SLOT_MAX;

const RECORD_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"x0guard1";
const CHECKSUM_AT: usize = RECORD_BYTES - 32;
const SIGNATURE_AT: usize = 160;
const _: () = assert!(SIGNATURE_AT + SIGNATURE_BYTES <= CHECKSUM_AT);

/// What is signed, in the order in which a validator signs within a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The opening part of a proposed block.
    Opening,
    /// A proposal.
    Proposal,
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
}

impl Step {
    const ALL: [Self; 4] = [Self::Opening, Self::Proposal, Self::Prevote, Self::Precommit];

    fn byte(self) -> u8 {
        match self {
            Self::Opening => 0,
            Self::Proposal => 1,
            Self::Prevote => 2,
            Self::Precommit => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.byte() == byte)
    }
}

/// Where in the protocol a signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Height.
    pub height: u64,
    /// Round.
    pub round: u32,
    /// Step.
    pub step: Step,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "height {} round {} {:?}", self.height, self.round, self.step)
    }
}

/// A statement that was signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    /// Its place.
    pub place: Place,
    /// The block that it names; `None` is nil.
    pub block: Option<[u8; 32]>,
    /// The round of an earlier quorum of prevotes, for a proposal that has one.
    pub pol_round: Option<u32>,
    /// BLAKE2b-256 of the signed body.
    pub digest: [u8; 32],
    /// The signature.
    pub signature: Signature,
}

impl core::fmt::Debug for Signed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} for {}", self.place, self.block.map_or_else(|| "nil".into(), |block| hex::encode(&block[..4])))
    }
}

/// What is to be signed, before it is.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// Its place.
    pub place: Place,
    /// The block that it names; `None` is nil.
    pub block: Option<[u8; 32]>,
    /// The round of an earlier quorum of prevotes.
    pub pol_round: Option<u32>,
    /// The bytes to be signed, without domain and genesis hash.
    pub body: &'a [u8],
}

/// Why the guard does not sign.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Something else was signed at this very place.
    #[error("refusing to contradict the signature at {recorded:?}")]
    Conflict {
        /// What was signed.
        recorded: Box<Signed>,
    },
    /// The place lies before the last one, and nothing is recorded there.
    #[error("refusing to sign at {asked}: the last signature is at {last}")]
    Regression {
        /// The place asked for.
        asked: Place,
        /// The last place.
        last: Place,
    },
    /// Another process holds the guard.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The files belong to another key or another chain.
    #[error("{} belongs to another consensus key or another chain", .0.display())]
    OtherKey(PathBuf),
    /// A record is damaged, and not by a crash.
    #[error(
        "record {index} of {} is damaged although a later one is whole; a validator with an uncertain past must \
         not sign: replace the key, or restore the file from before the damage only if the chain has passed its height",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record.
        index: usize,
    },
    /// The disk fails.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The failure.
        source: std::io::Error,
    },
    /// The signature cannot be made.
    #[error(transparent)]
    Crypto(#[from] x0_crypto::CryptoError),
    /// An earlier write failed: what is on the disk is unknown until the guard is opened again.
    #[error("an earlier write to the guard failed; open it again")]
    Poisoned,
}

/// The records of a file, by index.
#[derive(Default)]
struct Scan {
    whole: Vec<(usize, Signed)>,
    damaged: Vec<usize>,
}

/// One of the two files.
struct Slot {
    path: PathBuf,
    file: File,
}

impl Slot {
    fn io(&self, source: std::io::Error) -> GuardError {
        GuardError::Io { path: self.path.clone(), source }
    }

    fn open(directory: &Path, name: &str) -> Result<Self, GuardError> {
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

    fn scan(&self, binding: &[u8; 32]) -> Result<Scan, GuardError> {
        let mut scan = Scan::default();
        let bytes = self.read_all()?;
        for (index, record) in bytes.chunks(RECORD_BYTES).enumerate() {
            if record.iter().all(|byte| *byte == 0) {
                continue;
            }
            match read_record(record, binding) {
                Record::Whole(signed) => scan.whole.push((index, signed)),
                Record::OtherKey => return Err(GuardError::OtherKey(self.path.clone())),
                Record::Damaged => scan.damaged.push(index),
            }
        }
        Ok(scan)
    }

    fn read_all(&self) -> Result<Vec<u8>, GuardError> {
        let length = self.file.metadata().map_err(|error| self.io(error))?.len();
        // The guard never writes more than this; a longer file is not its own.
        let length = usize::try_from(length).unwrap_or(usize::MAX).min((GUARD_RECORDS_PER_SLOT_MAX + 1) * RECORD_BYTES);
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| self.io(error))?;
        Ok(bytes)
    }

    fn write(&self, index: usize, records: &[u8]) -> Result<(), GuardError> {
        let offset = u64::try_from(index * RECORD_BYTES).unwrap_or(u64::MAX);
        self.file.write_all_at(records, offset).map_err(|error| self.io(error))?;
        self.file.sync_data().map_err(|error| self.io(error))
    }
}

enum Record {
    Whole(Signed),
    OtherKey,
    Damaged,
}

fn write_record(signed: &Signed, binding: &[u8; 32]) -> Box<[u8; RECORD_BYTES]> {
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

fn read_record(record: &[u8], binding: &[u8; 32]) -> Record {
    if record.len() != RECORD_BYTES || x0_crypto::blake2b_256(&record[..CHECKSUM_AT]) != record[CHECKSUM_AT..] {
        return Record::Damaged;
    }
    if record[..8] != MAGIC[..] || record[8..40] != binding[..] {
        return Record::OtherKey;
    }
    let (Some(step), Ok(signature)) =
        (Step::from_byte(record[52]), Signature::from_bytes(&record[SIGNATURE_AT..SIGNATURE_AT + SIGNATURE_BYTES]))
    else {
        return Record::Damaged;
    };
    Record::Whole(Signed {
        place: Place {
            height: u64::from_be_bytes(array(&record[40..48])),
            round: u32::from_be_bytes(array(&record[48..52])),
            step,
        },
        block: (record[53] == 1).then(|| array(&record[54..86])),
        pol_round: (record[86] == 1).then(|| u32::from_be_bytes(array(&record[87..91]))),
        digest: array(&record[91..123]),
        signature,
    })
}

/// Remembers what the consensus key signed. See the module's text.
pub struct Guard {
    slots: [Slot; 2],
    _lock: File,
    binding: [u8; 32],
    /// The slot that is written, and its next record.
    active: usize,
    next: usize,
    /// The signatures of the last height.
    recent: BTreeMap<Place, Signed>,
    poisoned: bool,
}

impl Guard {
    /// Opens the guard of this key on this chain in a directory, and creates it if it is not there.
    /// `binding` stands for key and chain.
    ///
    /// # Errors
    /// [`GuardError::InUse`], [`GuardError::OtherKey`], [`GuardError::Damaged`], [`GuardError::Io`].
    pub fn open(directory: &Path, binding: [u8; 32]) -> Result<Self, GuardError> {
        let io = |source| GuardError::Io { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(GuardError::InUse(directory.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        let slots = [Slot::open(directory, "signed-a")?, Slot::open(directory, "signed-b")?];
        // The names must survive a crash as well as the contents.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
        let mut guard =
            Self { slots, _lock: lock, binding, active: 0, next: 0, recent: BTreeMap::new(), poisoned: false };
        guard.load()?;
        Ok(guard)
    }

    fn load(&mut self) -> Result<(), GuardError> {
        let scans = [self.slots[0].scan(&self.binding)?, self.slots[1].scan(&self.binding)?];
        let last = scans
            .iter()
            .enumerate()
            .flat_map(|(slot, scan)| scan.whole.iter().map(move |(index, signed)| (signed.place, slot, *index)))
            .max();
        let Some((place, slot, index)) = last else {
            // Nothing whole: at most the very first record is torn.
            for (slot, scan) in scans.iter().enumerate() {
                if let Some(index) = scan.damaged.iter().copied().find(|index| *index > 0) {
                    return Err(GuardError::Damaged { path: self.slots[slot].path.clone(), index });
                }
            }
            return Ok(());
        };
        if let Some(index) = scans[slot].damaged.iter().copied().find(|damaged| *damaged < index) {
            return Err(GuardError::Damaged { path: self.slots[slot].path.clone(), index });
        }
        self.active = slot;
        self.next = index + 1;
        for (_, signed) in scans.into_iter().flat_map(|scan| scan.whole) {
            if signed.place.height == place.height {
                self.recent.insert(signed.place, signed);
            }
        }
        Ok(())
    }

    /// The last place that was signed.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        self.recent.last_key_value().map(|(place, _)| *place)
    }

    /// Signs the statement, or repeats its stored signature. The record is on the disk before the
    /// signature is returned.
    ///
    /// # Errors
    /// [`GuardError::Conflict`], [`GuardError::Regression`]; [`GuardError::Io`] after which the guard signs
    /// nothing more ([`GuardError::Poisoned`]), because what the disk holds is unknown.
    pub fn sign(
        &mut self,
        statement: &Statement<'_>,
        make: impl FnOnce() -> Result<Signature, x0_crypto::CryptoError>,
    ) -> Result<Signature, GuardError> {
        let recorded = self.recorded(statement)?;
        let signature = match recorded {
            Some(signature) => signature,
            None => {
                let signature = make()?;
                self.record(&[(statement, &signature)])?;
                signature
            }
        };
        Ok(signature)
    }

    /// Signs two statements of one round with one wait for the disk: the second place must follow the
    /// first. If either is refused, nothing is signed.
    ///
    /// # Errors
    /// As [`Guard::sign`].
    pub fn sign_pair(
        &mut self,
        statements: [&Statement<'_>; 2],
        make: impl Fn(usize) -> Result<Signature, x0_crypto::CryptoError>,
    ) -> Result<[Signature; 2], GuardError> {
        let [first, second] = statements;
        let (old_first, old_second) = (self.recorded(first)?, self.recorded(second)?);
        let new = |old: &Option<Signature>, index| old.clone().map_or_else(|| make(index), Ok);
        let signatures = [new(&old_first, 0)?, new(&old_second, 1)?];
        let mut fresh = Vec::with_capacity(2);
        if old_first.is_none() {
            fresh.push((first, &signatures[0]));
        }
        if old_second.is_none() {
            fresh.push((second, &signatures[1]));
        }
        if !fresh.is_empty() {
            self.record(&fresh)?;
        }
        Ok(signatures)
    }

    /// The stored signature of this very statement; `None` when its place is ahead of all others.
    fn recorded(&self, statement: &Statement<'_>) -> Result<Option<Signature>, GuardError> {
        if self.poisoned {
            return Err(GuardError::Poisoned);
        }
        if let Some(recorded) = self.recent.get(&statement.place) {
            if recorded.digest == x0_crypto::blake2b_256(statement.body) {
                return Ok(Some(recorded.signature.clone()));
            }
            return Err(GuardError::Conflict { recorded: Box::new(recorded.clone()) });
        }
        match self.last() {
            Some(last) if statement.place < last => Err(GuardError::Regression { asked: statement.place, last }),
            _ => Ok(None),
        }
    }

    /// Writes records that follow one another, and waits for the disk once. They lie side by side in one
    /// slot, so that a torn write leaves a beginning of them.
    fn record(&mut self, statements: &[(&Statement<'_>, &Signature)]) -> Result<(), GuardError> {
        let Some((first, _)) = statements.first() else { return Ok(()) };
        let new_height = self.last().is_some_and(|last| last.height != first.place.height);
        if new_height || self.next + statements.len() > GUARD_RECORDS_PER_SLOT_MAX {
            self.active = 1 - self.active;
            self.next = 0;
        }
        let signed: Vec<_> = statements
            .iter()
            .map(|(statement, signature)| Signed {
                place: statement.place,
                block: statement.block,
                pol_round: statement.pol_round,
                digest: x0_crypto::blake2b_256(statement.body),
                signature: (*signature).clone(),
            })
            .collect();
        let bytes: Vec<u8> = signed.iter().flat_map(|signed| *write_record(signed, &self.binding)).collect();
        if let Err(error) = self.slots[self.active].write(self.next, &bytes) {
            self.poisoned = true;
            return Err(error);
        }
        self.next += signed.len();
        if new_height {
            self.recent.clear();
        }
        // Only the places of the last slots' worth of rounds are kept: older ones are refused as regressions.
        while self.recent.len() >= 2 * GUARD_RECORDS_PER_SLOT_MAX {
            self.recent.pop_first();
        }
        self.recent.extend(signed.into_iter().map(|signed| (signed.place, signed)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
