//! Yggdrasil as an underlay: a client of its admin socket.
//!
//! The mesh binds a UDP socket to the node's Yggdrasil address and treats it like any other interface;
//! this client finds the address, and lets the operator and the daemon see and change peerings.
//!
//! # Correctness
//! * Takes the forms of Yggdrasil 0.4 and 0.5: entries as a list or as a map by address, numbers as
//!   integers or fractions, latency under both of its names, fields that are missing or new.
//! * Every exchange has an end: a time-out over all of it, and at most [`RESPONSE_BYTES_MAX`].
//! * Yggdrasil recovers from the loss of a peering in seconds (0.4: 6 s, 0.5: 3 s); the mesh's own
//!   heartbeats decide over its paths, never what is read here.
//!
//! # Errors
//! [`YggdrasilError`] tells apart an absent daemon, a slow one, a refusal and a form that is unknown.

use std::{
    io::{self, BufReader, Read, Write as _},
    net::Ipv6Addr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

/// Where Debian's package and the project's own put the socket.
pub const DEFAULT_SOCKET: &str = "/var/run/yggdrasil.sock";
/// Most bytes of one answer: some thousand peers.
pub const RESPONSE_BYTES_MAX: u64 = 4 << 20;
/// How long one exchange may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of the longest peer URI that is sent.
pub const URI_BYTES_MAX: usize = 512;

/// Why Yggdrasil did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YggdrasilError {
    /// Nobody listens, or this process may not connect.
    #[error("Yggdrasil's admin socket {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer did not come in time.
    #[error("Yggdrasil did not answer {request:?} within {}", humantime(TIMEOUT))]
    TimedOut {
        /// What was asked.
        request: &'static str,
    },
    /// The connection broke.
    #[error("Yggdrasil's admin socket broke during {request:?}: {source}")]
    Broken {
        /// What was asked.
        request: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is larger than allowed.
    #[error("Yggdrasil's answer to {request:?} has more than {RESPONSE_BYTES_MAX} bytes")]
    TooLong {
        /// What was asked.
        request: &'static str,
    },
    /// The answer is not what this client understands.
    #[error("Yggdrasil's answer to {request:?} has no usable {what}")]
    Form {
        /// What was asked.
        request: &'static str,
        /// What is missing or wrong.
        what: &'static str,
    },
    /// Yggdrasil refuses.
    #[error("Yggdrasil refuses {request:?}: {reason}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// What it says, at most 200 characters.
        reason: String,
    },
    /// A peer's URI is empty, too long, or has characters that no URI has.
    #[error("a peer URI of {length} bytes; 1 to {URI_BYTES_MAX} printable ASCII bytes are sent")]
    Uri {
        /// Its length.
        length: usize,
    },
}

fn humantime(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

type Result<T> = std::result::Result<T, YggdrasilError>;

/// The node that the socket belongs to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SelfInfo {
    /// Its address in 200::/7: what the mesh's socket binds to.
    pub address: Ipv6Addr,
    /// Its key, 64 hexadecimal digits.
    pub key: String,
    /// Its /64, as text.
    pub subnet: Option<String>,
    /// Its version, such as `0.5.6`; Debian's 0.4.7 says `unknown`.
    pub version: Option<String>,
}

/// A peering.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PeerInfo {
    /// The peer's address; 0.5 has none for a peering that is down.
    pub address: Option<Ipv6Addr>,
    /// Its key; 0.5 has none for a peering that is down.
    pub key: Option<String>,
    /// Where it is reached: a URI, or the remote address of an incoming one.
    pub remote: Option<String>,
    /// Whether it is connected. 0.4 only lists those that are.
    pub up: bool,
    /// Whether the other side opened it (0.5).
    pub inbound: Option<bool>,
    /// Its number at this node.
    pub port: Option<u64>,
    /// Its priority; lower is better.
    pub priority: Option<u64>,
    /// Its cost (0.5.9 and later).
    pub cost: Option<u64>,
    /// Its round-trip time in microseconds (0.5).
    pub latency_us: Option<u64>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Seconds since it came up.
    pub uptime_s: u64,
    /// Why it is down (0.5).
    pub last_error: Option<String>,
}

/// A path through the network of Yggdrasil.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PathInfo {
    /// The destination.
    pub address: Ipv6Addr,
    /// Its key.
    pub key: String,
    /// The ports from node to node.
    pub path: Vec<u64>,
}

/// An encrypted session of Yggdrasil.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SessionInfo {
    /// The other end.
    pub address: Ipv6Addr,
    /// Its key.
    pub key: String,
    /// Bytes received (0.4.4 and later).
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Seconds since it was opened.
    pub uptime_s: u64,
}

/// A client of one admin socket. Each request has a connection of its own, so that a restarted daemon
/// is found again. Blocks: call it where blocking is allowed.
#[derive(Clone, Debug)]
pub struct Yggdrasil {
    path: PathBuf,
}

impl Yggdrasil {
    /// A client; nothing is opened yet.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    /// The node itself.
    ///
    /// # Errors
    /// [`YggdrasilError`].
    pub fn self_info(&self) -> Result<SelfInfo> {
        parse_self(&self.request("getSelf", json!({}))?)
    }

    /// Its peerings.
    ///
    /// # Errors
    /// [`YggdrasilError`].
    pub fn peers(&self) -> Result<Vec<PeerInfo>> {
        parse_peers(&self.request("getPeers", json!({}))?)
    }

    /// The paths that it knows.
    ///
    /// # Errors
    /// [`YggdrasilError`].
    pub fn paths(&self) -> Result<Vec<PathInfo>> {
        parse_paths(&self.request("getPaths", json!({}))?)
    }

    /// Its sessions.
    ///
    /// # Errors
    /// [`YggdrasilError`].
    pub fn sessions(&self) -> Result<Vec<SessionInfo>> {
        parse_sessions(&self.request("getSessions", json!({}))?)
    }

    /// Opens a peering until the daemon ends; its configuration file is not changed.
    ///
    /// # Errors
    /// [`YggdrasilError`].
    pub fn add_peer(&self, uri: &str, interface: Option<&str>) -> Result<()> {
        self.change("addPeer", uri, interface)
    }

    /// Ends a peering.
    ///
    /// # Errors
    /// [`YggdrasilError`].
    pub fn remove_peer(&self, uri: &str, interface: Option<&str>) -> Result<()> {
        self.change("removePeer", uri, interface)
    }

    fn change(&self, request: &'static str, uri: &str, interface: Option<&str>) -> Result<()> {
        if uri.is_empty() || uri.len() > URI_BYTES_MAX || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(YggdrasilError::Uri { length: uri.len() });
        }
        let mut arguments = json!({ "uri": uri });
        if let Some(interface) = interface {
            arguments["interface"] = interface.into();
        }
        self.request(request, arguments).map(drop)
    }

    fn request(&self, request: &'static str, arguments: Value) -> Result<Value> {
        let stream = UnixStream::connect(&self.path)
            .map_err(|source| YggdrasilError::Connect { path: self.path.clone(), source })?;
        let broken = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => YggdrasilError::TimedOut { request },
            _ => YggdrasilError::Broken { request, source },
        };
        let mut line = json!({ "request": request, "arguments": arguments, "keepalive": true }).to_string();
        line.push('\n');
        stream.set_write_timeout(Some(TIMEOUT)).map_err(broken)?;
        (&stream).write_all(line.as_bytes()).map_err(broken)?;
        let reader = Bounded { stream: &stream, end: Instant::now() + TIMEOUT, left: RESPONSE_BYTES_MAX };
        // The answer is one JSON value over several lines: it ends where the value ends.
        let mut values = serde_json::Deserializer::from_reader(BufReader::new(reader)).into_iter::<Value>();
        match values.next() {
            Some(Ok(answer)) => accept(request, answer),
            Some(Err(error)) => Err(match error.io_error_kind() {
                Some(io::ErrorKind::FileTooLarge) => YggdrasilError::TooLong { request },
                Some(kind) => broken(kind.into()),
                None => YggdrasilError::Form { request, what: "JSON" },
            }),
            None => Err(broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// A stream that ends in time and in size.
struct Bounded<'a> {
    stream: &'a UnixStream,
    end: Instant,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let remaining = self.end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(remaining))?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.stream.read(buffer.get_mut(..most).unwrap_or(&mut []))?;
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}

/// The envelope of both versions: `status`, then `response`, or `error` as text (0.4.4 and later) or
/// inside the response (before).
fn accept(request: &'static str, mut answer: Value) -> Result<Value> {
    let status = answer.get("status").and_then(Value::as_str);
    match status {
        Some("success") => Ok(answer.get_mut("response").map(Value::take).unwrap_or_default()),
        Some("error") => {
            let reason = answer
                .get("error")
                .or_else(|| answer.pointer("/response/error"))
                .and_then(Value::as_str)
                .unwrap_or("no reason given");
            Err(YggdrasilError::Refused { request, reason: reason.chars().take(200).collect() })
        }
        _ => Err(YggdrasilError::Form { request, what: "status" }),
    }
}

fn text(entry: &Map<String, Value>, name: &str) -> Option<String> {
    entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn address(entry: &Map<String, Value>) -> Option<Ipv6Addr> {
    entry.get("address").and_then(Value::as_str)?.parse().ok()
}

/// A count: an integer, or a fraction without its fraction (uptime is one).
fn count(entry: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = entry.get(name)?;
    value.as_u64().or_else(|| Some(Duration::try_from_secs_f64(value.as_f64()?).ok()?.as_secs()))
}

/// The entries of a list, which early versions give as a map by address.
fn entries(response: &Value, request: &'static str, name: &'static str) -> Result<Vec<Map<String, Value>>> {
    match response.get(name) {
        Some(Value::Array(list)) => Ok(list.iter().filter_map(Value::as_object).cloned().collect()),
        Some(Value::Object(map)) => Ok(map
            .iter()
            .filter_map(|(key, value)| {
                let mut entry = value.as_object()?.clone();
                entry.entry("address").or_insert_with(|| key.clone().into());
                Some(entry)
            })
            .collect()),
        // Go writes an empty list as null.
        Some(Value::Null) => Ok(Vec::new()),
        _ => Err(YggdrasilError::Form { request, what: name }),
    }
}

fn parse_self(response: &Value) -> Result<SelfInfo> {
    let wrong = |what| YggdrasilError::Form { request: "getSelf", what };
    let entry = if response.get("self").is_some() {
        entries(response, "getSelf", "self")?.into_iter().next()
    } else {
        response.as_object().cloned()
    };
    let entry = entry.ok_or_else(|| wrong("self"))?;
    let address = address(&entry).ok_or_else(|| wrong("address"))?;
    // 200::/7 (the project's own choice; deprecated space of RFC 4048).
    if address.octets()[0] & 0xfe != 0x02 {
        return Err(wrong("address in 200::/7"));
    }
    Ok(SelfInfo {
        address,
        key: text(&entry, "key").ok_or_else(|| wrong("key"))?,
        subnet: text(&entry, "subnet"),
        version: text(&entry, "build_version"),
    })
}

fn parse_peers(response: &Value) -> Result<Vec<PeerInfo>> {
    let peers = entries(response, "getPeers", "peers")?;
    Ok(peers
        .iter()
        .map(|entry| PeerInfo {
            address: address(entry),
            key: text(entry, "key"),
            remote: text(entry, "remote"),
            up: entry.get("up").and_then(Value::as_bool).unwrap_or(true),
            inbound: entry.get("inbound").and_then(Value::as_bool),
            port: count(entry, "port"),
            priority: count(entry, "priority"),
            cost: count(entry, "cost"),
            // Both are nanoseconds, whatever the older name says: Go's `time.Duration`.
            latency_us: count(entry, "latency").or_else(|| count(entry, "latency_ms")).map(|ns| ns / 1_000),
            bytes_in: count(entry, "bytes_recvd").unwrap_or(0),
            bytes_out: count(entry, "bytes_sent").unwrap_or(0),
            uptime_s: count(entry, "uptime").unwrap_or(0),
            last_error: text(entry, "last_error"),
        })
        .collect())
}

fn parse_paths(response: &Value) -> Result<Vec<PathInfo>> {
    entries(response, "getPaths", "paths")?
        .iter()
        .map(|entry| {
            let wrong = |what| YggdrasilError::Form { request: "getPaths", what };
            let path = entry.get("path").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Ok(PathInfo {
                address: address(entry).ok_or_else(|| wrong("address"))?,
                key: text(entry, "key").ok_or_else(|| wrong("key"))?,
                path: path.iter().filter_map(Value::as_u64).collect(),
            })
        })
        .collect()
}

fn parse_sessions(response: &Value) -> Result<Vec<SessionInfo>> {
    entries(response, "getSessions", "sessions")?
        .iter()
        .map(|entry| {
            let wrong = |what| YggdrasilError::Form { request: "getSessions", what };
            Ok(SessionInfo {
                address: address(entry).ok_or_else(|| wrong("address"))?,
                key: text(entry, "key").ok_or_else(|| wrong("key"))?,
                bytes_in: count(entry, "bytes_recvd").unwrap_or(0),
                bytes_out: count(entry, "bytes_sent").unwrap_or(0),
                uptime_s: count(entry, "uptime").unwrap_or(0),
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "yggdrasil_tests.rs"]
mod tests;
