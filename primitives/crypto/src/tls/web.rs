//! TLS for browsers.

use super::{TlsError, never_resume};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;

/// The configuration of the web listener: an operator's X.509 certificate, TLS 1.3, key exchange
/// X25519MLKEM768 only. What travels is safe from a later quantum computer; the authentication of
/// the server is as classical as its certificate. `allow_classical` adds X25519 and P-256 for old
/// browsers, which gives that safety up for them.
///
/// # Errors
/// [`TlsError::Pem`] when a file has no usable certificate or key, [`TlsError::Configuration`] when
/// the two do not belong together.
pub fn web_server_config(
    certificate_chain_pem: &[u8],
    private_key_pem: &[u8],
    allow_classical: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |what| move |error: rustls::pki_types::pem::Error| TlsError::Pem { what, reason: error.to_string() };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate_chain_pem)
        .collect::<Result<_, _>>()
        .map_err(pem("certificate chain"))?;
    if chain.is_empty() {
        return Err(TlsError::Pem { what: "certificate chain", reason: "no certificate found".to_owned() });
    }
    let key = PrivateKeyDer::from_pem_slice(private_key_pem).map_err(pem("private key"))?;
    let mut kx_groups = vec![provider::kx_group::X25519MLKEM768];
    if allow_classical {
        kx_groups.extend([provider::kx_group::X25519, provider::kx_group::SECP256R1]);
    }
    let provider = CryptoProvider { kx_groups, ..provider::default_provider() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // WebSocket needs HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    never_resume(&mut config);
    Ok(Arc::new(config))
}
