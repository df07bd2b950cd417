//! SIGKILL at random moments: what was acknowledged is there, whole, and nothing else is.

use crate::support::*;
use bytes::Bytes;
use codec::Encode as _;
use rand::Rng as _;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use x0_types::BlockNumber;

/// The child's data directory; set only in the child process.
const DIRECTORY: &str = "X0_STORAGE_TEST_WRITER_DIRECTORY";
const STATES_KEPT: u32 = 5;
const KILLS: usize = 15;

/// What block `number` changes: the same on every machine and in every process.
fn changes(number: BlockNumber) -> Changes {
    (0..40u32)
        .map(|index| {
            let seed = blake2_256(&(u64::from(number) << 32 | u64::from(index)).to_be_bytes());
            let value = (seed[2] > 60).then(|| seed[3..8 + usize::from(seed[4] % 60).min(23)].repeat(2));
            (vec![b'k', seed[0] % 16, seed[1] % 8], value)
        })
        .collect()
}

/// The body of block `number`: small and large extrinsics, about 150 kB.
fn body(number: BlockNumber) -> Vec<Bytes> {
    (0..30u32)
        .map(|index| [number.to_be_bytes(), index.to_be_bytes()].concat().repeat(600 + index as usize).encode().into())
        .collect()
}

/// Not a test of its own: the body of the child process, which writes until it is killed.
#[test]
fn writer() {
    let Ok(path) = std::env::var(DIRECTORY) else { return };
    let db = open(Path::new(&path), STATES_KEPT);
    db.commit_genesis(genesis()).unwrap();
    let mut out = std::io::stdout();
    loop {
        let number = db.head().unwrap().number + 1;
        let block = next_block(&db, &changes(number), body(number));
        db.put_undecided(number.into(), 0, block.hash, &block.encoded.clone().unwrap(), Some(true)).unwrap();
        writeln!(out, "undecided {number}").unwrap();
        db.commit_block(block).unwrap();
        writeln!(out, "committed {number}").unwrap();
        db.prune_undecided(number.into()).unwrap();
    }
}

/// What the child acknowledged before it died.
#[derive(Debug, Default)]
struct Acknowledged {
    committed: BlockNumber,
    undecided: BlockNumber,
}

/// Starts the writer, kills it at a random moment and returns what it acknowledged.
fn run_and_kill(path: &Path) -> Acknowledged {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::writer", "--nocapture"])
        .env(DIRECTORY, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut random = rand::rng();
    let kill_after = random.random_range(1..40);
    let mut seen = Acknowledged::default();
    for (count, line) in
        lines.map_while(Result::ok).filter(|line| line.contains("committed") || line.contains("undecided")).enumerate()
    {
        let number: BlockNumber = line.rsplit(' ').next().unwrap().parse().unwrap();
        if line.contains("committed") {
            seen.committed = number
        } else {
            seen.undecided = number
        }
        if count == kill_after {
            // The moment within a block is the random part of this test.
            std::thread::sleep(Duration::from_micros(random.random_range(0..8_000)));
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    seen
}

/// Checks everything in the directory against blocks that are computed anew.
fn check(path: &Path, seen: &Acknowledged) -> BlockNumber {
    let db = open(path, STATES_KEPT);
    let head = db.head().unwrap();
    assert!(head.number >= seen.committed, "{seen:?} was acknowledged, but the head is {head:?}");
    assert!(head.number <= seen.undecided + 1, "{head:?} is further than the writer came: {seen:?}");
    if seen.undecided > head.number {
        let undecided = db.undecided(seen.undecided.into(), 0);
        assert_eq!(undecided.len(), 1, "the acknowledged undecided block {} is lost", seen.undecided);
        let next = next_block(&db, &changes(seen.undecided), body(seen.undecided));
        assert_eq!(Some(&undecided[0].bytes), next.encoded.as_ref());
    }
    let mut model = Model::new();
    for number in 1..=head.number {
        apply(&mut model, &changes(number));
        assert_eq!(db.body(number).unwrap(), body(number), "body of {number}");
        assert_eq!(db.certificate(number).unwrap(), format!("certificate {number}").into_bytes());
        assert_eq!(db.number_of(&db.hash_of(number).unwrap()), Some(number));
        for (index, bytes) in (0..).zip(body(number)) {
            assert_eq!(db.extrinsic_location(&blake2_256(&bytes).into()), Some((number, index)));
        }
        if number >= db.oldest_state() {
            assert_eq!(read_state(&db, trie_of(&model).0), model, "state of {number}");
        }
    }
    assert_eq!(trie_of(&model).0, head.state_root);
    // Nothing of the block after the head is there.
    let next = head.number + 1;
    assert_eq!((db.header(next), db.body(next), db.certificate(next)), (None, None, None));
    for bytes in body(next) {
        assert_eq!(db.extrinsic_location(&blake2_256(&bytes).into()), None);
    }
    head.number
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_written() {
    let dir = tempfile::tempdir().unwrap();
    drop(create(dir.path(), STATES_KEPT));
    let mut height = 0;
    for _ in 0..KILLS {
        let seen = run_and_kill(dir.path());
        height = check(dir.path(), &seen).max(height);
    }
    assert!(height > STATES_KEPT, "the writer came only to {height}");
    // The nodes of the kept states and no other: no crash leaks or loses a node.
    let mut model = Model::new();
    let kept = height - STATES_KEPT..=height;
    let mut expected = std::collections::BTreeSet::new();
    for number in 1..=height {
        apply(&mut model, &changes(number));
        if kept.contains(&number) {
            expected.extend(trie_of(&model).1);
        }
    }
    assert_eq!(stored_nodes(dir.path()), expected);
}
