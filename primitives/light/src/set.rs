//! Validator sets as the chain encodes them.

use crate::SetError;
use alloc::{collections::BTreeSet, vec::Vec};
use codec::{Compact, Decode, Encode};
use x0_crypto::{PUBLIC_KEY_BYTES, PublicKey, certificate::CertificateValidator};
use x0_limits::{VALIDATOR_POWER_MAX, VALIDATORS_MAX};

/// Encoded validator: controller, consensus key, power.
const VALIDATOR_BYTES: usize = 32 + PUBLIC_KEY_BYTES + 8;
/// Largest encoded set, bytes.
pub const SET_BYTES_MAX: usize = 5 + VALIDATORS_MAX as usize * VALIDATOR_BYTES;

/// A validator of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// The account that answers for it.
    pub controller: [u8; 32],
    /// The key that signs its votes.
    pub consensus_key: PublicKey,
    /// Voting power.
    pub power: u64,
}

/// A validator set, in the chain's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet {
    controllers: Vec<[u8; 32]>,
    voters: Vec<CertificateValidator>,
}

impl ValidatorSet {
    /// A set of these validators, in this order.
    ///
    /// # Errors
    /// [`SetError`] for a set that no chain has.
    pub fn new(validators: impl IntoIterator<Item = Validator>) -> Result<Self, SetError> {
        let (controllers, voters): (Vec<_>, Vec<_>) = validators
            .into_iter()
            .map(|one| (one.controller, CertificateValidator { public: one.consensus_key, power: one.power }))
            .unzip();
        let found = u32::try_from(voters.len()).unwrap_or(u32::MAX);
        if found == 0 {
            return Err(SetError::Empty);
        }
        if found > VALIDATORS_MAX {
            return Err(SetError::TooMany { found, max: VALIDATORS_MAX });
        }
        let mut addresses = BTreeSet::new();
        for voter in &voters {
            let address = voter.public.fingerprint();
            if voter.power == 0 || voter.power > VALIDATOR_POWER_MAX {
                return Err(SetError::Power { validator: hex::encode(address), power: voter.power });
            }
            if !addresses.insert(address) {
                return Err(SetError::RepeatedKey(hex::encode(address)));
            }
        }
        Ok(Self { controllers, voters })
    }

    /// Reads the SCALE encoding of the chain's list of validators.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SetError> {
        let malformed = SetError::Malformed(bytes.len());
        if bytes.len() > SET_BYTES_MAX {
            return Err(malformed);
        }
        let mut rest = bytes;
        let found = Compact::<u32>::decode(&mut rest).map_err(|_| malformed.clone())?.0;
        if found > VALIDATORS_MAX {
            return Err(SetError::TooMany { found, max: VALIDATORS_MAX });
        }
        let (chunks, tail) = rest.as_chunks::<VALIDATOR_BYTES>();
        if !tail.is_empty() || u32::try_from(chunks.len()) != Ok(found) {
            return Err(malformed);
        }
        let validators: Option<Vec<_>> = chunks.iter().map(read_validator).collect();
        Self::new(validators.ok_or(malformed)?)
    }

    /// The SCALE encoding of the chain.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5 + self.voters.len() * VALIDATOR_BYTES);
        Compact(u32::try_from(self.voters.len()).unwrap_or(u32::MAX)).encode_to(&mut bytes);
        for (controller, voter) in self.controllers.iter().zip(&self.voters) {
            bytes.extend_from_slice(controller);
            bytes.extend_from_slice(voter.public.as_bytes());
            bytes.extend_from_slice(&voter.power.to_le_bytes());
        }
        bytes
    }

    /// BLAKE2b-256 of the encoding: what a header announces.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        x0_crypto::blake2b_256(&self.encode())
    }

    /// Keys and powers, for checking certificates.
    #[must_use]
    pub fn voters(&self) -> &[CertificateValidator] {
        &self.voters
    }

    /// Accounts that answer for the validators, in the same order.
    #[must_use]
    pub fn controllers(&self) -> &[[u8; 32]] {
        &self.controllers
    }
}

fn read_validator(chunk: &[u8; VALIDATOR_BYTES]) -> Option<Validator> {
    let (controller, rest) = chunk.split_first_chunk::<32>()?;
    let (key, power) = rest.split_at_checked(PUBLIC_KEY_BYTES)?;
    Some(Validator {
        controller: *controller,
        consensus_key: PublicKey::from_bytes(key).ok()?,
        power: u64::from_le_bytes(power.try_into().ok()?),
    })
}
