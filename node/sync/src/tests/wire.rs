//! Bytes from peers.

use super::support::{CHAIN, HEIGHT};
use crate::{
    manifest::{Manifest, ManifestError},
    quota::{Admission, Quota},
    wire::{
        Answer, Offer, Question, Refusal, WireError, decode_answer, decode_question, encode_answer, encode_question,
    },
};
use bytes::Bytes;
use codec::{Compact, Encode};
use proptest::prelude::*;
use x0_limits::{
    SNAPSHOT_BYTES_PER_PEER_MINUTE, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_REFUSALS_PER_MINUTE_MAX, SNAPSHOT_REQUEST_BYTES_MAX,
    SNAPSHOT_RESPONSE_BYTES_MAX, SNAPSHOT_SERVED_PEERS_MAX, SNAPSHOT_WAITING_PER_PEER_MAX,
};
use x0_network::PeerKey;

fn questions() -> impl Strategy<Value = Question> {
    prop_oneof![
        Just(Question::Offers),
        any::<(u32, u32)>().prop_map(|(after, last)| Question::SetChanges { after, last }),
        any::<[u8; 32]>().prop_map(|content| Question::Manifest { content }),
        any::<([u8; 32], u32)>().prop_map(|(content, index)| Question::Chunk { content, index }),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    let offer =
        any::<(u32, [u8; 32], u64)>().prop_map(|(number, content, state_bytes)| Offer { number, content, state_bytes });
    prop_oneof![
        proptest::collection::vec(offer, 0..4).prop_map(Answer::Offers),
        any::<bool>().prop_map(|more| match CHAIN.honest(&Question::SetChanges { after: 0, last: 100 }) {
            Answer::SetChanges { proofs, .. } => Answer::SetChanges { proofs, more },
            other => other,
        }),
        Just(Answer::Manifest(CHAIN.snapshot.manifest.clone())),
        proptest::collection::vec(any::<u8>(), 0..2_000).prop_map(|bytes| Answer::Chunk(Bytes::from(bytes))),
        Just(Answer::Refused(Refusal::Busy)),
        Just(Answer::Refused(Refusal::Unknown)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read_and_nothing_else(
        id in any::<u32>(),
        question in questions(),
        answer in answers(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        junk in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let frame = encode_question(id, &question);
        prop_assert!(frame.len() <= SNAPSHOT_REQUEST_BYTES_MAX);
        prop_assert_eq!(decode_question(&frame).unwrap(), (id, question));
        prop_assert!(decode_question(&[&frame[..], &[0]].concat()).is_err());
        prop_assert!(decode_question(&frame[..frame.len() - 1]).is_err());

        let frame = encode_answer(id, &answer);
        prop_assert!(frame.len() <= SNAPSHOT_RESPONSE_BYTES_MAX);
        prop_assert_eq!(decode_answer(&frame).unwrap(), (id, answer));
        let mut changed = frame.to_vec();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        for bytes in [changed, frame[..at].to_vec(), junk] {
            let bytes = Bytes::from(bytes);
            if let Ok((id, read)) = decode_answer(&bytes) {
                prop_assert_eq!(encode_answer(id, &read), bytes);
            }
        }
    }
}

#[test]
fn lists_and_sizes_are_bounded_before_anything_is_read() {
    let tagged = |tag: u8, body: Vec<u8>| Bytes::from([&[0, 0, 0, 0, tag][..], &body].concat());
    let many = decode_answer(&tagged(0, Compact(u32::MAX).encode()));
    assert!(matches!(many, Err(WireError::TooMany { what: "offers", .. })), "{many:?}");
    let many = decode_answer(&tagged(1, [&[0][..], &Compact(65u32).encode()].concat()));
    assert_eq!(many, Err(WireError::TooMany { what: "set changes", found: 65, max: 64 }));
    let long = decode_answer(&tagged(3, vec![0; SNAPSHOT_CHUNK_BYTES + 1]));
    assert!(matches!(long, Err(WireError::TooMany { what: "bytes of a chunk", .. })), "{long:?}");
    assert_eq!(decode_answer(&tagged(9, vec![])), Err(WireError::Malformed("kind of answer")));

    let manifest = &CHAIN.snapshot.manifest;
    assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest));
    let mut newer = manifest.encode();
    newer[0] = 2;
    assert_eq!(Manifest::decode(&newer), Err(ManifestError::Version { found: 2 }));
    let short = Manifest { state_bytes: manifest.state_bytes + SNAPSHOT_CHUNK_BYTES as u64, ..manifest.clone() };
    assert!(matches!(Manifest::decode(&short.encode()), Err(ManifestError::Chunks { .. })));
    let boundless = Manifest { state_bytes: u64::MAX, ..manifest.clone() };
    assert!(matches!(Manifest::decode(&boundless.encode()), Err(ManifestError::Chunks { .. })));
    let mut other = manifest.clone();
    other.ancestors[3][5] ^= 1;
    assert_eq!(Manifest::decode(&other.encode()), Err(ManifestError::Ancestors(HEIGHT)));
    other.ancestors.clear();
    assert_eq!(Manifest::decode(&other.encode()), Err(ManifestError::Ancestors(HEIGHT)));
    // The certificate is not part of the name: honest nodes hold different ones.
    assert_eq!(Manifest { certificate: vec![], ..manifest.clone() }.content(), manifest.content());
    assert_ne!(Manifest { genesis: [0; 32], ..manifest.clone() }.content(), manifest.content());
}

#[test]
fn one_peer_gets_its_share_and_no_more() {
    let mut quota = Quota::default();
    let (greedy, modest) = (PeerKey([1; 32]), PeerKey([2; 32]));
    for _ in 0..SNAPSHOT_WAITING_PER_PEER_MAX {
        assert_eq!(quota.ask(greedy, 0), Admission::Taken);
    }
    for _ in 0..SNAPSHOT_REFUSALS_PER_MINUTE_MAX {
        assert_eq!(quota.ask(greedy, 10), Admission::Busy);
    }
    assert_eq!(quota.ask(greedy, 20), Admission::Flooding);
    assert_eq!(quota.ask(modest, 20), Admission::Taken);
    quota.answered(&greedy, 1_000, 30);
    assert_eq!(quota.ask(greedy, 40), Admission::Taken);
    // The bytes of a minute are bounded too, and come back with the next.
    quota.answered(&modest, SNAPSHOT_BYTES_PER_PEER_MINUTE as usize, 50);
    assert_eq!(quota.ask(modest, 60), Admission::Busy);
    assert_eq!(quota.ask(modest, 60_000), Admission::Taken);
    // Memory is bounded: more peers than places are told to wait, and get the places of idle ones.
    let peer = |tag: u32| PeerKey(x0_crypto::blake2b_256(&tag.to_le_bytes()));
    let taken =
        (0..2 * SNAPSHOT_SERVED_PEERS_MAX as u32).filter(|tag| quota.ask(peer(*tag), 70_000) == Admission::Taken);
    let taken: Vec<_> = taken.collect();
    assert_eq!(taken.len(), SNAPSHOT_SERVED_PEERS_MAX - 2);
    for tag in taken {
        quota.answered(&peer(tag), 10, 80_000);
    }
    assert_eq!(quota.ask(PeerKey([9; 32]), 200_000), Admission::Taken);
}
