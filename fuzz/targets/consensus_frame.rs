//! What a validator may send on each channel of a link; the first byte chooses the channel.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use bytes::Bytes;
use malachite_codec::Codec;
use malachite_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachite_core_types::PolkaCertificate;
use malachite_engine::util::streaming::StreamMessage;
use malachite_sync::{Request, Response, Status};
use x0_consensus::{context::ChainContext, parts::Part, wire::ChainCodec};

/// Reads, writes and reads again; the messages have no equality, so their bytes are compared.
fn stable<T>(bytes: Bytes)
where
    ChainCodec: Codec<T>,
{
    if let Ok(message) = Codec::<T>::decode(&ChainCodec, bytes) {
        let Ok(written) = ChainCodec.encode(&message) else { return };
        let again = Codec::<T>::decode(&ChainCodec, written.clone()).map(|again| ChainCodec.encode(&again));
        assert!(matches!(again, Ok(Ok(again)) if again == written), "what was read reads back otherwise");
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((channel, body)) = bytes.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    match channel % 8 {
        0 => stable::<SignedConsensusMsg<ChainContext>>(body),
        1 => stable::<LivenessMsg<ChainContext>>(body),
        2 => stable::<StreamMessage<Part>>(body),
        3 => stable::<Status<ChainContext>>(body),
        4 => stable::<Request<ChainContext>>(body),
        5 => stable::<Response<ChainContext>>(body),
        6 => stable::<ProposedValue<ChainContext>>(body),
        _ => stable::<PolkaCertificate<ChainContext>>(body),
    }
});
