//! A runtime with this module, nodes that tests measure at will, and agents that can sign.

use crate::{Pallet, types::Standing};
use codec::Encode as _;
use frame_support::{
    PalletId, derive_impl, parameter_types,
    traits::{ConstU64, OnInitialize},
};
use frame_system::EnsureRoot;
use sp_core::H256;
use sp_runtime::{
    BuildStorage, DispatchError,
    traits::{Dispatchable, IdentityLookup},
};
use std::collections::BTreeMap;
use x0_crypto::SigningKey;
use x0_types::{
    AccountId, Balance, Hash, KeyRole, MlDsa65PublicKey, MlDsa65Signature,
    account::MILLI,
    market::{Counters, Identities, Meter, NodeIndex, Slot, Verdict, VerdictListener as _},
    trust::{AttestationStatement, NodeRegions, SuspensionListener, TrustSource},
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
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(2)]
    pub type Trust = crate;
}

pub const SLOT_MS: u64 = 1_000;
pub const EPOCH_SLOTS: u64 = 10;
pub const BOND_MIN: Balance = 100 * MILLI;
pub const GENESIS: [u8; 32] = [7; 32];

parameter_types! {
    pub const ExistentialDeposit: Balance = MILLI;
    pub const AuditorBondMin: Balance = BOND_MIN;
    pub const TreasuryId: PalletId = PalletId(*b"x0/treas");
    pub static CurrentSlot: Slot = 0;
    pub static Measured: BTreeMap<AccountId, Counters> = BTreeMap::new();
    pub static AgentKeys: BTreeMap<AccountId, MlDsa65PublicKey> = BTreeMap::new();
    pub static Regions: BTreeMap<AccountId, Vec<u8>> = BTreeMap::new();
    pub static Heard: Vec<(AccountId, bool)> = Vec::new();
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

impl crate::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Meter = MockMeter;
    type Identities = MockIdentities;
    type Regions = MockRegions;
    type Suspensions = MockMarket;
    type GovernanceOrigin = EnsureRoot<AccountId>;
    type OffenceOrigin = EnsureRoot<AccountId>;
    type AuditorBondMin = AuditorBondMin;
    type SlotMs = ConstU64<SLOT_MS>;
    type EpochSlots = ConstU64<EPOCH_SLOTS>;
    type TreasuryId = TreasuryId;
    type WeightInfo = crate::weights::MeasuredWeight<Test>;
}

/// Writes down who was suspended or recovered, and what the reading says then.
pub struct MockMarket;
impl SuspensionListener<AccountId> for MockMarket {
    fn suspension_changed(node: &AccountId) {
        let suspended = <Trust as TrustSource<AccountId>>::reading(node).suspended;
        Heard::mutate(|heard| heard.push((node.clone(), suspended)));
    }
}

pub struct MockMeter;
impl Meter<AccountId> for MockMeter {
    fn current_slot() -> Slot {
        CurrentSlot::get()
    }
    fn closed_slot() -> Slot {
        CurrentSlot::get().saturating_sub(1)
    }
    fn counters(node: &AccountId) -> Option<Counters> {
        let mut counters = Measured::get().get(node).copied()?;
        counters.closed = Self::closed_slot();
        Some(counters)
    }
    fn enrol(_: &AccountId, _: &AccountId) -> Result<NodeIndex, DispatchError> {
        Err(DispatchError::Unavailable)
    }
    fn dismiss(_: &AccountId) {}
}

pub struct MockIdentities;
impl Identities<AccountId> for MockIdentities {
    fn controller(subject: &AccountId) -> Option<AccountId> {
        AgentKeys::get().contains_key(subject).then(provider)
    }
    fn key(subject: &AccountId, role: KeyRole) -> Option<MlDsa65PublicKey> {
        (role == KeyRole::Agent).then(|| AgentKeys::get().get(subject).cloned()).flatten()
    }
}

pub struct MockRegions;
impl NodeRegions<AccountId> for MockRegions {
    fn region(node: &AccountId) -> Vec<u8> {
        Regions::get().get(node).cloned().unwrap_or_default()
    }
}

pub fn account(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

/// Who controls all nodes.
pub fn provider() -> AccountId {
    account(0xC0)
}

pub fn node(n: u8) -> AccountId {
    let mut bytes = [n; 32];
    bytes[0] = 0xAA;
    AccountId::new(bytes)
}

pub fn treasury() -> AccountId {
    use sp_runtime::traits::AccountIdConversion as _;
    TreasuryId::get().into_account_truncating()
}

/// An agent's key; another generation is another key.
pub fn key(n: u8, generation: u8) -> SigningKey {
    SigningKey::from_seed(&x0_crypto::dev::seed(&format!("agent-{n}-{generation}"), "trust-test")).unwrap()
}

pub fn binary(n: u8) -> H256 {
    H256::repeat_byte(n)
}

/// Gives a node a key and begins to measure it.
pub fn add_node(n: u8, generation: u8) {
    let public = MlDsa65PublicKey(Box::new(*key(n, generation).public().as_bytes()));
    AgentKeys::mutate(|keys| keys.insert(node(n), public));
    if Measured::get().contains_key(&node(n)) {
        return;
    }
    // What was closed before the enrolment counts as VOID for nobody: a fresh counter begins now.
    Measured::mutate(|nodes| nodes.insert(node(n), Counters::default()));
    Trust::enrolled(&node(n));
}

/// What an agent says now about a binary, signed by its key.
pub fn statement(n: u8, measurement: H256, quote: Option<H256>) -> AttestationStatement<AccountId> {
    AttestationStatement { node: node(n), measurement, quote, slot: CurrentSlot::get() }
}

pub fn sign(n: u8, generation: u8, statement: &AttestationStatement<AccountId>) -> MlDsa65Signature {
    let signature = key(n, generation).sign_attestation(&GENESIS, &statement.encode()).unwrap();
    MlDsa65Signature(signature.to_boxed())
}

/// Attests a binary of a node with its first key; whether it was free of fee.
pub fn attest(n: u8, measurement: H256) -> Result<bool, DispatchError> {
    attest_with(n, 0, statement(n, measurement, None))
}

pub fn attest_with(n: u8, generation: u8, statement: AttestationStatement<AccountId>) -> Result<bool, DispatchError> {
    let signature = sign(n, generation, &statement);
    call(&account(1), crate::Call::attest { statement, signature })
}

/// Dispatches a call as a transaction would: an error leaves the storage as it was.
pub fn call(who: &AccountId, call: crate::Call<Test>) -> Result<bool, DispatchError> {
    dispatch(RuntimeOrigin::signed(who.clone()), call)
}

pub fn root(call: crate::Call<Test>) -> Result<bool, DispatchError> {
    dispatch(RuntimeOrigin::root(), call)
}

fn dispatch(origin: RuntimeOrigin, call: crate::Call<Test>) -> Result<bool, DispatchError> {
    let before = sp_io::storage::root(sp_runtime::StateVersion::V1);
    let result = RuntimeCall::Trust(call).dispatch(origin);
    Pallet::<Test>::check_invariants().unwrap();
    match result {
        Ok(info) => Ok(info.pays_fee == frame_support::dispatch::Pays::No),
        Err(error) => {
            assert_eq!(before, sp_io::storage::root(sp_runtime::StateVersion::V1), "an error leaves no trace");
            Err(error.error)
        }
    }
}

pub fn auditor(n: u8) -> AccountId {
    let auditor = account(n);
    root(crate::Call::admit_auditor { auditor: auditor.clone() }).unwrap();
    call(&auditor, crate::Call::bond_auditor { amount: BOND_MIN }).unwrap();
    auditor
}

pub fn audit(auditor: &AccountId, n: u8, tier: u8) -> Result<bool, DispatchError> {
    let measurement = standing(n).attestation.map_or(H256::zero(), |attestation| attestation.measurement);
    call(auditor, crate::Call::audit { node: node(n), tier, measurement, quote: None, evidence: binary(0xEE) })
}

pub fn standing(n: u8) -> Standing {
    crate::Standings::<Test>::get(node(n)).unwrap_or_default()
}

/// Closes a slot with this verdict on each of the nodes; the others are UP.
pub fn slot(exceptions: &[(u8, Verdict)]) {
    let closed = CurrentSlot::get();
    CurrentSlot::set(closed + 1);
    for (n, verdict) in exceptions {
        Measured::mutate(|nodes| {
            if let Some(counters) = nodes.get_mut(&node(*n)) {
                match verdict {
                    Verdict::Down => counters.bad += 1,
                    Verdict::Unknown | Verdict::Conflict => counters.unknown += 1,
                    Verdict::Up => {}
                }
            }
        });
        Trust::verdict(closed, &node(*n), *verdict);
    }
    block();
}

/// A block in the present slot.
pub fn block() {
    let height = System::block_number() + 1;
    System::set_block_number(height);
    System::reset_events();
    Trust::on_initialize(height);
    Pallet::<Test>::check_invariants().unwrap();
}

/// Slots in which everybody is UP.
pub fn good(slots: u64) {
    for _ in 0..slots {
        slot(&[]);
    }
}

/// Good slots up to the first one of the next epoch, with its scores.
pub fn next_epoch() {
    good(EPOCH_SLOTS - CurrentSlot::get() % EPOCH_SLOTS);
}

/// Moves time without blocks.
pub fn skip_to(slot: Slot) {
    CurrentSlot::set(slot);
}

/// Runs a test at slot 1 with rich accounts 1 to 9.
pub fn run(test: impl FnOnce()) {
    let storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: (1..10).map(|n| (account(n), 1_000 * BOND_MIN)).chain([(treasury(), MILLI)]).collect(),
            ..Default::default()
        },
        ..Default::default()
    }
    .build_storage()
    .unwrap();
    Measured::set(BTreeMap::new());
    AgentKeys::set(BTreeMap::new());
    Regions::set(BTreeMap::new());
    CurrentSlot::set(1);
    sp_io::TestExternalities::from(storage).execute_with(|| {
        frame_system::BlockHash::<Test>::insert(0, Hash::from(GENESIS));
        System::set_block_number(1);
        test();
        Pallet::<Test>::check_invariants().unwrap();
    });
}
