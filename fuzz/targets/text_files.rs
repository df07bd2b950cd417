//! Files that people hand to the programs: chain specifications, keystores, backup phrases.
#![no_main]
#![allow(missing_docs, reason = "the macro makes an undocumented entry point")]

use x0_chain_spec::ChainSpec;
use x0_crypto::{keystore::KeystoreFile, mnemonic::phrase_to_seed};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => {
            let Ok(text) = std::str::from_utf8(body) else { return };
            if let Ok(spec) = ChainSpec::from_json(text) {
                assert!(spec.to_json().is_ok_and(|text| ChainSpec::from_json(&text).is_ok()), "a spec reads back");
            }
        }
        1 => {
            if let Ok(file) = KeystoreFile::from_json(body) {
                assert!(file.to_json().is_ok_and(|text| KeystoreFile::from_json(text.as_bytes()).is_ok()));
            }
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(body) {
                // A phrase of wrong words is refused; which error it is does not matter here.
                drop(phrase_to_seed(text));
            }
        }
    }
});
