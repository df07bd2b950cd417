//! An agent over real TLS that behaves as told.

use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use x0_crypto::{
    SigningKey,
    tls::{self, PeerPolicy, TlsIdentity},
};
use x0_types::{
    AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature,
    probe::{
        PROBE_ALPN, ProbeRequest, ProbeResponse, Receipt, SignedReceipt, decode_frame, encode_frame, frame_length,
        probe_alpn, transfer_piece,
    },
};

use crate::Target;

/// The chain of these tests.
pub(crate) const GENESIS: Hash = Hash::repeat_byte(0x42);

/// What an agent does with a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Honest,
    OtherNode,
    OtherSlot,
    OldNonce,
    OtherProber,
    OtherSigner,
    OtherChain,
    /// Speaks the protocol of another chain.
    OtherProtocol,
    Refuse,
    Admissions,
    Garbage,
    HugeFrame,
    HangUp,
    Silent,
    /// Answers pings late.
    Sluggish,
    /// Refuses to send data.
    Stingy,
}

pub(crate) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::dev::seed(name, "agent")).unwrap()
}

pub(crate) fn node_of(key: &SigningKey) -> AccountId {
    MlDsa65PublicKey(key.public().clone().to_boxed()).account_id()
}

fn target(index: u32, endpoint: SocketAddr, key: &SigningKey) -> Target {
    let (endpoint, public) = (Some(endpoint), Some(key.public().clone()));
    Target { index, node: node_of(key), endpoint, key: public, checks: vec![], promises: vec![] }
}

/// Starts an agent on a free port and returns it as the chain would name it.
pub(crate) async fn start(index: u32, name: &str, behaviour: Behaviour) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (endpoint, key) = (listener.local_addr().unwrap(), key(name));
    let target = target(index, endpoint, &key);
    listen(listener, key, GENESIS, behaviour);
    target
}

/// Serves probes of the chain with this genesis hash.
pub(crate) fn listen(listener: TcpListener, key: SigningKey, genesis: Hash, behaviour: Behaviour) {
    let alpn = match behaviour {
        Behaviour::OtherProtocol => format!("{PROBE_ALPN}/{}", "00".repeat(32)).into_bytes(),
        _ => probe_alpn(&genesis.0),
    };
    let config = tls::server_config(&TlsIdentity::from_key(&key), PeerPolicy::Any, alpn).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, key) = (TlsAcceptor::from(config.clone()), key.clone());
            tokio::spawn(async move {
                // A prober that does not like this agent ends the connection, which is fine here.
                if let Ok(link) = acceptor.accept(stream).await {
                    let _ = serve(link, &key, genesis, behaviour).await;
                }
            });
        }
    });
}

/// A port on which nobody listens.
pub(crate) async fn dead(index: u32, name: &str) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: SocketAddr = listener.local_addr().unwrap();
    let key = key(name);
    target(index, endpoint, &key)
}

/// Answers what measures round trip and throughput; slowly when told so.
async fn answer_trial(
    link: &mut tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    request: &ProbeRequest,
    behaviour: Behaviour,
) -> std::io::Result<()> {
    match request {
        ProbeRequest::Ping { nonce } => {
            if behaviour == Behaviour::Sluggish {
                tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            }
            link.write_all(&encode_frame(&ProbeResponse::Pong { nonce: *nonce }).unwrap()).await
        }
        ProbeRequest::Transfer { bytes, seed } => {
            if behaviour == Behaviour::Stingy {
                return link.write_all(&encode_frame(&ProbeResponse::Refused(b"no".to_vec())).unwrap()).await;
            }
            let (mut left, mut number) = (*bytes as usize, 0);
            while left > 0 {
                let piece = transfer_piece(seed, number, left.min(x0_limits::TRIAL_PIECE_BYTES as usize));
                left -= piece.len();
                number += 1;
                link.write_all(&encode_frame(&ProbeResponse::Piece(piece)).unwrap()).await?;
            }
            Ok(())
        }
        other => panic!("{other:?}"),
    }
}

async fn serve(
    mut link: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    key: &SigningKey,
    genesis: Hash,
    behaviour: Behaviour,
) -> std::io::Result<()> {
    let prober = tls::peer_key(link.get_ref().1.peer_certificates().unwrap_or(&[])).unwrap();
    let mut header = [0; 4];
    link.read_exact(&mut header).await?;
    let mut payload = vec![0; frame_length(header).unwrap()];
    link.read_exact(&mut payload).await?;
    let mut request = decode_frame(&payload).unwrap();
    while !matches!(request, ProbeRequest::Alive { .. }) {
        answer_trial(&mut link, &request, behaviour).await?;
        link.read_exact(&mut header).await?;
        let mut payload = vec![0; frame_length(header).unwrap()];
        link.read_exact(&mut payload).await?;
        request = decode_frame(&payload).unwrap();
    }
    let ProbeRequest::Alive { slot, nonce } = request else { panic!("not a probe") };
    let mut receipt = Receipt {
        node: node_of(key),
        slot,
        nonce,
        prober: prober.fingerprint().into(),
        admissions: Hash::zero(),
        agent_time_ms: 0,
    };
    let (mut signer, mut genesis) = (key.clone(), genesis.0);
    match behaviour {
        Behaviour::OtherNode => receipt.node = AccountId::new([9; 32]),
        Behaviour::OtherSlot => receipt.slot += 1,
        Behaviour::OldNonce => receipt.nonce = [0; 32],
        Behaviour::OtherProber => receipt.prober = Hash::repeat_byte(8),
        Behaviour::OtherSigner => signer = self::key("somebody else"),
        Behaviour::OtherChain => genesis = [0; 32],
        _ => {}
    }
    let signature = signer.sign_receipt(&genesis, &receipt.signed_body()).unwrap();
    let signed = SignedReceipt { receipt, signature: MlDsa65Signature(signature.to_boxed()) };
    let frame = match behaviour {
        Behaviour::Refuse => encode_frame(&ProbeResponse::Refused(b"busy\x1b[31m".to_vec())).unwrap(),
        Behaviour::Admissions => encode_frame(&ProbeResponse::Admissions(vec![])).unwrap(),
        Behaviour::Garbage => vec![0, 0, 0, 3, 0xff, 0xff, 0xff],
        Behaviour::HugeFrame => vec![0xff, 0xff, 0xff, 0xff],
        Behaviour::HangUp => vec![0, 0],
        Behaviour::Silent => {
            std::future::pending::<()>().await;
            vec![]
        }
        _ => encode_frame(&ProbeResponse::Receipt(signed)).unwrap(),
    };
    link.write_all(&frame).await?;
    link.shutdown().await
}
