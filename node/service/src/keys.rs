//! The node's keys: well-known ones on development chains, encrypted keystore files elsewhere.

use crate::{
    cli::KeyCommand,
    config::Config,
    exit::{Exit, Failure},
    password::Source,
};
use codec::Encode as _;
use core::str::FromStr as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use x0_crypto::{
    PublicKey, Seed, SigningKey, dev,
    keystore::{self, KdfParams, KeystoreFile},
};
use x0_rpc_types::{
    HexBytes,
    bytes::to_hex,
    did::{Multikey, role_name},
};
use x0_types::{AccountId, KeyRole, account::account_id, key::PossessionStatement};

/// Name of the validator of development chains.
pub const DEV_VALIDATOR: &str = "validator-1";

/// The keys of a running node.
#[derive(Clone)]
pub struct NodeKeys {
    /// Signs votes and proposals; a node without it only follows.
    pub consensus: Option<SigningKey>,
    /// Shown on links: the native RPC listener, probes.
    pub network: SigningKey,
    /// Signs measurement reports.
    pub reporter: Option<SigningKey>,
}

impl NodeKeys {
    /// The well-known keys of the development chain's validator.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn development() -> Result<Self, Failure> {
        let key =
            |role| SigningKey::from_seed(&dev::seed(DEV_VALIDATOR, role_name(role))).map_err(Failure::configuration);
        Ok(Self {
            consensus: Some(key(KeyRole::Consensus)?),
            network: key(KeyRole::Network)?,
            reporter: Some(key(KeyRole::Reporter)?),
        })
    }

    /// Opens the keystore files. Files that the settings do not name and that are not there leave their role empty; the network key
    /// is then a fresh one that lives as long as the process.
    ///
    /// # Errors
    /// One line that names the file: not a keystore, another role, wrong password.
    pub fn open(config: &Config, base: &Path) -> Result<Self, Failure> {
        let section = &config.file.keys;
        let source = Source { file: section.password_file.clone(), fd: config.password_fd };
        let wanted = [
            (KeyRole::Consensus, section.consensus(base), section.consensus.is_some()),
            (KeyRole::Network, section.network(base), section.network.is_some()),
            (KeyRole::Reporter, section.reporter(base), section.reporter.is_some()),
        ];
        let mut present: Vec<(KeyRole, PathBuf)> = Vec::new();
        for (role, path, named) in wanted {
            if is_there(&path)? {
                present.push((role, path));
            } else if named {
                // A validator that loses a file must not turn into a node that only follows.
                let reason = format!("keys.{}: there is no {}", role_name(role), path.display());
                return Err(Failure::configuration(reason));
            }
        }
        let mut opened = Vec::new();
        if !present.is_empty() {
            let password = source.read("for the node's keystore files", false)?;
            for (role, path) in present {
                opened.push((role, open_file(&path, role, &password)?));
            }
        }
        let mut take =
            |role| opened.iter().position(|(found, _)| *found == role).map(|place| opened.swap_remove(place).1);
        let (consensus, reporter) = (take(KeyRole::Consensus), take(KeyRole::Reporter));
        let network = match take(KeyRole::Network) {
            Some(key) => key,
            None => SigningKey::generate().map_err(Failure::configuration)?,
        };
        Ok(Self { consensus, network, reporter })
    }
}

/// Whether there is something of this name. A file that cannot be looked at is an error: taken for absent,
/// a validator with a wrong owner of its key directory would run without its keys.
///
/// # Errors
/// One line that names the file.
pub fn is_there(path: &Path) -> Result<bool, Failure> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(Failure::configuration(format!("cannot look at {}: {cause}", path.display()))),
    }
}

/// Opens one keystore file and checks that it is for the role.
///
/// # Errors
/// One line that names the file.
pub fn open_file(path: &Path, role: KeyRole, password: &keystore::Password) -> Result<SigningKey, Failure> {
    let named =
        |cause: &dyn core::fmt::Display| Failure::configuration(format!("keystore {}: {cause}", path.display()));
    let file = KeystoreFile::read(path).map_err(|cause| named(&cause))?;
    if file.role() != role_name(role) {
        return Err(named(&format!(
            "holds a key for the role '{}', not '{}' (one key, one role)",
            file.role(),
            role_name(role)
        )));
    }
    let seed = keystore::open(&file, password).map_err(|cause| named(&cause))?;
    SigningKey::from_seed(&seed).map_err(|cause| named(&cause))
}

/// Runs a `key` subcommand; the answer is JSON on standard output.
///
/// # Errors
/// One line.
pub fn run(command: KeyCommand) -> Result<serde_json::Value, Failure> {
    match command {
        KeyCommand::Generate { role, out, password } => {
            let role = parse_role(&role).map_err(|failure| Failure::new(Exit::Usage, failure.reason))?;
            let password = Source::from(password).read_new("for the new keystore file")?;
            let key = generate(role, &out, &password, &KdfParams::default())?;
            Ok(public_json(role, key.public(), &out))
        }
        KeyCommand::Inspect { file } => {
            let store = KeystoreFile::read(&file).map_err(Failure::configuration)?;
            let role = parse_role(store.role())?;
            let public = store.public_key().map_err(Failure::configuration)?;
            Ok(public_json(role, &public, &file))
        }
        KeyCommand::ProofOfPossession { file, genesis, controller, subject, life_s, password } => {
            prove(&file, &genesis, &controller, subject.as_deref(), life_s, &password.into())
        }
    }
}

/// Makes a key and writes it to a new keystore file.
///
/// # Errors
/// When there is a file of this name, or it cannot be written.
pub fn generate(
    role: KeyRole,
    out: &Path,
    password: &keystore::Password,
    params: &KdfParams,
) -> Result<SigningKey, Failure> {
    let seed = Seed::generate().map_err(Failure::configuration)?;
    let file = keystore::seal(&seed, password, role_name(role), params).map_err(Failure::configuration)?;
    file.write_new(out).map_err(Failure::configuration)?;
    SigningKey::from_seed(&seed).map_err(Failure::configuration)
}

/// A role by its name.
///
/// # Errors
/// One line with the names that there are.
pub fn parse_role(name: &str) -> Result<KeyRole, Failure> {
    serde_json::from_value(json!(name)).map_err(|_| {
        Failure::configuration(format!(
            "'{name}' is no role: account, consensus, network, reporter, playbook, agent or release"
        ))
    })
}

/// A key's public part.
pub fn public_json(role: KeyRole, public: &PublicKey, file: &Path) -> serde_json::Value {
    let key = Multikey::MlDsa65(Box::new(*public.as_bytes()));
    json!({
        "role": role_name(role),
        "file": file,
        "fingerprint": to_hex(&public.fingerprint()),
        "account": account_id(public.as_bytes()),
        "publicKeyMultibase": key.to_text(),
        "public": to_hex(public.as_bytes()),
    })
}

/// Signs a proof of possession.
///
/// # Errors
/// One line.
pub fn prove(
    file: &Path,
    genesis: &str,
    controller: &str,
    subject: Option<&str>,
    life_s: u64,
    source: &Source,
) -> Result<serde_json::Value, Failure> {
    let account = |text: &str| {
        AccountId::from_str(text)
            .map_err(|cause| Failure::configuration(format!("'{text}' is no ss58 account: {cause}")))
    };
    let controller = account(controller)?;
    let subject = subject.map_or_else(|| Ok(controller.clone()), account)?;
    let genesis: [u8; 32] = HexBytes::parse(genesis)
        .ok()
        .and_then(|bytes| bytes.0.as_slice().try_into().ok())
        .ok_or_else(|| Failure::configuration("--genesis: expected 0x and 64 hex digits"))?;
    let life_ms = life_s.saturating_mul(1_000);
    if life_ms > x0_limits::POSSESSION_LIFE_MS_MAX {
        let most = x0_limits::POSSESSION_LIFE_MS_MAX / 1_000;
        return Err(Failure::configuration(format!("--life-s: a proof lives at most {most} s, not {life_s} s")));
    }
    let store = KeystoreFile::read(file).map_err(Failure::configuration)?;
    let role = parse_role(store.role())?;
    let password = source.read("of the keystore file", false)?;
    let seed = keystore::open(&store, &password)
        .map_err(|cause| Failure::configuration(format!("keystore {}: {cause}", file.display())))?;
    let key = SigningKey::from_seed(&seed).map_err(Failure::configuration)?;
    let expires_at_ms = now_ms()?.saturating_add(life_ms);
    let statement =
        PossessionStatement { role, subject: subject.clone(), controller: controller.clone(), expires_at_ms };
    let signature = key.sign_possession(&genesis, &statement.encode()).map_err(Failure::configuration)?;
    Ok(json!({
        "role": role_name(role),
        "subject": subject,
        "controller": controller,
        "public": to_hex(key.public().as_bytes()),
        "expiresAtMs": expires_at_ms,
        "signature": to_hex(signature.as_bytes()),
    }))
}

/// The clock, milliseconds since the Unix epoch.
fn now_ms() -> Result<u64, Failure> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| Failure::configuration("the clock stands before 1970"))?;
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::PasswordArgs;

    fn password_file(directory: &Path, text: &str) -> PasswordArgs {
        let path = directory.join(format!("password-{text}"));
        std::fs::write(&path, text).unwrap();
        PasswordArgs { password_file: Some(path), password_fd: None }
    }

    #[test]
    fn a_generated_key_proves_its_possession() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("reporter.json");
        let made = run(KeyCommand::Generate {
            role: "reporter".into(),
            out: out.clone(),
            password: password_file(directory.path(), "right one"),
        })
        .unwrap();
        assert_eq!(run(KeyCommand::Inspect { file: out.clone() }).unwrap(), made);
        let controller = AccountId::new([9; 32]);
        let prove = |password: &str, life_s| {
            run(KeyCommand::ProofOfPossession {
                file: out.clone(),
                genesis: to_hex(&[7; 32]),
                controller: controller.to_string(),
                subject: None,
                life_s,
                password: password_file(directory.path(), password),
            })
        };
        let proof = prove("right one", 60).unwrap();
        let bytes = |name: &str| HexBytes::parse(proof[name].as_str().unwrap()).unwrap().0;
        let statement = PossessionStatement {
            role: KeyRole::Reporter,
            subject: controller.clone(),
            controller: controller.clone(),
            expires_at_ms: proof["expiresAtMs"].as_u64().unwrap(),
        };
        let public: [u8; 1952] = bytes("public").try_into().unwrap();
        let signature: [u8; 3309] = bytes("signature").try_into().unwrap();
        assert!(x0_crypto::verify_possession(&public, &[7; 32], &statement.encode(), &signature));
        assert!(prove("wrong", 60).unwrap_err().reason.contains("password"));
        assert!(prove("right one", 1_000_000).unwrap_err().reason.contains("at most"));
    }

    #[test]
    fn a_key_never_takes_another_role() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("key.json");
        let password = password_file(directory.path(), "right one");
        run(KeyCommand::Generate { role: "network".into(), out: out.clone(), password }).unwrap();
        let password = keystore::Password::new("right one").unwrap();
        let refused = open_file(&out, KeyRole::Consensus, &password).unwrap_err();
        assert!(refused.reason.contains("'network', not 'consensus'"), "{}", refused.reason);
        assert!(open_file(&out, KeyRole::Network, &password).is_ok());
        let boss = run(KeyCommand::Generate { role: "boss".into(), out, password: PasswordArgs::default() });
        assert_eq!(boss.unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn new_keys_have_no_short_password() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("key.json");
        let password = password_file(directory.path(), "seven77");
        let refused = run(KeyCommand::Generate { role: "network".into(), out: out.clone(), password }).unwrap_err();
        assert!(refused.reason.contains("at least 8"), "{}", refused.reason);
        assert!(!out.exists());
    }

    #[test]
    fn key_files_that_cannot_be_looked_at_are_not_absent() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_there(&directory.path().join("key.json")).unwrap());
        // A name under a file can never be looked at, whoever asks.
        std::fs::write(directory.path().join("keys"), "").unwrap();
        let refused = is_there(&directory.path().join("keys/key.json")).unwrap_err();
        assert!(refused.reason.contains("keys/key.json"), "{}", refused.reason);
        // Nor does a link to nowhere count as absent.
        let link = directory.path().join("link.json");
        std::os::unix::fs::symlink("/nonexistent", &link).unwrap();
        assert!(is_there(&link).unwrap());
    }
}
