//! What a light client trusts, and how that grows.

use crate::{Header, LightError, ProofError, SetChangeProof, ValidatorSet, proof, set::SET_BYTES_MAX};
use alloc::{boxed::Box, vec::Vec};
use codec::{Compact, Decode, Encode};
use x0_crypto::certificate::verify_certificate;
use x0_limits::{
    LIGHT_CERTIFICATES_KEPT, LIGHT_SETS_KEPT, LIGHT_TRUST_PERIOD_MS, TIMESTAMP_DRIFT_MS_MAX, VALIDATOR_SET_DELAY_BLOCKS,
};

/// A validator set and the first height that it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScheduledSet {
    pub(crate) from: u32,
    pub(crate) set: ValidatorSet,
}

/// A block that was accepted, with what convinced the client.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Witness {
    /// Height of the block.
    pub number: u32,
    /// Its hash.
    pub hash: [u8; 32],
    /// Its parent's hash.
    pub parent_hash: [u8; 32],
    /// The certificate; empty for a checkpoint that a person named.
    pub certificate: Vec<u8>,
}

impl core::fmt::Debug for Witness {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Witness")
            .field("number", &self.number)
            .field("hash", &hex::encode(self.hash))
            .field("certificate_bytes", &self.certificate.len())
            .finish_non_exhaustive()
    }
}

/// Two accepted blocks that cannot both be of one chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Conflict {
    /// The one that was accepted first.
    pub first: Witness,
    /// The one that contradicts it.
    pub second: Witness,
}

/// A header with a quorum's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHeader {
    /// The header.
    pub header: Header,
}

/// What a light client knows to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedState {
    pub(crate) genesis: [u8; 32],
    /// The newest accepted block.
    pub(crate) number: u32,
    pub(crate) hash: [u8; 32],
    pub(crate) state_root: [u8; 32],
    pub(crate) trusted_at_ms: u64,
    /// Ascending; never empty.
    pub(crate) sets: Vec<ScheduledSet>,
    /// Changes announced up to this height are known.
    pub(crate) changes_known_to: u32,
    /// First height of the oldest announced set that was not brought yet.
    pub(crate) awaited_from: Option<u32>,
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) conflict: Option<Box<Conflict>>,
}

/// Checks a header and its certificate against the known sets.
///
/// `now_ms` is the caller's clock, milliseconds since the Unix epoch.
///
/// # Errors
/// [`LightError`]; after [`LightError::Conflict`] the state is halted.
pub fn verify_header(
    state: &mut TrustedState,
    header: &[u8],
    certificate: &[u8],
    now_ms: u64,
) -> Result<VerifiedHeader, LightError> {
    state.check_usable(now_ms)?;
    let header = Header::decode(header)?;
    let announced = header.announced_set()?;
    let set = state.set_at(header.number)?;
    let wrong = |source| LightError::Certificate { number: header.number, source };
    let read = verify_certificate(certificate, set.voters(), &header.hash, &state.genesis).map_err(wrong)?;
    if read.height != u64::from(header.number) {
        return Err(LightError::OtherHeight { header: header.number, certificate: read.height });
    }
    state.witness(Witness {
        number: header.number,
        hash: header.hash,
        parent_hash: header.parent_hash,
        certificate: certificate.to_vec(),
    })?;
    if header.number > state.number {
        state.number = header.number;
        state.hash = header.hash;
        state.state_root = header.state_root;
    }
    if announced.is_some() && header.number > state.changes_known_to {
        let from = header.number.saturating_add(VALIDATOR_SET_DELAY_BLOCKS);
        state.awaited_from = Some(state.awaited_from.map_or(from, |earlier| earlier.min(from)));
    }
    Ok(VerifiedHeader { header })
}

/// Follows a change of the validator set. Changes come in the order of heights; a known one changes
/// nothing.
///
/// # Errors
/// [`LightError`]; after [`LightError::Conflict`] the state is halted.
pub fn advance(state: &mut TrustedState, proof: &SetChangeProof, now_ms: u64) -> Result<VerifiedHeader, LightError> {
    state.check_usable(now_ms)?;
    let header = Header::decode(&proof.header)?;
    let announced = header.announced_set()?.ok_or(LightError::AnnouncementMissing(header.number))?;
    let set = check_set(&header, &announced, &proof.set)?;
    let verified = verify_header(state, &proof.header, &proof.certificate, now_ms)?;
    if header.number > state.changes_known_to {
        let from = header.number.saturating_add(VALIDATOR_SET_DELAY_BLOCKS);
        state.sets.push(ScheduledSet { from, set });
        state.changes_known_to = header.number;
        state.awaited_from = state.awaited_from.filter(|awaited| *awaited > from);
        let surplus = state.sets.len().saturating_sub(LIGHT_SETS_KEPT);
        state.sets.drain(..surplus);
    }
    Ok(verified)
}

/// Moves the time of trust to the timestamp of the newest accepted block, given the storage proof of
/// [`crate::timestamp_key`] against its state root.
///
/// # Errors
/// [`LightError::Proof`], [`LightError::ClockBehind`] for a block from the future.
pub fn refresh(state: &mut TrustedState, proof: &[Vec<u8>], now_ms: u64) -> Result<u64, LightError> {
    state.check_usable(now_ms)?;
    let time = proof::timestamp(&state.state_root, proof)?;
    if time > now_ms.saturating_add(TIMESTAMP_DRIFT_MS_MAX) {
        return Err(LightError::ClockBehind { trusted_at_ms: time, now_ms });
    }
    state.trusted_at_ms = state.trusted_at_ms.max(time);
    Ok(state.trusted_at_ms)
}

fn check_set(header: &Header, announced: &[u8; 32], bytes: &[u8]) -> Result<ValidatorSet, LightError> {
    let found = x0_crypto::blake2b_256(bytes);
    if found != *announced {
        return Err(LightError::OtherSet {
            number: header.number,
            announced: hex::encode(announced),
            found: hex::encode(found),
        });
    }
    Ok(ValidatorSet::decode(bytes)?)
}

fn anchor(bytes: &[u8], expected: &[u8; 32]) -> Result<Header, LightError> {
    let header = Header::decode(bytes)?;
    if header.hash == *expected {
        Ok(header)
    } else {
        Err(LightError::OtherAnchor { expected: hex::encode(expected), found: hex::encode(header.hash) })
    }
}

impl TrustedState {
    fn at(genesis: [u8; 32], header: &Header, sets: Vec<ScheduledSet>, trusted_at_ms: u64) -> Self {
        Self {
            genesis,
            number: header.number,
            hash: header.hash,
            state_root: header.state_root,
            trusted_at_ms,
            sets,
            changes_known_to: header.number,
            awaited_from: None,
            witnesses: alloc::vec![Witness {
                number: header.number,
                hash: header.hash,
                parent_hash: header.parent_hash,
                certificate: Vec::new(),
            }],
            conflict: None,
        }
    }

    /// Trusts a genesis block and its set, both from a network definition.
    ///
    /// `trusted_at_ms` is the time at which the caller knows this genesis set to be honest.
    ///
    /// # Errors
    /// [`LightError::OtherAnchor`], [`LightError::NotGenesis`], [`LightError::Header`].
    pub fn genesis(
        header: &[u8],
        genesis: [u8; 32],
        set: ValidatorSet,
        trusted_at_ms: u64,
    ) -> Result<Self, LightError> {
        let header = anchor(header, &genesis)?;
        if header.number != 0 {
            return Err(LightError::NotGenesis(header.number));
        }
        Ok(Self::at(genesis, &header, alloc::vec![ScheduledSet { from: 1, set }], trusted_at_ms))
    }

    /// Trusts the block with this hash, of which an untrusted peer gives the header and a storage proof
    /// of [`crate::validator_set_keys`]. The genesis block serves as well as any other.
    ///
    /// # Errors
    /// [`LightError::OtherAnchor`], [`LightError::Proof`], [`LightError::Set`].
    pub fn checkpoint(
        genesis: [u8; 32],
        hash: [u8; 32],
        header: &[u8],
        proof: &[Vec<u8>],
        trusted_at_ms: u64,
    ) -> Result<Self, LightError> {
        let header = anchor(header, &hash)?;
        let [current, upcoming] = crate::validator_set_keys();
        let mut values = proof::verify_proof(&header.state_root, &[&current, &upcoming], proof)?.into_iter();
        let current = values.next().flatten().ok_or(ProofError::Missing("Validators.Current"))?;
        let from = header.number.saturating_add(1);
        let mut sets = alloc::vec![ScheduledSet { from, set: ValidatorSet::decode(&current)? }];
        if let Some(upcoming) = values.next().flatten() {
            for (from, set) in read_upcoming(&upcoming)? {
                sets.retain(|earlier| earlier.from < from);
                sets.push(ScheduledSet { from, set });
            }
        }
        Ok(Self::at(genesis, &header, sets, trusted_at_ms))
    }

    /// Trusts the block with this hash, which announces the given set. Heights from two above it on
    /// can be verified. Needs no state, which nodes prune, and so serves for old checkpoints.
    ///
    /// # Errors
    /// [`LightError::OtherAnchor`], [`LightError::AnnouncementMissing`], [`LightError::OtherSet`],
    /// [`LightError::Set`].
    pub fn set_change(
        genesis: [u8; 32],
        hash: [u8; 32],
        header: &[u8],
        set: &[u8],
        trusted_at_ms: u64,
    ) -> Result<Self, LightError> {
        let header = anchor(header, &hash)?;
        let announced = header.announced_set()?.ok_or(LightError::AnnouncementMissing(header.number))?;
        let set = check_set(&header, &announced, set)?;
        let from = header.number.saturating_add(VALIDATOR_SET_DELAY_BLOCKS);
        Ok(Self::at(genesis, &header, alloc::vec![ScheduledSet { from, set }], trusted_at_ms))
    }

    /// The chain's genesis hash.
    #[must_use]
    pub const fn genesis_hash(&self) -> &[u8; 32] {
        &self.genesis
    }

    /// Height of the newest accepted block.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Hash of the newest accepted block.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// State root of the newest accepted block.
    #[must_use]
    pub const fn state_root(&self) -> &[u8; 32] {
        &self.state_root
    }

    /// Time of the trust, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn trusted_at_ms(&self) -> u64 {
        self.trusted_at_ms
    }

    /// Set changes up to this height are known: ask peers for those after it.
    #[must_use]
    pub const fn changes_known_to(&self) -> u32 {
        self.changes_known_to
    }

    /// The evidence that halted this state.
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_deref()
    }

    /// The known set for a height.
    ///
    /// # Errors
    /// [`LightError::SetUnknown`], [`LightError::SetNeeded`].
    pub fn set_at(&self, number: u32) -> Result<&ValidatorSet, LightError> {
        if let Some(from) = self.awaited_from
            && number >= from
        {
            return Err(LightError::SetNeeded { number, from });
        }
        let first = self.sets.first().map_or(0, |set| set.from);
        let known = self.sets.iter().rev().find(|set| set.from <= number);
        known.map(|known| &known.set).ok_or(LightError::SetUnknown { number, first })
    }

    /// Checks that the trust is neither too old nor halted, before anything is asked of anybody.
    ///
    /// # Errors
    /// [`LightError::Halted`], [`LightError::ClockBehind`], [`LightError::TrustExpired`].
    pub fn check_usable(&self, now_ms: u64) -> Result<(), LightError> {
        if let Some(conflict) = &self.conflict {
            return Err(LightError::Halted(conflict.second.number));
        }
        let trusted_at_ms = self.trusted_at_ms;
        if now_ms.saturating_add(TIMESTAMP_DRIFT_MS_MAX) < trusted_at_ms {
            return Err(LightError::ClockBehind { trusted_at_ms, now_ms });
        }
        if now_ms.saturating_sub(trusted_at_ms) > LIGHT_TRUST_PERIOD_MS {
            return Err(LightError::TrustExpired { trusted_at_ms, now_ms, period_ms: LIGHT_TRUST_PERIOD_MS });
        }
        Ok(())
    }

    /// Remembers an accepted block, or halts when it contradicts one that was accepted before.
    fn witness(&mut self, new: Witness) -> Result<(), LightError> {
        let contradicts = |old: &&Witness| {
            (old.number == new.number && old.hash != new.hash)
                || (old.number.checked_add(1) == Some(new.number) && old.hash != new.parent_hash)
                || (new.number.checked_add(1) == Some(old.number) && new.hash != old.parent_hash)
        };
        if let Some(old) = self.witnesses.iter().find(contradicts) {
            let (first, second) = (old.number, new.number);
            self.conflict = Some(Box::new(Conflict { first: old.clone(), second: new }));
            return Err(LightError::Conflict { first, second });
        }
        match self.witnesses.iter_mut().find(|old| old.number == new.number) {
            Some(known) => *known = new,
            None => self.witnesses.push(new),
        }
        self.witnesses.sort_by_key(|witness| witness.number);
        let surplus = self.witnesses.len().saturating_sub(LIGHT_CERTIFICATES_KEPT);
        self.witnesses.drain(..surplus);
        Ok(())
    }
}

/// Reads the value of the chain's list of decided sets: each with its first height.
///
/// # Errors
/// [`LightError::Proof`], [`LightError::Set`].
pub fn read_upcoming(bytes: &[u8]) -> Result<Vec<(u32, ValidatorSet)>, LightError> {
    let malformed = || ProofError::Value("Validators.Upcoming");
    let mut rest = bytes;
    let count = Compact::<u32>::decode(&mut rest).map_err(|_| malformed())?.0;
    if count > VALIDATOR_SET_DELAY_BLOCKS {
        return Err(malformed().into());
    }
    let mut sets = Vec::new();
    for _ in 0..count {
        let from = u32::decode(&mut rest).map_err(|_| malformed())?;
        let mut peek = rest;
        let members = Compact::<u32>::decode(&mut peek).map_err(|_| malformed())?.0;
        let head = rest.len() - peek.len();
        let length = usize::try_from(members)
            .ok()
            .and_then(|members| members.checked_mul((SET_BYTES_MAX - 5) / x0_limits::VALIDATORS_MAX as usize))
            .and_then(|body| body.checked_add(head))
            .ok_or_else(malformed)?;
        let (set, tail) = rest.split_at_checked(length).ok_or_else(malformed)?;
        sets.push((from, ValidatorSet::decode(set)?));
        rest = tail;
    }
    if rest.is_empty() { Ok(sets) } else { Err(malformed().into()) }
}
