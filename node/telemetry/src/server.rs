//! The HTTP listener: three paths, bounded in every way.

use crate::{Metric, Report, Samples, Source, Status, exposition::joined};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

/// Connections that were closed at once because too many were open.
pub const REFUSED: Metric = Metric::counter(
    "x0_telemetry_refused_connections_total",
    "Connections that were closed at once because too many were open",
);

/// Wait after an `accept` that failed, which happens when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why telemetry is not served.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address cannot be listened on.
    #[error("metrics: cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// What is served: sources of samples and the answers about health.
pub struct Telemetry {
    sources: Vec<Box<dyn Source>>,
    status: Box<dyn Status>,
    refused: AtomicU64,
}

impl Telemetry {
    /// Telemetry that answers health and readiness by this status.
    #[must_use]
    pub fn new(status: impl Status) -> Self {
        Self { sources: Vec::new(), status: Box::new(status), refused: AtomicU64::new(0) }
    }

    /// Adds a source of samples.
    #[must_use]
    pub fn with(mut self, source: impl Source) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// The text of `/metrics`. Reads files: call it on a blocking thread.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut samples = Samples::default();
        for source in &self.sources {
            source.collect(&mut samples);
        }
        samples.put(&REFUSED, self.refused.load(Ordering::Relaxed));
        let mut engine = String::new();
        malachite_metrics::export(&mut engine);
        joined(&samples, &engine)
    }
}

impl core::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Telemetry").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

/// A running listener. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and its connections.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take()
            && let Err(cause) = task.await
        {
            tracing::error!(target: "x0::telemetry", %cause, "the listener for metrics did not end in good order");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Starts serving.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, telemetry: Arc<Telemetry>) -> Result<Server, TelemetryError> {
    let failed = |source| TelemetryError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(accept(listener, telemetry, stopping));
    Ok(Server { address, stop, task: Some(task) })
}

async fn accept(listener: TcpListener, telemetry: Arc<Telemetry>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(x0_limits::TELEMETRY_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
            // Ended connections are taken out as they end.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let telemetry = Arc::clone(&telemetry);
                    connections.spawn(async move {
                        connection(stream, telemetry).await;
                        drop(place);
                    });
                }
                Err(_) => {
                    telemetry.refused.fetch_add(1, Ordering::Relaxed);
                }
            },
            Err(cause) => {
                tracing::warn!(target: "x0::telemetry", %cause, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one request of one connection, within the time that a connection has.
async fn connection(stream: TcpStream, telemetry: Arc<Telemetry>) {
    let limit = Duration::from_millis(x0_limits::TELEMETRY_REQUEST_MS);
    let service = service_fn(move |request| answer(request, Arc::clone(&telemetry)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(x0_limits::TELEMETRY_REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limit, served).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::debug!(target: "x0::telemetry", %cause, "a connection ended early"),
        Err(_) => tracing::debug!(target: "x0::telemetry", "a connection took too long"),
    }
}

async fn answer(request: Request<Incoming>, telemetry: Arc<Telemetry>) -> Result<Response<String>, Infallible> {
    let known = ["/metrics", "/health", "/ready"];
    let path = request.uri().path().to_owned();
    if !known.contains(&path.as_str()) {
        return Ok(response(StatusCode::NOT_FOUND, TEXT, format!("there is {}\n", known.join(", "))));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n".to_owned());
        refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refusal);
    }
    let read = tokio::task::spawn_blocking(move || match path.as_str() {
        "/metrics" => response(StatusCode::OK, OPEN_METRICS, telemetry.metrics()),
        "/health" => report(&telemetry.status.health()),
        _ => report(&telemetry.status.ready()),
    });
    Ok(read.await.unwrap_or_else(|cause| {
        tracing::error!(target: "x0::telemetry", %cause, "reading the node's state failed");
        response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "reading the node's state failed\n".to_owned())
    }))
}

fn report(report: &Report) -> Response<String> {
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string_pretty(report) {
        Ok(body) => response(status, JSON, body + "\n"),
        Err(cause) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{cause}\n")),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const HEIGHT: Metric = Metric::gauge("x0_test_height_blocks", "Height");

    struct Sick;

    impl Status for Sick {
        fn health(&self) -> Report {
            let mut report = Report::good();
            report.detail("height", 7);
            report
        }
        fn ready(&self) -> Report {
            let mut report = self.health();
            report.against("there are no peers");
            report
        }
    }

    async fn started() -> Server {
        let telemetry = Telemetry::new(Sick).with(|samples: &mut Samples| samples.put(&HEIGHT, 7_u64));
        serve("127.0.0.1:0".parse().unwrap(), Arc::new(telemetry)).await.unwrap()
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    #[tokio::test]
    async fn the_three_paths_answer_and_others_do_not() {
        let server = started().await;
        let metrics = exchange(server.address(), &get("/metrics")).await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("openmetrics-text"), "{metrics}");
        assert!(metrics.contains("\nx0_test_height_blocks 7\n") && metrics.ends_with("# EOF\n"), "{metrics}");
        let health = exchange(server.address(), &get("/health?verbose=1")).await;
        assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"height\": 7"), "{health}");
        let ready = exchange(server.address(), &get("/ready")).await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("there are no peers"), "{ready}");
        assert!(exchange(server.address(), &get("/")).await.starts_with("HTTP/1.1 404"));
        let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        let refused = exchange(server.address(), post).await;
        assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD"), "{refused}");
        server.stop().await;
    }

    #[tokio::test]
    async fn nonsense_and_long_heads_are_refused_and_the_next_request_is_served() {
        let server = started().await;
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(64 * 1024));
        for nonsense in ["\u{16}\u{3}\u{1}\r\n\r\n", "GET\r\n\r\n", long.as_str()] {
            let answer = exchange(server.address(), nonsense).await;
            assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        assert!(exchange(server.address(), &get("/health")).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn idle_connections_take_no_more_than_their_places() {
        let server = started().await;
        let mut idle = Vec::new();
        for _ in 0..x0_limits::TELEMETRY_CONNECTIONS_MAX {
            idle.push(TcpStream::connect(server.address()).await.unwrap());
        }
        // One more is closed at once: it reads the end without having sent anything.
        let mut refused = TcpStream::connect(server.address()).await.unwrap();
        let mut byte = [0];
        assert!(matches!(refused.read(&mut byte).await, Ok(0) | Err(_)));
        // A place comes free with its connection.
        drop(idle);
        loop {
            let answer = exchange(server.address(), &get("/metrics")).await;
            if answer.starts_with("HTTP/1.1 200") {
                assert!(!answer.contains("x0_telemetry_refused_connections_total 0\n"), "{answer}");
                break;
            }
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let server = started().await;
        let second = serve(server.address(), Arc::new(Telemetry::new(Sick))).await.unwrap_err();
        assert!(second.to_string().contains(&server.address().to_string()), "{second}");
    }
}
