//! Programs that print a READY line.

use crate::PATIENCE;
use serde_json::Value;
use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
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
        let stdout = child.stdout.take().expect("piped");
        let mut started = Self { child, ready: Value::Null };
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut line, mut lines) = (String::new(), BufReader::new(stdout));
            let read = lines.read_line(&mut line).map(|_| line);
            // The receiver is gone when the test has given up; then nobody needs the line.
            let _ = send.send(read);
            // Keeps the pipe open until the process ends, or a later print would end it.
            let _ = lines.read_to_end(&mut Vec::new());
        });
        let line = receive.recv_timeout(PATIENCE).expect("ready in time").expect("standard output reads");
        let Some(json) = line.strip_prefix("READY ") else {
            let status = started.child.wait();
            panic!("no READY line but {line:?}; it ended with {status:?}");
        };
        started.ready = serde_json::from_str(json).expect("READY is JSON");
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
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: `kill` has no memory preconditions; the process is this test's own child and has not
        // been waited for, so that the id is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", std::io::Error::last_os_error());
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
