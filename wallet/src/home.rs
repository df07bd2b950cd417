//! The wallet's directory: key files and the table of networks.
//!
//! ```text
//!   <home>/networks.toml          named networks and the default one
//!   <home>/trust/<genesis>.trust  from where on a chain is verified (`x0 verify`), mode 0600
//!   <home>/keys/<name>.json       encrypted keystore files, mode 0600
//!   <home>/keys/<name>.account    only for a rotated key: the account that it signs for; copies of
//!                                 keystore files have it beside them as well
//! ```

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use x0_client::{account_of, text};
use x0_crypto::{PublicKey, keystore::KeystoreFile};
use x0_types::AccountId;

use crate::error::{Result, WalletError};

/// Longest name of a key or network, characters.
const NAME_CHARS_MAX: usize = 32;
/// Longest file of settings that is read, bytes.
const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The wallet's directory.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// A key as its file describes it, without its secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyEntry {
    /// Its name here.
    pub name: String,
    /// What it may be used for.
    pub role: String,
    /// The account that it signs for.
    pub account: AccountId,
    /// Whether it took the place of an earlier key of that account.
    pub rotated: bool,
    /// BLAKE2b-256 of the public key.
    pub fingerprint: String,
    /// The public key itself.
    #[serde(skip)]
    pub public: PublicKey,
}

impl Home {
    /// The directory given, or `$X0_HOME`, or `x0` in the user's configuration directory.
    ///
    /// # Errors
    /// [`WalletError::Usage`] when nothing says where the user's files are.
    pub fn find(given: Option<PathBuf>) -> Result<Self> {
        let root = match given {
            Some(root) => root,
            None => std::env::var_os("XDG_CONFIG_HOME")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
                .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
                .ok_or_else(|| WalletError::Usage("neither --home, X0_HOME nor HOME says where keys are".into()))?
                .join("x0"),
        };
        Ok(Self { root })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file with the networks.
    #[must_use]
    pub fn networks_file(&self) -> PathBuf {
        self.root.join("networks.toml")
    }

    fn keys_dir(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The keystore file of a key.
    ///
    /// # Errors
    /// [`WalletError::Usage`] for a name that is none.
    pub fn key_file(&self, name: &str) -> Result<PathBuf> {
        check_name("key", name)?;
        Ok(self.keys_dir().join(format!("{name}.json")))
    }

    fn account_file(&self, name: &str) -> PathBuf {
        self.keys_dir().join(format!("{name}.account"))
    }

    /// Makes the directories, readable by their owner only.
    ///
    /// # Errors
    /// [`WalletError::File`].
    pub fn prepare(&self) -> Result<()> {
        let keys = self.keys_dir();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&keys).map_err(|error| file_error(&keys, &error))
    }

    /// Stores a new key.
    ///
    /// # Errors
    /// [`WalletError::Keystore`] when the name is taken, [`WalletError::File`].
    pub fn store(&self, name: &str, file: &KeystoreFile) -> Result<()> {
        let path = self.key_file(name)?;
        self.prepare()?;
        file.write_new(&path).map_err(|source| WalletError::Keystore { name: name.to_owned(), source })
    }

    /// Writes down that a key signs for an account other than its own.
    ///
    /// # Errors
    /// [`WalletError::File`].
    pub fn bind(&self, name: &str, account: &AccountId) -> Result<()> {
        check_name("key", name)?;
        write_file(&self.account_file(name), text::account_text(account).as_bytes(), 0o600)
    }

    /// The account that the file beside a keystore file names, if there is one.
    ///
    /// # Errors
    /// [`WalletError::File`], [`WalletError::Client`] when it names none.
    pub fn account_beside(keystore: &Path) -> Result<Option<AccountId>> {
        let path = keystore.with_extension("account");
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(text::parse_account(read_text(&path, SMALL_FILE_BYTES_MAX)?.trim())?))
    }

    /// Writes the account of a rotated key beside a copy of its keystore file.
    ///
    /// # Errors
    /// [`WalletError::File`], also when there is a file of this name.
    pub fn write_account_beside(keystore: &Path, account: &AccountId) -> Result<()> {
        let path = keystore.with_extension("account");
        if path.symlink_metadata().is_ok() {
            return Err(WalletError::File { path, reason: "it exists already and is not overwritten".into() });
        }
        write_file(&path, text::account_text(account).as_bytes(), 0o600)
    }

    /// Removes a key's files.
    ///
    /// # Errors
    /// [`WalletError::NoKey`], [`WalletError::File`].
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.key_file(name)?;
        if !path.exists() {
            return Err(self.no_key(name));
        }
        fs::remove_file(&path).map_err(|error| file_error(&path, &error))?;
        let account = self.account_file(name);
        if account.exists() {
            fs::remove_file(&account).map_err(|error| file_error(&account, &error))?;
        }
        Ok(())
    }

    /// The keystore file of a key, read but not opened.
    ///
    /// # Errors
    /// [`WalletError::NoKey`], [`WalletError::Keystore`].
    pub fn keystore(&self, name: &str) -> Result<KeystoreFile> {
        let path = self.key_file(name)?;
        if !path.exists() {
            return Err(self.no_key(name));
        }
        KeystoreFile::read(&path).map_err(|source| WalletError::Keystore { name: name.to_owned(), source })
    }

    fn no_key(&self, name: &str) -> WalletError {
        WalletError::NoKey { name: name.to_owned(), home: self.root.clone() }
    }

    /// A key's description.
    ///
    /// # Errors
    /// [`WalletError::NoKey`], [`WalletError::Keystore`], [`WalletError::File`].
    pub fn key(&self, name: &str) -> Result<KeyEntry> {
        let file = self.keystore(name)?;
        let public = file.public_key().map_err(|source| WalletError::Keystore { name: name.to_owned(), source })?;
        let account = Self::account_beside(&self.key_file(name)?)?;
        Ok(KeyEntry {
            name: name.to_owned(),
            role: file.role().to_owned(),
            rotated: account.is_some(),
            account: account.unwrap_or_else(|| account_of(&public)),
            fingerprint: text::hex_text(public.fingerprint()),
            public,
        })
    }

    /// Names of all keys, sorted.
    ///
    /// # Errors
    /// [`WalletError::File`].
    pub fn key_names(&self) -> Result<Vec<String>> {
        let dir = self.keys_dir();
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|error| file_error(&dir, &error))? {
            let entry = entry.map_err(|error| file_error(&dir, &error))?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            if check_name("key", name).is_ok() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Checks a name that becomes part of a path.
///
/// # Errors
/// [`WalletError::Usage`].
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(good) || name.starts_with('-') {
        return Err(WalletError::Usage(format!(
            "`{}` is no name of a {what}: 1 to {NAME_CHARS_MAX} of a-z, 0-9, - and _, not starting with -",
            name.chars().take(NAME_CHARS_MAX).collect::<String>()
        )));
    }
    Ok(())
}

/// Turns an error of the file system into the wallet's.
pub fn file_error(path: &Path, error: &std::io::Error) -> WalletError {
    WalletError::File { path: path.to_owned(), reason: error.to_string() }
}

/// Reads a text file with a bound on its size.
///
/// # Errors
/// [`WalletError::File`].
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String> {
    let file = fs::File::open(path).map_err(|error| file_error(path, &error))?;
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(|error| file_error(path, &error))?;
    if text.len() as u64 > bytes_max {
        return Err(WalletError::File {
            path: path.to_owned(),
            reason: format!("it is longer than {bytes_max} bytes"),
        });
    }
    Ok(text)
}

/// Reads a file of the wallet's own that is no text. Its reader checks its size and form.
///
/// # Errors
/// [`WalletError::File`].
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| file_error(path, &error))
}

/// Reads a small file of settings.
///
/// # Errors
/// [`WalletError::File`].
pub fn read_settings(path: &Path) -> Result<String> {
    read_text(path, SMALL_FILE_BYTES_MAX)
}

/// Writes a file completely or not at all: to a new file beside it, synced, then renamed.
///
/// # Errors
/// [`WalletError::File`].
pub fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options
        .open(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // The rename did not happen: what is left is only our own half-written file.
        let _ = fs::remove_file(&temporary);
        file_error(path, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["alice", "a-1_b", "0"] {
            check_name("key", name).unwrap();
        }
        for name in ["", "..", "a/b", "../x", "A", "a.b", "-x", "ä", &"a".repeat(33)] {
            assert!(check_name("key", name).is_err(), "{name}");
        }
    }

    #[test]
    fn files_are_replaced_whole_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_file(&path, b"one", 0o600).unwrap();
        write_file(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert!(read_text(&path, 4).is_err());
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
    }
}
