//! Logs that the engine's own crate wrote, whole and damaged.

use super::*;
use crate::context::{Address, BlockId, Height, Vote};
use malachite_core_types::{NilOrVal, Round, SignedMessage, VoteType};
use std::{
    cell::Cell,
    io::{SeekFrom, Write as _},
};

const OWN: [u8; 32] = [1; 32];
const HEIGHT: u64 = 9;

fn entry_of(kind: VoteType, round: u32, voter: [u8; 32]) -> Vec<u8> {
    let vote = Vote {
        kind,
        height: Height(HEIGHT),
        round: Round::new(round),
        value: NilOrVal::Val(BlockId([7; 32])),
        voter: Address(voter),
    };
    let signature = x0_crypto::Signature::from(&[5; x0_crypto::SIGNATURE_BYTES]).into();
    let message = SignedConsensusMsg::<ChainContext>::Vote(SignedMessage::new(vote, signature));
    let message = ChainCodec.encode(&message).unwrap();
    [&[TAG_MESSAGE][..], &(message.len() as u64).to_be_bytes(), &message].concat()
}

fn place(round: u32, step: Step) -> Place {
    Place { height: HEIGHT, round, step }
}

/// The log of two rounds of this node, and one other vote in each: the first entry is this node's.
fn log(height: u64) -> Vec<u8> {
    let mut bytes = [&[0, 0, 0, VERSION][..], &height.to_be_bytes()].concat();
    for round in 0..2 {
        for (kind, voter) in [(VoteType::Prevote, OWN), (VoteType::Prevote, [2; 32]), (VoteType::Precommit, OWN)] {
            let content = entry_of(kind, round, voter);
            bytes.push(0);
            bytes.extend((content.len() as u64).to_be_bytes());
            bytes.extend(crc32(&content).to_be_bytes());
            bytes.extend(content);
        }
    }
    bytes
}

fn said() -> Vec<Place> {
    (0..2).flat_map(|round| [Step::Opening, Step::Prevote, Step::Precommit].map(|step| place(round, step))).collect()
}

struct File_(tempfile::TempDir, Cell<u32>);

impl File_ {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Cell::new(0))
    }
    /// Checks these bytes, and gives what is left of them.
    fn check(&self, bytes: &[u8], said: &[Place]) -> Result<Vec<u8>, WalError> {
        self.1.set(self.1.get() + 1);
        let path = self.0.path().join(format!("{}.wal", self.1.get()));
        std::fs::write(&path, bytes).unwrap();
        check(&path, HEIGHT, &OWN, said)?;
        Ok(std::fs::read(&path).unwrap())
    }
}

#[test]
fn the_checksum_is_the_usual_one() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn only_a_log_or_the_beginning_of_one_is_opened() {
    let file = File_::new();
    check(&file.0.path().join("none"), HEIGHT, &OWN, &said()).unwrap();
    for short in [&b""[..], &[0, 0, 0, 1], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9]] {
        assert_eq!(file.check(short, &[]).unwrap(), b"", "{short:?}");
    }
    assert_eq!(file.check(&log(HEIGHT), &said()).unwrap(), log(HEIGHT), "a good one is left alone");
    assert!(matches!(file.check(&[0; 40], &[]), Err(WalError::Damaged(_))));
}

#[test]
fn a_torn_tail_is_cut_and_a_lost_vote_is_named() {
    let (file, whole) = (File_::new(), log(HEIGHT));
    let entry = (whole.len() - HEADER_BYTES) / 6;
    // The last entry is the guard's last vote: it may be half written.
    for lost in [1, entry / 2, entry - 1] {
        let left = file.check(&whole[..whole.len() - lost], &said()).unwrap();
        assert_eq!(left, whole[..whole.len() - entry]);
    }
    // A damaged length of the third entry hides all that follows, which the engine would take for a torn tail.
    let mut bytes = whole.clone();
    bytes[HEADER_BYTES + 2 * entry + 3] ^= 0x40;
    match file.check(&bytes, &said()) {
        Err(WalError::Incomplete { place: missing, .. }) => assert_eq!(missing, place(0, Step::Precommit)),
        other => panic!("{other:?}"),
    }
    // Without votes of its own behind it, the node has lost nothing that it said.
    assert_eq!(file.check(&bytes, &said()[..2]).unwrap().len(), HEADER_BYTES + 2 * entry);
    // A log of the height before, although the node has voted twice at this one.
    assert!(matches!(file.check(&log(HEIGHT - 1), &said()), Err(WalError::Incomplete { .. })));
    assert!(file.check(&log(HEIGHT - 1), &said()[..2]).is_ok(), "one vote may be newer than the log");
}

/// `X0_DAMAGES` sets how many damages are done; each follows from its number.
#[test]
fn every_damage_ends_in_a_shorter_log_with_all_votes_or_in_a_named_refusal() {
    let count: u64 = std::env::var("X0_DAMAGES").ok().map_or(300, |text| text.parse().unwrap());
    let (file, whole) = (File_::new(), log(HEIGHT));
    let (mut refused, mut kept) = (0, 0);
    for number in 0..count {
        // SplitMix64.
        let mut state = number;
        let mut random = |below: usize| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((mixed ^ (mixed >> 27)) % below as u64) as usize
        };
        let mut bytes = whole.clone();
        let at = random(bytes.len());
        match random(4) {
            0 => bytes[at] ^= 1 << random(8),
            1 => bytes.truncate(at),
            2 => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
            }
            _ => {
                let junk = random(64);
                bytes.extend((0..junk).map(|_| random(256) as u8));
            }
        }
        match file.check(&bytes, &said()) {
            Ok(left) => {
                kept += 1;
                assert!(whole.starts_with(&left), "damage {number}: a prefix");
                let (length, votes) = scan(&left[HEADER_BYTES..], &OWN);
                assert_eq!(length, left.len() - HEADER_BYTES, "damage {number}: whole entries only");
                assert!(votes.len() >= 3, "damage {number}: only the last vote may be missing");
            }
            Err(WalError::Damaged(_) | WalError::Incomplete { .. }) => refused += 1,
            Err(error) => panic!("damage {number}: {error}"),
        }
        let path = file.0.path().join(format!("{}.wal", file.1.get()));
        std::fs::remove_file(path).unwrap();
    }
    println!("{count} damages: {kept} repaired or harmless, {refused} refused by name");
    assert!(kept > 0 && refused > 0);
}

#[test]
fn zeros_behind_the_entries_are_no_entries() {
    let file = File_::new();
    let path = file.0.path().join("sparse");
    let mut sparse = File::create(&path).unwrap();
    sparse.write_all(&log(HEIGHT)).unwrap();
    sparse.seek(SeekFrom::Start(log(HEIGHT).len() as u64 + 20)).unwrap();
    sparse.write_all(&[9]).unwrap();
    check(&path, HEIGHT, &OWN, &said()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), log(HEIGHT));
}
