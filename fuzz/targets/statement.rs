//! Signed bodies of votes, proposals and openings, and evidence of contradictions between them.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use codec::DecodeAll;
use x0_crypto::statement::{Statement, Step};
use x0_types::evidence::Evidence;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((step, body)) = bytes.split_first() else { return };
    if let Some(step) = Step::from_byte(*step % 5) {
        x0_fuzz::round_trip(body, |body| Statement::decode(step, body), Statement::body);
    }
    x0_fuzz::round_trip(body, |mut body| Evidence::decode_all(&mut body), codec::Encode::encode);
});
