//! The web listener of the real binary, as a browser meets it: an X.509 certificate, and a key exchange
//! that a later quantum computer does not break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::*;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use rustls::{
    ClientConfig, NamedGroup,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs as provider},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use std::sync::Arc;
use tokio_rustls::{TlsConnector, client::TlsStream};
use x0_test_support::tls::Believing;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/web-tls");

/// A node with a web listener; the listener's address.
fn node(directory: &std::path::Path, allow_classical: bool) -> (Node, String) {
    let file = directory.join(format!("{allow_classical}.toml"));
    let config = format!(
        "[rpc.web]\naddress = \"127.0.0.1:0\"\ncertificate = \"{VECTORS}/certificate.pem\"\nkey = \"{VECTORS}/key.pem\"\nallow_classical = {allow_classical}\n"
    );
    std::fs::write(&file, config).unwrap();
    let node = Node::start(&["--dev", "--tmp", "--rpc-port", "0", "--config", file.to_str().unwrap()]);
    let address = node.ready["web"].as_str().unwrap().trim_start_matches("wss://").to_owned();
    (node, address)
}

/// Connects with these key exchanges only.
async fn connect(
    address: &str,
    groups: Vec<&'static dyn SupportedKxGroup>,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let certificate = CertificateDer::from_pem_file(format!("{VECTORS}/certificate.pem")).unwrap();
    let provider = CryptoProvider { kx_groups: groups, ..provider::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Believing::only(certificate))
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn group(stream: &TlsStream<tokio::net::TcpStream>) -> NamedGroup {
    stream.get_ref().1.negotiated_key_exchange_group().unwrap().name()
}

/// Calls and subscribes over WebSocket on a TLS stream.
async fn use_it(stream: TlsStream<tokio::net::TcpStream>, address: &str) {
    let client: WsClient =
        WsClientBuilder::default().build_with_stream(format!("ws://{address}"), stream).await.unwrap();
    assert_eq!(ask(&client, "system_name", json!([])).await, "x0-node");
    let mut heads = heads(&client).await;
    let first = number(&next(&mut heads).await);
    assert_eq!(number(&next(&mut heads).await), first + 1);
    // What only operators may do is not served to the web.
    assert_eq!(refusal(&client, "admin_mempool", json!([])).await.0, -32601);
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_with_a_hybrid_key_exchange_are_served_and_classical_ones_only_when_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let hybrid = || vec![provider::kx_group::X25519MLKEM768];
    let classical = || vec![provider::kx_group::X25519, provider::kx_group::SECP256R1];

    let (strict, address) = node(directory.path(), false);
    let stream = connect(&address, hybrid()).await.unwrap();
    assert_eq!(group(&stream), NamedGroup::X25519MLKEM768);
    use_it(stream, &address).await;
    // Whoever begins with a classical one and can do better is asked to.
    let asked = connect(&address, [classical(), hybrid()].concat()).await.unwrap();
    assert_eq!(group(&asked), NamedGroup::X25519MLKEM768);
    let refused = connect(&address, classical()).await.expect_err("no key exchange in common");
    assert!(refused.to_string().contains("HandshakeFailure"), "{refused}");
    assert_eq!(strict.terminate().code(), Some(0));

    let (lenient, address) = node(directory.path(), true);
    use_it(connect(&address, classical()).await.unwrap(), &address).await;
    // Browsers that know the hybrid one begin with it, and lose nothing to those that do not.
    let browser = connect(&address, [hybrid(), classical()].concat()).await.unwrap();
    assert_eq!(group(&browser), NamedGroup::X25519MLKEM768);
    assert_eq!(lenient.terminate().code(), Some(0));
}
