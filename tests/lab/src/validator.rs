//! One validator of the lab: its folder, its namespace, its process.

use crate::{netns::Namespace, proxy::Door};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Port of the plain RPC inside every namespace.
pub const RPC_PORT: u16 = 9944;
/// Port of metrics, health and readiness inside every namespace.
pub const METRICS_PORT: u16 = 9615;
/// How long a validator may take until it is ready.
const START_TIME_MAX: Duration = Duration::from_secs(90);
/// How long a graceful stop may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of the log that a failure shows.
const LOG_TAIL_BYTES: u64 = 8 * 1024;

/// How a validator's process starts, beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Further arguments of the node.
    pub arguments: Vec<String>,
    /// Further environment variables.
    pub environment: Vec<(String, String)>,
    /// Another binary than the one beside this program, for example an older release.
    pub binary: Option<PathBuf>,
}

/// A validator of the lab.
#[derive(Debug)]
pub struct Validator {
    /// Its number, from zero.
    pub number: usize,
    /// Its directory, as `x0-node testnet` wrote it.
    pub folder: PathBuf,
    namespace: Namespace,
    binary: PathBuf,
    child: Option<Child>,
    /// Its process is started and watched by somebody else, as the service of a [`crate::machine::Machine`].
    pub supervised: bool,
    rpc: Door,
    metrics: Door,
    /// What the process printed when it was ready.
    pub ready: Value,
}

impl Validator {
    /// A validator that does not run yet.
    pub async fn new(number: usize, folder: PathBuf, namespace: Namespace, binary: PathBuf) -> Result<Self> {
        let inside = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let rpc = Door::open(namespace.clone(), inside(RPC_PORT)).await?;
        let metrics = Door::open(namespace.clone(), inside(METRICS_PORT)).await?;
        Ok(Self { number, folder, namespace, binary, child: None, supervised: false, rpc, metrics, ready: Value::Null })
    }

    /// The namespace that it lives in.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// WebSocket address of its RPC, from outside.
    #[must_use]
    pub fn rpc_url(&self) -> String {
        format!("ws://{}", self.rpc.address)
    }

    /// Address of its metrics, from outside.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://{}", self.metrics.address)
    }

    /// The file with everything that its processes logged.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// The directory of its chain, keys' guard and engine log.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path()).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&mut self, how: &Start) -> Result<()> {
        self.spawn(how)?;
        if let Err(error) = self.wait_ready().await {
            let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            return Err(error.context(format!(
                "validator {}, status {status:?}, log:\n{}",
                self.number + 1,
                self.log_tail()
            )));
        }
        Ok(())
    }

    /// Starts the process without waiting for anything.
    pub fn spawn(&mut self, how: &Start) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let node = how.binary.as_ref().unwrap_or(&self.binary);
        let mut command = Command::new(node);
        command
            .arg("run")
            .arg("--config")
            .arg(self.folder.join("config.toml"))
            .args(["--rpc-port", &RPC_PORT.to_string()])
            .args(["--metrics-address", &format!("127.0.0.1:{METRICS_PORT}")])
            .args(&how.arguments)
            .envs(how.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        self.namespace.enter(command.as_std_mut());
        self.child = Some(command.spawn().with_context(|| format!("starting validator {}", self.number + 1))?);
        Ok(())
    }

    /// Waits for the READY line of the process that [`Validator::spawn`] started.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let stdout = self.child.as_mut().and_then(|child| child.stdout.take()).context("not just started")?;
        let mut lines = BufReader::new(stdout).lines();
        self.ready = timeout(START_TIME_MAX, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(json) = line.strip_prefix("READY ") {
                    return Ok(serde_json::from_str(json)?);
                }
            }
            bail!("it ended before it was ready")
        })
        .await
        .unwrap_or_else(|_| Err(anyhow!("it was not ready in {START_TIME_MAX:?}")))?;
        // The pipe stays open for the life of the process, or a later print would end it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok())
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        let pid = self.pid().with_context(|| format!("validator {} does not run", self.number + 1))?;
        // SAFETY: a signal to a process that this one started and has not reaped.
        if unsafe { libc::kill(pid, signal) } != 0 {
            bail!("signal {signal} to validator {}: {}", self.number + 1, std::io::Error::last_os_error());
        }
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().await.with_context(|| format!("killing validator {}", self.number + 1))
    }

    /// SIGTERM, and waits for a graceful end.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM)?;
        let status = self.wait_end(STOP_TIME_MAX).await?;
        if !status.success() {
            bail!("validator {} stopped with {status}, log:\n{}", self.number + 1, self.log_tail());
        }
        Ok(())
    }

    /// Waits until the process ends by itself.
    pub async fn wait_end(&mut self, within: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().with_context(|| format!("validator {} does not run", self.number + 1))?;
        let Ok(status) = timeout(within, child.wait()).await else {
            bail!("validator {} still runs after {within:?}, log:\n{}", self.number + 1, self.log_tail());
        };
        self.child = None;
        Ok(status?)
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = self.child.as_mut() else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Whether the process runs, as far as is known here.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.child.is_some() || self.supervised
    }
}

fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
