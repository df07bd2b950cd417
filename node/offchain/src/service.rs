//! The checks that a deal's manifest declares: does the node serve its renter, and not only its probers?
//!
//! Both sides agreed on the manifest: the renter wrote it, and the provider confirmed the deal by its hash. Whoever
//! confirms a check that he cannot satisfy fails by his own word, so nobody else can make a node fail this way. The
//! checks go to the host of the node's registered endpoint and nowhere else.

use crate::endpoint::EndpointPolicy;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use x0_types::{Hash, deal::ServiceCheck};

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceFault {
    /// No connection, or it broke.
    #[error("{address}: {source}")]
    Connection {
        /// The service's address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// No whole answer in time.
    #[error("{0}: no answer in time")]
    Timeout(SocketAddr),
    /// The answer is not HTTP, says something else than 200, or uses what HTTP/1.0 does not know.
    #[error("{address}: answered {line:?}")]
    Answer {
        /// The service's address.
        address: SocketAddr,
        /// The status line, shortened.
        line: String,
    },
    /// The answer is larger than any that is read.
    #[error("{0}: the answer is too large")]
    TooLarge(SocketAddr),
    /// The body is not the declared one.
    #[error("{address}: the body's hash is {found}")]
    Body {
        /// The service's address.
        address: SocketAddr,
        /// What was found.
        found: Hash,
    },
    /// This machine could not do its part; it says nothing about the node.
    #[error("not checked: {0}")]
    Local(String),
}

/// Makes one check against the host of this endpoint.
///
/// # Errors
/// [`ServiceFault`].
pub async fn check(endpoint: SocketAddr, check: &ServiceCheck, policy: EndpointPolicy) -> Result<(), ServiceFault> {
    let (ServiceCheck::Port { port } | ServiceCheck::Http { port, .. }) = check;
    let address = SocketAddr::new(endpoint.ip(), *port);
    if !policy.admits(address.ip()) {
        return Err(ServiceFault::Local(format!("{address} is not public")));
    }
    let within = Duration::from_millis(x0_limits::SERVICE_CHECK_TIMEOUT_MS);
    tokio::time::timeout(within, attempt(address, check)).await.map_err(|_| ServiceFault::Timeout(address))?
}

async fn attempt(address: SocketAddr, check: &ServiceCheck) -> Result<(), ServiceFault> {
    let failed = |source| ServiceFault::connection(address, source);
    let mut stream = TcpStream::connect(address).await.map_err(failed)?;
    let ServiceCheck::Http { path, body_hash, .. } = check else { return Ok(()) };
    // The path is printable ASCII without spaces: the chain refuses others. An answer to HTTP/1.0 ends with the
    // connection and comes in one piece.
    let path = String::from_utf8_lossy(path);
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let limit = u64::try_from(x0_limits::SERVICE_ANSWER_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    stream.take(limit).read_to_end(&mut answer).await.map_err(failed)?;
    if answer.len() > x0_limits::SERVICE_ANSWER_BYTES_MAX {
        return Err(ServiceFault::TooLarge(address));
    }
    let body = body_of(&answer).ok_or_else(|| ServiceFault::Answer { address, line: first_line(&answer) })?;
    let found = Hash::from(x0_crypto::blake2b_256(body));
    if found == *body_hash { Ok(()) } else { Err(ServiceFault::Body { address, found }) }
}

impl ServiceFault {
    /// Keeps faults of this machine apart from faults of the node.
    fn connection(address: SocketAddr, source: io::Error) -> Self {
        if crate::probe::is_local(&source) {
            return Self::Local(format!("{address}: {source}"));
        }
        Self::Connection { address, source }
    }
}

/// The body of a whole answer with status 200.
fn body_of(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (answer.get(..end)?, answer.get(end.checked_add(4)?..)?);
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut status = lines.next()?.split(|byte| *byte == b' ');
    if !status.next()?.starts_with(b"HTTP/1.") || status.next()? != b"200" {
        return None;
    }
    for line in lines {
        let text = String::from_utf8_lossy(line).to_ascii_lowercase();
        if text.starts_with("transfer-encoding:") {
            return None;
        }
        if let Some(length) = text.strip_prefix("content-length:")
            && length.trim().parse::<usize>().ok()? != body.len()
        {
            return None;
        }
    }
    Some(body)
}

fn first_line(answer: &[u8]) -> String {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    crate::probe::printable(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_answers_with_200_have_a_body() {
        let ok: &[(&[u8], &[u8])] = &[
            (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello", b"hello"),
            (b"HTTP/1.0 200 \r\ncontent-length:0\r\n\r\n", b""),
        ];
        for (answer, body) in ok {
            assert_eq!(body_of(answer), Some(*body), "{}", String::from_utf8_lossy(answer));
        }
        for answer in [
            &b"HTTP/1.1 404 Not Found\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/2 200\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nhello",
            b"",
        ] {
            assert_eq!(body_of(answer), None, "{}", String::from_utf8_lossy(answer));
        }
    }
}
