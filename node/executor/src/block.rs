//! Executing one block: the part that building and replaying share.

use crate::{
    Executor, dispatch,
    error::{ExecutorError, ExtrinsicError},
    light,
    state::{self, Overlay, Reader, State},
};
use bytes::Bytes;
use codec::Encode;
use frame_system::Phase;
use sp_core::storage::StateVersion;
use sp_runtime::{
    Digest, DigestItem, DispatchError,
    traits::{BlakeTwo256, Header as _},
};
use sp_trie::PrefixedMemoryDB;
use std::time::{Duration, Instant};
use x0_runtime::{Executive, Header, RuntimeCall, RuntimeEvent, System, UncheckedExtrinsic, VerifiedMark, preverify};
use x0_storage::Head;
use x0_types::{AccountId, BlockNumber, Hash, Moment};

/// Engine id under which the header names the proposer; explorers show its bytes as the author.
pub const PROPOSER_ENGINE: sp_runtime::ConsensusEngineId = x0_types::account::PROPOSER_ENGINE_ID;

/// What became of one transaction of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxOutcome {
    /// The transaction.
    pub hash: Hash,
    /// Who signed it; `None` for the timestamp.
    pub signer: Option<AccountId>,
    /// Whether its call succeeded. A transaction whose call failed still paid its fee.
    pub result: Result<(), DispatchError>,
}

/// How long a block's execution took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Hooks and transactions.
    pub execute: Duration,
    /// Final hooks and the roots.
    pub root: Duration,
}

/// A block that was executed and not yet committed.
pub struct Executed {
    /// Its header, state root included.
    pub header: Header,
    /// BLAKE2b-256 of the header: the block's id.
    pub hash: Hash,
    /// Its height.
    pub number: BlockNumber,
    /// Its timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: Moment,
    /// Who proposed it.
    pub proposer: AccountId,
    /// The SCALE block: header and extrinsics.
    pub encoded: Bytes,
    /// The encoded extrinsics, in order.
    pub body: Vec<Bytes>,
    /// What became of each, in the same order.
    pub results: Vec<TxOutcome>,
    /// Transactions that were offered to the builder and can never enter a block; drop them.
    pub rejected: Vec<(Hash, ExtrinsicError)>,
    /// The SCALE events of the block (`System.Events`).
    pub events: Bytes,
    /// Accounts with the index of a transaction that they signed or that moved their money; index 0 for
    /// what the block did by itself.
    pub account_touches: Vec<(AccountId, u32)>,
    /// How long its execution took.
    pub took: Took,
    /// The SCALE validator set that the header announces, if it announces one.
    pub(crate) validator_set: Option<Vec<u8>>,
    pub(crate) state_changes: PrefixedMemoryDB<BlakeTwo256>,
}

impl std::fmt::Debug for Executed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executed")
            .field("number", &self.number)
            .field("hash", &self.hash)
            .field("extrinsics", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The digest of a header before execution: the proposer.
pub(crate) fn proposer_digest(proposer: &AccountId) -> Digest {
    Digest { logs: vec![DigestItem::PreRuntime(PROPOSER_ENGINE, proposer.encode())] }
}

/// The inherent that sets a block's time.
pub(crate) fn timestamp_inherent(now: Moment) -> UncheckedExtrinsic {
    UncheckedExtrinsic::new_bare(RuntimeCall::Timestamp(pallet_timestamp::Call::set { now }))
}

/// A block in the making.
pub(crate) struct BlockExecution<'a> {
    executor: &'a Executor,
    pub(crate) parent: Head,
    state: State,
    overlay: Overlay,
    body: Vec<Bytes>,
    results: Vec<TxOutcome>,
    proposer: AccountId,
    timestamp_ms: Moment,
    started: Instant,
}

impl<'a> BlockExecution<'a> {
    /// Starts the block after the head: hooks run, no extrinsic yet.
    pub(crate) fn start(executor: &'a Executor, proposer: AccountId) -> Result<Self, ExecutorError> {
        let started = Instant::now();
        executor.check_spec()?;
        let (parent, state) = executor.head_state(Reader::Block)?;
        let header = Header::new(
            parent.number.saturating_add(1),
            Hash::zero(),
            Hash::zero(),
            parent.hash,
            proposer_digest(&proposer),
        );
        let mut overlay = Overlay::default();
        state::run(&state.backend, &mut overlay, || Executive::initialize_block(&header))
            .map_err(|panic| ExecutorError::Panicked { place: "on_initialize", message: panic.0 })?;
        Ok(Self {
            executor,
            parent,
            state,
            overlay,
            body: Vec::new(),
            results: Vec::new(),
            proposer,
            timestamp_ms: 0,
            started,
        })
    }

    /// Number of extrinsics so far.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Applies the timestamp, which must come first.
    pub(crate) fn apply_timestamp(
        &mut self,
        now: Moment,
        extrinsic: UncheckedExtrinsic,
        bytes: Bytes,
    ) -> Result<(), ExtrinsicError> {
        self.timestamp_ms = now;
        let hash = crate::extrinsic_hash(&bytes);
        self.apply(extrinsic, bytes, hash, None, None)
    }

    /// Applies one extrinsic. After an error the block is as it was before.
    pub(crate) fn apply(
        &mut self,
        extrinsic: UncheckedExtrinsic,
        bytes: Bytes,
        hash: Hash,
        signer: Option<AccountId>,
        mark: Option<VerifiedMark>,
    ) -> Result<(), ExtrinsicError> {
        debug_assert_eq!(hash, crate::extrinsic_hash(&bytes), "a mark belongs to the bytes with this hash");
        let dispatcher = &self.executor.0.dispatcher;
        self.overlay.start_transaction();
        let applied = state::run(&self.state.backend, &mut self.overlay, || {
            preverify::with_mark(hash, mark, || dispatcher.apply(extrinsic, bytes.len())).0
        });
        match applied {
            Ok(Ok(result)) if self.overlay.commit_transaction().is_ok() => {
                self.body.push(bytes);
                self.results.push(TxOutcome { hash, signer, result });
                Ok(())
            }
            Ok(Ok(_)) => {
                Err(ExtrinsicError::Node { message: "the runtime closed the executor's transaction".to_owned() })
            }
            Ok(Err(error)) => {
                state::roll_back(&mut self.overlay);
                Err(error.into())
            }
            Err(panic) => {
                state::roll_back(&mut self.overlay);
                tracing::error!(%hash, message = %panic.0, "a transaction made the runtime panic; it is rejected");
                Err(ExtrinsicError::Panicked { message: panic.0 })
            }
        }
    }

    /// Ends the block: final hooks, roots, events, changes. `encoded` is the block's encoding, where somebody else made
    /// it; the caller compares the headers.
    pub(crate) fn finish(
        mut self,
        rejected: Vec<(Hash, ExtrinsicError)>,
        encoded: Option<Bytes>,
    ) -> Result<Executed, ExecutorError> {
        let execute = self.started.elapsed();
        let mut extrinsics_root = Hash::zero();
        let (mut header, touches) = rayon::in_place_scope(|scope| {
            // Hashing the body takes no part in the state, so another core may do it meanwhile.
            scope.spawn(|_| extrinsics_root = dispatch::extrinsics_root(&self.body));
            state::run(&self.state.backend, &mut self.overlay, || {
                // Events are read before the block is final: nothing may touch the overlay after the
                // root is computed, or the cached root would be wrong.
                let touches = money_touches();
                (Executive::finalize_block(), touches)
            })
        })
        .map_err(|panic| ExecutorError::Panicked { place: "on_finalize", message: panic.0 })?;
        header.extrinsics_root = self.executor.0.dispatcher.extrinsics_root(extrinsics_root, header.extrinsics_root);
        let events = match self.overlay.storage(&frame_support::storage::storage_prefix(b"System", b"Events")) {
            Some(Some(events)) => Bytes::copy_from_slice(events),
            _ => Bytes::from_static(&[0]),
        };
        let validator_set = light::announced_set(&header, |key| self.overlay.storage(key).flatten())?;
        let changes = self
            .overlay
            .drain_storage_changes(&self.state.backend, StateVersion::V1)
            .map_err(|reason| ExecutorError::State { reason })?;
        let number = header.number;
        if changes.transaction_storage_root == self.parent.state_root
            || header.state_root != changes.transaction_storage_root
        {
            return Err(ExecutorError::RootUnchanged { number });
        }
        let mut account_touches: Vec<_> = self
            .results
            .iter()
            .zip(0u32..)
            .filter_map(|(outcome, index)| Some((outcome.signer.clone()?, index)))
            .chain(touches)
            .collect();
        account_touches.sort();
        account_touches.dedup();
        Ok(Executed {
            hash: header.hash(),
            number,
            timestamp_ms: self.timestamp_ms,
            proposer: self.proposer,
            encoded: encoded.unwrap_or_else(|| encode_block(&header, &self.body)),
            header,
            body: self.body,
            results: self.results,
            rejected,
            events,
            account_touches,
            took: Took { execute, root: self.started.elapsed().saturating_sub(execute) },
            validator_set,
            state_changes: changes.transaction,
        })
    }
}

/// Accounts whose money moved, by the index of the transaction that moved it.
///
/// What the block does by itself (the janitor pays deals that have ended) stands under index 0, that of
/// the timestamp. Fees are left out: each transaction would appear in the histories of those who get them.
fn money_touches() -> Vec<(AccountId, u32)> {
    use pallet_balances::Event;
    let mut touches = Vec::new();
    for record in System::read_events_no_consensus() {
        let index = match record.phase {
            Phase::ApplyExtrinsic(index) => index,
            Phase::Initialization | Phase::Finalization => 0,
        };
        match record.event {
            RuntimeEvent::Balances(
                Event::Transfer { from, to, .. }
                | Event::TransferOnHold { source: from, dest: to, .. }
                | Event::TransferAndHold { source: from, dest: to, .. },
            ) => touches.extend([(from, index), (to, index)]),
            RuntimeEvent::Balances(
                Event::Released { who, .. } | Event::Slashed { who, .. } | Event::BurnedHeld { who, .. },
            ) => touches.push((who, index)),
            _ => {}
        }
    }
    touches
}

/// The SCALE encoding of a block of which the extrinsics are encoded already.
pub(crate) fn encode_block(header: &Header, body: &[Bytes]) -> Bytes {
    let mut encoded = header.encode();
    let bytes: usize = body.iter().map(Bytes::len).sum();
    encoded.reserve(bytes.saturating_add(8));
    codec::Compact(u32::try_from(body.len()).unwrap_or(u32::MAX)).encode_to(&mut encoded);
    for extrinsic in body {
        encoded.extend_from_slice(extrinsic);
    }
    Bytes::from(encoded)
}
