//! A real chain's database under damage: each damage of a file ends in the same history (or a beginning of it) or in a
//! named refusal, never in a panic and never in another history. Each copy is read in a process of its own, because a
//! node whose database fails beneath it ends its process at once.
//!
//! `X0_DAMAGES` sets how many damages are done, `X0_DAMAGE` the first one; each follows from its number alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use common::{cluster, genesis};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use x0_consensus::Pacing;
use x0_executor::{Executor, Options};
use x0_storage::{Database, OpenOptions};

const ON_DEMAND: Pacing = Pacing { busy_ms: 20, idle_ms: 3_600_000, on_demand: true };

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Digests of everything that a block is from outside, by number.
type History = BTreeMap<u32, String>;

/// Names the copy of the database for a process that reads it, and where it writes what it found.
const COPY: &str = "X0_DAMAGED_COPY";
const FOUND: &str = "X0_DAMAGED_FOUND";

fn open(path: &Path) -> Result<(Database, Executor), String> {
    // With the fatal handler of production: the process ends at once, with its own exit code.
    let options = OpenOptions { block_cache_bytes: 4 << 20, write_buffers_bytes: 8 << 20, ..OpenOptions::default() };
    let database = Database::open(path, options).map_err(|error| error.to_string())?;
    let executor =
        Executor::new(database.clone(), &genesis(1), Options::default()).map_err(|error| error.to_string())?;
    Ok((database, executor))
}

/// Reads everything that a node would, and does one block's work on the head.
fn read(path: &Path) -> Result<History, String> {
    let (database, executor) = open(path)?;
    let head = executor.head();
    let history = (0..=head.number)
        .map(|number| {
            let seen = format!(
                "{:?} {:?} {:?} {:?}",
                database.hash_of(number),
                database.header(number),
                database.body(number),
                database.certificate(number)
            );
            (number, hex::encode(x0_crypto::blake2b_256(seen.as_bytes())))
        })
        .collect();
    executor
        .with_state(head.hash, x0_runtime::check_invariants)
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{error:?}"))?;
    let proposer = x0_runtime::presets::dev_account("validator-1").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    executor
        .build_block(head.hash, 1_800_000_000_000, proposer, std::iter::empty(), deadline)
        .map_err(|error| error.to_string())?;
    Ok(history)
}

/// Not a test of its own: what the test below runs in a process for each damage.
#[test]
fn read_a_damaged_copy() {
    let (Some(copy), Some(found)) = (std::env::var_os(COPY), std::env::var_os(FOUND)) else { return };
    let text = match read(Path::new(&copy)) {
        Ok(history) => history.iter().map(|(number, digest)| format!("{number} {digest}\n")).collect(),
        Err(error) => format!("refused: {error}\n"),
    };
    std::fs::write(found, text).unwrap();
}

/// What reading a copy of the database came to; `None` is a refusal by name.
fn read_in_a_process(copy: &Path, what: &str) -> Option<History> {
    let found = copy.with_extension("found");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "read_a_damaged_copy", "--nocapture"])
        .env(COPY, copy)
        .env(FOUND, &found)
        .output()
        .unwrap();
    if output.status.code() == Some(x0_storage::EXIT_CODE_STORAGE) {
        return None;
    }
    assert!(output.status.success(), "{what}: {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(found).unwrap();
    if text.starts_with("refused: ") {
        return None;
    }
    let line = |line: &str| {
        let (number, digest) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), digest.to_owned())
    };
    Some(text.lines().map(line).collect())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Does one damage and says in words which.
fn damage(directory: &Path, random: &mut Random) -> String {
    let all = files(directory);
    // Each kind of file is as likely as the others, however many files of a kind there are.
    let kind = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        ["MANIFEST", "OPTIONS", "CURRENT", "IDENTITY", "LOG"]
            .into_iter()
            .find(|prefix| name.starts_with(prefix))
            .map_or_else(|| name.rsplit('.').next().unwrap_or_default().to_owned(), str::to_owned)
    };
    let kinds: Vec<String> =
        all.iter().map(|path| kind(path)).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let chosen = &kinds[random.below(kinds.len())];
    let of_kind: Vec<_> = all.iter().filter(|path| kind(path) == *chosen).collect();
    let path = of_kind[random.below(of_kind.len())];
    let mut bytes = std::fs::read(path).unwrap();
    let at = random.below(bytes.len());
    let what = match random.below(6) {
        _ if bytes.is_empty() => {
            bytes.extend((0..64).map(|index| u8::try_from(index).unwrap()));
            "bytes in an empty file".to_owned()
        }
        0 | 1 => {
            bytes[at] ^= 1 << random.below(8);
            format!("a bit at {at} of {}", bytes.len())
        }
        2 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
            format!("zeros {at}..{end}")
        }
        3 => {
            bytes.truncate(at);
            format!("cut to {at}")
        }
        4 => {
            let other = random.below(bytes.len());
            let length = 512.min(bytes.len() - at.max(other));
            for offset in 0..length {
                bytes.swap(at + offset, other + offset);
            }
            format!("{length} bytes at {at} and {other} swapped")
        }
        _ => {
            std::fs::remove_file(path).unwrap();
            return format!("{} removed", path.display());
        }
    };
    std::fs::write(path, bytes).unwrap();
    format!("{}: {what}", path.display())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_keeps_its_history_or_refuses_by_name() {
    let (_hub, mut nodes) = cluster(1, ON_DEMAND).await;
    let node = &mut nodes[0];
    for round in 0..4 {
        let hashes = node.submit("alice", 10 * round, 10).await;
        node.until_final(&hashes).await;
        // Each restart writes the tables of what was in the log.
        node.stop().await;
        node.start().await;
    }
    let hashes = node.submit("alice", 40, 10).await;
    node.until_final(&hashes).await;
    node.stop().await;
    let chain = node.dir.path().join("chain");
    let (first, count) = (number("X0_DAMAGE", 0), number("X0_DAMAGES", 100));
    tokio::task::spawn_blocking(move || {
        // The node's execution thread lets go of the directory in its own time.
        let whole = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            read_in_a_process(&chain, "the whole database")
        });
        let whole = whole.expect("the whole database is read");
        assert!(whole.len() > 5, "{} blocks", whole.len());
        let (mut same, mut shorter, mut refused) = (0, 0, 0);
        for case in first..first + count {
            let directory = tempfile::tempdir().unwrap();
            let copied = directory.path().join("chain");
            copy(&chain, &copied);
            let what = format!("damage {case}, {}", damage(&copied, &mut Random(case)));
            match read_in_a_process(&copied, &what) {
                Some(history) => {
                    for (height, seen) in &history {
                        assert_eq!(Some(seen), whole.get(height), "{what}: another block {height}");
                    }
                    if history.len() == whole.len() { same += 1 } else { shorter += 1 }
                }
                None => refused += 1,
            }
        }
        println!("{count} damages: {same} whole, {shorter} a beginning, {refused} refused by name");
        assert!(count < 50 || (same > 0 && refused > 0));
    })
    .await
    .unwrap();
}
