//! A real chain whose validator set is replaced as a whole, and a node that serves it.

use crate::{
    Shelf, Snapshot, make_snapshot,
    wire::{Answer, Question, Refusal},
};
use bytes::Bytes;
use codec::Encode;
use serde_json::{Value, json};
use sp_runtime::{MultiAddress, generic::Era};
use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use x0_crypto::{
    SigningKey,
    certificate::{Certificate, CertificateEntry, VoteKind, vote_body},
    dev,
};
use x0_executor::{Executor, Options, TransactionSource, light::set_changes};
use x0_runtime::{
    ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION,
    presets::{self, LOCAL_VALIDATORS},
};
use x0_storage::{Database, FatalHandler, OpenOptions};
use x0_types::{AccountId, MlDsa65PublicKey, MlDsa65Signature, Nonce};

pub(super) const T0: u64 = 1_800_000_000_000;
/// Height of the snapshots of [`CHAIN`].
pub(super) const HEIGHT: u32 = 12;
/// Height of the block that announces that everybody is replaced.
pub(super) const CHANGE: u32 = 4;

/// Accounts of the genesis block: enough state for several chunks.
const ACCOUNTS: u32 = 15_000;

static GENESIS: LazyLock<Value> = LazyLock::new(build_genesis);

pub(super) fn genesis() -> Value {
    GENESIS.clone()
}

/// Four identities, of which the first two begin, and many accounts.
fn build_genesis() -> Value {
    let validators: Vec<_> = LOCAL_VALIDATORS.iter().map(|name| presets::dev_validator(name).unwrap()).collect();
    let first: Vec<_> =
        validators[..2].iter().map(|one| json!({ "controller": one.controller, "power": one.power })).collect();
    let mut config = presets::complete([
        presets::preset("dev").unwrap().unwrap(),
        presets::validators_patch(&validators),
        json!({ "validators": { "validators": first } }),
        presets::time_patch(T0 - 1_000, 1_000),
    ])
    .unwrap();
    let many = (0..ACCOUNTS).map(|tag| {
        let who = AccountId::new(x0_crypto::blake2b_256(&[&b"many"[..], &tag.to_le_bytes()].concat()));
        json!([who, 1_000_000_000_000u64])
    });
    config["balances"]["balances"].as_array_mut().unwrap().extend(many);
    config
}

pub(super) fn storage() -> OpenOptions {
    OpenOptions {
        block_cache_bytes: 4 << 20,
        write_buffers_bytes: 8 << 20,
        fatal: FatalHandler::new(|error| panic!("storage: {error}")),
        ..OpenOptions::default()
    }
}

fn key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).unwrap()
}

pub(super) fn account(name: &str) -> AccountId {
    presets::dev_account(name).unwrap()
}

fn extension(nonce: Nonce) -> TxExtension {
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
}

/// A node without consensus: the test decides, and signs for the validators.
pub(super) struct Node {
    pub(super) executor: Executor,
    pub(super) database: Database,
}

impl Node {
    pub(super) fn open(path: &Path) -> Self {
        let database = Database::open(path, storage()).unwrap();
        let executor = Executor::new(database.clone(), &genesis(), Options::default()).unwrap();
        Self { executor, database }
    }

    /// A transaction of alice.
    pub(super) fn sign(&self, call: RuntimeCall, ahead: Nonce) -> Bytes {
        let head = self.executor.head().hash;
        let who = account("alice");
        let nonce = self.executor.with_state(head, || x0_runtime::System::account_nonce(&who)).unwrap() + ahead;
        let genesis = self.executor.genesis_hash();
        let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
        let payload = SignedPayload::from_raw(call.clone(), extension(nonce), implicit).encode();
        let key = key("alice", "account");
        let signature = ChainSignature::MlDsa65 {
            public: MlDsa65PublicKey(key.public().clone().to_boxed()),
            signature: MlDsa65Signature(key.sign_transaction(&payload).unwrap().to_boxed()),
        };
        let address = MultiAddress::Id(who);
        Bytes::from(UncheckedExtrinsic::new_signed(call, address, signature, extension(nonce)).encode())
    }

    /// Builds, certifies and commits a block with these calls of alice.
    pub(super) fn advance(&self, calls: Vec<RuntimeCall>) -> Bytes {
        let admitted: Vec<_> = (0u32..)
            .zip(calls)
            .map(|(ahead, call)| {
                let bytes = self.sign(call, ahead);
                Arc::new(self.executor.validate(&bytes, TransactionSource::External).unwrap())
            })
            .collect();
        let count = admitted.len();
        let head = self.executor.head();
        let deadline = Instant::now() + Duration::from_secs(600);
        let time = T0 + u64::from(head.number) * 1_000;
        let block = self
            .executor
            .build_block(head.hash, time, account(LOCAL_VALIDATORS[0]), admitted.into_iter(), deadline)
            .unwrap();
        assert_eq!((block.rejected.len(), block.body.len()), (0, count + 1));
        assert!(block.results.iter().all(|outcome| outcome.result.is_ok()), "{:?}", block.results);
        let encoded = block.encoded.clone();
        self.commit(&encoded);
        encoded
    }

    /// Replays a block as another node does, and commits it with everybody's signatures.
    pub(super) fn commit(&self, encoded: &[u8]) {
        let block = self.executor.replay_block(&encoded.to_vec().into()).unwrap();
        let head = self.executor.head().hash;
        let set = self.executor.with_state(head, || x0_runtime::Validators::set_at(block.number)).unwrap();
        let signers = LOCAL_VALIDATORS
            .iter()
            .map(|name| key(name, "consensus"))
            .filter(|key| set.iter().any(|one| one.consensus_key.0[..] == key.public().as_bytes()[..]));
        let genesis = self.executor.genesis_hash();
        let entries = signers.map(|key| {
            let address = key.public().fingerprint();
            let body = vote_body(VoteKind::Precommit, u64::from(block.number), 0, Some(&block.hash.0), &address);
            CertificateEntry { address, signature: key.sign_vote(&genesis.0, &body).unwrap() }
        });
        let certificate =
            Certificate { height: u64::from(block.number), round: 0, block: block.hash.0, entries: entries.collect() };
        self.executor.commit(block, certificate.encode()).unwrap();
    }
}

pub(super) fn transfer(to: u32) -> RuntimeCall {
    let dest = AccountId::new(x0_crypto::blake2b_256(&to.to_le_bytes()));
    pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(dest), value: 1_000_000_000_000 }.into()
}

fn sudo(call: RuntimeCall) -> RuntimeCall {
    pallet_sudo::Call::sudo { call: Box::new(call) }.into()
}

/// A chain of [`HEIGHT`] + 2 blocks with snapshots, made once for all tests.
pub(super) struct Chain {
    _dir: TempDir,
    pub(super) node: Node,
    pub(super) shelf: Shelf,
    pub(super) snapshot: Arc<Snapshot>,
    /// The blocks after the snapshot's.
    pub(super) later: Vec<Bytes>,
}

pub(super) static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(&dir.path().join("chain"));
    for number in 1..=HEIGHT {
        let mut calls = vec![transfer(number), transfer(number + 100)];
        if number == CHANGE {
            let next = LOCAL_VALIDATORS[2..].iter().map(|name| (account(name), 1)).collect::<Vec<_>>();
            calls
                .push(sudo(pallet_x0_validators::Call::set_validators { validators: next.try_into().unwrap() }.into()));
        }
        node.advance(calls);
    }
    let shelf = Shelf::open(&dir.path().join("snapshots")).unwrap();
    let later = (0..2).map(|number| node.advance(vec![transfer(1_000 + number)])).collect();
    let snapshot = make_snapshot(&node.database, &shelf, HEIGHT).unwrap();
    Chain { _dir: dir, node, shelf, snapshot, later }
});

pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Chain {
    /// What an honest node answers.
    pub(super) fn honest(&self, question: &Question) -> Answer {
        match question {
            Question::Offers => Answer::Offers(self.shelf.offers()),
            Question::SetChanges { after, last } => {
                let page = set_changes(&self.node.database, *after, *last).unwrap();
                Answer::SetChanges { proofs: page.proofs, more: page.more }
            }
            Question::Manifest { content } if *content == self.snapshot.content => {
                Answer::Manifest(self.snapshot.manifest.clone())
            }
            Question::Chunk { content, index } if *content == self.snapshot.content => {
                self.snapshot.chunk(*index).map_or(Answer::Refused(Refusal::Unknown), Answer::Chunk)
            }
            Question::Manifest { .. } | Question::Chunk { .. } => Answer::Refused(Refusal::Unknown),
        }
    }
}
