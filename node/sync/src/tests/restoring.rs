//! Wiped nodes that come back through the network.

use super::support::{CHAIN, CHANGE, Chain, HEIGHT, Node, account, genesis, storage, transfer, unix_ms};
use crate::{
    Anchor, Manifest, RestoreError, RestoreSettings, Restored, Shelf, SnapshotServer, fetch_and_restore, make_snapshot,
    wire::{Answer, Offer, Question, decode_question, encode_answer},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use x0_executor::LightDataError;
use x0_light::{LightError, TrustedState, ValidatorSet, advance, verify_header};
use x0_network::{
    Carrier, CarrierEvent, CarrierStats, Channel, Offence, PeerKey, SendError,
    memory::{Hub, MemoryCarrier},
};
use x0_storage::{Database, StorageError};

/// A carrier that writes down who was reported.
struct Watched {
    inner: MemoryCarrier,
    reported: Arc<Mutex<Vec<(PeerKey, Offence)>>>,
}

impl Carrier for Watched {
    fn local(&self) -> PeerKey {
        self.inner.local()
    }
    fn broadcast(&self, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        self.inner.broadcast(channel, bytes)
    }
    fn send(&self, peer: &PeerKey, channel: Channel, bytes: Bytes) -> Result<(), SendError> {
        self.inner.send(peer, channel, bytes)
    }
    fn take_events(&self) -> Option<mpsc::Receiver<CarrierEvent>> {
        self.inner.take_events()
    }
    fn stats(&self) -> CarrierStats {
        self.inner.stats()
    }
    fn penalize(&self, peer: &PeerKey, offence: Offence) {
        self.reported.lock().push((*peer, offence));
    }
}

fn key(tag: u8) -> PeerKey {
    PeerKey([tag; 32])
}

fn serve(hub: &Hub, tag: u8) -> SnapshotServer {
    serve_shelf(hub, tag, CHAIN.shelf.clone())
}

fn serve_shelf(hub: &Hub, tag: u8, shelf: Shelf) -> SnapshotServer {
    SnapshotServer::start(Arc::new(hub.join(key(tag))), shelf, CHAIN.node.database.clone()).unwrap()
}

/// A peer that answers what `answer` says, or nothing.
fn peer(hub: &Hub, tag: u8, answer: impl Fn(&Question) -> Option<Answer> + Send + 'static) {
    let carrier = hub.join(key(tag));
    let mut events = carrier.take_events().unwrap();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let CarrierEvent::Frame { from, channel: Channel::SnapshotRequest, bytes } = event {
                let (id, question) = decode_question(&bytes).unwrap();
                if let Some(answer) = answer(&question) {
                    let _ = carrier.send(&from, Channel::SnapshotResponse, encode_answer(id, &answer));
                }
            }
        }
    });
}

fn settings(data: &Path) -> RestoreSettings {
    RestoreSettings {
        data: data.to_owned(),
        genesis: genesis(),
        anchor: None,
        above: 0,
        patience: Duration::from_secs(30),
        storage: storage(),
    }
}

type Reported = Arc<Mutex<Vec<(PeerKey, Offence)>>>;

async fn restore(hub: &Hub, settings: RestoreSettings) -> (Result<Restored, RestoreError>, Reported) {
    let reported = Reported::default();
    // A thread of an attempt that was dropped lets go of the directory in its own time.
    let outcome = loop {
        let carrier = Arc::new(Watched { inner: hub.join(key(100)), reported: reported.clone() });
        match fetch_and_restore(carrier, settings.clone()).await {
            Err(RestoreError::Sync(crate::SyncError::Storage(StorageError::AlreadyRunning { .. }))) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            outcome => break outcome,
        }
    };
    (outcome, reported)
}

/// Everything that the restored node holds is what the source held, and it goes on from there.
fn check_restored(data: &Path) {
    let source: &Chain = &CHAIN;
    let node = Node::open(data);
    let head = node.executor.head();
    assert_eq!((head.number, head.hash), (HEIGHT, source.node.database.hash_of(HEIGHT).unwrap()));
    assert_eq!(head.timestamp_ms, super::support::T0 + u64::from(HEIGHT - 1) * 1_000);
    // All state, by its keys and values.
    let old = source.node.database.hash_of(HEIGHT).unwrap();
    let keys = |node: &Node, at| node.executor.keys_paged(at, &[], usize::MAX, None).unwrap();
    let all = keys(&node, head.hash);
    assert_eq!(all, keys(&source.node, old));
    assert!(all.len() > 30);
    for key in all {
        assert_eq!(node.executor.storage(head.hash, &key).unwrap(), source.node.executor.storage(old, &key).unwrap());
    }
    node.executor.with_state(head.hash, x0_runtime::check_invariants).unwrap().unwrap();
    // What it does not have it names.
    assert_eq!((node.database.history_start(), node.database.oldest_state()), (HEIGHT + 1, HEIGHT));
    assert!(node.database.body(HEIGHT).is_none() && node.database.certificate(HEIGHT - 1).is_none());
    // Consensus looks at the authors of the last blocks.
    assert!((0..=HEIGHT).all(|number| node.database.header(number) == source.node.database.header(number)));
    let pruned = node.executor.light_header(HEIGHT - 1).unwrap_err();
    assert!(matches!(pruned, LightDataError::Pruned { history_start, .. } if history_start == HEIGHT + 1), "{pruned}");
    // It serves light clients from genesis on, as the source does.
    let genesis = node.executor.genesis_hash().0;
    let set = ValidatorSet::decode(&node.database.validator_set(0).unwrap()).unwrap();
    let mut trust = TrustedState::genesis(&node.database.header(0).unwrap(), genesis, set, unix_ms()).unwrap();
    let changes = node.executor.light_set_changes(0).unwrap();
    assert_eq!((changes.proofs.len(), changes.more), (1, false));
    for proof in &changes.proofs {
        advance(&mut trust, proof, unix_ms()).unwrap();
    }
    let newest = node.executor.light_header(HEIGHT).unwrap();
    verify_header(&mut trust, &newest.header, &newest.certificate, unix_ms()).unwrap();
    // A wallet that knows only that hash checks a balance against it.
    let who: [u8; 32] = account("alice").into();
    let proof = node.executor.read_proof(head.hash, &[x0_light::account_key(&who)]).unwrap();
    let proven = x0_light::account(trust.state_root(), &who, &proof).unwrap();
    let alice = account("alice");
    let real = node.executor.with_state(head.hash, || x0_runtime::System::account(&alice)).unwrap();
    assert_eq!((proven.nonce, proven.free), (real.nonce, real.data.free));
    let checkpoint = node.executor.light_checkpoint(HEIGHT).unwrap();
    let mut again =
        TrustedState::checkpoint(genesis, head.hash.0, &checkpoint.header, &checkpoint.proof, unix_ms()).unwrap();
    // The next blocks give the same hashes, which contain the state roots.
    for encoded in &source.later {
        node.commit(encoded);
        let number = node.executor.head().number;
        assert_eq!(node.executor.head().hash, source.node.database.hash_of(number).unwrap());
        let light = node.executor.light_header(number).unwrap();
        verify_header(&mut again, &light.header, &light.certificate, unix_ms()).unwrap();
    }
    // And the node makes the same snapshots.
    let shelf = tempfile::tempdir().unwrap();
    let made = make_snapshot(&node.database, &Shelf::open(shelf.path()).unwrap(), HEIGHT).unwrap();
    assert_eq!(made.content, source.snapshot.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_restores_among_liars_and_goes_on_with_the_chain() {
    let hub = Hub::new(1);
    let honest = [serve(&hub, 1), serve(&hub, 2)];
    peer(&hub, 3, |question| match CHAIN.honest(question) {
        Answer::Chunk(bytes) => Some(Answer::Chunk(Bytes::from(vec![0; bytes.len()]))),
        truth => Some(truth),
    });
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("chain");
    let (outcome, reported) = restore(&hub, settings(&data)).await;
    let restored = outcome.unwrap();
    assert_eq!((restored.number, restored.state_bytes), (HEIGHT, CHAIN.snapshot.manifest.state_bytes));
    assert_eq!(*reported.lock(), [(key(3), Offence::Malformed)]);
    assert!(honest.iter().map(|server| server.stats().answered).sum::<u64>() > 4);
    assert!(!data.join("restore").exists());
    tokio::task::spawn_blocking(move || check_restored(&data)).await.unwrap();
}

/// Peers agree on a manifest with a true header and false chunks: the state root tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_manifest_is_noticed_before_anything_is_replaced() {
    let hub = Hub::new(2);
    let _honest = serve(&hub, 1);
    // A name above the true one, so that the false snapshot is chosen first.
    let (manifest, junk) = (0u64..)
        .map(|tag| {
            let junk = Bytes::from(tag.to_le_bytes().repeat(1 << 10));
            let chunks = vec![x0_crypto::blake2b_256(&junk)];
            (Manifest { state_bytes: junk.len() as u64, chunks, ..CHAIN.snapshot.manifest.clone() }, junk)
        })
        .find(|(manifest, _)| manifest.content() > CHAIN.snapshot.content)
        .unwrap();
    let content = manifest.content();
    for tag in [2, 3] {
        let (manifest, junk) = (manifest.clone(), junk.clone());
        peer(&hub, tag, move |question| {
            Some(match question {
                Question::Offers => {
                    Answer::Offers(vec![Offer { number: HEIGHT, content, state_bytes: manifest.state_bytes }])
                }
                Question::Manifest { .. } => Answer::Manifest(manifest.clone()),
                Question::Chunk { .. } => Answer::Chunk(junk.clone()),
                other => CHAIN.honest(other),
            })
        });
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("chain");
    // There is a database already, which is behind.
    let node = Node::open(&data);
    node.advance(vec![transfer(1)]);
    let before = node.executor.head();
    drop(node);
    let (outcome, reported) = restore(&hub, RestoreSettings { above: before.number, ..settings(&data) }).await;
    assert_eq!(outcome.unwrap().number, HEIGHT);
    let mut reported = reported.lock().clone();
    reported.sort_by_key(|(peer, _)| *peer);
    assert_eq!(reported, [(key(2), Offence::BadSignature), (key(3), Offence::BadSignature)]);
    tokio::task::spawn_blocking(move || check_restored(&data)).await.unwrap();
}

/// Each attempt gets one chunk and ends; the next one goes on where it ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_downloaded_is_kept_for_the_next_attempt() {
    let chunks = CHAIN.snapshot.manifest.chunks.len();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("chain");
    let hub = Hub::new(3);
    let left = Arc::new(AtomicUsize::new(1));
    let gate = left.clone();
    peer(&hub, 1, move |question| {
        let chunk = matches!(question, Question::Chunk { .. });
        let open =
            !chunk || gate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        open.then(|| CHAIN.honest(question))
    });
    for attempt in 1..chunks {
        left.store(1, Ordering::Relaxed);
        let impatient = RestoreSettings { patience: Duration::from_secs(2), ..settings(&data) };
        let (outcome, _) = restore(&hub, impatient).await;
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, RestoreError::Stalled { chunks: missing, .. } if missing == chunks - attempt),
            "{error}"
        );
        assert!(!data.join("db").exists());
    }
    // A chunk that rotted on the disk meanwhile is fetched again.
    let state = OpenOptions::new().write(true).open(data.join("restore/state")).unwrap();
    state.write_all_at(b"rot", 11).unwrap();
    left.store(usize::MAX, Ordering::Relaxed);
    let (outcome, reported) = restore(&hub, settings(&data)).await;
    let resumed = outcome.unwrap().chunks_resumed as usize;
    assert!(resumed + 2 >= chunks - 1 && resumed < chunks, "{resumed} of {chunks}");
    assert!(reported.lock().is_empty());
    tokio::task::spawn_blocking(move || check_restored(&data)).await.unwrap();
}

/// Whenever the attempt is cut off, the next ones succeed, and before that nothing is in place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_are_cut_off_anywhere_harm_nothing() {
    let hub = Hub::new(4);
    hub.set_delay(Duration::from_millis(3));
    let _servers = [serve(&hub, 1), serve(&hub, 2)];
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("chain");
    let mut finished = None;
    for attempt in 0..40 {
        // From a cut before the first question to none in time.
        let cut = Duration::from_millis(40).mul_f64(1.4f64.powi(attempt));
        if let Ok((outcome, reported)) = tokio::time::timeout(cut, restore(&hub, settings(&data))).await {
            assert!(reported.lock().is_empty());
            finished = Some(outcome.unwrap());
            break;
        }
    }
    assert_eq!(finished.unwrap().number, HEIGHT);
    tokio::task::spawn_blocking(move || check_restored(&data)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_rotten_disk_withdraws_and_the_others_serve() {
    let hub = Hub::new(5);
    let rotten = tempfile::tempdir().unwrap();
    let shelf = Shelf::open(rotten.path()).unwrap();
    make_snapshot(&CHAIN.node.database, &shelf, HEIGHT).unwrap();
    let file = OpenOptions::new().write(true).open(rotten.path().join(format!("{HEIGHT:010}/state"))).unwrap();
    for chunk in 0..CHAIN.snapshot.manifest.chunks.len() as u64 {
        file.write_all_at(b"rot", (chunk << 20) + 5).unwrap();
    }
    let _servers = [serve_shelf(&hub, 1, shelf.clone()), serve(&hub, 2)];
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("chain");
    let (outcome, reported) = restore(&hub, settings(&data)).await;
    assert_eq!(outcome.unwrap().number, HEIGHT);
    assert!(reported.lock().is_empty(), "{:?}", reported.lock());
    assert!(shelf.offers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_cannot_succeed_says_why() {
    let hub = Hub::new(6);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("chain");
    let impatient = |settings: RestoreSettings| RestoreSettings { patience: Duration::from_millis(1_500), ..settings };
    let (alone, _) = restore(&hub, impatient(settings(&data))).await;
    assert!(matches!(alone, Err(RestoreError::NothingOffered { above: 0, .. })), "{alone:?}");
    let _server = serve(&hub, 1);
    let high = impatient(RestoreSettings { above: HEIGHT, ..settings(&data) });
    let (outcome, _) = restore(&hub, high).await;
    assert!(matches!(outcome, Err(RestoreError::NothingOffered { above: HEIGHT, .. })), "{outcome:?}");
    // The genesis set was vouched for too long ago.
    let hash = CHAIN.node.database.genesis_hash().unwrap().0;
    let old = Anchor { number: 0, hash, vouched_at_ms: unix_ms() - 15 * 86_400_000 };
    let (outcome, reported) = restore(&hub, RestoreSettings { anchor: Some(old), ..settings(&data) }).await;
    assert!(matches!(outcome, Err(RestoreError::Trust(LightError::TrustExpired { .. }))), "{outcome:?}");
    assert!(reported.lock().is_empty());
    // A node that runs is not restored beneath its feet.
    let running = Database::open(&data, storage()).unwrap();
    let carrier = Arc::new(hub.join(key(50)));
    let outcome = fetch_and_restore(carrier, settings(&data)).await;
    assert!(
        matches!(&outcome, Err(RestoreError::Sync(error)) if error.to_string().contains("is in use")),
        "{outcome:?}"
    );
    drop(running);
    // Checkpoints of another chain: one is known for that at once, one when its height is reached.
    let other = Anchor { number: 0, hash: [1; 32], vouched_at_ms: unix_ms() };
    let (outcome, _) = restore(&hub, RestoreSettings { anchor: Some(other), ..settings(&data) }).await;
    assert!(matches!(outcome, Err(RestoreError::OtherChain { .. })), "{outcome:?}");
    let other = Anchor { number: CHANGE, ..other };
    let (outcome, _) = restore(&hub, impatient(RestoreSettings { anchor: Some(other), ..settings(&data) })).await;
    assert!(matches!(outcome, Err(RestoreError::CheckpointMissing { number: CHANGE, peers: 1 })), "{outcome:?}");
    // A snapshot below the checkpoint is of no use, and offering it is no offence.
    let later = Anchor { number: HEIGHT + 1, hash: [1; 32], vouched_at_ms: unix_ms() };
    let (outcome, reported) =
        restore(&hub, impatient(RestoreSettings { anchor: Some(later), ..settings(&data) })).await;
    assert!(matches!(outcome, Err(RestoreError::NothingOffered { above: HEIGHT, .. })), "{outcome:?}");
    assert!(reported.lock().is_empty());
    // With the right checkpoint everything is well.
    let hash = CHAIN.node.database.hash_of(CHANGE).unwrap().0;
    let anchor = Anchor { number: CHANGE, hash, vouched_at_ms: unix_ms() };
    let (outcome, _) = restore(&hub, RestoreSettings { anchor: Some(anchor), ..settings(&data) }).await;
    assert_eq!(outcome.unwrap().number, HEIGHT);
}
