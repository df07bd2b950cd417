//! Answers the questions of restoring nodes.

use crate::{
    error::SyncError,
    quota::{Admission, Quota},
    shelf::Shelf,
    wire::{Answer, Question, Refusal, decode_question, encode_answer},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, TrySendError},
    },
    time::Instant,
};
use tokio::task::JoinHandle;
use x0_executor::light::{SetChanges, set_changes};
use x0_limits::SNAPSHOT_SERVED_PEERS_MAX;
use x0_network::{Carrier, CarrierEvent, Channel, Offence, PeerKey};
use x0_storage::Database;

/// Questions that wait for the serving thread over all peers.
const WAITING_MAX: usize = SNAPSHOT_SERVED_PEERS_MAX;

/// Counters of the server since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Questions answered.
    pub answered: u64,
    /// Questions refused because too many waited.
    pub refused: u64,
    /// Frames that were no question.
    pub malformed: u64,
    /// Bytes of answers.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
    bytes: AtomicU64,
}

struct Shared {
    carrier: Arc<dyn Carrier>,
    shelf: Shelf,
    database: Database,
    quota: Mutex<Quota>,
    counters: Counters,
    started: Instant,
}

/// Serves snapshots and set changes to peers. Dropping it ends it.
pub struct SnapshotServer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for SnapshotServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotServer").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl SnapshotServer {
    /// Starts serving on [`Channel::SnapshotRequest`] of this carrier, whose events the server takes.
    /// Must run within a tokio runtime.
    ///
    /// # Errors
    /// [`SyncError::Thread`] when the system gives no thread, or somebody else reads the events.
    pub fn start(carrier: Arc<dyn Carrier>, shelf: Shelf, database: Database) -> Result<Self, SyncError> {
        let taken = || SyncError::Thread(std::io::Error::other("the events of the carrier are taken"));
        let mut events = carrier.take_events().ok_or_else(taken)?;
        let shared = Arc::new(Shared {
            carrier,
            shelf,
            database,
            quota: Mutex::default(),
            counters: Counters::default(),
            started: Instant::now(),
        });
        let (questions, waiting) = mpsc::sync_channel::<(PeerKey, u32, Question)>(WAITING_MAX);
        let worker = Arc::clone(&shared);
        // The thread ends when the task drops the sender.
        std::thread::Builder::new()
            .name("x0-snap-serve".to_owned())
            .spawn(move || {
                while let Ok((peer, id, question)) = waiting.recv() {
                    worker.serve(peer, id, &question);
                }
            })
            .map_err(SyncError::Thread)?;
        let front = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let CarrierEvent::Frame { from, channel: Channel::SnapshotRequest, bytes } = event {
                    front.take(from, &bytes, &questions);
                }
            }
        });
        Ok(Self { shared, task })
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let counters = &self.shared.counters;
        ServerStats {
            answered: counters.answered.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            malformed: counters.malformed.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for SnapshotServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Judges a frame and queues its question.
    fn take(&self, from: PeerKey, bytes: &[u8], questions: &mpsc::SyncSender<(PeerKey, u32, Question)>) {
        let Ok((id, question)) = decode_question(bytes) else {
            self.counters.malformed.fetch_add(1, Ordering::Relaxed);
            self.carrier.penalize(&from, Offence::Malformed);
            return;
        };
        let admission = self.quota.lock().ask(from, self.now_ms());
        match admission {
            Admission::Taken => match questions.try_send((from, id, question)) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.quota.lock().answered(&from, 0, self.now_ms());
                    self.send(&from, id, &Answer::Refused(Refusal::Busy));
                }
            },
            Admission::Busy => {
                self.send(&from, id, &Answer::Refused(Refusal::Busy));
            }
            Admission::Flooding => self.carrier.penalize(&from, Offence::Flooding),
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn serve(&self, peer: PeerKey, id: u32, question: &Question) {
        let bytes = self.send(&peer, id, &self.answer(question));
        self.quota.lock().answered(&peer, bytes, self.now_ms());
        self.counters.answered.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn send(&self, peer: &PeerKey, id: u32, answer: &Answer) -> usize {
        let bytes = encode_answer(id, answer);
        let length = bytes.len();
        match self.carrier.send(peer, Channel::SnapshotResponse, bytes) {
            Ok(()) => length,
            Err(error) => {
                tracing::debug!(%peer, %error, "an answer of state sync is not sent");
                0
            }
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Offers => Answer::Offers(self.shelf.offers()),
            Question::SetChanges { after, last } => match set_changes(&self.database, *after, *last) {
                Ok(SetChanges { proofs, more }) => Answer::SetChanges { proofs, more },
                Err(error) => {
                    tracing::error!(%error, "set changes cannot be served");
                    Answer::Refused(Refusal::Unknown)
                }
            },
            Question::Manifest { content } => self
                .shelf
                .get(content)
                .map_or(Answer::Refused(Refusal::Unknown), |snapshot| Answer::Manifest(snapshot.manifest.clone())),
            Question::Chunk { content, index } => self.chunk(content, *index),
        }
    }

    fn chunk(&self, content: &[u8; 32], index: u32) -> Answer {
        let Some(snapshot) = self.shelf.get(content) else { return Answer::Refused(Refusal::Unknown) };
        match snapshot.chunk(index) {
            Ok(bytes) => Answer::Chunk(bytes),
            Err(error) => {
                // A chunk beyond the end is the peer's mistake; everything else is this disk's.
                if !matches!(error, SyncError::NoChunk { .. }) {
                    tracing::error!(%error, "a damaged snapshot is withdrawn");
                    self.shelf.discard(&snapshot);
                }
                Answer::Refused(Refusal::Unknown)
            }
        }
    }
}
