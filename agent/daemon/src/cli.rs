//! The command line of `x0-agent`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Headless agent of a mesh node of x0tta6bl4.
#[derive(Debug, Parser)]
#[command(name = "x0-agent", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the default configuration file with its documentation.
    DefaultConfig,
    /// Make the agent's key, unless there is one, and prove its possession to the account that will register it.
    Init(Init),
    /// Run until SIGTERM or SIGINT; SIGHUP reads peers, rules and the filter's lists of the mesh again.
    #[command(visible_alias = "up")]
    Run(Run),
    /// Say what binary this is, signed by the agent's key, for `x0 trust attest`.
    Attest(Attest),
    /// Ask a running agent how it is.
    Status(Status),
    /// List whom a running agent's mesh deals with: rights, links, sessions.
    Peers(Status),
    /// List the paths of the mesh's sessions, and say why each stands where it stands.
    Paths(Paths),
    /// Show headers as they pass; payload is never shown.
    Capture(Capture),
    /// Let a running agent read peers, rules and the filter's lists of its configuration again.
    Reload(Status),
}

/// Which configuration file.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration file (TOML).
    #[arg(long, env = "X0_AGENT_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
}

/// Where the keystore's password comes from. Without any, it is asked for.
#[derive(Args, Clone, Debug, Default)]
pub struct PasswordArgs {
    /// Read the password from the first line of this file.
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    pub password_file: Option<PathBuf>,
    /// Read the password from the first line of this file descriptor.
    #[arg(long, value_name = "NUMBER")]
    pub password_fd: Option<u32>,
}

/// `x0-agent init`.
#[derive(Args, Debug)]
pub struct Init {
    /// Which configuration file.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The account that will register the agent and be paid for it.
    #[arg(long, value_name = "ACCOUNT")]
    pub controller: String,
    /// Hash of the chain's first block [default: that of the configuration, or what the node says].
    #[arg(long, value_name = "HASH")]
    pub genesis: Option<String>,
    /// Where probers reach the agent, `ip:port` [default: the address it listens on].
    #[arg(long, value_name = "IP:PORT")]
    pub endpoint: Option<SocketAddr>,
    /// Where to write the proof [default: proof.json beside the configuration].
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
    /// Minutes for which the proof is good.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_439))]
    pub minutes: u64,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `x0-agent run`.
#[derive(Args, Debug)]
pub struct Run {
    /// Which configuration file.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Address of the node, in place of the configuration's.
    #[arg(long, env = "X0_AGENT_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Where to listen, in place of the configuration's.
    #[arg(long, env = "X0_AGENT_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Log filter, for example `info,x0_agent=debug`, in place of the configuration's.
    #[arg(long, env = "X0_AGENT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `x0-agent attest`.
#[derive(Args, Debug)]
pub struct Attest {
    /// Which configuration file.
    #[command(flatten)]
    pub file: ConfigFile,
    /// The node, when its agent key was rotated [default: the account of the key].
    #[arg(long, value_name = "ACCOUNT")]
    pub node: Option<String>,
    /// A TPM quote over the same binary, which auditors check.
    #[arg(long, value_name = "FILE")]
    pub quote: Option<PathBuf>,
    /// Where to write the attestation [default: standard output].
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// `x0-agent status`.
#[derive(Args, Debug)]
pub struct Status {
    /// Which configuration file.
    #[command(flatten)]
    pub file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `x0-agent paths`.
#[derive(Args, Debug)]
pub struct Paths {
    /// Which configuration file, and which form.
    #[command(flatten)]
    pub common: Status,
    /// Only the paths to this peer, with everything that their rank rests on and the last switches.
    #[arg(long, value_name = "ACCOUNT")]
    pub explain: Option<String>,
}

/// `x0-agent capture`.
#[derive(Args, Debug)]
pub struct Capture {
    /// Which configuration file, and which form.
    #[command(flatten)]
    pub common: Status,
    /// For how long.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=crate::control::CAPTURE_SECONDS_MAX))]
    pub seconds: u64,
    /// The headers of the decrypted packets, in place of the datagrams' on the wire.
    #[arg(long)]
    pub decrypted: bool,
}
