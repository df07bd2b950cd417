//! The message inside of a proof: who one is, and the signature.

use super::{Refusal, Role};
use crate::NodeId;
use x0_crypto::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES, Signature};

const HAS_KEY: u8 = 1;
const WANTS_KEY: u8 = 2;

/// `flags u8 | name 32 | [initiator: X25519 key 32] | [key 1952] | signature 3309 | zeros`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProofMessage {
    pub(super) node: NodeId,
    pub(super) wants_key: bool,
    /// The initiator's X25519 key; zeros from a responder, whose key is in its answer.
    pub(super) x25519: [u8; 32],
    pub(super) key: Option<PublicKey>,
    pub(super) signature: Signature,
}

/// Reads parts off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Refusal> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or(Refusal::Proof)?;
        self.0 = rest;
        Ok(head)
    }

    fn array(&mut self) -> Result<[u8; 32], Refusal> {
        self.take(32)?.try_into().map_err(|_| Refusal::Proof)
    }
}

impl ProofMessage {
    pub(super) fn write(&self, role: Role) -> Vec<u8> {
        let flags = if self.key.is_some() { HAS_KEY } else { 0 } | if self.wants_key { WANTS_KEY } else { 0 };
        let mut bytes = Vec::with_capacity(1 + 32 + 32 + PUBLIC_KEY_BYTES + SIGNATURE_BYTES);
        bytes.push(flags);
        bytes.extend(self.node.0);
        if role == Role::Initiator {
            bytes.extend(self.x25519);
        }
        if let Some(key) = &self.key {
            bytes.extend(key.as_bytes());
        }
        bytes.extend(self.signature.as_ref());
        bytes
    }

    /// Reads a message that `role` sent; also its bytes without the padding.
    pub(super) fn read(bytes: &[u8], role: Role) -> Result<(Self, &[u8]), Refusal> {
        let mut reader = Reader(bytes);
        let flags = reader.take(1)?.first().copied().unwrap_or(0);
        if flags & !(HAS_KEY | WANTS_KEY) != 0 {
            return Err(Refusal::Proof);
        }
        let node = NodeId(reader.array()?);
        let x25519 = if role == Role::Initiator { reader.array()? } else { [0; 32] };
        let key = match flags & HAS_KEY {
            0 => None,
            _ => Some(PublicKey::from_bytes(reader.take(PUBLIC_KEY_BYTES)?).map_err(|_| Refusal::Proof)?),
        };
        let signature = Signature::from_bytes(reader.take(SIGNATURE_BYTES)?).map_err(|_| Refusal::Proof)?;
        let padding = reader.0;
        // Fragments have equal lengths, so the padding is shorter than their number.
        if padding.len() > x0_mesh_wire::limits::PROOF_FRAGMENTS_MAX || padding.iter().any(|byte| *byte != 0) {
            return Err(Refusal::Proof);
        }
        let whole = bytes.get(..bytes.len() - padding.len()).unwrap_or(bytes);
        Ok((Self { node, wants_key: flags & WANTS_KEY != 0, x25519, key, signature }, whole))
    }

    /// The key that the peer must have signed with: the one that the authority knows, or the one it
    /// sent, if that gives its name.
    pub(super) fn resolve_key(&self, known: Option<PublicKey>) -> Result<PublicKey, Refusal> {
        match (known, &self.key) {
            (Some(known), Some(sent)) if known != *sent => Err(Refusal::KeyMismatch),
            (Some(known), _) => Ok(known),
            (None, Some(sent)) if name_of(sent) == self.node => Ok(sent.clone()),
            (None, Some(_)) => Err(Refusal::KeyMismatch),
            (None, None) => Err(Refusal::KeyUnknown),
        }
    }
}

/// The name that a key gives (architecture D3).
fn name_of(key: &PublicKey) -> NodeId {
    NodeId(x0_crypto::blake2b_256_of(&[x0_types::account::ACCOUNT_DOMAIN, key.as_bytes()]))
}
