//! A real `x0-node` process for tests, and transactions to send to it.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this module")]

pub mod network;

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    process::{ExitStatus, Output},
};
use x0_test_support::process::Program;
pub use x0_test_support::{PATIENCE, process::last_line, rpc::*, sign::*};

/// The binary under test.
pub fn binary() -> Program {
    Program::new(env!("CARGO_BIN_EXE_x0-node"))
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    binary().run(args)
}

/// A running node of the binary under test. It is killed when dropped.
pub struct Node(x0_test_support::node::Node);

impl Node {
    /// Starts a development node in a directory, on a free port.
    pub fn dev(base: &Path, extra: &[&str]) -> Self {
        Self(x0_test_support::node::Node::dev(&binary(), base, extra))
    }

    /// Starts a node and waits for its READY line.
    pub fn start(args: &[&str]) -> Self {
        Self(x0_test_support::node::Node::start(&binary(), args))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.0.terminate()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(self) {
        self.0.kill();
    }
}

impl Deref for Node {
    type Target = x0_test_support::node::Node;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
