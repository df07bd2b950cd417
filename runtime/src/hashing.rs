//! BLAKE2b-256 of many inputs at once.
//!
//! A core hashes four inputs side by side in about half the time that it needs for one after the other. A node hashes
//! five kilobytes for each transaction and twice two for each key, so it pays to gather them.

use blake2b_simd::{
    Params,
    many::{HashManyJob, hash_many},
};

/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// BLAKE2b-256 of each input, in the same order: what `sp_io::hashing::blake2_256` gives for each of them.
#[must_use]
pub fn blake2_256_many(inputs: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    let mut params = Params::new();
    params.hash_length(DIGEST_BYTES);
    let mut jobs: Vec<HashManyJob<'_>> = inputs.iter().map(|input| HashManyJob::new(&params, input)).collect();
    hash_many(jobs.iter_mut());
    jobs.iter()
        .map(|job| {
            let mut digest = [0; DIGEST_BYTES];
            digest.copy_from_slice(job.to_hash().as_bytes());
            digest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any number of inputs of any lengths has the digests of one after the other.
        #[test]
        fn many_are_hashed_like_each(
            inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..12)
        ) {
            let views: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let expected: Vec<_> = inputs.iter().map(|input| sp_io::hashing::blake2_256(input)).collect();
            prop_assert_eq!(blake2_256_many(&views), expected);
        }
    }
}
