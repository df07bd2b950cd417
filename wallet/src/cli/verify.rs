//! The command line of `x0 verify`.

use clap::Subcommand;

/// `x0 verify`.
#[derive(Subcommand, Debug)]
pub enum Verify {
    /// Begin to verify this network, or begin anew: from a block that somebody you trust vouches for. Without one, show from
    /// where on this wallet verifies.
    Checkpoint {
        /// What `x0-node checkpoint` prints under `wallet`: HEIGHT:0xHASH:TIME.
        checkpoint: Option<String>,
    },
    /// Follow the chain to the node's head, and prove that head.
    Head,
    /// Balance of an account, proven against the validators' signatures.
    Account {
        /// The account [default: that of the only key].
        account: Option<String>,
    },
    /// What the parties of a deal agreed to, proven likewise.
    Deal {
        /// Its number.
        deal: u64,
    },
}
