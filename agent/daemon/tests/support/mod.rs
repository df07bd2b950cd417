//! Runs the real `x0-agent`, and a real `x0-node` for those tests that need one.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use x0_test_support::process::Program;
pub use x0_test_support::{free_port, node::Node, process::Process, until};

/// Starts a development node on a port, with its data in a folder.
pub fn node(port: u16, folder: &Path) -> Node {
    let program = Program::beside(env!("CARGO_BIN_EXE_x0-agent"), "x0-node");
    Node::dev(&program, folder, &["--rpc-port", &port.to_string()])
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
