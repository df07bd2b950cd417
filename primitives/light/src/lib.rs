//! Verifies the chain from a trusted height without executing it.
