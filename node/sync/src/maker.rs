//! Makes snapshots beside a node that goes on producing blocks.

use crate::{
    error::SyncError,
    shelf::{Shelf, Snapshot},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use x0_executor::{Executor, light::light_header};
use x0_limits::SNAPSHOT_INTERVAL_BLOCKS;
use x0_storage::Database;
use x0_types::BlockNumber;

/// How often the thread looks at the head.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Politeness of the thread towards the rest of the node (19 is the most).
const NICENESS: libc::c_int = 15;

/// Counters of the maker since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakerStats {
    /// Snapshots made.
    pub made: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Height of the newest snapshot on the shelf, 0 without one.
    pub newest: u64,
    /// Duration of the last one, milliseconds.
    pub last_ms: u64,
    /// Bytes of the last one.
    pub last_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    made: AtomicU64,
    failed: AtomicU64,
    last_ms: AtomicU64,
    last_bytes: AtomicU64,
}

/// Makes a snapshot of each height that is a multiple of the interval, on a thread of low priority.
#[derive(Debug)]
pub struct SnapshotMaker {
    shelf: Shelf,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    wake: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes the snapshot of a height now. Blocks; the state is pinned, nothing else is held up.
///
/// # Errors
/// [`SyncError`]; nothing is left of a failed attempt.
pub fn make_snapshot(database: &Database, shelf: &Shelf, number: BlockNumber) -> Result<Arc<Snapshot>, SyncError> {
    make(database, shelf, number, &AtomicBool::new(false))
}

fn make(
    database: &Database,
    shelf: &Shelf,
    number: BlockNumber,
    stopping: &AtomicBool,
) -> Result<Arc<Snapshot>, SyncError> {
    let light = light_header(database, number)?;
    let genesis = database.genesis_hash().ok_or(x0_storage::StorageError::NoGenesis)?;
    let header = x0_light::Header::decode(&light.header).map_err(|error| {
        SyncError::Storage(x0_storage::StorageError::DamagedRecord {
            column: "headers",
            key: number.to_string(),
            detail: error.to_string(),
        })
    })?;
    let first = number.saturating_sub(x0_limits::SNAPSHOT_ANCESTORS).max(1);
    let missing = |number| {
        SyncError::Light(x0_executor::LightDataError::Pruned { number, history_start: database.history_start() })
    };
    let ancestors = (first..number)
        .map(|number| database.header(number).ok_or_else(|| missing(number)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut nodes = database.state_nodes(number, header.state_root.into())?;
    let mut writer = shelf.begin(number)?;
    while let Some(node) = nodes.next_node()? {
        if stopping.load(Ordering::Relaxed) {
            return Err(SyncError::Stopped);
        }
        writer.node(&node)?;
    }
    writer.finish(genesis.0, light.header, light.certificate, ancestors)
}

impl SnapshotMaker {
    /// Starts the thread. An interval of 0 makes none, and the shelf only offers what is there.
    ///
    /// # Errors
    /// [`SyncError::Thread`].
    pub fn start(executor: &Executor, shelf: &Shelf, interval: u32) -> Result<Self, SyncError> {
        let counters = Arc::new(Counters::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let (wake, woken) = mpsc::channel();
        let worker = Worker {
            executor: executor.clone(),
            shelf: shelf.clone(),
            interval,
            counters: Arc::clone(&counters),
            stopping: Arc::clone(&stopping),
            failed_at: 0,
        };
        let thread = std::thread::Builder::new()
            .name("x0-snapshots".to_owned())
            .spawn(move || worker.run(&woken))
            .map_err(SyncError::Thread)?;
        Ok(Self { shelf: shelf.clone(), counters, stopping, wake: Some(wake), thread: Some(thread) })
    }

    /// As [`SnapshotMaker::start`], with [`SNAPSHOT_INTERVAL_BLOCKS`].
    ///
    /// # Errors
    /// [`SyncError::Thread`].
    pub fn start_default(executor: &Executor, shelf: &Shelf) -> Result<Self, SyncError> {
        Self::start(executor, shelf, SNAPSHOT_INTERVAL_BLOCKS)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> MakerStats {
        MakerStats {
            made: self.counters.made.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            newest: self.shelf.newest().map_or(0, u64::from),
            last_ms: self.counters.last_ms.load(Ordering::Relaxed),
            last_bytes: self.counters.last_bytes.load(Ordering::Relaxed),
        }
    }

    /// Stops the thread; a snapshot under way is given up. Blocks for a moment.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot thread panicked");
        }
    }
}

impl Drop for SnapshotMaker {
    fn drop(&mut self) {
        self.end();
    }
}

struct Worker {
    executor: Executor,
    shelf: Shelf,
    interval: u32,
    counters: Arc<Counters>,
    stopping: Arc<AtomicBool>,
    failed_at: BlockNumber,
}

impl Worker {
    fn run(mut self, woken: &mpsc::Receiver<()>) {
        be_polite();
        while matches!(woken.recv_timeout(LOOK_INTERVAL), Err(RecvTimeoutError::Timeout)) {
            if let Some(number) = self.due() {
                self.make(number);
            }
        }
    }

    /// The newest multiple of the interval, when its snapshot is missing and its state is there.
    fn due(&self) -> Option<BlockNumber> {
        let head = self.executor.head().number;
        let number = head.checked_div(self.interval)?.checked_mul(self.interval)?;
        let wanted = number > 0
            && number > self.shelf.newest().unwrap_or(0)
            && number > self.failed_at
            && number >= self.executor.database().oldest_state();
        wanted.then_some(number)
    }

    fn make(&mut self, number: BlockNumber) {
        let start = Instant::now();
        match make(self.executor.database(), &self.shelf, number, &self.stopping) {
            Ok(snapshot) => {
                let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.counters.made.fetch_add(1, Ordering::Relaxed);
                self.counters.last_ms.store(took, Ordering::Relaxed);
                self.counters.last_bytes.store(snapshot.manifest.state_bytes, Ordering::Relaxed);
                tracing::info!(number, took_ms = took, bytes = snapshot.manifest.state_bytes, "snapshot made");
            }
            Err(SyncError::Stopped) => {}
            Err(error) => {
                // The next interval is tried again; this height would most likely fail again.
                self.failed_at = number;
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(number, %error, "the snapshot could not be made");
            }
        }
    }
}

/// Lowers this thread's priority, so that blocks come first.
fn be_polite() {
    // SAFETY: `setpriority` has no memory arguments. On Linux, PRIO_PROCESS with 0 means the calling
    // thread alone.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if result != 0 {
        tracing::warn!("the snapshot thread keeps the node's priority: {}", std::io::Error::last_os_error());
    }
}
