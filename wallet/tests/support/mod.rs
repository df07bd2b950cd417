//! Runs the real `x0`, and a real `x0-node` for those tests that need one.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot set up must fail")]

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{StreamDeserializer, Value, de::IoRead};
use x0_test_support::process::Program;

/// The password of every key that [`Wallet`] makes.
pub const PASSWORD: &str = "correct horse battery";
/// What a run of the program gave back.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The answer.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {} / {}", self.stdout, self.stderr))
    }

    /// Checks that the run succeeded and gives its answer.
    pub fn succeeds(&self) -> Value {
        assert_eq!(self.code, 0, "{} / {}", self.stdout, self.stderr);
        self.json()
    }

    /// Checks exit code and kind of an error.
    pub fn fails(&self, code: i32, kind: &str) -> String {
        assert_eq!(self.code, code, "{} / {}", self.stdout, self.stderr);
        let error = &self.json()["error"];
        assert_eq!(error["kind"], kind, "{error}");
        assert_eq!(error["exitCode"], code);
        error["message"].as_str().unwrap().to_owned()
    }
}

/// A running command and its answers, one after another. It is killed when dropped.
pub struct Following {
    child: Child,
    answers: StreamDeserializer<'static, IoRead<ChildStdout>, Value>,
}

impl Following {
    /// The next answer; waits for it.
    pub fn next(&mut self) -> Value {
        self.answers.next().expect("the command goes on").unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A wallet in a directory of its own.
pub struct Wallet {
    dir: tempfile::TempDir,
    url: Option<String>,
}

impl Wallet {
    /// An empty wallet.
    pub fn new() -> Self {
        let wallet = Self { dir: tempfile::tempdir().unwrap(), url: None };
        std::fs::write(wallet.path("password"), format!("{PASSWORD}\n")).unwrap();
        std::fs::write(wallet.path("wrong"), "not the password\n").unwrap();
        wallet
    }

    /// An empty wallet that talks to a node.
    pub fn at(node: &Node) -> Self {
        Self { url: Some(node.text("rpc")), ..Self::new() }
    }

    /// An empty wallet that talks to whatever is at an address.
    pub fn to(url: &str) -> Self {
        Self { url: Some(url.to_owned()), ..Self::new() }
    }

    /// The same wallet talks to another address from now on.
    pub fn turn_to(&mut self, url: &str) {
        self.url = Some(url.to_owned());
    }

    /// A file in the wallet's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs `x0 --json` with no terminal, this home and the right password at hand.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with("password", arguments)
    }

    /// The same with `--yes`.
    pub fn yes(&self, arguments: &[&str]) -> Run {
        self.run(&[arguments, &["--yes"]].concat())
    }

    /// The same with another password file.
    pub fn run_with(&self, password: &str, arguments: &[&str]) -> Run {
        let output = self.command(password, arguments).output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn command(&self, password: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x0"));
        command.env_clear().args(["--json", "--home"]).arg(self.path("home"));
        command.arg("--password-file").arg(self.path(password));
        if let Some(url) = &self.url {
            command.args(["--url", url]);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Starts `x0 --json` with a command that goes on until it is stopped, and waits until it says that it follows.
    pub fn follow(&self, arguments: &[&str]) -> Following {
        let mut command = self.command("password", arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("following"), "{said}");
        let answers = serde_json::Deserializer::from_reader(child.stdout.take().unwrap()).into_iter();
        Following { child, answers }
    }

    /// Makes a key and gives what `keys new` says.
    pub fn new_key(&self, name: &str) -> Value {
        self.run(&["keys", "new", name]).succeeds()
    }

    /// Makes a key with money on its account; gives the account.
    pub fn funded_key(&self, name: &str, amount: &str) -> String {
        let account = self.new_key(name)["account"].as_str().unwrap().to_owned();
        self.yes(&["dev", "faucet", name, "--amount", amount]).succeeds();
        account
    }

    /// Free and held balance of an account, base units.
    pub fn balance(&self, account: &str) -> (u128, u128) {
        let info = self.run(&["account", account, "--history", "0"]).succeeds();
        let number = |name: &str| info[name].as_str().unwrap().parse().unwrap();
        (number("free"), number("held"))
    }
}

/// A running development node with an encrypted line. It is killed when dropped, and its data goes with it.
pub struct Node(x0_test_support::node::Node);

impl Node {
    /// Starts a node of its own on free ports.
    pub fn dev() -> Self {
        let program = Program::beside(env!("CARGO_BIN_EXE_x0"), "x0-node");
        Self(x0_test_support::node::Node::dev_tmp(&program, &["--rpc-native-address", "127.0.0.1:0"]))
    }

    /// What `x0-node checkpoint` prints under a name: `node` or `wallet`.
    pub fn checkpoint(&self, name: &str) -> String {
        let base = self.0.directory().unwrap().to_str().unwrap();
        let program = Program::beside(env!("CARGO_BIN_EXE_x0"), "x0-node");
        // Nobody vouches for a chain before its first decided block.
        let printed: Value = x0_test_support::until("a checkpoint", || {
            let printed = program.run(["checkpoint", "--dev", "--base-path", base]);
            printed.status.success().then(|| serde_json::from_slice(&printed.stdout).unwrap())
        });
        printed[name].as_str().unwrap().to_owned()
    }

    /// A text of the READY line.
    pub fn text(&self, name: &str) -> String {
        self.0.text(name)
    }
}
