//! What is signed: a domain prefix, the genesis hash and a body.

/// Domain of transactions that carry their key: `domain || payload`.
pub const TRANSACTION_DOMAIN: &[u8] = b"x0/tx/v1";
/// Domain of transactions whose key stands on chain: `domain || payload`.
pub const TRANSACTION_REGISTERED_DOMAIN: &[u8] = b"x0/tx-registered/v1";
/// Domain of consensus votes: `domain || genesis hash || body`, as for all that follow.
pub const VOTE_DOMAIN: &[u8] = b"x0/vote/v1";
/// Domain of consensus proposals.
pub const PROPOSAL_DOMAIN: &[u8] = b"x0/proposal/v1";
/// Domain of the parts of a proposed block.
pub const PROPOSAL_PART_DOMAIN: &[u8] = b"x0/proposal-part/v1";
/// Domain of an agent's receipts for probes.
pub const RECEIPT_DOMAIN: &[u8] = b"x0/receipt/v1";
/// Domain of proofs of possession of a key.
pub const POSSESSION_DOMAIN: &[u8] = b"x0/possession/v1";
/// Domain of what an agent says about its own binary.
pub const ATTESTATION_DOMAIN: &[u8] = b"x0/attestation/v1";
/// Domain of approvals of playbooks.
pub const PLAYBOOK_DOMAIN: &[u8] = b"x0/playbook/v1";
/// Domain of usage receipts, which both agents of a deal sign.
pub const USAGE_DOMAIN: &[u8] = b"x0/usage/v1";
/// Domain of the initiator's proof in a handshake of the mesh.
pub const MESH_INIT_DOMAIN: &[u8] = b"x0/mesh-init/v1";
/// Domain of the responder's proof in a handshake of the mesh.
pub const MESH_RESPONSE_DOMAIN: &[u8] = b"x0/mesh-resp/v1";
/// Domain of what a node of the mesh says about itself: where it is reached and what it offers.
pub const NODE_RECORD_DOMAIN: &[u8] = b"x0/node-record/v1";
/// Domain of what a node of the mesh says about its links.
pub const LINK_STATE_DOMAIN: &[u8] = b"x0/link-state/v1";

/// A message with its purpose. Only the named constructors build one, so no caller can sign or
/// verify bytes that belong to no purpose.
///
/// Two messages of different purposes never have the same bytes: no domain is a prefix of another
/// (checked by a test), and within a purpose the genesis hash has a fixed length.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    domain: &'static [u8],
    genesis: &'a [u8],
    body: &'a [u8],
}

macro_rules! bound_message {
    ($($name:ident: $domain:ident, $what:literal;)*) => {$(
        #[doc = concat!("The message of ", $what, " on the chain with this genesis hash.")]
        #[must_use]
        pub const fn $name(genesis: &'a [u8; 32], body: &'a [u8]) -> Self {
            Self { domain: $domain, genesis, body }
        }
    )*};
}

impl<'a> Message<'a> {
    /// The message of a transaction that carries its key. The payload is FRAME's signing payload,
    /// which contains the genesis hash already (or its hash, when it is longer than 256 bytes).
    #[must_use]
    pub const fn transaction(payload: &'a [u8]) -> Self {
        Self { domain: TRANSACTION_DOMAIN, genesis: &[], body: payload }
    }

    /// The message of a transaction whose key stands on chain.
    #[must_use]
    pub const fn transaction_registered(payload: &'a [u8]) -> Self {
        Self { domain: TRANSACTION_REGISTERED_DOMAIN, genesis: &[], body: payload }
    }

    bound_message! {
        vote: VOTE_DOMAIN, "a consensus vote";
        proposal: PROPOSAL_DOMAIN, "a consensus proposal";
        proposal_part: PROPOSAL_PART_DOMAIN, "a part of a proposed block";
        receipt: RECEIPT_DOMAIN, "an agent's receipt";
        possession: POSSESSION_DOMAIN, "a proof of possession";
        attestation: ATTESTATION_DOMAIN, "an attestation of an agent's binary";
        playbook: PLAYBOOK_DOMAIN, "an approval of a playbook";
        usage: USAGE_DOMAIN, "a usage receipt";
        mesh_handshake_init: MESH_INIT_DOMAIN, "an initiator's proof in a handshake of the mesh";
        mesh_handshake_resp: MESH_RESPONSE_DOMAIN, "a responder's proof in a handshake of the mesh";
        node_record: NODE_RECORD_DOMAIN, "a record of a node of the mesh";
        link_state: LINK_STATE_DOMAIN, "a record of the links of a node of the mesh";
    }

    /// The three parts, in the order in which they are signed.
    #[must_use]
    pub(crate) const fn parts(&self) -> [&'a [u8]; 3] {
        [self.domain, self.genesis, self.body]
    }

    /// Calls `use_bytes` with the message in one piece. A message of a usual size stays on the stack,
    /// because a node does this once for each transaction.
    #[cfg(feature = "std")]
    pub(crate) fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        const STACK_BYTES: usize = 512;
        let parts = self.parts();
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total > STACK_BYTES {
            return use_bytes(&parts.concat());
        }
        let mut buffer = [0; STACK_BYTES];
        let mut end = 0;
        for part in parts {
            buffer[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        use_bytes(&buffer[..end])
    }
}

/// Calls the macro `$make` once with the table of purposes that are bound to a chain. Signing keys
/// and public keys take their methods from this one table, so that none can be forgotten.
macro_rules! for_each_bound_purpose {
    ($make:ident) => {
        $make! {
            sign_vote, verify_vote, vote, "a consensus vote";
            sign_proposal, verify_proposal, proposal, "a consensus proposal";
            sign_proposal_part, verify_proposal_part, proposal_part, "a part of a proposed block";
            sign_receipt, verify_receipt, receipt, "an agent's receipt";
            sign_possession, verify_possession, possession, "a proof of possession";
            sign_attestation, verify_attestation, attestation, "an attestation of an agent's binary";
            sign_playbook, verify_playbook, playbook, "an approval of a playbook";
            sign_usage, verify_usage, usage, "a usage receipt";
            sign_mesh_handshake_init, verify_mesh_handshake_init, mesh_handshake_init, "an initiator's proof in a handshake of the mesh";
            sign_mesh_handshake_resp, verify_mesh_handshake_resp, mesh_handshake_resp, "a responder's proof in a handshake of the mesh";
            sign_node_record, verify_node_record, node_record, "a record of a node of the mesh";
            sign_link_state, verify_link_state, link_state, "a record of the links of a node of the mesh";
        }
    };
}
pub(crate) use for_each_bound_purpose;

/// The same for purposes whose payload holds the genesis hash already.
macro_rules! for_each_transaction_purpose {
    ($make:ident) => {
        $make! {
            sign_transaction, verify_transaction, transaction, "a transaction that carries its key";
            sign_transaction_registered, verify_transaction_registered, transaction_registered, "a transaction whose key stands on chain";
        }
    };
}
pub(crate) use for_each_transaction_purpose;

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAINS: &[&[u8]] = &[
        TRANSACTION_DOMAIN,
        TRANSACTION_REGISTERED_DOMAIN,
        VOTE_DOMAIN,
        PROPOSAL_DOMAIN,
        PROPOSAL_PART_DOMAIN,
        RECEIPT_DOMAIN,
        POSSESSION_DOMAIN,
        ATTESTATION_DOMAIN,
        PLAYBOOK_DOMAIN,
        USAGE_DOMAIN,
        MESH_INIT_DOMAIN,
        MESH_RESPONSE_DOMAIN,
        NODE_RECORD_DOMAIN,
        LINK_STATE_DOMAIN,
    ];

    #[test]
    fn no_domain_starts_another() {
        for (i, a) in DOMAINS.iter().enumerate() {
            for (j, b) in DOMAINS.iter().enumerate() {
                assert!(i == j || !b.starts_with(a), "{a:?} starts {b:?}");
            }
        }
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_message_is_the_concatenation_of_its_parts_at_every_length() {
        let genesis = [7; 32];
        for length in [0, 1, 469, 470, 471, 4_000] {
            let body = vec![0xAB; length];
            let expected = [VOTE_DOMAIN, &genesis, &body].concat();
            Message::vote(&genesis, &body).with_bytes(|bytes| assert_eq!(bytes, expected));
        }
    }
}
