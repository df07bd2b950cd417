//! Fetches a snapshot from peers and puts it in the place of the database.

use crate::{
    download::Download,
    error::{RestoreError, SyncError},
    fetcher::{Action, Anchor, Fetcher, Now},
    manifest::Manifest,
    wire::encode_question,
};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Backend as _, TrieBackendBuilder};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;
use x0_light::{Header, SetChangeProof, TrustedState, ValidatorSet};
use x0_limits::SNAPSHOT_CHUNK_BYTES;
use x0_network::{Carrier, CarrierEvent, Channel};
use x0_storage::{Database, ImportError, OpenOptions, RestoreArea, RestoreCommit, RestoredBlock};
use x0_types::{BlockNumber, Hash, Moment};

/// How often the fetcher looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How long a node waits for an honest peer when all that it met have a chain without the anchor.
const ASTRAY_WAIT: Duration = Duration::from_secs(10);
/// Events that wait for the fetcher; answers are bounded by what is asked.
const EVENTS_MAX: usize = 64;

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// The database's directory.
    pub data: PathBuf,
    /// The full genesis configuration of the runtime.
    pub genesis: serde_json::Value,
    /// The block that somebody vouches for; `None` for the genesis block, vouched for now.
    pub anchor: Option<Anchor>,
    /// Only snapshots above this height are of use: the height of the present database, 0 without one.
    pub above: BlockNumber,
    /// How long to wait for an offer or a further chunk before giving up.
    pub patience: Duration,
    /// How to open the database that is built.
    pub storage: OpenOptions,
}

/// A restored database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Height of its head.
    pub number: BlockNumber,
    /// Hash of its head.
    pub hash: Hash,
    /// Bytes of the snapshot's state.
    pub state_bytes: u64,
    /// Chunks that an earlier attempt had left on the disk.
    pub chunks_resumed: u32,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

enum Event {
    Carrier(CarrierEvent),
    Tick,
}

/// Fetches the newest snapshot that peers offer, verifies it from the genesis set on, builds a
/// database out of it and puts that in the place of the present one.
///
/// `carrier` must deliver link events and the frames of [`Channel::SnapshotResponse`]; its events are
/// taken. The node's database must be closed. Dropping the future, or killing the process, at any
/// point leaves the present database as it was, or the restored one, and keeps what was downloaded for
/// the next attempt.
///
/// # Errors
/// [`RestoreError`].
pub async fn fetch_and_restore(carrier: Arc<dyn Carrier>, settings: RestoreSettings) -> Result<Restored, RestoreError> {
    let mut incoming = carrier.take_events().ok_or(RestoreError::EventsTaken)?;
    let (events, queue) = mpsc::channel(EVENTS_MAX);
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let stopping = Arc::clone(&stop.0);
    let mut work = tokio::task::spawn_blocking(move || Session::run(&carrier, &settings, queue, &stopping));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome.unwrap_or(Err(RestoreError::Stopped)),
            event = incoming.recv() => {
                let Some(event) = event else { break };
                // Only this part of the node waits when the fetcher is busy.
                if events.send(Event::Carrier(event)).await.is_err() {
                    break;
                }
            }
            _ = ticks.tick() => {
                // A full queue wakes the fetcher as well.
                let _ = events.try_send(Event::Tick);
            }
        }
    }
    drop(events);
    work.await.unwrap_or(Err(RestoreError::Stopped))
}

/// Tells the blocking thread to end when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The genesis block, built from the network definition.
struct Genesis {
    hash: Hash,
    header: Vec<u8>,
    set: Vec<u8>,
}

impl Genesis {
    fn build(config: &serde_json::Value) -> Result<Self, RestoreError> {
        let built = x0_runtime::genesis::build(config).map_err(|error| RestoreError::Genesis(error.to_string()))?;
        let [current, _] = x0_light::validator_set_keys();
        let set = built.entries.into_iter().find_map(|(key, value)| (key == current).then_some(value));
        let set = set.ok_or_else(|| RestoreError::Genesis("it has no validators".to_owned()))?;
        Ok(Self { hash: built.hash, header: codec::Encode::encode(&built.header), set })
    }

    fn trust(&self, anchor: &Anchor) -> Result<TrustedState, RestoreError> {
        let set = ValidatorSet::decode(&self.set).map_err(|error| RestoreError::Genesis(error.to_string()))?;
        TrustedState::genesis(&self.header, self.hash.0, set, anchor.vouched_at_ms).map_err(RestoreError::Trust)
    }
}

struct Session<'a> {
    carrier: &'a Arc<dyn Carrier>,
    settings: &'a RestoreSettings,
    stopping: &'a AtomicBool,
    area: RestoreArea,
    genesis: Genesis,
    fetcher: Fetcher,
    download: Option<Download>,
    resumed: u32,
    started: Instant,
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> Session<'a> {
    fn run(
        carrier: &'a Arc<dyn Carrier>,
        settings: &'a RestoreSettings,
        mut events: mpsc::Receiver<Event>,
        stopping: &'a AtomicBool,
    ) -> Result<Restored, RestoreError> {
        let area = RestoreArea::open(&settings.data)?;
        let genesis = Genesis::build(&settings.genesis)?;
        let anchor = settings.anchor.unwrap_or(Anchor { number: 0, hash: genesis.hash.0, vouched_at_ms: unix_ms() });
        if anchor.number == 0 && anchor.hash != genesis.hash.0 {
            let (genesis, found) = (hex::encode(genesis.hash.0), hex::encode(anchor.hash));
            return Err(RestoreError::OtherChain { genesis, found });
        }
        let trust = genesis.trust(&anchor)?;
        // Before anybody is asked: no peer can make old trust young.
        trust.check_usable(unix_ms()).map_err(RestoreError::Trust)?;
        let resume = Download::earlier(area.path())?;
        let fetcher = Fetcher::new(trust, anchor, settings.above, resume);
        let started = Instant::now();
        let mut session =
            Session { carrier, settings, stopping, area, genesis, fetcher, download: None, resumed: 0, started };
        let mut progress = (None, started);
        loop {
            let event = events.blocking_recv().ok_or(RestoreError::Stopped)?;
            session.check_stop()?;
            let actions = session.handle(event);
            if let Some((head, state_bytes)) = session.act(actions)? {
                let (resumed, took) = (session.resumed, started.elapsed());
                session.area.switch()?;
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(number = head.number, took_ms, bytes = state_bytes, "a snapshot is restored");
                let hash = Hash::from(head.hash);
                return Ok(Restored { number: head.number, hash, state_bytes, chunks_resumed: resumed, took_ms });
            }
            session.check_patience(&mut progress)?;
        }
    }

    fn check_stop(&self) -> Result<(), RestoreError> {
        if self.stopping.load(Ordering::Relaxed) { Err(RestoreError::Stopped) } else { Ok(()) }
    }

    /// Gives up when nothing came for a long time. Progress is a chunk fewer to fetch, or a manifest.
    fn check_patience(&self, progress: &mut (Option<usize>, Instant)) -> Result<(), RestoreError> {
        let wait = ASTRAY_WAIT.min(self.settings.patience);
        if let Some(peers) = self.fetcher.only_astray().filter(|_| self.started.elapsed() >= wait) {
            return Err(RestoreError::CheckpointMissing { number: self.fetcher.anchor().number, peers });
        }
        let missing = self.fetcher.missing();
        if missing != progress.0 {
            *progress = (missing, Instant::now());
        }
        let waited = progress.1.elapsed();
        if waited < self.settings.patience {
            return Ok(());
        }
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        match missing {
            Some(chunks) => Err(RestoreError::Stalled { chunks, waited_ms }),
            None => Err(RestoreError::NothingOffered { above: self.fetcher.above(), waited_ms }),
        }
    }

    fn now(&self) -> Now {
        let steady_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { steady_ms, unix_ms: unix_ms() }
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let now = self.now();
        match event {
            Event::Tick | Event::Carrier(CarrierEvent::Listening) => self.fetcher.tick(now),
            Event::Carrier(CarrierEvent::PeerUp(peer)) => self.fetcher.peer_up(peer, now),
            Event::Carrier(CarrierEvent::PeerDown(peer)) => self.fetcher.peer_down(&peer, now),
            Event::Carrier(CarrierEvent::Frame { from, channel: Channel::SnapshotResponse, bytes }) => {
                self.fetcher.answer(from, &bytes, now)
            }
            Event::Carrier(CarrierEvent::Frame { .. }) => Vec::new(),
        }
    }

    /// Does what the fetcher says; gives the restored head when the database is complete.
    fn act(&mut self, actions: Vec<Action>) -> Result<Option<(Header, u64)>, RestoreError> {
        let mut todo = std::collections::VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            match action {
                Action::Ask { peer, id, question } => {
                    let frame = encode_question(id, &question);
                    if let Err(error) = self.carrier.send(&peer, Channel::SnapshotRequest, frame) {
                        // A lost question is asked again after its time, elsewhere if need be.
                        tracing::debug!(%peer, %error, "a question of state sync is not sent");
                    }
                }
                Action::Penalize { peer, fault } => {
                    tracing::warn!(%peer, %fault, "a peer is not believed");
                    self.carrier.penalize(&peer, fault.offence());
                }
                Action::Begin(manifest) => {
                    let download = Download::begin(self.area.path(), *manifest)?;
                    let present = download.present()?;
                    self.resumed = u32::try_from(present.len()).unwrap_or(u32::MAX);
                    self.download = Some(download);
                    let now = self.now();
                    todo.extend(self.fetcher.have(present, now));
                }
                Action::Store { index, bytes } => {
                    if let Some(download) = &self.download {
                        download.store(index, &bytes)?;
                    }
                }
                Action::Complete => match self.import()? {
                    Some(done) => return Ok(Some(done)),
                    None => {
                        self.area.clear()?;
                        let now = self.now();
                        todo.extend(self.fetcher.reject(now));
                    }
                },
                Action::Fail(error) => return Err(RestoreError::Trust(error)),
            }
        }
        Ok(None)
    }

    /// Builds the database out of the chunks. `None` when they are not the state of the header.
    fn import(&mut self) -> Result<Option<(Header, u64)>, RestoreError> {
        let Some(download) = self.download.take() else { return Ok(None) };
        let manifest = download.manifest();
        let broken = |error: crate::manifest::ManifestError| {
            RestoreError::Sync(SyncError::DamagedManifest {
                path: self.area.path().to_owned(),
                reason: error.to_string(),
            })
        };
        let block = manifest.block().map_err(broken)?;
        let state_root = Hash::from(block.state_root);
        let mut import = self.area.begin(self.settings.storage.clone(), block.number, state_root)?;
        let mut buffer = vec![0; SNAPSHOT_CHUNK_BYTES];
        for index in (0u32..).take(manifest.chunks.len()) {
            self.check_stop()?;
            let path = self.area.path().to_owned();
            let chunk = download.read(index, &mut buffer)?.ok_or(SyncError::DamagedChunk { path, index })?;
            match import.feed(chunk) {
                Err(ImportError::Stream(error)) => {
                    tracing::error!(%error, "the snapshot is not the state of its header");
                    return Ok(None);
                }
                other => other?,
            }
        }
        let timestamp_ms = match import.whole_state() {
            Err(ImportError::Stream(error)) => {
                tracing::error!(%error, "the snapshot is not the state of its header");
                return Ok(None);
            }
            database => timestamp(&database?, state_root)?,
        };
        let commit = RestoreCommit {
            genesis: self.genesis.hash,
            blocks: self.blocks(&block, manifest)?,
            head: Hash::from(block.hash),
            state_root,
            timestamp_ms,
        };
        import.finish(&commit)?;
        Ok(Some((block, manifest.state_bytes)))
    }

    /// The genesis block, the last headers, the head, and the blocks that announced sets. A block may
    /// stand here twice; the later one says more.
    fn blocks(&self, head: &Header, manifest: &Manifest) -> Result<Vec<RestoredBlock>, RestoreError> {
        let mut blocks = vec![RestoredBlock {
            number: 0,
            hash: self.genesis.hash,
            header: self.genesis.header.clone(),
            certificate: None,
            validator_set: Some(self.genesis.set.clone()),
        }];
        for bytes in &manifest.ancestors {
            let header = Header::decode(bytes).map_err(|error| RestoreError::Trust(error.into()))?;
            blocks.push(RestoredBlock {
                number: header.number,
                hash: Hash::from(header.hash),
                header: bytes.clone(),
                certificate: None,
                validator_set: None,
            });
        }
        blocks.push(RestoredBlock {
            number: head.number,
            hash: Hash::from(head.hash),
            header: manifest.header.clone(),
            certificate: Some(manifest.certificate.clone()),
            validator_set: None,
        });
        for SetChangeProof { header, certificate, set } in self.fetcher.changes() {
            let read = Header::decode(header).map_err(|error| RestoreError::Trust(error.into()))?;
            // A peer may give changes beyond the snapshot: they are true, and not of this database.
            if read.number > head.number {
                continue;
            }
            blocks.push(RestoredBlock {
                number: read.number,
                hash: Hash::from(read.hash),
                header: header.clone(),
                certificate: Some(certificate.clone()),
                validator_set: Some(set.clone()),
            });
        }
        Ok(blocks)
    }
}

/// The block's time, out of its state.
fn timestamp(database: &Database, state_root: Hash) -> Result<Moment, RestoreError> {
    let backend = TrieBackendBuilder::<_, BlakeTwo256>::new(database.state(), state_root).build();
    let value = backend.storage(&x0_light::timestamp_key()).ok().flatten().ok_or(RestoreError::NoTimestamp)?;
    codec::Decode::decode(&mut &value[..]).map_err(|_| RestoreError::NoTimestamp)
}
