//! One probe of one node.

use crate::{chain::Target, endpoint::EndpointPolicy};
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
        let exhausted =
            matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM));
        let offline = matches!(
            source.kind(),
            io::ErrorKind::NetworkDown | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable
        );
        if exhausted || offline {
            return Self::Local(format!("cannot {action} {endpoint}: {source}"));
        }
        Self::Connection { action, endpoint, source }
    }
}

/// Probes nodes under the validator's link key.
pub struct Prober {
    identity: TlsIdentity,
    fingerprint: Hash,
    genesis: [u8; 32],
    alpn: Vec<u8>,
    endpoints: EndpointPolicy,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Prober {
    /// A prober for the chain with this genesis hash, with the validator's key in role Network.
    #[must_use]
    pub fn new(network_key: &SigningKey, genesis: Hash, endpoints: EndpointPolicy) -> Self {
        Self {
            identity: TlsIdentity::from_key(network_key),
            fingerprint: Hash::from(network_key.public().fingerprint()),
            genesis: genesis.0,
            alpn: probe_alpn(&genesis.0),
            endpoints,
        }
    }

    /// Asks a node for a receipt over a fresh nonce, and judges the answer.
    ///
    /// # Errors
    /// Why the node was not seen up.
    pub async fn probe(&self, target: &Target, slot: Slot) -> Result<SignedReceipt, ProbeFailure> {
        let endpoint = target.endpoint.ok_or(ProbeFailure::NoEndpoint)?;
        let key = target.key.as_ref().ok_or(ProbeFailure::NoKey)?;
        if !self.endpoints.admits(endpoint.ip()) {
            return Err(ProbeFailure::ForbiddenEndpoint(endpoint));
        }
        let nonce: [u8; 32] = rand::random();
        let timeout = x0_limits::PROBE_TIMEOUT_MS;
        let exchange = self.exchange(endpoint, key, ProbeRequest::Alive { slot, nonce });
        let response = tokio::time::timeout(Duration::from_millis(timeout), exchange)
            .await
            .map_err(|_| ProbeFailure::Timeout(timeout))??;
        let signed = match response {
            ProbeResponse::Receipt(signed) => signed,
            ProbeResponse::Refused(reason) => return Err(ProbeFailure::Refused(printable(&reason))),
            _ => return Err(ProbeFailure::WrongAnswer),
        };
        self.judge(key, &target.node, slot, &nonce, signed).await
    }

    /// Connects, asks and reads one answer.
    async fn exchange(
        &self,
        endpoint: SocketAddr,
        key: &PublicKey,
        request: ProbeRequest,
    ) -> Result<ProbeResponse, ProbeFailure> {
        let failed = |action| move |source| ProbeFailure::connection(action, endpoint, source);
        let config = tls::client_config(&self.identity, PeerPolicy::only(key.clone()), self.alpn.clone())?;
        let tcp = TcpStream::connect(endpoint).await.map_err(failed("connect to"))?;
        tcp.set_nodelay(true).map_err(failed("configure the connection to"))?;
        let mut link = TlsConnector::from(config)
            .connect(tls::unused_server_name(), tcp)
            .await
            .map_err(failed("agree on a secure link with"))?;
        tls::peer(link.get_ref().1, &self.alpn)?;
        link.write_all(&encode_frame(&request)?).await.map_err(failed("write to"))?;
        link.flush().await.map_err(failed("write to"))?;
        let mut header = [0; FRAME_HEADER_BYTES];
        link.read_exact(&mut header).await.map_err(failed("read from"))?;
        let mut payload = vec![0; frame_length(header)?];
        link.read_exact(&mut payload).await.map_err(failed("read from"))?;
        // The answer is here; whether the agent hears the goodbye makes no difference.
        let _ = link.shutdown().await;
        Ok(decode_frame(&payload)?)
    }

    async fn judge(
        &self,
        key: &PublicKey,
        node: &AccountId,
        slot: Slot,
        nonce: &[u8; 32],
        signed: SignedReceipt,
    ) -> Result<SignedReceipt, ProbeFailure> {
        signed.receipt.answers(node, slot, nonce, &self.fingerprint)?;
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
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|character| if character.is_control() { '.' } else { character })
        .take(x0_limits::REFUSAL_CHARACTERS_MAX)
        .collect()
}
