//! Replaying a block that somebody else built.

use crate::{
    Executed, Executor,
    admission::Proof,
    block::{BlockExecution, PROPOSER_ENGINE},
    error::{BlockError, ExecutorError, InvalidBlock},
    extrinsic::{Signed, decode_extrinsic, extrinsic_hashes},
};
use bytes::Bytes;
use codec::{Compact, Decode, DecodeAll, Encode};
use rayon::prelude::*;
use sp_runtime::{DigestItem, generic::Preamble};
use x0_limits::{BLOCK_BYTES_MAX, BLOCK_EXTRINSICS_MAX, TIMESTAMP_STEP_MS_MIN};
use x0_runtime::{Header, RuntimeCall, UncheckedExtrinsic, VerifiedMark};
use x0_storage::Head;
use x0_types::{AccountId, Moment};

/// Transactions that one parallel task decodes and verifies: enough that a view of the state and hashing several side
/// by side pay, and few enough that no core is left without one at the end.
const TRANSACTIONS_PER_TASK: usize = 32;

/// A block that was decoded and whose form is right.
struct Decoded {
    header: Header,
    proposer: AccountId,
    timestamp: (Moment, UncheckedExtrinsic, Bytes),
    /// Beside the timestamp.
    transactions: Vec<Bytes>,
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
    pub fn replay_block(&self, encoded: &Bytes) -> Result<Executed, BlockError> {
        let head = self.head();
        let decoded = decode(encoded, &head)?;
        let transactions = self.prepare(&decoded.transactions)?;
        let mut block = BlockExecution::start(self, decoded.proposer)?;
        if block.parent.hash != head.hash {
            return Err(ExecutorError::NotOnHead { parent: head.hash, head: block.parent.hash }.into());
        }
        let (now, inherent, bytes) = decoded.timestamp;
        block.apply_timestamp(now, inherent, bytes).map_err(|error| InvalidBlock::Extrinsic { index: 0, error })?;
        for (index, ((signed, mark), bytes)) in transactions.into_iter().zip(decoded.transactions).enumerate() {
            block
                .apply(signed.extrinsic, bytes, signed.hash, Some(signed.sender), mark)
                .map_err(|error| InvalidBlock::Extrinsic { index: index + 1, error })?;
        }
        let executed = block.finish(Vec::new(), Some(encoded.clone()))?;
        compare(&decoded.header, &executed.header)?;
        Ok(executed)
    }

    /// Decodes the transactions of a block and verifies the signatures that this node has not seen, on all cores. A
    /// signature that does not verify against the parent's state just gets no mark: an earlier transaction of the
    /// block may change the signer's key, so execution decides.
    fn prepare(&self, transactions: &[Bytes]) -> Result<Vec<(Signed, Option<VerifiedMark>)>, BlockError> {
        let prepared: Vec<Vec<_>> = transactions
            .par_chunks(TRANSACTIONS_PER_TASK)
            .enumerate()
            .map(|(task, chunk)| {
                let first = task.saturating_mul(TRANSACTIONS_PER_TASK).saturating_add(1);
                let signed = (first..)
                    .zip(chunk.iter().zip(extrinsic_hashes(chunk)))
                    .map(|(index, (bytes, hash))| {
                        Signed::decode_hashed(bytes, hash).map_err(|error| InvalidBlock::Extrinsic { index, error })
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let marks = self.verify(&signed.iter().map(Some).collect::<Vec<_>>())?;
                Ok::<_, BlockError>(signed.into_iter().zip(marks).collect())
            })
            .collect::<Result<_, _>>()?;
        Ok(prepared.into_iter().flatten().collect())
    }

    fn verify(&self, transactions: &[Option<&Signed>]) -> Result<Vec<Option<VerifiedMark>>, ExecutorError> {
        let proofs = self.with_view(|view| self.verify_on(view, transactions))?;
        Ok(proofs
            .into_iter()
            .map(|proof| match proof {
                Proof::Holds(mark) => Some(mark),
                Proof::Fails | Proof::Unknown => None,
            })
            .collect())
    }

    /// Verifies the signatures of decoded transactions on the head's state, on all cores: the signature stage of a
    /// block from another node.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn verify_signatures(&self, transactions: &[Signed]) -> Result<Vec<bool>, ExecutorError> {
        let held: Vec<Vec<bool>> = transactions
            .par_chunks(TRANSACTIONS_PER_TASK)
            .map(|chunk| {
                let marks = self.verify(&chunk.iter().map(Some).collect::<Vec<_>>())?;
                Ok(marks.iter().map(Option::is_some).collect())
            })
            .collect::<Result<_, ExecutorError>>()?;
        Ok(held.concat())
    }
}

/// Decodes a block and checks everything that needs no state.
fn decode(encoded: &Bytes, head: &Head) -> Result<Decoded, InvalidBlock> {
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
    Ok(Decoded { header, proposer, timestamp, transactions: body.collect() })
}

/// Splits an encoded block into header and encoded extrinsics, without looking into these.
fn split(encoded: &Bytes) -> Result<(Header, Vec<Bytes>), InvalidBlock> {
    let undecodable = |reason: &str| InvalidBlock::Undecodable { reason: reason.to_owned() };
    let mut rest = &encoded[..];
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
        body.push(encoded.slice(start..encoded.len() - rest.len()));
    }
    if !rest.is_empty() {
        return Err(undecodable("bytes are left over after the last extrinsic"));
    }
    // These bytes are stored and served as the block, so that another encoding of the same must not pass.
    let mut canonical = header.encode();
    Compact(u32::try_from(count).unwrap_or(u32::MAX)).encode_to(&mut canonical);
    if !encoded.starts_with(&canonical) {
        return Err(undecodable("another encoding than the canonical one"));
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
