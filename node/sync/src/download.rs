//! What a restoring node keeps on its disk while it fetches, so that it goes on after a crash.

use crate::{error::SyncError, manifest::Manifest};
use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};
use x0_limits::SNAPSHOT_CHUNK_BYTES;

const MANIFEST: &str = "manifest";
const STATE: &str = "state";

/// The chunks that are there. They are believed by their hashes only, never by their being there.
#[derive(Debug)]
pub(crate) struct Download {
    manifest: Manifest,
    path: PathBuf,
    file: File,
}

impl Download {
    /// Name of the snapshot of which an earlier attempt left chunks.
    pub(crate) fn earlier(directory: &Path) -> Result<Option<[u8; 32]>, SyncError> {
        let path = directory.join(MANIFEST);
        match fs::read(&path) {
            // A manifest that a crash tore is as good as none.
            Ok(bytes) => Ok(Manifest::decode(&bytes).ok().map(|manifest| manifest.content())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SyncError::io("read", &path)(error)),
        }
    }

    /// Makes room for the chunks of a manifest, and keeps those that are there for the same snapshot.
    pub(crate) fn begin(directory: &Path, manifest: Manifest) -> Result<Self, SyncError> {
        let (path, state) = (directory.join(MANIFEST), directory.join(STATE));
        if Self::earlier(directory)? != Some(manifest.content()) {
            remove(&path)?;
            remove(&state)?;
            let new = directory.join("manifest.new");
            fs::write(&new, manifest.encode()).map_err(SyncError::io("write", &new))?;
            File::open(&new).and_then(|file| file.sync_all()).map_err(SyncError::io("sync", &new))?;
            fs::rename(&new, &path).map_err(SyncError::io("rename", &new))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&state);
        let file = file.map_err(SyncError::io("open", &state))?;
        file.set_len(manifest.state_bytes).map_err(SyncError::io("extend", &state))?;
        Ok(Self { manifest, path: state, file })
    }

    /// The chunks that are on the disk, by their hashes.
    pub(crate) fn present(&self) -> Result<Vec<u32>, SyncError> {
        let mut buffer = vec![0; SNAPSHOT_CHUNK_BYTES];
        let mut present = Vec::new();
        for index in (0u32..).take(self.manifest.chunks.len()) {
            if self.read(index, &mut buffer)?.is_some() {
                present.push(index);
            }
        }
        Ok(present)
    }

    /// Reads a chunk into the buffer; `None` when it is not there or damaged.
    pub(crate) fn read<'b>(&self, index: u32, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, SyncError> {
        let Some((start, length)) = self.manifest.place(index) else { return Ok(None) };
        let Some(bytes) = buffer.get_mut(..length) else { return Ok(None) };
        self.file.read_exact_at(bytes, start).map_err(SyncError::io("read", &self.path))?;
        Ok(self.manifest.is_chunk(index, bytes).then_some(bytes))
    }

    /// Writes a chunk. Not synced: after a crash its hash says whether it arrived.
    pub(crate) fn store(&self, index: u32, bytes: &[u8]) -> Result<(), SyncError> {
        let Some((start, _)) = self.manifest.place(index) else { return Ok(()) };
        self.file.write_all_at(bytes, start).map_err(SyncError::io("write", &self.path))
    }

    /// The manifest.
    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

fn remove(path: &Path) -> Result<(), SyncError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SyncError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
