//! Owners, their credits, proposals, tallies, delegations, and what a proposed call would do.

use crate::{Amount, HexBytes, Number};
use serde::{Deserialize, Serialize};
use x0_types::{AccountId, Hash, governance::TrackId};

/// An owner: the answer of `gov_owner`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Its number.
    pub owner: u32,
    /// Its accounts.
    pub accounts: Vec<AccountId>,
    /// Hash of the documents that the validators saw last.
    pub evidence: Hash,
    /// The slot of its first attestation.
    pub since_slot: Number,
    /// The first epoch in whose ballots it votes.
    pub eligible_from: u32,
    /// Hash of the evidence for its revocation, if it is revoked.
    pub revoked: Option<Hash>,
}

/// An owner's credits of one epoch: the answer of `gov_credits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credits {
    /// The owner.
    pub owner: u32,
    /// The epoch.
    pub epoch: u32,
    /// What everybody has in each epoch.
    pub total: u32,
    /// Used for votes that are counted.
    pub spent: u32,
    /// Locked by sealed votes that are not opened.
    pub locked: u32,
    /// What is left.
    pub remaining: u32,
    /// The first epoch in whose ballots the owner votes; `null` when it was revoked.
    pub eligible_from: Option<u32>,
}

/// What votes would cost: the answer of `gov_costPreview`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// The votes.
    pub votes: i8,
    /// What they cost in all: their square.
    pub cost: u64,
    /// What they cost beyond the votes that stand there now; negative when credits come back.
    pub difference: i64,
    /// What would be left; `null` when the credits do not suffice.
    pub remaining_after: Option<u32>,
    /// Most votes that the owner can have on this proposal.
    pub votes_max: i8,
    /// The owner's votes that stand there now.
    pub standing: i8,
    /// Everybody's credits in an epoch.
    pub total: u32,
}

/// What was counted of a ballot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Votes in favour.
    pub ayes: Number,
    /// Votes against.
    pub nays: Number,
    /// Voters in favour.
    pub heads_for: u32,
    /// Voters against.
    pub heads_against: u32,
    /// Voters who call the proposal spam.
    pub spam: u32,
}

/// How a ballot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ballot {
    /// 0, or 1 for the one about a contested decision.
    pub round: u8,
    /// Whose credits pay.
    pub epoch: u32,
    /// Owners who could vote.
    pub electorate: u32,
    /// The slot in which it began.
    pub began: Number,
    /// The first slot in which no vote counts any more.
    pub ends: Number,
    /// What was counted.
    pub tally: Tally,
    /// Share of the votes that must be in favour in this slot, ppm.
    pub approval_needed_ppm: u32,
    /// Share of the electorate that must be in favour in this slot, ppm.
    pub support_needed_ppm: u32,
    /// Whether it passes in this slot.
    pub passes: bool,
}

/// Why a proposal did not come to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "camelCase")]
pub enum WhyFailed {
    /// Votes were too evenly split, or too few owners were in favour.
    NotPassed {
        /// Whether enough of the votes were in favour.
        approval: bool,
        /// Whether enough owners were in favour.
        support: bool,
        /// Whether the voters called it spam, so that its deposit went to the treasury.
        spam: bool,
    },
    /// The track never had a place for it.
    NoPlace,
    /// Validators contested it and its second ballot failed.
    Overturned,
    /// Its proposer took it back, or its track may not carry it out any more.
    Withdrawn,
    /// Its call failed.
    CallFailed {
        /// The last error.
        error: String,
    },
}

/// A proposal: an element of `gov_proposals`, the answer of `gov_proposal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Its number.
    pub id: u32,
    /// Its track.
    pub track: TrackId,
    /// Its state by name.
    pub state: String,
    /// Whether nothing follows.
    pub terminal: bool,
    /// Who opened it.
    pub proposer: AccountId,
    /// BLAKE2b-256 of the call.
    pub call_hash: Hash,
    /// Length of the call, bytes.
    pub call_bytes: u32,
    /// The call, while the chain keeps its bytes.
    pub call: Option<HexBytes>,
    /// `Pallet.call` of the call, while the chain keeps its bytes.
    pub call_name: Option<String>,
    /// Hash of the changes that the proposer saw.
    pub dry_run: Option<Hash>,
    /// On hold, base units.
    pub deposit: Amount,
    /// When it was opened, slot.
    pub submitted: Number,
    /// When it goes on by itself, slot.
    pub next: Option<Number>,
    /// The ballots so far, with what they need now.
    pub ballots: Vec<Ballot>,
    /// Whether its first ballot went on longer because it began to pass late.
    pub extended: bool,
    /// Why it did not come to be, when it did not.
    pub why: Option<WhyFailed>,
}

/// A point of a ballot's course: an element of `gov_tallyTimeline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TallyPoint {
    /// The slot.
    pub slot: Number,
    /// What was counted then.
    pub tally: Tally,
}

/// An owner's delegations on a track: an element of `gov_delegations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegation {
    /// The track.
    pub track: TrackId,
    /// Who votes for the owner.
    pub delegate: Option<u32>,
    /// For whom the owner votes.
    pub delegators: Vec<u32>,
}

/// The rules of a track: an element of `gov_tracks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// The track.
    pub track: TrackId,
    /// Held from the proposer until the proposal ends, base units.
    pub deposit: Amount,
    /// Proposals that are decided at a time.
    pub deciding_max: u32,
    /// Slots between a proposal and the beginning of its ballot.
    pub prepare_slots: Number,
    /// Slots that a prepared proposal waits for a place.
    pub waiting_slots: Number,
    /// Slots of the ballot.
    pub decide_slots: Number,
    /// Slots for which a ballot must pass without interruption.
    pub confirm_slots: Number,
    /// Fewest slots between the decision and its enactment.
    pub enact_slots: Number,
    /// Slots for opening sealed votes; `null` on a track whose votes are open.
    pub reveal_slots: Option<Number>,
    /// Credits that each sealed vote locks; `null` on a track whose votes are open.
    pub envelope: Option<u32>,
}

/// A changed entry of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The storage key.
    pub key: HexBytes,
    /// The value before; `null` for an entry that comes to be.
    pub before: Option<HexBytes>,
    /// The value afterwards; `null` for an entry that goes.
    pub after: Option<HexBytes>,
}

/// What a call would do by a track's origin: the answer of `gov_simulate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// The block on whose state it was tried.
    pub block: Hash,
    /// Why the call would fail; `null` when it would not.
    pub error: Option<String>,
    /// What it would weigh, picoseconds.
    pub ref_time: Number,
    /// The first changes, in the order of keys.
    pub changes: Vec<Change>,
    /// How many changes there are in all.
    pub changes_count: u32,
    /// Hash of all changes: what proposals carry as their dry run.
    pub hash: Hash,
}
