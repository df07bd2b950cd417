//! The command line.

mod deals;
mod governance;
mod market;
mod trust;
mod validators;
mod verify;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use deals::{Deals, NoticeOptions, Order, RequestOptions, SearchOptions};
pub use governance::{Gov, Propose, ProposeOptions};
pub use market::{ListNode, Market, Rent};
pub use trust::Trust;
pub use validators::{Action, Validators};
pub use verify::Verify;

/// Wallet of x0tta6bl4: keys, transfers, identities and the node market.
///
/// Amounts carry their unit: `1.5 X0T`, `1500 mX0T` (thousandths) or `12u` (base units, 10^-12 X0T).
/// Accounts are names of own keys, addresses, `did:x0:...`, or `dev:NAME` on development chains.
/// Exit codes: 0 done, 1 failure, 2 usage, 3 network, 4 rejected by the chain, 5 key or password,
/// 6 cancelled, 7 handed over with unknown fate.
#[derive(Parser, Debug)]
#[command(name = "x0", version, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Directory with keys and networks [default: x0 in the user's configuration directory].
    #[arg(long, global = true, env = "X0_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Network to use, by name.
    #[arg(long, global = true, env = "X0_NETWORK", value_name = "NAME")]
    pub network: Option<String>,
    /// Address of the node, in place of the network's own.
    #[arg(long, global = true, env = "X0_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Answer as JSON on standard output, errors too.
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not ask before signing.
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
    /// Read the key's password from the first line of this file.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "password_fd")]
    pub password_file: Option<PathBuf>,
    /// Read the key's password from the first line of this file descriptor.
    #[arg(long, global = true, value_name = "NUMBER")]
    pub password_fd: Option<u32>,
    /// How long to wait until a transaction is final, seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Make, store and show keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Balance and history of an account.
    Account(Account),
    /// Send money.
    Transfer(Transfer),
    /// Identities: the account's own key, agents, further keys.
    #[command(subcommand)]
    Did(Did),
    /// Rent and let mesh nodes.
    #[command(subcommand)]
    Market(Market),
    /// Owners, vote credits, proposals and votes.
    #[command(subcommand)]
    Gov(Gov),
    /// Attestations, audits and trust scores of nodes.
    #[command(subcommand)]
    Trust(Trust),
    /// What validators decide together: the set, candidates, new rules.
    #[command(subcommand)]
    Validators(Validators),
    /// What the chain says, proven against its validators' signatures whatever node is asked.
    #[command(subcommand)]
    Verify(Verify),
    /// Sign elsewhere: sign, submit and read transactions as files.
    #[command(subcommand)]
    Tx(Tx),
    /// Named networks.
    #[command(subcommand)]
    Network(Network),
    /// Development chains only.
    #[command(subcommand)]
    Dev(Dev),
}

/// How a transaction is made.
#[derive(Args, Clone, Debug)]
pub struct TxOptions {
    /// The key that signs: a name, or `dev:NAME` on a development chain [default: the only one].
    #[arg(long, visible_alias = "from", value_name = "KEY")]
    pub key: Option<String>,
    /// Extra payment for priority.
    #[arg(long, value_name = "AMOUNT")]
    pub tip: Option<String>,
    /// Write the unsigned transaction to this file for `x0 tx sign` on another machine, and stop.
    #[arg(long, value_name = "FILE")]
    pub unsigned: Option<PathBuf>,
    /// Hand the transaction over and do not wait until it is final.
    #[arg(long, conflicts_with = "unsigned")]
    pub no_wait: bool,
}

/// What a key may be used for. A key has one role for all of its life.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs transactions.
    Account,
    /// Signs a validator's votes.
    Consensus,
    /// Authenticates a validator's links.
    Network,
    /// Signs a validator's reports.
    Reporter,
    /// Approves playbooks.
    Playbook,
    /// Authenticates a mesh agent.
    Agent,
    /// Signs release manifests.
    Release,
}

/// `x0 keys`.
#[derive(Subcommand, Debug)]
pub enum Keys {
    /// Make a key, show its 24-word backup phrase once, and store it encrypted.
    New {
        /// Its name: a-z, 0-9, - and _.
        name: String,
        /// Its role.
        #[arg(long, value_enum, default_value_t = Role::Account)]
        role: Role,
    },
    /// Bring a key back from its backup phrase (asked for, or from --phrase-file) or from a keystore file.
    Import {
        /// Its name here.
        name: String,
        /// Its role.
        #[arg(long, value_enum, default_value_t = Role::Account, conflicts_with = "file")]
        role: Role,
        /// Read the phrase from this file.
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        phrase_file: Option<PathBuf>,
        /// Take over this keystore file with its password and role, and the .account file beside it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// All keys.
    List,
    /// Ask the network for which account a key signs, and remember it: needed once for a rotated key
    /// that came back from its backup phrase.
    Bind {
        /// Name of the key.
        name: String,
    },
    /// Write a copy of the encrypted keystore file, or show the backup phrase again.
    Export {
        /// Name of the key.
        name: String,
        /// Where to write the keystore file, and for a rotated key a .account file beside it; they must
        /// not exist.
        #[arg(long, value_name = "FILE", required_unless_present = "phrase")]
        out: Option<PathBuf>,
        /// Show the backup phrase: whoever sees it owns the key.
        #[arg(long, conflicts_with = "out")]
        phrase: bool,
    },
    /// Remove a key from this machine. Without its backup phrase it is gone for ever.
    Delete {
        /// Name of the key.
        name: String,
    },
}

/// `x0 account`.
#[derive(Args, Debug)]
pub struct Account {
    /// The account [default: that of the only key].
    pub account: Option<String>,
    /// How many of its last transactions to show.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub history: u32,
}

/// `x0 transfer`.
#[derive(Args, Debug)]
pub struct Transfer {
    /// Who receives.
    pub to: String,
    /// How much, with its unit. `all` sends everything and closes the account.
    pub amount: String,
    /// How the transaction is made.
    #[command(flatten)]
    pub tx: TxOptions,
}

/// `x0 did`.
#[derive(Subcommand, Debug)]
pub enum Did {
    /// Name the account's own key on chain: shorter signatures, and rotation becomes possible.
    Register {
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// The DID document of an account or DID.
    Show {
        /// Whose [default: that of the only key].
        subject: Option<String>,
    },
    /// Replace the account's own key; the account stays the same.
    Rotate {
        /// Name of the new key, made before with `x0 keys new`.
        #[arg(long, value_name = "KEY")]
        new_key: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Register a mesh agent with the proof that `x0-agent init` wrote.
    #[command(visible_alias = "add-agent")]
    RegisterAgent {
        /// The file.
        #[arg(long, value_name = "FILE")]
        proof: PathBuf,
        /// Where the agent listens, `ip:port` [default: what the proof says].
        #[arg(long, value_name = "IP:PORT")]
        endpoint: Option<String>,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Prove that a key is held, for the one who registers it; needs no network.
    Prove {
        /// Name of the key that is proved.
        #[arg(long, value_name = "KEY")]
        proved_key: String,
        /// The account that registers it.
        #[arg(long, value_name = "ACCOUNT")]
        controller: String,
        /// The subject that it belongs to [default: the controller; for an agent, its own].
        #[arg(long, value_name = "ACCOUNT")]
        subject: Option<String>,
        /// Hash of the chain's first block.
        #[arg(long, value_name = "HASH")]
        genesis: String,
        /// Minutes for which the proof is good.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_439))]
        minutes: u64,
        /// Where to write it; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Register a further key of the account in a role, from a proof (see `prove`).
    AddKey {
        /// The file.
        #[arg(long, value_name = "FILE")]
        proof: PathBuf,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Replace a key of a subject in a role, from a proof (see `prove`).
    RotateKey {
        /// The file.
        #[arg(long, value_name = "FILE")]
        proof: PathBuf,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Say where an agent listens now.
    SetEndpoint {
        /// The agent.
        subject: String,
        /// `ip:port`.
        endpoint: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End a key of a subject.
    RevokeKey {
        /// The subject.
        subject: String,
        /// The key's role.
        #[arg(value_enum)]
        role: Role,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End an identity for good.
    Revoke {
        /// The subject.
        subject: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
}

/// `x0 tx`.
#[derive(Subcommand, Debug)]
pub enum Tx {
    /// Sign a transaction that --unsigned wrote. Needs no network.
    Sign {
        /// The file.
        file: PathBuf,
        /// The key that signs: a name, or `dev:NAME`.
        #[arg(long, visible_alias = "from", value_name = "KEY")]
        key: Option<String>,
        /// Where to write the signed transaction; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Hand over a signed transaction and wait until it is final.
    Submit {
        /// A file of `x0 tx sign`, or the bytes in hex.
        transaction: String,
        /// Do not wait until it is final.
        #[arg(long)]
        no_wait: bool,
    },
    /// Say in words what a transaction does. Files of `--unsigned` need no network.
    Decode {
        /// A file of `--unsigned` or `x0 tx sign`, or the bytes in hex.
        transaction: String,
    },
}

/// `x0 network`.
#[derive(Subcommand, Debug)]
pub enum Network {
    /// Add or replace a network.
    Add {
        /// Its name.
        name: String,
        /// `ws://` on this machine or `x0s://HOST:PORT` elsewhere.
        #[arg(long = "node", value_name = "URL")]
        node: String,
        /// Hash of the chain's first block; needed for x0s://.
        #[arg(long, value_name = "HASH")]
        genesis: Option<String>,
        /// BLAKE2b-256 of the node's network key; needed for x0s://.
        #[arg(long, value_name = "HASH")]
        server_key: Option<String>,
    },
    /// All networks.
    List,
    /// Make a network the default.
    Use {
        /// Its name.
        name: String,
    },
    /// Remove a network.
    Remove {
        /// Its name.
        name: String,
    },
}

/// `x0 dev`.
#[derive(Subcommand, Debug)]
pub enum Dev {
    /// Give an account play money.
    Faucet {
        /// The account [default: that of the only key].
        account: Option<String>,
        /// How much.
        #[arg(long, default_value = "100 X0T")]
        amount: String,
    },
}
