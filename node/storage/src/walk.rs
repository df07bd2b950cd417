//! The order in which a state's nodes stand in a snapshot, and its check.
//!
//! ```text
//!   root, its value, first child, its value, .. second child, ..      (depth first)
//! ```
//!
//! Each node's hash stands in a node before it, and the root's in a verified header. A reader that
//! takes the nodes in this order therefore knows what comes next: a wrong byte is noticed at the
//! node that holds it, and the end is reached exactly when the state is whole. Making and reading a
//! snapshot use the same walk.

use hash_db::{Hasher as _, Prefix};
use sp_runtime::traits::BlakeTwo256;
use sp_trie::{LayoutV1, NodeCodec, NodePlan, ValuePlan};
use trie_db::{NodeCodec as _, node::NodeHandlePlan};
use x0_types::Hash;

/// Why a node does not belong where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// Another node belongs here.
    #[error("a state node hashes to {found:?}; {expected:?} comes here")]
    WrongNode {
        /// The hash of the node that comes here.
        expected: Hash,
        /// The hash of the given bytes.
        found: Hash,
    },
    /// More bytes after the last node.
    #[error("bytes follow after the last state node")]
    AfterTheEnd,
    /// A node with the right hash does not decode: the state was never one of this chain.
    #[error("the state node {hash:?} does not decode")]
    Undecodable {
        /// The node's hash.
        hash: Hash,
    },
}

/// Why a stream of nodes is not the expected state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A node does not belong where it stands.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A node's length is above the limit.
    #[error("a state node of {bytes} bytes; {max} are allowed")]
    NodeTooLarge {
        /// Bytes named by the stream.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The stream ends before the state is whole.
    #[error("the state is not whole: {missing} known nodes and those below them are missing")]
    Incomplete {
        /// Nodes that are known to be missing.
        missing: usize,
    },
}

/// A node that is still to come.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) hash: Hash,
    /// Nibbles from the root to the node, without the node's own ones; for a value, its whole key.
    path: Vec<u8>,
    is_value: bool,
}

impl Expected {
    /// The node's key in the state column.
    pub(crate) fn key(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.path.as_chunks::<2>().0.iter().map(|[high, low]| (high << 4) | low).collect();
        let odd = if self.path.len().is_multiple_of(2) { None } else { self.path.last().map(|last| last << 4) };
        let prefix: Prefix = (&bytes, odd);
        sp_trie::prefixed_key::<BlakeTwo256>(&self.hash, prefix)
    }
}

/// The walk over one state.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The next node is the last entry.
    stack: Vec<Expected>,
}

impl Walk {
    pub(crate) fn new(root: Hash) -> Self {
        // The empty trie's node is stored nowhere.
        let empty = root == sp_trie::empty_trie_root::<LayoutV1<BlakeTwo256>>();
        let root = Expected { hash: root, path: Vec::new(), is_value: false };
        Self { stack: if empty { Vec::new() } else { vec![root] } }
    }

    /// What comes next; `None` when the state is whole.
    pub(crate) fn next(&self) -> Option<&Expected> {
        self.stack.last()
    }

    /// Nodes that are known to be missing.
    pub(crate) fn missing(&self) -> usize {
        self.stack.len()
    }

    /// Takes the next node and returns its place.
    pub(crate) fn accept(&mut self, node: &[u8]) -> Result<Expected, WalkError> {
        let expected = self.stack.last().ok_or(WalkError::AfterTheEnd)?;
        let found = BlakeTwo256::hash(node);
        if found != expected.hash {
            return Err(WalkError::WrongNode { expected: expected.hash, found });
        }
        let Some(expected) = self.stack.pop() else { return Err(WalkError::AfterTheEnd) };
        if !expected.is_value && !self.push_references(&expected, node) {
            return Err(WalkError::Undecodable { hash: expected.hash });
        }
        Ok(expected)
    }

    /// Puts what a node refers to on the stack, the last first. Children that stand inside the node
    /// are shorter than a hash and can refer to nothing.
    fn push_references(&mut self, at: &Expected, node: &[u8]) -> bool {
        let hash = |range: &std::ops::Range<usize>| {
            node.get(range.clone()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Hash::from)
        };
        let (partial, value, children) = match NodeCodec::<BlakeTwo256>::decode_plan(node) {
            Ok(NodePlan::Leaf { partial, value }) => (partial, Some(value), None),
            Ok(NodePlan::NibbledBranch { partial, value, children }) => (partial, value, Some(children)),
            // This chain's tries have no other nodes, and the empty one is not stored.
            Ok(NodePlan::Empty | NodePlan::Extension { .. } | NodePlan::Branch { .. }) | Err(_) => return false,
        };
        let mut path = at.path.clone();
        path.extend(partial.build(node).iter());
        let children = children.as_ref().map_or(&[][..], |children| children.as_slice());
        for (index, child) in children.iter().enumerate().rev() {
            let Ok(nibble) = u8::try_from(index) else { return false };
            if let Some(NodeHandlePlan::Hash(range)) = child {
                let Some(hash) = hash(range) else { return false };
                let mut path = path.clone();
                path.push(nibble);
                self.stack.push(Expected { hash, path, is_value: false });
            }
        }
        if let Some(ValuePlan::Node(range)) = value {
            let Some(hash) = hash(&range) else { return false };
            self.stack.push(Expected { hash, path, is_value: true });
        }
        true
    }
}
