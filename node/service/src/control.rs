//! The door for the operator on the same machine: a socket in the data directory, for what needs the running node.
//!
//! ```text
//!   x0-node backup, checkpoint --> DATA/control.sock (mode 0600) --> one line of JSON in, one out --> [`Control`]
//! ```
//!
//! Whoever may open the socket may read the whole data directory anyway. Sockets have short names only: both ends name
//! it through the open directory, wherever that is.

use crate::{checkpoint, exit::Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream as BlockingStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinHandle,
};
use x0_storage::Database;

/// Name of the socket in the data directory.
const NAME: &str = "control.sock";
/// Mode of the socket.
const MODE: u32 = 0o600;
/// Longest request or answer, bytes: a path has at most 4,096.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Time for a request to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What can be asked of a running node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// The checkpoints of its chain.
    Checkpoint,
    /// A copy of its database as of one moment.
    Backup {
        /// The directory to make, absolute.
        directory: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Done(Value),
    Failed(String),
}

/// The open door. Dropping it closes it.
pub struct Control {
    task: JoinHandle<()>,
    base: PathBuf,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // A socket that is left behind leads nowhere, and the next node takes its place.
        let _ = std::fs::remove_file(self.base.join(NAME));
    }
}

/// The socket's name through the open directory.
fn short_name(base: &Path) -> std::io::Result<(File, PathBuf)> {
    let directory = File::open(base)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd()));
    Ok((directory, path))
}

impl Control {
    /// Opens the door of the node that holds the lock of this data directory. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// One line, when the socket cannot be made.
    pub fn open(base: &Path, database: &Database) -> Result<Self, Failure> {
        let failed = |cause: std::io::Error| Failure::configuration(format!("{}: {cause}", base.join(NAME).display()));
        let (directory, path) = short_name(base).map_err(failed)?;
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(failed(cause)),
            // What was there is of an earlier node: this one holds the lock.
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
        drop(directory);
        let database = database.clone();
        Ok(Self { task: tokio::spawn(serve(listener, database)), base: base.to_owned() })
    }
}

async fn serve(listener: UnixListener, database: Database) {
    // One at a time: what is asked for here uses the disk.
    let turn = Arc::new(Semaphore::new(1));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (database, turn) = (database.clone(), Arc::clone(&turn));
                tokio::spawn(async move {
                    let Ok(_turn) = turn.acquire().await else { return };
                    if let Err(cause) = converse(stream, database).await {
                        tracing::debug!(target: "x0::node", %cause, "a conversation with the operator ended early");
                    }
                });
            }
            Err(cause) => {
                tracing::warn!(target: "x0::node", %cause, "the operator's door does not open");
                tokio::time::sleep(REQUEST_TIMEOUT).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, database: Database) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(LINE_BYTES_MAX));
    tokio::time::timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Err(cause) => Answer::Failed(format!("the request does not read: {cause}")),
        Ok(request) => {
            tracing::info!(target: "x0::node", ?request, "the operator asks");
            match tokio::task::spawn_blocking(move || perform(&database, &request)).await {
                Ok(Ok(value)) => Answer::Done(value),
                Ok(Err(failure)) => Answer::Failed(failure.reason),
                Err(cause) => Answer::Failed(cause.to_string()),
            }
        }
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}

fn perform(database: &Database, request: &Request) -> Result<Value, Failure> {
    match request {
        Request::Checkpoint => checkpoint::describe(database),
        Request::Backup { directory } if !directory.is_absolute() => {
            Err(Failure::configuration(format!("{} is no absolute path", directory.display())))
        }
        Request::Backup { directory } => {
            database.checkpoint(directory).map_err(Failure::configuration)?;
            Ok(json!({ "directory": directory }))
        }
    }
}

/// Asks the node that runs on this data directory, and waits for its answer.
///
/// # Errors
/// One line: the node cannot be reached, or says no.
pub fn ask(base: &Path, request: &Request) -> Result<Value, Failure> {
    let unreachable = |cause: std::io::Error| {
        Failure::configuration(format!("the running node does not answer at {}: {cause}", base.join(NAME).display()))
    };
    let talk = || -> std::io::Result<String> {
        let (_directory, path) = short_name(base)?;
        let mut stream = BlockingStream::connect(path)?;
        let mut text = serde_json::to_string(request)?;
        text.push('\n');
        stream.write_all(text.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
        Ok(line)
    };
    let line = talk().map_err(unreachable)?;
    match serde_json::from_str(&line) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Failed(reason)) => Err(Failure::configuration(format!("the running node says: {reason}"))),
        Err(cause) => Err(Failure::configuration(format!("the running node's answer does not read: {cause}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_storage::OpenOptions;

    #[tokio::test(flavor = "multi_thread")]
    async fn only_the_owner_comes_in_and_nonsense_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than a socket's name may be.
        let base = folder.path().join("long".repeat(40));
        std::fs::create_dir(&base).unwrap();
        let database = Database::open(&base.join("chain"), OpenOptions::default()).unwrap();
        let control = Control::open(&base, &database).unwrap();
        let mode = std::fs::metadata(base.join(NAME)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, MODE);
        let asked = |request: Request| {
            let base = base.clone();
            tokio::task::spawn_blocking(move || ask(&base, &request))
        };
        let refused = asked(Request::Checkpoint).await.unwrap().unwrap_err();
        assert!(refused.reason.contains("the database is empty"), "{}", refused.reason);
        let refused = asked(Request::Backup { directory: "relative".into() }).await.unwrap().unwrap_err();
        assert!(refused.reason.contains("absolute"), "{}", refused.reason);
        let copy = folder.path().join("copy");
        asked(Request::Backup { directory: copy.clone() }).await.unwrap().unwrap();
        assert!(asked(Request::Backup { directory: copy }).await.unwrap().unwrap_err().reason.contains("copy"));
        let (base_, nonsense) = (base.clone(), "{\"burn\": true}\n");
        let answer = tokio::task::spawn_blocking(move || {
            let (_directory, path) = short_name(&base_).unwrap();
            let mut stream = BlockingStream::connect(path).unwrap();
            stream.write_all(nonsense.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        assert!(answer.await.unwrap().contains("does not read"));
        drop(control);
        assert!(!base.join(NAME).exists());
        let gone = asked(Request::Checkpoint).await.unwrap().unwrap_err();
        assert!(gone.reason.contains("does not answer"), "{}", gone.reason);
        // A socket that a killed node left behind is no obstacle.
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("x")).unwrap());
        std::fs::rename(folder.path().join("x"), base.join(NAME)).unwrap();
        let _control = Control::open(&base, &database).unwrap();
        assert!(asked(Request::Checkpoint).await.unwrap().unwrap_err().reason.contains("is empty"));
    }
}
