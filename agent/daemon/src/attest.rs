//! What the agent says about its own binary, signed by its key: for `x0 trust attest`.
//!
//! The measurement is the BLAKE2b-256 of the program that runs this command. It says what this machine
//! claims to run; auditors, who can look, give it weight (architecture D9).

use std::path::{Path, PathBuf};

use codec::Encode as _;
use serde::Serialize;
use x0_client::{
    Client, account_of,
    text::{hex_text, parse_account},
};
use x0_crypto::SigningKey;
use x0_types::{AccountId, Hash, trust::AttestationStatement};

use crate::{
    cli::Attest,
    config::Config,
    error::{AgentError, Result},
    identity::{blocking, open, system},
};

/// The kind of an attestation file.
const KIND: &str = "x0-attestation/v1";
/// Most bytes of a TPM quote.
const QUOTE_BYTES_MAX: u64 = 64 * 1024;

/// The file that the wallet hands in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttestationFile {
    kind: &'static str,
    node: AccountId,
    measurement: Hash,
    quote: Option<Hash>,
    slot: u64,
    signature: String,
}

/// Writes an attestation of this binary.
///
/// # Errors
/// [`AgentError`] of the step that failed.
pub async fn run(config: &Config, options: &Attest) -> Result<()> {
    let client = Client::connect(&config.endpoint()?).await?;
    let genesis = client.genesis_hash();
    let slot = client.measurement().await?.current_slot.0;
    let key = open(config, &options.password).await?;
    let node = match options.node.as_deref() {
        Some(text) => parse_account(text)?,
        None => account_of(key.public()),
    };
    let quote = options.quote.clone();
    let file = blocking(move || attest(&key, genesis, node, slot, quote.as_deref())).await??;
    let text = serde_json::to_string_pretty(&file).map_err(|error| system("printing", &error))? + "\n";
    match &options.output {
        Some(path) => std::fs::write(path, text)
            .map_err(|error| AgentError::File { path: path.clone(), reason: error.to_string() }),
        None => crate::print(&text),
    }
}

/// Reads the binary and signs. Blocks on the disk.
fn attest(
    key: &SigningKey,
    genesis: Hash,
    node: AccountId,
    slot: u64,
    quote: Option<&Path>,
) -> Result<AttestationFile> {
    let program = std::env::current_exe().map_err(|error| system("finding this program", &error))?;
    let measurement = hash_of(&program, u64::MAX)?;
    let quote = quote.map(|path| hash_of(path, QUOTE_BYTES_MAX)).transpose()?;
    let statement = AttestationStatement { node, measurement, quote, slot };
    let signature = key.sign_attestation(genesis.as_fixed_bytes(), &statement.encode())?;
    let AttestationStatement { node, measurement, quote, slot } = statement;
    let signature = hex_text(signature.as_bytes());
    Ok(AttestationFile { kind: KIND, node, measurement, quote, slot, signature })
}

/// BLAKE2b-256 of a file of bounded length.
fn hash_of(path: &Path, bytes_max: u64) -> Result<Hash> {
    let failed = |reason: String| AgentError::File { path: PathBuf::from(path), reason };
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > bytes_max {
        return Err(failed(format!("{length} bytes, and at most {bytes_max} are read")));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Ok(Hash::from(x0_crypto::blake2b_256(&bytes)))
}
