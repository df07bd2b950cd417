//! Answers that are proven, not believed: values of the chain's state against certificates of its validators.
//!
//! ```text
//!   checkpoint (a person's word) --> TrustedState --light_setChanges, light_header--> head with a quorum's word
//!                                                                                       | state root
//!   node: state_getReadProof -------------------------------------------------> values, or their absence
//! ```
//!
//! The node may lie in every answer: it then fails here by name, or gives nothing. What is left to it is to be silent, and to
//! tell of an older head than the newest; the head's time says how old.

use codec::Decode;
use serde::Serialize;
use x0_light::{
    Account, Checkpoint, LightError, SetChangeProof, TrustedState, advance, refresh, verify_header, verify_proof,
};
use x0_limits::{SET_CHANGES_PAGE_MAX, SNAPSHOT_INTERVAL_BLOCKS};
use x0_rpc_types::{
    Amount, HexBytes, Number, error as code,
    light::{LightCheckpoint, LightHeader, ReadProof, SetChange, SetChanges},
};
use x0_types::{
    AccountId, Hash,
    deal::{Capacity, Rate},
};

use crate::{Client, ClientError, Head, client::params, text::hex_text};

/// Pages of set changes that are fetched in one go: more than a chain has in a trust period.
const PAGES_MAX: usize = SNAPSHOT_INTERVAL_BLOCKS as usize;
/// How often a set may change between two answers of a node before it is given up.
const TURNS_MAX: usize = 3;

/// A block that more than two thirds of the validators' power have signed, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvenHead {
    /// Height and hash.
    #[serde(flatten)]
    pub head: Head,
    /// The block's time, milliseconds since the Unix epoch, proven as well.
    pub timestamp_ms: u64,
}

/// What renter and provider of a deal agreed to, as it stands in the chain's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgreedTerms {
    /// Number of the deal.
    pub deal: Number,
    /// The listing that it came from.
    pub listing: Number,
    /// Version of the listing's terms.
    pub version: u32,
    /// Who pays.
    pub renter: AccountId,
    /// Who is paid.
    pub provider: AccountId,
    /// The mesh node.
    pub node: AccountId,
    /// Bandwidth, kbit/s.
    pub bandwidth_kbps: u32,
    /// Sessions at the same time.
    pub sessions: u32,
    /// Price of this many good slots ...
    pub rate_slots: Amount,
    /// ... base units.
    pub rate: Amount,
    /// Length, slots.
    pub term_slots: Number,
    /// What the renter paid in, base units.
    pub deposit: Amount,
    /// What the provider posts, base units.
    pub bond: Amount,
    /// BLAKE2b-256 of the manifest.
    pub manifest_hash: Hash,
}

/// The first fields of a deal in the chain's state, in their order. Fields after these differ between versions of the
/// rules, and are left unread.
#[derive(Decode)]
struct StoredDeal {
    listing: u64,
    version: u32,
    renter: AccountId,
    provider: AccountId,
    node: AccountId,
    capacity: Capacity,
    rate: Rate,
    term_slots: u64,
    deposit: u128,
    bond: u128,
    manifest_hash: Hash,
}

impl Client {
    /// Trusts a block that a person named: what the node gives for it must hash to what the person said.
    ///
    /// # Errors
    /// [`ClientError::Unproven`], [`ClientError::CheckpointGone`], and those of [`Client::request`].
    pub async fn trust(&self, checkpoint: &Checkpoint, now_ms: u64) -> Result<TrustedState, ClientError> {
        let (genesis, hash, at) = (self.genesis_hash().0, checkpoint.hash, checkpoint.vouched_at_ms);
        let gone = || ClientError::CheckpointGone { number: checkpoint.number };
        let found = self.set_changes(checkpoint.number.saturating_sub(1)).await?;
        let announced =
            found.changes.into_iter().next().filter(|change| x0_crypto::blake2b_256(&change.header.0) == hash);
        let trust = if let Some(change) = announced {
            TrustedState::set_change(genesis, hash, &change.header.0, &change.set.0, at)
        } else {
            let answer = self.call::<LightCheckpoint>("light_checkpoint", params![checkpoint.number]).await;
            let given = match answer {
                Err(ClientError::Rpc { code: code::UNKNOWN_BLOCK, .. }) => return Err(gone()),
                other => other?,
            };
            TrustedState::checkpoint(genesis, hash, &given.header.0, &raw(given.proof), at)
        };
        let trust = trust.map_err(ClientError::Unproven)?;
        trust.check_usable(now_ms).map_err(ClientError::Unproven)?;
        Ok(trust)
    }

    /// Follows the chain to the node's head: all changes of the validator set, then the head with its certificate
    /// and its time. On an error the trust is as far as what was proven before it; keep it in either case, since a
    /// conflict that was seen must not be forgotten.
    ///
    /// # Errors
    /// [`ClientError::Unproven`], and those of [`Client::request`].
    pub async fn prove_head(&self, trust: &mut TrustedState, now_ms: u64) -> Result<ProvenHead, ClientError> {
        trust.check_usable(now_ms).map_err(ClientError::Unproven)?;
        let mut turns = 0usize;
        let number = loop {
            self.follow_set_changes(trust, now_ms).await?;
            let head: LightHeader = self.call("light_header", params![]).await?;
            let (header, certificate) = (head.header.0, head.certificate.0);
            if x0_crypto::blake2b_256(&header) == *trust.hash() {
                // Nothing is newer than what is trusted already.
                break trust.number();
            }
            match work(trust, move |trust| verify_header(trust, &header, &certificate, now_ms)).await? {
                Ok(verified) => break verified.header.number,
                // The set changed between the two answers.
                Err(LightError::SetNeeded { .. }) if turns < TURNS_MAX => turns = turns.saturating_add(1),
                Err(LightError::SetUnknown { number, .. }) => {
                    return Err(ClientError::Behind { head: number, known: trust.number() });
                }
                Err(error) => return Err(ClientError::Unproven(error)),
            }
        };
        if number < trust.number() {
            // A node that is behind what is known already: its head proves nothing new, and its states are older.
            return Err(ClientError::Behind { head: number, known: trust.number() });
        }
        let hash = Hash::from(*trust.hash());
        let proof = self.read_proof(&[x0_light::timestamp_key()], hash).await?;
        refresh(trust, &proof, now_ms).map_err(ClientError::Unproven)?;
        let timestamp_ms = x0_light::timestamp(trust.state_root(), &proof).map_err(unproven)?;
        Ok(ProvenHead { head: Head { number: number.into(), hash }, timestamp_ms })
    }

    /// An account's money in the state of the proven head.
    ///
    /// # Errors
    /// [`ClientError::Unproven`], and those of [`Client::request`].
    pub async fn proven_account(&self, trust: &TrustedState, account: &AccountId) -> Result<Account, ClientError> {
        let bytes: &[u8; 32] = account.as_ref();
        let proof = self.read_proof(&[x0_light::account_key(bytes)], Hash::from(*trust.hash())).await?;
        x0_light::account(trust.state_root(), bytes, &proof).map_err(unproven)
    }

    /// What the parties of a deal agreed to, in the state of the proven head; `None` for a deal that is proven
    /// not to stand there.
    ///
    /// # Errors
    /// [`ClientError::Unproven`], and those of [`Client::request`].
    pub async fn proven_deal(&self, trust: &TrustedState, deal: u64) -> Result<Option<AgreedTerms>, ClientError> {
        let key = x0_light::deal_key(deal);
        let proof = self.read_proof(std::slice::from_ref(&key), Hash::from(*trust.hash())).await?;
        let value = verify_proof(trust.state_root(), &[&key], &proof).map_err(unproven)?.pop().flatten();
        let Some(value) = value else { return Ok(None) };
        let stored = StoredDeal::decode(&mut &value[..]).map_err(|error| ClientError::Decode {
            what: "a deal in the chain's state".into(),
            reason: error.to_string(),
        })?;
        Ok(Some(AgreedTerms {
            deal: Number(deal),
            listing: Number(stored.listing),
            version: stored.version,
            renter: stored.renter,
            provider: stored.provider,
            node: stored.node,
            bandwidth_kbps: stored.capacity.bandwidth_kbps,
            sessions: stored.capacity.sessions,
            rate_slots: Amount(stored.rate.den),
            rate: Amount(stored.rate.num),
            term_slots: Number(stored.term_slots),
            deposit: Amount(stored.deposit),
            bond: Amount(stored.bond),
            manifest_hash: stored.manifest_hash,
        }))
    }

    async fn set_changes(&self, after: u32) -> Result<SetChanges, ClientError> {
        let page: SetChanges = self.call("light_setChanges", params![after]).await?;
        if page.changes.len() > SET_CHANGES_PAGE_MAX {
            return Err(ClientError::Decode {
                what: "set changes".into(),
                reason: format!("a page of {}, at most {SET_CHANGES_PAGE_MAX} come at once", page.changes.len()),
            });
        }
        Ok(page)
    }

    async fn follow_set_changes(&self, trust: &mut TrustedState, now_ms: u64) -> Result<(), ClientError> {
        for _ in 0..PAGES_MAX {
            let known = trust.changes_known_to();
            let SetChanges { changes, more } = self.set_changes(known).await?;
            for SetChange { header, certificate, set } in changes {
                let proof = SetChangeProof { header: header.0, certificate: certificate.0, set: set.0 };
                work(trust, move |trust| advance(trust, &proof, now_ms)).await?.map_err(ClientError::Unproven)?;
            }
            if !more {
                return Ok(());
            }
            if trust.changes_known_to() == known {
                break;
            }
        }
        Err(ClientError::Decode { what: "set changes".into(), reason: "the node's list does not end".into() })
    }

    async fn read_proof(&self, keys: &[Vec<u8>], at: Hash) -> Result<Vec<Vec<u8>>, ClientError> {
        let keys: Vec<String> = keys.iter().map(hex_text).collect();
        let answer: ReadProof = self.call("state_getReadProof", params![keys, at]).await?;
        Ok(raw(answer.proof))
    }
}

fn unproven(error: x0_light::ProofError) -> ClientError {
    ClientError::Unproven(LightError::Proof(error))
}

fn raw(proof: Vec<HexBytes>) -> Vec<Vec<u8>> {
    proof.into_iter().map(|node| node.0).collect()
}

/// Verifies signatures off the async threads; the trust comes back also when they do not convince.
async fn work<R: Send + 'static>(
    trust: &mut TrustedState,
    verify: impl FnOnce(&mut TrustedState) -> R + Send + 'static,
) -> Result<R, ClientError> {
    let mut moved = trust.clone();
    let (moved, result) = tokio::task::spawn_blocking(move || {
        let result = verify(&mut moved);
        (moved, result)
    })
    .await
    .map_err(|error| ClientError::Encode { what: "a verification".into(), reason: error.to_string() })?;
    *trust = moved;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Encode as _;

    #[test]
    fn the_first_fields_of_a_deal_are_read_and_the_rest_is_left() {
        let (renter, provider, node) = (AccountId::new([1; 32]), AccountId::new([2; 32]), AccountId::new([3; 32]));
        let front = (7u64, 2u32, &renter, &provider, &node, 50_000u32, 16u32, 5u128, 9u128, 40u64);
        let rest = (6u128, 8u128, Hash::repeat_byte(4), "whatever later rules put here");
        let stored = StoredDeal::decode(&mut &(front, rest).encode()[..]).unwrap();
        assert_eq!((stored.listing, stored.version, &stored.node), (7, 2, &node));
        assert_eq!((stored.rate.num, stored.rate.den, stored.term_slots), (5, 9, 40));
        assert_eq!((stored.deposit, stored.bond, stored.manifest_hash), (6, 8, Hash::repeat_byte(4)));
        assert!(StoredDeal::decode(&mut &front.encode()[..]).is_err());
    }
}
