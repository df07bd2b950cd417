//! `x0-node testnet`: a network of N validators, ready to start on one host or on N.
//!
//! ```text
//!   OUT/network.json                      what was made, for scripts
//!   OUT/validator-1 .. validator-N/       a data directory each: copy it to its host, start it
//!   OUT/wallet/                           home of the wallet `x0`: controllers' keys and the faucet's
//! ```

use super::{
    CHAIN, CONFIG, PUBLIC_MODE, ROLES, SECRET_MODE, Settings, make_directory, on_chain, refuse_present, write_new,
};
use crate::{cli::TestnetArgs, exit::Failure, keys};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use x0_chain_spec::{ChainSpec, ChainType, Consensus, LocalNetwork, ValidatorKeys};
use x0_crypto::{
    Seed, SigningKey,
    keystore::{KdfParams, Password},
};
use x0_rpc_types::bytes::to_hex;
use x0_types::{AccountId, KeyRole, account::UNIT};

/// What the faucet and each development account own at the start, base units.
const ENDOWMENT: u128 = 1_000_000 * UNIT;
/// Distance between the ports of two validators on one host.
const PORTS: u16 = 10;
/// Ports of RPC and metrics on a host of a validator's own: the defaults of the configuration, which wallets and the
/// operator's manual expect.
const RPC_PORT: u16 = 9_944;
const METRICS_PORT: u16 = 9_615;
/// How long a validator of a test network waits for a proposal, milliseconds: nearby hosts are fast, and a
/// stopped validator costs this time whenever it is its turn.
const PROPOSE_TIMEOUT_MS: u64 = 1_000;
/// How long it waits for votes, milliseconds.
const VOTE_TIMEOUT_MS: u64 = 500;
/// Name of the file with a password.
const PASSWORD: &str = "password";

/// One validator to be.
struct Place {
    name: String,
    host: String,
    p2p: u16,
    rpc: u16,
    metrics: u16,
}

impl Place {
    /// The address on which it listens for others: its own when that is a number, every one otherwise.
    fn listen(&self) -> String {
        let address = self.host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        SocketAddr::new(address, self.p2p).to_string()
    }

    fn reached_at(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, self.p2p).to_string(),
            Err(_) => format!("{}:{}", self.host, self.p2p),
        }
    }

    fn loopback(port: u16) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string()
    }
}

/// Makes the network and says what it is.
///
/// # Errors
/// One line; an existing directory is never touched.
pub fn testnet(args: &TestnetArgs) -> Result<Value, Failure> {
    refuse_present(&args.output, "a network is made in a directory of its own")?;
    let places = places(args)?;
    make_directory(&args.output)?;
    let mut validators = Vec::new();
    let mut peers = Vec::new();
    let wallet = Wallet::create(&args.output)?;
    let mut accounts = vec![(wallet.key("faucet")?, ENDOWMENT)];
    for place in &places {
        let directory = args.output.join(&place.name);
        make_directory(&directory)?;
        let password = random_password(&directory.join(PASSWORD))?;
        // The password has 256 random bits: no cost of argon2id makes guessing it any harder.
        let keys = super::ValidatorKeys::generate(&directory, &password, &KdfParams::DEVELOPMENT)?;
        peers.push((keys.network.public().fingerprint(), place.reached_at()));
        validators.push(ValidatorKeys {
            controller: wallet.key(&place.name)?,
            consensus: on_chain(&keys.consensus),
            network: on_chain(&keys.network),
            reporter: on_chain(&keys.reporter),
        });
    }
    if args.development_accounts {
        for name in x0_runtime::presets::DEV_ACCOUNTS {
            accounts.push((x0_runtime::presets::dev_account(name).map_err(Failure::configuration)?, ENDOWMENT));
        }
    }
    let faucet = accounts.first().map(|(account, _)| account.clone());
    let boot_peers = peers.iter().map(|(key, address)| format!("{}@{address}", hex::encode(key))).collect();
    let spec = specification(args, validators, accounts, boot_peers)?;
    let genesis = spec.genesis_hash().map_err(Failure::configuration)?;
    let chain = spec.to_json().map_err(Failure::configuration)?;
    for (index, place) in places.iter().enumerate() {
        configure(&args.output.join(&place.name), place, index, &peers, &chain)?;
    }
    wallet.name_network(&args.id, &places, genesis)?;
    let summary = json!({
        "id": args.id,
        "genesis": genesis,
        "validators": summary(args, &places, &peers, &spec),
        "wallet": { "home": wallet.home, "passwordFile": wallet.home.join(PASSWORD), "faucet": faucet },
    });
    write_new(&args.output.join("network.json"), &format!("{summary:#}\n"), PUBLIC_MODE)?;
    Ok(summary)
}

/// Where each validator is.
fn places(args: &TestnetArgs) -> Result<Vec<Place>, Failure> {
    let count = usize::try_from(args.validators).unwrap_or(usize::MAX);
    let several_hosts = args.host_template.contains("{n}");
    let free = if args.base_port == 0 { free_ports(count)? } else { Vec::new() };
    (1..=args.validators)
        .zip(0_usize..)
        .map(|(n, index)| {
            let step = if several_hosts { 0 } else { u16::try_from(index).unwrap_or(u16::MAX).saturating_mul(PORTS) };
            let port = |offset: u16| {
                args.base_port.checked_add(step).and_then(|port| port.checked_add(offset)).ok_or_else(|| {
                    Failure::usage(format!("--base-port {}: {count} validators need ports above 65535", args.base_port))
                })
            };
            let (p2p, rpc, metrics) = match free.get(index) {
                Some(port) => (*port, 0, 0),
                None if several_hosts => (port(0)?, RPC_PORT, METRICS_PORT),
                None => (port(0)?, port(1)?, port(2)?),
            };
            let host = args.host_template.replace("{n}", &n.to_string());
            Ok(Place { name: format!("validator-{n}"), host, p2p, rpc, metrics })
        })
        .collect()
}

/// Ports that are free now, all different.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let failed = |cause| Failure::configuration(format!("cannot find free ports: {cause}"));
    // All are held until the last is found, so that none is given twice.
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>().map_err(failed)?;
    listeners.iter().map(|listener| Ok(listener.local_addr().map_err(failed)?.port())).collect()
}

/// The network's definition.
fn specification(
    args: &TestnetArgs,
    validators: Vec<ValidatorKeys>,
    accounts: Vec<(AccountId, u128)>,
    boot_peers: Vec<String>,
) -> Result<ChainSpec, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::configuration)?;
    LocalNetwork {
        id: args.id.clone(),
        name: format!("x0tta6bl4 {}", args.id),
        genesis_time_ms: now.as_secs().saturating_mul(1_000),
        validators,
        accounts,
        consensus: Consensus {
            propose_timeout_ms: PROPOSE_TIMEOUT_MS,
            vote_timeout_ms: VOTE_TIMEOUT_MS,
            ..Consensus::default_of(ChainType::Local)
        },
        boot_peers,
    }
    .build()
    .map_err(Failure::configuration)
}

/// Completes the data directory of one validator.
fn configure(
    directory: &Path,
    place: &Place,
    index: usize,
    peers: &[([u8; 32], String)],
    chain: &str,
) -> Result<(), Failure> {
    let others = peers.iter().enumerate().filter(|(other, _)| *other != index);
    let settings = Settings {
        name: &place.name,
        roles: ROLES,
        password_file: Some(PASSWORD),
        listen: vec![place.listen()],
        advertise: vec![place.reached_at()],
        peers: others.map(|(_, (key, address))| format!("{}@{address}", hex::encode(key))).collect(),
        rpc: Some(Place::loopback(place.rpc)),
        metrics: Some(Place::loopback(place.metrics)),
    };
    write_new(&directory.join(CHAIN), chain, PUBLIC_MODE)?;
    write_new(&directory.join(CONFIG), &settings.text(), PUBLIC_MODE)
}

fn summary(args: &TestnetArgs, places: &[Place], peers: &[([u8; 32], String)], spec: &ChainSpec) -> Vec<Value> {
    places
        .iter()
        .zip(peers)
        .zip(&spec.validators)
        .map(|((place, (key, address)), validator)| {
            json!({
                "name": place.name,
                "directory": args.output.join(&place.name),
                "config": args.output.join(&place.name).join(CONFIG),
                "controller": validator.controller,
                "networkKey": to_hex(key),
                "peer": format!("{}@{address}", hex::encode(key)),
                "p2p": address,
                "rpc": format!("ws://{}", Place::loopback(place.rpc)),
                "metrics": format!("http://{}", Place::loopback(place.metrics)),
            })
        })
        .collect()
}

/// A wallet's home with one password.
struct Wallet {
    home: std::path::PathBuf,
    password: Password,
}

impl Wallet {
    fn create(output: &Path) -> Result<Self, Failure> {
        let home = output.join("wallet");
        make_directory(&home.join("keys"))?;
        let password = random_password(&home.join(PASSWORD))?;
        Ok(Self { home, password })
    }

    /// Makes an account's key and gives its account.
    fn key(&self, name: &str) -> Result<AccountId, Failure> {
        let file = self.home.join(format!("keys/{name}.json"));
        let key: SigningKey = keys::generate(KeyRole::Account, &file, &self.password, &KdfParams::DEVELOPMENT)?;
        Ok(on_chain(&key).account_id())
    }

    /// Tells the wallet where the first validator's node is, when that is known.
    fn name_network(&self, id: &str, places: &[Place], genesis: x0_types::Hash) -> Result<(), Failure> {
        let Some(place) = places.first().filter(|place| place.rpc != 0) else { return Ok(()) };
        let text = format!(
            "default = \"{id}\"\n\n[network.{id}]\nurl = \"ws://{}\"\ngenesis = \"{}\"\n",
            Place::loopback(place.rpc),
            to_hex(genesis.as_bytes()),
        );
        write_new(&self.home.join("networks.toml"), &text, SECRET_MODE)
    }
}

/// A password that nobody needs to remember, in a file.
fn random_password(path: &Path) -> Result<Password, Failure> {
    let seed = Seed::generate().map_err(Failure::configuration)?;
    // A seed is 32 random bytes; its hash serves as a text that can be typed.
    let text = hex::encode(x0_crypto::blake2b_256(seed.expose()));
    write_new(path, &format!("{text}\n"), SECRET_MODE)?;
    Password::new(text).map_err(Failure::configuration)
}
