//! What probing validators and agents send one another.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use x0_types::probe::{ProbeRequest, ProbeResponse, decode_frame};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((side, body)) = bytes.split_first() else { return };
    if side % 2 == 0 {
        x0_fuzz::round_trip(body, decode_frame::<ProbeRequest>, codec::Encode::encode);
    } else {
        x0_fuzz::round_trip(body, decode_frame::<ProbeResponse>, codec::Encode::encode);
    }
});
