//! New rules: announced by the validators, and a rolling change of programs under load.

use super::{Figures, site::Site};
use crate::{machine::service::State, traffic::Traffic};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use x0_scenario::{process::binaries, rpc::Rpc};

/// The version of the rules that the next program brings.
const VERSION: u32 = 2;
/// Blocks between the announcement and the height of the change, enough for two operators to follow the page.
const NOTICE_BLOCKS: u32 = 250;
/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(120);
/// Pause between two transfers to one validator.
const PAUSE: Duration = Duration::from_millis(20);

/// Two validators change early, one at the height, one late. Nothing final is lost, and the chain goes on.
pub async fn rolling(seed: u64) -> Result<Figures> {
    let next = next_program()?;
    let mut site = Site::new(4, seed, &["upgrade.md", "install.md", "join.md"]).await?;
    start(&mut site).await.context("four operators start a network")?;
    let traffic = Traffic::start_with(&site.network, &[0, 1, 2, 3], PAUSE)?;
    site.network.wait_progress(&[0, 1, 2, 3], 5, STEP_MAX).await?;
    let height = announce(&mut site).await.context("the validators announce new rules")?;

    for number in [0, 1] {
        site.hosts[number].bring_release(&next)?;
        site.follow(number, "upgrade.md", "Replacing the program").await.context("two operators change early")?;
        site.network.check_agreement().await?;
    }
    let early = site.network.height(0).await?;
    ensure!(early < height, "the operators needed until block {early}, and the new rules begin at {height}");
    ensure!(version(&site.network.rpc(0).await?, None).await? == VERSION - 1, "the old rules hold until the height");

    // The others end at the height, by the code that no supervisor restarts, and name the version.
    for number in [2, 3] {
        site.hosts[number]
            .wait_state("down with code 20", |state| matches!(state, State::Failed { code: Some(20), .. }))
            .await
            .context("an old program at the height")?;
        site.network.collect_signatures(number)?;
        site.network.validators[number].supervised = false;
        let starts = site.hosts[number].service.lock().await.starts();
        ensure!(starts == 1, "the supervisor started the old program {starts} times");
    }
    let halted = Instant::now();
    let stands = site.network.height(0).await?;
    ensure!(stands < height, "two of four have power left, and the chain is at {stands}");

    // One changes at the height: three go on. The last is late.
    change_late(&mut site, 2, &next).await.context("an operator changes at the height")?;
    site.network.wait_height(0, height + 5, STEP_MAX).await.context("three of four under the new rules")?;
    let resumed = halted.elapsed();
    change_late(&mut site, 3, &next).await.context("an operator changes late")?;
    let tip = site.network.height(0).await?;
    site.network.wait_height(3, tip + 3, STEP_MAX).await.context("the late one")?;
    drop(traffic);

    let rpc = site.network.rpc(3).await?;
    // A state names the rules of the block that follows it.
    ensure!(version(&rpc, Some(height - 2)).await? == VERSION - 1, "block {} is of the old rules", height - 1);
    ensure!(version(&rpc, Some(height - 1)).await? == VERSION, "block {height} is of the new rules");
    ensure!(migrations(&rpc, height).await? == 1, "the migration ran in block {height}");
    site.network.wait_progress(&[0, 1, 2, 3], 2, STEP_MAX).await?;
    let agreed = site.network.check_agreement().await?;
    let transactions: usize =
        site.network.promised.iter().filter_map(|one| one.lock().ok().map(|one| one.transactions.len())).sum();
    ensure!(transactions > 100, "there was no load: {transactions} transfers");
    let left: Vec<_> = site.manual.unfollowed().into_iter().filter(|one| one.starts_with("upgrade.md")).collect();
    ensure!(left.is_empty(), "nobody followed these commands: {left:?}");
    for host in &site.hosts {
        host.service.lock().await.stop().await?;
    }
    Ok(Figures::from([
        ("upgrade_height", f64::from(height)),
        ("height", f64::from(agreed)),
        ("transactions_kept", f64::from(u32::try_from(transactions)?)),
        ("operator_and_restart_s", resumed.as_secs_f64()),
    ]))
}

/// The program of the next release, which `make next` builds.
fn next_program() -> Result<PathBuf> {
    let folder = binaries()?;
    let path = folder.parent().unwrap_or(&folder).join("next-release/x0-node");
    ensure!(path.is_file(), "there is no {}: run `make next`", path.display());
    Ok(path)
}

/// Four validators as services, with accounts for the load.
async fn start(site: &mut Site) -> Result<()> {
    site.follow(0, "install.md", "Program, user and password").await?;
    let testnet = site.hosts[0].machine.path("/root/testnet");
    let made = Command::new(binaries()?.join("x0-node"))
        .args(["testnet", "--validators", "4", "--development-accounts"])
        .args(["--host-template", "validator-{n}.example", "--output"])
        .arg(&testnet)
        .output()?;
    ensure!(made.status.success(), "x0-node testnet: {}", String::from_utf8_lossy(&made.stderr));
    site.bring_up(4, Path::new(&testnet)).await
}

/// The validators' decision; returns the height.
async fn announce(site: &mut Site) -> Result<u32> {
    let page = "upgrade.md";
    let height = site.network.height(0).await? + NOTICE_BLOCKS;
    for host in &mut site.hosts {
        host.operator.word("version", VERSION.to_string());
        host.operator.word("height", height.to_string());
    }
    site.follow_part(0, page, "Announcing new rules", 1).await?;
    site.approve(&[1, 2], "schedule_upgrade", page, "Announcing new rules", 2).await?;
    for number in 0..4 {
        site.follow_part(number, page, "Announcing new rules", 3).await?;
    }
    Ok(height)
}

/// An operator finds the node down and installs the next release.
async fn change_late(site: &mut Site, number: usize, next: &Path) -> Result<()> {
    let page = "upgrade.md";
    site.follow_part(number, page, "When the height came first", 1).await?;
    site.hosts[number].bring_release(next)?;
    site.network.validators[number].supervised = true;
    site.follow_part(number, page, "When the height came first", 2).await.map(drop)
}

/// The version of the rules after a block.
async fn version(rpc: &Rpc, height: Option<u32>) -> Result<u32> {
    let at = match height {
        Some(height) => Value::from(rpc.block_hash(height).await?.with_context(|| format!("no block {height}"))?),
        None => Value::Null,
    };
    let version: Value = rpc.call("state_getRuntimeVersion", &[at]).await?;
    Ok(u32::try_from(version["specVersion"].as_u64().with_context(|| version.to_string())?)?)
}

/// How many migrations a block notes: the event `Network.Migrated`, found in the block's events by its
/// encoding (`from`, `to`, `count`), with no decoding of the product's.
async fn migrations(rpc: &Rpc, height: u32) -> Result<usize> {
    let hash = rpc.block_hash(height).await?.with_context(|| format!("no block {height}"))?;
    let key = [sp_io::hashing::twox_128(b"System"), sp_io::hashing::twox_128(b"Events")].concat();
    let events = rpc.storage(&key, Some(&hash)).await?.context("a block has events")?;
    let needle: Vec<u8> = [VERSION - 1, VERSION, 1].iter().flat_map(|number| number.to_le_bytes()).collect();
    Ok(events.windows(needle.len()).filter(|window| *window == needle).count())
}
