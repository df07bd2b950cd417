//! What a session costs on top of its cipher: nanoseconds to seal and to open a packet of 1,400 bytes, beside the bare
//! AES-256-GCM of the same library.
//!
//! `cargo run --release -p x0-mesh --example seal`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/pair/mod.rs"]
mod pair;

use std::time::Instant;
use x0_mesh::{
    Time,
    handshake::Role,
    session::{Opened, PathSet, Session, TAIL_POOL_BYTES, TailPool},
};
use x0_mesh_wire::Inner;

const PACKET: usize = 1_400;
const PACKETS: usize = 20_000;
const ROUNDS: usize = 15;

/// The median over rounds, nanoseconds for each packet.
fn median(mut run: impl FnMut() -> u128) -> u128 {
    let mut rounds: Vec<u128> = (0..ROUNDS).map(|_| run()).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2] / PACKETS as u128
}

fn main() {
    let (keys, _) = pair::keys(1);
    let mut pn = 0;
    let mut bytes = vec![0x45u8; PACKET + 17];
    let bare_seal = median(|| {
        let begun = Instant::now();
        for _ in 0..PACKETS {
            pn += 1;
            let tag = keys.send.seal_in_place(pn, &[0; 12], &mut bytes[..=PACKET]).unwrap();
            bytes[PACKET + 1..].copy_from_slice(&tag);
        }
        begun.elapsed().as_nanos()
    });
    let (sender, receiver) = pair::keys(1);
    let sealed: Vec<Vec<u8>> = (0..PACKETS as u64)
        .map(|pn| {
            let mut bytes = vec![0x45u8; PACKET + 1];
            let tag = sender.send.seal_in_place(pn, &[0; 12], &mut bytes).unwrap();
            bytes.extend_from_slice(&tag);
            bytes
        })
        .collect();
    let bare_open = median(|| {
        let mut copies = sealed.clone();
        let begun = Instant::now();
        for (pn, bytes) in copies.iter_mut().enumerate() {
            receiver.receive.open_in_place(pn as u64, &[0; 12], bytes).unwrap();
        }
        begun.elapsed().as_nanos()
    });

    let mut random = pair::Random(1);
    let (a, b) = pair::keys(2);
    let mut sending = Session::new(a, Role::Initiator, (1, 2), Time(0), &mut random);
    let mut receiving = Session::new(b, Role::Responder, (2, 1), Time(0), &mut random);
    let mut pool = TailPool::new(TAIL_POOL_BYTES);
    let packet = vec![0x45u8; PACKET];
    let mut bodies = vec![vec![0; PACKET + Session::OVERHEAD_BYTES]; PACKETS];
    let mut opening = vec![];
    let mut now = Time(0);
    let mut sealing = |bodies: &mut Vec<Vec<u8>>, tail: bool| {
        let begun = Instant::now();
        for body in bodies {
            now = now.plus_us(10);
            let sealed = sending.seal(now, &Inner::Packet(&packet), body).unwrap();
            if tail {
                sending.sent(now, &mut pool, PathSet::of(0), sealed.pn, body);
            }
        }
        begun.elapsed().as_nanos()
    };
    let seal = median(|| {
        let took = sealing(&mut bodies, false);
        let mut copies = bodies.clone();
        let begun = Instant::now();
        for body in &mut copies {
            assert!(matches!(receiving.open(Time(0), body), Ok(Opened::Packet(_))));
        }
        opening.push(begun.elapsed().as_nanos());
        took
    });
    let seal_and_keep = median(|| sealing(&mut bodies, true));
    opening.sort_unstable();
    let open = opening[ROUNDS / 2] / PACKETS as u128;

    let ratio = |ours: u128, bare: u128| format!("{}.{:02}", ours / bare, ours * 100 / bare % 100);
    println!("{PACKET} bytes, median of {ROUNDS} rounds of {PACKETS} packets");
    println!("bare AES-256-GCM   seal {bare_seal} ns   open {bare_open} ns");
    println!(
        "session            seal {seal} ns ({}x)   open {open} ns ({}x)",
        ratio(seal, bare_seal),
        ratio(open, bare_open)
    );
    println!("session with tail  seal {seal_and_keep} ns ({}x)", ratio(seal_and_keep, bare_seal));
}
