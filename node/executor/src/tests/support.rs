//! A node's executor over a temporary database, and transactions to feed it.

use crate::{Admitted, Executed, Executor, Options, TransactionSource, executor::Dispatcher};
use bytes::Bytes;
use codec::Encode;
use serde_json::{Value, json};
use sp_runtime::{MultiAddress, generic::Era};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use x0_crypto::{SigningKey, dev};
use x0_runtime::{
    ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION,
    presets::{self, DEV_VALIDATOR},
};
use x0_storage::{Database, FatalHandler, OpenOptions};
use x0_types::{AccountId, Balance, Hash, MlDsa65PublicKey, MlDsa65Signature, Nonce};

/// The time of the first test block.
pub(crate) const T0: u64 = 1_800_000_000_000;

pub(crate) struct Node {
    pub(crate) executor: Executor,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn genesis() -> Value {
    let validator = presets::dev_validator(DEV_VALIDATOR).unwrap();
    presets::complete([
        presets::preset("dev").unwrap().unwrap(),
        presets::validators_patch(&[validator]),
        presets::time_patch(T0 - 1_000, 1_000),
    ])
    .unwrap()
}

/// Storage errors in tests that do not expect any must not pass for anything else.
pub(crate) fn loud() -> OpenOptions {
    OpenOptions { fatal: FatalHandler::new(|error| panic!("storage: {error}")), ..OpenOptions::default() }
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with_genesis(&genesis())
    }

    pub(crate) fn with_genesis(genesis: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), loud()).unwrap();
        let executor = Executor::new(database, genesis, Options::default()).unwrap();
        Self { executor, dir }
    }

    pub(crate) fn with_dispatcher(dispatcher: impl Dispatcher + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), loud()).unwrap();
        let executor =
            Executor::with_dispatcher(database, &genesis(), Options::default(), Box::new(dispatcher)).unwrap();
        Self { executor, dir }
    }

    /// Admits and builds, without committing.
    pub(crate) fn build(&self, transactions: &[Bytes]) -> Executed {
        let admitted: Vec<_> = transactions.iter().map(|bytes| Arc::new(self.admit(bytes))).collect();
        self.build_admitted(admitted)
    }

    pub(crate) fn build_admitted(&self, admitted: Vec<Arc<Admitted>>) -> Executed {
        let head = self.executor.head();
        let deadline = Instant::now() + Duration::from_secs(600);
        let time = T0.max(head.timestamp_ms + 1);
        self.executor.build_block(head.hash, time, proposer(), admitted.into_iter(), deadline).unwrap()
    }

    pub(crate) fn admit(&self, bytes: &Bytes) -> Admitted {
        self.executor.validate(bytes, TransactionSource::External).unwrap()
    }

    /// Builds, checks that nothing was rejected, commits, and checks the invariants of all pallets.
    pub(crate) fn advance(&self, transactions: &[Bytes]) -> Executed {
        let executed = self.build(transactions);
        assert_eq!(executed.rejected, vec![]);
        assert_eq!(executed.body.len(), transactions.len() + 1, "every transaction is in the block");
        let replayed = self.executor.replay_block(&executed.encoded).unwrap();
        self.executor.commit(replayed, vec![1]).unwrap();
        self.check();
        executed
    }

    pub(crate) fn check(&self) {
        let head = self.executor.head().hash;
        self.executor.with_state(head, x0_runtime::check_invariants).unwrap().unwrap();
    }

    pub(crate) fn read<R>(&self, f: impl FnOnce() -> R) -> R {
        self.executor.with_state(self.executor.head().hash, f).unwrap()
    }

    pub(crate) fn balance(&self, account: &AccountId) -> Balance {
        self.read(|| x0_runtime::Balances::free_balance(account))
    }

    pub(crate) fn nonce(&self, account: &AccountId) -> Nonce {
        self.read(|| x0_runtime::System::account_nonce(account))
    }

    pub(crate) fn sign(&self, signer: &Signer, nonce: Nonce, call: RuntimeCall) -> Bytes {
        signer.sign(self.executor.genesis_hash(), nonce, call)
    }
}

pub(crate) fn proposer() -> AccountId {
    presets::dev_account(DEV_VALIDATOR).unwrap()
}

/// An account and the key that signs for it.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) account: AccountId,
    pub(crate) key: SigningKey,
    pub(crate) registered: bool,
}

pub(crate) fn signer(name: &str) -> Signer {
    let key = key(name, "account");
    Signer { account: public(&key).account_id(), key, registered: false }
}

pub(crate) fn key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).unwrap()
}

pub(crate) fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(key.public().clone().to_boxed())
}

pub(crate) fn extension(nonce: Nonce) -> TxExtension {
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

/// What a wallet signs, computed without any state, for an era that begins with the block of this hash.
fn payload(genesis: Hash, (era, birth): (Era, Hash), nonce: Nonce, call: RuntimeCall) -> Vec<u8> {
    let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, birth, (), (), (), ());
    SignedPayload::from_raw(call, mortal(extension(nonce), era), implicit).encode()
}

fn mortal(mut extension: TxExtension, era: Era) -> TxExtension {
    extension.4 = frame_system::CheckMortality::from(era);
    extension
}

impl Signer {
    pub(crate) fn sign(&self, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> Bytes {
        self.sign_in(genesis, (Era::Immortal, genesis), nonce, call)
    }

    pub(crate) fn sign_in(&self, genesis: Hash, era: (Era, Hash), nonce: Nonce, call: RuntimeCall) -> Bytes {
        let payload = payload(genesis, era, nonce, call.clone());
        let signature = if self.registered {
            let signature = self.key.sign_transaction_registered(&payload).unwrap();
            ChainSignature::MlDsa65Registered { signature: MlDsa65Signature(signature.to_boxed()) }
        } else {
            let signature = self.key.sign_transaction(&payload).unwrap();
            ChainSignature::MlDsa65 { public: public(&self.key), signature: MlDsa65Signature(signature.to_boxed()) }
        };
        let address = MultiAddress::Id(self.account.clone());
        let extension = mortal(extension(nonce), era.0);
        Bytes::from(UncheckedExtrinsic::new_signed(call, address, signature, extension).encode())
    }
}

pub(crate) fn transfer(to: &AccountId, value: Balance) -> RuntimeCall {
    pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(to.clone()), value }.into()
}

pub(crate) fn remark(bytes: &[u8]) -> RuntimeCall {
    frame_system::Call::remark { remark: bytes.to_vec() }.into()
}

pub(crate) fn batch(calls: Vec<RuntimeCall>) -> RuntimeCall {
    pallet_utility::Call::batch { calls }.into()
}

pub(crate) fn sudo(call: RuntimeCall) -> RuntimeCall {
    pallet_sudo::Call::sudo { call: Box::new(call) }.into()
}

/// The dev network without the right to sudo.
pub(crate) fn live_genesis() -> Value {
    let mut config = genesis();
    presets::merge(&mut config, json!({ "network": { "development": false } }));
    config
}
