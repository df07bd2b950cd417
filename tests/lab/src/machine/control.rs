//! `systemctl` and `journalctl` of a machine: the program `x0-lab` under these names asks the lab over a socket.
//!
//! ```text
//!   operator's shell: systemctl start x0-node --> /run/lab/control --> [`super::service::Service`]
//! ```

use super::{
    Machine,
    service::{Service, journal},
};
use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::Mutex,
    task::JoinHandle,
};

/// Where the lab listens, inside.
const SOCKET: &str = "/run/lab/control";
/// Longest request.
const REQUEST_BYTES_MAX: u64 = 4096;

/// What the lab answers: text for standard output, or for standard error when the code is not zero, and the code.
#[derive(Serialize, Deserialize)]
struct Answer {
    text: String,
    code: i32,
}

/// Answers a machine's `systemctl` as long as this lives.
#[derive(Debug)]
pub struct Control {
    task: JoinHandle<()>,
}

impl Control {
    /// Listens inside the machine, for one service.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn serve(machine: &Machine, name: &str, service: Arc<Mutex<Service>>) -> Result<Self> {
        let path = machine.path(SOCKET);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                if (&mut stream).take(REQUEST_BYTES_MAX).read_to_end(&mut request).await.is_err() {
                    continue;
                }
                let answer = match serde_json::from_slice::<Vec<String>>(&request) {
                    Ok(words) => answer(&words, &name, &service).await,
                    Err(error) => Answer { text: format!("{error}\n"), code: 1 },
                };
                // An operator who does not wait for the answer does not get one.
                if let Ok(bytes) = serde_json::to_vec(&answer) {
                    drop(stream.write_all(&bytes).await);
                }
            }
        });
        Ok(Self { task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(words: &[String], name: &str, service: &Mutex<Service>) -> Answer {
    let mut service = service.lock().await;
    match act(words, name, &mut service).await {
        Ok(answer) => answer,
        Err(error) => Answer { text: format!("{error:#}\n"), code: 1 },
    }
}

async fn act(words: &[String], name: &str, service: &mut Service) -> Result<Answer> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = |text: String| Ok(Answer { text, code: 0 });
    if words == ["daemon-reload"] {
        service.reload();
        return done(String::new());
    }
    let (named, words) = words.split_last().context("systemctl COMMAND UNIT")?;
    ensure!(named.trim_end_matches(".service") == name, "Unit {named}.service could not be found.");
    match words {
        ["start"] => service.start().await?,
        ["stop"] => service.stop().await?,
        ["restart"] => {
            service.stop().await?;
            service.start().await?;
        }
        ["enable"] => service.enable()?,
        ["enable", "--now"] => {
            service.enable()?;
            service.start().await?;
        }
        ["disable"] => service.disable()?,
        ["disable", "--now"] => {
            service.disable()?;
            service.stop().await?;
        }
        ["status"] => {
            let (text, code) = service.describe();
            return Ok(Answer { text, code });
        }
        other => bail!("the lab's systemctl does not know {other:?}"),
    }
    done(String::new())
}

/// `systemctl` and `journalctl` as the operator calls them: prints the answer and returns the exit code.
///
/// # Errors
/// When this is not a machine of the lab, or the arguments are not understood.
pub fn client(program: &str, arguments: &[String]) -> Result<i32> {
    if program == "journalctl" {
        print_journal(arguments)?;
        return Ok(0);
    }
    let mut stream = UnixStream::connect(SOCKET).context("the lab does not listen")?;
    stream.write_all(&serde_json::to_vec(arguments)?)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let answer: Answer = serde_json::from_slice(&bytes).context("an answer")?;
    if answer.code == 1 {
        eprint!("{}", answer.text)
    } else {
        print!("{}", answer.text)
    }
    Ok(answer.code)
}

/// `journalctl -u UNIT -n LINES`.
fn print_journal(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["-u", unit, "-n", lines] = words.as_slice() else { bail!("journalctl -u UNIT -n LINES") };
    let text = std::fs::read_to_string(journal(unit)).with_context(|| format!("the journal of {unit}"))?;
    let all: Vec<&str> = text.lines().collect();
    for line in all.iter().skip(all.len().saturating_sub(lines.parse()?)) {
        println!("{line}");
    }
    Ok(())
}
