//! A runtime with this module on top of validators and identities, and validators that can sign.

use crate::Pallet;
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU64, Nothing, OnFinalize, OnInitialize},
};
use frame_system::EnsureRoot;
use pallet_x0_did::{GenesisIdentity, GenesisKey};
use pallet_x0_validators::GenesisValidator;
use sp_runtime::{BuildStorage, Digest, traits::IdentityLookup};
use x0_crypto::{
    SigningKey,
    statement::{Opening, Proposal, Statement, Vote, VoteKind},
};
use x0_types::{
    AccountId, Balance, Hash, KeyRole, MlDsa65PublicKey, MlDsa65Signature, Moment,
    account::MILLI,
    evidence::{Body, Evidence, SignedBody, Step},
};

pub type Block = frame_system::mocking::MockBlockU32<Test>;

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Test;
    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(2)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(3)]
    pub type Did = pallet_x0_did;
    #[runtime::pallet_index(4)]
    pub type Validators = pallet_x0_validators;
    #[runtime::pallet_index(5)]
    pub type Evidences = crate;
}

parameter_types! {
    pub const Deposit: Balance = MILLI;
    pub const ExistentialDeposit: Balance = MILLI;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type Balance = Balance;
    type AccountStore = System;
    type ExistentialDeposit = ExistentialDeposit;
}

impl pallet_timestamp::Config for Test {
    type Moment = Moment;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = ();
}

impl pallet_x0_did::Config for Test {
    type RuntimeHoldReason = RuntimeHoldReason;
    type Currency = Balances;
    type Time = Timestamp;
    type IdentityDeposit = Deposit;
    type KeyDeposit = Deposit;
    type WeightInfo = pallet_x0_did::weights::MeasuredWeight<Test>;
}

impl pallet_x0_validators::Config for Test {
    type AdminOrigin = EnsureRoot<AccountId>;
    type QuorumCall = RuntimeCall;
    type QuorumFilter = Nothing;
    type WeightInfo = pallet_x0_validators::weights::MeasuredWeight<Test>;
}

impl crate::Config for Test {
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

/// The chain's name in these tests.
pub const GENESIS: [u8; 32] = [42; 32];

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// The consensus key of a validator; `generation` counts its changes.
pub fn key(n: u8, generation: u8) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::dev::seed(&format!("evidence-{n}-{generation}"), "consensus")).unwrap()
}

pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(Box::new(*key.public().as_bytes()))
}

pub fn begin(height: u32) {
    System::reset_events();
    System::set_block_number(height - 1);
    System::initialize(&height, &Hash::default(), &Digest::default());
    Validators::on_initialize(height);
}

pub fn jump(from: u32, to: u32) {
    check();
    Validators::on_finalize(from);
    begin(to);
}

pub fn check() {
    pallet_x0_validators::Pallet::<Test>::check_invariants().unwrap();
    Pallet::<Test>::check_invariants().unwrap();
}

/// Runs a test inside block 10 of a chain with these validators.
pub fn run(validators: &[u8], test: impl FnOnce()) {
    let identity = |n: u8| GenesisIdentity {
        subject: account(n),
        controller: None,
        endpoint: None,
        keys: vec![GenesisKey { role: KeyRole::Consensus, public: public(&key(n, 0)) }],
    };
    let storage = RuntimeGenesisConfig {
        did: pallet_x0_did::GenesisConfig { identities: (1..=5).map(identity).collect(), ..Default::default() },
        validators: pallet_x0_validators::GenesisConfig {
            validators: validators.iter().map(|n| GenesisValidator { controller: account(*n), power: 1 }).collect(),
            ..Default::default()
        },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    sp_io::TestExternalities::from(storage).execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, Hash::from(GENESIS));
        begin(10);
        test();
        check();
    });
}

/// Replaces the consensus key of a validator in the set, as a rotation and a refresh would.
pub fn rotate(n: u8, generation: u8) {
    let fresh = public(&key(n, generation));
    pallet_x0_did::Keys::<Test>::mutate(account(n), KeyRole::Consensus, |entry| {
        entry.as_mut().unwrap().public = fresh;
    });
    Validators::refresh_consensus_key(RuntimeOrigin::signed(account(n))).unwrap();
}

pub const PLACE: (u32, u32) = (9, 2);

/// What a validator with this key says at a place, in one of many ways.
pub fn says(key: &SigningKey, step: Step, (height, round): (u32, u32), content: u8) -> Statement {
    let (height, signer, block) = (u64::from(height), key.public().fingerprint(), [content; 32]);
    let vote = |kind| {
        // Content 0 is nil.
        let block = (content > 0).then_some(block);
        Statement::Vote(Vote { kind, height, round, block, voter: signer })
    };
    match step {
        Step::Opening => Opening { height, round, proposer: signer, block, bytes: 7, digest: [3; 32] }.into(),
        Step::Proposal => Proposal { height, round, block, pol_round: None, proposer: signer }.into(),
        Step::Prevote => vote(VoteKind::Prevote),
        Step::Precommit => vote(VoteKind::Precommit),
    }
}

pub fn signed(key: &SigningKey, statement: &Statement) -> SignedBody {
    signed_on(&GENESIS, key, statement)
}

pub fn signed_on(genesis: &[u8; 32], key: &SigningKey, statement: &Statement) -> SignedBody {
    let signature = statement.sign(key, genesis).unwrap();
    SignedBody {
        body: Body::try_from(statement.body()).unwrap(),
        signature: MlDsa65Signature(Box::new(*signature.as_bytes())),
    }
}

/// Good evidence against validator `n` with its key of this generation.
pub fn evidence(n: u8, generation: u8, step: Step, place: (u32, u32)) -> Evidence {
    let key = key(n, generation);
    Evidence {
        validator: account(n),
        height: place.0,
        round: place.1,
        step,
        first: signed(&key, &says(&key, step, place, 0)),
        second: signed(&key, &says(&key, step, place, 1)),
    }
}
