//! Two or three nodes that each heard a part.

use super::*;
use crate::{
    certificate::CertificateValidator,
    signer::{proposal_statement, vote_statement},
};
use proptest::prelude::*;
use std::sync::LazyLock;
use x0_crypto::{SIGNATURE_BYTES, Seed, SigningKey};

const VALIDATORS: u8 = 4;
const BLOCK: [u8; 32] = [9; 32];
const A: PeerKey = PeerKey([1; 32]);
const B: PeerKey = PeerKey([2; 32]);

static SET: LazyLock<ValidatorSet> = LazyLock::new(|| {
    let validator = |tag: u8| {
        let key = SigningKey::from_seed(&Seed::from_bytes([tag; 32])).unwrap();
        CertificateValidator { public: key.public().clone(), power: 1 }
    };
    ValidatorSet::new(&(0..VALIDATORS).map(validator).collect::<Vec<_>>()).unwrap()
});

fn address(index: usize) -> [u8; 32] {
    SET.addresses().nth(index).unwrap().0
}

fn said(statement: impl Into<Statement>) -> Said {
    Said { statement: statement.into(), signature: x0_crypto::Signature::from(&[3; SIGNATURE_BYTES]).into() }
}

fn vote(index: usize, height: u64, round: u32, block: Option<[u8; 32]>) -> Said {
    said(statement::Vote { kind: VoteKind::Precommit, height, round, block, voter: address(index) })
}

fn proof_against(outcome: Outcome) -> Option<[u8; 32]> {
    outcome.contradiction.map(|proof| *proof.first.statement.signer())
}

/// Carries accounts from one node to another and the answers back; whom the first can prove to contradict itself.
fn carry(accounts: Vec<Account>, from: &mut Exchange, to: &mut Exchange) -> Vec<[u8; 32]> {
    let mut proven = Vec::new();
    for account in accounts {
        let account = Account::decode(account.encode()).unwrap();
        for said in to.told(A, &account, &SET) {
            proven.extend(proof_against(from.hear(said, &SET)));
        }
    }
    proven
}

#[test]
fn who_says_one_thing_to_each_listener_is_found_by_the_one_that_heard_the_other_thing() {
    let (mut a, mut b) = (Exchange::default(), Exchange::default());
    for index in 0..3 {
        assert_eq!(a.hear(vote(index, 5, 0, Some(BLOCK)), &SET), Outcome::default());
        assert_eq!(b.hear(vote(index, 5, 0, Some(BLOCK)), &SET), Outcome::default());
    }
    a.hear(vote(3, 5, 0, None), &SET);
    b.hear(vote(3, 5, 0, Some(BLOCK)), &SET);
    b.decide(4, BLOCK, &SET);
    let accounts = a.decide(5, BLOCK, &SET);
    assert_eq!(accounts.len(), 1, "one frame");
    assert_eq!(carry(accounts, &mut a, &mut b), [address(3)]);
    // The other way round just as well, and before the listener has decided.
    let (mut first, mut slow) = (Exchange::default(), Exchange::default());
    slow.decide(4, BLOCK, &SET);
    first.hear(vote(3, 5, 0, Some(BLOCK)), &SET);
    slow.hear(vote(3, 5, 0, None), &SET);
    let accounts = first.decide(5, BLOCK, &SET);
    assert_eq!(carry(accounts, &mut first, &mut slow), [address(3)]);
    assert_eq!(a.decide(6, BLOCK, &SET), [], "nothing new");
    assert_eq!(a.greet().len(), 1, "a peer that comes is told");
}

#[test]
fn half_of_a_contradiction_that_comes_after_the_account_leads_to_an_answer_too() {
    let (mut a, mut b) = (Exchange::default(), Exchange::default());
    b.decide(4, BLOCK, &SET);
    a.hear(vote(3, 5, 0, None), &SET);
    for account in a.decide(5, BLOCK, &SET) {
        assert_eq!(b.told(A, &account, &SET), []);
    }
    let outcome = b.hear(vote(3, 5, 0, Some(BLOCK)), &SET);
    assert_eq!(outcome.contradiction, None, "what a peer heard is no proof");
    let [(peer, said)] = &outcome.answers[..] else { panic!("{outcome:?}") };
    assert_eq!(*peer, A);
    assert_eq!(proof_against(a.hear(said.clone(), &SET)), Some(address(3)));
    // Once is enough, until the peer comes anew.
    assert_eq!(b.told(A, &a.greet()[0], &SET), []);
    b.forget(&A);
    assert_eq!(b.told(A, &a.greet()[0], &SET).len(), 1);
}

#[test]
fn a_late_statement_is_told_at_once() {
    let (mut a, mut b) = (Exchange::default(), Exchange::default());
    assert_eq!(a.decide(5, BLOCK, &SET), []);
    b.decide(4, BLOCK, &SET);
    b.hear(vote(3, 5, 0, Some(BLOCK)), &SET);
    let news = a.hear(vote(3, 5, 0, None), &SET).news.unwrap();
    assert_eq!((news.height, news.groups.len()), (5, 1));
    assert_eq!(carry(vec![news], &mut a, &mut b), [address(3)]);
    assert_eq!(a.hear(vote(3, 5, 0, None), &SET).news, None, "once");
    assert_eq!(a.hear(vote(2, 5, 0, Some(BLOCK)), &SET).news, None, "what everybody says");
    assert_eq!(a.decide(6, BLOCK, &SET), []);
}

#[test]
fn openings_and_proposals_are_told_as_well() {
    let (mut a, mut b) = (Exchange::default(), Exchange::default());
    let proposal =
        |block, pol_round| said(statement::Proposal { height: 5, round: 1, block, pol_round, proposer: address(0) });
    let opening = |block| {
        let proposer = address(1);
        said(statement::Opening { height: 5, round: 0, proposer, block, bytes: 7, digest: block })
    };
    a.hear(proposal(BLOCK, None), &SET);
    b.hear(proposal(BLOCK, Some(0)), &SET);
    a.hear(opening(BLOCK), &SET);
    b.hear(opening([4; 32]), &SET);
    let accounts = b.decide(5, BLOCK, &SET);
    a.decide(5, BLOCK, &SET);
    let mut proven = carry(accounts, &mut b, &mut a);
    proven.sort_unstable();
    let mut both = [address(0), address(1)];
    both.sort_unstable();
    assert_eq!(proven, both);
}

#[test]
fn an_answer_reads_as_what_its_signer_says() {
    for said in [
        vote(1, 5, 2, None),
        vote(1, 5, 2, Some(BLOCK)),
        said(statement::Proposal { height: 5, round: 1, block: BLOCK, pol_round: Some(0), proposer: address(0) }),
        said(statement::Opening { height: 5, round: 1, proposer: address(0), block: BLOCK, bytes: 7, digest: [1; 32] }),
    ] {
        let (channel, frame) = frame_of(&said).unwrap();
        let found = if channel == Channel::Parts {
            let message: StreamMessage<Part> = ChainCodec.decode(frame).unwrap();
            let Some(Part::Opening(opening)) = message.content.into_data() else { panic!("an opening") };
            Said { statement: opening.opening.statement().into(), signature: opening.signature }
        } else {
            match ChainCodec.decode(frame).unwrap() {
                SignedConsensusMsg::Vote(vote) => {
                    Said { statement: vote_statement(&vote.message).unwrap().into(), signature: vote.signature }
                }
                SignedConsensusMsg::Proposal(proposal) => Said {
                    statement: proposal_statement(&proposal.message).unwrap().into(),
                    signature: proposal.signature,
                },
            }
        };
        assert_eq!(found, said);
    }
}

#[test]
fn a_peer_can_neither_fill_the_memory_nor_draw_more_answers_than_its_share() {
    let mut b = Exchange::default();
    for height in 1..=20 {
        b.decide(height, BLOCK, &SET);
        for index in 0..usize::from(VALIDATORS) {
            b.hear(vote(index, height, 0, Some(BLOCK)), &SET);
        }
    }
    let group = |content: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&content.to_be_bytes());
        Group { round: 0, step: Step::Precommit, content: bytes, signers: [0xff; SIGNERS_BYTES] }
    };
    let mut answers = 0;
    for height in 0..40 {
        for content in 0..2 * u32::try_from(ACCOUNT_GROUPS_MAX).unwrap() {
            answers += b.told(A, &Account { height, groups: vec![group(content)] }, &SET).len();
        }
    }
    let heights = usize::try_from(WITNESS_HEIGHTS_KEPT).unwrap();
    assert_eq!(answers, heights * usize::from(VALIDATORS), "one for each signer of each height at hand");
    assert!(b.told.len() <= heights + usize::try_from(FUTURE_HEIGHTS_MAX).unwrap());
    assert!(b.told.values().flat_map(BTreeMap::values).all(|told| told.groups.len() <= ACCOUNT_GROUPS_MAX));
    b.decide(60, BLOCK, &SET);
    assert!(b.told.is_empty() && b.decided.len() == 1);
    // What is told of a height that nobody voted for otherwise fits into frames.
    let mut talkative = Exchange::default();
    for round in 0..1_000 {
        (0..4).for_each(|index| drop(talkative.hear(vote(index, 5, round, Some([round as u8; 32])), &SET)));
    }
    let accounts = talkative.decide(5, BLOCK, &SET);
    assert!(accounts.iter().all(|account| account.encode().len() < CONTROL_FRAME_BYTES_MAX));
    assert!(accounts.iter().map(|account| account.groups.len()).sum::<usize>() <= ACCOUNT_GROUPS_MAX);
}

proptest! {
    /// Whatever two nodes heard of four validators in whatever order, and whenever accounts and answers pass between
    /// them: who said different things to them at one place is proven by one of them, and nobody else is.
    #[test]
    fn every_split_is_found_and_nobody_else_is_blamed(
        words in proptest::collection::vec((0usize..4, 0u32..3, 0u8..3, any::<bool>(), 0u8..10), 1..40),
    ) {
        let mut nodes = [Exchange::default(), Exchange::default()];
        let mut spoken: BTreeMap<(usize, u32, bool), BTreeSet<u8>> = BTreeMap::new();
        let (mut heard, mut proven) = (BTreeMap::new(), BTreeSet::new());
        let mut pending: Vec<(usize, Said)> = Vec::new();
        let mut accounts: Vec<(usize, Account)> = Vec::new();
        let words_at = words.len() / 2;
        for (at, (index, round, what, to_a, _)) in words.iter().copied().enumerate() {
            let block = [None, Some(BLOCK), Some([7; 32])][usize::from(what)];
            spoken.entry((index, round, true)).or_default().insert(what);
            heard.entry((index, round, to_a)).or_insert(what);
            let node = usize::from(!to_a);
            if at == words_at {
                for (node, exchange) in nodes.iter_mut().enumerate() {
                    accounts.extend(exchange.decide(5, BLOCK, &SET).into_iter().map(|account| (node, account)));
                }
            }
            if at > words_at && at % 3 == 0 && let Some((from, account)) = accounts.pop() {
                let answers = nodes[1 - from].told([A, B][from], &account, &SET);
                pending.extend(answers.into_iter().map(|said| (from, said)));
            }
            let outcome = nodes[node].hear(vote(index, 5, round, block), &SET);
            proven.extend(outcome.contradiction.map(|proof| *proof.first.statement.signer()));
            pending.extend(outcome.answers.into_iter().map(|(peer, said)| (usize::from(peer == B), said)));
            accounts.extend(outcome.news.map(|account| (node, account)));
        }
        for (from, account) in accounts {
            let answers = nodes[1 - from].told([A, B][from], &account, &SET);
            pending.extend(answers.into_iter().map(|said| (from, said)));
        }
        while let Some((node, said)) = pending.pop() {
            let outcome = nodes[node].hear(said, &SET);
            proven.extend(outcome.contradiction.map(|proof| *proof.first.statement.signer()));
            pending.extend(outcome.answers.into_iter().map(|(peer, said)| (usize::from(peer == B), said)));
        }
        let guilty: BTreeSet<_> =
            spoken.iter().filter(|(_, said)| said.len() > 1).map(|((index, ..), _)| address(*index)).collect();
        prop_assert_eq!(proven, guilty);
    }

    /// Bytes of any kind are an account that reads back, or none.
    #[test]
    fn garbage_is_no_account(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(account) = Account::decode(bytes.clone().into()) {
            prop_assert_eq!(account.encode(), Bytes::from(bytes));
        }
    }
}
