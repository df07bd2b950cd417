//! The root over the leaves of a slot's receipts, and proofs that a leaf is under it.
//!
//! ```text
//!   leaf  = blake2b(0x00 || SCALE(index, blind, receipt))   sorted by node index
//!   inner = blake2b(0x01 || left || right)                  an odd one out moves up unchanged
//!   root  = blake2b(0x02 || SCALE(number of leaves) || top) zero without leaves
//! ```
//!
//! The prefixes keep a leaf from passing for an inner node; the number in the root fixes the shape.

use crate::{Hash, market::NodeIndex, probe::SignedReceipt};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_io::hashing::blake2_256;
use sp_runtime::{BoundedVec, traits::ConstU32};

/// The leaf of one receipt. `blind` is what binds the receipt's nonce to its prober, see
/// [`crate::receipt::bound_nonce`].
#[must_use]
pub fn leaf(index: NodeIndex, blind: &[u8; 32], receipt: &SignedReceipt) -> Hash {
    let mut bytes = vec![0];
    (index, blind, receipt).encode_to(&mut bytes);
    Hash::from(blake2_256(&bytes))
}

fn inner(left: &Hash, right: &Hash) -> Hash {
    Hash::from(blake2_256(&[&[1], left.as_bytes(), right.as_bytes()].concat()))
}

fn top_to_root(top: &Hash, leaves: u32) -> Hash {
    Hash::from(blake2_256(&[&[2], leaves.encode().as_slice(), top.as_bytes()].concat()))
}

fn level_above(level: &[Hash]) -> Vec<Hash> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => inner(left, right),
            [single] => *single,
            // `chunks(2)` gives one or two.
            _ => Hash::zero(),
        })
        .collect()
}

fn count(leaves: &[Hash]) -> u32 {
    u32::try_from(leaves.len()).unwrap_or(u32::MAX)
}

/// The root over leaves in the order of node indices.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level_above(&level);
    }
    level.first().map_or_else(Hash::zero, |top| top_to_root(top, count(leaves)))
}

/// The path of one leaf to the root: what [`verify`] needs beside the leaf.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Proof {
    /// The leaf's place.
    pub place: u32,
    /// How many leaves there are.
    pub leaves: u32,
    /// The neighbours on the way up, lowest first; levels without a neighbour are left out.
    pub neighbours: BoundedVec<Hash, ConstU32<{ x0_limits::RECEIPT_PROOF_HASHES_MAX }>>,
}

/// The proof of the leaf at `place`; `None` when there is no such leaf, or more leaves than nodes.
#[must_use]
pub fn prove(leaves: &[Hash], place: u32) -> Option<Proof> {
    let mut at = usize::try_from(place).ok().filter(|at| *at < leaves.len())?;
    let mut level = leaves.to_vec();
    let mut neighbours = Vec::new();
    while level.len() > 1 {
        neighbours.extend(level.get(at ^ 1));
        level = level_above(&level);
        at /= 2;
    }
    Some(Proof { place, leaves: count(leaves), neighbours: neighbours.try_into().ok()? })
}

/// Whether the leaf stands under the root at the proof's place.
#[must_use]
pub fn verify(root: &Hash, leaf: &Hash, proof: &Proof) -> bool {
    if proof.place >= proof.leaves || proof.leaves > x0_limits::MEASURED_NODES_MAX {
        return false;
    }
    let (mut at, mut width, mut hash) = (proof.place, proof.leaves, *leaf);
    let mut neighbours = proof.neighbours.iter();
    while width > 1 {
        if at ^ 1 < width {
            let Some(neighbour) = neighbours.next() else { return false };
            hash = if at & 1 == 0 { inner(&hash, neighbour) } else { inner(neighbour, &hash) };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    neighbours.next().is_none() && top_to_root(&hash, proof.leaves) == *root
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each leaf is under the root at its own place and nowhere else, and nothing else is.
        #[test]
        fn a_leaf_proves_itself_only(count in 1u64..40, other in 0u64..1_000) {
            let leaves: Vec<_> = (0..count).map(Hash::from_low_u64_be).collect();
            let root = root(&leaves);
            for place in 0..count as u32 {
                let proof = prove(&leaves, place).unwrap();
                for (index, leaf) in leaves.iter().enumerate() {
                    prop_assert_eq!(verify(&root, leaf, &proof), index == place as usize);
                }
                prop_assert!(!verify(&root, &Hash::from_low_u64_be(count + other), &proof));
                let mut longer = proof.clone();
                longer.neighbours.try_push(Hash::zero()).unwrap();
                prop_assert!(!verify(&root, &leaves[place as usize], &longer));
                let moved = Proof { leaves: proof.leaves + 1, ..proof };
                prop_assert!(!verify(&root, &leaves[place as usize], &moved));
            }
            prop_assert_eq!(prove(&leaves, count as u32), None);
        }
    }

    #[test]
    fn the_root_depends_on_every_leaf_and_on_their_number() {
        let leaves: Vec<_> = (0..5).map(Hash::from_low_u64_be).collect();
        let roots: std::collections::BTreeSet<_> = (0..=5).map(|count| root(&leaves[..count])).collect();
        assert_eq!(roots.len(), 6);
        assert_eq!(root(&[]), Hash::zero());
        // One leaf alone is not its own root.
        assert_ne!(root(&leaves[1..2]), leaves[1]);
    }
}
