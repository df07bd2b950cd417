//! A node without consensus: an executor, a mempool, and blocks on command.

use bytes::Bytes;
use codec::Encode;
use sp_runtime::{MultiAddress, generic::Era};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use x0_crypto::{SigningKey, dev};
use x0_executor::{Executed, Executor, ImportedBlock, Options};
use x0_mempool::{Config, Mempool};
use x0_runtime::{
    ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION,
    presets::{self, DEV_VALIDATOR},
};
use x0_storage::{Database, FatalHandler, OpenOptions};
use x0_types::{AccountId, Balance, Hash, MlDsa65PublicKey, MlDsa65Signature, Nonce};

/// The time of the first test block.
const T0: u64 = 1_800_000_000_000;

pub struct Node {
    pub executor: Executor,
    pub mempool: Mempool,
    _dir: tempfile::TempDir,
}

pub fn config() -> Config {
    Config { threads: Some(2), ..Config::default() }
}

impl Node {
    pub fn new(config: Config) -> Self {
        let genesis = presets::complete([
            presets::preset("dev").unwrap().unwrap(),
            presets::validators_patch(&[presets::dev_validator(DEV_VALIDATOR).unwrap()]),
            presets::time_patch(T0 - 1_000, 1_000),
        ])
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let fatal = FatalHandler::new(|error| panic!("storage: {error}"));
        let database = Database::open(dir.path(), OpenOptions { fatal, ..OpenOptions::default() }).unwrap();
        let executor = Executor::new(database, &genesis, Options::default()).unwrap();
        let mempool = Mempool::new(executor.clone(), config).unwrap();
        Self { executor, mempool, _dir: dir }
    }

    /// Builds a block of what the mempool offers.
    pub fn build(&self) -> Executed {
        self.build_of(self.mempool.ready(usize::MAX, usize::MAX))
    }

    pub fn build_of(&self, transactions: Vec<Arc<x0_executor::Admitted>>) -> Executed {
        let head = self.executor.head();
        let proposer = presets::dev_account(DEV_VALIDATOR).unwrap();
        let deadline = Instant::now() + Duration::from_secs(600);
        self.executor
            .build_block(head.hash, T0.max(head.timestamp_ms + 1), proposer, transactions.into_iter(), deadline)
            .unwrap()
    }

    /// Commits a block without telling the mempool.
    pub fn commit(&self, executed: Executed) -> Arc<ImportedBlock> {
        let mut imported = self.executor.subscribe_imported();
        self.executor.commit(executed, vec![1]).unwrap();
        imported.try_recv().unwrap()
    }

    /// A block of what the mempool offers, as consensus does it.
    pub fn block(&self) -> Arc<ImportedBlock> {
        let executed = self.build();
        self.mempool.on_rejected(&executed.rejected);
        let block = self.commit(executed);
        self.mempool.on_imported(&block);
        block
    }

    pub fn sign(&self, name: &str, nonce: Nonce, tip: Balance, call: RuntimeCall) -> Bytes {
        sign(self.executor.genesis_hash(), name, nonce, tip, (Era::Immortal, self.executor.genesis_hash()), call)
    }
}

pub fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, "account")).unwrap()
}

pub fn account(name: &str) -> AccountId {
    presets::dev_account(name).unwrap()
}

fn extension(nonce: Nonce, tip: Balance, era: Era) -> TxExtension {
    (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(era),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(tip),
        frame_system::WeightReclaim::new(),
    )
}

pub fn sign(genesis: Hash, name: &str, nonce: Nonce, tip: Balance, era: (Era, Hash), call: RuntimeCall) -> Bytes {
    let key = key(name);
    let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, era.1, (), (), (), ());
    let payload = SignedPayload::from_raw(call.clone(), extension(nonce, tip, era.0), implicit).encode();
    let signature = key.sign_transaction(&payload).unwrap();
    let signature = ChainSignature::MlDsa65 {
        public: MlDsa65PublicKey(key.public().clone().to_boxed()),
        signature: MlDsa65Signature(signature.to_boxed()),
    };
    let address = MultiAddress::Id(account(name));
    UncheckedExtrinsic::new_signed(call, address, signature, extension(nonce, tip, era.0)).encode().into()
}

pub fn transfer(to: &str, value: Balance) -> RuntimeCall {
    pallet_balances::Call::transfer_allow_death { dest: MultiAddress::Id(account(to)), value }.into()
}

pub fn remark(bytes: &[u8]) -> RuntimeCall {
    frame_system::Call::remark { remark: bytes.to_vec() }.into()
}
