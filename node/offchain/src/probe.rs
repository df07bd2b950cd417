//! One probe of one node, under a key that nobody has seen before.

use crate::{chain::Target, endpoint::EndpointPolicy, service::ServiceFault};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use x0_crypto::{
    CryptoError, PublicKey, Signature, SigningKey,
    tls::{self, PeerPolicy, TlsError, TlsIdentity},
};
use x0_types::{
    AccountId, Hash,
    market::{Observation, Slot},
    probe::{
        FRAME_HEADER_BYTES, FrameError, ProbeRequest, ProbeResponse, ReceiptMismatch, SignedReceipt, decode_frame,
        encode_frame, frame_length, probe_alpn,
    },
    receipt::bound_nonce,
};

/// Why a node was not seen up.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// The node has no endpoint on chain, or is revoked.
    #[error("the node has no endpoint on chain")]
    NoEndpoint,
    /// The node has no valid key in role Agent.
    #[error("the node has no valid agent key on chain")]
    NoKey,
    /// The endpoint is not one that this validator connects to.
    #[error("the endpoint {0} is not public")]
    ForbiddenEndpoint(SocketAddr),
    /// No connection, or it broke.
    #[error("cannot {action} {endpoint}: {source}")]
    Connection {
        /// What was tried.
        action: &'static str,
        /// The node's endpoint.
        endpoint: SocketAddr,
        /// The system's answer, or the TLS library's.
        source: io::Error,
    },
    /// The secured link is not what it must be.
    #[error("the link is not acceptable: {0}")]
    Tls(#[from] TlsError),
    /// No answer in time.
    #[error("no answer within {0} ms")]
    Timeout(u64),
    /// The answer is no message.
    #[error("the answer is malformed: {0}")]
    Frame(#[from] FrameError),
    /// The agent refuses.
    #[error("the agent refuses: {0}")]
    Refused(String),
    /// The agent answered something else than a receipt.
    #[error("the agent answered another question")]
    WrongAnswer,
    /// The receipt belongs to another probe.
    #[error("{0}")]
    Mismatch(#[from] ReceiptMismatch),
    /// The receipt's signature is not the node's.
    #[error("the receipt's signature does not hold")]
    BadSignature,
    /// The node answers, and does not serve what a manifest declares.
    #[error("a declared service fails: {0}")]
    Service(ServiceFault),
    /// This machine could not do its part; it says nothing about the node.
    #[error("not probed: {0}")]
    Local(String),
}

impl ProbeFailure {
    /// What a report says about it.
    #[must_use]
    pub const fn observation(&self) -> Observation {
        match self {
            Self::Local(_) | Self::ForbiddenEndpoint(_) => Observation::None,
            _ => Observation::Down,
        }
    }

    /// Keeps faults of this machine apart from faults of the node.
    fn connection(action: &'static str, endpoint: SocketAddr, source: io::Error) -> Self {
        if is_local(&source) {
            return Self::Local(format!("cannot {action} {endpoint}: {source}"));
        }
        Self::Connection { action, endpoint, source }
    }
}

/// Whether an error is this machine's own: without sockets, memory or network it learns nothing about others.
pub(crate) fn is_local(error: &io::Error) -> bool {
    let exhausted = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM));
    let offline = matches!(
        error.kind(),
        io::ErrorKind::NetworkDown | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable
    );
    exhausted || offline
}

/// A receipt with the secret behind its nonce.
#[derive(Clone, Debug, PartialEq, Eq, codec::Encode, codec::Decode)]
pub struct Proved {
    /// Binds the nonce to the validator, see [`bound_nonce`].
    pub blind: [u8; 32],
    /// The agent's answer.
    pub signed: SignedReceipt,
}

/// Probes nodes. Each probe has its own key, made for it and forgotten after it, so that an agent cannot tell by
/// the key whether it talks to a validator, to the same one as before, or to somebody who thinks of renting.
#[derive(Clone, Debug)]
pub struct Prober {
    genesis: [u8; 32],
    alpn: Vec<u8>,
    endpoints: EndpointPolicy,
}

/// A key for one link, with its hash.
struct Disguise {
    identity: TlsIdentity,
    fingerprint: Hash,
}

impl Disguise {
    /// Makes one on a blocking thread.
    async fn new() -> Result<Self, ProbeFailure> {
        let made = tokio::task::spawn_blocking(|| {
            let key = SigningKey::generate()?;
            let fingerprint = Hash::from(key.public().fingerprint());
            Ok::<Self, CryptoError>(Self { identity: TlsIdentity::from_key(&key), fingerprint })
        });
        let made = made.await.map_err(|error| ProbeFailure::Local(error.to_string()))?;
        made.map_err(|error| ProbeFailure::Local(error.to_string()))
    }
}

/// A link to an agent.
pub(crate) struct Link {
    tls: tokio_rustls::client::TlsStream<TcpStream>,
    endpoint: SocketAddr,
}

impl Link {
    /// Sends a request.
    pub(crate) async fn send(&mut self, request: &ProbeRequest) -> Result<(), ProbeFailure> {
        let failed = |source| ProbeFailure::connection("write to", self.endpoint, source);
        let frame = encode_frame(request)?;
        self.tls.write_all(&frame).await.map_err(failed)?;
        self.tls.flush().await.map_err(failed)
    }

    /// Reads one response.
    pub(crate) async fn receive(&mut self) -> Result<ProbeResponse, ProbeFailure> {
        let failed = |source| ProbeFailure::connection("read from", self.endpoint, source);
        let mut header = [0; FRAME_HEADER_BYTES];
        self.tls.read_exact(&mut header).await.map_err(failed)?;
        let mut payload = vec![0; frame_length(header)?];
        self.tls.read_exact(&mut payload).await.map_err(failed)?;
        Ok(decode_frame(&payload)?)
    }

    /// Says goodbye; whether the agent hears it makes no difference.
    pub(crate) async fn close(mut self) {
        let _ = self.tls.shutdown().await;
    }
}

impl Prober {
    /// A prober for the chain with this genesis hash.
    #[must_use]
    pub fn new(genesis: Hash, endpoints: EndpointPolicy) -> Self {
        Self { genesis: genesis.0, alpn: probe_alpn(&genesis.0), endpoints }
    }

    /// Which endpoints are probed.
    #[must_use]
    pub const fn endpoints(&self) -> EndpointPolicy {
        self.endpoints
    }

    /// Asks a node for a receipt over a fresh nonce of this validator, and judges the answer.
    ///
    /// # Errors
    /// Why the node was not seen up.
    pub async fn probe(&self, target: &Target, slot: Slot, validator: &AccountId) -> Result<Proved, ProbeFailure> {
        let disguise = Disguise::new().await?;
        let blind: [u8; 32] = rand::random();
        let nonce = bound_nonce(validator, slot, &target.node, &blind);
        let timeout = x0_limits::PROBE_TIMEOUT_MS;
        let exchange = async {
            let mut link = self.connect(target, &disguise).await?;
            link.send(&ProbeRequest::Alive { slot, nonce }).await?;
            let response = link.receive().await?;
            link.close().await;
            Ok::<_, ProbeFailure>(response)
        };
        let response = tokio::time::timeout(Duration::from_millis(timeout), exchange)
            .await
            .map_err(|_| ProbeFailure::Timeout(timeout))??;
        let signed = match response {
            ProbeResponse::Receipt(signed) => signed,
            ProbeResponse::Refused(reason) => return Err(ProbeFailure::Refused(printable(&reason))),
            _ => return Err(ProbeFailure::WrongAnswer),
        };
        signed.receipt.answers(&target.node, slot, &nonce, &disguise.fingerprint)?;
        let key = target.key.as_ref().ok_or(ProbeFailure::NoKey)?;
        Ok(Proved { blind, signed: self.judge(key, signed).await? })
    }

    /// A link to a node under a fresh key.
    pub(crate) async fn link(&self, target: &Target) -> Result<Link, ProbeFailure> {
        let disguise = Disguise::new().await?;
        self.connect(target, &disguise).await
    }

    async fn connect(&self, target: &Target, disguise: &Disguise) -> Result<Link, ProbeFailure> {
        let endpoint = target.endpoint.ok_or(ProbeFailure::NoEndpoint)?;
        let key = target.key.as_ref().ok_or(ProbeFailure::NoKey)?;
        if !self.endpoints.admits(endpoint.ip()) {
            return Err(ProbeFailure::ForbiddenEndpoint(endpoint));
        }
        let failed = |action| move |source| ProbeFailure::connection(action, endpoint, source);
        let config = tls::client_config(&disguise.identity, PeerPolicy::only(key.clone()), self.alpn.clone())?;
        let tcp = TcpStream::connect(endpoint).await.map_err(failed("connect to"))?;
        tcp.set_nodelay(true).map_err(failed("configure the connection to"))?;
        let tls = TlsConnector::from(config)
            .connect(tls::unused_server_name(), tcp)
            .await
            .map_err(failed("agree on a secure link with"))?;
        tls::peer(tls.get_ref().1, &self.alpn)?;
        Ok(Link { tls, endpoint })
    }

    async fn judge(&self, key: &PublicKey, signed: SignedReceipt) -> Result<SignedReceipt, ProbeFailure> {
        let (key, genesis) = (key.clone(), self.genesis);
        let verdict = tokio::task::spawn_blocking(move || {
            let signature = Signature::from(&*signed.signature.0);
            let verified: Result<(), CryptoError> =
                key.verify_receipt(&genesis, &signed.receipt.signed_body(), &signature);
            verified.map(|()| signed)
        });
        match verdict.await {
            Ok(Ok(signed)) => Ok(signed),
            Ok(Err(_)) => Err(ProbeFailure::BadSignature),
            Err(error) => Err(ProbeFailure::Local(error.to_string())),
        }
    }
}

/// An agent's words, safe for a log: bounded, and without control characters.
pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|character| if character.is_control() { '.' } else { character })
        .take(x0_limits::REFUSAL_CHARACTERS_MAX)
        .collect()
}
