//! The guard under damage: every single damage of its files ends in a repair or a named refusal, never in a panic or a
//! second statement for one place.
//!
//! The oracle is a list of everything that left the guard. It knows nothing of files. `X0_DAMAGES` sets how many
//! damages are done; each follows from its number alone, which a failure prints.

use super::tests_support::{GENESIS, key, said};
use super::*;
use crate::slot::{COPY_BYTES, SLOT_BYTES};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore as _, SeedableRng as _},
};
use std::collections::HashMap;

fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    random.next_u64() % bound.max(1)
}

fn index(random: &mut ChaCha8Rng, bound: usize) -> usize {
    usize::try_from(below(random, bound as u64)).unwrap()
}

/// A part of a slot that holds records, in either copy, so that damage hits something that matters.
fn used_offset(random: &mut ChaCha8Rng, records: usize) -> usize {
    let copy = if below(random, 2) == 0 { 0 } else { COPY_BYTES };
    copy + index(random, (records + 2) * RECORD_BYTES)
}

/// Does one damage and says in words which.
fn damage(directory: &Path, random: &mut ChaCha8Rng, records: usize) -> String {
    let slot = directory.join(SLOT_NAMES[index(random, 2)]);
    let mut bytes = std::fs::read(&slot).unwrap();
    let what = match below(random, 9) {
        0 | 1 => {
            let at = used_offset(random, records);
            bytes[at] ^= 1 << below(random, 8);
            format!("a bit at {at}")
        }
        2 => {
            let (at, length) = (used_offset(random, records), 1 + index(random, 600));
            let end = (at + length).min(SLOT_BYTES);
            random.fill_bytes(&mut bytes[at..end]);
            format!("random bytes {at}..{end}")
        }
        3 => {
            let at = used_offset(random, records) / RECORD_BYTES * RECORD_BYTES;
            bytes[at..at + RECORD_BYTES].fill(0);
            format!("a zeroed page at {at}")
        }
        4 => {
            let length = index(random, SLOT_BYTES);
            bytes.truncate(length);
            format!("cut to {length}")
        }
        5 => {
            let length = index(random, (records + 1) * RECORD_BYTES);
            bytes.truncate(length);
            format!("cut to {length}")
        }
        6 => {
            std::fs::remove_file(&slot).unwrap();
            return format!("{} removed", slot.display());
        }
        7 => {
            let [a, b] = SLOT_NAMES.map(|name| directory.join(name));
            let draft = directory.join("swap");
            std::fs::rename(&a, &draft).unwrap();
            std::fs::rename(&b, &a).unwrap();
            std::fs::rename(&draft, &b).unwrap();
            return "the slots swapped".into();
        }
        _ => {
            let marker = directory.join(FORMAT_NAME);
            if below(random, 2) == 0 {
                std::fs::remove_file(marker).unwrap();
                return "the marker removed".into();
            }
            let mut text = std::fs::read(&marker).unwrap();
            let at = index(random, text.len());
            text[at] ^= 1 << below(random, 8);
            std::fs::write(marker, text).unwrap();
            return "the marker changed".into();
        }
    };
    std::fs::write(&slot, bytes).unwrap();
    format!("{}: {what}", slot.display())
}

/// Whether the guard opened again.
fn one(number: u64) -> bool {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let directory = tempfile::tempdir().unwrap();
    let secret = key();
    let bound = binding(&GENESIS, secret.public());
    // What left the guard: the oracle.
    let mut given: HashMap<Place, (Statement, Signature)> = HashMap::new();
    let mut guard = Guard::open(directory.path(), bound).unwrap();
    let (mut height, mut round) = (1 + below(&mut random, 3), 0);
    let count = 1 + index(&mut random, 12);
    let signer = secret.public().fingerprint();
    for _ in 0..count {
        match below(&mut random, 3) {
            0 => (height, round) = (height + 1 + below(&mut random, 2), 0),
            _ => round += 1,
        }
        let statement = said(height, round, (random.next_u32() % 250) as u8, signer);
        let signature = guard.sign(&statement, || statement.sign(&secret, &GENESIS)).unwrap();
        given.insert(statement.place(), (statement, signature));
    }
    drop(guard);

    let what = damage(directory.path(), &mut random, count);
    let mut guard = match Guard::open(directory.path(), bound) {
        Ok(guard) => guard,
        Err(
            GuardError::Damaged { .. }
            | GuardError::Truncated { .. }
            | GuardError::Missing(_)
            | GuardError::Format(_)
            | GuardError::OtherKey(_),
        ) => return false,
        Err(error) => panic!("damage {number} ({what}): an unexpected refusal: {error}"),
    };
    // Asked for every earlier place again, with the same and with another content.
    for (place, (statement, signature)) in &given {
        let other = said(place.height, place.round, 251, signer);
        for asked in [statement, &other] {
            match guard.sign(asked, || asked.sign(&secret, &GENESIS)) {
                Ok(again) => {
                    assert_eq!(
                        (asked, &again),
                        (statement, signature),
                        "damage {number} ({what}): a second signature at {place}"
                    );
                }
                Err(GuardError::Conflict { recorded }) => {
                    assert_eq!(recorded.signature, *signature, "damage {number} ({what})")
                }
                Err(GuardError::Regression { .. }) => {}
                Err(error) => panic!("damage {number} ({what}): {error}"),
            }
        }
    }
    let next = said(height + 1, 0, 7, signer);
    guard.sign(&next, || next.sign(&secret, &GENESIS)).unwrap();
    true
}

#[test]
fn every_damage_ends_in_a_repair_or_a_named_refusal() {
    let count = std::env::var("X0_DAMAGES").ok().map_or(100, |text| text.parse().unwrap());
    let first = std::env::var("X0_DAMAGE").ok().map_or(0, |text| text.parse().unwrap());
    let opened = (first..first + count).filter(|number| one(*number)).count();
    println!("{count} damages from number {first}: {opened} repaired or harmless, the others refused by name");
    assert!(count < 50 || (opened > 0 && (opened as u64) < count), "both ends are reached");
}
