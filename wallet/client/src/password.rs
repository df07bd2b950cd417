//! Passwords: from the terminal, a file or a file descriptor. Never from the command line and never
//! from the environment, where other processes can read them.

use std::{
    fs::File,
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use x0_crypto::keystore::{KeystoreError, Password};
use zeroize::Zeroizing;

/// Why a password is not accepted or cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short for a new key.
    #[error("a password for a new key has at least {} characters", x0_limits::PASSWORD_CHARS_MIN)]
    TooShort,
    /// The two entries differ.
    #[error("the two passwords differ")]
    Differ,
    /// Empty or too long.
    #[error(transparent)]
    Length(KeystoreError),
    /// There is nobody to ask.
    #[error("a password is needed: run this on a terminal, or pass --password-file or --password-fd ({0})")]
    NoSource(String),
    /// The file or descriptor cannot be read.
    #[error("reading the password from {from}: {reason}")]
    Unreadable {
        /// The file or descriptor.
        from: String,
        /// What is wrong.
        reason: String,
    },
}

/// Longest password source that is read, bytes: a file that was named by mistake ends here.
const SOURCE_BYTES_MAX: usize = 4_096;

/// Where passwords come from.
#[derive(Clone, Debug, Default)]
pub struct PasswordSource {
    /// The first line of this file.
    pub file: Option<PathBuf>,
    /// The first line of this open file descriptor.
    pub descriptor: Option<u32>,
}

impl PasswordSource {
    /// The password of an existing key.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn existing(&self, key: &str) -> Result<Password, PasswordError> {
        let text = match self.read()? {
            Some(text) => text,
            None => ask(&format!("Password of key `{key}`: "))?,
        };
        Password::new(text).map_err(PasswordError::Length)
    }

    /// A password for a new key: long enough, and typed twice when it is typed.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn fresh(&self, key: &str) -> Result<Password, PasswordError> {
        let text = match self.read()? {
            Some(text) => text,
            None => {
                let first = ask(&format!("New password for key `{key}`: "))?;
                if ask("The same again: ")? != first {
                    return Err(PasswordError::Differ);
                }
                first
            }
        };
        if text.chars().count() < x0_limits::PASSWORD_CHARS_MIN {
            return Err(PasswordError::TooShort);
        }
        Password::new(text).map_err(PasswordError::Length)
    }

    fn read(&self) -> Result<Option<String>, PasswordError> {
        if let Some(path) = &self.file {
            return first_line(path, &path.display().to_string()).map(Some);
        }
        if let Some(descriptor) = self.descriptor {
            let path = PathBuf::from(format!("/dev/fd/{descriptor}"));
            return first_line(&path, &format!("file descriptor {descriptor}")).map(Some);
        }
        Ok(None)
    }
}

fn first_line(path: &Path, from: &str) -> Result<String, PasswordError> {
    let unreadable = |reason: String| PasswordError::Unreadable { from: from.to_owned(), reason };
    // The whole of what is read is cleared; growing is avoided, because it would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SOURCE_BYTES_MAX));
    File::open(path)
        .and_then(|file| file.take(SOURCE_BYTES_MAX as u64).read_to_string(&mut text))
        .map_err(|error| unreadable(error.to_string()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(unreadable("its first line is empty".into())),
    }
}

/// Asks on the terminal without echo.
fn ask(prompt: &str) -> Result<String, PasswordError> {
    if !std::io::stdin().is_terminal() {
        return Err(PasswordError::NoSource("standard input is not a terminal".into()));
    }
    rpassword::prompt_password(prompt).map_err(|error| PasswordError::NoSource(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &str) -> (tempfile::TempDir, PasswordSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, content).unwrap();
        (dir, PasswordSource { file: Some(path), descriptor: None })
    }

    #[test]
    fn the_first_line_of_the_file_counts() {
        let (_dir, source) = source("correct horse\nsecond line\n");
        source.fresh("k").unwrap();
        assert_eq!(source.read().unwrap().unwrap(), "correct horse");
    }

    #[test]
    fn short_and_missing_passwords_are_refused() {
        assert!(source("short\n").1.fresh("k").is_err());
        let (_dir, empty) = source("\nsecret in the second line\n");
        assert!(empty.existing("k").is_err());
        let missing = PasswordSource { file: Some("/nonexistent/password".into()), descriptor: None };
        assert!(missing.existing("k").unwrap_err().to_string().contains("/nonexistent/password"));
    }
}
