//! Published vectors, and the two libraries held against each other.
//!
//! These tests need the plain-bytes functions that no user of the crate can call.

mod acvp;
mod differential;
mod kem_vectors;
mod purposes;
mod signature_vectors;
