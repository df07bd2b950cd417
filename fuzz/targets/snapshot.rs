//! What snapshots and proofs of set changes are made of, as untrusted peers send them.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    // Whatever a peer sends is refused or read; both are right, and nothing else may happen.
    match kind % 3 {
        0 => drop(x0_sync::Manifest::decode(body)),
        1 => drop(x0_light::SetChangeProof::decode(body)),
        _ => drop(x0_light::TrustedState::from_bytes(body)),
    }
});
