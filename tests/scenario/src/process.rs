//! Starting, watching, killing and stopping the product's processes.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::timeout,
};
use x0_test_support::{
    netns::Namespace,
    ready::{self, Ready},
};

/// How long a process may take until it serves.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a graceful stop may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a process's log that are kept for a failure's account.
const LOG_BYTES_KEPT: usize = 64 * 1024;

/// The folder that [`use_binaries`] chose.
static BINARIES: OnceLock<PathBuf> = OnceLock::new();

/// Chooses the folder of the built binaries for this process; the first choice holds.
pub fn use_binaries(folder: &Path) {
    BINARIES.get_or_init(|| folder.to_path_buf());
}

/// The folder of the built binaries: the chosen one, `X0_BIN_DIR`, or where this program was built.
pub fn binaries() -> Result<PathBuf> {
    if let Some(folder) = BINARIES.get() {
        return Ok(folder.clone());
    }
    if let Some(folder) = std::env::var_os("X0_BIN_DIR") {
        return Ok(folder.into());
    }
    let program = std::env::current_exe().context("path of this program")?;
    program
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("x0-node").is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| anyhow!("x0-node is not built beside {}; run `make build`", program.display()))
}

/// A process with its log, which ends when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: Arc<Mutex<String>>,
    /// What the process printed after `READY`.
    pub ready: Value,
}

impl Process {
    /// Starts a binary and waits for its `READY {json}` line.
    pub async fn start(name: &'static str, arguments: &[String], environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(name, arguments, environment, |_| {}).await
    }

    /// The same, with a change to the command.
    async fn start_with(
        name: &'static str,
        arguments: &[String],
        environment: &[(&str, &str)],
        change: impl FnOnce(&mut std::process::Command),
    ) -> Result<Self> {
        let mut command = Command::new(binaries()?.join(name));
        change(command.as_std_mut());
        let mut child = command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let log = Arc::new(Mutex::new(String::new()));
        keep_log(child.stderr.take(), Arc::clone(&log));
        let stdout = child.stdout.take().context("stdout is piped")?;
        let line = Ready::of(std::fs::File::from(stdout.into_owned_fd()?));
        match tokio::task::spawn_blocking(move || line.wait(START_TIME_MAX)).await? {
            Ok(ready) => Ok(Self { name, child, log, ready }),
            Err(reason) => {
                let status = child.try_wait().ok().flatten();
                tokio::time::sleep(Duration::from_millis(100)).await;
                let arguments = arguments.join(" ");
                Err(anyhow!("{reason}: {name} {arguments}\nstatus {status:?}, log:\n{}", tail(&log)))
            }
        }
    }

    /// The end of the log.
    pub fn log(&self) -> String {
        tail(&self.log)
    }

    /// The process id.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// Sends SIGKILL and waits for the end: no destructor runs, no buffer is written.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// Sends SIGTERM and waits for a graceful end with status 0.
    pub async fn stop(mut self) -> Result<()> {
        let pid = self.pid()?;
        ready::signal(pid, libc::SIGTERM).with_context(|| format!("SIGTERM to {}", self.name))?;
        let status = timeout(STOP_TIME_MAX, self.child.wait())
            .await
            .with_context(|| format!("{} did not stop in {STOP_TIME_MAX:?}; log:\n{}", self.name, tail(&self.log)))??;
        if !status.success() {
            bail!("{} stopped with {status}; log:\n{}", self.name, tail(&self.log));
        }
        Ok(())
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

fn keep_log(stream: Option<impl AsyncRead + Unpin + Send + 'static>, log: Arc<Mutex<String>>) {
    let Some(stream) = stream else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(mut log) = log.lock() else { return };
            log.push_str(&line);
            log.push('\n');
            if log.len() > 2 * LOG_BYTES_KEPT {
                let mut cut = log.len() - LOG_BYTES_KEPT;
                while !log.is_char_boundary(cut) {
                    cut += 1;
                }
                log.drain(..cut);
            }
        }
    });
}

fn tail(log: &Mutex<String>) -> String {
    log.lock().map(|log| log.clone()).unwrap_or_default()
}

/// A validator of a development chain.
#[derive(Debug)]
pub struct Node {
    process: Process,
    folder: Arc<tempfile::TempDir>,
    /// WebSocket address of its RPC.
    pub rpc: String,
    /// Genesis hash in hex.
    pub genesis: String,
}

impl Node {
    /// Starts a development chain in a new folder, on a free port.
    pub async fn dev() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-scenario-").tempdir()?;
        Self::start(Arc::new(folder), &[]).await
    }

    /// Starts a development chain in a given folder with further arguments.
    pub async fn start(folder: Arc<tempfile::TempDir>, more: &[&str]) -> Result<Self> {
        let mut arguments: Vec<String> =
            ["--dev", "--rpc-port", "0", "--base-path"].iter().map(ToString::to_string).collect();
        arguments.push(folder.path().display().to_string());
        arguments.extend(more.iter().map(ToString::to_string));
        Self::run(folder, &arguments).await
    }

    /// Starts a validator with a configuration file, on free ports for RPC and metrics.
    pub async fn configured(folder: Arc<tempfile::TempDir>, config: &Path) -> Result<Self> {
        let mut arguments: Vec<String> = ["run", "--rpc-port", "0", "--metrics-address", "127.0.0.1:0", "--config"]
            .iter()
            .map(ToString::to_string)
            .collect();
        arguments.push(config.display().to_string());
        Self::run(folder, &arguments).await
    }

    async fn run(folder: Arc<tempfile::TempDir>, arguments: &[String]) -> Result<Self> {
        let process = Process::start("x0-node", arguments, &[]).await?;
        let text = |name: &str| -> Result<String> {
            Ok(process.ready[name].as_str().with_context(|| format!("READY without {name}"))?.to_owned())
        };
        let (rpc, genesis) = (text("rpc")?, text("genesis")?);
        Ok(Self { process, folder, rpc, genesis })
    }

    /// The folder of the chain's data; it outlives the process.
    #[must_use]
    pub fn folder(&self) -> Arc<tempfile::TempDir> {
        Arc::clone(&self.folder)
    }

    /// The process behind this node.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills the process without warning; the folder stays.
    pub async fn kill(self) -> Result<Arc<tempfile::TempDir>> {
        self.process.kill().await?;
        Ok(self.folder)
    }

    /// Stops gracefully.
    pub async fn stop(self) -> Result<Arc<tempfile::TempDir>> {
        self.process.stop().await?;
        Ok(self.folder)
    }
}

/// A mesh agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    config: PathBuf,
    /// Where it answers probes.
    pub listen: String,
    /// Its node id in SS58.
    pub node: String,
    /// Its identity.
    pub did: String,
}

impl Agent {
    /// Starts an agent with a configuration file.
    pub async fn start(config: &Path) -> Result<Self> {
        let arguments = ["run".to_owned(), "--config".to_owned(), config.display().to_string()];
        Self::of(Process::start("x0-agent", &arguments, &[]).await?, config)
    }

    /// Starts an agent inside a network namespace.
    pub async fn start_in(namespace: &Namespace, config: &Path) -> Result<Self> {
        let arguments = ["up".to_owned(), "--config".to_owned(), config.display().to_string()];
        let enter = |command: &mut std::process::Command| namespace.enter(command);
        Self::of(Process::start_with("x0-agent", &arguments, &[], enter).await?, config)
    }

    fn of(process: Process, config: &Path) -> Result<Self> {
        let text = |name: &str| -> Result<String> {
            Ok(process.ready[name].as_str().with_context(|| format!("READY without {name}"))?.to_owned())
        };
        let (listen, node, did) = (text("listen")?, text("node")?, text("did")?);
        Ok(Self { process, config: config.to_path_buf(), listen, node, did })
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// What `x0-agent status` says of the running agent.
    pub async fn status(&self) -> Result<Value> {
        let output = Command::new(binaries()?.join("x0-agent"))
            .args(["status", "--json", "--config", &self.config.display().to_string()])
            .output()
            .await
            .context("run x0-agent status")?;
        if !output.status.success() {
            bail!("x0-agent status: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("the status is JSON")
    }

    /// Kills the agent without warning.
    pub async fn kill(self) -> Result<()> {
        self.process.kill().await
    }

    /// Stops the agent gracefully.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }

    /// The end of the agent's log.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
