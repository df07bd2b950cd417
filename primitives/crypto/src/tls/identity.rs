//! The key with which a side of a link authenticates.

use crate::{PUBLIC_KEY_BYTES, PublicKey, SigningKey};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    client::AlwaysResolvesClientRawPublicKeys,
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
    server::AlwaysResolvesServerRawPublicKeys,
    sign::CertifiedKey,
};
use std::sync::Arc;

/// DER that comes before the 1952 bytes of an ML-DSA-65 key in a SubjectPublicKeyInfo (RFC 9881):
/// SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.3.18 }, BIT STRING without unused bits }.
const SPKI_PREFIX: [u8; 22] = [
    0x30, 0x82, 0x07, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, 0x03, 0x82,
    0x07, 0xa1, 0x00,
];

/// The SubjectPublicKeyInfo of a key.
pub(super) fn to_spki(key: &PublicKey) -> Vec<u8> {
    [&SPKI_PREFIX[..], key.as_bytes()].concat()
}

/// The key in a SubjectPublicKeyInfo, which must have the one canonical form.
pub(super) fn from_spki(spki: &[u8]) -> Option<PublicKey> {
    let bytes: &[u8; PUBLIC_KEY_BYTES] = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    Some(PublicKey::from(bytes))
}

/// A key pair in its use for links. The key's secret stays inside [`SigningKey`]; nothing is copied.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    public: PublicKey,
    certified: Arc<CertifiedKey>,
}

impl TlsIdentity {
    /// The link identity of this key.
    #[must_use]
    pub fn from_key(key: &SigningKey) -> Self {
        let spki = to_spki(key.public());
        let signer = RawKeySigner { key: key.clone(), spki: Arc::from(&spki[..]) };
        Self {
            public: key.public().clone(),
            certified: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(signer))),
        }
    }

    /// An identity whose signer need not hold the key that it shows.
    #[cfg(test)]
    pub(super) fn new_for_test(public: PublicKey, spki: Vec<u8>, signer: RawKeySigner) -> Self {
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki)], Arc::new(signer));
        Self { public, certified: Arc::new(certified) }
    }

    /// The public key that peers see.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn client_resolver(&self) -> Arc<AlwaysResolvesClientRawPublicKeys> {
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.certified)))
    }

    pub(super) fn server_resolver(&self) -> Arc<AlwaysResolvesServerRawPublicKeys> {
        Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.certified)))
    }
}

/// Signs handshakes for rustls without handing it the secret.
#[derive(Clone, Debug)]
pub(super) struct RawKeySigner {
    pub(super) key: SigningKey,
    pub(super) spki: Arc<[u8]>,
}

impl rustls::sign::SigningKey for RawKeySigner {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered.contains(&SignatureScheme::ML_DSA_65).then(|| Box::new(self.clone()) as Box<dyn rustls::sign::Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&self.spki[..]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // This field is of TLS 1.2, which has no number for ML-DSA; rustls itself says the same.
        SignatureAlgorithm::Unknown(0)
    }
}

impl rustls::sign::Signer for RawKeySigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.key.sign_bytes(message).map_err(|error| Error::General(error.to_string()))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ML_DSA_65
    }
}
