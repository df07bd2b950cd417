//! Which peers a side of a link accepts.

use super::{SIGNATURE_ALGORITHMS, TlsError, identity::from_spki};
use crate::PublicKey;
use rustls::{
    CertificateError, CommonState, DigitallySignedStruct, DistinguishedName, Error, NamedGroup, PeerIncompatible,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature_with_raw_key,
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use std::{collections::BTreeSet, sync::Arc};

/// Which keys a side of a link admits. Whatever it says, a peer must prove that it holds its key.
#[derive(Clone)]
pub enum PeerPolicy {
    /// Any key: the application looks at the key later.
    Any,
    /// Only these keys.
    Only(BTreeSet<PublicKey>),
    /// The keys for which the function says yes at the time of the handshake. It runs inside the
    /// handshake, so it must be quick and must not block.
    Dynamic(Arc<dyn Fn(&PublicKey) -> bool + Send + Sync>),
}

impl PeerPolicy {
    /// Only this one key.
    #[must_use]
    pub fn only(key: PublicKey) -> Self {
        Self::Only(BTreeSet::from([key]))
    }

    fn admits(&self, key: &PublicKey) -> bool {
        match self {
            Self::Any => true,
            Self::Only(keys) => keys.contains(key),
            Self::Dynamic(admits) => admits(key),
        }
    }
}

impl core::fmt::Debug for PeerPolicy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Only(keys) => f.debug_tuple("Only").field(keys).finish(),
            Self::Dynamic(_) => f.write_str("Dynamic"),
        }
    }
}

/// The key of a peer, from the certificates of its connection.
///
/// # Errors
/// [`TlsError::NoPeerKey`], or [`TlsError::PeerKeyEncoding`] for anything but exactly one raw key.
pub fn peer_key(certificates: &[CertificateDer<'_>]) -> Result<PublicKey, TlsError> {
    match certificates {
        [] => Err(TlsError::NoPeerKey),
        [only] => from_spki(only).ok_or(TlsError::PeerKeyEncoding),
        _ => Err(TlsError::PeerKeyEncoding),
    }
}

/// The peer of an established connection, after checking what the handshake agreed on: the key
/// exchange and this exact application protocol.
///
/// # Errors
/// [`TlsError::KeyExchange`], [`TlsError::Protocol`], and those of [`peer_key`].
pub fn peer(connection: &CommonState, alpn: &[u8]) -> Result<PublicKey, TlsError> {
    if connection.negotiated_key_exchange_group().map(|group| group.name()) != Some(NamedGroup::X25519MLKEM768) {
        return Err(TlsError::KeyExchange);
    }
    if connection.alpn_protocol() != Some(alpn) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        return Err(TlsError::Protocol { expected: text(alpn), found: connection.alpn_protocol().map(text) });
    }
    peer_key(connection.peer_certificates().unwrap_or(&[]))
}

/// Judges the key of a peer during the handshake, before any byte of the application.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    policy: PeerPolicy,
}

impl PeerVerifier {
    pub(super) const fn new(policy: PeerPolicy) -> Self {
        Self { policy }
    }

    fn judge(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
        if !intermediates.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        let key = from_spki(end_entity).ok_or(CertificateError::BadEncoding)?;
        if self.policy.admits(&key) { Ok(()) } else { Err(CertificateError::ApplicationVerificationFailure.into()) }
    }

    fn verify(
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signed, &SIGNATURE_ALGORITHMS)
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ML_DSA_65]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
