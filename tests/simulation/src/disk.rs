//! What survives a crash: committed and undecided blocks, the guard's record, and the write-ahead log as far as it
//! was synced.
//!
//! The log is the engine's own, on a file in memory that remembers what was synced. A crash keeps the
//! synced bytes and a beginning of the rest, cut anywhere, also in the middle of an entry; or it leaves zeros where
//! unsynced bytes were, as a file system does that had grown the file before it wrote the data.

use crate::ledger::Chain;
use bytes::Bytes;
use rand::Rng;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    rc::Rc,
};
use x0_consensus::{context::BlockId, parts::SignedOpening};

/// A file's bytes, and how many of them are synced.
#[derive(Debug, Default)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

/// How a crash treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// A beginning of it stays.
    Cut,
    /// A beginning of it stays, and the rest reads as zeros.
    Zeros,
    /// The whole file is gone: an operator moved it away, as the refusal to open a damaged one says.
    Lost,
}

/// A file in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFile {
    content: Rc<RefCell<Content>>,
    at: usize,
}

impl MemoryFile {
    /// Lets a crash happen to the file.
    pub(crate) fn crash(&mut self, tear: Tear, rng: &mut impl Rng) {
        let mut content = self.content.borrow_mut();
        let (synced, length) = (content.synced, content.bytes.len());
        match tear {
            Tear::Cut | Tear::Zeros => {
                let kept = rng.random_range(synced..=length);
                content.bytes.truncate(kept);
                if tear == Tear::Zeros {
                    content.bytes.resize(length, 0);
                }
            }
            Tear::Lost => content.bytes.clear(),
        }
        content.synced = content.bytes.len();
    }
}

impl Read for MemoryFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let content = self.content.borrow();
        let from = self.at.min(content.bytes.len());
        let count = into.len().min(content.bytes.len() - from);
        into[..count].copy_from_slice(&content.bytes[from..from + count]);
        self.at = from + count;
        Ok(count)
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = self.content.borrow_mut();
        let end = self.at + bytes.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[self.at..end].copy_from_slice(bytes);
        content.synced = content.synced.min(self.at);
        self.at = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for MemoryFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let length = u64::try_from(self.content.borrow().bytes.len()).unwrap_or(u64::MAX);
        let now = u64::try_from(self.at).unwrap_or(u64::MAX);
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a seek out of the file");
        let at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => length.checked_add_signed(by).ok_or_else(outside)?,
            SeekFrom::Current(by) => now.checked_add_signed(by).ok_or_else(outside)?,
        };
        self.at = usize::try_from(at).map_err(|_| outside())?;
        Ok(at)
    }
}

impl malachite_wal::Storage for MemoryFile {
    type OpenOptions = Self;

    fn open_with(_: impl AsRef<Path>, file: Self) -> io::Result<Self> {
        Ok(Self { at: 0, ..file })
    }

    fn size_bytes(&self) -> io::Result<u64> {
        u64::try_from(self.content.borrow().bytes.len()).map_err(io::Error::other)
    }

    fn truncate_to(&mut self, size: u64) -> io::Result<()> {
        let mut content = self.content.borrow_mut();
        content.bytes.resize(usize::try_from(size).map_err(io::Error::other)?, 0);
        content.synced = content.synced.min(content.bytes.len());
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        let mut content = self.content.borrow_mut();
        content.synced = content.bytes.len();
        Ok(())
    }
}

/// An undecided block as the database keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) round: u32,
    pub(crate) block: BlockId,
    pub(crate) opening: Option<SignedOpening>,
    pub(crate) encoded: Bytes,
    pub(crate) valid: bool,
}

/// The disk of one node.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) chain: Chain,
    pub(crate) undecided: BTreeMap<u64, Vec<Stored>>,
    pub(crate) guard: x0_sign_guard::Memory,
    pub(crate) wal: MemoryFile,
}

impl Disk {
    pub(crate) fn store(&mut self, height: u64, stored: Stored) {
        let blocks = self.undecided.entry(height).or_default();
        match blocks.iter_mut().find(|known| known.round == stored.round && known.block == stored.block) {
            Some(known) => *known = stored,
            None => blocks.push(stored),
        }
    }

    pub(crate) fn find(&self, height: u64, block: BlockId) -> Option<&Stored> {
        self.undecided.get(&height)?.iter().find(|stored| stored.block == block)
    }
}
