//! Commit certificates, as peers and light clients send them.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use x0_crypto::certificate::Certificate;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    x0_fuzz::round_trip(bytes, Certificate::decode, Certificate::encode);
});
