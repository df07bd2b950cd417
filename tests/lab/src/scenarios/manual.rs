//! The operator's manual, followed command by command: install, join, rotate, lose a disk, lose a key, leave, move.

use super::{
    Figures,
    site::{NODE, Site},
};
use crate::machine::service::State;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// The pages that are followed here; `upgrade.md` has a scenario of its own.
const PAGES: [&str; 5] = ["install.md", "keys.md", "join.md", "monitor.md", "recover.md"];
/// The machine of the one who joins.
const NEWCOMER: usize = 4;
/// The machine that a validator moves to in the end.
const SPARE: usize = 5;
/// How long a change on chain may take to be seen.
const SEEN_MAX: Duration = Duration::from_secs(60);

/// Operators of four validators, of a fifth, and of a spare machine do what the pages say.
pub async fn manual(seed: u64) -> Result<Figures> {
    let started = Instant::now();
    let mut site = Site::new(6, seed, &PAGES).await?;
    found(&mut site).await.context("four operators start a network")?;
    install(&mut site).await.context("a newcomer installs a node")?;
    let join = join(&mut site).await.context("it joins")?;
    rotate(&mut site, 1, "consensus").await.context("a consensus key is rotated")?;
    rotate(&mut site, 2, "network").await.context("a network key is rotated")?;
    lose_disk(&mut site).await.context("a disk is lost")?;
    lose_everything(&mut site).await.context("disk, record and key are lost")?;
    lose_controller(&mut site).await.context("the controller's key is lost")?;
    leave(&mut site).await.context("the newcomer leaves")?;
    move_away(&mut site).await.context("a validator moves")?;
    site.network.check_agreement().await?;
    let height = site.network.height(0).await?;
    let left = site.manual.unfollowed();
    ensure!(left.is_empty(), "nobody followed these commands of the manual: {left:?}");
    for host in &site.hosts {
        host.service.lock().await.stop().await?;
    }
    Ok(Figures::from([
        ("height", f64::from(height)),
        ("join_s", join.as_secs_f64()),
        ("all_s", started.elapsed().as_secs_f64()),
    ]))
}

/// The network's first four validators.
async fn found(site: &mut Site) -> Result<()> {
    site.follow(0, "install.md", "Program, user and password").await?;
    site.follow_part(0, "install.md", "A network of one's own", 1).await?;
    let testnet = site.hosts[0].machine.path("/root/testnet");
    site.bring_up(4, &testnet).await?;
    for number in 0..4 {
        site.follow(number, "monitor.md", "Watching a node").await?;
        site.follow(number, "keys.md", "Looking at a key").await?;
    }
    site.hosts[0].type_in("x0 keys import faucet --file /root/wallet/keys/faucet.json").await?;
    Ok(())
}

/// The newcomer's machine and directory.
async fn install(site: &mut Site) -> Result<()> {
    site.follow(NEWCOMER, "install.md", "Program, user and password").await?;
    let (first, newcomer) = (&site.hosts[0].machine, &site.hosts[NEWCOMER]);
    newcomer.copy_from(first, "/root/testnet/validator-1/chain.json", "/root/chain.json")?;
    site.follow_part(NEWCOMER, "install.md", "The directory", 1).await?;
    site.follow_part(NEWCOMER, "install.md", "The directory", 2).await?;
    site.follow_part(NEWCOMER, "install.md", "Before the first start", 1).await?;
    site.follow_part(NEWCOMER, "install.md", "Before the first start", 2).await?;
    Ok(())
}

/// A fifth validator, from an account without money to a signature.
async fn join(site: &mut Site) -> Result<Duration> {
    let started = Instant::now();
    let page = "join.md";
    site.follow_part(NEWCOMER, page, "The controller", 1).await?;
    site.hosts[NEWCOMER].knows_password("Password of key `controller`", super::site::WALLET_PASSWORD);
    let made = site.follow_part(NEWCOMER, page, "The controller", 2).await?;
    let controller = account(&made).with_context(|| made.clone())?;
    // The 24 words, as their owner writes them down.
    let words = words(&made).with_context(|| made.clone())?;
    let key = format!("x0-node key inspect {NODE}/keys/reporter.json");
    let key: Value = serde_json::from_str(&site.hosts[NEWCOMER].type_in(&key).await?)?;
    let reporter = key["account"].as_str().context("a reporter has an account")?.to_owned();
    for host in &mut site.hosts {
        host.operator.word("the newcomer's controller", controller.clone());
    }
    let newcomer = &mut site.hosts[NEWCOMER];
    newcomer.operator.word("the controller", controller.clone());
    newcomer.knows_password("24 words", &words);
    site.hosts[0].operator.word("the controller", controller.clone());
    site.hosts[0].operator.word("the reporter's account", reporter);
    site.follow_part(0, page, "The controller", 3).await?;
    site.follow_part(NEWCOMER, page, "Registering the keys", 1).await?;
    site.hosts[NEWCOMER].type_in(&format!("cd {NODE}/proofs")).await?;
    site.follow_part(NEWCOMER, page, "Registering the keys", 2).await?;
    site.hosts[NEWCOMER].type_in("cd /root").await?;

    site.follow_part(0, page, "Admission", 1).await?;
    site.approve(&[1, 2], "admit_candidate", page, "Admission", 2).await?;
    site.hosts[NEWCOMER]
        .type_in("install -m 644 deploy/systemd/x0-node.service /etc/systemd/system/x0-node.service")
        .await?;
    site.network.validators[NEWCOMER].supervised = true;
    site.follow_part(NEWCOMER, page, "Admission", 3).await?;
    ensure!(powers(site).await?.len() == 4, "a candidate has no power");

    site.follow_part(0, page, "Power", 1).await?;
    site.approve(&[2, 3], "add_validator", page, "Power", 2).await?;
    site.follow_part(NEWCOMER, page, "Power", 3).await?;
    let took = started.elapsed();
    let set = wait_powers(site, 5).await?;
    ensure!(set.contains(&controller), "the set is {set:?} without {controller}");
    signs(site, NEWCOMER).await?;
    Ok(took)
}

/// A key of a running validator is replaced; the validator goes on with the new one.
async fn rotate(site: &mut Site, number: usize, role: &str) -> Result<()> {
    let page = "keys.md";
    let before = fingerprint(site, number, role).await?;
    let controller = site.hosts[number].type_in("x0 account controller").await?;
    let controller = account(&controller).context("an account")?;
    site.hosts[number].operator.word("role", role);
    site.hosts[number].operator.word("the controller", controller.clone());
    site.follow_part(number, page, "Rotating a key", 1).await?;
    site.hosts[number].type_in(&format!("cd {NODE}/keys")).await?;
    site.follow_part(number, page, "Rotating a key", 2).await?;
    if role == "consensus" {
        let sent = site.network.height(0).await?;
        site.follow_part(number, page, "Rotating a key", 3).await?;
        changes_two_blocks_later(site, sent, &controller, &before).await?;
    }
    site.hosts[number].type_in("cd /root").await?;
    site.follow_part(number, page, "Rotating a key", 4).await?;
    let after = fingerprint(site, number, role).await?;
    ensure!(after != before, "the node still has the {role} key {before}");
    let signed = site.network.height(0).await?;
    site.network.wait_height(number, signed + 3, SEEN_MAX).await?;
    signs(site, number).await
}

/// The set with another key of this validator is announced by one block and in force two blocks later.
async fn changes_two_blocks_later(site: &Site, since: u32, controller: &str, before: &str) -> Result<()> {
    let key = |set: &Value| -> Option<String> {
        let list = set.as_array()?;
        let one = list.iter().find(|one| one["controller"].as_str() == Some(controller))?;
        one["consensusKey"].as_str().map(str::to_owned)
    };
    let tip = site.network.height(0).await?;
    for height in since..=tip {
        let status = site.status(Some(height)).await?;
        let Some(next) = status["upcoming"].as_array().and_then(|sets| sets.last()) else { continue };
        let new = key(&next["validators"]).context("the validator stays in the set")?;
        ensure!(next["from"].as_u64() == Some(u64::from(height) + 2), "block {height} announces {next}");
        ensure!(key(&status["current"]).as_deref() == Some(before), "the old key is in force until then");
        ensure!(new != before, "the announced set has the old key");
        site.network.wait_height(0, height + 2, SEEN_MAX).await?;
        let status = site.status(Some(height + 2)).await?;
        ensure!(key(&status["current"]) == Some(new), "two blocks later the set has another key: {status}");
        return Ok(());
    }
    anyhow::bail!("no block from {since} to {tip} announces another set")
}

/// A validator's disk fails; the record of its key can still be read, and there is a backup.
async fn lose_disk(site: &mut Site) -> Result<()> {
    let (number, page) = (3, "recover.md");
    site.hosts[number].operator.word("date", "monday");
    site.follow_part(number, page, "The disk fails", 1).await?;
    let tip = site.network.height(0).await?;
    site.network.wait_height(number, tip + 3, SEEN_MAX).await?;
    signs(site, number).await?;
    // The disk gives wrong bytes from here on: the node ends by the code for it and stays down.
    site.hosts[number].service.lock().await.stop().await?;
    site.network.collect_signatures(number)?;
    site.network.validators[number].supervised = false;
    let chain = site.network.validators[number].data().join("chain");
    damage(&chain)?;
    let failed = site.hosts[number].type_in("systemctl start x0-node").await;
    ensure!(failed.is_err(), "a node with a damaged database started");
    site.hosts[number]
        .wait_state("down with code 21", |state| matches!(state, State::Failed { code: Some(21), .. }))
        .await?;
    site.hosts[number].operator.word("its exit code", "21");
    site.hosts[number].operator.word("the reason", "chain");
    site.follow(number, page, "Recovering").await?;
    // The new disk.
    std::fs::remove_dir_all(chain)?;
    site.follow_part(number, page, "The disk fails", 2).await?;
    site.network.validators[number].supervised = true;
    signs(site, number).await
}

/// Replaces the file by which the database finds its others.
fn damage(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            damage(&path)?;
        } else if path.file_name().is_some_and(|name| name == "CURRENT") {
            std::fs::write(path, "MANIFEST-000000\n")?;
        }
    }
    Ok(())
}

/// A validator loses its disk with the record of its key, and the key.
async fn lose_everything(site: &mut Site) -> Result<()> {
    let (number, page) = (3, "recover.md");
    site.hosts[number].service.lock().await.stop().await?;
    site.network.collect_signatures(number)?;
    std::fs::remove_dir_all(site.network.validators[number].data())?;
    site.follow_part(number, page, "The record is lost", 1).await?;
    std::fs::remove_file(site.hosts[number].machine.path(&format!("{NODE}/keys/consensus.json")))?;
    // Signatures of another key are another list.
    site.network.promised[number] = std::sync::Arc::default();
    let controller = site.hosts[number].type_in("x0 account controller").await?;
    let host = &mut site.hosts[number];
    host.operator.word("role", "consensus");
    host.operator.word("the controller", account(&controller).context("an account")?);
    site.follow_part(number, "keys.md", "Rotating a key", 1).await?;
    site.hosts[number].type_in(&format!("cd {NODE}/keys")).await?;
    site.follow_part(number, "keys.md", "Rotating a key", 2).await?;
    site.follow_part(number, "keys.md", "Rotating a key", 3).await?;
    site.hosts[number].type_in("cd /root").await?;
    trust(site, number).await.context("a checkpoint")?;
    site.follow_part(number, "keys.md", "Rotating a key", 4).await?;
    signs(site, number).await
}

/// A node without a chain is told of a block by the operator of another one.
async fn trust(site: &mut Site, number: usize) -> Result<()> {
    let said = site.follow(0, "join.md", "A checkpoint").await?;
    let checkpoint: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let checkpoint = checkpoint["node"].as_str().context("a checkpoint for nodes")?;
    let path = site.hosts[number].machine.path(&format!("{NODE}/config.toml"));
    let text = std::fs::read_to_string(&path)?;
    Ok(std::fs::write(path, format!("{text}\n[sync]\ncheckpoint = \"{checkpoint}\"\n"))?)
}

/// The machine with the controller's wallet is lost; the words are not.
async fn lose_controller(site: &mut Site) -> Result<()> {
    site.hosts[NEWCOMER].type_in("rm ~/.config/x0/keys/controller.json").await?;
    site.follow_part(NEWCOMER, "recover.md", "A key is lost", 1).await.map(drop)
}

async fn leave(site: &mut Site) -> Result<()> {
    site.follow_part(NEWCOMER, "join.md", "Leaving", 1).await?;
    wait_powers(site, 4).await?;
    let tip = site.network.height(0).await?;
    site.network.wait_height(0, tip + 3, SEEN_MAX).await?;
    site.follow_part(NEWCOMER, "join.md", "Leaving", 2).await?;
    site.network.validators[NEWCOMER].supervised = false;
    site.network.collect_signatures(NEWCOMER)
}

/// A validator moves to another machine with its record; the first one refuses to sign from then on.
async fn move_away(site: &mut Site) -> Result<()> {
    let number = 3;
    site.follow_part(number, "keys.md", "The sign guard", 1).await?;
    site.network.collect_signatures(number)?;
    site.network.validators[number].supervised = false;
    let refused = site.hosts[number].type_in("systemctl start x0-node").await;
    ensure!(refused.is_err(), "a node whose record moved away started");
    site.follow(SPARE, "install.md", "Program, user and password").await?;
    let (old, new) = (site.hosts[number].machine.clone(), &mut site.hosts[SPARE]);
    new.copy_from(&old, "/etc/x0-node/password", "/etc/x0-node/password")?;
    for name in ["keys", "config.toml", "chain.json", "guard.json"] {
        new.copy_from(&old, &format!("{NODE}/{name}"), &format!("{NODE}/{name}"))?;
    }
    new.type_in(&format!("sed -i 's/validator-4.example:/validator-6.example:/' {NODE}/config.toml")).await?;
    new.type_in(&format!("chown -R x0-node: {NODE} /etc/x0-node/password")).await?;
    new.type_in("install -m 644 deploy/systemd/x0-node.service /etc/systemd/system/x0-node.service").await?;
    new.operator.word("the exported record", format!("{NODE}/guard.json"));
    // What the key signed there and signs here is one list.
    site.network.promised[SPARE] = std::sync::Arc::clone(&site.network.promised[number]);
    site.follow_part(SPARE, "keys.md", "The sign guard", 2).await?;
    site.network.validators[SPARE].supervised = true;
    signs(site, SPARE).await
}

/// Controllers of the validators in force.
async fn powers(site: &Site) -> Result<Vec<String>> {
    let status = site.status(None).await?;
    let current = status["current"].as_array().context("a set")?;
    Ok(current.iter().filter_map(|one| one["controller"].as_str().map(str::to_owned)).collect())
}

/// Waits until a block's state has a set of so many: consensus works with it one block earlier.
async fn wait_powers(site: &Site, count: usize) -> Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let set = powers(site).await?;
        if set.len() == count {
            return Ok(set);
        }
        ensure!(started.elapsed() < SEEN_MAX, "the set has not {count} validators: {set:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until this validator signs at heights that are decided after now: its record on the disk says so.
async fn signs(site: &Site, number: usize) -> Result<()> {
    let now = site.network.height(0).await?;
    match site.network.wait_signs(number, now, SEEN_MAX).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.context(site.hosts[number].journal_tail().await)),
    }
}

async fn fingerprint(site: &mut Site, number: usize, role: &str) -> Result<String> {
    let text = site.hosts[number].type_in(&format!("x0-node key inspect {NODE}/keys/{role}.json")).await?;
    let key: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    Ok(key["fingerprint"].as_str().context("a fingerprint")?.to_owned())
}

/// The first account that a text names.
fn account(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.len() == 48 && word.starts_with('5')).map(str::to_owned)
}

/// The 24 words as `x0 keys new` shows them: each behind its number.
fn words(text: &str) -> Option<String> {
    let mut found = Vec::new();
    let mut numbered = text.split_whitespace().peekable();
    while let Some(word) = numbered.next() {
        if word.trim_end_matches('.').parse() == Ok(found.len() + 1) {
            found.push(numbered.next()?.to_owned());
        }
    }
    (found.len() == 24).then(|| found.join(" "))
}
