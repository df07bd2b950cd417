//! Why a handshake failed, for those who must tell the reasons apart.

use rustls::{AlertDescription, Error, PeerIncompatible};

/// The rule of this module that a peer broke during a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// What came in is not TLS.
    NotTls,
    /// The peer does not speak TLS 1.3.
    Version,
    /// No common application protocol: another chain or another version of the protocol.
    Protocol,
    /// The peer offers no X25519MLKEM768.
    KeyExchange,
    /// The peer offers no AES-256-GCM.
    Cipher,
    /// The peer shows no raw ML-DSA-65 key, or none at all.
    KeyKind,
    /// The policy does not admit the peer's key.
    NotAdmitted,
    /// The peer does not hold the key that it shows.
    Signature,
    /// The peer turned this side away, with this alert.
    TurnedAway(AlertDescription),
    /// Anything else.
    Other,
}

/// The fault behind an error of a TLS stream; `None` when it is of the socket below.
#[must_use]
pub fn fault(error: &std::io::Error) -> Option<HandshakeFault> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => HandshakeFault::NotTls,
        Error::NoApplicationProtocol => HandshakeFault::Protocol,
        Error::NoCertificatesPresented => HandshakeFault::KeyKind,
        Error::PeerIncompatible(reason) => incompatible(reason),
        Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure) => {
            HandshakeFault::NotAdmitted
        }
        Error::InvalidCertificate(rustls::CertificateError::BadSignature) => HandshakeFault::Signature,
        Error::InvalidCertificate(_) => HandshakeFault::KeyKind,
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => HandshakeFault::Protocol,
        Error::AlertReceived(alert) => HandshakeFault::TurnedAway(*alert),
        _ => HandshakeFault::Other,
    })
}

fn incompatible(reason: &PeerIncompatible) -> HandshakeFault {
    match reason {
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired => HandshakeFault::KeyExchange,
        PeerIncompatible::NoCipherSuitesInCommon => HandshakeFault::Cipher,
        PeerIncompatible::IncorrectCertificateTypeExtension
        | PeerIncompatible::UnsolicitedCertificateTypeExtension
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => HandshakeFault::KeyKind,
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired => HandshakeFault::Version,
        _ => HandshakeFault::Other,
    }
}
