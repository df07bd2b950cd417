//! Reading states of the past and the present.

use crate::{
    Executor,
    error::ExecutorError,
    state::{self, Backend, Overlay, PlainBackend, Reader, State},
};
use codec::DecodeAll;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Backend as _, IterArgs, TrieBackendBuilder, prove_read};
use x0_runtime::Header;
use x0_types::{BlockNumber, Hash};

impl Executor {
    /// Runs `f` inside the state after block `at`, so that the runtime's typed functions and storage
    /// items can be read. What `f` writes is thrown away.
    ///
    /// # Errors
    /// [`ExecutorError::UnknownBlock`], [`x0_storage::StorageError::StateUnavailable`] for a pruned
    /// state, [`ExecutorError::Panicked`].
    pub fn with_state<R>(&self, at: Hash, f: impl FnOnce() -> R) -> Result<R, ExecutorError> {
        let state = self.state_at(at)?;
        run_query(&state.backend, f)
    }

    /// The value under a storage key.
    ///
    /// # Errors
    /// As [`Executor::with_state`].
    pub fn storage(&self, at: Hash, key: &[u8]) -> Result<Option<Vec<u8>>, ExecutorError> {
        self.state_at(at)?.backend.storage(key).map_err(state_error)
    }

    /// The hash of the value under a storage key.
    ///
    /// # Errors
    /// As [`Executor::with_state`].
    pub fn storage_hash(&self, at: Hash, key: &[u8]) -> Result<Option<Hash>, ExecutorError> {
        self.state_at(at)?.backend.storage_hash(key).map_err(state_error)
    }

    /// The size of the value under a storage key, bytes.
    ///
    /// # Errors
    /// As [`Executor::with_state`].
    pub fn storage_size(&self, at: Hash, key: &[u8]) -> Result<Option<usize>, ExecutorError> {
        Ok(self.storage(at, key)?.map(|value| value.len()))
    }

    /// Up to `count` keys that begin with `prefix`, in order, after `start`.
    ///
    /// # Errors
    /// As [`Executor::with_state`].
    pub fn keys_paged(
        &self,
        at: Hash,
        prefix: &[u8],
        count: usize,
        start: Option<&[u8]>,
    ) -> Result<Vec<Vec<u8>>, ExecutorError> {
        let state = self.state_at(at)?;
        let mut args = IterArgs::default();
        args.prefix = Some(prefix);
        args.start_at = start;
        args.start_at_exclusive = start.is_some();
        state.backend.keys(args).map_err(state_error)?.take(count).map(|key| key.map_err(state_error)).collect()
    }

    /// A merkle proof of the values under `keys` against the state root of block `at`.
    ///
    /// # Errors
    /// As [`Executor::with_state`].
    pub fn read_proof(&self, at: Hash, keys: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ExecutorError> {
        let (number, root) = self.locate(at)?;
        let _pin = self.0.database.pin_state(number)?;
        let backend: PlainBackend = TrieBackendBuilder::new(self.0.database.state(), root).build();
        let proof = prove_read::<_, BlakeTwo256, _>(backend, keys)
            .map_err(|error| ExecutorError::State { reason: error.to_string() })?;
        Ok(proof.into_iter_nodes().collect())
    }

    /// The header of a block.
    ///
    /// # Errors
    /// [`ExecutorError::UnknownBlock`].
    pub fn header(&self, at: Hash) -> Result<Header, ExecutorError> {
        let bytes = self.0.database.header_by_hash(&at).ok_or(ExecutorError::UnknownBlock(at))?;
        Header::decode_all(&mut &bytes[..]).map_err(|error| ExecutorError::State { reason: error.to_string() })
    }

    /// Height and state root of a block.
    fn locate(&self, at: Hash) -> Result<(BlockNumber, Hash), ExecutorError> {
        let head = self.head();
        if at == head.hash {
            return Ok((head.number, head.state_root));
        }
        let header = self.header(at)?;
        Ok((header.number, header.state_root))
    }

    pub(crate) fn state_at(&self, at: Hash) -> Result<State, ExecutorError> {
        let (number, root) = self.locate(at)?;
        State::open(&self.0.database, &self.0.cache, number, root, Reader::Query)
    }
}

/// Runs a read; its writes are thrown away with the overlay.
pub(crate) fn run_query<R>(backend: &Backend, f: impl FnOnce() -> R) -> Result<R, ExecutorError> {
    let mut overlay = Overlay::default();
    state::run(backend, &mut overlay, f).map_err(|panic| ExecutorError::Panicked { place: "a query", message: panic.0 })
}

fn state_error(reason: String) -> ExecutorError {
    ExecutorError::State { reason }
}
