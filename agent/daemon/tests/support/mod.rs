//! Runs the real `x0-agent`, and a real `x0-node` for those tests that need one.
#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a test waits for something that a working program does in a fraction of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks again and again until the answer is there.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A process that prints a READY line. It is killed when dropped.
pub struct Process {
    child: Child,
    /// What the READY line says.
    pub ready: Value,
}

impl Process {
    /// Starts a command and waits for its READY line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut line, mut lines) = (String::new(), BufReader::new(stdout));
            let read = lines.read_line(&mut line).map(|_| line);
            // The receiver is gone when the test has given up; then nobody needs the line.
            let _ = send.send(read);
            // Keeps the pipe open until the process ends.
            let _ = lines.read_to_end(&mut Vec::new());
        });
        let line = receive.recv_timeout(PATIENCE).expect("ready in time").unwrap();
        let ready = line.strip_prefix("READY ").unwrap_or_else(|| panic!("no READY line but {line:?}"));
        Self { ready: serde_json::from_str(ready).unwrap(), child }
    }

    /// A text of the READY line.
    pub fn text(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_else(|| panic!("READY without {name}: {}", self.ready)).to_owned()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: `kill` has no memory preconditions; the process is this test's own child and has
        // not been waited for, so that the id is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a development node on a port, with its data in a folder.
pub fn node(port: u16, folder: &Path) -> Process {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_x0-agent")).with_file_name("x0-node");
    assert!(binary.exists(), "{} is missing: cargo build -p x0-service --bins", binary.display());
    let mut command = Command::new(binary);
    command.args(["--dev", "--log", "warn", "--rpc-port", &port.to_string(), "--base-path"]).arg(folder);
    Process::start(&mut command)
}

/// The files of one agent.
pub struct AgentFiles {
    dir: tempfile::TempDir,
}

impl AgentFiles {
    /// A configuration for a node at this address; `more` is appended.
    pub fn new(url: &str, more: &str) -> Self {
        Self::write(url, &format!("127.0.0.1:{}", free_port()), more)
    }

    /// A configuration with a given address to listen on.
    pub fn listening(url: &str, address: &str) -> Self {
        Self::write(url, address, "")
    }

    fn write(url: &str, address: &str, more: &str) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(files.path("password"), "another horse battery\n").unwrap();
        let config = format!(
            "[identity]\nkeystore = \"agent.json\"\npassword_file = \"password\"\n[chain]\nurl = \"{url}\"\n[listen]\naddress = \"{address}\"\n{more}"
        );
        std::fs::write(files.path("agent.toml"), config).unwrap();
        files
    }

    /// A file beside the configuration.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, word: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x0-agent"));
        command.env_clear().arg(word).arg("--config").arg(self.path("agent.toml")).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command of `x0-agent` to its end.
    pub fn run(&self, word: &str, arguments: &[&str]) -> Output {
        self.command(word, arguments).output().unwrap()
    }

    /// Makes key and proof; gives what `init` prints.
    pub fn init(&self, controller: &str, more: &[&str]) -> Value {
        let output = self.run("init", &[&["--controller", controller], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts the agent and waits until it is ready.
    pub fn start(&self) -> Process {
        Process::start(&mut self.command("run", &[]))
    }

    /// The status as JSON; `None` when no agent answers.
    pub fn status(&self) -> Option<Value> {
        let output = self.run("status", &["--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// What a failed run says on standard error.
pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
