//! The last-signed guard: the memory of every signature of the consensus key.
//!
//! ```text
//!   sign(statement) --> same place, same bytes?  yes: the stored signature, again
//!                       same place, other bytes? Conflict
//!                       behind the last place?   Regression
//!                       ahead:  sign, write one record (twice), fdatasync, then return the signature
//! ```
//!
//! A *place* is (height, round, step). Two slot files of fixed size take turns: the records of one
//! height go to one slot, the first record of a later height goes to the other, so that a record is never
//! overwritten before a later one is on the disk. Each record has a second copy in the other half of its file,
//! written with the same wait for the disk.
//!
//! # Correctness
//! * Whatever [`Guard::sign`] returned is on the disk, so after any crash the guard gives the same answer
//!   or refuses. ML-DSA signatures are randomised: the same message would get other bytes.
//! * A torn write can only concern a record whose signature never left the process. One damaged copy is repaired from
//!   the other one when the guard opens. Two damaged copies, a cut file and a missing file refuse to open
//!   ([`GuardError::Damaged`], [`GuardError::Truncated`], [`GuardError::Missing`]): something that was signed may be gone.
//! * One process at a time ([`GuardError::InUse`]), one key and one chain per directory ([`GuardError::OtherKey`]).
//!
//! # Limits
//! A slot holds [`x0_limits::GUARD_RECORDS_PER_SLOT_MAX`] records of 4 KiB; then the other one goes on.

use crate::{
    memory::Memory,
    slot::{Entry, RECORD_BYTES, Slot, write_record},
};
use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};
use x0_crypto::{
    Signature,
    statement::{Place, Statement},
};
use x0_limits::GUARD_RECORDS_PER_SLOT_MAX;

const SLOT_NAMES: [&str; 2] = ["signed-a", "signed-b"];
/// Says that both slots have their size, and which form the records have.
const FORMAT_NAME: &str = "format";
const FORMAT: &str = "x0-guard 2\n";
/// Says that the record moved to another machine.
const RETIRED_NAME: &str = "retired";

/// The bytes by which a guard's records belong to one key on one chain.
#[must_use]
pub fn binding(genesis: &[u8; 32], public: &x0_crypto::PublicKey) -> [u8; 32] {
    x0_crypto::blake2b_256_of(&[genesis, public.as_bytes()])
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

/// Why there is no signature.
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
    /// The statement names another signer than this key.
    #[error("asked to sign as {asked}; this key is {own}")]
    OtherSigner {
        /// The signer that the statement names, in hex.
        asked: String,
        /// This key's name, in hex.
        own: String,
    },
    /// Another process holds the guard.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The files belong to another key or another chain.
    #[error("{} belongs to another consensus key or another chain", .0.display())]
    OtherKey(PathBuf),
    /// A record is damaged, and not by a crash.
    #[error(
        "record {index} of {} is damaged in both copies; a validator with an uncertain past must \
         not sign: replace the key, or import a record that the chain has passed since",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The record.
        index: usize,
    },
    /// A file lost its end, and perhaps signatures with it.
    #[error(
        "{} has {found} of {expected} bytes; a validator with an uncertain past must not sign: replace the key, or \
         import a record that the chain has passed since",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// A file of the guard is gone.
    #[error(
        "{} is missing although the guard was in use; a validator with an uncertain past must not sign: replace the \
         key, or import a record that the chain has passed since",
        .0.display()
    )]
    Missing(PathBuf),
    /// The guard's form is not known.
    #[error("{} does not say `{}`: it is damaged, or of a newer version of this software", .0.display(), FORMAT.trim_end())]
    Format(PathBuf),
    /// The record was exported to be used elsewhere.
    #[error("{} says that this guard's record moved to another machine; import the newer record to use it here again", .0.display())]
    Retired(PathBuf),
    /// A record that is to be imported ends before the one that is here.
    #[error("refusing to go backwards: the record here ends at {own}, the imported one {}", imported.map_or_else(|| "is empty".into(), |place| format!("at {place}")))]
    Backwards {
        /// The last place here.
        own: Place,
        /// The last place of the imported record.
        imported: Option<Place>,
    },
    /// An exported record does not read back.
    #[error("not an exported guard record: {0}")]
    Export(String),
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
    /// The remote signer does not answer.
    #[error("the remote signer at {address} does not answer: {reason}")]
    Unavailable {
        /// Where it should be.
        address: String,
        /// What the last attempt met.
        reason: String,
    },
    /// The remote signer refuses for a reason of its own.
    #[error("the remote signer refuses: {0}")]
    Remote(String),
}

/// Remembers what the consensus key signed. See the module's text.
pub struct Guard {
    directory: PathBuf,
    slots: [Slot; 2],
    _lock: File,
    binding: [u8; 32],
    /// The slot that is written, and its next record.
    active: usize,
    next: usize,
    /// The signatures of the last height.
    recent: Memory,
    poisoned: bool,
    repaired: usize,
}

impl Guard {
    /// Opens the guard of this key on this chain in a directory, and creates it if it is not there.
    /// `binding` stands for key and chain (see [`binding`]).
    ///
    /// # Errors
    /// [`GuardError::InUse`], [`GuardError::OtherKey`], [`GuardError::Damaged`], [`GuardError::Truncated`],
    /// [`GuardError::Missing`], [`GuardError::Format`], [`GuardError::Retired`], [`GuardError::Io`].
    pub fn open(directory: &Path, binding: [u8; 32]) -> Result<Self, GuardError> {
        let guard = Self::open_any(directory, binding)?;
        let retired = directory.join(RETIRED_NAME);
        if exists(&retired)? { Err(GuardError::Retired(retired)) } else { Ok(guard) }
    }

    /// Opens the guard even if its record has moved away.
    pub(crate) fn open_any(directory: &Path, binding: [u8; 32]) -> Result<Self, GuardError> {
        let io = |source| GuardError::Io { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(io)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(GuardError::InUse(directory.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        let slots = open_slots(directory)?;
        let mut guard = Self {
            directory: directory.to_owned(),
            slots,
            _lock: lock,
            binding,
            active: 0,
            next: 0,
            recent: Memory::default(),
            poisoned: false,
            repaired: 0,
        };
        guard.load()?;
        // Only now: the second copies of a guard of the first form are there.
        guard.put(FORMAT_NAME, FORMAT)?;
        Ok(guard)
    }

    /// Writes a small file durably, unless it is there.
    fn put(&self, name: &str, text: &str) -> Result<(), GuardError> {
        let path = self.directory.join(name);
        if exists(&path)? {
            return Ok(());
        }
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| GuardError::Io { path: path.clone(), source })
    }

    pub(crate) fn retire(&self) -> Result<(), GuardError> {
        self.put(RETIRED_NAME, "the record of this guard was exported and is used elsewhere\n")
    }

    pub(crate) fn reinstate(&self) -> Result<(), GuardError> {
        let path = self.directory.join(RETIRED_NAME);
        match std::fs::remove_file(&path) {
            Ok(()) => File::open(&self.directory).and_then(|directory| directory.sync_all()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| GuardError::Io { path, source })
    }

    fn load(&mut self) -> Result<(), GuardError> {
        let scans = [self.slots[0].scan(&self.binding)?, self.slots[1].scan(&self.binding)?];
        let last = scans
            .iter()
            .enumerate()
            .flat_map(|(slot, entries)| entries.iter().enumerate().map(move |(index, entry)| (slot, index, entry)))
            .filter_map(|(slot, index, entry)| match entry {
                Entry::Whole { signed, .. } => Some((signed.place, slot, index)),
                Entry::Empty | Entry::Torn | Entry::Damaged => None,
            })
            .max();
        for (slot, entries) in scans.iter().enumerate() {
            // A half-written record stands behind the last one, or in the slot that is not in use.
            let due = match last {
                Some((_, active, index)) if active == slot => index + 1,
                _ => 0,
            };
            for (index, entry) in entries.iter().enumerate() {
                if matches!(entry, Entry::Damaged) || (matches!(entry, Entry::Torn) && index < due) {
                    return Err(GuardError::Damaged { path: self.slots[slot].path.clone(), index });
                }
            }
        }
        if let Some((_, slot, index)) = last {
            self.active = slot;
            self.next = index + 1;
        }
        for (slot, entries) in scans.into_iter().enumerate() {
            let before = self.repaired;
            for (index, entry) in entries.into_iter().enumerate() {
                match entry {
                    Entry::Whole { signed, both } => {
                        if !both {
                            self.repaired += 1;
                            self.slots[slot].put(index, &write_record(&signed, &self.binding)[..])?;
                        }
                        if last.is_some_and(|(place, ..)| place.height == signed.place.height) {
                            self.recent.restore(*signed);
                        }
                    }
                    // Its signature never left the process.
                    Entry::Torn => {
                        self.repaired += 1;
                        self.slots[slot].put(index, &[0; RECORD_BYTES])?;
                    }
                    Entry::Empty | Entry::Damaged => {}
                }
            }
            if self.repaired > before {
                self.slots[slot].sync()?;
            }
        }
        if self.repaired > 0 {
            tracing::warn!(records = self.repaired, directory = %self.directory.display(), "guard records repaired");
        }
        Ok(())
    }

    /// The last place that was signed.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        self.recent.last()
    }

    /// Records whose one copy was damaged or half written when the guard was opened.
    #[must_use]
    pub const fn repaired(&self) -> usize {
        self.repaired
    }

    /// The signatures of the last height, in their order.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &Signed> {
        self.recent.iter()
    }

    /// Signs the statement, or repeats its stored signature. The record is on the disk before the
    /// signature is returned.
    ///
    /// # Errors
    /// [`GuardError::Conflict`], [`GuardError::Regression`]; [`GuardError::Io`] after which the guard signs
    /// nothing more ([`GuardError::Poisoned`]), because what the disk holds is unknown.
    pub fn sign(
        &mut self,
        statement: &Statement,
        make: impl FnOnce() -> Result<Signature, x0_crypto::CryptoError>,
    ) -> Result<Signature, GuardError> {
        if let Some(signature) = self.recorded(statement)? {
            return Ok(signature);
        }
        let signature = make()?;
        self.record(vec![signed(statement, &signature)])?;
        Ok(signature)
    }

    /// Signs two statements of one round with one wait for the disk: the second place must follow the
    /// first. If either is refused, nothing is signed.
    ///
    /// # Errors
    /// As [`Guard::sign`].
    pub fn sign_pair(
        &mut self,
        statements: [&Statement; 2],
        make: impl Fn(&Statement) -> Result<Signature, x0_crypto::CryptoError>,
    ) -> Result<[Signature; 2], GuardError> {
        let [first, second] = statements;
        if second.place() <= first.place() {
            return Err(GuardError::Regression { asked: second.place(), last: first.place() });
        }
        let (old_first, old_second) = (self.recorded(first)?, self.recorded(second)?);
        let new = |old: &Option<Signature>, statement| old.clone().map_or_else(|| make(statement), Ok);
        let signatures = [new(&old_first, first)?, new(&old_second, second)?];
        let mut fresh = Vec::with_capacity(2);
        if old_first.is_none() {
            fresh.push(signed(first, &signatures[0]));
        }
        if old_second.is_none() {
            fresh.push(signed(second, &signatures[1]));
        }
        self.record(fresh)?;
        Ok(signatures)
    }

    /// The stored signature of this very statement; `None` when its place is ahead of all others.
    fn recorded(&self, statement: &Statement) -> Result<Option<Signature>, GuardError> {
        self.admit(statement.place(), &x0_crypto::blake2b_256(&statement.body()))
    }

    /// The stored signature at this place when it is for this digest; `None` when the place is ahead of all others.
    pub(crate) fn admit(&self, place: Place, digest: &[u8; 32]) -> Result<Option<Signature>, GuardError> {
        if self.poisoned {
            return Err(GuardError::Poisoned);
        }
        self.recent.admit(place, digest)
    }

    /// Writes records that follow one another and all that is here, and waits for the disk once. They lie side by
    /// side in one slot, so that a torn write leaves a beginning of them.
    pub(crate) fn record(&mut self, records: Vec<Signed>) -> Result<(), GuardError> {
        let Some(first) = records.first() else { return Ok(()) };
        if self.recent.begins(first.place.height) || self.next + records.len() > GUARD_RECORDS_PER_SLOT_MAX {
            self.active = 1 - self.active;
            self.next = 0;
        }
        let bytes: Vec<u8> = records.iter().flat_map(|signed| *write_record(signed, &self.binding)).collect();
        debug_assert_eq!(bytes.len(), records.len() * RECORD_BYTES);
        if let Err(error) = self.slots[self.active].write(self.next, &bytes) {
            self.poisoned = true;
            return Err(error);
        }
        self.next += records.len();
        self.recent.note(records);
        Ok(())
    }
}

fn exists(path: &Path) -> Result<bool, GuardError> {
    path.try_exists().map_err(|source| GuardError::Io { path: path.to_owned(), source })
}

fn signed(statement: &Statement, signature: &Signature) -> Signed {
    Signed {
        place: statement.place(),
        block: statement.block(),
        pol_round: statement.pol_round(),
        digest: x0_crypto::blake2b_256(&statement.body()),
        signature: signature.clone(),
    }
}

/// Opens both files. Once the guard is complete, both must be there and have their size; before, a crash may have
/// left one of them or neither, and an earlier version of this software files that grow.
fn open_slots(directory: &Path) -> Result<[Slot; 2], GuardError> {
    let marker = directory.join(FORMAT_NAME);
    let complete = exists(&marker)?;
    if complete
        && std::fs::read(&marker).map_err(|source| GuardError::Io { path: marker.clone(), source })?
            != FORMAT.as_bytes()
    {
        return Err(GuardError::Format(marker));
    }
    let mut there = [false; 2];
    for (name, there) in SLOT_NAMES.iter().zip(&mut there) {
        let path = directory.join(name);
        *there = exists(&path)?;
        if complete && !*there {
            return Err(GuardError::Missing(path));
        }
    }
    let slots = [Slot::open(directory, SLOT_NAMES[0])?, Slot::open(directory, SLOT_NAMES[1])?];
    for (index, slot) in slots.iter().enumerate() {
        let length = slot.file.metadata().map_err(|error| slot.io(error))?.len();
        // A crash while the guard is made leaves an empty file beside the missing one; anything else was written to.
        if there[index] && !there[1 - index] && length > 0 {
            return Err(GuardError::Missing(slots[1 - index].path.clone()));
        }
    }
    for slot in &slots {
        slot.fit(!complete)?;
    }
    // The names must survive a crash as well as the contents.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| GuardError::Io { path: directory.to_owned(), source })?;
    Ok(slots)
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support {
    //! One key, one chain and one kind of statement for the tests of this crate.

    use x0_crypto::{
        Seed, SigningKey,
        statement::{Statement, Vote, VoteKind},
    };

    pub(crate) const GENESIS: [u8; 32] = [7; 32];

    pub(crate) fn key() -> SigningKey {
        SigningKey::from_seed(&Seed::from_bytes([5; 32])).unwrap()
    }

    pub(crate) fn said(height: u64, round: u32, tag: u8, voter: [u8; 32]) -> Statement {
        Vote { kind: VoteKind::Prevote, height, round, block: Some([tag; 32]), voter }.into()
    }
}
