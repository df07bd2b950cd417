//! Transactions, as wallets and peers send them.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    x0_fuzz::round_trip(bytes, x0_executor::decode_extrinsic, codec::Encode::encode);
});
