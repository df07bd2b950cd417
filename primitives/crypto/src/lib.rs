//! Post-quantum keys, signatures, key agreement, keystores and TLS; the only crate that names a crypto library.
