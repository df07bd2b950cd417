//! One connection of a prober.

use crate::{
    Limits, SharedAgent, SystemClock,
    address::ConnectionSeat,
    responder::stopped,
    stats::{Stats, count},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use x0_agent_core::{Answer, Refusal, sign_receipt};
use x0_crypto::{
    SigningKey,
    tls::{TlsError, peer},
};
use x0_types::{
    Hash,
    probe::{
        FRAME_HEADER_BYTES, FrameError, ProbeRequest, ProbeResponse, Receipt, decode_frame, encode_frame, frame_length,
    },
};

/// What all connections of a responder have in common.
pub(crate) struct Shared {
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) alpn: Vec<u8>,
    pub(crate) genesis: [u8; 32],
    pub(crate) limits: Limits,
    pub(crate) agent: SharedAgent,
    pub(crate) key: SigningKey,
    pub(crate) clock: SystemClock,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) stats: Arc<Stats>,
}

/// One connection, before and after its handshake.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: SocketAddr,
    pub(crate) seat: ConnectionSeat,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("no handshake within the time for it")]
    Timeout,
    #[error("the responder stops")]
    Stopping,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Peer(#[from] TlsError),
    #[error("the handshake's thread failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// What reading a frame gives.
enum Incoming {
    Request(ProbeRequest),
    Malformed(FrameError),
    /// The peer closed, was silent for too long, or its connection broke.
    Ended,
}

impl Connection {
    /// Serves the connection to its end.
    pub(crate) async fn serve(mut self, stream: TcpStream) {
        // Answers are small and awaited; a failure here only costs time.
        let _ = stream.set_nodelay(true);
        match self.handshake(stream).await {
            Ok((tls, prober)) => self.answer_requests(tls, prober).await,
            Err(HandshakeError::Stopping) => {}
            Err(error) => {
                count(&self.shared.stats.handshakes_failed);
                tracing::debug!(peer = %self.peer, %error, "probe handshake failed");
            }
        }
    }

    /// The handshake, and the hash of the prober's key.
    async fn handshake(&mut self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Hash), HandshakeError> {
        let deadline = Instant::now() + self.shared.limits.handshake_timeout;
        // Waiting for the first message needs no cryptography and no thread, so a peer that sends
        // nothing costs a socket only.
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let start = tokio::select! {
            () = stopped(&mut self.stopping) => return Err(HandshakeError::Stopping),
            start = timeout_at(deadline, hello) => start.map_err(|_| HandshakeError::Timeout)??,
        };
        // The address waits for its own share first, so that it cannot fill the common queue.
        let permits = timeout_at(deadline, async {
            let own = self.seat.handshake().await?;
            Some((own, Arc::clone(&self.shared.handshakes).acquire_owned().await.ok()?))
        });
        let permits = permits.await.map_err(|_| HandshakeError::Timeout)?.ok_or(HandshakeError::Stopping)?;
        let config = Arc::clone(&self.shared.tls);
        let mut stopping = self.stopping.clone();
        let runtime = tokio::runtime::Handle::current();
        let tls = tokio::task::spawn_blocking(move || {
            let _permits = permits;
            runtime.block_on(async {
                tokio::select! {
                    () = stopped(&mut stopping) => Err(HandshakeError::Stopping),
                    tls = timeout_at(deadline, start.into_stream(config)) => {
                        Ok(tls.map_err(|_| HandshakeError::Timeout)??)
                    }
                }
            })
        })
        .await??;
        let key = peer(tls.get_ref().1, &self.shared.alpn)?;
        Ok((tls, Hash::from(key.fingerprint())))
    }

    async fn answer_requests(&mut self, mut tls: TlsStream<TcpStream>, prober: Hash) {
        loop {
            let incoming = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => break,
                incoming = read_request(&mut tls, &self.shared.limits) => incoming,
            };
            let (response, last) = match incoming {
                Incoming::Request(request) => {
                    count(&self.shared.stats.requests);
                    self.respond(&request, prober).await
                }
                Incoming::Malformed(error) => {
                    count(&self.shared.stats.malformed);
                    tracing::debug!(peer = %self.peer, %error, "probe frame refused");
                    (Refusal::NotARequest.to_response(), true)
                }
                Incoming::Ended => break,
            };
            let signed = matches!(response, ProbeResponse::Receipt(_));
            if !send(&mut tls, &response, self.shared.limits.handshake_timeout).await {
                return;
            }
            if signed {
                count(&self.shared.stats.receipts);
            }
            if last {
                break;
            }
        }
        // The peer learns that nothing was cut off; whether it still listens is its own affair.
        let _ = timeout(self.shared.limits.handshake_timeout, tls.shutdown()).await;
    }

    /// The response to a request, and whether the connection ends with it.
    async fn respond(&self, request: &ProbeRequest, prober: Hash) -> (ProbeResponse, bool) {
        let answer = self.shared.agent.lock().answer(&prober, request, self.shared.clock.now());
        match answer {
            Answer::Reply(response) => (response, false),
            Answer::Refuse(refusal) => (refusal.to_response(), refusal.ends_connection()),
            Answer::Sign(receipt) => (self.sign(receipt).await, false),
        }
    }

    async fn sign(&self, receipt: Receipt) -> ProbeResponse {
        let (key, genesis) = (self.shared.key.clone(), self.shared.genesis);
        match tokio::task::spawn_blocking(move || sign_receipt(&key, &genesis, receipt)).await {
            Ok(Ok(signed)) => ProbeResponse::Receipt(signed),
            Ok(Err(error)) => {
                tracing::error!(%error, "signing a receipt failed");
                Refusal::Internal.to_response()
            }
            Err(error) => {
                tracing::error!(%error, "the signing thread failed");
                Refusal::Internal.to_response()
            }
        }
    }
}

/// Reads one request. The header may take the idle time, the rest must follow quickly.
async fn read_request(stream: &mut (impl AsyncRead + Unpin), limits: &Limits) -> Incoming {
    let mut header = [0; FRAME_HEADER_BYTES];
    match timeout(limits.idle_timeout, stream.read_exact(&mut header)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return Incoming::Ended,
    }
    let length = match frame_length(header) {
        Ok(length) => length,
        Err(error) => return Incoming::Malformed(error),
    };
    let mut payload = vec![0; length];
    match timeout(limits.handshake_timeout, stream.read_exact(&mut payload)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return Incoming::Ended,
    }
    match decode_frame(&payload) {
        Ok(request) => Incoming::Request(request),
        Err(error) => Incoming::Malformed(error),
    }
}

/// Sends a response whole; says whether that worked.
async fn send(tls: &mut TlsStream<TcpStream>, response: &ProbeResponse, within: Duration) -> bool {
    let frame = match encode_frame(response) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::error!(%error, "a probe response does not fit a frame");
            return false;
        }
    };
    let sent = timeout(within, async {
        tls.write_all(&frame).await?;
        tls.flush().await
    });
    matches!(sent.await, Ok(Ok(())))
}
