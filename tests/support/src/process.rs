//! Programs that print a READY line.

use crate::{
    PATIENCE,
    ready::{self, Ready},
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Instant,
};

/// A program and how it is run.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    prefix: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Program {
    /// The program at a path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), prefix: Vec::new(), environment: Vec::new() }
    }

    /// A program of the workspace that was built beside another one, for example `x0-node` beside
    /// `env!("CARGO_BIN_EXE_x0")`.
    #[must_use]
    pub fn beside(other: &str, name: &str) -> Self {
        let path = Path::new(other).with_file_name(name);
        assert!(path.is_file(), "{} is missing: cargo build --bins", path.display());
        Self::new(path)
    }

    /// Runs it through another program: `["ip", "netns", "exec", "lab-1"]`, `["faketime", "+5m"]`.
    #[must_use]
    pub fn through<S: Into<String>>(mut self, prefix: impl IntoIterator<Item = S>) -> Self {
        self.prefix.extend(prefix.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable for it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command with these arguments, without the product's own variables of this process.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = match self.prefix.split_first() {
            None => Command::new(&self.path),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.path);
                command
            }
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("X0_")) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Starts it and waits for its READY line.
    #[must_use]
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        Process::start(&mut self.command(arguments))
    }
}

/// What a failed run says on standard error, its last line.
#[must_use]
pub fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// A running process that has printed its READY line. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What the READY line says.
    pub ready: Value,
}

impl Process {
    /// Starts a command and waits for its READY line.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
        let ready = Ready::of(child.stdout.take().expect("piped"));
        // From here on the child is ended in any case.
        let mut started = Self { child, ready: Value::Null };
        started.ready = ready.wait(PATIENCE).unwrap_or_else(|reason| {
            let status = started.child.try_wait();
            panic!("{reason}; status {status:?}")
        });
        started
    }

    /// A text of the READY line.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_else(|| panic!("READY without {name}: {}", self.ready)).to_owned()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: libc::c_int) {
        ready::signal(self.child.id(), signal).expect("the process is this test's own child");
    }

    /// Sends SIGTERM and waits for the end.
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Sends SIGKILL and waits for the end: no destructor runs, no buffer is written.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is what a test wants.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
