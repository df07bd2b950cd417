//! The node's metrics: one table of names, and where each value comes from.

use super::Observer;
use crate::standing::Standing;
use std::time::Duration;
use x0_network::{Channel, p2p::P2pMetrics};
use x0_rpc::{LATENCY_BOUNDS_US, RpcStats};
use x0_rpc_types::node::LinkDirection;
use x0_runtime::version::SUPPORTED_SPECS;
use x0_telemetry::{Distribution, Metric, Samples, Source, Status, process};

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal, $help:literal;)*) => {
        $(const $constant: Metric = Metric::$kind($name, $help);)*
        /// Every metric of the node itself; the engine's own and those of the process come on top.
        #[cfg(test)]
        const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD = gauge "x0_build_info", "Always 1; version of the program and of the rules that it executes";
    HEALTHY = gauge "x0_healthy", "1 when /health says yes";
    READY = gauge "x0_ready", "1 when /ready says yes";
    HEIGHT = gauge "x0_chain_height_blocks", "Height of the last final block";
    HEIGHT_AGE = gauge "x0_chain_height_age_seconds", "How long this has been the height";
    HEAD_TIME = gauge "x0_chain_head_timestamp_seconds", "Timestamp of the last final block, since 1970";
    CLOCK = gauge "x0_clock_seconds", "The node's clock, since 1970";
    UPGRADE_HEIGHT = gauge "x0_upgrade_height_blocks", "Height at which other rules take over; absent when none are announced";
    UPGRADE_KNOWN = gauge "x0_upgrade_known", "0 when rules are announced that this program does not know";
    WORK_HEIGHT = gauge "x0_consensus_height_blocks", "Height that consensus works on";
    ROUND = gauge "x0_consensus_round", "Round of that height; 0 when all goes well";
    VALIDATOR = gauge "x0_consensus_validator", "1 when this node's key is in the validator set";
    BENCHED = gauge "x0_consensus_benched_validators", "Validators that propose last because they were absent lately";
    DECIDED = counter "x0_consensus_decided_blocks_total", "Heights decided since the start";
    ROUNDS = counter "x0_consensus_rounds_total", "Heights by the number of rounds that they took at most";
    MISSED = counter "x0_consensus_missed_proposals_total", "Turns to propose that ended without a decision";
    STUCK = counter "x0_consensus_stuck_tips_total", "Times that synchronisation started over because the height stood still";
    REFUSED_FRAMES = counter "x0_consensus_refused_frames_total", "Frames of peers that were offences, or of no use";
    SYNC = counter "x0_sync_block_requests_total", "Requests for decided blocks, asked and answered";
    EVIDENCE = counter "x0_evidence_found_total", "Contradictions of validators that were proven";
    EVIDENCE_WAITING = gauge "x0_evidence_waiting", "Proofs that are not on chain yet";
    VALIDATORS = counter "x0_validator_heights_total", "Heights of each validator by what it did, since the start";
    SIGNATURES = counter "x0_guard_requests_total", "Requests for signatures by what the sign guard did";
    SIGNED_HEIGHT = gauge "x0_guard_signed_height_blocks", "Height of the last signature that the guard remembers";
    GOSSIP = counter "x0_gossip_transactions_total", "Transactions, hashes and questions of the gossip by what happened";
    SNAPSHOTS = counter "x0_sync_snapshots_total", "Snapshots that this node made, or failed to make";
    SNAPSHOT_HEIGHT = gauge "x0_sync_snapshot_height_blocks", "Height of the newest snapshot that this node offers";
    SNAPSHOT_REQUESTS = counter "x0_sync_snapshot_requests_total", "Requests for snapshots by what happened";
    SNAPSHOT_BYTES = counter "x0_sync_snapshot_bytes_total", "Bytes of snapshots that were sent";
    POOL = gauge "x0_mempool_transactions", "Transactions that wait";
    POOL_READY = gauge "x0_mempool_ready_transactions", "Transactions that can go into the next block";
    POOL_BYTES = gauge "x0_mempool_bytes", "Bytes of waiting transactions";
    POOL_CHECKING = gauge "x0_mempool_checking_transactions", "Submissions that wait for their signature check";
    POOL_ENDS = counter "x0_mempool_events_total", "Transactions by what happened to them";
    POOL_CPU = counter "x0_mempool_check_seconds_total", "Processor time of signature and validity checks";
    STORAGE = gauge "x0_storage_bytes", "Size of the database's files";
    OLDEST_STATE = gauge "x0_storage_oldest_state_blocks", "Oldest height whose state can be read";
    PEERS = gauge "x0_p2p_peers", "Links that stand, by who made them";
    PEER_HEIGHT = gauge "x0_p2p_best_peer_height_blocks", "Greatest height that a peer tells";
    FRAMES = counter "x0_p2p_frames_total", "Frames by channel and by what happened to them";
    PEERS_MISSING = gauge "x0_p2p_missing_peers", "Admitted peers without a link";
    FRAME_BYTES = counter "x0_p2p_frame_bytes_total", "Bytes of frames by channel and direction";
    GATE = counter "x0_p2p_closed_connections_total", "Connections that were closed before a handshake, by reason";
    HANDSHAKES = counter "x0_p2p_handshakes_total", "Handshakes by how far they came";
    OFFENCES = counter "x0_p2p_offences_total", "Offences of peers that were noted";
    BANS = counter "x0_p2p_bans_total", "Bans that followed";
    PEER_CLOCK = gauge "x0_p2p_peer_clock_ahead_seconds", "How far a peer's clock is ahead of this node's";
    RPC_REQUESTS = counter "x0_rpc_requests_total", "Requests by class of method, those in batches included";
    RPC_ERRORS = counter "x0_rpc_errors_total", "Answers that are errors, by class and by what kind: refused is the caller's fault";
    RPC_TIME = histogram "x0_rpc_request_seconds", "Time that answers took, by class";
    RPC_CONNECTIONS = gauge "x0_rpc_connections", "Connections to the RPC";
    RPC_CLOSED = counter "x0_rpc_closed_connections_total", "Connections that were closed at once because their places were taken";
    RPC_SUBSCRIPTIONS = gauge "x0_rpc_subscriptions", "Open subscriptions";
    RPC_BYTES = counter "x0_rpc_bytes_total", "Bytes of requests and answers, without TLS";
    PEER_RTT = gauge "x0_p2p_peer_rtt_seconds", "Time that a frame and its answer take, by peer";
}

impl Source for Observer {
    fn collect(&self, samples: &mut Samples) {
        identity(samples, &self.chain);
        verdicts(samples, self);
        self.chain(samples);
        self.pool(samples);
        network(samples, &self.standing);
        rpc(samples, &(self.rpc)());
        self.guard(samples);
        self.neighbours(samples);
        samples.put(&STORAGE, directory_bytes(self.database.path()));
        process::collect(&self.base, samples);
    }
}

impl Observer {
    fn chain(&self, samples: &mut Samples) {
        let (height, age) = self.progress.height();
        samples.put(&HEIGHT, height);
        samples.put(&HEIGHT_AGE, age.as_secs_f64());
        let time = Duration::from_millis(self.executor.head().timestamp_ms);
        samples.put(&HEAD_TIME, time.as_secs_f64());
        samples.put(&OLDEST_STATE, self.database.oldest_state());
        let upgrade = self.upgrade();
        if let Some(upgrade) = &upgrade {
            samples.put(&UPGRADE_HEIGHT, upgrade.height);
        }
        samples.put(&UPGRADE_KNOWN, upgrade.is_none_or(|upgrade| SUPPORTED_SPECS.contains(&upgrade.spec_version)));
        let engine = self.engine.lock().as_ref().map(|engine| engine.stats());
        if let Some(engine) = engine {
            samples.put(&WORK_HEIGHT, engine.height);
            samples.put(&ROUND, engine.round);
            samples.put(&VALIDATOR, engine.validator);
            samples.put(&BENCHED, engine.benched);
            samples.put(&DECIDED, engine.decided);
            samples.put(&MISSED, engine.missed_proposals);
            samples.put(&STUCK, engine.stuck_tips);
            samples.put_labelled(&REFUSED_FRAMES, &[("reason", "refused")], engine.refused_frames);
            samples.put_labelled(&REFUSED_FRAMES, &[("reason", "useless")], engine.useless_frames);
            samples.put_labelled(&SYNC, &[("event", "asked")], engine.sync_requests);
            samples.put_labelled(&SYNC, &[("event", "answered")], engine.sync_answers);
            samples.put(&EVIDENCE, engine.evidence_found);
            samples.put(&EVIDENCE_WAITING, engine.evidence_waiting);
            for (name, rounds) in ROUNDS_NAMES.iter().zip(engine.rounds) {
                samples.put_labelled(&ROUNDS, &[("rounds", name)], rounds);
            }
            for validator in &engine.validators {
                let name = hex::encode(validator.address.get(..4).unwrap_or_default());
                let events = [
                    ("in_set", validator.heights),
                    ("signed", validator.signed),
                    ("proposed", validator.proposed),
                    ("missed", validator.missed),
                ];
                for (event, count) in events {
                    samples.put_labelled(&VALIDATORS, &[("validator", &name), ("event", event)], count);
                }
            }
        }
    }

    fn guard(&self, samples: &mut Samples) {
        let stats = self.key.stats();
        for (event, count) in [("signed", stats.signed), ("refused", stats.refused), ("failed", stats.failed)] {
            samples.put_labelled(&SIGNATURES, &[("event", event)], count);
        }
        samples.put(&SIGNED_HEIGHT, self.key.last().map_or(0, |place| place.height));
    }

    fn neighbours(&self, samples: &mut Samples) {
        let Some(neighbourly) = self.neighbourly.lock().clone() else { return };
        if let Some(gossip) = &neighbourly.gossip {
            let stats = gossip.stats();
            let events = [
                ("pushed", stats.pushed),
                ("served", stats.served),
                ("not_served", stats.not_served),
                ("announced", stats.announced),
                ("asked", stats.asked),
                ("unanswered", stats.unanswered),
                ("received", stats.received),
                ("received_known", stats.received_known),
                ("admitted", stats.admitted),
                ("refused", stats.refused),
                ("bad_signature", stats.bad_signatures),
                ("dropped", stats.dropped),
                ("malformed", stats.malformed),
                ("fell_behind", stats.fell_behind),
            ];
            for (event, count) in events {
                samples.put_labelled(&GOSSIP, &[("event", event)], count);
            }
        }
        if let Some(maker) = &neighbourly.maker {
            let stats = maker.stats();
            for (event, count) in [("made", stats.made), ("failed", stats.failed)] {
                samples.put_labelled(&SNAPSHOTS, &[("event", event)], count);
            }
            samples.put(&SNAPSHOT_HEIGHT, stats.newest);
        }
        if let Some(server) = &neighbourly.server {
            let stats = server.stats();
            let events = [("answered", stats.answered), ("refused", stats.refused), ("malformed", stats.malformed)];
            for (event, count) in events {
                samples.put_labelled(&SNAPSHOT_REQUESTS, &[("event", event)], count);
            }
            samples.put(&SNAPSHOT_BYTES, stats.bytes);
        }
    }

    fn pool(&self, samples: &mut Samples) {
        let stats = self.mempool.stats();
        samples.put(&POOL, stats.waiting);
        samples.put(&POOL_READY, stats.ready);
        samples.put(&POOL_BYTES, stats.bytes);
        samples.put(&POOL_CHECKING, stats.checking);
        let ends = [
            ("admitted", stats.admitted),
            ("refused", stats.refused),
            ("busy", stats.busy),
            ("included", stats.included),
            ("evicted", stats.evicted),
            ("expired", stats.expired),
            ("invalidated", stats.invalidated),
        ];
        for (event, count) in ends {
            samples.put_labelled(&POOL_ENDS, &[("event", event)], count);
        }
        samples.put(&POOL_CPU, Duration::from_nanos(stats.check_ns).as_secs_f64());
    }
}

/// Which program this is, and what time it has.
pub(super) fn identity(samples: &mut Samples, chain: &str) {
    let runtime = x0_runtime::VERSION.spec_version.to_string();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("spec_version", &runtime), ("chain", chain)];
    samples.put_labelled(&BUILD, &labels, 1_u64);
    samples.put(&CLOCK, process::unix_seconds());
}

/// What `/health` and `/ready` say.
pub(super) fn verdicts(samples: &mut Samples, status: &impl Status) {
    samples.put(&HEALTHY, status.health().ok);
    samples.put(&READY, status.ready().ok);
}

/// What goes over the RPC.
pub(super) fn rpc(samples: &mut Samples, stats: &RpcStats) {
    let bounds: Vec<f64> = LATENCY_BOUNDS_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64()).collect();
    for class in &stats.classes {
        let label = ("class", class.class.as_str());
        samples.put_labelled(&RPC_REQUESTS, &[label], class.requests);
        for (kind, count) in [("refused", class.refused), ("busy", class.busy), ("internal", class.internal)] {
            samples.put_labelled(&RPC_ERRORS, &[label, ("kind", kind)], count);
        }
        let sum = Duration::from_nanos(class.time_ns).as_secs_f64();
        samples.put_distribution(&RPC_TIME, &[label], &Distribution { bounds: &bounds, counts: &class.latency, sum });
    }
    samples.put(&RPC_CONNECTIONS, stats.connections);
    samples.put(&RPC_CLOSED, stats.refused_connections);
    samples.put(&RPC_SUBSCRIPTIONS, stats.subscriptions);
    for (event, bytes) in [("received", stats.received_bytes), ("sent", stats.sent_bytes)] {
        samples.put_labelled(&RPC_BYTES, &[("event", event)], bytes);
    }
}

/// What went over the links, and what was refused there.
fn frames(samples: &mut Samples, metrics: &P2pMetrics) {
    for (channel, counts) in Channel::ALL.iter().zip(&metrics.channels) {
        let name = snake(&format!("{channel:?}"));
        for (event, count) in [("sent", counts.sent), ("received", counts.received), ("dropped", counts.dropped)] {
            samples.put_labelled(&FRAMES, &[("channel", &name), ("event", event)], count);
        }
        for (event, bytes) in [("sent", counts.sent_bytes), ("received", counts.received_bytes)] {
            samples.put_labelled(&FRAME_BYTES, &[("channel", &name), ("event", event)], bytes);
        }
    }
    let closed = [
        ("source_rate", metrics.gate_source_rate),
        ("source_pending", metrics.gate_source_pending),
        ("strangers_rate", metrics.gate_strangers_rate),
        ("strangers_pending", metrics.gate_strangers_pending),
        ("sources", metrics.gate_sources),
    ];
    for (reason, count) in closed {
        samples.put_labelled(&GATE, &[("reason", reason)], count);
    }
    let shakes = [
        ("begun_in", metrics.handshakes_in),
        ("begun_out", metrics.handshakes_out),
        ("done", metrics.handshakes_done),
        ("timeout", metrics.refused_timeout),
        ("io", metrics.refused_io),
        ("not_tls", metrics.refused_not_tls),
        ("protocol", metrics.refused_protocol),
        ("key_exchange", metrics.refused_key_exchange),
        ("key_kind", metrics.refused_key_kind),
        ("not_admitted", metrics.refused_not_admitted),
        ("banned", metrics.refused_banned),
        ("wrong_peer", metrics.refused_wrong_peer),
        ("other", metrics.refused_other),
        ("hello", metrics.hello_failed),
    ];
    for (event, count) in shakes {
        samples.put_labelled(&HANDSHAKES, &[("event", event)], count);
    }
    samples.put(&PEERS_MISSING, metrics.peers_missing);
    samples.put(&OFFENCES, metrics.offences);
    samples.put(&BANS, metrics.bans);
}

/// The links that stand.
pub(super) fn network(samples: &mut Samples, standing: &Standing) {
    frames(samples, &standing.metrics());
    let peers = standing.peers();
    for (name, direction) in [("in", LinkDirection::In), ("out", LinkDirection::Out)] {
        let count = peers.iter().filter(|peer| peer.direction == direction).count();
        samples.put_labelled(&PEERS, &[("direction", name)], count);
    }
    samples.put(&PEER_HEIGHT, peers.iter().map(|peer| peer.tip).max().unwrap_or(0));
    for peer in &peers {
        // As logs name it.
        let label = [("peer", peer.peer_id.get(..8).unwrap_or_default())];
        if let Some(rtt_ms) = peer.rtt_ms {
            samples.put_labelled(&PEER_RTT, &label, rtt_ms / MILLIS);
        }
        samples.put_labelled(&PEER_CLOCK, &label, seconds(peer.clock_ahead_ms));
    }
}

/// How many rounds a height took, as [`x0_consensus::stats::ROUNDS_BOUNDS`] divides them.
const ROUNDS_NAMES: [&str; 7] = ["1", "2", "3", "5", "10", "20", "more"];

/// Milliseconds of a second.
const MILLIS: f64 = 1e3;

/// `SnapshotRequest` as `snapshot_request`.
fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 1);
    for (place, letter) in name.char_indices() {
        if letter.is_uppercase() && place > 0 {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// Signed milliseconds as seconds.
fn seconds(ms: i64) -> f64 {
    let size = Duration::from_millis(ms.unsigned_abs()).as_secs_f64();
    if ms < 0 { -size } else { size }
}

/// Bytes of the files of a directory; files that go while it is read do not count.
fn directory_bytes(path: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some(if data.is_dir() { directory_bytes(&entry.path()) } else { data.len() })
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_telemetry::Kind;

    #[test]
    fn labels_are_written_as_metrics_are() {
        assert_eq!((snake("Parts"), snake("SnapshotRequest")), ("parts".to_owned(), "snapshot_request".to_owned()));
    }

    #[test]
    fn names_follow_the_rules_and_stand_in_the_manual() {
        let manual = include_str!("../../../../docs/operating/monitor.md");
        for metric in ALL.iter().chain(process::ALL) {
            assert!(metric.name.starts_with("x0_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(manual.contains(&format!("| `{}` |", metric.name)), "monitor.md lacks {}", metric.name);
        }
    }
}
