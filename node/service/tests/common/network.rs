//! A network of real validators on this machine, made by `x0-node testnet`.

use super::*;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What the nodes log.
pub const LOG: &str = "warn,x0=info";

/// A network on this machine.
pub struct Network {
    pub folder: TempDir,
    nodes: Vec<Option<Node>>,
    pub summary: Value,
}

impl Network {
    /// Makes the directories; nothing runs.
    pub fn make(validators: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("net");
        let count = validators.to_string();
        let output = output.to_str().unwrap();
        let made =
            run(&["testnet", "--validators", &count, "--output", output, "--base-port", "0", "--development-accounts"]);
        assert!(made.status.success(), "{}", last_line(&made));
        let summary = serde_json::from_slice(&made.stdout).unwrap();
        Self { folder, nodes: (0..validators).map(|_| None).collect(), summary }
    }

    /// Makes and starts it.
    pub fn start(validators: usize) -> Self {
        let mut network = Self::make(validators);
        for number in 0..validators {
            network.start_one(number, &[]);
        }
        network
    }

    /// The directory of a validator.
    pub fn directory(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("net/validator-{}", number + 1))
    }

    /// The configuration of a validator.
    pub fn config(&self, number: usize) -> String {
        self.directory(number).join("config.toml").to_str().unwrap().to_owned()
    }

    /// Changes a validator's configuration.
    pub fn edit(&self, number: usize, from: &str, to: &str) {
        let path = self.config(number);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is in {text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }

    /// Starts a validator and waits until it is ready to be asked.
    pub fn start_one(&mut self, number: usize, extra: &[&str]) {
        let config = self.config(number);
        let mut args = vec!["--config", &config, "--log", LOG];
        args.extend_from_slice(extra);
        self.nodes[number] = Some(Node::start(&args));
    }

    /// A running validator.
    pub fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().expect("it runs")
    }

    /// Takes a running validator out, to end it.
    pub fn take(&mut self, number: usize) -> Node {
        self.nodes[number].take().expect("it runs")
    }
}

/// Height of a node's head.
pub async fn height(node: &Node) -> u32 {
    number(&ask(&node.client().await, "chain_getHeader", json!([])).await)
}

/// Waits until a node's head is at least this high.
pub async fn reach(node: &Node, wanted: u32) -> u32 {
    // A subscription ends with its client.
    let client = node.client().await;
    let mut headers = heads(&client).await;
    loop {
        let reached = number(&next(&mut headers).await);
        if reached >= wanted {
            return reached;
        }
    }
}

/// Status and body of one of a node's HTTP paths.
pub fn get(node: &Node, path: &str) -> (u16, String) {
    get_at(node.ready["metrics"].as_str().unwrap().trim_start_matches("http://"), path)
}

/// Status and body of one of the HTTP paths at an address.
pub fn get_at(address: &str, path: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until one of a node's paths answers with a status; its body.
pub fn until(node: &Node, path: &str, wanted: u16) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = get(node, path);
        if status == wanted {
            return body;
        }
        assert!(Instant::now() < deadline, "{path}: {body}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until a node says that others can rely on it.
pub fn settled(node: &Node) {
    until(node, "/ready", 200);
}
