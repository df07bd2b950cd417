//! The signer's side: a listener that answers the nodes whose link keys it knows.

use super::{alpn, frame};
use crate::{
    guard::binding,
    key::{ConsensusKey, LocalKey},
};
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use x0_crypto::{
    PublicKey, SigningKey,
    tls::{PeerPolicy, TlsError, TlsIdentity, peer, server_config},
};
use x0_limits::{SIGNER_CONNECTIONS_MAX, SIGNER_HANDSHAKE_MS, SIGNER_IDLE_MS};

/// Pause after the system refused a connection, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the signer does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The link key is not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody may ask.
    #[error("no client keys are allowed: nobody could ask this signer")]
    NobodyAllowed,
}

/// Answers requests until `stop` ends. `link` is the key of this side of the links, `allowed` are the link keys of the nodes
/// that may ask.
///
/// # Errors
/// [`ServeError`] at the start. Faults of single connections end those connections and are logged.
pub async fn serve(
    listener: TcpListener,
    key: Arc<LocalKey>,
    link: &SigningKey,
    allowed: BTreeSet<PublicKey>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    if allowed.is_empty() {
        return Err(ServeError::NobodyAllowed);
    }
    let protocol = alpn(key.genesis());
    let config = server_config(&TlsIdentity::from_key(link), PeerPolicy::Only(allowed), protocol.clone())?;
    let (acceptor, places) = (TlsAcceptor::from(config), Arc::new(Semaphore::new(SIGNER_CONNECTIONS_MAX)));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%address, "too many connections; this one is refused");
            continue;
        };
        let (acceptor, key, protocol) = (acceptor.clone(), Arc::clone(&key), protocol.clone());
        connections.spawn(async move {
            match connection(stream, acceptor, key, &protocol).await {
                Ok(()) => tracing::info!(%address, "a node left"),
                Err(error) => tracing::warn!(%address, %error, "connection ended"),
            }
            drop(place);
        });
    }
    // A signature under way is on the disk or not made; its answer may be lost, and is repeated on request.
    connections.shutdown().await;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("the handshake took too long")]
    Handshake,
    #[error("no request for {SIGNER_IDLE_MS} ms")]
    Idle,
    #[error("the signing task ended without an answer")]
    Ended,
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    key: Arc<LocalKey>,
    protocol: &[u8],
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let handshake = Duration::from_millis(SIGNER_HANDSHAKE_MS);
    let mut stream = timeout(handshake, acceptor.accept(stream)).await.map_err(|_| ConnectionError::Handshake)??;
    let node = peer(stream.get_ref().1, protocol)?;
    tracing::info!(?node, "a node may ask for signatures");
    let bound = binding(key.genesis(), key.public());
    write(&mut stream, &frame::hello(key.public())).await?;
    loop {
        let idle = Duration::from_millis(SIGNER_IDLE_MS);
        let Some(body) = timeout(idle, read(&mut stream)).await.map_err(|_| ConnectionError::Idle)?? else {
            return Ok(());
        };
        let statements = frame::read_request(&body)?;
        let key = Arc::clone(&key);
        let outcome = tokio::task::spawn_blocking(move || match &statements[..] {
            [first, second] => key.sign_pair([first, second]).map(Vec::from),
            [first, ..] => key.sign(first).map(|signature| vec![signature]),
            [] => Ok(Vec::new()),
        })
        .await
        .map_err(|_| ConnectionError::Ended)?;
        if let Err(error) = &outcome {
            tracing::warn!(?node, %error, "no signature");
        }
        write(&mut stream, &frame::answer(outcome, &bound)).await?;
    }
}

/// One message; `None` when the other side has closed the connection between two messages.
async fn read(stream: &mut TlsStream<TcpStream>) -> Result<Option<Vec<u8>>, ConnectionError> {
    let mut head = [0; 4];
    if let Err(error) = stream.read_exact(&mut head).await {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error.into()) };
    }
    let mut body = vec![0; frame::length(head)?];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}

async fn write(stream: &mut TlsStream<TcpStream>, body: &[u8]) -> Result<(), ConnectionError> {
    stream.write_all(&frame::framed(body)).await?;
    stream.flush().await?;
    Ok(())
}
