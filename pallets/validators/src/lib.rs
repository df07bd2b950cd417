//! The permissioned validator set by height.
