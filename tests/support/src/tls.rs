//! Clients that believe X.509 certificates, for listeners that serve browsers or must refuse such clients.

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{aws_lc_rs as provider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::Arc;

/// Believes one certificate, or any, if its key signed the handshake of TLS 1.3.
#[derive(Debug)]
pub struct Believing(Option<CertificateDer<'static>>);

impl Believing {
    /// Believes this certificate and no other, as a browser does after its own checks.
    #[must_use]
    pub fn only(certificate: CertificateDer<'static>) -> Arc<Self> {
        Arc::new(Self(Some(certificate)))
    }

    /// Believes any certificate.
    #[must_use]
    pub fn any() -> Arc<Self> {
        Arc::new(Self(None))
    }
}

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        found: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.0.as_ref().is_none_or(|only| only == found) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("another certificate".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
