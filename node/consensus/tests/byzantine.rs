//! A validator that lies: nobody stops, nobody else is blamed, and what it did is proven until it is on chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use common::{Node, assert_same_chain, cluster, key, peer, stop_all, within};
use malachite_core_consensus::SignedConsensusMsg;
use malachite_core_types::{NilOrVal, Round, SignedMessage, VoteType};
use tokio::sync::mpsc;
use x0_consensus::{
    Pacing,
    context::{Address, BlockId, ChainContext, Height, Proposal, Vote},
    signer::{proposal_statement, vote_statement},
    wire::ChainCodec,
};
use x0_crypto::{
    Signature, SigningKey,
    statement::{Statement, Step, contradict},
};
use x0_network::{
    Carrier, Channel,
    memory::{Hub, MemoryCarrier},
};
use x0_types::evidence::{self, Evidence};

const PACING: Pacing = Pacing { busy_ms: 100, idle_ms: 300, on_demand: false };

/// The fourth validator's keys in other hands, without a guard.
struct Traitor {
    secret: SigningKey,
    address: Address,
    genesis: [u8; 32],
    carrier: MemoryCarrier,
}

impl Traitor {
    fn join(hub: &Hub, genesis: [u8; 32]) -> Self {
        let secret = key("validator-4", "consensus");
        let address = Address(secret.public().fingerprint());
        Self { secret, address, genesis, carrier: hub.join(peer(3)) }
    }

    fn send(&self, message: &SignedConsensusMsg<ChainContext>) {
        let frame = malachite_codec::Codec::encode(&ChainCodec, message).unwrap();
        self.carrier.broadcast(Channel::Consensus, frame).unwrap();
    }

    fn vote(&self, kind: VoteType, height: u64, round: u32, block: u8) {
        self.send(&self.signed_vote(kind, height, round, block));
    }

    /// Says something to one listener only.
    fn whisper(&self, listener: usize, kind: VoteType, height: u64, round: u32, block: u8) {
        let vote = self.signed_vote(kind, height, round, block);
        let frame = malachite_codec::Codec::encode(&ChainCodec, &vote).unwrap();
        self.carrier.send(&peer(listener), Channel::Consensus, frame).unwrap();
    }

    fn signed_vote(&self, kind: VoteType, height: u64, round: u32, block: u8) -> SignedConsensusMsg<ChainContext> {
        let value = NilOrVal::Val(BlockId([block; 32]));
        let vote = Vote { kind, height: Height(height), round: Round::new(round), value, voter: self.address };
        let statement: Statement = vote_statement(&vote).unwrap().into();
        let signature = statement.sign(&self.secret, &self.genesis).unwrap().into();
        SignedConsensusMsg::Vote(SignedMessage::new(vote, signature))
    }

    fn propose(&self, height: u64, round: u32, block: u8) {
        let proposal = Proposal {
            height: Height(height),
            round: Round::new(round),
            value: BlockId([block; 32]),
            pol_round: Round::Nil,
            proposer: self.address,
        };
        let statement: Statement = proposal_statement(&proposal).unwrap().into();
        let signature = statement.sign(&self.secret, &self.genesis).unwrap().into();
        self.send(&SignedConsensusMsg::Proposal(SignedMessage::new(proposal, signature)));
    }
}

/// Checks a proof with nothing but the accused's key.
fn check(evidence: &Evidence, genesis: &[u8; 32], accused: &Node) {
    let public = key("validator-4", "consensus");
    let public = public.public();
    assert_eq!(<[u8; 32]>::from(evidence.validator.clone()), accused.controller(), "nobody else is blamed");
    let step = Step::from_byte(evidence.step.byte()).unwrap();
    let [first, second] = [&evidence.first, &evidence.second].map(|signed| {
        let statement = Statement::decode(step, &signed.body).unwrap();
        statement.verify(public, genesis, &Signature::from(signed.signature.0.clone())).unwrap();
        assert_eq!(statement.place().height, u64::from(evidence.height));
        assert_eq!(statement.place().round, evidence.round);
        statement
    });
    assert!(contradict(&first, &second));
}

async fn until(listener: &mut mpsc::Receiver<Evidence>, step: evidence::Step, seen: &mut Vec<Evidence>) {
    while !seen.iter().any(|evidence| evidence.step == step) {
        seen.push(listener.recv().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_proven_on_every_node_and_come_again_until_acknowledged() {
    let (hub, mut nodes) = cluster(4, PACING).await;
    let genesis = nodes[0].up().executor.genesis_hash().0;
    let mut listeners: Vec<_> = nodes[..3].iter().map(|node| node.up().engine.evidence()).collect();
    nodes[3].stop().await;
    let traitor = Traitor::join(&hub, genesis);
    let mut seen: Vec<Vec<Evidence>> = vec![Vec::new(); 3];
    // Whatever moment of a height this meets, each of the others has both statements in the end.
    let talk = async {
        loop {
            let next = nodes[0].height() + 1;
            for block in [1, 2] {
                traitor.vote(VoteType::Prevote, next, 0, block);
                traitor.propose(next, 0, block);
            }
            // The first half of a contradiction now, the second one when the height is long decided.
            traitor.vote(VoteType::Precommit, next, 7, 1);
            nodes[0].until_height(next + 1).await;
            for node in &nodes[1..3] {
                node.until_height(next).await;
            }
            traitor.vote(VoteType::Precommit, next, 7, 2);
        }
    };
    let proven = async {
        for (listener, seen) in listeners.iter_mut().zip(&mut seen) {
            for step in [evidence::Step::Prevote, evidence::Step::Proposal, evidence::Step::Precommit] {
                until(listener, step, seen).await;
            }
        }
    };
    within("evidence on every node", async {
        tokio::select! { () = proven => {}, () = talk => {} }
    })
    .await;
    drop(traitor);
    for proof in seen.iter().flatten() {
        check(proof, &genesis, &nodes[3]);
    }
    let here = nodes[0].height();
    for node in &nodes[..3] {
        node.until_height(here + 3).await;
    }
    assert_same_chain(&nodes[..3]);
    let stats = nodes[0].up().engine.stats();
    assert!(stats.evidence_found >= 3 && stats.evidence_waiting == stats.evidence_found, "{stats:?}");

    // Not acknowledged: all of it comes again after a restart, and then never more.
    nodes[0].stop().await;
    nodes[0].start().await;
    let waiting = usize::try_from(nodes[0].up().engine.stats().evidence_waiting).unwrap();
    assert!(waiting >= seen[0].len());
    let mut again = nodes[0].up().engine.evidence();
    for _ in 0..waiting {
        let proof = within("evidence of the run before", again.recv()).await.unwrap();
        check(&proof, &genesis, &nodes[3]);
        nodes[0].up().engine.acknowledge(proof).await.unwrap();
    }
    assert_eq!(nodes[0].up().engine.stats().evidence_waiting, 0);
    nodes[0].stop().await;
    nodes[0].start().await;
    assert!(nodes[0].up().engine.evidence().try_recv().is_err());
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_another_thing_to_each_listener_is_proven_by_what_they_tell_one_another() {
    let (hub, mut nodes) = cluster(4, PACING).await;
    let genesis = nodes[0].up().executor.genesis_hash().0;
    let mut listeners: Vec<_> = nodes[..3].iter().map(|node| node.up().engine.evidence()).collect();
    nodes[3].stop().await;
    let traitor = Traitor::join(&hub, genesis);
    // None of them hears a contradiction, whatever moment of a height this meets.
    let talk = async {
        loop {
            let next = nodes[0].height() + 1;
            for (listener, block) in (0..3).zip(1..) {
                traitor.whisper(listener, VoteType::Precommit, next, 5, block);
            }
            nodes[0].until_height(next).await;
        }
    };
    let proven = async {
        let mut proofs = Vec::new();
        for listener in &mut listeners {
            proofs.push(listener.recv().await.unwrap());
        }
        proofs
    };
    let proofs = within("evidence on every node", async {
        tokio::select! { proofs = proven => proofs, () = talk => unreachable!() }
    })
    .await;
    for proof in &proofs {
        check(proof, &genesis, &nodes[3]);
        assert_eq!(proof.step, evidence::Step::Precommit);
    }
    drop(traitor);
    assert_same_chain(&nodes[..3]);
    stop_all(&mut nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_malformed_frames_are_refused_and_blame_nobody() {
    let (hub, mut nodes) = cluster(4, PACING).await;
    let genesis = nodes[0].up().executor.genesis_hash().0;
    nodes[3].stop().await;
    let traitor = Traitor::join(&hub, genesis);
    // Votes in the name of an honest validator: two different ones, none with a signature of its own.
    let victim = Address(key("validator-1", "consensus").public().fingerprint());
    for _ in 0..3 {
        let next = nodes[0].height() + 1;
        for block in [1, 2] {
            let value = NilOrVal::Val(BlockId([block; 32]));
            let kind = VoteType::Prevote;
            let vote = Vote { kind, height: Height(next), round: Round::new(0), value, voter: victim };
            let statement: Statement = vote_statement(&vote).unwrap().into();
            let signature = statement.sign(&traitor.secret, &genesis).unwrap().into();
            traitor.send(&SignedConsensusMsg::Vote(SignedMessage::new(vote, signature)));
        }
        for channel in Channel::ALL {
            traitor.carrier.broadcast(channel, bytes::Bytes::from_static(b"\x01junk that is no message")).unwrap();
        }
        nodes[0].until_height(next + 1).await;
    }
    let here = nodes[0].height();
    for node in &nodes[..3] {
        node.until_height(here + 3).await;
        let stats = node.up().engine.stats();
        assert!(stats.refused_frames > 0, "forged frames are refused");
        assert_eq!(stats.evidence_found, 0, "nobody is blamed for what another one wrote");
    }
    assert_same_chain(&nodes[..3]);
    nodes[0].check_certificates();
    stop_all(&mut nodes).await;
}
