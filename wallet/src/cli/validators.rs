//! The command line of `x0 validators`.

use clap::Subcommand;

use super::TxOptions;

/// `x0 validators`.
#[derive(Subcommand, Debug)]
pub enum Validators {
    /// The set, the candidates, the open proposals.
    Show,
    /// Open a proposal, or approve the open one with the same content. It is carried out when validators
    /// with more than two thirds of the power approve it.
    #[command(subcommand)]
    Propose(Action),
    /// Approve an open proposal, after reading it.
    Approve {
        /// Its number.
        number: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Take one's approval of an open proposal back.
    Withdraw {
        /// Its number.
        number: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Leave the set: the last duty ends two blocks later.
    Leave {
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Vote with the consensus key that the identity names now, after `x0 did rotate-key`.
    RefreshKey {
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
}

/// What validators decide together.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Let a node link to the validators' without power, so that it can follow the chain.
    Admit {
        /// Its controller.
        account: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// End that.
    Dismiss {
        /// Its controller.
        account: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Add a validator.
    Add {
        /// Its controller.
        account: String,
        /// Its voting power.
        power: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Remove a validator.
    Remove {
        /// Its controller.
        account: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Give a validator another power.
    Power {
        /// Its controller.
        account: String,
        /// Its voting power.
        power: u64,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Let a barred validator be added again.
    Readmit {
        /// Its controller.
        account: String,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Announce new rules: every node needs a program that knows them before that height.
    Upgrade {
        /// Version of the rules.
        spec_version: u32,
        /// The first block under them.
        height: u32,
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
    /// Call an announced change of rules off.
    CancelUpgrade {
        /// How the transaction is made.
        #[command(flatten)]
        tx: TxOptions,
    },
}
