//! Slot after slot: each once, none lost to the failure of another.

use super::{
    agent::{self, Behaviour},
    fake::{Arrived, FakeChain, ManualClock, SLOTS, VALIDATOR, until},
};
use crate::{EndpointPolicy, Gate, ProbeConfig, ProbeHandle, ProbeWorker, Promise, Target};
use std::{path::PathBuf, sync::Arc};
use x0_mempool::SubmitError;
use x0_types::{
    deal::ServiceCheck,
    market::{Observation, SlaBreach, Slot},
};

struct Run {
    chain: FakeChain,
    clock: Arc<ManualClock>,
    worker: ProbeHandle,
}

impl Run {
    fn start(chain: FakeChain, clock: Arc<ManualClock>) -> Self {
        Self::with_diary(chain, clock, None)
    }

    fn with_diary(chain: FakeChain, clock: Arc<ManualClock>, diary: Option<PathBuf>) -> Self {
        let config = ProbeConfig { endpoints: EndpointPolicy::Any, diary };
        let worker = ProbeWorker::start(chain.clone(), clock.clone(), &config).unwrap();
        Self { chain, clock, worker }
    }

    /// A worker that starts at the beginning of a slot.
    fn at(slot: Slot, targets: Vec<Target>) -> Self {
        let chain = FakeChain::default();
        chain.0.lock().targets = targets;
        Self::start(chain, ManualClock::at(SLOTS.start_of(slot)))
    }

    /// Lets the time for probes of a slot pass, and waits until they are done.
    async fn probe(&self, slot: Slot) {
        self.clock.set(SLOTS.last_probe_start(slot));
        until("the slot is probed", || self.worker.status().probed_slot == Some(slot)).await;
    }

    /// Probes a slot and waits for what becomes of its report.
    async fn slot(&self, slot: Slot) {
        let settled = || {
            let status = self.worker.status();
            status.reports + status.already_reported + status.missed
        };
        let before = settled();
        self.probe(slot).await;
        assert_eq!(settled(), before, "nothing is reported before the slot is over");
        self.clock.set(SLOTS.end_of(slot));
        until("the slot is settled", || settled() > before).await;
    }

    /// Lets the report of a slot be shown.
    async fn show(&self, slot: Slot) -> Arrived {
        self.chain.head([slot]);
        until("the report is shown", || self.chain.0.lock().arrived.iter().any(|one| one.slot == slot)).await;
        self.chain.0.lock().arrived.iter().find(|one| one.slot == slot).cloned().unwrap()
    }

    /// The slots that were committed to.
    fn slots(&self) -> Vec<Slot> {
        self.chain.0.lock().committed.keys().copied().collect()
    }
}

#[tokio::test]
async fn a_report_says_what_was_seen_and_its_receipts_prove_it() {
    let targets = vec![
        agent::start(0, "a", Behaviour::Honest).await,
        agent::dead(2, "b").await,
        agent::start(5, "c", Behaviour::Honest).await,
        agent::start(6, "d", Behaviour::Refuse).await,
    ];
    let run = Run::at(10, targets);
    run.slot(10).await;
    assert_eq!(run.chain.0.lock().arrived, vec![], "nothing is shown before the time");
    let report = run.show(10).await;
    assert_eq!(report.slot, 10);
    assert_eq!(report.observations.len(), 2, "two bits for each index up to the highest");
    let seen: Vec<_> = (0..8).map(|index| report.of(index)).collect();
    use Observation::{Down, None as Not, Up};
    assert_eq!(seen, [Up, Not, Down, Not, Not, Up, Down, Not]);
    let receipts = run.worker.receipts(10).unwrap();
    assert_eq!(receipts.root, report.root);
    for index in [0, 5] {
        let proof = receipts.prove(index).unwrap();
        let node = proof.signed.receipt.node.clone();
        assert_eq!(proof.backs(&VALIDATOR, 10, (index, &node), &report.root), Ok(()));
        assert!(proof.backs(&VALIDATOR, 10, (index + 1, &node), &report.root).is_err());
    }
    assert!(receipts.prove(2).is_none());
    let status = run.worker.status();
    assert_eq!((status.up, status.down, status.not_probed, status.reported_slot), (2, 2, 0, Some(10)));
    run.worker.stop().await;
}

/// M17: a receipt that is asked for is shown, once, and what does not exist is counted.
#[tokio::test]
async fn receipts_that_are_asked_for_are_shown() {
    let run = Run::at(10, vec![agent::start(3, "a", Behaviour::Honest).await]);
    run.slot(10).await;
    let report = run.show(10).await;
    let asked = |challenge, slot, index| crate::Asked { challenge, slot, index };
    run.chain.0.lock().asked = vec![asked(1, 10, 3), asked(2, 10, 4), asked(3, 9, 3)];
    run.chain.head([]);
    until("one is shown and two cannot be", || {
        let status = run.worker.status();
        (status.answers, status.unanswerable) == (1, 2)
    })
    .await;
    let (number, proof) = run.chain.0.lock().answers.remove(0);
    let node = proof.signed.receipt.node.clone();
    assert_eq!((number, proof.backs(&VALIDATOR, 10, (3, &node), &report.root)), (1, Ok(())));
    run.worker.stop().await;
}

/// M17: a restart in between makes a validator neither silent about a report nor guilty of a receipt.
#[tokio::test]
async fn a_restart_forgets_neither_reports_nor_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let diary = || Some(folder.path().join("diary"));
    let chain = FakeChain::default();
    chain.0.lock().targets = vec![agent::start(3, "a", Behaviour::Honest).await];
    let run = Run::with_diary(chain.clone(), ManualClock::at(SLOTS.start_of(10)), diary());
    run.slot(10).await;
    run.worker.stop().await;

    // The new process begins within the slot that the old one reported on, and does not report on it again.
    let run = Run::with_diary(chain, ManualClock::at(SLOTS.start_of(10)), diary());
    run.slot(10).await;
    assert_eq!((run.worker.status().already_reported, run.slots()), (1, vec![10]));
    let report = run.show(10).await;
    run.chain.0.lock().asked = vec![crate::Asked { challenge: 1, slot: 10, index: 3 }];
    run.chain.head([]);
    until("the receipt is shown", || run.worker.status().answers == 1).await;
    let (_, proof) = run.chain.0.lock().answers.remove(0);
    let node = proof.signed.receipt.node.clone();
    assert_eq!(proof.backs(&VALIDATOR, 10, (3, &node), &report.root), Ok(()));
    assert_eq!(run.worker.status().unanswerable, 0);
    run.worker.stop().await;
}

/// A TCP service that answers every connection with these bytes.
async fn service(answer: &'static [u8]) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 512];
                // A port check hangs up without a request.
                let read = stream.read(&mut request).await.unwrap_or(0);
                if read > 0 {
                    assert!(request.starts_with(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1:"));
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    port
}

/// M16: a node that answers probes but not what its deals' manifests declare is down; one that serves it is up.
#[tokio::test]
async fn a_node_that_answers_probes_but_not_its_service_is_down() {
    let body = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let (good, bad) = (service(body).await, service(b"HTTP/1.0 200 OK\r\n\r\nsorry").await);
    let dead = agent::dead(9, "nobody").await.endpoint.unwrap().port();
    let body_hash = x0_types::Hash::from(x0_crypto::blake2b_256(b"hello"));
    let http = |port| ServiceCheck::Http { port, path: b"/health".to_vec().try_into().unwrap(), body_hash };
    let port = |port| ServiceCheck::Port { port };
    let honest = agent::start(0, "a", Behaviour::Honest).await;
    let with = |index, checks: Vec<ServiceCheck>| Target { index, checks, ..honest.clone() };
    let targets = vec![
        with(0, vec![http(good), port(good)]),
        with(1, vec![http(good), http(bad)]),
        with(2, vec![port(dead)]),
        with(3, vec![]),
    ];
    let run = Run::at(3, targets);
    run.slot(3).await;
    let report = run.show(3).await;
    use Observation::{Down, Up};
    assert_eq!((0..4).map(|index| report.of(index)).collect::<Vec<_>>(), [Up, Down, Down, Up]);
    run.worker.stop().await;
}

/// M16: round trip and throughput are tried in each window, and only what most trials found broken is complained about.
#[tokio::test]
async fn promises_that_most_trials_find_broken_are_complained_about() {
    let promise = |deal| Promise { deal, round_trip_ms_max: 50, throughput_kbps_min: 100, first_slot: 0 };
    let with = async |index, name, behaviour| {
        let promises = vec![promise(u64::from(index))];
        Target { promises, ..agent::start(index, name, behaviour).await }
    };
    let targets = vec![
        with(0, "a", Behaviour::Honest).await,
        with(1, "b", Behaviour::Sluggish).await,
        with(2, "c", Behaviour::Stingy).await,
        Target { promises: vec![promise(3)], ..agent::dead(3, "d").await },
    ];
    let window = x0_limits::TRIAL_WINDOW_SLOTS;
    let run = Run::at(window, targets);
    for slot in window..=2 * window + x0_limits::TRIAL_PATIENCE_SLOTS {
        run.slot(slot).await;
        // The clock of this test runs faster than the trials.
        until("what was begun is booked", || {
            let status = run.worker.status();
            status.trials_begun == status.trials_booked
        })
        .await;
    }
    until("two deals are complained about", || run.worker.status().complaints >= 2).await;
    let slow = SlaBreach { round_trip: true, throughput: false };
    let thin = SlaBreach { round_trip: false, throughput: true };
    assert_eq!(run.chain.0.lock().complaints, vec![(1, 1, slow), (2, 1, thin)], "and not about a dead node");
    run.worker.stop().await;
}

#[tokio::test]
async fn each_slot_is_reported_once_and_in_order() {
    let run = Run::at(3, vec![agent::start(0, "a", Behaviour::Honest).await]);
    for slot in 3..7 {
        run.slot(slot).await;
    }
    assert_eq!(run.slots(), [3, 4, 5, 6]);
    run.worker.stop().await;
}

#[tokio::test]
async fn nothing_enrolled_means_nothing_sent() {
    let run = Run::at(3, vec![]);
    until("slot 3 is looked at", || run.chain.0.lock().reads == 1).await;
    run.clock.set(SLOTS.start_of(4));
    until("slot 4 is looked at", || run.chain.0.lock().reads == 2).await;
    assert_eq!((run.slots(), run.worker.status().missed), (vec![], 0));
    run.chain.0.lock().targets = vec![agent::start(0, "a", Behaviour::Honest).await];
    run.clock.set(SLOTS.start_of(5));
    run.slot(5).await;
    assert_eq!(run.slots(), [5]);
    run.worker.stop().await;
}

#[tokio::test]
async fn a_slot_that_fails_does_not_touch_the_next() {
    let run = Run::at(3, vec![agent::start(0, "a", Behaviour::Honest).await]);
    run.probe(3).await;
    // The state is not readable, then a report is refused, then the reporter is unknown.
    run.chain.0.lock().unreadable = 1;
    run.clock.set(SLOTS.end_of(3));
    until("slot 3 is reported and slot 4 missed", || {
        let status = run.worker.status();
        (status.reports, status.missed) == (1, 1)
    })
    .await;
    run.clock.set(SLOTS.start_of(5));
    run.chain.0.lock().refusals.push_back(SubmitError::Unpayable);
    run.slot(5).await;
    run.chain.0.lock().gate = Some(Gate::NoReporter);
    run.slot(6).await;
    let status = run.worker.status();
    assert_eq!((status.missed, status.reports), (3, 1));
    assert!(matches!(status.last_missed, Some((6, reason)) if reason.contains("reporter")));
    run.chain.0.lock().gate = None;
    run.slot(7).await;
    assert_eq!(run.slots(), [3, 7]);
    run.worker.stop().await;
}

#[tokio::test]
async fn a_reason_that_passes_is_waited_for_and_one_that_lasts_is_not() {
    let run = Run::at(3, vec![agent::start(0, "a", Behaviour::Honest).await]);
    run.chain.0.lock().refusals =
        [SubmitError::Busy { waiting: 1 }, SubmitError::StaleNonce { nonce: 0, expected: None }].into();
    run.slot(3).await;
    assert_eq!(run.slots(), [3]);
    let busy = || SubmitError::Busy { waiting: 1 };
    run.chain.0.lock().refusals = [busy(), busy(), busy()].into();
    run.slot(4).await;
    assert_eq!((run.slots(), run.worker.status().missed), (vec![3], 1));
    run.worker.stop().await;
}

#[tokio::test]
async fn a_restart_does_not_report_a_slot_again() {
    let run = Run::at(3, vec![agent::start(0, "a", Behaviour::Honest).await]);
    run.slot(3).await;
    let (chain, clock) = (run.chain.clone(), run.clock.clone());
    run.worker.stop().await;
    // The machine's clock was set back a little while the node was down.
    clock.set(SLOTS.start_of(3));
    let run = Run::start(chain, clock);
    run.slot(3).await;
    assert_eq!(run.worker.status().already_reported, 1);
    run.slot(4).await;
    assert_eq!(run.slots(), [3, 4]);
    run.worker.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_repeats_no_slot_and_skips_what_is_gone() {
    let run = Run::at(3, vec![agent::start(0, "a", Behaviour::Honest).await]);
    run.slot(3).await;
    // Back by two slots: slots 1 to 3 do not happen again.
    run.clock.set(SLOTS.start_of(1));
    run.clock.set(SLOTS.start_of(4));
    run.slot(4).await;
    // Ahead by many, as after a sleep of the machine. Slot 5 had begun, and is too old now.
    until("slot 5 has begun", || run.chain.0.lock().reads == 3).await;
    run.clock.set(SLOTS.start_of(100));
    until("slot 5 is given up", || run.worker.status().missed == 1).await;
    run.slot(100).await;
    assert_eq!(run.slots(), [3, 4, 100]);
    run.worker.stop().await;
}

#[tokio::test]
async fn too_late_in_a_slot_the_next_one_is_the_first() {
    let chain = FakeChain::default();
    chain.0.lock().targets = vec![agent::start(0, "a", Behaviour::Honest).await];
    let run = Run::start(chain, ManualClock::at(SLOTS.last_probe_start(3) + 1));
    run.clock.set(SLOTS.start_of(4));
    run.slot(4).await;
    assert_eq!(run.slots(), [4]);
    run.worker.stop().await;
}

/// More nodes than may be probed at once, all silent: the bound holds and the slot ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_nodes_do_not_hold_up_the_others() {
    let mut targets = vec![agent::start(0, "a", Behaviour::Honest).await];
    let silent = agent::start(1, "b", Behaviour::Silent).await;
    targets.extend((1..40).map(|index| Target { index, ..silent.clone() }));
    let run = Run::at(3, targets);
    run.slot(3).await;
    let report = run.show(3).await;
    assert_eq!(report.of(0), Observation::Up);
    assert!((1..40).all(|index| report.of(index) == Observation::Down));
    run.worker.stop().await;
}

#[tokio::test]
async fn stopping_ends_at_once_even_within_a_slot() {
    let run = Run::at(3, vec![agent::start(0, "a", Behaviour::Silent).await]);
    until("slot 3 has begun", || run.chain.0.lock().reads == 1).await;
    let chain = run.chain.clone();
    run.worker.stop().await;
    assert!(chain.0.lock().committed.is_empty());
}
