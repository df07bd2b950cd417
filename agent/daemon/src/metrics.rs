//! Numbers for Prometheus over HTTP, on loopback unless the operator says otherwise.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::error::{AgentError, Result};

/// How long one exchange may take.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(5);
/// Exchanges at once; further ones are closed.
const EXCHANGES_MAX: usize = 4;
/// Bytes of a request at most.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Gives the text that is served.
pub trait Numbers: Send + Sync + 'static {
    /// All metrics as of now, in the format of Prometheus 0.0.4.
    fn text(&self) -> impl Future<Output = String> + Send;
}

/// Opens the listener.
///
/// # Errors
/// [`AgentError::Metrics`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| AgentError::Metrics { address, source })
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, numbers: Arc<impl Numbers>) {
    let places = Arc::new(Semaphore::new(EXCHANGES_MAX));
    let mut exchanges = tokio::task::JoinSet::new();
    loop {
        while exchanges.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let numbers = Arc::clone(&numbers);
                exchanges.spawn(async move {
                    // Who is too slow, or goes away, gets no answer.
                    let _ = tokio::time::timeout(EXCHANGE_TIME_MAX, exchange(stream, &*numbers)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a reader of metrics failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn exchange(mut stream: TcpStream, numbers: &impl Numbers) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await?;
        request.extend_from_slice(part.get(..read).unwrap_or_default());
        if read == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", numbers.text().await)
    } else {
        ("404 Not Found", String::new())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
