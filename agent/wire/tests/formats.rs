//! What is written is read back, whatever bytes come never panic, and each broken rule has its error.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]

use proptest::prelude::*;
use x0_mesh_wire::{
    ControlFragment, DataBody, Flags, Frame, Header, Heartbeat, HopKey, Inner, Kind, Labels, PathProbe, Probe,
    WireError,
    data::data_prefix,
    handshake::{Answer, CookieBody, Envelope, HELLO_BYTES, Half, Hello, Opening, Proof, SUITE_1},
    header::{NextHop, mark_congestion, relay, replace_route, seal_hop, send_over, write_frame},
    limits::{DATAGRAM_BYTES_MAX, HEADER_BYTES, LABELS_MAX, TTL_MAX},
};

const KEY: HopKey = HopKey::new([7; 16]);

fn header(kind: Kind, labels: u8, pointer: u8) -> Header {
    Header { kind, flags: Flags::NONE, labels, pointer, ttl: 5, link_tag: 1, link_seq: 2, hop_mac: [0; 8] }
}

/// A data frame with these labels, as a source sends it.
fn data_frame(labels: &[u32], pointer: u8, ttl: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES + 4 * labels.len() + body.len()];
    let header = Header { ttl, ..header(Kind::Data, labels.len() as u8, pointer) };
    let labels = Labels::new(labels).unwrap();
    assert_eq!(write_frame(&mut frame, &header, &labels, body, &KEY).unwrap(), frame.len());
    frame
}

fn labels_strategy() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..=LABELS_MAX)
}

proptest! {
    #[test]
    fn frames_are_read_as_written(
        labels in labels_strategy(), pointer in 0u8..=8, flags in 0u8..8, ttl in any::<u8>(),
        link_tag in any::<u32>(), link_seq in any::<u32>(), body in prop::collection::vec(any::<u8>(), 16..200),
    ) {
        let pointer = pointer.min(labels.len() as u8);
        let header = Header {
            kind: Kind::Data, flags: Flags::from_byte(flags).unwrap(), labels: labels.len() as u8,
            pointer, ttl, link_tag, link_seq, hop_mac: [0; 8],
        };
        let mut bytes = vec![0; 300];
        let length = write_frame(&mut bytes, &header, &Labels::new(&labels).unwrap(), &body, &KEY).unwrap();
        let frame = Frame::read(&bytes[..length]).unwrap();
        prop_assert_eq!(Header { hop_mac: [0; 8], ..frame.header }, header);
        let found = frame.labels().unwrap();
        prop_assert_eq!(found.as_slice(), &labels[..]);
        prop_assert_eq!(frame.next_label(), labels.get(usize::from(pointer)).copied());
        prop_assert_eq!(frame.body(), &body[..]);
        prop_assert!(frame.check_hop(&KEY).is_ok());
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1400), first in any::<u8>()) {
        let mut bytes = bytes;
        // Half of the inputs pass the check of the first byte.
        if let Some(place) = bytes.first_mut() && first & 1 == 0 {
            *place = 0x10 | (first >> 1 & 0x0F);
        }
        if let Ok(frame) = Frame::read(&bytes) {
            let _ = (frame.labels().unwrap(), frame.next_label(), frame.aad(), frame.check_hop(&KEY).is_ok());
            prop_assert_eq!(frame.header.body_offset() + frame.body().len(), bytes.len());
            prop_assert_eq!(&frame.header.to_bytes().unwrap()[..], &bytes[..HEADER_BYTES]);
        }
        let _ = (DataBody::read(&bytes).is_ok(), Inner::read(&bytes).is_ok(), Heartbeat::read(&bytes).is_ok());
        let _ = (ControlFragment::read(&bytes).is_ok(), Probe::read(&bytes).is_ok(), PathProbe::read(&bytes).is_ok());
        let _ = (Hello::read(&bytes).is_ok(), Answer::read(&bytes).is_ok(), Proof::read(&bytes).is_ok());
        let _ = (CookieBody::read(&bytes).is_ok(), Envelope::read_link(&bytes).is_ok());
        let _ = (Envelope::read_end_to_end(&bytes).is_ok(), Half::read(&bytes).is_ok());
        let mut buffer = bytes.clone();
        let _ = relay(&mut buffer, &NextHop { link_tag: 1, link_seq: 2, key: &KEY });
        let _ = (replace_route(&mut buffer, bytes.len(), &[1, 2]), mark_congestion(&mut buffer), seal_hop(&mut buffer, &KEY));
    }

    #[test]
    fn heartbeats_are_read_as_written(
        numbers in any::<(u32, u64, u32, u32, u32, u16, u32, u8)>(), suspect in any::<bool>(), down in any::<bool>(),
    ) {
        let (highest_seen, seen_before, age_us, hold_us, echo_seq, loss_q16, interval_us, load) = numbers;
        let heartbeat = Heartbeat {
            highest_seen, seen_before, age_us, hold_us, echo_seq, loss_q16, suspect, down, interval_us, load,
        };
        prop_assert_eq!(Heartbeat::read(&heartbeat.to_bytes()), Ok(heartbeat));
    }

    #[test]
    fn data_is_read_as_written(index in 1u32.., pn in 0u64..1 << 63, key_phase in any::<bool>(), rest in prop::collection::vec(any::<u8>(), 17..99)) {
        let body = [&data_prefix(index, pn, key_phase).unwrap()[..], &rest].concat();
        prop_assert_eq!(
            DataBody::read(&body).unwrap(),
            DataBody::Packet { session_index: index, pn, key_phase, sealed: &rest }
        );
    }

    #[test]
    fn inner_packets_are_read_as_written(kind in 0u8..5, id in any::<u16>(), payload in prop::collection::vec(any::<u8>(), 0..99)) {
        let inner = match kind {
            0 => Inner::Packet(&payload),
            1 => Inner::Control(&payload),
            2 => Inner::PathProbe(&payload),
            kind => Inner::Fragment { id, last: kind == 4, payload: &payload },
        };
        let mut plain = vec![0; inner.bytes()];
        prop_assert_eq!(inner.write(&mut plain), Ok(plain.len()));
        prop_assert_eq!(Inner::read(&plain), Ok(inner));
        prop_assert!(inner.write(&mut plain[..payload.len()]).is_err());
    }

    #[test]
    fn control_and_probes_are_read_as_written(
        kind in any::<u8>(), message in any::<u16>(), count in 1u8..=32, index in 0u8..32, echo in any::<bool>(),
        number in any::<u32>(), size_bytes in any::<u16>(), payload in prop::collection::vec(any::<u8>(), 0..99),
    ) {
        let fragment = ControlFragment { kind, message, index: index % count, count, payload: &payload };
        let mut plain = vec![0xFF; 200];
        let length = fragment.write(&mut plain).unwrap();
        prop_assert_eq!(ControlFragment::read(&plain[..length]), Ok(fragment));
        let probe = Probe { echo, number, size_bytes };
        probe.write(&mut plain).unwrap();
        prop_assert_eq!(Probe::read(&plain), Ok(probe));
        let probe = PathProbe { echo, route: kind, number };
        probe.write(&mut plain).unwrap();
        prop_assert_eq!(PathProbe::read(&plain), Ok(probe));
    }

    #[test]
    fn handshake_messages_are_read_as_written(
        sender in 1u32.., purpose in 1u8..=2, id in any::<u32>(), byte in any::<u8>(), kind in 1u8..=4,
        back in labels_strategy(), body in prop::collection::vec(any::<u8>(), 0..99),
    ) {
        let opening = Opening { suites: SUITE_1, purpose, sender };
        let mut hello = Hello::body(opening, &[byte; 1184]);
        Hello::set_cookie_mac(&mut hello, [byte; 16]);
        let read = Hello::read(&hello).unwrap();
        prop_assert_eq!((read.opening, read.encapsulation_key[..].to_vec(), read.cookie_mac), (opening, vec![byte; 1184], [byte; 16]));
        prop_assert_eq!(read.covered, &hello[..HELLO_BYTES - 16]);
        let answer = Answer::body(opening, &[byte; 1088], &[!byte; 32]);
        let read = Answer::read(&answer).unwrap();
        prop_assert_eq!((read.opening, read.ciphertext[0], read.x25519), (opening, byte, &[!byte; 32]));
        let cookie = CookieBody::body([byte; 12], &[!byte; 32]);
        let read = CookieBody::read(&cookie).unwrap();
        prop_assert_eq!((read.nonce, read.sealed), ([byte; 12], &[!byte; 32]));

        let envelope = Envelope::seal(Kind::from_code(kind).unwrap(), id, &body, &KEY);
        let mut bytes = vec![0; 200];
        let length = envelope.write_link(&mut bytes).unwrap();
        prop_assert_eq!(Envelope::read_link(&bytes[..length]), Ok(envelope));
        prop_assert!(Envelope::read_link(&bytes[..length]).unwrap().check(&KEY).is_ok());
        let back = Labels::new(&back).unwrap();
        let length = envelope.write_end_to_end(&back, &mut bytes).unwrap();
        prop_assert_eq!(Envelope::read_end_to_end(&bytes[..length]), Ok((envelope, back)));
        prop_assert!(!Half::is_half(&bytes) && Half::read(&bytes[..length]).is_err());
        for last in [false, true] {
            let half = Half { last, envelope, back };
            let length = half.write(&mut bytes).unwrap();
            prop_assert!(Half::is_half(&bytes) && Envelope::read_end_to_end(&bytes[..length]).is_err());
            prop_assert_eq!(Half::read(&bytes[..length]), Ok(half));
        }
    }

    #[test]
    fn proof_heads_are_read_as_written(number in any::<u32>(), count in 1u8..=6, index in 0u8..=6, seen in any::<u8>()) {
        let proof = Proof { number, index: index.min(count), count, seen };
        let body = [&proof.to_bytes()[..], &[0; 40]].concat();
        prop_assert_eq!(Proof::read(&body), Ok(proof));
    }

    /// Every bit of what the MAC covers counts: header, labels and the first 16 bytes of the body.
    #[test]
    fn a_changed_bit_breaks_the_hop_mac(labels in labels_strategy(), bit in 0usize..8, at in 0usize..200) {
        let frame = data_frame(&labels, 0, 9, &[3; 40]);
        let covered = HEADER_BYTES + 4 * labels.len() + 16;
        let at = at % frame.len();
        let mut changed = frame.clone();
        changed[at] ^= 1 << bit;
        let holds = Frame::read(&changed).is_ok_and(|frame| frame.check_hop(&KEY).is_ok());
        prop_assert_eq!(holds, at >= covered, "byte {} of {}", at, frame.len());
    }

    /// A relay moves the pointer, takes a hop, and makes the frame one of the next link.
    #[test]
    fn relays_pass_a_frame_to_its_end(labels in labels_strategy(), ttl in 0u8..12) {
        let body: Vec<u8> = (0..60).collect();
        let mut frame = data_frame(&labels, 0, ttl, &body);
        let next_key = HopKey::new([9; 16]);
        let mut passed = 0u8;
        let end = loop {
            let next = NextHop { link_tag: 70 + u32::from(passed), link_seq: 1000, key: &next_key };
            match relay(&mut frame, &next) {
                Ok(()) => passed += 1,
                Err(error) => break error,
            }
            let read = Frame::read(&frame).unwrap();
            prop_assert_eq!(
                (read.header.pointer, read.header.ttl, read.header.link_tag, read.header.link_seq),
                (passed, ttl - passed, 69 + u32::from(passed), 1000)
            );
            prop_assert!(read.check_hop(&next_key).is_ok() && read.check_hop(&KEY).is_err());
            prop_assert_eq!(read.body(), &body[..]);
            let found = read.labels().unwrap();
        prop_assert_eq!(found.as_slice(), &labels[..]);
        };
        let hops = labels.len().min(usize::from(ttl).saturating_sub(1));
        prop_assert_eq!(usize::from(passed), hops);
        let count = labels.len() as u8;
        let expected = if hops == labels.len() { WireError::Pointer { pointer: count, labels: count } } else { WireError::TtlExpired };
        prop_assert_eq!(end, expected);
    }

    /// A repair keeps what was travelled, replaces what is ahead, and happens once.
    #[test]
    fn a_repair_replaces_the_rest_of_the_route(labels in prop::collection::vec(any::<u32>(), 1..=8), pointer in 0usize..8, bypass in prop::collection::vec(any::<u32>(), 1..=8)) {
        let pointer = pointer % labels.len();
        let body: Vec<u8> = (0..60).collect();
        let frame = data_frame(&labels, pointer as u8, 9, &body);
        let mut buffer = frame.clone();
        buffer.resize(frame.len() + 32, 0);
        let result = replace_route(&mut buffer, frame.len(), &bypass);
        let found = pointer + bypass.len();
        if found > LABELS_MAX {
            prop_assert_eq!(result, Err(WireError::TooManyLabels { found }));
            return Ok(());
        }
        let length = result.unwrap();
        send_over(&mut buffer[..length], &NextHop { link_tag: 4, link_seq: 5, key: &KEY }).unwrap();
        let read = Frame::read(&buffer[..length]).unwrap();
        let found = read.labels().unwrap();
        prop_assert_eq!(found.as_slice(), &[&labels[..pointer], &bypass].concat()[..]);
        prop_assert_eq!((read.body(), usize::from(read.header.pointer)), (&body[..], pointer));
        prop_assert!(read.header.flags.has(Flags::REPAIRED) && read.check_hop(&KEY).is_ok());
        prop_assert_eq!(replace_route(&mut buffer, length, &bypass), Err(WireError::UnknownFlags { found: 2 }));
    }
}

#[test]
fn each_rule_of_the_header_has_its_error() {
    let frame = data_frame(&[1, 2], 1, 9, &[0; 30]);
    let with = |at: usize, value: u8| {
        let mut bytes = frame.clone();
        bytes[at] = value;
        Frame::read(&bytes).map(|frame| frame.header).unwrap_err()
    };
    assert_eq!(Frame::read(&frame[..19]).unwrap_err(), WireError::TooShort { needed: 20, found: 19 });
    assert_eq!(Frame::read(&frame[..43]).unwrap_err(), WireError::TooShort { needed: 44, found: 43 });
    assert_eq!(Frame::read(&vec![0x16; DATAGRAM_BYTES_MAX + 1]).unwrap_err(), WireError::UnknownFlags { found: 0x16 });
    let mut long = frame.clone();
    long.resize(DATAGRAM_BYTES_MAX + 1, 0);
    let (limit, found) = (DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX + 1);
    assert_eq!(Frame::read(&long).unwrap_err(), WireError::TooLong { limit, found });
    assert_eq!(with(0, 0x26), WireError::Version { found: 2 });
    assert_eq!(with(0, 0x19), WireError::UnknownKind { found: 9 });
    assert_eq!(with(0, 0x10), WireError::UnknownKind { found: 0 });
    assert_eq!(with(1, 0x08), WireError::UnknownFlags { found: 8 });
    assert_eq!(with(2, 0x90), WireError::TooManyLabels { found: 9 });
    assert_eq!(with(2, 0x23), WireError::Pointer { pointer: 3, labels: 2 });
    assert_eq!(with(0, 0x15), WireError::LabelsOnKind { kind: Kind::Heartbeat, labels: 2 });
    assert!(Frame::read(&frame).unwrap().check_hop(&HopKey::new([8; 16])).is_err());
    for wrong in [
        Header { labels: 9, ..header(Kind::Data, 0, 0) },
        Header { pointer: 1, ..header(Kind::Data, 0, 0) },
        header(Kind::Control, 1, 0),
        Header { flags: Flags::DUP, ..header(Kind::Heartbeat, 0, 0) },
    ] {
        assert!(wrong.to_bytes().is_err(), "{wrong:?}");
    }
    assert!(header(Kind::Data, 8, 8).write(&mut [0; 19]).is_err());
    let mut heartbeat = vec![0; 60];
    let one_hop = header(Kind::Heartbeat, 0, 0);
    assert!(write_frame(&mut heartbeat, &one_hop, &Labels::NONE, &[0; 40], &KEY).is_ok());
    let next = NextHop { link_tag: 1, link_seq: 1, key: &KEY };
    assert_eq!(relay(&mut heartbeat, &next), Err(WireError::WrongKind { found: Kind::Heartbeat }));
    assert!(usize::from(TTL_MAX) > 2 * LABELS_MAX);
}

#[test]
fn each_rule_of_a_handshake_has_its_error() {
    let opening = Opening { suites: SUITE_1, purpose: 1, sender: 7 };
    let hello = Hello::body(opening, &[1; 1184]);
    let with = |at: usize, value: u8| {
        let mut bytes = hello;
        bytes[at] = value;
        Hello::read(&bytes).map(|hello| hello.opening).unwrap_err()
    };
    assert_eq!(HEADER_BYTES + HELLO_BYTES, 1228, "between 1224 and 1232 bytes, one datagram on every underlay");
    assert_eq!(Hello::read(&hello[..1207]).unwrap_err(), WireError::TooShort { needed: 1208, found: 1207 });
    assert_eq!(Hello::read(&[0; 1209]).unwrap_err(), WireError::TooLong { limit: 1208, found: 1209 });
    assert_eq!(with(0, 2), WireError::Version { found: 2 });
    assert_eq!(with(2, 3), WireError::UnknownKind { found: 3 });
    assert_eq!(with(3, 1), WireError::Reserved { offset: 3 });
    assert_eq!(with(7, 0), WireError::Reserved { offset: 4 });
    let envelope = Envelope::seal(Kind::Hello, 0, &hello, &KEY);
    let mut bytes = [0; 1228];
    assert_eq!(envelope.write_link(&mut bytes), Ok(1228));
    for (at, error) in [(3, WireError::Reserved { offset: 3 }), (11, WireError::Reserved { offset: 8 })] {
        let mut changed = bytes;
        changed[at] = 1;
        assert_eq!(Envelope::read_link(&changed).unwrap_err(), error);
    }
    // Every byte of a handshake datagram is under the MAC or must have one value.
    for at in 0..bytes.len() {
        let mut changed = bytes;
        changed[at] ^= 0x40;
        assert!(Envelope::read_link(&changed).and_then(|read| read.check(&KEY)).is_err(), "byte {at}");
    }
    let data = data_frame(&[], 0, 0, &[0; 30]);
    let mut silent = data.clone();
    silent[8..12].fill(0);
    assert_eq!(Envelope::read_link(&silent).unwrap_err(), WireError::WrongKind { found: Kind::Data });
    let head = |count: u8, index: u8, reserved: u8, payload: usize| {
        let mut body = vec![0; 8 + payload + 16];
        (body[4], body[5], body[7]) = (index, count, reserved);
        Proof::read(&body).unwrap_err()
    };
    assert_eq!(head(7, 0, 0, 5), WireError::Range { found: 7, limit: 6 });
    assert_eq!(head(3, 4, 0, 5), WireError::Range { found: 4, limit: 3 });
    assert_eq!(head(3, 3, 1, 5), WireError::Reserved { offset: 7 });
    assert_eq!(head(3, 3, 0, 0), WireError::TooShort { needed: 25, found: 24 });
    assert_eq!(head(3, 3, 0, 1189), WireError::TooLong { limit: 1212, found: 1213 });
    assert_eq!(head(0, 0, 0, 1), WireError::TooLong { limit: 24, found: 25 });
}

#[test]
fn each_rule_of_bodies_has_its_error() {
    assert_eq!(DataBody::read(&[0; 3]).unwrap_err(), WireError::TooShort { needed: 4, found: 3 });
    assert_eq!(DataBody::read(&[0, 0, 0, 0, 5]), Ok(DataBody::Handshake(&[5])));
    assert_eq!(DataBody::read(&[1; 28]).unwrap_err(), WireError::TooShort { needed: 29, found: 28 });
    assert!(data_prefix(0, 1, false).is_err() && data_prefix(1, 1 << 63, false).is_err());
    assert_eq!(Inner::read(&[]).unwrap_err(), WireError::TooShort { needed: 1, found: 0 });
    assert_eq!(Inner::read(&[5, 0]).unwrap_err(), WireError::UnknownKind { found: 5 });
    assert_eq!(Inner::read(&[3, 0]).unwrap_err(), WireError::TooShort { needed: 3, found: 2 });
    let heartbeat = Heartbeat::default().to_bytes();
    let mut flags = heartbeat;
    flags[26] = 4;
    assert_eq!(Heartbeat::read(&flags).unwrap_err(), WireError::UnknownFlags { found: 4 });
    let mut reserved = heartbeat;
    reserved[35] = 1;
    assert_eq!(Heartbeat::read(&reserved).unwrap_err(), WireError::Reserved { offset: 32 });
    assert_eq!(Heartbeat::read(&heartbeat[1..]).unwrap_err(), WireError::TooShort { needed: 36, found: 35 });
    assert_eq!(Heartbeat::read(&[0; 37]).unwrap_err(), WireError::TooLong { limit: 36, found: 37 });
    assert_eq!(ControlFragment::read(&[0; 5]).unwrap_err(), WireError::Range { found: 0, limit: 32 });
    assert_eq!(ControlFragment::read(&[0, 0, 0, 0, 33]).unwrap_err(), WireError::Range { found: 33, limit: 32 });
    assert_eq!(ControlFragment::read(&[0, 0, 0, 2, 2]).unwrap_err(), WireError::Range { found: 2, limit: 1 });
    assert_eq!(Probe::read(&[2; 7]).unwrap_err(), WireError::UnknownKind { found: 2 });
    assert_eq!(Probe::read(&[0, 0, 0, 0, 0, 0, 0, 1]).unwrap_err(), WireError::Reserved { offset: 7 });
    assert_eq!(PathProbe::read(&[0; 5]).unwrap_err(), WireError::TooShort { needed: 6, found: 5 });
    assert_eq!(Labels::new(&[0; 9]).unwrap_err(), WireError::TooManyLabels { found: 9 });
    assert_eq!(Labels::read(&[0; 5]).unwrap_err(), WireError::TooShort { needed: 8, found: 5 });
    assert!(!std::format!("{}", WireError::HopMac).is_empty());
}

/// Appendix A of the SipHash paper: key 00..0f, message 00..0e.
#[test]
fn the_hop_mac_is_siphash_as_published() {
    let key: [u8; 16] = core::array::from_fn(|i| i as u8);
    let message: Vec<u8> = (0..15).collect();
    assert_eq!(u64::from_be_bytes(HopKey::new(key).mac(&message)), 0xa129_ca61_49be_45e5);
    assert_eq!(HopKey::new(key).mac_of(&message[..5], &message[5..]), HopKey::new(key).mac(&message));
    assert!(HopKey::new(key).fits(&message, 0xa129_ca61_49be_45e5u64.to_be_bytes()));
    assert_eq!(format!("{:?}", HopKey::new(key)), "HopKey(secret)");
}
