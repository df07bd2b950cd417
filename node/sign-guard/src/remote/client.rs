//! The node's side: a blocking client that connects again by itself.

use super::{alpn, frame};
use crate::{
    guard::{GuardError, binding},
    key::{ConsensusKey, Counters, SignStats},
};
use parking_lot::Mutex;
use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};
use x0_crypto::{
    PublicKey, Signature, SigningKey,
    statement::{Place, Statement},
    tls::{PeerPolicy, TlsIdentity, client_config, peer, unused_server_name},
};
use x0_limits::{SIGNER_ANSWER_MS, SIGNER_HANDSHAKE_MS, SIGNER_PATIENCE_MS};

/// First wait before another attempt to reach the signer; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);

/// Where the signer is, and who it must be.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Host and port of its listener.
    pub address: String,
    /// The key of its link.
    pub signer: PublicKey,
    /// The consensus key that it must hold.
    pub consensus: PublicKey,
    /// The chain.
    pub genesis: [u8; 32],
    /// How long a request goes on trying; `SIGNER_PATIENCE_MS` in production.
    pub patience: Duration,
}

impl RemoteConfig {
    /// The settings of a production node.
    #[must_use]
    pub const fn new(address: String, signer: PublicKey, consensus: PublicKey, genesis: [u8; 32]) -> Self {
        Self { address, signer, consensus, genesis, patience: Duration::from_millis(SIGNER_PATIENCE_MS) }
    }
}

type Link = StreamOwned<ClientConnection, TcpStream>;

/// A consensus key that another process holds.
pub struct RemoteKey {
    config: RemoteConfig,
    tls: Arc<ClientConfig>,
    alpn: Vec<u8>,
    binding: [u8; 32],
    name: [u8; 32],
    link: Mutex<Option<Link>>,
    last: Mutex<Option<Place>>,
    counters: Counters,
}

impl core::fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RemoteKey({} at {})", hex::encode(&self.name[..4]), self.config.address)
    }
}

/// Why one attempt failed.
type Attempt<T> = Result<T, Box<dyn core::error::Error + Send + Sync>>;

impl RemoteKey {
    /// Reaches the signer for the first time. Blocks for as long as `config.patience`.
    ///
    /// # Errors
    /// [`GuardError::Unavailable`], which also names a signer that shows another key than the settings say.
    pub fn connect(config: RemoteConfig, identity: &SigningKey) -> Result<Self, GuardError> {
        let alpn = alpn(&config.genesis);
        let policy = PeerPolicy::only(config.signer.clone());
        let tls = client_config(&TlsIdentity::from_key(identity), policy, alpn.clone())
            .map_err(|error| GuardError::Unavailable { address: config.address.clone(), reason: error.to_string() })?;
        let (binding, name) = (binding(&config.genesis, &config.consensus), config.consensus.fingerprint());
        let (link, last) = (Mutex::new(None), Mutex::new(None));
        let remote = Self { config, tls, alpn, binding, name, link, last, counters: Counters::default() };
        remote.patiently(|_| Ok(()))?;
        Ok(remote)
    }

    fn dial(&self) -> Attempt<Link> {
        let handshake = Duration::from_millis(SIGNER_HANDSHAKE_MS);
        let mut reached = Err("the address has no IP address".into());
        for address in self.config.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, handshake) {
                Ok(stream) => {
                    reached = Ok(stream);
                    break;
                }
                Err(error) => reached = Err(Box::<dyn core::error::Error + Send + Sync>::from(error)),
            }
        }
        let stream = reached?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(handshake))?;
        stream.set_write_timeout(Some(handshake))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.tls), unused_server_name())?;
        let mut stream = stream;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        peer(&connection, &self.alpn)?;
        let mut link = StreamOwned::new(connection, stream);
        // The signer judges this side's key after the handshake; its hello says that it is content.
        let consensus = frame::read_hello(&read(&mut link)?)?;
        if consensus != self.config.consensus {
            return Err(format!("it holds another consensus key: {consensus:?}").into());
        }
        link.sock.set_read_timeout(Some(Duration::from_millis(SIGNER_ANSWER_MS)))?;
        Ok(link)
    }

    /// Works on a standing link, and makes a new one after each failure, as long as patience lasts.
    fn patiently<T>(&self, work: impl Fn(&mut Link) -> Attempt<T>) -> Result<T, GuardError> {
        let since = Instant::now();
        let mut pause = PAUSE_MIN;
        let mut link = self.link.lock();
        loop {
            // A link that stood idle may be gone without a word: the first failure on it costs no pause.
            let old = link.is_some();
            let attempt = match link.take() {
                Some(link) => Ok(link),
                None => self.dial(),
            }
            .and_then(|mut standing| work(&mut standing).map(|done| (standing, done)));
            match attempt {
                Ok((standing, done)) => {
                    *link = Some(standing);
                    return Ok(done);
                }
                Err(_) if old => {}
                Err(error) if since.elapsed() + pause > self.config.patience => {
                    let (address, reason) = (self.config.address.clone(), error.to_string());
                    return Err(GuardError::Unavailable { address, reason });
                }
                Err(error) => {
                    tracing::warn!(address = self.config.address, %error, "the remote signer does not answer; trying again");
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }

    fn ask(&self, statements: &[&Statement]) -> Result<Vec<Signature>, GuardError> {
        if let Some(foreign) = statements.iter().find(|statement| *statement.signer() != self.name) {
            return Err(GuardError::OtherSigner { asked: hex::encode(foreign.signer()), own: hex::encode(self.name) });
        }
        let request = frame::framed(&frame::request(statements));
        let signatures = self.patiently(|link| {
            link.write_all(&request)?;
            link.flush()?;
            Ok(frame::read_answer(&read(link)?, statements.len(), &self.binding)?)
        })??;
        // A signer with the wrong key, chain or memory is noticed here and not by the other validators.
        for (statement, signature) in statements.iter().zip(&signatures) {
            statement.verify(&self.config.consensus, &self.config.genesis, signature)?;
        }
        if let Some(place) = statements.iter().map(|statement| statement.place()).max() {
            let mut last = self.last.lock();
            *last = (*last).max(Some(place));
        }
        Ok(signatures)
    }
}

fn read(link: &mut Link) -> Attempt<Vec<u8>> {
    let mut head = [0; 4];
    link.read_exact(&mut head)?;
    let mut body = vec![0; frame::length(head)?];
    link.read_exact(&mut body)?;
    Ok(body)
}

impl ConsensusKey for RemoteKey {
    fn public(&self) -> &PublicKey {
        &self.config.consensus
    }

    fn sign(&self, statement: &Statement) -> Result<Signature, GuardError> {
        let outcome = self.ask(&[statement]);
        self.counters.count(1, &outcome);
        one(outcome?)
    }

    fn sign_pair(&self, statements: [&Statement; 2]) -> Result<[Signature; 2], GuardError> {
        let outcome = self.ask(&statements);
        self.counters.count(2, &outcome);
        <[Signature; 2]>::try_from(outcome?).map_err(|_| GuardError::Remote("another number of signatures".into()))
    }

    fn last(&self) -> Option<Place> {
        *self.last.lock()
    }

    fn stats(&self) -> SignStats {
        self.counters.stats()
    }
}

fn one(signatures: Vec<Signature>) -> Result<Signature, GuardError> {
    signatures.into_iter().next().ok_or_else(|| GuardError::Remote("no signature".into()))
}
