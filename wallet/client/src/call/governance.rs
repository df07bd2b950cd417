//! Calls of owners and voters.

use codec::Compact;
use x0_types::{
    AccountId, Balance, Hash,
    deal::DealTerms,
    governance::{OwnerId, ProposalId, SealedVote, TrackId},
};

use super::{ADDRESS_ID, Call, Encoded};

/// Asks the validators to attest that these accounts are one owner.
#[must_use]
pub fn apply(accounts: &[AccountId], evidence: Hash) -> Call {
    Call::encoded("Owners", "apply", (accounts, evidence))
}

/// Asks the validators to attest that the caller's owner has these accounts now.
#[must_use]
pub fn apply_change(accounts: &[AccountId], evidence: Hash) -> Call {
    Call::encoded("Owners", "apply_change", (accounts, evidence))
}

/// Asks the validators to revoke an owner.
#[must_use]
pub fn accuse(owner: OwnerId, evidence: Hash) -> Call {
    Call::encoded("Owners", "accuse", (owner, evidence))
}

/// A validator attests a motion by its digest.
#[must_use]
pub fn attest(motion: u32, digest: Hash) -> Call {
    Call::encoded("Owners", "attest", (motion, digest))
}

/// Opens a proposal to carry a call out by a track's origin.
#[must_use]
pub fn propose(track: TrackId, call: &[u8], delay_slots: u64, dry_run: Option<Hash>) -> Call {
    Call::encoded("Governance", "propose", (track, Encoded(call), delay_slots, dry_run))
}

/// Takes the caller's own proposal back before its ballot begins.
#[must_use]
pub fn withdraw(proposal: ProposalId) -> Call {
    Call::encoded("Governance", "withdraw", proposal)
}

/// Casts votes, negative against, in place of earlier ones.
#[must_use]
pub fn vote(proposal: ProposalId, votes: i8, spam: bool, reason: Option<&str>) -> Call {
    Call::encoded("Governance", "vote", (proposal, votes, spam, reason.map(str::as_bytes)))
}

/// Commits a sealed vote.
#[must_use]
pub fn commit_vote(proposal: ProposalId, commitment: Hash) -> Call {
    Call::encoded("Governance", "commit_vote", (proposal, commitment))
}

/// Opens a sealed vote; anybody may hand it in.
#[must_use]
pub fn reveal_vote(vote: &SealedVote) -> Call {
    Call::encoded("Governance", "reveal_vote", vote)
}

/// Lets another owner vote for the caller's owner on a track.
#[must_use]
pub fn delegate(track: TrackId, to: OwnerId) -> Call {
    Call::encoded("Governance", "delegate", (track, to))
}

/// Ends the delegation on a track.
#[must_use]
pub fn undelegate(track: TrackId) -> Call {
    Call::encoded("Governance", "undelegate", track)
}

/// A validator contests a decision before its enactment.
#[must_use]
pub fn contest(proposal: ProposalId) -> Call {
    Call::encoded("Governance", "contest", proposal)
}

/// Sets the parameters of future deals, if they are still the expected ones. For proposals.
#[must_use]
pub fn set_deal_terms(expected: DealTerms, new: DealTerms) -> Call {
    Call::encoded("Marketplace", "set_parameters", (expected, new))
}

/// Pays from the treasury. For proposals.
#[must_use]
pub fn spend(to: &AccountId, amount: Balance) -> Call {
    Call::encoded("Treasury", "spend_local", (Compact(amount), ADDRESS_ID, to))
}
