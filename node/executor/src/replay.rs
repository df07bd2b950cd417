//! Replaying a block that somebody else built.

use crate::{
    Executed, Executor,
    block::{BlockExecution, PROPOSER_ENGINE},
    dispatch,
    error::{BlockError, ExecutorError, InvalidBlock},
    extrinsic::{Signed, decode_extrinsic},
    state::{self, Overlay, Reader},
};
use bytes::Bytes;
use codec::{Compact, Decode, DecodeAll};
use rayon::prelude::*;
use sp_runtime::{DigestItem, generic::Preamble};
use x0_limits::{BLOCK_BYTES_MAX, BLOCK_EXTRINSICS_MAX, TIMESTAMP_STEP_MS_MIN};
use x0_runtime::{Header, RuntimeCall, System, UncheckedExtrinsic, VerifiedMark, preverify};
use x0_storage::Head;
use x0_types::{AccountId, Moment};

/// Signatures that one parallel task verifies: enough that opening its view of the state is cheap.
const SIGNATURES_PER_TASK: usize = 32;

/// A block that was decoded and whose form is right.
struct Decoded {
    header: Header,
    proposer: AccountId,
    timestamp: (Moment, UncheckedExtrinsic, Bytes),
    transactions: Vec<(Signed, Bytes)>,
}

impl Executor {
    /// Executes a block that came from another node on top of the head and compares the result with
    /// its header.
    ///
    /// Whether the block's time is close enough to the clock is for voters to judge
    /// ([`Executed::timestamp_ms`]); a decided block is right whatever the clock says.
    ///
    /// # Errors
    /// [`BlockError::Invalid`] when the block breaks a rule, [`BlockError::Fatal`] when this node
    /// cannot judge it.
    pub fn replay_block(&self, encoded: &[u8]) -> Result<Executed, BlockError> {
        let head = self.head();
        let decoded = decode(encoded, &head)?;
        let marks = self.verify_in_parallel(&decoded.transactions)?;
        let mut block = BlockExecution::start(self, decoded.proposer)?;
        if block.parent.hash != head.hash {
            return Err(ExecutorError::NotOnHead { parent: head.hash, head: block.parent.hash }.into());
        }
        let (now, inherent, bytes) = decoded.timestamp;
        block.apply_timestamp(now, inherent, bytes).map_err(|error| InvalidBlock::Extrinsic { index: 0, error })?;
        for (index, ((signed, bytes), mark)) in decoded.transactions.into_iter().zip(marks).enumerate() {
            block
                .apply(signed.extrinsic, bytes, signed.hash, Some(signed.sender), mark)
                .map_err(|error| InvalidBlock::Extrinsic { index: index + 1, error })?;
        }
        let executed = block.finish(Vec::new())?;
        compare(&decoded.header, &executed.header)?;
        Ok(executed)
    }

    /// Verifies the signatures that this node has not seen, on all cores. A signature that does not
    /// verify against the parent's state just gets no mark: an earlier transaction of the block may
    /// change the signer's key, so execution decides.
    fn verify_in_parallel(&self, transactions: &[(Signed, Bytes)]) -> Result<Vec<Option<VerifiedMark>>, ExecutorError> {
        let mut marks: Vec<_> = transactions.iter().map(|(signed, _)| self.0.marks.get(&signed.hash)).collect();
        let mut unknown: Vec<_> = transactions
            .iter()
            .zip(marks.iter_mut())
            .filter(|(_, mark)| mark.is_none())
            .map(|((signed, _), mark)| (&signed.extrinsic, mark))
            .collect();
        self.verify_all(&mut unknown)?;
        Ok(marks)
    }

    /// Verifies the signatures of decoded transactions on the head's state, on all cores: the signature stage of a
    /// block from another node.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn verify_signatures(&self, transactions: &[UncheckedExtrinsic]) -> Result<Vec<bool>, ExecutorError> {
        let mut marks = vec![None; transactions.len()];
        self.verify_all(&mut transactions.iter().zip(marks.iter_mut()).collect::<Vec<_>>())?;
        Ok(marks.iter().map(Option::is_some).collect())
    }

    fn verify_all(
        &self,
        unknown: &mut [(&UncheckedExtrinsic, &mut Option<VerifiedMark>)],
    ) -> Result<(), ExecutorError> {
        unknown.par_chunks_mut(SIGNATURES_PER_TASK).try_for_each(|chunk| {
            let (head, state) = self.head_state(Reader::Query)?;
            let mut overlay = Overlay::default();
            // The height decides which era blocks are in range, as in the block itself.
            state::run(&state.backend, &mut overlay, || {
                System::initialize(&head.number.saturating_add(1), &head.hash, &sp_runtime::Digest::default());
            })
            .map_err(|panic| ExecutorError::Panicked { place: "the signature stage", message: panic.0 })?;
            for (extrinsic, mark) in chunk {
                let verified = state::run(&state.backend, &mut overlay, || {
                    preverify::with_mark(None, || dispatch::signature_holds(extrinsic))
                });
                match verified {
                    Ok((_, made)) => **mark = made,
                    // A panic repeats itself in execution and is judged there.
                    Err(_) => state::roll_back(&mut overlay),
                }
            }
            Ok(())
        })
    }
}

/// Decodes a block and checks everything that needs no state.
fn decode(encoded: &[u8], head: &Head) -> Result<Decoded, InvalidBlock> {
    if encoded.len() > BLOCK_BYTES_MAX {
        return Err(InvalidBlock::TooLarge { bytes: encoded.len(), max: BLOCK_BYTES_MAX });
    }
    let (header, body) = split(encoded)?;
    if header.number != head.number.saturating_add(1) {
        return Err(InvalidBlock::WrongNumber { head: head.number, found: header.number });
    }
    if header.parent_hash != head.hash {
        return Err(InvalidBlock::WrongParent { head: head.hash, found: header.parent_hash });
    }
    let proposer = proposer(&header)?;
    let mut body = body.into_iter();
    let timestamp = decode_timestamp(body.next().ok_or(InvalidBlock::Inherents { index: 0 })?)?;
    if timestamp.0 < head.timestamp_ms.saturating_add(TIMESTAMP_STEP_MS_MIN) {
        return Err(InvalidBlock::Timestamp { parent: head.timestamp_ms, found: timestamp.0 });
    }
    let body: Vec<_> = body.collect();
    let transactions = body
        .into_par_iter()
        .enumerate()
        .map(|(index, bytes)| {
            let error = |error| InvalidBlock::Extrinsic { index: index + 1, error };
            Signed::decode(&bytes).map(|signed| (signed, bytes)).map_err(error)
        })
        .collect::<Result<_, _>>()?;
    Ok(Decoded { header, proposer, timestamp, transactions })
}

/// Splits an encoded block into header and encoded extrinsics, without looking into these.
fn split(encoded: &[u8]) -> Result<(Header, Vec<Bytes>), InvalidBlock> {
    let undecodable = |reason: &str| InvalidBlock::Undecodable { reason: reason.to_owned() };
    let bytes = Bytes::copy_from_slice(encoded);
    let mut rest = encoded;
    let header = Header::decode(&mut rest).map_err(|error| undecodable(&error.to_string()))?;
    let count = Compact::<u32>::decode(&mut rest).map_err(|error| undecodable(&error.to_string()))?.0;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > BLOCK_EXTRINSICS_MAX {
        return Err(InvalidBlock::TooManyExtrinsics { count, max: BLOCK_EXTRINSICS_MAX });
    }
    let mut body = Vec::with_capacity(count);
    for _ in 0..count {
        let start = encoded.len() - rest.len();
        let length = Compact::<u32>::decode(&mut rest).map_err(|error| undecodable(&error.to_string()))?.0;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        rest = rest.get(length..).ok_or_else(|| undecodable("an extrinsic is longer than the block"))?;
        body.push(bytes.slice(start..encoded.len() - rest.len()));
    }
    if !rest.is_empty() {
        return Err(undecodable("bytes are left over after the last extrinsic"));
    }
    Ok((header, body))
}

/// The proposer that the header names: in exactly one pre-runtime item, the first.
fn proposer(header: &Header) -> Result<AccountId, InvalidBlock> {
    let mut named = header.digest.logs.iter().filter_map(DigestItem::as_pre_runtime);
    match (named.next(), named.next()) {
        (Some((PROPOSER_ENGINE, mut bytes)), None) => {
            AccountId::decode_all(&mut bytes).map_err(|_| InvalidBlock::Proposer)
        }
        _ => Err(InvalidBlock::Proposer),
    }
}

fn decode_timestamp(bytes: Bytes) -> Result<(Moment, UncheckedExtrinsic, Bytes), InvalidBlock> {
    let extrinsic = decode_extrinsic(&bytes).map_err(|error| InvalidBlock::Extrinsic { index: 0, error })?;
    match (&extrinsic.preamble, &extrinsic.function) {
        (Preamble::Bare(_), RuntimeCall::Timestamp(pallet_timestamp::Call::set { now })) => {
            Ok((*now, extrinsic, bytes))
        }
        _ => Err(InvalidBlock::Inherents { index: 0 }),
    }
}

/// Compares the header of a block with the one that execution gives.
fn compare(block: &Header, executed: &Header) -> Result<(), InvalidBlock> {
    let differs = |field, found: String, expected: String| Err(InvalidBlock::Header { field, found, expected });
    if block.digest != executed.digest {
        return differs("digest", format!("{:?}", block.digest), format!("{:?}", executed.digest));
    }
    if block.extrinsics_root != executed.extrinsics_root {
        return differs(
            "extrinsics root",
            format!("{:?}", block.extrinsics_root),
            format!("{:?}", executed.extrinsics_root),
        );
    }
    if block.state_root != executed.state_root {
        return differs("state root", format!("{:?}", block.state_root), format!("{:?}", executed.state_root));
    }
    if block.hash() != executed.hash() {
        return differs("hash", format!("{:?}", block.hash()), format!("{:?}", executed.hash()));
    }
    Ok(())
}
