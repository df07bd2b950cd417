//! Proof that a validator contradicted itself, kept in files.
//!
//! The engine hands evidence over once, with the end of a height, and forgets it. A file
//! `evidence/<height>-<address>-<kind>.bin` holds pairs of signed messages in Borsh: a byte (0 votes, 1 proposals) and the list of
//! pairs, each message with its signature, so that anybody with the validator's key can check it.

use super::Shared;
use crate::context::{Address, ChainContext};
use malachite_core_consensus::MisbehaviorEvidence;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

const VOTES: u8 = 0;
const PROPOSALS: u8 = 1;

/// Writes the evidence of a height. A disk that refuses is reported, and costs the evidence only.
pub(super) async fn keep(shared: &Shared, height: u64, evidence: &MisbehaviorEvidence<ChainContext>) {
    if evidence.is_empty() {
        return;
    }
    let mut files = Vec::new();
    for (address, pairs) in evidence.votes.iter() {
        tracing::error!(height, %address, pairs = pairs.len(), "a validator voted for two things at once");
        files.push((*address, VOTES, borsh::to_vec(pairs)));
    }
    for (address, pairs) in evidence.proposals.iter() {
        tracing::error!(height, %address, pairs = pairs.len(), "a validator proposed two things at once");
        files.push((*address, PROPOSALS, borsh::to_vec(pairs)));
    }
    let directory = shared.config.data_dir.join("evidence");
    let written = tokio::task::spawn_blocking(move || {
        files.into_iter().try_for_each(|(address, kind, bytes)| write(&directory, height, address, kind, &bytes?))
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(height, %error, "cannot keep evidence"),
        Err(error) => tracing::error!(height, %error, "cannot keep evidence"),
    }
}

fn write(directory: &Path, height: u64, address: Address, kind: u8, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let name =
        |suffix: &str| -> PathBuf { directory.join(format!("{height}-{}-{kind}.{suffix}", hex::encode(address.0))) };
    let (draft, path) = (name("tmp"), name("bin"));
    let mut file = File::create(&draft)?;
    file.write_all(&[kind])?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)?;
    File::open(directory)?.sync_all()
}
