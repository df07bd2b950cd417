//! What light clients ask a node for. Nothing of it is believed: `x0-light` checks all of it.

use crate::HexBytes;
use serde::{Deserialize, Serialize};
use x0_types::Hash;

/// The answer of `light_header`: a block's header and what makes it final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LightHeader {
    /// Height.
    pub number: u32,
    /// The header, SCALE; its BLAKE2b-256 is the block's hash.
    pub header: HexBytes,
    /// The commit certificate; empty for the genesis block, which needs none.
    pub certificate: HexBytes,
}

/// A change of the validator set with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetChange {
    /// The header that announces the set, SCALE.
    pub header: HexBytes,
    /// The commit certificate of that header.
    pub certificate: HexBytes,
    /// The announced set, SCALE; it decides from two heights later on.
    pub set: HexBytes,
}

/// The answer of `light_setChanges`: a page of changes in the order of heights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetChanges {
    /// The changes.
    pub changes: Vec<SetChange>,
    /// Whether there are more after the last one: ask again from its height on.
    pub more: bool,
}

/// The answer of `light_checkpoint`: a block that a person may name as trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LightCheckpoint {
    /// Height.
    pub number: u32,
    /// BLAKE2b-256 of the header.
    pub hash: Hash,
    /// The header, SCALE.
    pub header: HexBytes,
    /// Trie nodes that prove the validator sets and the block's time against the header's state root.
    pub proof: Vec<HexBytes>,
}

/// The answer of `state_getReadProof`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadProof {
    /// The block.
    pub at: Hash,
    /// Trie nodes that prove the asked values, or their absence, against the block's state root.
    pub proof: Vec<HexBytes>,
}
