//! The command line. Flags beat environment variables, which beat the file, which beats defaults.

use clap::{Args, Parser, Subcommand, builder::FalseyValueParser};
use std::{net::SocketAddr, path::PathBuf};

/// Validator and full node of x0tta6bl4.
#[derive(Debug, Parser)]
#[command(name = "x0-node", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without it, the node runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What else than run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the node (the default).
    Run(Box<RunArgs>),
    /// Prints the default configuration file with its documentation.
    DefaultConfig,
    /// Prints a chain specification.
    ChainSpec {
        /// Which one.
        #[arg(long, default_value = "dev")]
        preset: String,
    },
    /// Makes and inspects keystore files.
    #[command(subcommand, visible_alias = "keys")]
    Key(KeyCommand),
    /// Makes the data directory of one node: keys, chain specification and configuration.
    Init(InitArgs),
    /// Makes a test network: data directories of N validators, complete for one host or for N.
    Testnet(TestnetArgs),
    /// Examines the machine, the settings and the node; exit code 1 when a check fails.
    Doctor(Box<DoctorArgs>),
    /// Shows, exports and imports the record of what the consensus key signed.
    #[command(subcommand)]
    Guard(GuardCommand),
    /// Makes the proofs with which a controller registers this node's keys, and says what comes then.
    Join(Box<JoinArgs>),
    /// Makes a new key of this node with its proof; later, puts it in the place of the old one.
    RotateKey(Box<RotateArgs>),
    /// Holds a consensus key for nodes that ask over post-quantum TLS.
    Signer(SignerArgs),
    /// Copies the chain into a directory, and of a stopped node the sign guard's record too.
    Backup(Box<BackupArgs>),
    /// Prints the checkpoints that this node vouches for, for the settings of other nodes and of wallets.
    Checkpoint(Box<CheckpointArgs>),
    /// Brings a backup into the data directory of a node without a chain.
    Restore(Box<RestoreArgs>),
}

/// Who joins.
#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    /// The node.
    #[command(flatten)]
    pub run: RunArgs,
    /// The account that answers for the validator, ss58.
    #[arg(long, value_name = "ACCOUNT")]
    pub controller: String,
    /// Directory for the proofs.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How long the proofs live, seconds.
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
    pub life_s: u64,
}

/// Which key is replaced.
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    /// The node.
    #[command(flatten)]
    pub run: RunArgs,
    /// Which key: consensus, network or reporter.
    #[arg(long)]
    pub role: String,
    /// The account that answers for the validator, ss58.
    #[arg(long, value_name = "ACCOUNT")]
    pub controller: Option<String>,
    /// File for the proof; beside the new key when absent.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long the proof lives, seconds.
    #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
    pub life_s: u64,
    /// Puts the new key in the place of the old one; the node does not run.
    #[arg(long)]
    pub activate: bool,
}

/// A signer.
#[derive(Clone, Debug, Args)]
pub struct SignerArgs {
    /// The signer's file (TOML); docs/operating/keys.md describes it.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// What is backed up.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The node.
    #[command(flatten)]
    pub run: RunArgs,
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Whose checkpoints.
#[derive(Clone, Debug, Args)]
pub struct CheckpointArgs {
    /// The node, running or not.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What is restored.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The node.
    #[command(flatten)]
    pub run: RunArgs,
    /// The backup.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Leaves the sign guard's record that is here in charge.
    #[arg(long, conflicts_with = "accept_old_guard")]
    pub keep_guard: bool,
    /// The consensus key signed nothing after the backup was made: its record is whole.
    #[arg(long)]
    pub accept_old_guard: bool,
}

/// What is examined.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The node, as it would run.
    #[command(flatten)]
    pub run: RunArgs,
    /// Prints JSON instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Work on the sign guard's record.
#[derive(Debug, Subcommand)]
pub enum GuardCommand {
    /// Prints the last place that was signed.
    Show {
        /// The node.
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Writes the record to a file, for a backup or for a move.
    Export {
        /// The node.
        #[command(flatten)]
        run: Box<RunArgs>,
        /// The file to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// For a move: this node does not sign any more until a record comes back.
        #[arg(long)]
        retire: bool,
    },
    /// Puts an exported record in charge, never backwards.
    Import {
        /// The node.
        #[command(flatten)]
        run: Box<RunArgs>,
        /// The exported record.
        file: PathBuf,
    },
}

/// A node's directory.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// The chain specification.
    #[arg(long, value_name = "FILE")]
    pub chain: PathBuf,
    /// Name of the node in logs and metrics.
    #[arg(long)]
    pub name: Option<String>,
    /// Makes a node that follows the chain and can not become a validator: a network key only.
    #[arg(long)]
    pub follower: bool,
    /// Address on which the node listens for other nodes; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// Address under which others reach it, HOST:PORT; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise: Vec<String>,
    /// A node to connect to, KEY@HOST:PORT; may be given several times.
    #[arg(long, value_name = "PEER")]
    pub peer: Vec<String>,
    /// Where the password of the new keystore files comes from; a file is named in the configuration.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// A test network.
#[derive(Clone, Debug, Args)]
pub struct TestnetArgs {
    /// How many validators.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(x0_limits::VALIDATORS_MAX)))]
    pub validators: u32,
    /// The directory to make.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// The network's name for machines.
    #[arg(long, default_value = "local")]
    pub id: String,
    /// Host name or address of each validator; `{n}` stands for its number, and without it all are on one host.
    #[arg(long, default_value = "127.0.0.1", value_name = "HOST")]
    pub host_template: String,
    /// First port: links, RPC and metrics take three, and validators on one host are ten apart. 0 takes free ports.
    /// On hosts of their own, RPC and metrics have their usual ports.
    #[arg(long, default_value_t = 30_000, value_name = "PORT")]
    pub base_port: u16,
    /// Gives money to the development accounts (alice, bob, charlie, dave), whose keys everybody can derive.
    #[arg(long)]
    pub development_accounts: bool,
}

/// How the node runs.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Runs a development chain with one validator and well-known keys. Never with value on it.
    #[arg(long, env = "X0_DEV", value_parser = FalseyValueParser::new())]
    pub dev: bool,
    /// The configuration file (TOML).
    #[arg(long, env = "X0_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The chain specification (JSON); with --dev, of a development chain.
    #[arg(long, env = "X0_CHAIN", value_name = "FILE")]
    pub chain: Option<PathBuf>,
    /// Directory of the node's data.
    #[arg(long, env = "X0_BASE_PATH", value_name = "DIR")]
    pub base_path: Option<PathBuf>,
    /// Uses a fresh directory and removes it at the end.
    #[arg(long, conflicts_with = "base_path")]
    pub tmp: bool,
    /// Address of the plain RPC listener (loopback only), or `off`.
    #[arg(long, env = "X0_RPC_ADDRESS", value_name = "ADDRESS", conflicts_with = "rpc_port")]
    pub rpc_address: Option<String>,
    /// Port of the plain RPC listener on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "X0_RPC_PORT", value_name = "PORT")]
    pub rpc_port: Option<u16>,
    /// Serves `admin_*` methods on the plain listener.
    #[arg(long, env = "X0_RPC_UNSAFE", value_parser = FalseyValueParser::new())]
    pub rpc_unsafe: bool,
    /// Address of the native post-quantum TLS listener.
    #[arg(long, env = "X0_RPC_NATIVE_ADDRESS", value_name = "ADDRESS")]
    pub rpc_native_address: Option<SocketAddr>,
    /// Address on which the node listens for other nodes; may be given several times.
    #[arg(long, env = "X0_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// A node to connect to, beside those of the configuration: KEY@HOST:PORT; may be given several times.
    #[arg(long, env = "X0_PEER", value_name = "PEER", value_delimiter = ',')]
    pub peer: Vec<String>,
    /// How a node without a chain gets one.
    #[arg(long, env = "X0_SYNC", value_name = "MODE")]
    pub sync: Option<crate::config::SyncMode>,
    /// A block that somebody vouches for, HEIGHT:0xHASH:TIME, as `x0-node checkpoint` prints it: this node follows
    /// only a chain that contains it.
    #[arg(long, env = "X0_CHECKPOINT", value_name = "CHECKPOINT")]
    pub checkpoint: Option<String>,
    /// Address of the listener for metrics, health and readiness, or `off`.
    #[arg(long, env = "X0_METRICS_ADDRESS", value_name = "ADDRESS")]
    pub metrics_address: Option<String>,
    /// File with the password of the keystore files (first line).
    #[arg(long, env = "X0_PASSWORD_FILE", value_name = "FILE", conflicts_with = "password_fd")]
    pub password_file: Option<PathBuf>,
    /// Open file descriptor from which the password is read (first line).
    #[arg(long, value_name = "FD")]
    pub password_fd: Option<i32>,
    /// Log filter, for example `info,x0=debug`.
    #[arg(long, env = "X0_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Logs JSON lines instead of text.
    #[arg(long, env = "X0_LOG_JSON", value_parser = FalseyValueParser::new())]
    pub log_json: bool,
}

/// Where a password comes from; without either, it is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct PasswordArgs {
    /// File whose first line is the password.
    #[arg(long, env = "X0_PASSWORD_FILE", value_name = "FILE", conflicts_with = "password_fd")]
    pub password_file: Option<PathBuf>,
    /// Open file descriptor from which the password is read (first line).
    #[arg(long, value_name = "FD")]
    pub password_fd: Option<i32>,
}

/// Work on keystore files.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and writes it to a new keystore file.
    Generate {
        /// What the key is for: account, consensus, network, reporter, playbook, agent or release.
        #[arg(long)]
        role: String,
        /// The file to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Prints a keystore file's public part; needs no password.
    Inspect {
        /// The file.
        file: PathBuf,
    },
    /// Signs the proof of possession that registers a key on chain.
    ProofOfPossession {
        /// The keystore file.
        file: PathBuf,
        /// Genesis hash of the chain, 0x hex.
        #[arg(long, value_name = "HASH")]
        genesis: String,
        /// The account that registers the key, ss58.
        #[arg(long, value_name = "ACCOUNT")]
        controller: String,
        /// The identity that the key belongs to, ss58; the controller when absent.
        #[arg(long, value_name = "ACCOUNT")]
        subject: Option<String>,
        /// How long the proof lives, seconds.
        #[arg(long, default_value_t = 3_600, value_name = "SECONDS")]
        life_s: u64,
        /// Where the password comes from.
        #[command(flatten)]
        password: PasswordArgs,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn running_needs_no_subcommand() {
        let cli = Cli::try_parse_from(["x0-node", "--dev", "--rpc-port", "0", "--tmp"]).unwrap();
        assert!(cli.command.is_none() && cli.run.dev && cli.run.tmp && cli.run.rpc_port == Some(0));
        let cli = Cli::try_parse_from(["x0-node", "run", "--dev"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Run(run)) if run.dev));
        assert!(Cli::try_parse_from(["x0-node", "--dev", "--chain", "x.json"]).is_ok());
        assert!(Cli::try_parse_from(["x0-node", "--tmp", "--base-path", "x"]).is_err());
    }
}
