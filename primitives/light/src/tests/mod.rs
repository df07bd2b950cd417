//! A chain whose set changes fully, forged variants of it, and state proofs.

mod chain;
mod forged;
mod model;
mod proofs;
