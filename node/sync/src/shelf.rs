//! Whole snapshots on the disk.
//!
//! ```text
//!   <snapshots directory>/
//!     0000001000/manifest   written last, synced
//!     0000001000/state      the stream of nodes
//!     making-0000002000/    on its way; removed at start
//! ```
//!
//! A snapshot appears by one rename, so that a half-written one is never offered.

use crate::{
    error::SyncError,
    manifest::{Manifest, chunks_of},
    wire::Offer,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use x0_limits::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNKS_MAX, SNAPSHOT_OFFERS_MAX, SNAPSHOTS_KEPT};

const MANIFEST: &str = "manifest";
const STATE: &str = "state";
const MAKING: &str = "making-";
/// Largest manifest file that is read, bytes.
const MANIFEST_BYTES_MAX: u64 = x0_limits::SNAPSHOT_RESPONSE_BYTES_MAX as u64;

/// The snapshots of this node. Clones share them.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    snapshots: Mutex<BTreeMap<u32, Arc<Snapshot>>>,
}

/// One snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// Its table of contents.
    pub manifest: Manifest,
    /// Its name.
    pub content: [u8; 32],
    /// Height of its block.
    pub number: u32,
    path: PathBuf,
}

impl Snapshot {
    /// Reads a chunk and checks it.
    ///
    /// # Errors
    /// [`SyncError::NoChunk`], [`SyncError::DamagedChunk`], [`SyncError::Io`].
    pub fn chunk(&self, index: u32) -> Result<Bytes, SyncError> {
        let (start, length) = self.manifest.place(index).ok_or(SyncError::NoChunk { number: self.number, index })?;
        let path = self.path.join(STATE);
        let mut bytes = vec![0; length];
        File::open(&path)
            .and_then(|file| file.read_exact_at(&mut bytes, start))
            .map_err(SyncError::io("read", &path))?;
        if !self.manifest.is_chunk(index, &bytes) {
            return Err(SyncError::DamagedChunk { path, index });
        }
        Ok(Bytes::from(bytes))
    }

    fn load(path: PathBuf) -> Result<Self, SyncError> {
        let file = path.join(MANIFEST);
        let size = fs::metadata(&file).map_err(SyncError::io("read", &file))?.len();
        if size > MANIFEST_BYTES_MAX {
            return Err(SyncError::DamagedManifest { path: file, reason: format!("{size} bytes") });
        }
        let bytes = fs::read(&file).map_err(SyncError::io("read", &file))?;
        let damaged = |error: crate::manifest::ManifestError| SyncError::DamagedManifest {
            path: file.clone(),
            reason: error.to_string(),
        };
        let manifest = Manifest::decode(&bytes).map_err(damaged)?;
        let number = manifest.block().map_err(damaged)?.number;
        let state = path.join(STATE);
        let length = fs::metadata(&state).map_err(SyncError::io("read", &state))?.len();
        if length != manifest.state_bytes {
            let reason = format!("a state of {length} bytes, {} are named", manifest.state_bytes);
            return Err(SyncError::DamagedManifest { path: state, reason });
        }
        Ok(Self { content: manifest.content(), number, manifest, path })
    }
}

impl Shelf {
    /// Opens the directory, which is created when it does not exist. Half-made and damaged snapshots
    /// are removed: they can be made anew.
    ///
    /// # Errors
    /// [`SyncError::Io`].
    pub fn open(directory: &Path) -> Result<Self, SyncError> {
        fs::create_dir_all(directory).map_err(SyncError::io("create", directory))?;
        let mut snapshots = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(SyncError::io("list", directory))? {
            let path = entry.map_err(SyncError::io("list", directory))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(MAKING) {
                fs::remove_dir_all(&path).map_err(SyncError::io("remove", &path))?;
            } else if name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit()) {
                match Snapshot::load(path.clone()) {
                    Ok(snapshot) if folder(snapshot.number) == name => {
                        snapshots.insert(snapshot.number, Arc::new(snapshot));
                    }
                    other => {
                        let reason =
                            other.err().map_or_else(|| "it is of another height".to_owned(), |e| e.to_string());
                        tracing::warn!(path = %path.display(), reason, "a damaged snapshot is removed");
                        fs::remove_dir_all(&path).map_err(SyncError::io("remove", &path))?;
                    }
                }
            }
        }
        let shelf = Self(Arc::new(Inner { directory: directory.to_owned(), snapshots: Mutex::new(snapshots) }));
        shelf.trim()?;
        Ok(shelf)
    }

    /// What is offered to peers, the newest first.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        let snapshots = self.0.snapshots.lock();
        let offer = |snapshot: &Arc<Snapshot>| Offer {
            number: snapshot.number,
            content: snapshot.content,
            state_bytes: snapshot.manifest.state_bytes,
        };
        snapshots.values().rev().take(SNAPSHOT_OFFERS_MAX).map(offer).collect()
    }

    /// Height of the newest snapshot.
    #[must_use]
    pub fn newest(&self) -> Option<u32> {
        self.0.snapshots.lock().last_key_value().map(|(number, _)| *number)
    }

    /// The snapshot with this name.
    #[must_use]
    pub fn get(&self, content: &[u8; 32]) -> Option<Arc<Snapshot>> {
        self.0.snapshots.lock().values().find(|snapshot| snapshot.content == *content).cloned()
    }

    /// Withdraws and removes a snapshot, because it is damaged.
    pub fn discard(&self, snapshot: &Snapshot) {
        self.0.snapshots.lock().remove(&snapshot.number);
        if let Err(error) = fs::remove_dir_all(&snapshot.path) {
            tracing::error!(path = %snapshot.path.display(), %error, "a damaged snapshot cannot be removed");
        }
    }

    /// Starts writing the snapshot of a height.
    pub(crate) fn begin(&self, number: u32) -> Result<SnapshotWriter, SyncError> {
        let path = self.0.directory.join(format!("{MAKING}{}", folder(number)));
        if path.exists() {
            fs::remove_dir_all(&path).map_err(SyncError::io("remove", &path))?;
        }
        fs::create_dir(&path).map_err(SyncError::io("create", &path))?;
        let state = path.join(STATE);
        let file = File::create(&state).map_err(SyncError::io("create", &state))?;
        Ok(SnapshotWriter {
            shelf: self.clone(),
            path,
            number,
            file: BufWriter::new(file),
            chunk: Vec::new(),
            chunks: Vec::new(),
            state_bytes: 0,
            done: false,
        })
    }

    /// Removes all but the newest snapshots.
    fn trim(&self) -> Result<(), SyncError> {
        let mut snapshots = self.0.snapshots.lock();
        while snapshots.len() > SNAPSHOTS_KEPT {
            let Some((_, oldest)) = snapshots.pop_first() else { break };
            fs::remove_dir_all(&oldest.path).map_err(SyncError::io("remove", &oldest.path))?;
        }
        Ok(())
    }
}

fn folder(number: u32) -> String {
    format!("{number:010}")
}

/// A snapshot on its way to the shelf. Dropping it removes what is there.
pub(crate) struct SnapshotWriter {
    shelf: Shelf,
    path: PathBuf,
    number: u32,
    file: BufWriter<File>,
    chunk: Vec<u8>,
    chunks: Vec<[u8; 32]>,
    state_bytes: u64,
    done: bool,
}

impl SnapshotWriter {
    /// Adds a node to the stream.
    pub(crate) fn node(&mut self, node: &[u8]) -> Result<(), SyncError> {
        let length = u32::try_from(node.len())
            .ok()
            .filter(|length| usize::try_from(*length).is_ok_and(|length| length <= x0_limits::SNAPSHOT_NODE_BYTES_MAX));
        let length = length.ok_or(SyncError::NodeTooLarge { number: self.number, bytes: node.len() })?;
        self.bytes(&length.to_le_bytes())?;
        self.bytes(node)
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), SyncError> {
        while !bytes.is_empty() {
            let room = SNAPSHOT_CHUNK_BYTES.saturating_sub(self.chunk.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == SNAPSHOT_CHUNK_BYTES {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), SyncError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        if self.chunks.len() >= SNAPSHOT_CHUNKS_MAX {
            return Err(SyncError::StateTooLarge { number: self.number, max: SNAPSHOT_CHUNKS_MAX });
        }
        self.chunks.push(x0_crypto::blake2b_256(&self.chunk));
        self.state_bytes = self.state_bytes.saturating_add(u64::try_from(self.chunk.len()).unwrap_or(u64::MAX));
        self.file.write_all(&self.chunk).map_err(SyncError::io("write", &self.path))?;
        self.chunk.clear();
        Ok(())
    }

    /// Puts the snapshot on the shelf, durable and whole, and removes the oldest beyond those kept.
    pub(crate) fn finish(
        mut self,
        genesis: [u8; 32],
        header: Vec<u8>,
        certificate: Vec<u8>,
        ancestors: Vec<Vec<u8>>,
    ) -> Result<Arc<Snapshot>, SyncError> {
        self.end_chunk()?;
        let io = |action| SyncError::io(action, &self.path);
        self.file.flush().map_err(io("write"))?;
        self.file.get_ref().sync_all().map_err(io("sync"))?;
        let chunks = std::mem::take(&mut self.chunks);
        debug_assert_eq!(chunks_of(self.state_bytes), u64::try_from(chunks.len()).unwrap_or(u64::MAX));
        let manifest = Manifest { genesis, header, certificate, ancestors, state_bytes: self.state_bytes, chunks };
        let file = self.path.join(MANIFEST);
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&file)?;
            file.write_all(&manifest.encode())?;
            file.sync_all()
        };
        write().map_err(SyncError::io("write", &file))?;
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(io("sync"))?;
        let directory = &self.shelf.0.directory;
        let place = directory.join(folder(self.number));
        if place.exists() {
            fs::remove_dir_all(&place).map_err(SyncError::io("remove", &place))?;
        }
        fs::rename(&self.path, &place).map_err(io("rename"))?;
        self.done = true;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(SyncError::io("sync", directory))?;
        let snapshot = Arc::new(Snapshot { content: manifest.content(), number: self.number, manifest, path: place });
        self.shelf.0.snapshots.lock().insert(self.number, Arc::clone(&snapshot));
        self.shelf.trim()?;
        Ok(snapshot)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a half-made snapshot stays until the next start");
        }
    }
}
