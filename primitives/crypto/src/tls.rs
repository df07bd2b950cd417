//! TLS 1.3 with post-quantum keys on both sides.
//!
//! ```text
//!   key exchange   X25519MLKEM768, no other
//!   cipher         AES-256-GCM with SHA-384, no other
//!   authentication raw public keys (RFC 7250), ML-DSA-65, both sides, judged by a `PeerPolicy`
//!   ALPN           one protocol name that ends with the genesis hash
//!   never          TLS 1.2, X.509, resumption, tickets, early data, server names
//! ```
//!
//! # Correctness
//! * There is no fallback: a peer that offers less is refused during the handshake.
//! * A TLS 1.3 client finishes before the server has judged its key. A connection counts only after
//!   the first answer of the application, and after [`peer`] has approved it on both sides: a server
//!   accepts a client that offers no ALPN protocol at all, [`peer`] does not.
//! * Keys that authenticate links sign nothing else of this crate's purposes by accident: TLS has its
//!   own prefix (64 spaces) in what it signs.
//!
//! [`web_server_config`] is for browsers, which know neither raw keys nor ML-DSA: its key exchange is
//! post-quantum, its authentication is an ordinary certificate.

mod fault;
mod identity;
mod policy;
#[cfg(test)]
mod tests;
mod web;

pub use fault::{HandshakeFault, fault};
pub use identity::TlsIdentity;
pub use policy::{PeerPolicy, peer, peer_key};
pub use web::web_server_config;

use crate::PublicKey;
use policy::PeerVerifier;
use rustls::{
    ClientConfig, ServerConfig, SignatureScheme,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as provider},
    pki_types::{AlgorithmIdentifier, InvalidSignature, ServerName, SignatureVerificationAlgorithm, alg_id},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// What can go wrong around TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused a configuration.
    #[error("TLS configuration: {0}")]
    Configuration(#[from] rustls::Error),
    /// The peer showed no key.
    #[error("the peer showed no key")]
    NoPeerKey,
    /// What the peer showed is not one raw ML-DSA-65 public key.
    #[error("the peer's key is not a raw ML-DSA-65 public key")]
    PeerKeyEncoding,
    /// The peer's key is not the one that was expected.
    #[error("the peer's key is {found:?}, expected {expected:?}")]
    UnexpectedPeer {
        /// The key that was expected.
        expected: PublicKey,
        /// The key that the peer showed.
        found: PublicKey,
    },
    /// The two sides agreed on another application protocol or on none.
    #[error("application protocol {found:?} instead of {expected:?}")]
    Protocol {
        /// The protocol of this side.
        expected: String,
        /// What was agreed on.
        found: Option<String>,
    },
    /// The key exchange of the connection is not post-quantum.
    #[error("the key exchange of the connection is not X25519MLKEM768")]
    KeyExchange,
    /// A PEM file of the web listener is not usable.
    #[error("{what}: {reason}")]
    Pem {
        /// Which of the files.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// ML-DSA-65 for rustls, by AWS-LC.
#[derive(Debug)]
struct MlDsa65;

impl SignatureVerificationAlgorithm for MlDsa65 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        if crate::verify::verify_bytes(public_key, message, signature) { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ML_DSA_65
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ML_DSA_65
    }
}

static ML_DSA_65: &dyn SignatureVerificationAlgorithm = &MlDsa65;
static SIGNATURE_ALGORITHMS: WebPkiSupportedAlgorithms =
    WebPkiSupportedAlgorithms { all: &[ML_DSA_65], mapping: &[(SignatureScheme::ML_DSA_65, &[ML_DSA_65])] };

fn pq_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        cipher_suites: vec![provider::cipher_suite::TLS13_AES_256_GCM_SHA384],
        signature_verification_algorithms: SIGNATURE_ALGORITHMS,
        ..provider::default_provider()
    })
}

/// The configuration of a side that opens connections as `identity` to peers that `policy` admits.
///
/// # Errors
/// [`TlsError::Configuration`] when rustls refuses the parameters, which would be a defect.
pub fn client_config(identity: &TlsIdentity, policy: PeerPolicy, alpn: Vec<u8>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(pq_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PeerVerifier::new(policy)))
        .with_client_cert_resolver(identity.client_resolver());
    config.alpn_protocols = vec![alpn];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// The configuration of a side that accepts connections as `identity` from peers that `policy` admits.
///
/// # Errors
/// [`TlsError::Configuration`] when rustls refuses the parameters, which would be a defect.
pub fn server_config(identity: &TlsIdentity, policy: PeerPolicy, alpn: Vec<u8>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(pq_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(PeerVerifier::new(policy)))
        .with_cert_resolver(identity.server_resolver());
    config.alpn_protocols = vec![alpn];
    never_resume(&mut config);
    Ok(Arc::new(config))
}

fn never_resume(config: &mut ServerConfig) {
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
}

/// Domain of [`link_digest`].
const LINK_DIGEST_DOMAIN: &[u8] = b"x0/peer-id/v1";

/// The name of a key on links that want a SHA-256 hash: SHA-256 over a domain and the key's
/// SubjectPublicKeyInfo, as it travels in the handshake.
#[must_use]
pub fn link_digest(key: &PublicKey) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(LINK_DIGEST_DOMAIN);
    context.update(&identity::to_spki(key));
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The server name that rustls wants from a client. It is neither sent nor checked, because raw keys
/// name the peer.
#[must_use]
pub fn unused_server_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())
}
