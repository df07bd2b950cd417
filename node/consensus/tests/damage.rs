//! A real chain's database under damage: each damage of a file ends in the same history (or a beginning of it) or in a
//! named refusal, never in a panic of another kind and never in another history.
//!
//! `X0_DAMAGES` sets how many damages are done, `X0_DAMAGE` the first one; each follows from its number alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

mod common;

use common::{cluster, genesis};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};
use x0_consensus::Pacing;
use x0_executor::{Executor, Options};
use x0_storage::{Database, FatalHandler, OpenOptions};
use x0_types::Hash;

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

/// What a block is, from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    hash: Option<Hash>,
    header: Option<Vec<u8>>,
    body: Option<Vec<bytes::Bytes>>,
    certificate: Option<Vec<u8>>,
}

type History = BTreeMap<u32, Seen>;

/// With this the process would end with its own exit code; here it ends the case.
struct Fatal(String);

fn open(path: &Path) -> Result<(Database, Executor), String> {
    let options = OpenOptions {
        fatal: FatalHandler::new(|error| std::panic::panic_any(Fatal(error.to_string()))),
        block_cache_bytes: 4 << 20,
        write_buffers_bytes: 8 << 20,
        ..OpenOptions::default()
    };
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
            let (hash, header) = (database.hash_of(number), database.header(number));
            (number, Seen { hash, header, body: database.body(number), certificate: database.certificate(number) })
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
        // The execution thread lets go of the directory in its own time.
        let whole = loop {
            match read(&chain) {
                Ok(history) => break history,
                Err(error) if error.contains("in use") || error.contains("running") => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert!(whole.len() > 5, "{} blocks", whole.len());
        // What would end the process says nothing here; every other panic does.
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.payload().is::<Fatal>() {
                usual(panic);
            }
        }));
        let (mut same, mut shorter, mut refused) = (0, 0, 0);
        for case in first..first + count {
            let directory = tempfile::tempdir().unwrap();
            copy(&chain, directory.path());
            let what = damage(directory.path(), &mut Random(case));
            match catch_unwind(AssertUnwindSafe(|| read(directory.path()))) {
                Ok(Ok(history)) => {
                    for (height, seen) in &history {
                        assert_eq!(Some(seen), whole.get(height), "damage {case} ({what}): another block {height}");
                    }
                    if history.len() == whole.len() { same += 1 } else { shorter += 1 }
                }
                Ok(Err(_)) => refused += 1,
                Err(panic) => match panic.downcast::<Fatal>() {
                    Ok(fatal) => {
                        assert!(!fatal.0.is_empty());
                        refused += 1;
                    }
                    Err(_) => panic!("damage {case} ({what}): a panic"),
                },
            }
        }
        println!("{count} damages: {same} whole, {shorter} a beginning, {refused} refused by name");
        assert!(count < 50 || (same > 0 && refused > 0));
    })
    .await
    .unwrap();
}
