//! A disk that fills up under a working node: it stops with its exit code, and nothing that was final is lost.
//!
//! The disk is a small tmpfs in a mount namespace of its own, which lives as long as a helper process in it; the test
//! needs root for that, as the lab does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use anyhow::{Context, Result, bail, ensure};
use jsonrpsee::{
    core::client::{ClientT, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use x0_load::transfers::{self, Sender};
use x0_types::Hash;

/// Size of the disk. RocksDB reserves some tens of megabytes for its logs at the start.
const DISK_BYTES: u64 = 192 << 20;
/// What is left on it once the node serves.
const ROOM_BYTES: u64 = 3 << 20;
/// Size of a transaction: the logs that are reserved already take some hundred of these.
const REMARK_BYTES: usize = 200_000;
/// Transactions after which a disk with so little room must be full.
const TRANSACTIONS_MAX: u32 = 1_000;
/// How long the node may take to end, and to become ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// "storage" of docs/operating/exit-codes.md.
const EXIT_STORAGE: i32 = 21;

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A small disk in a namespace of its own.
struct Disk {
    keeper: Process,
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let script =
            format!("mount -t tmpfs -o size={DISK_BYTES} none '{}' && echo ready && cat", folder.path().display());
        let keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut disk = Self { keeper: Process(keeper), folder };
        let mut line = String::new();
        BufReader::new(disk.keeper.0.stdout.take().context("stdout")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "no disk of its own (this test needs root): {line}");
        Ok(disk)
    }

    /// The disk as seen from outside of its namespace.
    fn outside(&self, name: &str) -> PathBuf {
        let inside = self.folder.path().join(name);
        let relative = inside.strip_prefix("/").unwrap_or(&inside).to_owned();
        Path::new("/proc").join(self.keeper.0.id().to_string()).join("root").join(relative)
    }

    /// Fills the disk except for the last bytes.
    fn fill(&self) -> Result<()> {
        let mut filler = fs::File::create(self.outside("filler"))?;
        let block = vec![7u8; 1 << 16];
        // To the brim, then back by what stays free.
        let mut written = 0u64;
        while filler.write_all(&block).is_ok() {
            written += 1 << 16;
            ensure!(written < DISK_BYTES, "the disk has no end");
        }
        filler.set_len(written.saturating_sub(ROOM_BYTES))?;
        Ok(())
    }

    fn start(&self) -> Result<Node> {
        let mut child = Command::new("nsenter")
            .args(["--target", &self.keeper.0.id().to_string(), "--mount", "--"])
            .arg(binary()?)
            .args(["--dev", "--rpc-port", "0", "--base-path"])
            .arg(self.folder.path().join("data"))
            .env("X0_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.folder.path().with_extension("log"))?)
            .spawn()
            .context("nsenter")?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        loop {
            match lines.next() {
                Some(Ok(line)) => {
                    if let Some(ready) = line.strip_prefix("READY ") {
                        return Ok(Node { process: Process(child), ready: serde_json::from_str(ready)? });
                    }
                }
                _ => bail!("x0-node ended before it was ready: {}", self.log()),
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().with_extension("log")).unwrap_or_default()
    }
}

struct Node {
    process: Process,
    ready: Value,
}

impl Node {
    async fn client(&self) -> Result<WsClient> {
        let url = self.ready["rpc"].as_str().context("rpc")?;
        Ok(WsClientBuilder::default().request_timeout(PATIENCE).build(url).await?)
    }

    fn genesis(&self) -> Result<Hash> {
        let text = self.ready["genesis"].as_str().context("genesis")?;
        let bytes: [u8; 32] = hex::decode(text.trim_start_matches("0x"))?.try_into().ok().context("32 bytes")?;
        Ok(Hash::from(bytes))
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.0.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the node goes on although its disk is full");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The built node, beside this test.
fn binary() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let found = program.ancestors().skip(1).map(|folder| folder.join("x0-node")).find(|path| path.is_file());
    found.context("x0-node is not built; run `make build`")
}

/// Sends a large transaction and waits for the block that makes it final.
async fn remark(client: &WsClient, sender: &Sender, nonce: u32, genesis: Hash) -> Result<Hash> {
    let call = frame_system::Call::remark { remark: vec![0x5a; REMARK_BYTES] }.into();
    let transfer = transfers::sign_call(sender, call, nonce, genesis)?;
    let mut updates: Subscription<Value> = client
        .subscribe("author_submitAndWatchExtrinsic", rpc_params![transfer.hex()], "author_unwatchExtrinsic")
        .await?;
    loop {
        let update = tokio::time::timeout(PATIENCE, updates.next()).await?.context("the watch ended")??;
        if let Some(block) = update["finalized"].as_str() {
            return Ok(block.parse()?);
        }
        ensure!(update["invalid"].is_null() && update != "invalid", "{update}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_node_and_loses_nothing() {
    let alice = Sender::from_seed(*x0_crypto::dev::seed("alice", "account").expose()).unwrap();
    let disk = Disk::new().unwrap();
    let mut node = disk.start().unwrap();
    let genesis = node.genesis().unwrap();
    let client = node.client().await.unwrap();
    let mut blocks = vec![remark(&client, &alice, 0, genesis).await.unwrap()];
    disk.fill().unwrap();
    for nonce in 1..TRANSACTIONS_MAX {
        match remark(&client, &alice, nonce, genesis).await {
            Ok(block) => blocks.push(block),
            Err(_) => break,
        }
    }
    let status = node.ended().unwrap();
    assert_eq!(status.code(), Some(EXIT_STORAGE), "{} blocks, then: {}", blocks.len(), disk.log());

    // Starting on the full disk is refused with the same code, and changes nothing.
    match disk.start() {
        Ok(mut node) => assert_eq!(node.ended().unwrap().code(), Some(EXIT_STORAGE), "{}", disk.log()),
        Err(refusal) => assert!(refusal.to_string().contains("exit code 21"), "{refusal}"),
    }

    fs::remove_file(disk.outside("filler")).unwrap();
    let node = disk.start().unwrap();
    let client = node.client().await.unwrap();
    for block in &blocks {
        let header: Value = client.request("chain_getHeader", rpc_params![block]).await.unwrap();
        assert!(header.is_object(), "block {block:?} was final and is gone");
    }
    let account = alice.account.to_string();
    let next: u32 = client.request("system_accountNextIndex", rpc_params![account]).await.unwrap();
    assert!(usize::try_from(next).unwrap() >= blocks.len(), "{next} transactions of {}", blocks.len());
    // By another account: the block that was under way when the disk was full may come now.
    let bob = Sender::from_seed(*x0_crypto::dev::seed("bob", "account").expose()).unwrap();
    let went_on = remark(&client, &bob, 0, genesis).await;
    assert!(went_on.is_ok(), "{went_on:?}: {}", disk.log());
}
