//! Two processes with one consensus key: what a stolen key, or a careless operator, does.

use super::Figures;
use crate::{Network, Start, Validator, fabric::address, traffic::Traffic};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How long the proof may take to stand on chain after the twin has started.
const PROOF_MAX: Duration = Duration::from_secs(90);
/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// Number of the twin's namespace.
const TWIN: usize = 4;
/// Number of the validator whose key it has.
const ORIGINAL: usize = 3;

/// What a long run has seen, as its file keeps it.
#[derive(Default, Serialize, Deserialize)]
struct Seen {
    /// Runs that held every promise.
    runs: u32,
    /// Longest time from the twin's readiness to the proof on chain, seconds.
    proof_max_s: f64,
    /// Sum of these times.
    proof_sum_s: f64,
}

/// So many twins, each in a network of its own, with a seed of its own. With a file, an interrupted run goes on
/// where it ended.
pub async fn twins(count: u32, seed: u64, state: Option<&Path>) -> Result<Figures> {
    let mut seen: Seen = match state.filter(|path| path.exists()) {
        Some(path) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        None => Seen::default(),
    };
    while seen.runs < count {
        let seed = seed.wrapping_add(u64::from(seen.runs));
        let figures = twin(seed).await.with_context(|| format!("twin with seed {seed}"))?;
        let took = figures.get("proof_on_chain_s").copied().unwrap_or_default();
        seen.runs += 1;
        seen.proof_max_s = seen.proof_max_s.max(took);
        seen.proof_sum_s += took;
        if let Some(path) = state {
            std::fs::write(path, serde_json::to_string(&seen)?)?;
        }
    }
    Ok(Figures::from([
        ("twins", f64::from(seen.runs)),
        ("proof_on_chain_max_s", seen.proof_max_s),
        ("proof_on_chain_mean_s", seen.proof_sum_s / f64::from(seen.runs.max(1))),
    ]))
}

/// A twin of validator 4 signs with the same key and no record of what the other one signed. The proof comes on
/// chain, the key loses its power, nobody else is blamed, and the three others go on.
pub async fn twin(seed: u64) -> Result<Figures> {
    let mut network = Network::prepare_with(4, 1, seed).await?;
    let home = twin_home(&network)?;
    network.start_all(&Start::default()).await?;
    let traffic = Traffic::start(&network, &[0, 1, 2])?;
    network.wait_progress(&[0, 1, 2, 3], 5, STEP_MAX).await?;
    ensure!(offenders(&network).await?.is_empty(), "somebody is blamed before anything happened");

    let binary = x0_scenario::process::binaries()?.join("x0-node");
    let mut twin = Validator::new(TWIN, home, network.fabric.namespaces[TWIN].clone(), binary).await?;
    twin.start(&Start { arguments: vec!["--listen".into(), format!("{}:30000", address(TWIN))], ..Start::default() })
        .await
        .context("the twin")?;
    let started = Instant::now();
    let proof = loop {
        let found = offenders(&network).await?;
        if let Some(first) = found.first() {
            break first.clone();
        }
        ensure!(
            started.elapsed() < PROOF_MAX,
            "no proof on chain after {PROOF_MAX:?}; twin's log:\n{}",
            twin.log_tail()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let took = started.elapsed();
    twin.kill().await?;
    network.wait_progress(&[0, 1, 2], 5, STEP_MAX).await.context("after the proof")?;
    let found = offenders(&network).await?;
    ensure!(found.iter().all(|offender| *offender == proof), "more than one validator is blamed: {found:?}");
    ensure!(proof == controller(&network, ORIGINAL)?, "{proof} is blamed, who is not the one with two processes");
    let set = validators(&network).await?;
    ensure!(set.len() == 3 && !set.contains(&proof), "the set is {set:?}");
    drop(traffic);
    for number in 0..3 {
        network.collect_signatures(number)?;
    }
    network.stop().await?;
    Ok(Figures::from([("proof_on_chain_s", took.as_secs_f64())]))
}

/// A copy of a validator's directory with another network key, which every validator is told to admit.
fn twin_home(network: &Network) -> Result<PathBuf> {
    let original = &network.validators[ORIGINAL].folder;
    let home = original.with_file_name("twin");
    let copied = Command::new("cp").arg("-r").arg(original).arg(&home).status()?;
    ensure!(copied.success(), "cp -r of {}", original.display());
    let key = home.join("keys/network.json");
    std::fs::remove_file(&key)?;
    let output = Command::new(x0_scenario::process::binaries()?.join("x0-node"))
        .args(["key", "generate", "--role", "network", "--out"])
        .arg(&key)
        .arg("--password-file")
        .arg(home.join("password"))
        .output()?;
    ensure!(output.status.success(), "key generate: {}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout)?;
    let fingerprint = made["fingerprint"].as_str().context("a key has a fingerprint")?;
    for validator in &network.validators {
        edit(&validator.folder, |text| {
            text.replace("[network]\n", &format!("[network]\nadmitted = [\"{fingerprint}\"]\n"))
        })?;
    }
    let peer = summary(network)?["validators"][ORIGINAL]["peer"].as_str().context("a peer")?.to_owned();
    edit(&home, |text| {
        let text = text.replace("reporter = \"keys/reporter.json\"\n", "");
        let (head, tail) = text.split_once("advertise = [").unwrap_or((&text, ""));
        let tail = tail.split_once(']').map_or(tail, |(_, rest)| rest);
        format!("{head}{}", tail.replacen("peers = [", &format!("peers = [\n    \"{peer}\","), 1))
    })?;
    Ok(home)
}

fn edit(folder: &Path, change: impl Fn(&str) -> String) -> Result<()> {
    let path = folder.join("config.toml");
    let text = std::fs::read_to_string(&path)?;
    let changed = change(&text);
    ensure!(changed != text, "{} is not as expected:\n{text}", path.display());
    Ok(std::fs::write(path, changed)?)
}

fn summary(network: &Network) -> Result<Value> {
    let text = std::fs::read_to_string(network.folder().join("net/network.json"))?;
    Ok(serde_json::from_str(&text)?)
}

fn controller(network: &Network, number: usize) -> Result<String> {
    let text = summary(network)?["validators"][number]["controller"].as_str().context("a controller")?.to_owned();
    use sp_core::crypto::Ss58Codec as _;
    let account = x0_types::AccountId::from_ss58check(&text).map_err(|error| anyhow::anyhow!("{text}: {error:?}"))?;
    Ok(hex::encode(AsRef::<[u8]>::as_ref(&account)))
}

/// Accounts, in hex, whose contradictions stand on chain: the keys of `Evidence::Offences`.
async fn offenders(network: &Network) -> Result<Vec<String>> {
    let prefix = hex::encode([sp_io::hashing::twox_128(b"Evidence"), sp_io::hashing::twox_128(b"Offences")].concat());
    let keys: Vec<String> = network
        .rpc(0)
        .await?
        .call("state_getKeysPaged", &[format!("0x{prefix}").into(), 100.into(), Value::Null])
        .await?;
    // `Blake2_128Concat`: 16 bytes of hash, then the account.
    keys.iter().map(|key| Ok(key.get(2 + 64 + 32..).context("a key with an account")?.to_owned())).collect()
}

/// Controllers, in hex, of the validators in force: `Validators::Powers`, a list of account and power.
async fn validators(network: &Network) -> Result<Vec<String>> {
    let key = [sp_io::hashing::twox_128(b"Validators"), sp_io::hashing::twox_128(b"Powers")].concat();
    let bytes = network.rpc(0).await?.storage(&key, None).await?.context("there is a set")?;
    let (count, entries) = bytes.split_first().context("a list")?;
    let entries: Vec<String> = entries.chunks_exact(40).map(|entry| hex::encode(&entry[..32])).collect();
    ensure!(usize::from(*count) == entries.len() * 4, "the list of powers has another shape");
    Ok(entries)
}
