//! Real chains, real files, peers that lie.

mod fetching;
mod files;
mod restoring;
mod support;
mod wire;
