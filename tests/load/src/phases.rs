//! What a transfer costs in each phase of its life, in process: no sockets, no consensus.
//!
//! The phases run the node's own code on a database of the same size. Rates of phases that use all cores are
//! compared with the raw verify rate in alternating slices, so that another load on the machine slows both alike.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rayon::prelude::*;
use sp_runtime::transaction_validity::TransactionSource;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use x0_executor::{Admitted, Executor, Options as ExecutorOptions, Submission};
use x0_load::{
    machine::RawVerify,
    report::Row,
    transfers::{self, Sender},
};
use x0_storage::{Database, OpenOptions};
use x0_types::AccountId;

/// Transfers of a slice that alternates with a slice of raw verification.
const SLICE: usize = 2_000;
/// Transfers of a block: what five thousand transfers per second give at the busy interval.
const BLOCK: usize = 750;

/// Time of the phases of a block, per transfer, on one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockPhases {
    execute: Duration,
    root: Duration,
    store: Duration,
    commit: Duration,
    transfers: usize,
}

/// Everything that this module measures.
#[derive(Debug)]
pub struct Phases {
    /// Signature stage and whole admission against the raw rate.
    pub rows: Vec<Row>,
    /// Per transfer, for the account of where time goes.
    pub blocks: BlockPhases,
}

impl std::fmt::Display for BlockPhases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = u32::try_from(self.transfers.max(1)).unwrap_or(u32::MAX);
        let each = |time: Duration| (time / count).as_secs_f64() * 1e6;
        write!(
            f,
            "execute {:.0} us, trie root {:.0} us, store the proposal {:.0} us, commit {:.0} us (blocks of {BLOCK})",
            each(self.execute),
            each(self.root),
            each(self.store),
            each(self.commit)
        )
    }
}

/// Measures on a fresh database with all senders endowed.
pub fn measure(senders: &[Sender]) -> Result<Phases> {
    let folder = tempfile::Builder::new().prefix("x0-phases-").tempdir()?;
    let database = Database::open(folder.path(), OpenOptions::default())?;
    let config = crate::node::endow(x0_chain_spec::ChainSpec::dev()?, senders)?.genesis_config()?;
    let executor = Executor::new(database, &config, ExecutorOptions::default())?;
    let count = senders.len().min(20_000);
    let batch = transfers::sign_all(&senders[..count], |_| 0, executor.genesis_hash())?;
    let encoded: Vec<Bytes> = batch.iter().map(|transfer| transfer.bytes().map(Bytes::from)).collect::<Result<_>>()?;
    let raw = RawVerify::new()?;
    let decoded: Vec<_> = encoded
        .iter()
        .map(|bytes| x0_executor::Signed::decode_hashed(bytes, x0_executor::extrinsic_hash(bytes)))
        .collect::<Result<_, _>>()?;
    let signature = against_raw(&raw, &decoded, |slice| {
        executor.verify_signatures(slice).map(|held| held.into_iter().filter(|held| *held).count()).context("verify")
    })?;
    let mut admitted = Vec::with_capacity(count);
    let admission = against_raw(&raw, &encoded, |slice| {
        // In the pieces in which the mempool's threads take what waits.
        let done: Vec<Vec<Admitted>> = slice
            .par_chunks(x0_limits::ADMISSION_BATCH_MAX)
            .map(|chunk| {
                let submissions: Vec<Submission> = chunk
                    .iter()
                    .zip(x0_executor::extrinsic_hashes(chunk))
                    .map(|(bytes, hash)| Submission { bytes: bytes.clone(), hash, source: TransactionSource::External })
                    .collect();
                let judged = executor.validate_many(&submissions);
                judged.into_iter().map(|judged| judged.context("a valid transfer")).collect()
            })
            .collect::<Result<_>>()?;
        let count = done.iter().map(Vec::len).sum();
        admitted.extend(done.into_iter().flatten().map(Arc::new));
        Ok(count)
    })?;
    let blocks = blocks(&executor, &admitted)?;
    println!("a block's phases per transfer: {blocks}");
    let rows = vec![
        row("signature stage of a transfer (decoded: key, payload, signature)", 0.9, signature, SIGNATURE_LIMIT),
        row("whole admission of a transfer (decode, signature, state)", 0.5, admission, ADMISSION_LIMIT),
    ];
    Ok(Phases { rows, blocks })
}

/// What limits the signature stage.
const SIGNATURE_LIMIT: &str = "beside the arithmetic there are two hashes over a key of 2 kB, the payload's reads of the \
    state, and a key and a signature that come from memory, while the raw rate verifies one signature over and over \
    from the cache.";
/// What limits admission.
const ADMISSION_LIMIT: &str = "beside the signature there are a hash over 5 kB, decoding with a comparison of the \
    encoding, two look-ups of an account that no cache holds yet, one look-up of the key's role, and the merge of the \
    view's cache.";

fn row(what: &str, goal: f64, (rate, raw): (f64, f64), limit: &'static str) -> Row {
    Row {
        what: format!("{what}, all cores, in process"),
        goal: format!(">= {goal} of the raw verify rate"),
        measured: format!("{rate:.0} /s, {:.2} of {raw:.0} /s", rate / raw),
        met: rate >= goal * raw,
        limit,
    }
}

/// Rate of `work` and of raw verification, in alternating slices.
fn against_raw<T>(raw: &RawVerify, items: &[T], mut work: impl FnMut(&[T]) -> Result<usize>) -> Result<(f64, f64)> {
    let (mut took, mut raw_took) = (Duration::ZERO, Duration::ZERO);
    for slice in items.chunks(SLICE) {
        let start = Instant::now();
        let done = work(slice)?;
        took += start.elapsed();
        ensure!(done == slice.len(), "{done} of {} transfers passed", slice.len());
        raw_took += raw.verify(slice.len())?;
    }
    let count = items.len() as f64;
    Ok((count / took.as_secs_f64(), count / raw_took.as_secs_f64()))
}

/// Builds, stores and commits blocks out of the admitted transfers.
fn blocks(executor: &Executor, admitted: &[Arc<Admitted>]) -> Result<BlockPhases> {
    let mut sum = BlockPhases::default();
    for chunk in admitted.chunks(BLOCK) {
        let head = executor.head();
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let patience = Instant::now() + Duration::from_secs(600);
        let proposer = AccountId::new([1; 32]);
        let block = executor.build_block(head.hash, now, proposer, chunk.iter().cloned(), patience)?;
        ensure!(block.body.len() == chunk.len() + 1, "the block took {} of {}", block.body.len() - 1, chunk.len());
        sum.execute += block.took.execute;
        sum.root += block.took.root;
        let start = Instant::now();
        executor.database().put_undecided(u64::from(block.number), 0, block.hash, &block.encoded, Some(true))?;
        sum.store += start.elapsed();
        let (start, number) = (Instant::now(), block.number);
        executor.commit(block, Vec::new())?;
        executor.database().prune_undecided(u64::from(number) + 1)?;
        sum.commit += start.elapsed();
        sum.transfers += chunk.len();
    }
    Ok(sum)
}
