//! What a renter's manifest may declare to be checked: ports that open, and pages over plain HTTP.
//!
//! The operator says in the configuration what is there; the agent offers nothing else. Whoever confirms a deal
//! whose manifest declares a check that nobody serves fails by its own word, so the operator compares the two first.

use crate::{Limits, ResponderError, SystemClock, address::Addresses};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The pages of each port, by path; a port without pages only opens.
pub type Pages = BTreeMap<u16, BTreeMap<String, Vec<u8>>>;

/// Running services. Dropping them closes their ports.
#[derive(Debug)]
pub struct Services {
    /// Holds the listeners; their tasks end with it.
    _tasks: JoinSet<()>,
    addresses: Vec<SocketAddr>,
}

impl Services {
    /// Opens every port on this address. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`ResponderError::Bind`] names the port that cannot be opened.
    pub async fn start(host: IpAddr, pages: Pages, clock: SystemClock) -> Result<Self, ResponderError> {
        let limits = Limits {
            connections_max: x0_limits::SERVICE_CONNECTIONS_MAX,
            connections_per_address_max: x0_limits::SERVICE_CONNECTIONS_PER_ADDRESS_MAX,
            ..Limits::default()
        };
        let book = Addresses::new(limits);
        let (mut tasks, mut addresses) = (JoinSet::new(), Vec::new());
        for (port, pages) in pages {
            let address = SocketAddr::new(host, port);
            let bind = |source| ResponderError::Bind { address, source };
            let listener = TcpListener::bind(address).await.map_err(bind)?;
            addresses.push(listener.local_addr().map_err(bind)?);
            tasks.spawn(accept(listener, Arc::new(pages), Arc::clone(&book), clock.clone()));
        }
        Ok(Self { _tasks: tasks, addresses })
    }

    /// Where the services listen, in the order of their ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

async fn accept(
    listener: TcpListener,
    pages: Arc<BTreeMap<String, Vec<u8>>>,
    book: Arc<Addresses>,
    clock: SystemClock,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Over a limit the connection is closed at once.
                    let Some(seat) = book.seat(peer.ip(), clock.now().monotonic_ms) else { continue };
                    let pages = Arc::clone(&pages);
                    connections.spawn(async move {
                        let within = Duration::from_millis(x0_limits::SERVICE_IDLE_TIMEOUT_MS);
                        // Who is too slow, or goes away, gets no answer.
                        let _ = timeout(within, serve(stream, &pages)).await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection to a service failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Answers one request and ends.
async fn serve(mut stream: TcpStream, pages: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await?;
        request.extend_from_slice(part.get(..read).unwrap_or_default());
        if read == 0 || request.len() > x0_limits::SERVICE_REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let page = std::str::from_utf8(path).ok().and_then(|path| pages.get(path));
    let (status, body): (&str, &[u8]) = match (method, page) {
        (b"GET" | b"HEAD", Some(page)) => ("200 OK", page),
        (b"GET" | b"HEAD", None) => ("404 Not Found", b""),
        _ => ("405 Method Not Allowed", b""),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    if method != b"HEAD" {
        stream.write_all(body).await?;
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // What was not read may end the connection with a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// M16: what an operator offers for checks is there, and nothing else.
    #[tokio::test]
    async fn declared_pages_are_served_and_nothing_else() {
        let pages = [(0u16, [("/health".to_owned(), b"hello".to_vec())].into())].into();
        let services = Services::start("127.0.0.1".parse().unwrap(), pages, SystemClock::start()).await.unwrap();
        let address = services.addresses()[0];
        let page = ask(address, b"GET /health HTTP/1.0\r\nHost: x\r\n\r\n").await;
        assert_eq!(page, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        assert!(ask(address, b"GET /etc/passwd HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
        assert!(ask(address, b"POST /health HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(address, b"HEAD /health HTTP/1.0\r\n\r\n").await.ends_with("\r\n\r\n"));
        assert_eq!(ask(address, &[b'a'; 5_000]).await, "", "an endless request ends");
        let taken = [(address.port(), BTreeMap::new())].into();
        let refused = Services::start(address.ip(), taken, SystemClock::start()).await.unwrap_err();
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
    }
}
