//! A chain on which every call can be made at its largest.

use codec::Encode;
use serde_json::json;
use sp_runtime::{MultiAddress, generic::Era, traits::Dispatchable};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use x0_crypto::{SigningKey, dev};
use x0_executor::{Executor, Options, TransactionSource, measure::Timing};
use x0_runtime::{
    ChainSignature, Runtime, RuntimeCall, RuntimeOrigin, SignedPayload, UncheckedExtrinsic, VERSION, presets,
};
use x0_storage::{Database, OpenOptions};
use x0_types::{
    AccountId, KeyProof, KeyRole, MlDsa65PublicKey, MlDsa65Signature,
    account::UNIT,
    deal::{
        Attribute, AttributeValue, Attributes, Capacity, CongestionStep, Manifest, Offer, Rate, ServiceCheck, Wanted,
    },
    key::PossessionStatement,
};

/// Accounts beside those of the preset.
const ACCOUNTS: u32 = 10_000;
/// Validators: the largest set.
pub const VALIDATORS: u32 = x0_limits::VALIDATORS_MAX;
/// Time of the first block.
pub const T0: u64 = 1_800_000_000_000;
/// The node whose listing could bid for a request that has all the bids it can have.
const BIDDER: u32 = 4 + x0_limits::BIDS_PER_REQUEST_MAX;
/// Length of a slot.
pub const SLOT_MS: u64 = 1_000;
/// Deals on the busiest node.
pub const DEALS: u32 = x0_limits::DEALS_PER_NODE_MAX;

/// A chain in the state that the cases need: bob is a provider with agents 0 to 3, of which 1 is
/// listed without deals, 2 has a deal that waits for confirmation, and 3 has as many running deals as a
/// node may; charlie rents.
pub struct World {
    pub executor: Executor,
    /// Deal of agent 2 that waits for its confirmation.
    pub funded: u64,
    /// The first deal of agent 3.
    pub active: u64,
    /// Charlie's request, with all the bids it can have.
    pub asked: u64,
    /// A listing of bob that has not bid for it.
    pub bidder: u64,
    /// Listings of agents 1 to 3.
    pub listings: [u64; 3],
    _dir: tempfile::TempDir,
}

pub fn key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).unwrap()
}

pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(key.public().clone().to_boxed())
}

pub fn account(name: &str) -> AccountId {
    public(&key(name, "account")).account_id()
}

pub fn agent(number: u32) -> AccountId {
    public(&key(&format!("agent-{number}"), "agent")).account_id()
}

pub fn filler(number: u32) -> AccountId {
    AccountId::new(sp_io::hashing::blake2_256(&number.encode()))
}

pub fn validator(number: u32) -> AccountId {
    account(&format!("validator-{number}"))
}

/// One X0T for each good slot; the bond is ten. Everything that has a length has its greatest.
pub fn offer(mark: u8) -> Offer {
    let text = |byte, count: u32| vec![byte; usize::try_from(count).unwrap()];
    let attribute = |number: u32| Attribute {
        key: [vec![b'a' + u8::try_from(number).unwrap()], text(b'k', x0_limits::ATTRIBUTE_KEY_BYTES_MAX - 1)]
            .concat()
            .try_into()
            .unwrap(),
        value: AttributeValue::Text(text(b'v', x0_limits::ATTRIBUTE_TEXT_BYTES_MAX).try_into().unwrap()),
    };
    let attributes: Vec<_> = (0..x0_limits::ATTRIBUTES_MAX).map(attribute).collect();
    let step = |number: u32| CongestionStep { from_ppm: 900_000 + number, factor_ppm: 1_000_000 + number };
    let steps: Vec<_> = (0..x0_limits::CONGESTION_STEPS_MAX).map(step).collect();
    let capacity = Capacity { bandwidth_kbps: 32_000, sessions: 320 };
    let region = text(mark, x0_limits::REGION_BYTES_MAX).try_into().unwrap();
    Offer {
        attributes: Attributes(attributes.try_into().unwrap()),
        congestion: steps.try_into().unwrap(),
        ..Offer::plain(Rate { num: UNIT, den: 1 }, capacity, region, 10..=1_000, 10 * UNIT)
    }
}

/// The largest manifest.
pub fn manifest() -> Manifest<AccountId> {
    let agents: Vec<_> = (0..x0_limits::MANIFEST_AGENTS_MAX).map(filler).collect();
    let path = [vec![b'/'], vec![b'p'; usize::try_from(x0_limits::CHECK_PATH_BYTES_MAX - 1).unwrap()]].concat();
    let check = ServiceCheck::Http { port: 80, path: path.try_into().unwrap(), body_hash: Default::default() };
    let checks = vec![check; usize::try_from(x0_limits::SERVICE_CHECKS_MAX).unwrap()];
    Manifest { mesh: Default::default(), agents: agents.try_into().unwrap(), checks: checks.try_into().unwrap() }
}

/// The part of an offer that each of the largest number of deals rents.
pub fn part() -> Capacity {
    Capacity { bandwidth_kbps: 1_000, sessions: 10 }
}

pub fn rent(listing: u64) -> RuntimeCall {
    pallet_x0_marketplace::Call::rent {
        listing,
        version: pallet_x0_marketplace::Listings::<Runtime>::get(listing).unwrap().version,
        capacity: part(),
        term_slots: 100,
        deposit: 100 * UNIT,
        rate_max: Rate { num: u128::MAX, den: 1 },
        manifest: manifest(),
    }
    .into()
}

pub fn confirm_call(deal: u64) -> RuntimeCall {
    pallet_x0_marketplace::Call::confirm { deal, manifest_hash: manifest().hash() }.into()
}

pub fn list(node: AccountId) -> RuntimeCall {
    pallet_x0_marketplace::Call::list { node, offer: offer(b'x') }.into()
}

/// A request for all that an offer can be asked for.
pub fn request() -> RuntimeCall {
    let Offer { attributes, region, .. } = offer(b'x');
    pallet_x0_marketplace::Call::request {
        capacity: part(),
        term_slots: 100,
        rate_max: Rate { num: UNIT, den: 1 },
        deposit: 100 * UNIT,
        wanted: Wanted { region: Some(region), attributes, ..Wanted::default() },
        bid_slots: x0_limits::BID_WINDOW_SLOTS_MAX,
        manifest: manifest(),
    }
    .into()
}

/// A bid with this listing; a later one is lower.
pub fn bid(request: u64, listing: u64) -> RuntimeCall {
    let rate = Rate { num: UNIT - u128::from(listing), den: 1 };
    pallet_x0_marketplace::Call::bid { request, listing, rate, notice_slots: 0 }.into()
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), OpenOptions::default()).unwrap();
        let executor = Executor::new(database, &genesis(), Options::default()).unwrap();
        let mut world = Self { executor, funded: 0, active: 0, asked: 0, bidder: 0, listings: [0; 3], _dir: dir };
        world.build();
        world
    }

    fn build(&mut self) {
        let mut identities: Vec<_> =
            (0..BIDDER + 1).map(|number| ("bob", self.register_agent("bob", number))).collect();
        identities.push(("bob", self.register_account_key("bob")));
        for role in [KeyRole::Consensus, KeyRole::Network, KeyRole::Reporter, KeyRole::Playbook, KeyRole::Release] {
            identities.push(("dave", self.add_key("dave", role)));
        }
        self.block(T0, identities);
        self.block(T0 + 1, (1..=BIDDER).map(|number| ("bob", list(agent(number)))).collect());
        self.listings =
            self.read(|| [1, 2, 3].map(|n| pallet_x0_marketplace::ListingOf::<Runtime>::get(agent(n)).unwrap()));
        let [_, second, third] = self.listings;
        let rents = |listing, count| self.read(|| (0..count).map(|_| ("charlie", rent(listing))).collect::<Vec<_>>());
        self.block(T0 + 2, [rents(second, 1), rents(third, DEALS)].concat());
        let confirm = |deal| ("bob", confirm_call(deal));
        let last = self.read(pallet_x0_marketplace::NextDeal::<Runtime>::get);
        self.active = last - u64::from(DEALS);
        self.funded = self.active - 1;
        self.block(T0 + 3, (self.active..last).map(confirm).collect());
        // A request with all the bids it can have, and one more listing that could bid lower.
        self.block(T0 + 4, vec![("charlie", request())]);
        self.asked = self.read(pallet_x0_marketplace::NextDeal::<Runtime>::get) - 1;
        let listing = |number| pallet_x0_marketplace::ListingOf::<Runtime>::get(agent(number)).unwrap();
        let bidders: Vec<u64> = self.read(|| (4..=BIDDER).map(listing).collect());
        let (last, first) = bidders.split_last().unwrap();
        self.bidder = *last;
        self.block(T0 + 5, first.iter().map(|listing| ("bob", bid(self.asked, *listing))).collect());
        // Empty blocks let the slot of the confirmations and some after it close, so that deals count.
        for slot in 1..=6 {
            self.block(T0 + slot * SLOT_MS, vec![]);
        }
    }

    /// Builds and commits one block; every call must succeed.
    fn block(&self, time_ms: u64, calls: Vec<(&str, RuntimeCall)>) {
        let executor = &self.executor;
        let mut nonces = std::collections::BTreeMap::new();
        let admitted: Vec<_> = calls
            .into_iter()
            .map(|(name, call)| {
                let who = account(name);
                let nonce = nonces
                    .entry(name.to_owned())
                    .or_insert_with(|| self.read(|| x0_runtime::System::account_nonce(&who)));
                let bytes = self.sign(name, *nonce, call);
                *nonce += 1;
                Arc::new(executor.validate(&bytes, TransactionSource::Local).unwrap())
            })
            .collect();
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let block =
            executor.build_block(executor.head().hash, time_ms, validator(1), admitted.into_iter(), deadline).unwrap();
        assert!(block.rejected.is_empty(), "{:?}", block.rejected);
        for outcome in &block.results {
            assert_eq!(outcome.result, Ok(()), "set-up at {time_ms}");
        }
        executor.commit(block, vec![]).unwrap();
    }

    fn sign(&self, name: &str, nonce: u32, call: RuntimeCall) -> Vec<u8> {
        let extension = || {
            (
                frame_system::CheckNonZeroSender::new(),
                frame_system::CheckSpecVersion::new(),
                frame_system::CheckTxVersion::new(),
                frame_system::CheckGenesis::new(),
                frame_system::CheckMortality::from(Era::Immortal),
                frame_system::CheckNonce::from(nonce),
                frame_system::CheckWeight::new(),
                pallet_transaction_payment::ChargeTransactionPayment::from(0),
                frame_system::WeightReclaim::new(),
            )
        };
        let genesis = self.executor.genesis_hash();
        let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
        let payload = SignedPayload::from_raw(call.clone(), extension(), implicit).encode();
        let key = key(name, "account");
        let signature = MlDsa65Signature(key.sign_transaction(&payload).unwrap().to_boxed());
        let signature = ChainSignature::MlDsa65 { public: public(&key), signature };
        UncheckedExtrinsic::new_signed(call, MultiAddress::Id(account(name)), signature, extension()).encode()
    }

    pub fn read<R>(&self, f: impl FnOnce() -> R) -> R {
        self.executor.with_state(self.executor.head().hash, f).unwrap()
    }

    fn proof(&self, key: &SigningKey, role: KeyRole, subject: AccountId, controller: AccountId) -> KeyProof {
        let expires_at_ms = T0 + 3_600_000;
        let statement = PossessionStatement { role, subject, controller, expires_at_ms };
        let signature = key.sign_possession(&self.executor.genesis_hash().0, &statement.encode()).unwrap();
        KeyProof { expires_at_ms, signature: MlDsa65Signature(signature.to_boxed()) }
    }

    pub fn register_account_key(&self, name: &str) -> RuntimeCall {
        let key = key(name, "account");
        let proof = self.proof(&key, KeyRole::Account, account(name), account(name));
        pallet_x0_did::Call::register_account_key { public: public(&key), proof }.into()
    }

    pub fn rotate_account_key(&self, name: &str) -> RuntimeCall {
        let key = key(name, "account-next");
        let proof = self.proof(&key, KeyRole::Account, account(name), account(name));
        pallet_x0_did::Call::rotate_account_key { public: public(&key), proof }.into()
    }

    pub fn register_agent(&self, provider: &str, number: u32) -> RuntimeCall {
        let key = key(&format!("agent-{number}"), "agent");
        let proof = self.proof(&key, KeyRole::Agent, agent(number), account(provider));
        let endpoint = b"[2001:0db8:0000:0000:0000:0000:0000:0001]:65535".to_vec().try_into().unwrap();
        pallet_x0_did::Call::register_agent { public: public(&key), proof, endpoint }.into()
    }

    pub fn add_key(&self, name: &str, role: KeyRole) -> RuntimeCall {
        let key = key(name, &format!("{role:?}"));
        let proof = self.proof(&key, role, account(name), account(name));
        pallet_x0_did::Call::add_key { role, public: public(&key), proof }.into()
    }

    pub fn rotate_agent_key(&self, provider: &str, number: u32) -> RuntimeCall {
        let key = key(&format!("agent-{number}"), "agent-next");
        let proof = self.proof(&key, KeyRole::Agent, agent(number), account(provider));
        pallet_x0_did::Call::rotate_key { subject: agent(number), role: KeyRole::Agent, public: public(&key), proof }
            .into()
    }

    /// Median time of `f` after `prepare`, in the next block.
    pub fn time(&self, name: &str, prepare: impl Fn(), f: impl Fn() -> Result<(), String>) -> u64 {
        let head = self.executor.head();
        let prepare = || {
            x0_runtime::System::initialize(&(head.number + 1), &head.hash, &Default::default());
            // Some slots count as good, so that calls that pay out find something to pay.
            pallet_x0_measurement::VoidSlots::<Runtime>::mutate(|void| *void = void.saturating_sub(2));
            prepare();
        };
        let times = (0..crate::REPEATS)
            .map(|_| {
                let (result, timing) = self.executor.measure(prepare, &f).unwrap();
                assert_eq!(result, Ok(()), "{name}");
                Timing::total(&timing)
            })
            .collect();
        crate::median_ps(times)
    }

    /// Median time of a signed call.
    pub fn time_call(&self, who: &str, call: &RuntimeCall) -> u64 {
        let who = account(who);
        self.time(
            &format!("{call:?}").chars().take(60).collect::<String>(),
            || (),
            || dispatch(RuntimeOrigin::signed(who.clone()), call.clone()),
        )
    }
}

pub fn dispatch(origin: RuntimeOrigin, call: RuntimeCall) -> Result<(), String> {
    call.dispatch(origin).map(|_| ()).map_err(|error| format!("{:?}", error.error))
}

fn genesis() -> serde_json::Value {
    let validators: Vec<_> =
        (1..=VALIDATORS).map(|n| presets::dev_validator(&format!("validator-{n}")).unwrap()).collect();
    let mut preset = presets::preset("dev").unwrap().unwrap();
    let balances = preset.pointer_mut("/balances/balances").unwrap().as_array_mut().unwrap();
    balances.extend((0..ACCOUNTS).map(|n| json!([filler(n), 1_000_000_000_000_000u64])));
    presets::complete([preset, presets::validators_patch(&validators), presets::time_patch(T0 - SLOT_MS, SLOT_MS)])
        .unwrap()
}
