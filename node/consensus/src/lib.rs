//! The Malachite host: context, signer guard, block host, pacing.
