//! The command line of `x0 gov`.

use clap::{Args, Subcommand};

use super::TxOptions;

/// `x0 gov`.
#[derive(Subcommand, Debug)]
pub enum Gov {
    /// The owner to whom an account belongs, and its credits.
    Owner {
        /// The account [default: that of the only key].
        account: Option<String>,
    },
    /// Ask the validators to attest that these accounts are one owner.
    Apply {
        /// The accounts; the signing one must be among them.
        #[arg(required = true)]
        accounts: Vec<String>,
        /// BLAKE2b-256 of the documents that the validators get, 0x and 64 hexadecimal digits.
        #[arg(long)]
        evidence: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// A validator attests a motion about an owner.
    Attest {
        /// Number of the motion.
        motion: u32,
        /// Its digest, as the chain shows it.
        digest: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// The rules of all tracks.
    Tracks,
    /// All proposals that the chain keeps.
    Proposals,
    /// One proposal: its call, its ballots, what they need now, why it failed.
    Proposal {
        /// Its number.
        number: u32,
        /// Go on showing it until nothing follows.
        #[arg(long)]
        watch: bool,
    },
    /// Open a proposal.
    #[command(subcommand)]
    Propose(Propose),
    /// What votes would cost.
    Cost {
        /// Number of the proposal.
        number: u32,
        /// The votes, from -9 to 9.
        #[arg(allow_hyphen_values = true)]
        votes: i8,
        /// The account [default: that of the only key].
        #[arg(long)]
        account: Option<String>,
    },
    /// Cast votes in place of those that were cast before; 0 takes them back.
    Vote {
        /// Number of the proposal.
        number: u32,
        /// The votes, from -9 to 9; they cost their square in credits.
        #[arg(allow_hyphen_values = true)]
        votes: i8,
        /// Call the proposal spam; with votes against only.
        #[arg(long)]
        spam: bool,
        /// Why, for everybody to read.
        #[arg(long)]
        reason: Option<String>,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Cast a sealed vote. What opens it is written to a file, without which it is lost.
    Commit {
        /// Number of the proposal.
        number: u32,
        /// The votes, from -9 to 9.
        #[arg(allow_hyphen_values = true)]
        votes: i8,
        /// Call the proposal spam; with votes against only.
        #[arg(long)]
        spam: bool,
        /// The file that opens the vote.
        #[arg(long, value_name = "FILE")]
        output: std::path::PathBuf,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Open a sealed vote from its file. Any account may hand it in, free of fee.
    Reveal {
        /// The file.
        file: std::path::PathBuf,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Let another owner vote for one's own on a track.
    Delegate {
        /// The track.
        track: String,
        /// Number of the other owner.
        owner: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End a delegation. Votes that were cast stay.
    Undelegate {
        /// The track.
        track: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Who votes for whom.
    Delegations {
        /// The account [default: that of the only key].
        account: Option<String>,
    },
    /// A validator contests a decision before its enactment.
    Contest {
        /// Number of the proposal.
        number: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Take one's own proposal back before its ballot begins.
    Withdraw {
        /// Its number.
        number: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
}

/// How a proposal is opened.
#[derive(Args, Clone, Debug)]
pub struct ProposeOptions {
    /// The track [default: the one that is meant for such calls].
    #[arg(long)]
    pub track: Option<String>,
    /// Slots between decision and enactment, where that is longer than the track's.
    #[arg(long, default_value_t = 0)]
    pub delay: u64,
    /// How the transaction is made.
    #[command(flatten)]
    pub tx: TxOptions,
}

/// What is proposed.
#[derive(Subcommand, Debug)]
pub enum Propose {
    /// Other parameters for future deals; running deals keep theirs.
    Market {
        /// Treasury's share of what providers earn, ppm.
        #[arg(long)]
        fee_ppm: Option<u32>,
        /// Renter's share of a slash, ppm.
        #[arg(long)]
        compensation_ppm: Option<u32>,
        /// DOWN slots in a row after which a deal fails.
        #[arg(long)]
        fail_run_slots: Option<u32>,
        /// Slots for which a contested deal waits for a dispute.
        #[arg(long)]
        dispute_window_slots: Option<u64>,
        /// Slots in which validators may rule on a dispute.
        #[arg(long)]
        ruling_slots: Option<u64>,
        /// Share of a deal's slots for announced maintenance, ppm.
        #[arg(long)]
        maintenance_ppm: Option<u32>,
        /// How it is proposed.
        #[command(flatten)]
        options: ProposeOptions,
    },
    /// A payment from the treasury.
    Pay {
        /// Who gets it.
        to: String,
        /// How much.
        amount: String,
        /// How it is proposed.
        #[command(flatten)]
        options: ProposeOptions,
    },
    /// Any call, as SCALE bytes.
    Call {
        /// The bytes, 0x and hexadecimal digits.
        call: String,
        /// How it is proposed.
        #[command(flatten)]
        options: ProposeOptions,
    },
}
