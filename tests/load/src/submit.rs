//! Open-loop submission over several connections and nodes.
//!
//! Each connection is plain HTTP/1.1 with one request under way, and the requests are made before the run: the
//! generator shares its cores with the node that it measures, so that every cycle of the generator is one that the
//! node does not have.

use crate::transfers::Transfer;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{collections::HashMap, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use x0_types::Hash;

/// Pause before a transaction that the node had no room for is sent again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer to a submission.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What became of the submissions.
#[derive(Debug, Default)]
pub struct Submitted {
    /// When each accepted transaction was due to be sent (open loop) or was sent (saturation).
    pub sent_at: HashMap<Hash, Instant>,
    /// Times that the node said that it is busy; each is tried again.
    pub busy: u64,
    /// Refusals other than busy, by message.
    pub refused: HashMap<String, u64>,
    /// From the first submission to the last answer.
    pub elapsed: Duration,
}

/// A connection to a node's JSON-RPC.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    answer: Vec<u8>,
}

/// Opens `connections` connections, in turn to each of the nodes.
pub async fn connect(urls: &[String], connections: usize) -> Result<Vec<Connection>> {
    ensure!(!urls.is_empty(), "a run needs a node");
    let mut opened = Vec::with_capacity(connections);
    for index in 0..connections.max(urls.len()) {
        let url = &urls[index % urls.len()];
        opened.push(Connection::open(url).await.with_context(|| format!("connect to {url}"))?);
    }
    Ok(opened)
}

/// Host and port of a URL of plain JSON-RPC.
fn host_of(url: &str) -> Result<&str> {
    let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.with_context(|| format!("{url} is no ws:// or http:// address"))?;
    Ok(rest.split('/').next().unwrap_or(rest))
}

impl Connection {
    async fn open(url: &str) -> Result<Self> {
        let host = host_of(url)?.to_owned();
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, answer: Vec::with_capacity(1024) })
    }

    /// Sends one transaction and reads the answer.
    async fn send(&mut self, transfer: &Transfer) -> Result<Value> {
        let body_bytes = transfer.request.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n",
            self.host
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(transfer.request.as_bytes()).await?;
        let body = tokio::time::timeout(ANSWER_PATIENCE, self.read()).await.context("no answer")??;
        Ok(serde_json::from_slice(body)?)
    }

    /// Reads one answer: a head, and a body whose length the head names.
    async fn read(&mut self) -> Result<&[u8]> {
        self.answer.clear();
        loop {
            if let Some(end) = find(&self.answer, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                let length: usize = length.context("an answer without a length")?.trim().parse()?;
                ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
                if self.answer.len() >= end + 4 + length {
                    return Ok(&self.answer[end + 4..end + 4 + length]);
                }
            } else if self.answer.len() > ANSWER_BYTES_MAX {
                bail!("an answer whose head does not end");
            }
            ensure!(self.stream.read_buf(&mut self.answer).await? > 0, "the node closed the connection");
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Sends every transfer: at `rate` per second, or as fast as the nodes take them when `None`.
pub async fn submit(connections: Vec<Connection>, transfers: &[Transfer], rate: Option<f64>) -> Result<Submitted> {
    let lanes = connections.len();
    let start = Instant::now();
    let mut tasks = Vec::with_capacity(lanes);
    for (lane, connection) in connections.into_iter().enumerate() {
        let mine: Vec<(Transfer, Option<Instant>)> = transfers
            .iter()
            .enumerate()
            .skip(lane)
            .step_by(lanes)
            .map(|(place, transfer)| {
                (transfer.clone(), rate.map(|rate| start + Duration::from_secs_f64(place as f64 / rate)))
            })
            .collect();
        tasks.push(tokio::spawn(lane_of(connection, mine)));
    }
    let mut total = Submitted::default();
    for task in tasks {
        let lane = task.await??;
        total.sent_at.extend(lane.sent_at);
        total.busy += lane.busy;
        for (message, count) in lane.refused {
            *total.refused.entry(message).or_default() += count;
        }
    }
    total.elapsed = start.elapsed();
    Ok(total)
}

async fn lane_of(mut connection: Connection, transfers: Vec<(Transfer, Option<Instant>)>) -> Result<Submitted> {
    let mut result = Submitted::default();
    for (transfer, due) in transfers {
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
        let sent = due.unwrap_or_else(Instant::now);
        loop {
            let answer = connection.send(&transfer).await?;
            let Some(error) = answer.get("error") else {
                result.sent_at.insert(transfer.hash, sent);
                break;
            };
            if !is_busy(error) {
                *result.refused.entry(error.to_string()).or_default() += 1;
                break;
            }
            result.busy += 1;
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }
    Ok(result)
}

/// A node that has no room now says so in words; everything else is final.
fn is_busy(error: &Value) -> bool {
    let text = error.to_string().to_lowercase();
    ["busy", "full", "too many", "rate"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_plain_rpc_are_understood_and_others_refused() {
        assert_eq!(host_of("ws://127.0.0.1:9944").unwrap(), "127.0.0.1:9944");
        assert_eq!(host_of("http://[::1]:80/").unwrap(), "[::1]:80");
        assert!(host_of("wss://example.org").is_err());
    }

    /// The answer's body may come in pieces, and the head in any case of letters.
    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-LENGTH: 15\r\n\r\n{\"res").await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(b"ult\":true}").await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let mut connection = Connection::open(&format!("ws://{address}")).await.unwrap();
        let transfer = Transfer { hash: Hash::zero(), request: "{}".into() };
        assert_eq!(connection.send(&transfer).await.unwrap(), serde_json::json!({ "result": true }));
        assert!(server.await.unwrap().starts_with("POST / HTTP/1.1\r\n"));
    }
}
