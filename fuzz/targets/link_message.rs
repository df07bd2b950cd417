//! What two nodes say to one another on a link before and beside the channels, and what gossip sends.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(x0_network::p2p::reads_back(bytes), "a link's message reads back otherwise");
    assert!(x0_gossip::reads_back(bytes), "a gossip message reads back otherwise");
});
