//! Bytes on the wire and in the write-ahead log, with bounds that are checked before memory is taken.
//!
//! Borsh carries the engine's own messages: their lists hold signatures of fixed size, so that a list
//! cannot be longer than its frame. Answers to synchronisation and parts of blocks are written by hand,
//! because they carry large byte strings that are cut out of the frame without copying.

use crate::{
    certificate::{CERTIFICATE_BYTES_MAX, Certificate, CertificateEntry, CertificateError},
    context::{Address, BlockId, ChainContext, Height, Signature},
    parts::{ENCODED_BLOCK_BYTES_MAX, Part, SignedOpening},
};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use malachite_codec::{Codec, HasEncodedLen};
use malachite_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachite_core_types::{
    CommitCertificate, CommitSignature, ExtendedCommitCertificate, ExtendedCommitSignature, PolkaCertificate, Round,
};
use malachite_engine::util::streaming::{StreamContent, StreamId, StreamMessage};
use malachite_peer::PeerId;
use malachite_sync::{RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};
use x0_limits::{
    CONSENSUS_FRAME_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, LIVENESS_FRAME_BYTES_MAX, PART_FRAME_BYTES_MAX,
    PROPOSAL_PART_BYTES, SYNC_BATCH_BLOCKS_MAX, SYNC_RESPONSE_BYTES_MAX, VALIDATORS_MAX,
};

/// Longest name of a stream of parts, bytes.
const STREAM_ID_BYTES_MAX: usize = 64;
/// Votes in a certificate of the liveness protocol: both kinds of every validator.
const LIVENESS_SIGNATURES_MAX: usize = 2 * VALIDATORS_MAX as usize;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the message may have.
    #[error("{found} bytes; this message has {max} at most")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes end too early, go on too long, or hold an impossible value.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// A field does not decode.
    #[error("malformed: {0}")]
    Field(#[from] std::io::Error),
    /// More signatures than validators can make.
    #[error("{found} signatures; {max} at most")]
    TooManySignatures {
        /// Signatures found.
        found: usize,
        /// Signatures allowed.
        max: usize,
    },
    /// A certificate does not decode.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

fn bounded<T: BorshDeserialize>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLarge { found: bytes.len(), max });
    }
    Ok(borsh::from_slice(bytes)?)
}

fn written<T: BorshSerialize>(message: &T, max: usize) -> Result<Bytes, CodecError> {
    let bytes = borsh::to_vec(message)?;
    if bytes.len() > max {
        return Err(CodecError::TooLarge { found: bytes.len(), max });
    }
    Ok(bytes.into())
}

fn signatures(found: usize, max: usize) -> Result<(), CodecError> {
    if found > max { Err(CodecError::TooManySignatures { found, max }) } else { Ok(()) }
}

/// All codecs of the node.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainCodec;

impl Codec<SignedConsensusMsg<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, bytes: Bytes) -> Result<SignedConsensusMsg<ChainContext>, CodecError> {
        bounded(&bytes, CONSENSUS_FRAME_BYTES_MAX)
    }
    fn encode(&self, message: &SignedConsensusMsg<ChainContext>) -> Result<Bytes, CodecError> {
        written(message, CONSENSUS_FRAME_BYTES_MAX)
    }
}

impl Codec<ProposedValue<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, bytes: Bytes) -> Result<ProposedValue<ChainContext>, CodecError> {
        bounded(&bytes, CONTROL_FRAME_BYTES_MAX)
    }
    fn encode(&self, value: &ProposedValue<ChainContext>) -> Result<Bytes, CodecError> {
        written(value, CONTROL_FRAME_BYTES_MAX)
    }
}

impl Codec<PolkaCertificate<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, bytes: Bytes) -> Result<PolkaCertificate<ChainContext>, CodecError> {
        let certificate: PolkaCertificate<ChainContext> = bounded(&bytes, LIVENESS_FRAME_BYTES_MAX)?;
        signatures(certificate.polka_signatures.len(), VALIDATORS_MAX as usize)?;
        Ok(certificate)
    }
    fn encode(&self, certificate: &PolkaCertificate<ChainContext>) -> Result<Bytes, CodecError> {
        written(certificate, LIVENESS_FRAME_BYTES_MAX)
    }
}

impl Codec<LivenessMsg<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, bytes: Bytes) -> Result<LivenessMsg<ChainContext>, CodecError> {
        let message: LivenessMsg<ChainContext> = bounded(&bytes, LIVENESS_FRAME_BYTES_MAX)?;
        match &message {
            LivenessMsg::Vote(_) => {}
            LivenessMsg::PolkaCertificate(polka) => {
                signatures(polka.polka_signatures.len(), VALIDATORS_MAX as usize)?;
            }
            LivenessMsg::SkipRoundCertificate(round) => {
                signatures(round.round_signatures.len(), LIVENESS_SIGNATURES_MAX)?;
            }
        }
        Ok(message)
    }
    fn encode(&self, message: &LivenessMsg<ChainContext>) -> Result<Bytes, CodecError> {
        written(message, LIVENESS_FRAME_BYTES_MAX)
    }
}

/// Cuts `count` bytes off the front without copying.
fn cut(bytes: &mut Bytes, count: usize, what: &'static str) -> Result<Bytes, CodecError> {
    if bytes.len() < count {
        return Err(CodecError::Malformed(what));
    }
    Ok(bytes.split_to(count))
}

fn cut_u32(bytes: &mut Bytes, what: &'static str) -> Result<usize, CodecError> {
    let mut field = cut(bytes, 4, what)?;
    usize::try_from(field.get_u32()).map_err(|_| CodecError::Malformed(what))
}

fn cut_u64(bytes: &mut Bytes, what: &'static str) -> Result<u64, CodecError> {
    Ok(cut(bytes, 8, what)?.get_u64())
}

fn put_length(bytes: &mut BytesMut, length: usize, max: usize) -> Result<(), CodecError> {
    match u32::try_from(length) {
        Ok(field) if length <= max => {
            bytes.put_u32(field);
            Ok(())
        }
        _ => Err(CodecError::TooLarge { found: length, max }),
    }
}

const TAG_OPENING: u8 = 0;
const TAG_BODY: u8 = 1;

impl Codec<StreamMessage<Part>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, mut bytes: Bytes) -> Result<StreamMessage<Part>, CodecError> {
        if bytes.len() > PART_FRAME_BYTES_MAX {
            return Err(CodecError::TooLarge { found: bytes.len(), max: PART_FRAME_BYTES_MAX });
        }
        let length = usize::from(cut(&mut bytes, 1, "stream name length")?.get_u8());
        if length > STREAM_ID_BYTES_MAX {
            return Err(CodecError::TooLarge { found: length, max: STREAM_ID_BYTES_MAX });
        }
        let stream = StreamId::new(cut(&mut bytes, length, "stream name")?);
        let sequence = cut_u64(&mut bytes, "sequence")?;
        let part = match cut(&mut bytes, 1, "kind of part")?.get_u8() {
            TAG_OPENING => Part::Opening(Box::new(borsh::from_slice::<SignedOpening>(&bytes)?)),
            TAG_BODY if bytes.len() <= PROPOSAL_PART_BYTES => Part::Body(bytes),
            TAG_BODY => return Err(CodecError::TooLarge { found: bytes.len(), max: PROPOSAL_PART_BYTES }),
            _ => return Err(CodecError::Malformed("unknown kind of part")),
        };
        Ok(StreamMessage::new(stream, sequence, StreamContent::Data(part)))
    }
    fn encode(&self, message: &StreamMessage<Part>) -> Result<Bytes, CodecError> {
        let stream = message.stream_id.to_bytes();
        let length = u8::try_from(stream.len()).map_err(|_| CodecError::Malformed("a long stream name"))?;
        let mut bytes = BytesMut::new();
        bytes.put_u8(length);
        bytes.put_slice(&stream);
        bytes.put_u64(message.sequence);
        match &message.content {
            StreamContent::Data(Part::Opening(opening)) => {
                bytes.put_u8(TAG_OPENING);
                bytes.put_slice(&borsh::to_vec(opening)?);
            }
            StreamContent::Data(Part::Body(body)) => {
                bytes.put_u8(TAG_BODY);
                bytes.put_slice(body);
            }
            StreamContent::Fin => return Err(CodecError::Malformed("streams of this chain have no end marker")),
        }
        Ok(bytes.freeze())
    }
}

/// Bytes of a peer's name as the engine writes it: a multihash of 32 bytes.
const PEER_ID_BYTES: usize = 34;

impl Codec<Status<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, mut bytes: Bytes) -> Result<Status<ChainContext>, CodecError> {
        let peer = cut(&mut bytes, PEER_ID_BYTES, "peer")?;
        let peer_id = PeerId::from_bytes(&peer).map_err(|_| CodecError::Malformed("peer"))?;
        let tip_height = Height(cut_u64(&mut bytes, "height")?);
        let history_min_height = Height(cut_u64(&mut bytes, "first height")?);
        if !bytes.is_empty() {
            return Err(CodecError::Malformed("bytes after a status"));
        }
        Ok(Status { peer_id, tip_height, history_min_height })
    }
    fn encode(&self, status: &Status<ChainContext>) -> Result<Bytes, CodecError> {
        let mut bytes = BytesMut::with_capacity(PEER_ID_BYTES + 16);
        bytes.put_slice(&status.peer_id.to_bytes());
        bytes.put_u64(status.tip_height.0);
        bytes.put_u64(status.history_min_height.0);
        Ok(bytes.freeze())
    }
}

impl Codec<Request<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, mut bytes: Bytes) -> Result<Request<ChainContext>, CodecError> {
        let start = cut_u64(&mut bytes, "first height")?;
        let end = cut_u64(&mut bytes, "last height")?;
        if !bytes.is_empty() {
            return Err(CodecError::Malformed("bytes after a request"));
        }
        Ok(Request::ValueRequest(ValueRequest::new(Height(start)..=Height(end))))
    }
    fn encode(&self, request: &Request<ChainContext>) -> Result<Bytes, CodecError> {
        let Request::ValueRequest(request) = request;
        let mut bytes = BytesMut::with_capacity(16);
        bytes.put_u64(request.range.start().0);
        bytes.put_u64(request.range.end().0);
        Ok(bytes.freeze())
    }
}

impl Codec<Response<ChainContext>> for ChainCodec {
    type Error = CodecError;
    fn decode(&self, mut bytes: Bytes) -> Result<Response<ChainContext>, CodecError> {
        if bytes.len() > SYNC_RESPONSE_BYTES_MAX {
            return Err(CodecError::TooLarge { found: bytes.len(), max: SYNC_RESPONSE_BYTES_MAX });
        }
        let start = Height(cut_u64(&mut bytes, "first height")?);
        let count = cut_u32(&mut bytes, "number of blocks")?;
        if count > SYNC_BATCH_BLOCKS_MAX {
            return Err(CodecError::TooLarge { found: count, max: SYNC_BATCH_BLOCKS_MAX });
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let length = cut_u32(&mut bytes, "length of a block")?;
            if length > ENCODED_BLOCK_BYTES_MAX {
                return Err(CodecError::TooLarge { found: length, max: ENCODED_BLOCK_BYTES_MAX });
            }
            let block = cut(&mut bytes, length, "block")?;
            let length = cut_u32(&mut bytes, "length of a certificate")?;
            if length > CERTIFICATE_BYTES_MAX {
                return Err(CodecError::TooLarge { found: length, max: CERTIFICATE_BYTES_MAX });
            }
            let certificate = Certificate::decode(&cut(&mut bytes, length, "certificate")?)?;
            values.push(RawDecidedValue::new(block, extended(certificate)));
        }
        if !bytes.is_empty() {
            return Err(CodecError::Malformed("bytes after a response"));
        }
        Ok(Response::ValueResponse(ValueResponse::new(start, values)))
    }
    fn encode(&self, response: &Response<ChainContext>) -> Result<Bytes, CodecError> {
        let Response::ValueResponse(response) = response;
        let mut bytes = BytesMut::with_capacity(self.encoded_len(&Response::ValueResponse(response.clone()))?);
        bytes.put_u64(response.start_height.0);
        put_length(&mut bytes, response.values.len(), SYNC_BATCH_BLOCKS_MAX)?;
        for value in &response.values {
            put_length(&mut bytes, value.value_bytes.len(), ENCODED_BLOCK_BYTES_MAX)?;
            bytes.put_slice(&value.value_bytes);
            let certificate = compact(&value.certificate)?.encode();
            put_length(&mut bytes, certificate.len(), CERTIFICATE_BYTES_MAX)?;
            bytes.put_slice(&certificate);
        }
        Ok(bytes.freeze())
    }
}

impl HasEncodedLen<Response<ChainContext>> for ChainCodec {
    fn encoded_len(&self, response: &Response<ChainContext>) -> Result<usize, CodecError> {
        let Response::ValueResponse(response) = response;
        let entry = 32 + x0_crypto::SIGNATURE_BYTES;
        // The head of a certificate has 50 bytes at most.
        Ok(12
            + response
                .values
                .iter()
                .map(|value| value.value_bytes.len() + 8 + 50 + value.certificate.commit_signatures.len() * entry)
                .sum::<usize>())
    }
}

/// The engine's certificate in the chain's own form.
///
/// # Errors
/// [`CodecError::Malformed`] when it names no round.
pub fn certificate_of(certificate: &CommitCertificate<ChainContext>) -> Result<Certificate, CodecError> {
    Ok(Certificate {
        height: certificate.height.0,
        round: certificate.round.as_u32().ok_or(CodecError::Malformed("a certificate without a round"))?,
        block: certificate.value_id.0,
        entries: certificate
            .commit_signatures
            .iter()
            .map(|CommitSignature { address, signature }| CertificateEntry {
                address: address.0,
                signature: signature.inner().clone(),
            })
            .collect(),
    })
}

fn compact(certificate: &ExtendedCommitCertificate<ChainContext>) -> Result<Certificate, CodecError> {
    certificate_of(&certificate.trim_vote_extensions())
}

/// The chain's certificate in the engine's form.
#[must_use]
pub fn extended(certificate: Certificate) -> ExtendedCommitCertificate<ChainContext> {
    ExtendedCommitCertificate {
        height: Height(certificate.height),
        round: Round::new(certificate.round),
        value_id: BlockId(certificate.block),
        commit_signatures: certificate
            .entries
            .into_iter()
            .map(|entry| ExtendedCommitSignature::new(Address(entry.address), Signature::from(entry.signature), None))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
