//! The worker on a real chain: runtime, mempool and database; only the clock is the test's.

use super::{
    agent::{self, Behaviour},
    fake::{ManualClock, until},
};
use crate::{Chain, EndpointPolicy, Gate, NodeChain, ProbeConfig, ProbeHandle, ProbeWorker, SlotClock};
use bytes::Bytes;
use codec::Encode as _;
use serde_json::json;
use sp_runtime::{MultiAddress, generic::Era};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use x0_crypto::{SigningKey, dev};
use x0_executor::{Executor, ImportedBlock, Options};
use x0_mempool::{Config, Mempool};
use x0_runtime::{
    ChainSignature, Runtime, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION,
    presets::{self, DEV_VALIDATOR},
};
use x0_storage::{Database, FatalHandler, OpenOptions};
use x0_types::{
    AccountId, Balance, MlDsa65PublicKey, MlDsa65Signature,
    account::UNIT,
    deal::{Capacity, Offer, Rate},
    market::{Meter as _, Observation, Slot, observation_at},
};

const SLOTS: SlotClock = SlotClock { genesis_time_ms: 1_800_000_000_000, slot_ms: 1_000 };

struct Node {
    executor: Executor,
    mempool: Mempool,
    clock: Arc<ManualClock>,
    node: AccountId,
    _dir: tempfile::TempDir,
}

fn account_key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).unwrap()
}

impl Node {
    /// A chain whose genesis knows one agent of bob's, which listens.
    async fn new(slot: Slot, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent_key = agent::key("agent");
        let node = agent::node_of(&agent_key);
        let mut validators = presets::validators_patch(&[presets::dev_validator(DEV_VALIDATOR).unwrap()]);
        validators["did"]["identities"].as_array_mut().unwrap().push(json!({
            "subject": node,
            "controller": presets::dev_account("bob").unwrap(),
            "endpoint": listener.local_addr().unwrap().to_string(),
            "keys": [{ "role": "agent", "public": MlDsa65PublicKey(agent_key.public().clone().to_boxed()) }],
        }));
        let time = presets::time_patch(SLOTS.genesis_time_ms, SLOTS.slot_ms);
        let genesis = presets::complete([presets::preset("dev").unwrap().unwrap(), validators, time]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let fatal = FatalHandler::new(|error| panic!("storage: {error}"));
        let database = Database::open(dir.path(), OpenOptions { fatal, ..OpenOptions::default() }).unwrap();
        let executor = Executor::new(database, &genesis, Options::default()).unwrap();
        let mempool = Mempool::new(executor.clone(), Config { threads: Some(1), ..Config::default() }).unwrap();
        agent::listen(listener, agent_key, executor.genesis_hash(), behaviour);
        Self { executor, mempool, clock: ManualClock::at(SLOTS.start_of(slot)), node, _dir: dir }
    }

    fn chain(&self) -> NodeChain {
        NodeChain::new(self.executor.clone(), self.mempool.clone(), account_key(DEV_VALIDATOR, "reporter"))
    }

    fn worker(&self) -> ProbeHandle {
        let config = ProbeConfig { endpoints: EndpointPolicy::Any, diary: None };
        ProbeWorker::start(self.chain(), self.clock.clone(), &config).unwrap()
    }

    /// A block of what waits, at the clock's time.
    fn block(&self) -> Arc<ImportedBlock> {
        use crate::Clock as _;
        let mut imported = self.executor.subscribe_imported();
        let transactions = self.mempool.ready(usize::MAX, usize::MAX).into_iter();
        let deadline = Instant::now() + Duration::from_secs(600);
        let proposer = presets::dev_account(DEV_VALIDATOR).unwrap();
        let parent = self.executor.head().hash;
        let block = self.executor.build_block(parent, self.clock.now_ms(), proposer, transactions, deadline).unwrap();
        assert_eq!(block.rejected, vec![]);
        self.executor.commit(block, vec![1]).unwrap();
        let block = imported.try_recv().unwrap();
        assert!(block.results.iter().all(|outcome| outcome.result.is_ok()), "{:?}", block.results);
        self.mempool.on_imported(&block);
        self.read(x0_runtime::check_invariants).unwrap();
        block
    }

    fn read<R>(&self, f: impl FnOnce() -> R) -> R {
        self.executor.with_state(self.executor.head().hash, f).unwrap()
    }

    /// Bob offers the node, which enrols it.
    async fn list(&self) {
        let call = pallet_x0_marketplace::Call::list {
            node: self.node.clone(),
            offer: Offer::plain(
                Rate { num: UNIT, den: 100 },
                Capacity { bandwidth_kbps: 1_000, sessions: 10 },
                b"eu".to_vec().try_into().unwrap(),
                10..=1_000,
                UNIT,
            ),
        };
        self.mempool.submit(self.sign("bob", call.into())).await.unwrap();
        self.block();
    }

    fn sign(&self, name: &str, call: RuntimeCall) -> Bytes {
        let genesis = self.executor.genesis_hash();
        let extension = || -> TxExtension {
            (
                frame_system::CheckNonZeroSender::new(),
                frame_system::CheckSpecVersion::new(),
                frame_system::CheckTxVersion::new(),
                frame_system::CheckGenesis::new(),
                frame_system::CheckMortality::from(Era::Immortal),
                frame_system::CheckNonce::from(0),
                frame_system::CheckWeight::new(),
                pallet_transaction_payment::ChargeTransactionPayment::from(0),
                frame_system::WeightReclaim::new(),
            )
        };
        let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
        let payload = SignedPayload::from_raw(call.clone(), extension(), implicit).encode();
        let key = account_key(name, "account");
        let signature = ChainSignature::MlDsa65 {
            public: MlDsa65PublicKey(key.public().clone().to_boxed()),
            signature: MlDsa65Signature(key.sign_transaction(&payload).unwrap().to_boxed()),
        };
        let address = MultiAddress::Id(presets::dev_account(name).unwrap());
        UncheckedExtrinsic::new_signed(call, address, signature, extension()).encode().into()
    }

    /// Lets a slot pass and waits until its commitment is in the mempool.
    async fn slot(&self, worker: &ProbeHandle, slot: Slot) {
        self.clock.set(SLOTS.last_probe_start(slot));
        until("the slot is probed", || worker.status().probed_slot == Some(slot)).await;
        self.clock.set(SLOTS.end_of(slot));
        until("the slot is reported", || worker.status().reported_slot == Some(slot)).await;
    }

    /// A slot and the block after it; from the third one on, also the report on the slot before the one before,
    /// whose time to be shown has come, and its block.
    async fn round(&self, worker: &ProbeHandle, slot: Slot, first: Slot) {
        self.slot(worker, slot).await;
        self.block();
        if let Some(shown) = slot.checked_sub(2).filter(|shown| *shown >= first) {
            until("a report is shown", || worker.status().shown_slot == Some(shown)).await;
            self.clock.set(SLOTS.end_of(slot) + 10);
            self.block();
        }
    }

    fn observation(&self, slot: Slot) -> Option<Observation> {
        let controller = presets::dev_account(DEV_VALIDATOR).unwrap();
        self.read(|| {
            let report = pallet_x0_measurement::Reports::<Runtime>::get(slot, &controller)?;
            let index = pallet_x0_measurement::Nodes::<Runtime>::get(&self.node)?.index;
            Some(observation_at(&report.observations, index))
        })
    }

    fn balance(&self, account: &AccountId) -> Balance {
        self.read(|| x0_runtime::Balances::free_balance(account))
    }
}

/// M17: what the worker sees is committed to, shown and billed, and costs its validator nothing.
#[tokio::test]
async fn reports_reach_the_chain_free_of_charge_and_bill_the_good_slots() {
    let node = Node::new(10, Behaviour::Honest).await;
    node.list().await;
    let worker = node.worker();
    let reporter = node.chain().reporter().clone();
    let before = node.balance(&reporter);
    for slot in 10..17 {
        node.round(&worker, slot, 10).await;
        if slot >= 12 {
            assert_eq!(node.observation(slot - 2), Some(Observation::Up));
            let report = node.read(|| {
                pallet_x0_measurement::Reports::<Runtime>::get(slot - 2, presets::dev_account(DEV_VALIDATOR).unwrap())
            });
            assert_eq!(report.unwrap().receipts_root, worker.receipts(slot - 2).unwrap().root);
        }
    }
    assert_eq!(node.balance(&reporter), before, "commitments and reports cost nothing");
    assert_eq!(worker.status().missed, 0);
    let counters = node.read(|| x0_runtime::Measurement::counters(&node.node)).unwrap();
    assert!(counters.closed >= 13);
    assert_eq!((counters.bad, counters.unknown), (0, 0));

    // Somebody asks for a receipt, and the worker shows it by itself.
    let validator = presets::dev_account(DEV_VALIDATOR).unwrap();
    let ask =
        pallet_x0_measurement::Call::challenge { slot: 12, validator: validator.clone(), node: node.node.clone() };
    node.mempool.submit(node.sign("charlie", ask.into())).await.unwrap();
    node.clock.set(SLOTS.end_of(16) + 20);
    node.block();
    until("the receipt is shown", || worker.status().answers == 1).await;
    node.clock.set(SLOTS.end_of(16) + 30);
    node.block();
    let conduct = node.read(|| x0_runtime::Measurement::conduct(&validator));
    assert_eq!((conduct.proved, conduct.unproven, conduct.missing), (1, 0, 0));
    assert_eq!(node.balance(&reporter), before, "an answer costs nothing either");
    worker.stop().await;
}

#[tokio::test]
async fn a_dead_node_is_reported_down_and_counted() {
    let node = Node::new(10, Behaviour::Silent).await;
    node.list().await;
    let worker = node.worker();
    for slot in 10..16 {
        node.round(&worker, slot, 10).await;
    }
    assert_eq!(node.observation(13), Some(Observation::Down));
    let counters = node.read(|| x0_runtime::Measurement::counters(&node.node)).unwrap();
    assert_eq!((counters.bad, counters.closed >= 12), (counters.closed - 9, true));
    worker.stop().await;
}

/// The node is killed between sending a report and its block, and after its block.
#[tokio::test]
async fn the_state_says_after_a_restart_what_is_reported() {
    let node = Node::new(10, Behaviour::Honest).await;
    node.list().await;
    let worker = node.worker();
    node.slot(&worker, 10).await;
    worker.stop().await;
    node.block();
    node.clock.set(SLOTS.last_probe_start(10));
    let worker = node.worker();
    until("slot 10 is probed again", || worker.status().probed_slot == Some(10)).await;
    node.clock.set(SLOTS.end_of(10));
    until("slot 10 is found reported", || worker.status().already_reported == 1).await;
    assert!(!node.mempool.has_work());
    worker.stop().await;
    let chain = node.chain();
    assert_eq!(chain.gate(10, SLOTS.end_of(10)).unwrap(), Gate::AlreadyReported);
    assert_eq!(chain.gate(11, SLOTS.end_of(11)).unwrap(), Gate::Open);
    assert_eq!(chain.gate(11, SLOTS.start_of(14)).unwrap(), Gate::TooLate);
    assert_eq!(chain.gate(0, SLOTS.end_of(10)).unwrap(), Gate::TooLate);
    let stranger = NodeChain::new(node.executor.clone(), node.mempool.clone(), account_key("nobody", "reporter"));
    assert_eq!(stranger.gate(11, SLOTS.end_of(11)).unwrap(), Gate::NoReporter);
}

/// Messages of two slots wait for the same block: each has its own nonce.
#[tokio::test]
async fn a_slow_chain_takes_two_commitments_in_one_block() {
    let node = Node::new(10, Behaviour::Honest).await;
    node.list().await;
    let worker = node.worker();
    node.slot(&worker, 10).await;
    node.slot(&worker, 11).await;
    let block = node.block();
    assert_eq!(block.results.len(), 3);
    let validator = presets::dev_account(DEV_VALIDATOR).unwrap();
    for slot in [10, 11] {
        assert!(node.read(|| pallet_x0_measurement::Commitments::<Runtime>::contains_key(slot, &validator)));
    }
    worker.stop().await;
}
