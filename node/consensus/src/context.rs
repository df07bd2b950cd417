//! The types with which the Malachite engine speaks of this chain.
//!
//! A value is a block's hash: blocks themselves travel as parts ([`crate::parts`]) and are judged by
//! executing them. Signatures and keys are shared pointers, because the engine clones its messages freely,
//! and print as a few bytes, because it logs whole certificates.

use crate::certificate::{CertificateValidator, VoteKind};
use borsh::{BorshDeserialize, BorshSerialize};
use malachite_core_types as core;
use malachite_core_types::{NilOrVal, Round, SignedExtension, VoteType};
use std::{collections::HashMap, fmt, sync::Arc};

/// A block's height.
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);
    fn increment_by(&self, n: u64) -> Self {
        // A chain does not reach the end of 64 bits; stopping there beats starting again at 0.
        Self(self.0.saturating_add(n))
    }
    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }
    fn as_u64(&self) -> u64 {
        self.0
    }
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0[..4]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}
hash_type! {
    /// A validator's address: BLAKE2b-256 of its consensus key. A validator that changes its key votes
    /// under a new address, so that a certificate names the keys that signed it.
    Address
}
hash_type! {
    /// A block's id: BLAKE2b-256 of its SCALE header.
    BlockId
}

impl core::Address for Address {}

impl core::Value for BlockId {
    type Id = Self;
    fn id(&self) -> Self {
        *self
    }
}

/// A signature of a consensus message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(Arc<x0_crypto::Signature>);

impl Signature {
    /// The signature as the cryptography crate takes it.
    #[must_use]
    pub fn inner(&self) -> &x0_crypto::Signature {
        &self.0
    }
}

impl From<x0_crypto::Signature> for Signature {
    fn from(signature: x0_crypto::Signature) -> Self {
        Self(Arc::new(signature))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl BorshSerialize for Signature {
    fn serialize<W: std::io::Write>(&self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(self.0.as_bytes())
    }
}

impl BorshDeserialize for Signature {
    /// A fixed number of bytes without a length: there is nothing to lie about.
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        let mut bytes = Box::new([0; x0_crypto::SIGNATURE_BYTES]);
        reader.read_exact(&mut bytes[..])?;
        Ok(Self(Arc::new(x0_crypto::Signature::from(bytes))))
    }
}

/// A consensus key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Arc<x0_crypto::PublicKey>);

impl PublicKey {
    /// The key as the cryptography crate takes it.
    #[must_use]
    pub fn inner(&self) -> &x0_crypto::PublicKey {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// ML-DSA-65, as the engine wants it described. Signing itself goes through [`crate::signer`] only, so
/// the engine gets no private key type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlDsa65;

impl core::SigningScheme for MlDsa65 {
    type DecodingError = x0_crypto::CryptoError;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = ();
    fn decode_signature(bytes: &[u8]) -> Result<Signature, Self::DecodingError> {
        x0_crypto::Signature::from_bytes(bytes).map(Signature::from)
    }
    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.as_bytes().to_vec()
    }
    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, Self::DecodingError> {
        x0_crypto::PublicKey::from_bytes(bytes).map(|key| PublicKey(Arc::new(key)))
    }
    fn encode_public_key(public: &PublicKey) -> Vec<u8> {
        public.0.as_bytes().to_vec()
    }
}

/// A validator of one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    address: Address,
    public: PublicKey,
    power: u64,
}

impl core::Validator<ChainContext> for Validator {
    fn address(&self) -> &Address {
        &self.address
    }
    fn public_key(&self) -> &PublicKey {
        &self.public
    }
    fn voting_power(&self) -> u64 {
        self.power
    }
}

#[derive(Debug, PartialEq, Eq)]
struct SetInner {
    validators: Vec<Validator>,
    by_address: HashMap<Address, usize>,
    total: u64,
    /// Whose turns count (see [`crate::turns`]), by index; and who comes after them. Both in the order of the set.
    active: Vec<usize>,
    benched: Vec<usize>,
}

/// The validators of one height, in the order of the chain's state, found by address in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet(Arc<SetInner>);

/// Why a list of validators is not a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// No validators, or none with power.
    #[error("the validator set is empty")]
    Empty,
    /// More validators than a set may have.
    #[error("{found} validators; at most {} are allowed", x0_limits::VALIDATORS_MAX)]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// One key appears twice.
    #[error("consensus key {0} appears twice in the validator set")]
    RepeatedKey(Address),
    /// A power out of range. The engine multiplies sums of powers by three without a check.
    #[error("validator {address} has power {power}; it must be 1 to {}", x0_limits::VALIDATOR_POWER_MAX)]
    Power {
        /// The validator.
        address: Address,
        /// Its power.
        power: u64,
    },
}

impl ValidatorSet {
    /// Takes the validators in the order of the chain's state.
    ///
    /// # Errors
    /// Each variant of [`ValidatorSetError`].
    pub fn new(validators: &[CertificateValidator]) -> Result<Self, ValidatorSetError> {
        if validators.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if validators.len() > x0_limits::VALIDATORS_MAX as usize {
            return Err(ValidatorSetError::TooMany { found: validators.len() });
        }
        let mut by_address = HashMap::with_capacity(validators.len());
        let mut list = Vec::with_capacity(validators.len());
        let mut total: u64 = 0;
        for (index, validator) in validators.iter().enumerate() {
            let address = Address(validator.public.fingerprint());
            let power = validator.power;
            if power == 0 || power > x0_limits::VALIDATOR_POWER_MAX {
                return Err(ValidatorSetError::Power { address, power });
            }
            if by_address.insert(address, index).is_some() {
                return Err(ValidatorSetError::RepeatedKey(address));
            }
            total = total.saturating_add(power);
            list.push(Validator { address, public: PublicKey(Arc::new(validator.public.clone())), power });
        }
        let active = (0..list.len()).collect();
        Ok(Self(Arc::new(SetInner { validators: list, by_address, total, active, benched: Vec::new() })))
    }

    /// The same set, in which these validators (by their place in it) propose only after all others. Without
    /// anybody left to propose first, all take turns.
    #[must_use]
    pub fn with_benched(&self, benched: &[usize]) -> Self {
        let (benched, active): (Vec<_>, Vec<_>) =
            (0..self.0.validators.len()).partition(|index| benched.contains(index));
        if active.is_empty() {
            return self.clone();
        }
        let inner = &self.0;
        Self(Arc::new(SetInner {
            validators: inner.validators.clone(),
            by_address: inner.by_address.clone(),
            total: inner.total,
            active,
            benched,
        }))
    }

    /// How many validators are benched.
    #[must_use]
    pub fn benched(&self) -> usize {
        self.0.benched.len()
    }

    /// Whether a validator with this address is in the set.
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.0.by_address.contains_key(address)
    }

    /// The addresses, in the order of the set.
    pub fn addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.0.validators.iter().map(|validator| validator.address)
    }

    /// The place of a validator in the set.
    #[must_use]
    pub fn index_of(&self, address: &Address) -> Option<usize> {
        self.0.by_address.get(address).copied()
    }

    /// The key of the validator with this address.
    #[must_use]
    pub fn key_of(&self, address: &Address) -> Option<&PublicKey> {
        self.find(address).map(|validator| &validator.public)
    }

    /// The set as certificates are checked against it.
    #[must_use]
    pub fn for_certificates(&self) -> Vec<CertificateValidator> {
        self.0
            .validators
            .iter()
            .map(|validator| CertificateValidator {
                public: validator.public.0.as_ref().clone(),
                power: validator.power,
            })
            .collect()
    }

    fn find(&self, address: &Address) -> Option<&Validator> {
        self.0.by_address.get(address).and_then(|index| self.0.validators.get(*index))
    }
}

impl core::ValidatorSet<ChainContext> for ValidatorSet {
    fn count(&self) -> usize {
        self.0.validators.len()
    }
    fn total_voting_power(&self) -> u64 {
        self.0.total
    }
    fn get_by_address(&self, address: &Address) -> Option<&Validator> {
        self.find(address)
    }
    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.validators.get(index)
    }
}

/// The validator that proposes in a round. Those whose turns count take turns in the order of the set, height by height
/// and round by round; the benched ones follow, so that every validator has a turn within as many rounds as
/// there are validators.
#[must_use]
pub fn proposer(set: &ValidatorSet, height: Height, round: Round) -> &Validator {
    let inner = &set.0;
    let remainder = |value: u64, of: usize| {
        // The remainder is smaller than a length in memory.
        usize::try_from(value % u64::try_from(of.max(1)).unwrap_or(1)).unwrap_or(0)
    };
    let turn = remainder(u64::from(round.as_u32().unwrap_or(0)), inner.validators.len());
    let index = match turn.checked_sub(inner.active.len()) {
        None => {
            let at = height.0.wrapping_add(u64::try_from(turn).unwrap_or(0));
            inner.active[remainder(at, inner.active.len())]
        }
        Some(late) => inner.benched[late],
    };
    &inner.validators[index]
}

/// A proposal: "in this round, this block".
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// The block.
    pub value: BlockId,
    /// The round in which the block already had a quorum of prevotes; nil for a new block.
    pub pol_round: Round,
    /// The proposer.
    pub proposer: Address,
}

impl core::Proposal<ChainContext> for Proposal {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &BlockId {
        &self.value
    }
    fn take_value(self) -> BlockId {
        self.value
    }
    fn pol_round(&self) -> Round {
        self.pol_round
    }
    fn validator_address(&self) -> &Address {
        &self.proposer
    }
}

/// A vote. This chain uses no vote extensions (architecture D7).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// Prevote or precommit.
    pub kind: VoteType,
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// The block, or nil.
    pub value: NilOrVal<BlockId>,
    /// The voter.
    pub voter: Address,
}

impl core::Vote<ChainContext> for Vote {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }
    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }
    fn vote_type(&self) -> VoteType {
        self.kind
    }
    fn validator_address(&self) -> &Address {
        &self.voter
    }
    fn extension(&self) -> Option<&SignedExtension<ChainContext>> {
        None
    }
    fn take_extension(&mut self) -> Option<SignedExtension<ChainContext>> {
        None
    }
    fn extend(self, _: SignedExtension<ChainContext>) -> Self {
        self
    }
}

/// The kind of a vote as [`crate::certificate`] names it.
#[must_use]
pub const fn vote_kind(kind: VoteType) -> VoteKind {
    match kind {
        VoteType::Prevote => VoteKind::Prevote,
        VoteType::Precommit => VoteKind::Precommit,
    }
}

impl core::ProposalPart<ChainContext> for crate::parts::Part {
    fn is_first(&self) -> bool {
        matches!(self, Self::Opening(_))
    }
    fn is_last(&self) -> bool {
        // The opening part says how many follow, so no part marks the end.
        false
    }
}

/// Ties the types together for the engine. It holds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainContext;

impl core::Context for ChainContext {
    type Address = Address;
    type Height = Height;
    type ProposalPart = crate::parts::Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = core::LinearTimeouts;
    type Value = BlockId;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = MlDsa65;

    fn select_proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        proposer(set, height, round)
    }
    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockId,
        pol_round: Round,
        proposer: Address,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }
    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, voter }
    }
    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockId>, voter: Address) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, voter }
    }
}
