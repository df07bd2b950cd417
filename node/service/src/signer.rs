//! `x0-node signer`: the consensus key in a process of its own, behind the sign guard, for nodes that ask over
//! post-quantum TLS.

use crate::{
    cli::SignerArgs,
    config::{LogSection, parse, read_text},
    exit::{Exit, Failure},
    guard, keys, logging,
    password::Source,
    signing::public_key,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeSet,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};
use x0_chain_spec::ChainSpec;
use x0_sign_guard::{LocalKey, serve};
use x0_types::KeyRole;

/// The signer's file. Relative paths count from its directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The chain specification: a signature counts on one chain only.
    chain: PathBuf,
    /// Where it listens.
    listen: SocketAddr,
    /// Directory of the guard's record.
    guard: PathBuf,
    /// Keystore file of the consensus key.
    consensus: PathBuf,
    /// Keystore file of the key of its links, role network.
    network: PathBuf,
    /// What `x0-node key inspect` says of the network keys of the nodes that may ask, as files.
    clients: Vec<PathBuf>,
    /// File with the password of the keystore files.
    password_file: Option<PathBuf>,
    #[serde(default)]
    log: LogSection,
}

impl Settings {
    fn load(path: &Path) -> Result<Self, Failure> {
        let (text, directory) = read_text(path)?;
        let mut settings: Self =
            parse(&text).map_err(|cause| Failure::configuration(format!("{}: {cause}", path.display())))?;
        [&mut settings.chain, &mut settings.guard, &mut settings.consensus, &mut settings.network]
            .into_iter()
            .chain(&mut settings.clients)
            .chain(&mut settings.password_file)
            .for_each(|path| *path = directory.join(&*path));
        Ok(settings)
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// One line.
pub fn run(args: SignerArgs) -> Result<(), Failure> {
    let settings = Settings::load(&args.config)?;
    logging::start(&settings.log)?;
    let spec = ChainSpec::load(&settings.chain).map_err(|cause| {
        Failure::configuration(format!("chain specification {}: {cause}", settings.chain.display()))
    })?;
    let genesis = spec.genesis_hash().map_err(Failure::configuration)?.0;
    let mut source = Source::from(args.password);
    source.file = source.file.or(settings.password_file);
    let password = source.read("for the signer's keystore files", false)?;
    let consensus = keys::open_file(&settings.consensus, KeyRole::Consensus, &password)?;
    let link = keys::open_file(&settings.network, KeyRole::Network, &password)?;
    let clients: BTreeSet<_> =
        settings.clients.iter().map(|path| public_key("clients", path)).collect::<Result<_, _>>()?;
    let key = LocalKey::open(&settings.guard, consensus, genesis).map_err(|cause| guard::failure(&cause))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("x0-signer")
        .build()
        .map_err(|cause| Failure::new(Exit::Restartable, format!("cannot start threads: {cause}")))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|cause| Failure::new(Exit::Restartable, cause))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|cause| Failure::new(Exit::Restartable, cause))?;
        let failed = |cause| Failure::configuration(format!("cannot listen on {}: {cause}", settings.listen));
        let listener = tokio::net::TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        announce(address, &link)?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(listener, Arc::new(key), &link, clients, stop).await.map_err(Failure::configuration)
    })
}

/// Prints the READY line for scripts.
fn announce(address: SocketAddr, link: &x0_crypto::SigningKey) -> Result<(), Failure> {
    let ready = json!({
        "signer": address.to_string(),
        "networkKey": format!("0x{}", hex::encode(link.public().fingerprint())),
        "pid": std::process::id(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "READY {ready}")
        .and_then(|()| out.flush())
        .map_err(|cause| Failure::configuration(format!("cannot write to standard output: {cause}")))
}
