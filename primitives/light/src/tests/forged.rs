//! What an untrusted peer may try, and the error that it gets.

use super::chain::{Chain, DAY_MS, NOW, announcement, certificate, changing, header, set};
use crate::{HeaderError, LightError, SetChangeProof, SetError, TrustedState, advance, verify_header};
use sp_runtime::DigestItem;
use x0_crypto::certificate::CertificateError;

fn followed(chain: &Chain) -> TrustedState {
    let mut state = chain.trust();
    for number in [5, 10, 15, 20] {
        advance(&mut state, &chain.proof(number), NOW).unwrap();
    }
    state
}

/// "Must show 4": nobody of the trusted set is left, four proofs lead to the new one, and the headers
/// between them are not needed.
#[test]
fn a_chain_whose_set_changed_fully_is_verified_from_genesis() {
    let chain = changing();
    let mut state = followed(&chain);
    assert!(chain.members_at(24).iter().all(|(key, _)| *key > 3), "nobody of the genesis set decides");
    let certificate = chain.full(24).encode();
    let verified = verify_header(&mut state, &chain.blocks[24].header, &certificate, NOW).unwrap();
    assert_eq!((verified.header.number, verified.header.hash), (24, chain.blocks[24].hash));
    assert_eq!((state.number(), *state.hash(), *state.state_root()), (24, chain.blocks[24].hash, [24; 32]));
    // It is the same after a restart of the wallet.
    let stored = TrustedState::from_bytes(&state.to_bytes()).unwrap();
    assert_eq!(stored, state);
    // An old header of a height whose set is still known can be looked up later.
    verify_header(&mut state, &chain.blocks[21].header, &chain.full(21).encode(), NOW).unwrap();
    assert_eq!(state.number(), 24);
}

#[test]
fn a_forged_future_by_the_old_set_or_by_strangers_is_refused() {
    let chain = changing();
    // Everybody who ever left the set joins forces: the client follows the real changes and knows better.
    let forged = header(24, [9; 32], [9; 32], vec![]);
    let hash = x0_crypto::blake2b_256(&forged);
    for signers in [&[0usize, 1, 2, 3][..], &[8, 9, 10, 11]] {
        let by = certificate(&chain.genesis, 24, hash, signers).encode();
        let error = verify_header(&mut followed(&chain), &forged, &by, NOW).unwrap_err();
        assert!(
            matches!(error, LightError::Certificate { number: 24, source: CertificateError::UnknownSigner(_) }),
            "{error}"
        );
    }
    // A client that was told of no change does not accept the true new header either: it asks.
    let error = verify_header(&mut chain.trust(), &chain.blocks[24].header, &chain.full(24).encode(), NOW).unwrap_err();
    assert!(matches!(error, LightError::Certificate { source: CertificateError::UnknownSigner(_), .. }), "{error}");
}

#[test]
fn each_forgery_of_a_set_change_has_its_error() {
    let chain = changing();
    let good = chain.proof(5);
    let refused = |proof: &SetChangeProof| {
        let mut state = chain.trust();
        let before = state.clone();
        let error = advance(&mut state, proof, NOW).unwrap_err();
        assert_eq!(state, before, "a refused proof changes nothing: {error}");
        error
    };
    let with = |certificate: x0_crypto::certificate::Certificate| SetChangeProof {
        certificate: certificate.encode(),
        ..good.clone()
    };

    // Two of four.
    let error = refused(&with(chain.certificate(5, &[0, 1])));
    let too_little = CertificateError::TooLittlePower { signed: 2, total: 4 };
    assert_eq!(error, LightError::Certificate { number: 5, source: too_little });
    // A stranger in the place of a validator.
    let error = refused(&with(chain.certificate(5, &[0, 1, 7])));
    assert!(matches!(error, LightError::Certificate { source: CertificateError::UnknownSigner(_), .. }), "{error}");
    // One validator counted twice.
    let error = refused(&with(chain.certificate(5, &[0, 1, 1])));
    assert!(matches!(error, LightError::Certificate { source: CertificateError::RepeatedSigner(_), .. }), "{error}");
    // Signatures swapped between two validators.
    let mut swapped = chain.certificate(5, &[0, 1, 2]);
    let (first, second) = (swapped.entries[0].signature.clone(), swapped.entries[1].signature.clone());
    (swapped.entries[0].signature, swapped.entries[1].signature) = (second, first);
    let error = refused(&with(swapped));
    assert!(matches!(error, LightError::Certificate { source: CertificateError::WrongSignature(_), .. }), "{error}");
    // The certificate of another block.
    let error = refused(&with(chain.full(4)));
    assert!(matches!(error, LightError::Certificate { source: CertificateError::OtherBlock { .. }, .. }), "{error}");
    // Votes for another height with this block's hash.
    let error = refused(&with(certificate(&chain.genesis, 6, chain.blocks[5].hash, &[0, 1, 2])));
    assert_eq!(error, LightError::OtherHeight { header: 5, certificate: 6 });
    // Another chain's votes.
    let error = refused(&with(certificate(&[1; 32], 5, chain.blocks[5].hash, &[0, 1, 2])));
    assert!(matches!(error, LightError::Certificate { source: CertificateError::WrongSignature(_), .. }), "{error}");
    // A header without the announcement.
    let error = refused(&SetChangeProof { header: chain.blocks[4].header.clone(), ..good.clone() });
    assert_eq!(error, LightError::AnnouncementMissing(4));
    // A set that is not the announced one, though it is a real set of this chain.
    let error = refused(&SetChangeProof { set: chain.proof(10).set, ..good.clone() });
    assert!(matches!(error, LightError::OtherSet { number: 5, .. }), "{error}");
    // Bytes that are no certificate, and bytes that are no header.
    let error = refused(&SetChangeProof { certificate: vec![1, 2, 3], ..good.clone() });
    assert!(matches!(error, LightError::Certificate { source: CertificateError::Malformed(_), .. }), "{error}");
    let error = refused(&SetChangeProof { header: vec![0; 40], ..good.clone() });
    assert!(matches!(error, LightError::Header(HeaderError::Malformed(_))), "{error}");
    let error = refused(&SetChangeProof { header: vec![0; 1 << 20], ..good });
    assert!(matches!(error, LightError::Header(HeaderError::TooLong { bytes: 1_048_576, .. })), "{error}");
}

#[test]
fn an_announcement_must_be_one_hash_of_a_possible_set() {
    let mut chain = changing();
    let item = announcement(&vec![(0, 1)]);
    for (logs, expected) in [
        (vec![item.clone(), item], HeaderError::RepeatedAnnouncement(1)),
        (vec![DigestItem::Consensus(*b"x0vs", vec![1, 2])], HeaderError::BadAnnouncement { number: 1, bytes: 2 }),
    ] {
        chain.blocks[1].header = header(1, chain.genesis, [1; 32], logs);
        chain.blocks[1].hash = x0_crypto::blake2b_256(&chain.blocks[1].header);
        let proof = SetChangeProof {
            header: chain.blocks[1].header.clone(),
            certificate: chain.full(1).encode(),
            set: set(&vec![(0, 1)]).encode(),
        };
        assert_eq!(advance(&mut chain.trust(), &proof, NOW), Err(LightError::Header(expected)));
    }
    // A quorum that announces an impossible set is not followed: empty, or a key twice.
    let twice = {
        let one = set(&vec![(0, 1)]).encode();
        [&[8][..], &one[1..], &one[1..]].concat()
    };
    for (bytes, expected) in [(vec![0], SetError::Empty), (twice, SetError::RepeatedKey(String::new()))] {
        let item = DigestItem::Consensus(*b"x0vs", x0_crypto::blake2b_256(&bytes).to_vec());
        chain.blocks[1].header = header(1, chain.genesis, [1; 32], vec![item]);
        chain.blocks[1].hash = x0_crypto::blake2b_256(&chain.blocks[1].header);
        let header = chain.blocks[1].header.clone();
        let proof = SetChangeProof { header, certificate: chain.full(1).encode(), set: bytes };
        match advance(&mut chain.trust(), &proof, NOW).unwrap_err() {
            LightError::Set(error) => assert_eq!(core::mem::discriminant(&error), core::mem::discriminant(&expected)),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn old_trust_convinces_of_nothing() {
    let chain = changing();
    let mut state = chain.trust();
    let late = NOW + 14 * DAY_MS + 1;
    let expected = LightError::TrustExpired { trusted_at_ms: NOW, now_ms: late, period_ms: 14 * DAY_MS };
    assert_eq!(advance(&mut state, &chain.proof(5), late), Err(expected));
    advance(&mut state, &chain.proof(5), late - 1).unwrap();
    // Following the chain alone does not make trust younger: only a proven time does.
    assert!(matches!(advance(&mut state, &chain.proof(10), late), Err(LightError::TrustExpired { .. })));
    let early = NOW - DAY_MS;
    let behind = LightError::ClockBehind { trusted_at_ms: NOW, now_ms: early };
    assert_eq!(advance(&mut state, &chain.proof(10), early), Err(behind));
}

#[test]
fn two_certificates_for_one_height_halt_for_good_and_are_kept() {
    let chain = changing();
    let mut state = followed(&chain);
    verify_header(&mut state, &chain.blocks[24].header, &chain.full(24).encode(), NOW).unwrap();
    // The same block by other signers is no conflict.
    verify_header(&mut state, &chain.blocks[24].header, &chain.certificate(24, &[5, 6, 7]).encode(), NOW).unwrap();

    let other = header(24, chain.blocks[23].hash, [99; 32], vec![]);
    let second = certificate(&chain.genesis, 24, x0_crypto::blake2b_256(&other), &[4, 5, 6]).encode();
    let error = verify_header(&mut state, &other, &second, NOW).unwrap_err();
    assert_eq!(error, LightError::Conflict { first: 24, second: 24 });
    let conflict = state.conflict().unwrap();
    assert_eq!(conflict.first.hash, chain.blocks[24].hash);
    assert_eq!(conflict.second.certificate, second);
    assert!(!conflict.first.certificate.is_empty());

    // Not even the true chain convinces a halted client, and a restart does not help.
    let mut state = TrustedState::from_bytes(&state.to_bytes()).unwrap();
    let again = verify_header(&mut state, &chain.blocks[24].header, &chain.full(24).encode(), NOW);
    assert_eq!(again, Err(LightError::Halted(24)));
}

#[test]
fn neighbours_that_do_not_follow_one_another_and_a_second_genesis_are_conflicts() {
    let chain = changing();
    let mut state = followed(&chain);
    verify_header(&mut state, &chain.blocks[23].header, &chain.full(23).encode(), NOW).unwrap();
    let orphan = header(24, [1; 32], [99; 32], vec![]);
    let by = certificate(&chain.genesis, 24, x0_crypto::blake2b_256(&orphan), &[4, 5, 6, 7]).encode();
    let error = verify_header(&mut state, &orphan, &by, NOW).unwrap_err();
    assert_eq!(error, LightError::Conflict { first: 23, second: 24 });

    let mut state = chain.trust();
    let orphan = header(1, [1; 32], [99; 32], vec![]);
    let by = certificate(&chain.genesis, 1, x0_crypto::blake2b_256(&orphan), &[0, 1, 2]).encode();
    assert_eq!(verify_header(&mut state, &orphan, &by, NOW), Err(LightError::Conflict { first: 0, second: 1 }));
}

#[test]
fn an_announced_set_is_awaited_and_unknown_heights_are_named() {
    let chain = changing();
    let mut state = chain.trust();
    verify_header(&mut state, &chain.blocks[5].header, &chain.full(5).encode(), NOW).unwrap();
    verify_header(&mut state, &chain.blocks[6].header, &chain.full(6).encode(), NOW).unwrap();
    let needed = verify_header(&mut state, &chain.blocks[7].header, &chain.full(7).encode(), NOW);
    assert_eq!(needed, Err(LightError::SetNeeded { number: 7, from: 7 }));
    advance(&mut state, &chain.proof(5), NOW).unwrap();
    verify_header(&mut state, &chain.blocks[7].header, &chain.full(7).encode(), NOW).unwrap();

    // A checkpoint at a set change knows that set and nothing before it.
    let block = &chain.blocks[15];
    let set = chain.proof(15).set;
    let mut state = TrustedState::set_change(chain.genesis, block.hash, &block.header, &set, NOW).unwrap();
    let early = verify_header(&mut state, &chain.blocks[16].header, &chain.full(16).encode(), NOW);
    assert_eq!(early, Err(LightError::SetUnknown { number: 16, first: 17 }));
    advance(&mut state, &chain.proof(20), NOW).unwrap();
    verify_header(&mut state, &chain.blocks[24].header, &chain.full(24).encode(), NOW).unwrap();

    let other = TrustedState::set_change(chain.genesis, [5; 32], &block.header, &set, NOW);
    assert!(matches!(other, Err(LightError::OtherAnchor { .. })));
    let other = TrustedState::genesis(&block.header, block.hash, super::chain::set(&vec![(0, 1)]), NOW);
    assert_eq!(other, Err(LightError::NotGenesis(15)));
}
