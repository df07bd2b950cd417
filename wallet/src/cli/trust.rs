//! The command line of `x0 trust`.

use clap::Subcommand;

use super::TxOptions;

/// `x0 trust`.
#[derive(Subcommand, Debug)]
pub enum Trust {
    /// Why a node has its score: every term, the attestation, the audits, the latest events.
    Explain {
        /// The node.
        node: String,
    },
    /// All auditors.
    Auditors,
    /// Hand in an attestation that an agent wrote (`x0-agent attest`).
    Attest {
        /// The agent's file.
        file: std::path::PathBuf,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Post or raise one's bond as an auditor.
    Bond {
        /// How much is added.
        amount: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Say how far one trusts the binary that a node attested.
    Audit {
        /// The node.
        node: String,
        /// 1 to 4.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=4))]
        tier: u8,
        /// BLAKE2b-256 of the report, 0x and 64 hexadecimal digits.
        #[arg(long)]
        evidence: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Take one's word on a node back.
    WithdrawAudit {
        /// The node.
        node: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End being an auditor and get the bond back.
    Retire {
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
}
