//! Histories of the whole runtime: blocks with calls of a handful of accounts, checked after each block.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    x0_fuzz::history::run(bytes);
});
