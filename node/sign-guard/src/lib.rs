//! The memory of every signature of the consensus key.
