//! The agent's key: made once, opened at each start, proved to the account that registers it.

use std::path::Path;

use serde::Serialize;
use x0_client::{
    Client, account_of,
    proof::KeyProofFile,
    rpc_types::did::Did,
    text::{account_text, hex_text, parse_account, parse_hash},
};
use x0_crypto::{
    Seed, SigningKey,
    keystore::{self, KdfParams, KeystoreFile, Password},
};
use x0_types::{AccountId, Hash, KeyRole};

use crate::{
    cli::{Init, PasswordArgs},
    config::Config,
    error::{AgentError, Result},
};

/// The role of an agent's key in keystore files.
const ROLE: &str = "agent";

/// What `x0-agent init` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    /// The node's account, which is its id in the mesh.
    node: AccountId,
    /// Its identity; absent when no node was asked for the network's name.
    did: Option<String>,
    fingerprint: String,
    /// Whether the key is new.
    new_key: bool,
    keystore: String,
    proof: String,
    controller: AccountId,
    endpoint: Option<String>,
    expires_at_ms: u64,
    /// What to do next.
    next: String,
}

/// Makes the key unless there is one, and writes a proof of its possession.
///
/// # Errors
/// [`AgentError`] of the step that failed; a key that was made stays.
pub async fn init(config: &Config, options: &Init) -> Result<()> {
    let controller = parse_account(&options.controller)?;
    let (genesis, network) = chain(config, options.genesis.as_deref()).await?;
    let new_key = !config.identity.keystore.exists();
    let key = if new_key { make(config, &options.password).await? } else { open(config, &options.password).await? };
    let node = account_of(key.public());
    let listen = config.listen.address;
    let reachable = listen.port() != 0 && !listen.ip().is_unspecified();
    let endpoint = options.endpoint.or_else(|| reachable.then_some(listen)).map(|address| address.to_string());
    let proof_path = options
        .proof
        .clone()
        .unwrap_or_else(|| options.file.config.parent().unwrap_or_else(|| Path::new(".")).join("proof.json"));
    let expires_at_ms = now_ms().saturating_add(options.minutes.saturating_mul(60_000));
    let (subject, manager) = (node.clone(), controller.clone());
    let fingerprint = hex_text(key.public().fingerprint());
    let mut proof =
        blocking(move || KeyProofFile::create(&key, genesis, KeyRole::Agent, &subject, &manager, expires_at_ms))
            .await??;
    proof.endpoint.clone_from(&endpoint);
    write_proof(&proof_path, &proof)?;
    let made = Made {
        did: network.map(|network| Did::new(network, node.clone()).to_string()),
        fingerprint,
        new_key,
        keystore: config.identity.keystore.display().to_string(),
        proof: proof_path.display().to_string(),
        next: format!(
            "as {}: x0 did register-agent --proof {}{}",
            account_text(&controller),
            proof_path.display(),
            if endpoint.is_none() { " --endpoint IP:PORT" } else { "" }
        ),
        node,
        controller,
        endpoint,
        expires_at_ms,
    };
    crate::print(&format!("{}\n", serde_json::to_string_pretty(&made).map_err(|error| system("printing", &error))?))
}

/// The chain's first block, and the network's name when a node was asked.
async fn chain(config: &Config, given: Option<&str>) -> Result<(Hash, Option<String>)> {
    let endpoint = config.endpoint()?;
    if let Some(text) = given {
        return Ok((parse_hash("--genesis", text)?, None));
    }
    if let Some(genesis) = endpoint.genesis {
        return Ok((genesis, None));
    }
    let client = Client::connect(&endpoint).await?;
    Ok((client.genesis_hash(), Some(client.network_name().await?)))
}

async fn make(config: &Config, arguments: &PasswordArgs) -> Result<SigningKey> {
    let path = config.identity.keystore.clone();
    let password = config.password(arguments).fresh(ROLE)?;
    let made = blocking(move || {
        let seed = Seed::generate()?;
        let file = keystore::seal(&seed, &password, ROLE, &KdfParams::default())?;
        file.write_new(&path)?;
        Ok(SigningKey::from_seed(&seed)?)
    });
    made.await?.map_err(|source| AgentError::Keystore { path: config.identity.keystore.clone(), source })
}

/// Opens the agent's key.
///
/// # Errors
/// [`AgentError::Keystore`], [`AgentError::Role`], [`AgentError::Password`].
pub async fn open(config: &Config, arguments: &PasswordArgs) -> Result<SigningKey> {
    let path = &config.identity.keystore;
    let keystore_error = |source| AgentError::Keystore { path: path.clone(), source };
    let file = KeystoreFile::read(path).map_err(keystore_error)?;
    if file.role() != ROLE {
        return Err(AgentError::Role { path: path.clone(), found: file.role().to_owned() });
    }
    let password: Password = config.password(arguments).existing(ROLE)?;
    let opened =
        blocking(move || keystore::open(&file, &password).and_then(|seed| Ok(SigningKey::from_seed(&seed)?))).await?;
    opened.map_err(keystore_error)
}

/// Replaces the proof file whole: an older proof is of no more use.
fn write_proof(path: &Path, proof: &KeyProofFile) -> Result<()> {
    let file = |error: std::io::Error| AgentError::File { path: path.to_owned(), reason: error.to_string() };
    let text = serde_json::to_string_pretty(proof).map_err(|error| file(error.into()))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, text + "\n").and_then(|()| std::fs::rename(&temporary, path)).map_err(|error| {
        // What is left is only our own half-written file.
        let _ = std::fs::remove_file(&temporary);
        file(error)
    })
}

/// Runs something slow off the async threads.
///
/// # Errors
/// [`AgentError::System`] when it panicked.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    tokio::task::spawn_blocking(work).await.map_err(|error| system("a thread", &error))
}

/// An error of the operating system.
pub fn system(what: &'static str, reason: &dyn std::fmt::Display) -> AgentError {
    AgentError::System { what, reason: reason.to_string() }
}

/// This machine's clock, milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    x0_agent_io::SystemClock::start().now().unix_ms
}
