//! A runtime with this module on top of the identity module.

use crate as pallet_x0_validators;
use crate::{EnsureQuorum, GenesisValidator, Pallet};
use codec::Encode;
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU64, Contains, EitherOf, OnFinalize, OnInitialize},
};
use frame_system::EnsureRoot;
use pallet_x0_did::{GenesisIdentity, GenesisKey};
use sp_runtime::{
    BuildStorage, Digest, DigestItem, DispatchError,
    traits::{Dispatchable, IdentityLookup},
};
use x0_crypto::SigningKey;
use x0_types::{
    AccountId, Balance, Hash, KeyProof, KeyRole, MlDsa65PublicKey, MlDsa65Signature, Moment, account::MILLI,
    key::PossessionStatement,
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

/// Everything of this module, and remarks.
pub struct QuorumFilter;

impl Contains<RuntimeCall> for QuorumFilter {
    fn contains(call: &RuntimeCall) -> bool {
        matches!(call, RuntimeCall::Validators(_) | RuntimeCall::System(frame_system::Call::remark { .. }))
    }
}

impl pallet_x0_validators::Config for Test {
    type AdminOrigin = EitherOf<EnsureRoot<AccountId>, EnsureQuorum>;
    type QuorumCall = RuntimeCall;
    type QuorumFilter = QuorumFilter;
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::dev::seed(name, "validators-test")).unwrap()
}

pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(Box::new(*key.public().as_bytes()))
}

/// A public key that nobody can sign with: enough for the genesis, which asks for no proof.
pub fn unsigned_key(n: u8, role: KeyRole) -> MlDsa65PublicKey {
    let mut bytes = [n; 1952];
    bytes[0] = role as u8;
    MlDsa65PublicKey(Box::new(bytes))
}

/// An identity with a consensus, a network and a reporter key.
pub fn identity(n: u8) -> GenesisIdentity {
    let keys = [KeyRole::Consensus, KeyRole::Network, KeyRole::Reporter]
        .map(|role| GenesisKey { role, public: unsigned_key(n, role) })
        .to_vec();
    GenesisIdentity { subject: account(n), controller: None, endpoint: None, keys }
}

/// Rotates the consensus key of an account.
pub fn rotate_consensus_key(who: &AccountId, key: &SigningKey) {
    let expires_at_ms = 1_000;
    let statement =
        PossessionStatement { role: KeyRole::Consensus, subject: who.clone(), controller: who.clone(), expires_at_ms };
    let signature = key.sign_possession(&[0; 32], &statement.encode()).unwrap();
    let proof = KeyProof { expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) };
    Did::rotate_key(RuntimeOrigin::signed(who.clone()), who.clone(), KeyRole::Consensus, public(key), proof).unwrap();
}

pub fn begin(height: u32) {
    begin_proposed(height, None);
}

/// Begins a block whose header names its proposer.
pub fn begin_proposed(height: u32, proposer: Option<AccountId>) {
    let item = |one: AccountId| DigestItem::PreRuntime(x0_types::account::PROPOSER_ENGINE_ID, one.encode());
    let digest = Digest { logs: proposer.into_iter().map(item).collect() };
    System::reset_events();
    System::initialize(&height, &Hash::default(), &digest);
    Validators::on_initialize(height);
}

/// Ends the block at hand and goes to a later height, whatever lies between.
pub fn jump(from: u32, to: u32) {
    end(from);
    System::set_block_number(to - 1);
    begin(to);
}

/// Ends the block and gives its digest.
pub fn end(height: u32) -> Digest {
    Validators::on_finalize(height);
    Pallet::<Test>::check_invariants().unwrap();
    System::finalize().digest
}

pub fn root(call: crate::Call<Test>) -> Result<(), DispatchError> {
    let result = RuntimeCall::Validators(call).dispatch(RuntimeOrigin::root());
    Pallet::<Test>::check_invariants().unwrap();
    result.map(|_| ()).map_err(|error| error.error)
}

/// Runs a test with identities of the accounts 1 to 120, of which those in `genesis` validate,
/// inside block 1.
pub fn run<R>(genesis: &[(u8, u64)], test: impl FnOnce() -> R) -> R {
    let validators =
        genesis.iter().map(|(n, power)| GenesisValidator { controller: account(*n), power: *power }).collect();
    let storage = RuntimeGenesisConfig {
        did: pallet_x0_did::GenesisConfig { identities: (1..=120).map(identity).collect(), ..Default::default() },
        validators: crate::GenesisConfig { validators, ..Default::default() },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    sp_io::TestExternalities::from(storage).execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, Hash::default());
        begin(1);
        let result = test();
        Pallet::<Test>::check_invariants().unwrap();
        result
    })
}
