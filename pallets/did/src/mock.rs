//! A runtime with this module, real signatures, and helpers for its tests.

use crate as pallet_x0_did;
use crate::{GenesisIdentity, Pallet};
use codec::Encode;
use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU64, Hooks},
};
use sp_runtime::{
    BuildStorage, DispatchError,
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
}

parameter_types! {
    pub const IdentityDeposit: Balance = 100 * MILLI;
    pub const KeyDeposit: Balance = 10 * MILLI;
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
    type IdentityDeposit = IdentityDeposit;
    type KeyDeposit = KeyDeposit;
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

/// The time of every block of these tests unless they say otherwise.
pub const NOW_MS: Moment = 1_000_000;
pub const ENDOWMENT: Balance = 1_000_000 * MILLI;
pub const GENESIS: [u8; 32] = [7; 32];

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// A key that is the same in every run.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::dev::seed(name, "did-test")).unwrap()
}

pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(Box::new(*key.public().as_bytes()))
}

/// What a proof of these tests says; each field can be made wrong.
#[derive(Clone)]
pub struct Claim {
    pub role: KeyRole,
    pub subject: AccountId,
    pub controller: AccountId,
    pub expires_at_ms: Moment,
    pub genesis: [u8; 32],
}

pub fn claim(role: KeyRole, subject: &AccountId, controller: &AccountId) -> Claim {
    Claim {
        role,
        subject: subject.clone(),
        controller: controller.clone(),
        expires_at_ms: NOW_MS + 60_000,
        genesis: GENESIS,
    }
}

/// Signs a claim; the proof carries the expiry that it was signed with.
pub fn sign(key: &SigningKey, claim: &Claim) -> KeyProof {
    let statement = PossessionStatement {
        role: claim.role,
        subject: claim.subject.clone(),
        controller: claim.controller.clone(),
        expires_at_ms: claim.expires_at_ms,
    };
    let signature = key.sign_possession(&claim.genesis, &statement.encode()).unwrap();
    KeyProof { expires_at_ms: claim.expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) }
}

pub fn proof(key: &SigningKey, role: KeyRole, subject: &AccountId, controller: &AccountId) -> KeyProof {
    sign(key, &claim(role, subject, controller))
}

/// Dispatches a call as a transaction would: an error leaves the storage as it was. Checks the
/// invariants afterwards.
pub fn call(who: &AccountId, call: crate::Call<Test>) -> Result<(), DispatchError> {
    let before = sp_io::storage::root(sp_runtime::StateVersion::V1);
    let result = RuntimeCall::Did(call).dispatch(RuntimeOrigin::signed(who.clone()));
    Pallet::<Test>::check_invariants().unwrap();
    match result {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(before, sp_io::storage::root(sp_runtime::StateVersion::V1), "an error leaves no trace");
            Err(error.error)
        }
    }
}

pub fn set_time(now_ms: Moment) {
    pallet_timestamp::Now::<Test>::put(now_ms);
}

/// Runs a test in a chain at height 1 with accounts 1 to 9 and the given identities.
pub fn run_with(identities: Vec<GenesisIdentity>, test: impl FnOnce()) {
    let storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: (1..10).map(|n| (account(n), ENDOWMENT)).collect(),
            ..Default::default()
        },
        did: crate::GenesisConfig { identities, ..Default::default() },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    sp_io::TestExternalities::from(storage).execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, Hash::from(GENESIS));
        System::set_block_number(1);
        Did::on_initialize(1);
        set_time(NOW_MS);
        test();
        Pallet::<Test>::check_invariants().unwrap();
    });
}

pub fn run(test: impl FnOnce()) {
    run_with(Vec::new(), test);
}
