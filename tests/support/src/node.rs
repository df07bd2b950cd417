//! A running `x0-node`.

use crate::{
    PATIENCE,
    process::{Process, Program},
};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use std::{
    ops::{Deref, DerefMut},
    path::Path,
    process::ExitStatus,
};

/// A running node. It is killed when dropped.
#[derive(Debug)]
pub struct Node {
    process: Process,
    /// Its data, when the node is to leave nothing behind.
    directory: Option<tempfile::TempDir>,
}

impl Node {
    /// Starts a node with these arguments and waits until it is ready.
    #[must_use]
    pub fn start(program: &Program, arguments: &[&str]) -> Self {
        Self { process: program.start(arguments), directory: None }
    }

    /// Starts a development node in a directory, on a free port unless the arguments name one.
    #[must_use]
    pub fn dev(program: &Program, base: &Path, more: &[&str]) -> Self {
        let base = base.to_str().expect("a path of text");
        let mut arguments = vec!["--dev", "--base-path", base];
        for (option, value) in [("--rpc-port", "0"), ("--log", "warn,x0=info")] {
            if !more.contains(&option) {
                arguments.extend([option, value]);
            }
        }
        arguments.extend(more);
        Self::start(program, &arguments)
    }

    /// Starts a development node whose data goes with it.
    #[must_use]
    pub fn dev_tmp(program: &Program, more: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("x0-test-").tempdir().expect("a directory");
        let mut node = Self::dev(program, directory.path(), more);
        node.directory = Some(directory);
        node
    }

    /// The data directory of a node that leaves nothing behind.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_ref().map(tempfile::TempDir::path)
    }

    /// WebSocket address of the plain listener.
    #[must_use]
    pub fn url(&self) -> String {
        self.text("rpc")
    }

    /// `127.0.0.1:port` of the plain listener.
    #[must_use]
    pub fn authority(&self) -> String {
        self.url().trim_start_matches("ws://").to_owned()
    }

    /// A WebSocket client of the plain listener.
    pub async fn client(&self) -> WsClient {
        client(&self.url()).await
    }

    /// Sends SIGTERM and waits for the end.
    #[must_use]
    pub fn terminate(self) -> ExitStatus {
        self.process.terminate()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(self) {
        self.process.kill();
    }
}

impl Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A WebSocket client that takes everything that a node may send.
pub async fn client(url: &str) -> WsClient {
    WsClientBuilder::default()
        .max_request_size(64 << 20)
        .max_response_size(64 << 20)
        .max_concurrent_requests(4_096)
        .request_timeout(PATIENCE)
        .build(url)
        .await
        .expect("the node accepts connections")
}
