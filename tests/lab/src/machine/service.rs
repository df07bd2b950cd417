//! What systemd does with a unit: starts its process as the file says, hears its notifications, and starts it again
//! or leaves it down.
//!
//! ```text
//!   start --> [starting] --READY=1--> [active] --end--> prevented, limit, or code 0? --> [down]
//!                 ^                                            \--> pause --> [starting]
//! ```
//!
//! What the process prints goes to the machine's journal, a file for each unit.

use super::{Machine, Process, unit::Unit};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs::File,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt as _},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

/// Where the units of a machine lie.
const UNITS: &str = "/etc/systemd/system";
/// How long a process may take until it says that it is ready. The unit files allow any time; the lab does not.
const START_MAX: Duration = Duration::from_secs(90);
/// Longest notification.
const NOTIFICATION_BYTES_MAX: usize = 4096;

/// How a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody started it, or it was stopped.
    #[default]
    Inactive,
    /// Its process runs and has not said that it is ready.
    Starting {
        /// The process.
        pid: i32,
    },
    /// Its process serves.
    Active {
        /// The process.
        pid: i32,
    },
    /// It ended, and is started again after a pause.
    Waiting {
        /// How it ended.
        status: String,
    },
    /// It ended, and stays down.
    Failed {
        /// How it ended.
        status: String,
        /// Its exit code, when it was not ended by a signal.
        code: Option<i32>,
    },
}

#[derive(Clone, Debug, Default)]
struct Told {
    state: State,
    /// What the process says of itself.
    status: String,
    /// Its starts so far.
    starts: usize,
}

/// A service of a machine.
#[derive(Debug)]
pub struct Service {
    machine: Machine,
    name: String,
    unit: Option<Unit>,
    told: watch::Sender<Told>,
    stop: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Service {
    /// A service that nobody has started.
    #[must_use]
    pub fn new(machine: Machine, name: &str) -> Self {
        let told = watch::Sender::new(Told::default());
        Self { machine, name: name.to_owned(), unit: None, told, stop: Arc::new(Notify::new()), task: None }
    }

    /// The file with everything that its processes printed, seen from outside.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.machine.path(&journal(&self.name))
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> State {
        self.told.borrow().state.clone()
    }

    /// How often its process was started.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.told.borrow().starts
    }

    /// Forgets the unit file that was read, as `systemctl daemon-reload` does.
    pub fn reload(&mut self) {
        self.unit = None;
    }

    /// Reads the unit file, unless it was read before.
    fn unit(&mut self) -> Result<Unit> {
        if let Some(unit) = &self.unit {
            return Ok(unit.clone());
        }
        let unit = Unit::load(&self.machine.path(&format!("{UNITS}/{}.service", self.name)))?;
        Ok(self.unit.insert(unit).clone())
    }

    /// Links the unit where services stand that start with the machine.
    pub fn enable(&mut self) -> Result<()> {
        self.unit()?;
        let wants = self.machine.path(&format!("{UNITS}/multi-user.target.wants"));
        std::fs::create_dir_all(&wants)?;
        let link = wants.join(format!("{}.service", self.name));
        // The link leads somewhere inside only.
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(format!("{UNITS}/{}.service", self.name), link)?;
        }
        Ok(())
    }

    /// Takes the link away again.
    pub fn disable(&mut self) -> Result<()> {
        let link = self.machine.path(&format!("{UNITS}/multi-user.target.wants/{}.service", self.name));
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(link)?;
        }
        Ok(())
    }

    /// Starts it and waits until it says that it is ready. A service that runs is left alone.
    pub async fn start(&mut self) -> Result<()> {
        if matches!(self.state(), State::Active { .. } | State::Starting { .. }) {
            return Ok(());
        }
        self.stop().await?;
        let unit = self.unit()?;
        let mut told = self.told.subscribe();
        self.told.send_modify(|told| told.state = State::Starting { pid: 0 });
        let run = Run {
            machine: self.machine.clone(),
            name: self.name.clone(),
            unit,
            told: self.told.clone(),
            stop: Arc::clone(&self.stop),
        };
        self.task = Some(tokio::spawn(run.supervise()));
        let settled = told.wait_for(|told| !matches!(told.state, State::Starting { .. }));
        let state = timeout(START_MAX, settled).await.context("it is not ready")??.state.clone();
        match state {
            State::Active { .. } => Ok(()),
            State::Waiting { status } | State::Failed { status, .. } => {
                bail!("Job for {}.service failed: {status}", self.name)
            }
            other => bail!("Job for {}.service: {other:?}", self.name),
        }
    }

    /// Stops it in good order, and waits for the end.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(task) = self.task.take() else { return Ok(()) };
        self.stop.notify_one();
        task.await.context("the supervising task")?;
        // A task that had ended by itself did not take the request.
        self.stop = Arc::new(Notify::new());
        self.told.send_modify(|told| {
            if !matches!(told.state, State::Failed { .. }) {
                told.state = State::Inactive;
            }
        });
        Ok(())
    }

    /// What `systemctl status` prints, and its exit code.
    #[must_use]
    pub fn describe(&self) -> (String, i32) {
        let told = self.told.borrow().clone();
        let (active, code) = match &told.state {
            State::Inactive => ("inactive (dead)".to_owned(), 3),
            State::Starting { .. } => ("activating (start)".to_owned(), 3),
            State::Active { .. } => ("active (running)".to_owned(), 0),
            State::Waiting { status } => (format!("activating (auto-restart) ({status})"), 3),
            State::Failed { status, .. } => (format!("failed ({status})"), 3),
        };
        let mut text = format!("{}.service\n     Active: {active}\n", self.name);
        if let State::Active { pid } | State::Starting { pid } = told.state {
            text.push_str(&format!("   Main PID: {pid}\n"));
        }
        if !told.status.is_empty() {
            text.push_str(&format!("     Status: \"{}\"\n", told.status));
        }
        (text, code)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process is killed with the task that holds it.
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Where a unit's journal lies, inside.
#[must_use]
pub fn journal(name: &str) -> String {
    format!("/run/lab/journal/{name}")
}

/// A started service.
struct Run {
    machine: Machine,
    name: String,
    unit: Unit,
    told: watch::Sender<Told>,
    stop: Arc<Notify>,
}

/// Why a process is no longer watched.
enum End {
    Stopped,
    By(ExitStatus),
}

impl Run {
    async fn supervise(self) {
        let mut starts: Vec<Instant> = Vec::new();
        loop {
            starts.push(Instant::now());
            let (state, again) = match self.once().await {
                Ok(End::Stopped) => (State::Inactive, false),
                Ok(End::By(status)) => self.judge(status, &starts),
                Err(error) => (State::Failed { status: format!("{error:#}"), code: None }, false),
            };
            self.told.send_modify(|told| told.state = state);
            if !again {
                return;
            }
            tokio::select! {
                () = self.stop.notified() => return,
                () = tokio::time::sleep(self.unit.restart_pause) => {}
            }
        }
    }

    /// Whether a process that ended by itself is started again.
    fn judge(&self, status: ExitStatus, starts: &[Instant]) -> (State, bool) {
        let text = match status.code() {
            Some(code) => format!("Result: exit-code, status={code}"),
            None => format!("Result: signal, signal={}", status.signal().unwrap_or_default()),
        };
        // SIGTERM and SIGINT are clean ends, whoever sent them: systemd.service(5).
        let clean = status.success() || status.signal().is_some_and(|by| by == libc::SIGTERM || by == libc::SIGINT);
        if clean {
            return (State::Inactive, false);
        }
        let failed = |text: String| State::Failed { status: text, code: status.code() };
        let prevented = status.code().is_some_and(|code| self.unit.restart_prevented.contains(&code));
        if !self.unit.restart_on_failure || prevented {
            return (failed(text.clone()), false);
        }
        let too_often = self
            .unit
            .start_limit
            .is_some_and(|(burst, within)| starts.iter().filter(|start| start.elapsed() < within).count() >= burst);
        if too_often {
            return (failed(format!("{text}, start-limit-hit")), false);
        }
        (State::Waiting { status: text }, true)
    }

    /// Runs the process once.
    async fn once(&self) -> Result<End> {
        let socket = self.notifications()?;
        let mut child = self.spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).context("just started")?;
        self.told.send_modify(|told| {
            told.starts += 1;
            told.state = if self.unit.notify { State::Starting { pid } } else { State::Active { pid } };
        });
        let mut heard = Instant::now();
        let mut buffer = vec![0; NOTIFICATION_BYTES_MAX];
        loop {
            // The watchdog begins to watch when the start is complete: systemd.service(5).
            let active = matches!(self.told.borrow().state, State::Active { .. });
            let silent_at = self.unit.watchdog.filter(|_| active).map(|patience| heard + patience);
            let silence = async {
                match silent_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = child.wait() => return Ok(End::By(status?)),
                () = self.stop.notified() => return self.end(child, pid).await,
                received = socket.recv(&mut buffer) => {
                    heard = Instant::now();
                    self.hear(&String::from_utf8_lossy(&buffer[..received?]), pid);
                }
                () = silence => {
                    signal(pid, libc::SIGABRT)?;
                    return Ok(End::By(child.wait().await?));
                }
            }
        }
    }

    /// SIGTERM, then SIGKILL.
    async fn end(&self, mut child: Child, pid: i32) -> Result<End> {
        signal(pid, libc::SIGTERM)?;
        match timeout(self.unit.stop_timeout, child.wait()).await {
            Ok(status) => {
                let status = status?;
                ensure!(status.success() || status.signal() == Some(libc::SIGTERM), "it stopped with {status}");
            }
            Err(_) => {
                child.kill().await?;
                bail!("it did not stop in {:?} and was killed", self.unit.stop_timeout);
            }
        }
        Ok(End::Stopped)
    }

    fn hear(&self, text: &str, pid: i32) {
        self.told.send_modify(|told| {
            for line in text.lines() {
                if let Some(status) = line.strip_prefix("STATUS=") {
                    status.clone_into(&mut told.status);
                } else if line == "READY=1" && self.unit.notify {
                    told.state = State::Active { pid };
                }
            }
        });
    }

    /// The socket that the process notifies. It stands in the file system, which the process sees as its machine does.
    fn notifications(&self) -> Result<UnixDatagram> {
        let path = self.machine.path(&format!("/run/lab/notify-{}", self.name));
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        if path.symlink_metadata().is_ok() {
            std::fs::remove_file(&path)?;
        }
        let socket = UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777))?;
        Ok(socket)
    }

    fn spawn(&self) -> Result<Child> {
        let unit = &self.unit;
        let user = if unit.user.is_empty() { None } else { Some(self.machine.user(&unit.user)?) };
        let owned = |path: &PathBuf| match user {
            Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        };
        if let Some((name, mode)) = &unit.state_directory {
            let path = self.machine.path(&format!("/var/lib/{name}"));
            if !path.exists() {
                std::fs::create_dir_all(&path)?;
                owned(&path)?;
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(*mode))?;
        }
        let credentials = format!("/run/lab/credentials/{}", self.name);
        let folder = self.machine.path(&credentials);
        std::fs::create_dir_all(&folder)?;
        for (name, from) in &unit.credentials {
            let to = folder.join(name);
            let secret = std::fs::read(self.machine.path(from)).with_context(|| format!("the credential {from}"))?;
            std::fs::write(&to, secret)?;
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o400))?;
            owned(&to)?;
        }
        let words: Vec<String> =
            unit.exec_start.iter().map(|word| word.replace("${CREDENTIALS_DIRECTORY}", &credentials)).collect();
        let (program, arguments) = words.split_first().context("there is no ExecStart")?;
        let mut command = Command::new(program);
        let process = Process {
            directory: unit.working_directory.clone(),
            user,
            umask: unit.umask,
            open_files: unit.open_files,
            no_new_privileges: unit.no_new_privileges,
            terminal: false,
        };
        self.machine.enter(command.as_std_mut(), &process)?;
        let journal = self.machine.path(&journal(&self.name));
        std::fs::create_dir_all(journal.parent().context("a folder")?)?;
        let journal = File::options().create(true).append(true).open(journal)?;
        command
            .args(arguments)
            .env("CREDENTIALS_DIRECTORY", &credentials)
            .env("NOTIFY_SOCKET", format!("/run/lab/notify-{}", self.name))
            .stdin(Stdio::null())
            .stdout(journal.try_clone()?)
            .stderr(journal)
            .kill_on_drop(true);
        if let Some(patience) = unit.watchdog {
            command.env("WATCHDOG_USEC", patience.as_micros().to_string());
        }
        command.spawn().with_context(|| format!("{program} of {}", self.name))
    }
}

/// Sends a signal to a process that the caller started and has not reaped.
fn signal(pid: i32, signal: libc::c_int) -> Result<()> {
    // SAFETY: as above.
    ensure!(unsafe { libc::kill(pid, signal) } == 0, "signal {signal}: {}", std::io::Error::last_os_error());
    Ok(())
}
