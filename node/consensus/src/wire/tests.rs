//! Round trips, and bytes that are cut, changed, too long or invented.

use super::*;
use crate::context::{Proposal, Vote};
use malachite_core_types::{
    NilOrVal, PolkaSignature, RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, Validity, VoteType,
};
use proptest::prelude::*;

fn signature(tag: u8) -> Signature {
    x0_crypto::Signature::from(&[tag; x0_crypto::SIGNATURE_BYTES]).into()
}

fn vote(height: u64, tag: u8) -> Vote {
    Vote {
        kind: if tag.is_multiple_of(2) { VoteType::Prevote } else { VoteType::Precommit },
        height: Height(height),
        round: Round::new(u32::from(tag)),
        value: if tag.is_multiple_of(3) { NilOrVal::Nil } else { NilOrVal::Val(BlockId([tag; 32])) },
        voter: Address([tag; 32]),
    }
}

fn consensus_messages() -> Vec<SignedConsensusMsg<ChainContext>> {
    let proposal = Proposal {
        height: Height(9),
        round: Round::new(3),
        value: BlockId([1; 32]),
        pol_round: Round::new(2),
        proposer: Address([4; 32]),
    };
    let mut messages: Vec<_> =
        (0..6).map(|tag| SignedConsensusMsg::Vote(SignedMessage::new(vote(7, tag), signature(tag)))).collect();
    messages.push(SignedConsensusMsg::Proposal(SignedMessage::new(proposal, signature(5))));
    messages
}

fn polka(count: usize) -> PolkaCertificate<ChainContext> {
    PolkaCertificate {
        height: Height(3),
        round: Round::new(1),
        value_id: BlockId([2; 32]),
        polka_signatures: (0..count)
            .map(|index| PolkaSignature::new(Address([index as u8; 32]), signature(1)))
            .collect(),
    }
}

fn round_certificate(count: usize) -> RoundCertificate<ChainContext> {
    RoundCertificate {
        height: Height(3),
        round: Round::new(1),
        cert_type: RoundCertificateType::Skip,
        round_signatures: (0..count)
            .map(|index| {
                RoundSignature::new(VoteType::Prevote, NilOrVal::Nil, Address([index as u8; 32]), signature(1))
            })
            .collect(),
    }
}

fn response(blocks: usize) -> Response<ChainContext> {
    let values = (0..blocks)
        .map(|index| {
            let certificate = Certificate {
                height: index as u64 + 5,
                round: 0,
                block: [index as u8; 32],
                entries: vec![CertificateEntry { address: [1; 32], signature: signature(2).inner().clone() }],
            };
            RawDecidedValue::new(Bytes::from(vec![index as u8; 100 * index]), extended(certificate))
        })
        .collect();
    Response::ValueResponse(ValueResponse::new(Height(5), values))
}

fn opening() -> StreamMessage<Part> {
    let opening = crate::signer::opening_for(Height(4), 1, Address([1; 32]), BlockId([2; 32]), b"block");
    let part = Part::Opening(Box::new(SignedOpening { opening, signature: signature(7) }));
    StreamMessage::new(StreamId::new(Bytes::from_static(b"stream")), 0, StreamContent::Data(part))
}

fn body(bytes: usize) -> StreamMessage<Part> {
    let part = Part::Body(Bytes::from(vec![3; bytes]));
    StreamMessage::new(StreamId::new(Bytes::from_static(b"stream")), 5, StreamContent::Data(part))
}

/// Encodes, decodes, and compares.
fn round_trip<T: PartialEq + core::fmt::Debug>(message: &T) -> Bytes
where
    ChainCodec: Codec<T, Error = CodecError>,
{
    let bytes = ChainCodec.encode(message).unwrap();
    assert_eq!(&ChainCodec.decode(bytes.clone()).unwrap(), message);
    bytes
}

#[test]
fn messages_come_back_as_they_were() {
    for message in consensus_messages() {
        let bytes = round_trip(&message);
        assert!(bytes.len() <= x0_network::Channel::Consensus.frame_bytes_max());
    }
    round_trip(&LivenessMsg::PolkaCertificate(polka(VALIDATORS_MAX as usize)));
    let largest = round_trip(&LivenessMsg::SkipRoundCertificate(round_certificate(LIVENESS_SIGNATURES_MAX)));
    assert!(largest.len() <= x0_network::Channel::Liveness.frame_bytes_max());
    round_trip(&polka(3));
    round_trip(&ProposedValue {
        height: Height(2),
        round: Round::new(1),
        valid_round: Round::Nil,
        proposer: Address([1; 32]),
        value: BlockId([2; 32]),
        validity: Validity::Invalid,
    });
    round_trip(&opening());
    let largest = round_trip(&body(PROPOSAL_PART_BYTES));
    assert!(largest.len() <= x0_network::Channel::Parts.frame_bytes_max());
    round_trip(&Request::ValueRequest(ValueRequest::new(Height(3)..=Height(9))));
    for blocks in 0..=SYNC_BATCH_BLOCKS_MAX {
        let response = response(blocks);
        let bytes = round_trip(&response);
        let announced = ChainCodec.encoded_len(&response).unwrap();
        assert!(bytes.len() <= announced && announced <= bytes.len() + 50 * blocks, "{announced} for {}", bytes.len());
    }
}

#[test]
fn bounds_are_checked() {
    let too_many = |result: Result<_, CodecError>| matches!(result, Err(CodecError::TooManySignatures { .. }));
    let bytes = Bytes::from(borsh::to_vec(&LivenessMsg::PolkaCertificate(polka(VALIDATORS_MAX as usize + 1))).unwrap());
    assert!(too_many(Codec::<LivenessMsg<ChainContext>>::decode(&ChainCodec, bytes).map(drop)));
    let message = LivenessMsg::<ChainContext>::SkipRoundCertificate(round_certificate(LIVENESS_SIGNATURES_MAX + 1));
    let bytes = Bytes::from(borsh::to_vec(&message).unwrap());
    assert!(Codec::<LivenessMsg<ChainContext>>::decode(&ChainCodec, bytes).is_err());
    let long = Bytes::from(vec![0; CONSENSUS_FRAME_BYTES_MAX + 1]);
    assert!(matches!(
        Codec::<SignedConsensusMsg<ChainContext>>::decode(&ChainCodec, long),
        Err(CodecError::TooLarge { .. })
    ));
    assert!(ChainCodec.encode(&response(SYNC_BATCH_BLOCKS_MAX + 1)).is_err());
    let oversized = ChainCodec.encode(&body(PROPOSAL_PART_BYTES + 1)).unwrap();
    assert!(Codec::<StreamMessage<Part>>::decode(&ChainCodec, oversized).is_err());

    // A list that claims four billion entries costs nothing.
    let mut claim = borsh::to_vec(&polka(0)).unwrap();
    let end = claim.len();
    claim[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Codec::<PolkaCertificate<ChainContext>>::decode(&ChainCodec, claim.into()).is_err());
    // The same for the blocks of an answer.
    let mut claim = ChainCodec.encode(&response(1)).unwrap().to_vec();
    claim[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(Codec::<Response<ChainContext>>::decode(&ChainCodec, claim.into()).is_err());
}

/// Every decoder on the same bytes: none may panic.
fn decode_all(bytes: &Bytes) {
    let _ = Codec::<SignedConsensusMsg<ChainContext>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<LivenessMsg<ChainContext>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<PolkaCertificate<ChainContext>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<ProposedValue<ChainContext>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<StreamMessage<Part>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<Status<ChainContext>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<Request<ChainContext>>::decode(&ChainCodec, bytes.clone());
    let _ = Codec::<Response<ChainContext>>::decode(&ChainCodec, bytes.clone());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn invented_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5_000)) {
        decode_all(&bytes.into());
    }

    #[test]
    fn changed_and_cut_messages_never_panic(which in any::<usize>(), at in any::<usize>(), flip in any::<u8>(), cut in any::<usize>()) {
        let mut samples: Vec<Bytes> = consensus_messages().iter().map(|message| ChainCodec.encode(message).unwrap()).collect();
        samples.push(ChainCodec.encode(&LivenessMsg::PolkaCertificate(polka(3))).unwrap());
        samples.push(ChainCodec.encode(&LivenessMsg::SkipRoundCertificate(round_certificate(3))).unwrap());
        samples.push(ChainCodec.encode(&response(3)).unwrap());
        samples.push(ChainCodec.encode(&opening()).unwrap());
        samples.push(ChainCodec.encode(&body(10)).unwrap());
        let mut bytes = samples[which % samples.len()].to_vec();
        // Near the front, where the lengths and tags are, as often as anywhere.
        let at = if at % 2 == 0 { at % bytes.len() } else { at % bytes.len().min(64) };
        bytes[at] ^= flip;
        decode_all(&bytes.clone().into());
        bytes.truncate(cut % (bytes.len() + 1));
        decode_all(&bytes.into());
    }
}
