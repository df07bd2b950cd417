//! The diary: what this validator committed to and the receipts behind it, on the disk, so that a restart makes it
//! neither silent about a report nor guilty of a receipt that it had.
//!
//! One file for each slot: BLAKE2b-256 of the rest, then the page in SCALE. A page is whole or not there: it is written
//! beside, made durable and renamed.

use crate::{probe::Proved, receipts::SlotReceipts};
use codec::{DecodeAll as _, Encode as _};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use x0_crypto::blake2b_256;
use x0_types::{
    Hash,
    market::{NodeIndex, Slot},
};

const PAGE: &str = "page";
const UNFINISHED: &str = "tmp";
const DIGEST_BYTES: usize = 32;

/// What a commitment stands for.
#[derive(Clone, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub(crate) struct Noted {
    /// Two bits for each node.
    pub(crate) observations: Vec<u8>,
    /// Root over the receipts.
    pub(crate) root: Hash,
    /// What hides the report.
    pub(crate) salt: [u8; 32],
    /// The hash that was committed to.
    pub(crate) commitment: Hash,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub(crate) struct Page {
    pub(crate) slot: Slot,
    pub(crate) report: Noted,
    receipts: Vec<(NodeIndex, Proved)>,
}

impl Page {
    pub(crate) fn new(slot: Slot, report: Noted, receipts: &SlotReceipts) -> Self {
        Self { slot, report, receipts: receipts.receipts.clone() }
    }

    /// The receipts, ready to be proved.
    pub(crate) fn receipts(self) -> Arc<SlotReceipts> {
        Arc::new(SlotReceipts::new(self.slot, self.receipts))
    }
}

/// The folder of pages. Every function blocks on the disk.
#[derive(Debug)]
pub(crate) struct Diary {
    folder: PathBuf,
}

impl Diary {
    /// Opens the folder, makes it when it is missing, and reads the latest pages, oldest first, at most `pages_max`
    /// and `bytes_max`. Older pages, unfinished ones and those that are damaged are removed; the log names the latter.
    pub(crate) fn open(folder: &Path, pages_max: usize, bytes_max: usize) -> io::Result<(Self, Vec<Page>)> {
        fs::create_dir_all(folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match (slot_of(&path), path.extension().and_then(|kind| kind.to_str())) {
                (Some(slot), Some(PAGE)) => found.push((slot, path)),
                (_, Some(UNFINISHED)) => fs::remove_file(&path)?,
                // Not ours: it stays.
                _ => {}
            }
        }
        found.sort_unstable_by_key(|(slot, _)| core::cmp::Reverse(*slot));
        let (mut pages, mut bytes_left) = (Vec::new(), bytes_max);
        for (slot, path) in found {
            let bytes = usize::try_from(fs::metadata(&path)?.len()).unwrap_or(usize::MAX);
            if pages.len() >= pages_max || bytes > bytes_left {
                fs::remove_file(&path)?;
                continue;
            }
            match read(&fs::read(&path)?).filter(|page| page.slot == slot) {
                Some(page) => {
                    bytes_left -= bytes;
                    pages.push(page);
                }
                None => {
                    tracing::warn!(path = %path.display(), "a page of the measuring diary is damaged and removed");
                    fs::remove_file(&path)?;
                }
            }
        }
        pages.reverse();
        Ok((Self { folder: folder.to_path_buf() }, pages))
    }

    /// Writes a page; it is durable when this returns.
    pub(crate) fn write(&self, page: &Page) -> io::Result<()> {
        let payload = page.encode();
        let unfinished = self.path(page.slot, UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(&blake2b_256(&payload))?;
        file.write_all(&payload)?;
        file.sync_data()?;
        fs::rename(unfinished, self.path(page.slot, PAGE))
    }

    /// Removes the pages of these slots, those that are there.
    pub(crate) fn forget(&self, slots: &[Slot]) -> io::Result<()> {
        for slot in slots {
            match fs::remove_file(self.path(*slot, PAGE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, slot: Slot, kind: &str) -> PathBuf {
        self.folder.join(format!("{slot:020}.{kind}"))
    }
}

fn slot_of(path: &Path) -> Option<Slot> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// A page, when the digest and the form are right.
fn read(bytes: &[u8]) -> Option<Page> {
    let (digest, payload) = bytes.split_at_checked(DIGEST_BYTES)?;
    (blake2b_256(payload) == digest).then(|| Page::decode_all(&mut &payload[..]).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(slot: Slot) -> Page {
        let report =
            Noted { observations: vec![1, 2], root: Hash::zero(), salt: [3; 32], commitment: Hash::repeat_byte(4) };
        Page { slot, report, receipts: Vec::new() }
    }

    fn slots(pages: &[Page]) -> Vec<Slot> {
        pages.iter().map(|page| page.slot).collect()
    }

    #[test]
    fn what_was_written_is_read_again_in_the_order_of_slots() {
        let folder = tempfile::tempdir().unwrap();
        let (diary, none) = Diary::open(&folder.path().join("new"), 10, 1 << 20).unwrap();
        assert!(none.is_empty());
        for slot in [9, 11, 10] {
            diary.write(&page(slot)).unwrap();
        }
        diary.forget(&[9, 77]).unwrap();
        let (_, pages) = Diary::open(&folder.path().join("new"), 10, 1 << 20).unwrap();
        assert_eq!(pages, [page(10), page(11)]);
    }

    #[test]
    fn old_damaged_and_unfinished_pages_go_and_strange_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (diary, _) = Diary::open(folder.path(), 10, 1 << 20).unwrap();
        for slot in 1..=5 {
            diary.write(&page(slot)).unwrap();
        }
        let damaged = diary.path(4, PAGE);
        let mut bytes = fs::read(&damaged).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&damaged, bytes).unwrap();
        fs::write(diary.path(2, PAGE), b"short").unwrap();
        fs::write(diary.path(9, UNFINISHED), b"half").unwrap();
        fs::write(folder.path().join("notes.txt"), b"mine").unwrap();
        let (_, pages) = Diary::open(folder.path(), 2, 1 << 20).unwrap();
        assert_eq!(slots(&pages), [3, 5]);
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [format!("{:020}.page", 3), format!("{:020}.page", 5), "notes.txt".to_owned()]);
        let (_, pages) = Diary::open(folder.path(), 2, page(5).encode().len() + DIGEST_BYTES).unwrap();
        assert_eq!(slots(&pages), [5], "bytes are bounded, too");
    }
}
