//! A signer and its nodes over real connections.

use super::*;
use crate::{
    ConsensusKey, GuardError, LocalKey,
    guard::tests_support::{GENESIS, key, said},
};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};
use x0_crypto::{
    Seed, Signature, SigningKey,
    statement::{Opening, Proposal, Statement},
};

fn link(tag: u8) -> SigningKey {
    SigningKey::from_seed(&Seed::from_bytes([tag; 32])).unwrap()
}

/// A signer with link key 20 that admits the nodes with link keys 21 and 22.
struct Signer {
    address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

impl Signer {
    fn start(directory: &Path, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let held = Arc::new(LocalKey::open(directory, key(), GENESIS).unwrap());
        let allowed = BTreeSet::from([21, 22].map(|tag| link(tag).public().clone()));
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            serve(listener, held, &link(20), allowed, async { drop(stopped.await) }).await.unwrap();
            end.send(()).unwrap();
        });
        Self { address, runtime: Some(runtime), stop: Some(stop), ended }
    }

    fn node(&self, tag: u8) -> Result<RemoteKey, GuardError> {
        RemoteKey::connect(self.config(), &link(tag))
    }

    fn config(&self) -> RemoteConfig {
        let (signer, consensus) = (link(20).public().clone(), key().public().clone());
        let address = self.address.to_string();
        RemoteConfig { patience: Duration::from_millis(500), ..RemoteConfig::new(address, signer, consensus, GENESIS) }
    }

    fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.recv().unwrap();
        self.runtime.take().unwrap().shutdown_timeout(Duration::from_secs(10));
    }
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn vote(height: u64, tag: u8) -> Statement {
    said(height, 0, tag, key().public().fingerprint())
}

fn check(statement: &Statement, signature: &Signature) {
    statement.verify(key().public(), &GENESIS, signature).unwrap();
}

#[test]
fn a_remote_key_signs_once_for_each_place_whoever_asks() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::start(directory.path(), any_port());
    let (first, second) = (signer.node(21).unwrap(), signer.node(22).unwrap());
    let signature = first.sign(&vote(5, 1)).unwrap();
    check(&vote(5, 1), &signature);
    assert_eq!(second.sign(&vote(5, 1)).unwrap(), signature, "the same signature for the same statement");
    match second.sign(&vote(5, 2)) {
        Err(GuardError::Conflict { recorded }) => assert_eq!(recorded.signature, signature),
        other => panic!("{other:?}"),
    }
    assert!(matches!(first.sign(&vote(4, 1)), Err(GuardError::Regression { .. })));
    assert!(matches!(first.sign(&said(6, 0, 1, [9; 32])), Err(GuardError::OtherSigner { .. })));

    let name = key().public().fingerprint();
    let opening: Statement =
        Opening { height: 6, round: 0, proposer: name, block: [1; 32], bytes: 3, digest: [2; 32] }.into();
    let proposal: Statement = Proposal { height: 6, round: 0, block: [1; 32], pol_round: None, proposer: name }.into();
    let [one, two] = first.sign_pair([&opening, &proposal]).unwrap();
    check(&opening, &one);
    check(&proposal, &two);
    assert_eq!(first.sign(&proposal).unwrap(), two);
    assert_eq!(first.last(), Some(proposal.place()));
    assert_eq!((first.stats().refused, second.stats().refused), (2, 1));
    signer.stop();
}

#[test]
fn a_signer_that_comes_back_is_found_again_and_one_that_stays_away_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::start(directory.path(), any_port());
    let address = signer.address;
    let node = signer.node(21).unwrap();
    let signature = node.sign(&vote(5, 1)).unwrap();
    signer.stop();
    assert!(matches!(node.sign(&vote(6, 1)), Err(GuardError::Unavailable { .. })));
    let signer = Signer::start(directory.path(), address);
    assert_eq!(node.sign(&vote(5, 1)).unwrap(), signature, "from the signer's own memory");
    node.sign(&vote(6, 1)).unwrap();
    assert_eq!(node.stats().failed, 1);
    signer.stop();
}

#[test]
fn strangers_other_chains_and_other_keys_get_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let signer = Signer::start(directory.path(), any_port());
    let unavailable = |outcome: Result<RemoteKey, GuardError>| match outcome {
        Err(GuardError::Unavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    unavailable(signer.node(23));
    let connect = |config: RemoteConfig| RemoteKey::connect(config, &link(21));
    unavailable(connect(RemoteConfig { genesis: [8; 32], ..signer.config() }));
    unavailable(connect(RemoteConfig { signer: link(30).public().clone(), ..signer.config() }));
    let reason = unavailable(connect(RemoteConfig { consensus: link(30).public().clone(), ..signer.config() }));
    assert!(reason.contains("another consensus key"), "{reason}");
    signer.node(21).unwrap();
    signer.stop();
}

#[test]
fn malformed_frames_are_refused_before_anything_is_signed() {
    use super::frame::*;
    assert!(length([0, 0, 0, 0]).is_err());
    assert!(length(u32::MAX.to_be_bytes()).is_err());
    assert!(length((x0_limits::SIGNER_FRAME_BYTES_MAX as u32).to_be_bytes()).is_ok());
    let (first, second) = (vote(5, 1), vote(6, 1));
    let good = request(&[&first, &second]);
    assert_eq!(read_request(&good).unwrap(), [first, second]);
    for cut in 0..good.len() {
        let whole = cut == 1 + 2 + 78;
        assert_eq!(
            read_request(&good[..cut]).is_ok(),
            whole,
            "a request of one statement is the only shorter one: {cut}"
        );
    }
    assert!(read_request(&request(&[&first, &first, &second])).is_err(), "three statements");
    let mut changed = good.clone();
    changed[1] = 9;
    assert!(read_request(&changed).is_err(), "an unknown step");
    for junk in [&b""[..], &[3], &[4; 100], &[5; 27], &[7; 30]] {
        assert!(read_answer(junk, 1, &[0; 32]).is_err());
        assert!(read_hello(junk).is_err());
    }
}
