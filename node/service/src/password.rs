//! Passwords: from a file, an open descriptor, or the terminal; never from the command line.

use crate::{cli::PasswordArgs, exit::Failure};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, IsTerminal as _, Read},
    path::Path,
};
use x0_crypto::keystore::Password;
use x0_limits::{KEYSTORE_PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};

/// Where a password comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// First line of a file.
    pub file: Option<std::path::PathBuf>,
    /// First line from an open descriptor.
    pub fd: Option<i32>,
}

impl Source {
    /// Reads the password. `purpose` is shown when it is asked for; `confirm` asks twice.
    ///
    /// # Errors
    /// When the source cannot be read, the password is empty or too long, or there is no terminal.
    pub fn read(&self, purpose: &str, confirm: bool) -> Result<Password, Failure> {
        match (&self.file, self.fd) {
            (Some(path), _) => first_line(open(path)?, &path.display().to_string()),
            (None, Some(fd)) => first_line(descriptor(fd)?, &format!("descriptor {fd}")),
            (None, None) => ask(purpose, confirm),
        }
    }
}

impl Source {
    /// Reads a password for new keys, which must not be short.
    ///
    /// # Errors
    /// As [`Source::read`], and when it is short.
    pub fn read_new(&self, purpose: &str) -> Result<Password, Failure> {
        let text = match (&self.file, self.fd) {
            (Some(path), _) => line_of(open(path)?, &path.display().to_string())?,
            (None, Some(fd)) => line_of(descriptor(fd)?, &format!("descriptor {fd}"))?,
            (None, None) => typed(purpose, true)?.into_bytes(),
        };
        let characters = String::from_utf8_lossy(&text).chars().count();
        if characters < PASSWORD_CHARS_MIN {
            let reason = format!("a new key's password has at least {PASSWORD_CHARS_MIN} characters, not {characters}");
            return Err(Failure::configuration(reason));
        }
        Password::new(text).map_err(|cause| Failure::configuration(cause.to_string()))
    }
}

impl From<PasswordArgs> for Source {
    fn from(args: PasswordArgs) -> Self {
        Self { file: args.password_file, fd: args.password_fd }
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path)
        .map_err(|cause| Failure::configuration(format!("cannot read the password file {}: {cause}", path.display())))
}

/// Duplicates an inherited descriptor through `/proc`, so that no foreign descriptor is closed.
fn descriptor(fd: i32) -> Result<File, Failure> {
    File::open(format!("/proc/self/fd/{fd}"))
        .map_err(|cause| Failure::configuration(format!("cannot read the password from descriptor {fd}: {cause}")))
}

/// The first line as a password.
fn first_line(source: impl Read, name: &str) -> Result<Password, Failure> {
    Password::new(line_of(source, name)?)
        .map_err(|cause| Failure::configuration(format!("password from {name}: {cause}")))
}

/// The first line without its line feed.
fn line_of(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    // One byte more than allowed, so that a longer password is an error and not a shorter password.
    let limit = KEYSTORE_PASSWORD_BYTES_MAX as u64 + 2;
    BufReader::new(source.take(limit))
        .read_until(b'\n', &mut line)
        .map_err(|cause| Failure::configuration(format!("cannot read the password from {name}: {cause}")))?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(line)
}

fn ask(purpose: &str, confirm: bool) -> Result<Password, Failure> {
    Password::new(typed(purpose, confirm)?).map_err(|cause| Failure::configuration(cause.to_string()))
}

/// What is typed on the terminal.
fn typed(purpose: &str, confirm: bool) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::configuration(format!(
            "a password is needed {purpose}: pass --password-file or --password-fd (there is no terminal to ask on)"
        )));
    }
    let prompt = |text: String| {
        rpassword::prompt_password(text)
            .map_err(|cause| Failure::configuration(format!("cannot read the password: {cause}")))
    };
    let first = prompt(format!("Password {purpose}: "))?;
    if confirm && prompt("Again: ".to_owned())? != first {
        return Err(Failure::configuration("the two passwords differ"));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for text in ["secret\nsecond line\n", "secret\r\n", "secret"] {
            assert!(first_line(text.as_bytes(), "test").is_ok());
        }
        assert!(first_line(&b"\n"[..], "test").unwrap_err().reason.contains("test"));
        let long = vec![b'x'; KEYSTORE_PASSWORD_BYTES_MAX + 1];
        assert!(first_line(&long[..], "test").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let source = Source { file: Some("/nonexistent/password".into()), fd: None };
        assert!(source.read("for a test", false).unwrap_err().reason.contains("/nonexistent/password"));
    }
}
