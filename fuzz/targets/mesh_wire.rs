//! Every datagram of the mesh: reading never panics, and what was read is written back the same.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use x0_mesh_wire::{
    ControlFragment, DataBody, Frame, Heartbeat, HopKey, Inner, PathProbe, Probe,
    data::data_prefix,
    handshake::{Answer, CookieBody, Envelope, Hello, Proof},
    header::{NextHop, mark_congestion, relay, replace_route, seal_hop, send_over},
};

const KEY: HopKey = HopKey::new([7; 16]);

/// Frames: a relay's changes keep what they must keep.
fn frame(bytes: &[u8]) {
    let Ok(frame) = Frame::read(bytes) else { return };
    assert!(frame.header.to_bytes().is_ok_and(|head| bytes.starts_with(&head)), "the header reads back otherwise");
    assert_eq!(frame.header.body_offset() + frame.body().len(), bytes.len());
    let Ok(labels) = frame.labels() else { return };
    let next = NextHop { link_tag: 1, link_seq: 2, key: &KEY };
    let mut passed = bytes.to_vec();
    if relay(&mut passed, &next).is_ok() {
        let read = Frame::read(&passed);
        assert!(read.is_ok_and(|read| {
            read.header.pointer == frame.header.pointer + 1
                && read.header.ttl + 1 == frame.header.ttl
                && read.labels() == Ok(labels)
                && read.body() == frame.body()
                && read.check_hop(&KEY).is_ok()
        }));
    }
    let mut repaired = bytes.to_vec();
    repaired.resize(bytes.len() + 32, 0);
    if let Ok(length) = replace_route(&mut repaired, bytes.len(), &[1, 2]) {
        let sent = repaired.get_mut(..length).is_some_and(|bytes| send_over(bytes, &next).is_ok());
        let read = repaired.get(..length).map(Frame::read);
        assert!(sent && read.is_some_and(|read| read.is_ok_and(|read| read.body() == frame.body())));
    }
    let _ = (mark_congestion(&mut passed), seal_hop(&mut passed, &KEY));
}

/// Bodies: each as what the first byte of the input says.
fn body(which: u8, bytes: &[u8]) {
    let mut place = vec![0; bytes.len()];
    match which {
        0 => {
            if let Ok(DataBody::Packet { session_index, pn, key_phase, .. }) = DataBody::read(bytes) {
                assert!(data_prefix(session_index, pn, key_phase).is_ok_and(|prefix| bytes.starts_with(&prefix)));
            }
        }
        1 => {
            if let Ok(inner) = Inner::read(bytes) {
                assert!(inner.write(&mut place) == Ok(bytes.len()) && place == bytes);
            }
        }
        2 => x0_fuzz::round_trip(bytes, Heartbeat::read, |heartbeat| heartbeat.to_bytes().to_vec()),
        3 => {
            if let Ok(fragment) = ControlFragment::read(bytes) {
                assert!(fragment.write(&mut place) == Ok(bytes.len()) && place == bytes);
            }
        }
        4 => {
            if let Ok(probe) = Probe::read(bytes) {
                assert!(probe.write(&mut place).is_ok() && place == bytes);
            }
        }
        5 => {
            if let Ok(probe) = PathProbe::read(bytes) {
                assert!(probe.write(&mut place).is_ok() && place == bytes);
            }
        }
        6 => {
            if let Ok(hello) = Hello::read(bytes) {
                let mut again = Hello::body(hello.opening, hello.encapsulation_key);
                Hello::set_cookie_mac(&mut again, hello.cookie_mac);
                assert_eq!(again[..], *bytes);
            }
        }
        7 => {
            if let Ok(answer) = Answer::read(bytes) {
                assert_eq!(Answer::body(answer.opening, answer.ciphertext, answer.x25519)[..], *bytes);
            }
        }
        8 => {
            if let Ok(proof) = Proof::read(bytes) {
                assert!(bytes.starts_with(&proof.to_bytes()));
            }
        }
        9 => {
            if let Ok(cookie) = CookieBody::read(bytes) {
                assert_eq!(CookieBody::body(cookie.nonce, cookie.sealed)[..], *bytes);
            }
        }
        10 => {
            if let Ok(envelope) = Envelope::read_link(bytes) {
                assert!(envelope.write_link(&mut place) == Ok(bytes.len()) && place == bytes);
            }
        }
        _ => {
            if let Ok((envelope, back)) = Envelope::read_end_to_end(bytes) {
                assert!(envelope.write_end_to_end(&back, &mut place) == Ok(bytes.len()) && place == bytes);
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 16 {
        which @ 0..12 => body(which, rest),
        _ => frame(rest),
    }
});
