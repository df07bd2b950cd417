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
use x0_agent_core::{Answer, LinkUse, Refusal, sign_receipt};
use x0_crypto::{
    PublicKey, Signature, SigningKey,
    tls::{TlsError, peer},
};
use x0_types::{
    Hash, MlDsa65Signature,
    account::account_id,
    probe::{
        FRAME_HEADER_BYTES, FrameError, ProbeRequest, ProbeResponse, Receipt, decode_frame, encode_frame, frame_length,
        transfer_piece,
    },
    receipt::{SignedUsage, Usage},
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

    /// The handshake, and the peer's key.
    async fn handshake(&mut self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, PublicKey), HandshakeError> {
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
        Ok((tls, key))
    }

    async fn answer_requests(&mut self, mut tls: TlsStream<TcpStream>, key: PublicKey) {
        let prober = Hash::from(key.fingerprint());
        let mut gauge = Gauge::default();
        loop {
            let incoming = tokio::select! {
                biased;
                () = stopped(&mut self.stopping) => break,
                incoming = read_request(&mut tls, &self.shared.limits) => incoming,
            };
            gauge.request();
            let (response, last) = match incoming {
                Incoming::Request(ProbeRequest::Usage { usage, by_renter }) => {
                    count(&self.shared.stats.requests);
                    self.co_sign(&key, usage, by_renter, &gauge.seen).await
                }
                Incoming::Request(request) => {
                    count(&self.shared.stats.requests);
                    match self.respond(&request, prober).await {
                        Response::Whole(response, last) => (response, last),
                        Response::Transfer { bytes, seed } => {
                            if !self.transfer(&mut tls, bytes, &seed).await {
                                return;
                            }
                            gauge.transferred(bytes);
                            continue;
                        }
                    }
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
            gauge.answered();
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
    async fn respond(&self, request: &ProbeRequest, prober: Hash) -> Response {
        let now = self.shared.clock.now();
        let answer = self.shared.agent.lock().answer(&prober, request, now);
        match answer {
            Answer::Reply(response) => Response::Whole(response, false),
            Answer::Refuse(refusal) => Response::Whole(refusal.to_response(), refusal.ends_connection()),
            Answer::Sign(receipt) => Response::Whole(self.sign(receipt).await, false),
            Answer::Transfer { bytes, seed } if self.seat.may_transfer(bytes, now.monotonic_ms) => {
                Response::Transfer { bytes, seed }
            }
            Answer::Transfer { .. } => Response::Whole(Refusal::TooManyTransfers.to_response(), false),
        }
    }

    /// Sends a transfer; says whether that worked.
    async fn transfer(&self, tls: &mut TlsStream<TcpStream>, bytes: u32, seed: &[u8; 32]) -> bool {
        let (mut left, mut number) = (bytes, 0u32);
        while left > 0 {
            let length = left.min(x0_limits::TRIAL_PIECE_BYTES);
            let piece = transfer_piece(seed, number, usize::try_from(length).unwrap_or(usize::MAX));
            if !send(tls, &ProbeResponse::Piece(piece), self.shared.limits.handshake_timeout).await {
                return false;
            }
            left = left.saturating_sub(length);
            number = number.saturating_add(1);
        }
        true
    }

    /// Signs what the peer says of its latest transfer, when this side saw no better.
    async fn co_sign(
        &self,
        key: &PublicKey,
        usage: Usage,
        by_renter: MlDsa65Signature,
        seen: &LinkUse,
    ) -> (ProbeResponse, bool) {
        let (prober, peer) = (Hash::from(key.fingerprint()), account_id(key.as_bytes()));
        let agreed = self.shared.agent.lock().agree(&prober, &peer, &usage, seen, self.shared.clock.now());
        if let Err(refusal) = agreed {
            return (refusal.to_response(), refusal.ends_connection());
        }
        let (peer_key, own, genesis) = (key.clone(), self.shared.key.clone(), self.shared.genesis);
        let signed = tokio::task::spawn_blocking(move || {
            let body = usage.signed_body();
            if peer_key.verify_usage(&genesis, &body, &Signature::from(&*by_renter.0)).is_err() {
                return Err(Refusal::UsageDiffers);
            }
            let signature = own.sign_usage(&genesis, &body).map_err(|_| Refusal::Internal)?;
            Ok(SignedUsage { usage, by_renter, by_provider: MlDsa65Signature(signature.to_boxed()) })
        });
        match signed.await {
            Ok(Ok(signed)) => (ProbeResponse::Usage(signed), false),
            Ok(Err(refusal)) => (refusal.to_response(), false),
            Err(error) => {
                tracing::error!(%error, "the signing thread failed");
                (Refusal::Internal.to_response(), false)
            }
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

/// What a request leads to.
enum Response {
    /// One message, and whether the connection ends with it.
    Whole(ProbeResponse, bool),
    /// Many pieces.
    Transfer { bytes: u32, seed: [u8; 32] },
}

/// What this side sees of the link: times from its answers to the peer's next requests.
#[derive(Default)]
struct Gauge {
    seen: LinkUse,
    answered: Option<Instant>,
    transfer: Option<(Instant, u32)>,
    requested: Option<Instant>,
}

impl Gauge {
    /// A request has come in: what was sent before it has arrived.
    fn request(&mut self) {
        let millis = |since: Instant| u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
        if let Some((begun, bytes)) = self.transfer.take() {
            // Rounded up: the peer counts whole milliseconds too.
            self.seen.bytes = u64::from(bytes);
            self.seen.duration_ms = millis(begun).saturating_add(1);
        } else if let Some(answered) = self.answered.take() {
            let round_trip = millis(answered).saturating_add(1);
            self.seen.round_trip_ms =
                if self.seen.round_trip_ms == 0 { round_trip } else { self.seen.round_trip_ms.min(round_trip) };
        }
        self.requested = Some(Instant::now());
    }

    fn answered(&mut self) {
        self.answered = Some(Instant::now());
    }

    fn transferred(&mut self, bytes: u32) {
        self.answered = None;
        self.transfer = self.requested.map(|begun| (begun, bytes));
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
