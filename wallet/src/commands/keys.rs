//! `x0 keys`: make, import, list, export and delete keys.

use std::{io::IsTerminal, path::Path};

use serde::Serialize;
use x0_client::text::account_text;
use x0_crypto::{
    Seed,
    keystore::{self, KdfParams, KeystoreFile},
    mnemonic,
};
use zeroize::Zeroizing;

use crate::{
    cli::{Keys, Role},
    context::{Context, blocking},
    error::{Result, WalletError},
    home::{Home, KeyEntry, check_name, read_text},
};

/// Longest phrase file that is read, bytes.
const PHRASE_FILE_BYTES_MAX: u64 = 1_024;

/// A new key with its phrase: printed once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewKey<'a> {
    #[serde(flatten)]
    key: &'a KeyEntry,
    phrase: &'a str,
}

/// Runs the command.
///
/// # Errors
/// [`WalletError`].
pub async fn run(context: &Context, command: Keys) -> Result<()> {
    match command {
        Keys::New { name, role } => new(context, &name, role).await,
        Keys::Import { name, file: Some(file), .. } => import_file(context, &name, &file),
        Keys::Import { name, role, phrase_file, file: None } => {
            import_phrase(context, &name, role, phrase_file.as_deref()).await
        }
        Keys::List => list(context),
        Keys::Bind { name } => bind(context, &name).await,
        Keys::Export { name, out: Some(out), .. } => export_file(context, &name, &out),
        Keys::Export { name, out: None, .. } => export_phrase(context, &name).await,
        Keys::Delete { name } => delete(context, &name),
    }
}

async fn new(context: &Context, name: &str, role: Role) -> Result<()> {
    require_free(context, name)?;
    let seed = Seed::generate()?;
    let phrase = mnemonic::seed_to_phrase(&seed)?;
    let key = store(context, name, role, seed).await?;
    context.say("Write these 24 words down and keep them off this machine. Whoever has them has the key;");
    context.say("without them and without this machine the key is lost. They are not shown again unless you ask.");
    context
        .answer(&NewKey { key: &key, phrase: &phrase }, |new| format!("{}\n\n{}", line(new.key), numbered(new.phrase)))
}

async fn import_phrase(context: &Context, name: &str, role: Role, file: Option<&Path>) -> Result<()> {
    require_free(context, name)?;
    let phrase = Zeroizing::new(match file {
        Some(path) => read_text(path, PHRASE_FILE_BYTES_MAX)?,
        None if std::io::stdin().is_terminal() => {
            rpassword::prompt_password("The 24 words of the backup phrase (not shown): ")
                .map_err(WalletError::Output)?
        }
        None => {
            return Err(WalletError::Usage(
                "the backup phrase is read from the terminal, or from --phrase-file".into(),
            ));
        }
    });
    let seed = mnemonic::phrase_to_seed(&words(&phrase))?;
    let key = store(context, name, role, seed).await?;
    context.answer(&key, line)
}

fn import_file(context: &Context, name: &str, file: &Path) -> Result<()> {
    require_free(context, name)?;
    let keystore =
        KeystoreFile::read(file).map_err(|source| WalletError::Keystore { name: name.to_owned(), source })?;
    let account = Home::account_beside(file)?;
    context.home.store(name, &keystore)?;
    if let Some(account) = account {
        context.home.bind(name, &account)?;
    }
    context.answer(&context.home.key(name)?, line)
}

async fn bind(context: &Context, name: &str) -> Result<()> {
    let key = context.home.key(name)?;
    let (network, client) = context.connect().await?;
    let account = client.signs_for(&key.public).await?;
    match &account {
        Some(account) if *account != key.account => context.home.bind(name, account)?,
        Some(_) => context.say("nothing to do: this is known here"),
        None => context.say(&format!("network {network} names no account for this key: it signs for its own")),
    }
    context.answer(&context.home.key(name)?, line)
}

async fn store(context: &Context, name: &str, role: Role, seed: Seed) -> Result<KeyEntry> {
    let password = context.passwords.fresh(name)?;
    let role = role_text(role);
    let sealed = blocking(move || keystore::seal(&seed, &password, role, &KdfParams::default())).await?;
    let file = sealed.map_err(|source| WalletError::Keystore { name: name.to_owned(), source })?;
    context.home.store(name, &file)?;
    context.home.key(name)
}

/// Refuses before any work when the name is taken; the file itself is created exclusively later.
fn require_free(context: &Context, name: &str) -> Result<()> {
    check_name("key", name)?;
    let path = context.home.key_file(name)?;
    if path.symlink_metadata().is_ok() {
        return Err(WalletError::Keystore { name: name.to_owned(), source: keystore::KeystoreError::Exists { path } });
    }
    Ok(())
}

/// An entry of the list.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    Key(KeyEntry),
    Damaged { name: String, error: String },
}

/// Lists what can be read and names what cannot: one damaged file hides no other key.
fn list(context: &Context) -> Result<()> {
    let mut damaged = Vec::new();
    let mut keys = Vec::new();
    for name in context.home.key_names()? {
        keys.push(context.home.key(&name).map_or_else(
            |error| {
                damaged.push(error.to_string());
                Listed::Damaged { name: name.clone(), error: error.to_string() }
            },
            Listed::Key,
        ));
    }
    context.answer(&keys, |keys| {
        if keys.is_empty() {
            return "no keys; `x0 keys new NAME` makes one".to_owned();
        }
        let lines = keys.iter().map(|key| match key {
            Listed::Key(key) => line(key),
            Listed::Damaged { name, .. } => format!("{name:<16} cannot be read"),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    if damaged.is_empty() { Ok(()) } else { Err(WalletError::Damaged(damaged)) }
}

fn export_file(context: &Context, name: &str, out: &Path) -> Result<()> {
    let keystore = context.home.keystore(name)?;
    let key = context.home.key(name)?;
    if key.rotated {
        Home::write_account_beside(out, &key.account)?;
    }
    keystore.write_new(out).map_err(|source| WalletError::Keystore { name: name.to_owned(), source })?;
    context
        .answer(&serde_json::json!({ "name": name, "file": out }), |_| format!("written, encrypted: {}", out.display()))
}

async fn export_phrase(context: &Context, name: &str) -> Result<()> {
    let chosen = context.choose(name)?;
    if chosen.is_development() {
        return Err(WalletError::Usage("everybody can derive development keys: there is nothing to back up".into()));
    }
    context.confirm(&format!("Show the backup phrase of `{name}` on this screen?"))?;
    let seed = context.unlock(&chosen).await?;
    let phrase = mnemonic::seed_to_phrase(&seed)?;
    context.answer(&serde_json::json!({ "name": name, "phrase": *phrase }), |_| numbered(&phrase))
}

fn delete(context: &Context, name: &str) -> Result<()> {
    let key = context.home.key(name)?;
    context.confirm(&format!(
        "Delete `{name}` ({}) from this machine? Without its backup phrase it is gone for ever.",
        account_text(&key.account)
    ))?;
    context.home.remove(name)?;
    context.answer(&serde_json::json!({ "deleted": name }), |_| format!("deleted {name}"))
}

/// A key in one line.
fn line(key: &KeyEntry) -> String {
    let rotated = if key.rotated { "  (took the place of an earlier key)" } else { "" };
    format!("{:<16} {:<10} {}{rotated}", key.name, key.role, account_text(&key.account))
}

/// The words of a phrase without the numbers that [`numbered`] puts before them.
fn words(text: &str) -> Zeroizing<String> {
    let is_number = |word: &&str| word.trim_end_matches('.').chars().all(|digit| digit.is_ascii_digit());
    Zeroizing::new(text.split_whitespace().filter(|word| !is_number(word)).collect::<Vec<_>>().join(" "))
}

/// The words of a phrase, numbered, six to a line.
fn numbered(phrase: &str) -> String {
    let words: Vec<_> =
        phrase.split_whitespace().enumerate().map(|(place, word)| format!("{:>2} {word:<10}", place + 1)).collect();
    words.chunks(6).map(|row| row.join(" ").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The role's name in keystore files.
#[must_use]
pub const fn role_text(role: Role) -> &'static str {
    x0_client::rpc_types::did::role_name(key_role(role))
}

/// The role on chain.
#[must_use]
pub const fn key_role(role: Role) -> x0_types::KeyRole {
    use x0_types::KeyRole;
    match role {
        Role::Account => KeyRole::Account,
        Role::Consensus => KeyRole::Consensus,
        Role::Network => KeyRole::Network,
        Role::Reporter => KeyRole::Reporter,
        Role::Playbook => KeyRole::Playbook,
        Role::Agent => KeyRole::Agent,
        Role::Release => KeyRole::Release,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_prints_in_four_numbered_lines() {
        let phrase = (1..=24).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
        let text = numbered(&phrase);
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains(" 1 word1") && text.ends_with("24 word24"), "{text}");
    }

    #[test]
    fn a_printed_phrase_is_read_back_with_its_numbers() {
        let phrase = mnemonic::seed_to_phrase(&Seed::from_bytes([7; 32])).unwrap();
        assert_eq!(words(&numbered(&phrase)), phrase);
        assert_eq!(words(&phrase), phrase);
        assert_eq!(*words("1. wagon\n2. album"), "wagon album");
    }
}
