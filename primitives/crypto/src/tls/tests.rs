//! Handshakes in memory: what is accepted, and what is refused with which error.

use super::{identity::RawKeySigner, *};
use crate::SigningKey;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConnection, Error, HandshakeKind, NamedGroup,
    PeerIncompatible, ProtocolVersion, ServerConnection, pki_types::CertificateDer,
};
use std::{
    io::{Read, Write},
    sync::atomic::{AtomicBool, Ordering},
};

const ALPN: &[u8] = b"x0-test/1/00ff";

struct Side {
    identity: TlsIdentity,
}

fn side() -> Side {
    Side { identity: TlsIdentity::from_key(&SigningKey::generate().unwrap()) }
}

impl Side {
    fn key(&self) -> PublicKey {
        self.identity.public().clone()
    }

    fn client(&self, policy: PeerPolicy) -> Arc<ClientConfig> {
        client_config(&self.identity, policy, ALPN.to_vec()).unwrap()
    }

    fn server(&self, policy: PeerPolicy) -> Arc<ServerConfig> {
        server_config(&self.identity, policy, ALPN.to_vec()).unwrap()
    }
}

/// Two ends of a connection whose wire is two vectors.
#[derive(Debug)]
struct Link {
    client: ClientConnection,
    server: ServerConnection,
}

/// Moves everything that one side has to say to the other.
macro_rules! carry {
    ($from:expr, $to:expr) => {{
        let mut wire = Vec::new();
        while $from.wants_write() {
            $from.write_tls(&mut wire).unwrap();
        }
        let mut unread = &wire[..];
        let mut result = Ok(());
        while !unread.is_empty() && result.is_ok() {
            $to.read_tls(&mut unread).unwrap();
            result = $to.process_new_packets().map(|_| ());
        }
        result
    }};
}

/// The first error of the client and of the server, after both had their say.
type Refusals = (Option<Error>, Option<Error>);

#[allow(clippy::result_large_err, reason = "a test helper, called a dozen times")]
fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<Link, Refusals> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut link =
        Link { client: ClientConnection::new(client, name).unwrap(), server: ServerConnection::new(server).unwrap() };
    let (mut client_error, mut server_error) = (None, None);
    for _ in 0..8 {
        if let Err(error) = carry!(link.client, link.server) {
            server_error.get_or_insert(error);
        }
        if let Err(error) = carry!(link.server, link.client) {
            client_error.get_or_insert(error);
        }
    }
    if client_error.is_some() || server_error.is_some() {
        return Err((client_error, server_error));
    }
    assert!(!link.client.is_handshaking() && !link.server.is_handshaking());
    Ok(link)
}

/// A client outside this crate's rules: no policy, no key, the given key exchange groups.
fn foreign_client(
    groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
    alpn: Option<&[u8]>,
) -> Arc<ClientConfig> {
    let provider = CryptoProvider { kx_groups: groups, ..provider::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(x0_test_support::tls::Believing::any())
        .with_no_client_auth();
    config.alpn_protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
    Arc::new(config)
}

fn refused_for(error: Option<Error>, expected: CertificateError) {
    assert!(matches!(&error, Some(Error::InvalidCertificate(found)) if *found == expected), "{error:?}");
}

#[test]
fn two_keys_that_expect_each_other_talk() {
    let (a, b) = (side(), side());
    let client = a.client(PeerPolicy::only(b.key()));
    let server = b.server(PeerPolicy::only(a.key()));
    for _ in 0..2 {
        let mut link = connect(Arc::clone(&client), Arc::clone(&server)).unwrap();
        assert_eq!(peer(&link.client, ALPN).unwrap(), b.key());
        assert_eq!(peer(&link.server, ALPN).unwrap(), a.key());
        assert_eq!(link.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(link.client.negotiated_cipher_suite().unwrap().suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(link.client.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        // The second connection would be `Resumed` if anything of the first were kept.
        assert_eq!(link.server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(link.server.server_name(), None, "no server name is sent");

        link.client.writer().write_all(b"ping").unwrap();
        carry!(link.client, link.server).unwrap();
        let mut text = [0; 4];
        link.server.reader().read_exact(&mut text).unwrap();
        assert_eq!(&text, b"ping");
    }
}

#[test]
fn a_client_refuses_a_server_with_another_key() {
    let (a, b, expected) = (side(), side(), side());
    let (client, _) = connect(a.client(PeerPolicy::only(expected.key())), b.server(PeerPolicy::Any)).unwrap_err();
    refused_for(client, CertificateError::ApplicationVerificationFailure);
}

#[test]
fn a_server_refuses_a_client_that_is_not_on_its_list() {
    let (a, b, listed) = (side(), side(), side());
    let (_, server) = connect(a.client(PeerPolicy::Any), b.server(PeerPolicy::only(listed.key()))).unwrap_err();
    refused_for(server, CertificateError::ApplicationVerificationFailure);
}

#[test]
fn a_dynamic_policy_is_asked_at_each_handshake() {
    let (a, b) = (side(), side());
    let admitted = Arc::new(AtomicBool::new(true));
    let policy = PeerPolicy::Dynamic(Arc::new({
        let (admitted, key) = (Arc::clone(&admitted), a.key());
        move |found| *found == key && admitted.load(Ordering::SeqCst)
    }));
    let (client, server) = (a.client(PeerPolicy::Any), b.server(policy));
    connect(Arc::clone(&client), Arc::clone(&server)).unwrap();
    admitted.store(false, Ordering::SeqCst);
    refused_for(connect(client, server).unwrap_err().1, CertificateError::ApplicationVerificationFailure);
}

#[test]
fn who_shows_the_key_of_another_is_refused() {
    let (victim, b) = (side(), side());
    let attacker = SigningKey::generate().unwrap();
    let spki = identity::to_spki(victim.identity.public());
    let signer = RawKeySigner { key: attacker, spki: Arc::from(&spki[..]) };
    let forged = TlsIdentity::new_for_test(victim.key(), spki, signer);
    let server = b.server(PeerPolicy::only(victim.key()));
    let client = client_config(&forged, PeerPolicy::Any, ALPN.to_vec()).unwrap();
    refused_for(connect(client, server).unwrap_err().1, CertificateError::BadSignature);
    let server = server_config(&forged, PeerPolicy::Any, ALPN.to_vec()).unwrap();
    let (client, _) = connect(b.client(PeerPolicy::only(victim.key())), server).unwrap_err();
    refused_for(client, CertificateError::BadSignature);
}

#[test]
fn another_protocol_or_another_chain_is_refused() {
    let (a, b) = (side(), side());
    let client = client_config(&a.identity, PeerPolicy::Any, b"x0-test/1/00fe".to_vec()).unwrap();
    let (client, server) = connect(client, b.server(PeerPolicy::Any)).unwrap_err();
    assert_eq!(server, Some(Error::NoApplicationProtocol));
    assert_eq!(client, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[test]
fn a_client_without_protocol_passes_the_handshake_but_not_the_check() {
    let (a, b) = (side(), side());
    let mut client = ClientConfig::clone(&a.client(PeerPolicy::Any));
    client.alpn_protocols.clear();
    let link = connect(Arc::new(client), b.server(PeerPolicy::Any)).unwrap();
    let refused = peer(&link.server, ALPN).unwrap_err();
    assert!(matches!(refused, TlsError::Protocol { found: None, .. }), "{refused}");
}

#[test]
fn a_classical_client_and_a_client_without_a_key_are_refused() {
    let b = side();
    let server = b.server(PeerPolicy::Any);
    let classical = foreign_client(vec![provider::kx_group::X25519, provider::kx_group::SECP256R1], Some(ALPN));
    let (_, refused) = connect(classical, Arc::clone(&server)).unwrap_err();
    assert_eq!(refused, Some(Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)));
    // A client that can do the key exchange but knows only X.509 is turned away as well.
    let x509 = foreign_client(vec![provider::kx_group::X25519MLKEM768], Some(ALPN));
    let (_, refused) = connect(x509, server).unwrap_err();
    assert!(matches!(refused, Some(Error::PeerIncompatible(_))), "{refused:?}");
}

#[test]
fn only_the_canonical_form_of_one_raw_key_is_a_peer_key() {
    let key = SigningKey::generate().unwrap().public().clone();
    let spki = identity::to_spki(&key);
    let whole = CertificateDer::from(spki.clone());
    assert_eq!(peer_key(std::slice::from_ref(&whole)).unwrap(), key);
    assert!(matches!(peer_key(&[]), Err(TlsError::NoPeerKey)));
    assert!(matches!(peer_key(&[whole.clone(), whole]), Err(TlsError::PeerKeyEncoding)));
    for bad in [spki[..spki.len() - 1].to_vec(), [&spki[..], &[0]].concat(), [&spki[..10], &[1], &spki[11..]].concat()]
    {
        assert!(matches!(peer_key(&[CertificateDer::from(bad)]), Err(TlsError::PeerKeyEncoding)));
    }
}

#[test]
fn our_encoding_of_a_key_is_the_one_of_the_library() {
    use aws_lc_rs::{encoding::AsDer, signature::ML_DSA_65};
    let key = SigningKey::generate().unwrap().public().clone();
    let parsed = aws_lc_rs::signature::ParsedPublicKey::new(&ML_DSA_65, key.as_bytes()).unwrap();
    let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = parsed.as_der().unwrap();
    assert_eq!(identity::to_spki(&key), der.as_ref());
}

const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/vectors/web-tls/certificate.pem");
const CERTIFICATE_KEY: &[u8] = include_bytes!("../../../../tests/vectors/web-tls/key.pem");
const OTHER_KEY: &[u8] = include_bytes!("../../../../tests/vectors/web-tls/other-key.pem");

#[test]
fn the_web_listener_is_post_quantum_unless_told_otherwise() {
    let hybrid = || foreign_client(vec![provider::kx_group::X25519MLKEM768], Some(b"http/1.1"));
    let classical = || foreign_client(vec![provider::kx_group::X25519], Some(b"http/1.1"));
    let strict = web_server_config(CERTIFICATE, CERTIFICATE_KEY, false).unwrap();
    let link = connect(hybrid(), Arc::clone(&strict)).unwrap();
    assert_eq!(link.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    let (_, refused) = connect(classical(), strict).unwrap_err();
    assert_eq!(refused, Some(Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)));

    let lenient = web_server_config(CERTIFICATE, CERTIFICATE_KEY, true).unwrap();
    let link = connect(classical(), Arc::clone(&lenient)).unwrap();
    assert!(matches!(peer(&link.server, b"http/1.1"), Err(TlsError::KeyExchange)));
    // What browsers of today offer: the hybrid group first.
    let both = foreign_client(vec![provider::kx_group::X25519MLKEM768, provider::kx_group::X25519], Some(b"http/1.1"));
    let link = connect(both, lenient).unwrap();
    assert_eq!(link.server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn a_raw_key_client_refuses_a_web_server() {
    let a = side();
    let web = web_server_config(CERTIFICATE, CERTIFICATE_KEY, true).unwrap();
    let (client, server) = connect(a.client(PeerPolicy::Any), web).unwrap_err();
    assert!(client.is_some() || server.is_some());
}

#[test]
fn web_files_that_do_not_fit_are_named() {
    let error = |chain, key| web_server_config(chain, key, false).unwrap_err();
    assert!(error(b"", CERTIFICATE_KEY).to_string().contains("certificate chain"));
    assert!(error(CERTIFICATE, b"").to_string().contains("private key"));
    assert!(error(CERTIFICATE, CERTIFICATE).to_string().contains("private key"));
    assert!(matches!(error(CERTIFICATE, OTHER_KEY), TlsError::Configuration(_)));
}
