//! The runtime's own chain: blocks of signed transactions over a state in memory.

use crate::{
    ChainSignature, Executive, Header, Runtime, RuntimeCall, RuntimeEvent, SignedPayload, System, TxExtension,
    UncheckedExtrinsic, genesis, presets,
};
use codec::{Decode, Encode};
use frame_support::storage::{TransactionOutcome, with_transaction};
use serde_json::{Value, json};
use sp_runtime::{
    ApplyExtrinsicResult, Digest, DigestItem, DispatchError, MultiAddress, generic::Era, traits::Header as _,
    transaction_validity::TransactionValidityError,
};
use sp_storage::Storage;
use x0_crypto::{SigningKey, dev};
use x0_types::{AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature, Moment, Nonce};

const T0: Moment = 1_800_000_000_000;

pub struct Chain {
    ext: sp_io::TestExternalities,
    pub genesis: Hash,
    head: Hash,
    pub height: u32,
}

/// An account and its key.
#[derive(Clone)]
pub struct Signer {
    pub account: AccountId,
    pub key: SigningKey,
}

pub fn signer(name: &str) -> Signer {
    let key = SigningKey::from_seed(&dev::seed(name, "account")).unwrap();
    let account = MlDsa65PublicKey(key.public().clone().to_boxed()).account_id();
    Signer { account, key }
}

/// The controller of a validator of the preset `local`.
pub fn controller(n: usize) -> Signer {
    signer(presets::LOCAL_VALIDATORS[n])
}

fn config(preset: &str, validators: &[&str]) -> Value {
    let validators: Vec<_> = validators.iter().map(|name| presets::dev_validator(name).unwrap()).collect();
    presets::complete([
        presets::preset(preset).unwrap().unwrap(),
        presets::validators_patch(&validators),
        presets::time_patch(T0 - 1_000, 1_000),
    ])
    .unwrap()
}

impl Chain {
    /// The development chain, with a superuser.
    pub fn dev() -> Self {
        Self::start(&config("dev", &[presets::DEV_VALIDATOR]))
    }

    /// Four validators and nobody above them.
    pub fn local() -> Self {
        Self::start(&config("local", presets::LOCAL_VALIDATORS))
    }

    /// As [`Chain::local`], but begun under a later version of the rules.
    pub fn begun_under(spec_version: u32) -> Self {
        let mut config = config("local", presets::LOCAL_VALIDATORS);
        presets::merge(&mut config, json!({ "network": { "specVersion": spec_version } }));
        Self::start(&config)
    }

    fn start(config: &Value) -> Self {
        let built = genesis::build(config).unwrap();
        let top = built.entries.into_iter().collect();
        let mut ext = sp_io::TestExternalities::from(Storage { top, ..Storage::default() });
        // The genesis hash enters the state as the first block begins, as on every chain.
        ext.execute_with(crate::check_invariants).unwrap();
        Self { ext, genesis: built.hash, head: built.hash, height: 0 }
    }

    pub fn read<R>(&mut self, read: impl FnOnce() -> R) -> R {
        self.ext.execute_with(read)
    }

    /// Makes one block. Transactions that may not stand in it are left out with their reason.
    pub fn block(&mut self, transactions: Vec<UncheckedExtrinsic>) -> Vec<ApplyExtrinsicResult> {
        self.height += 1;
        let (height, parent) = (self.height, self.head);
        let proposer = DigestItem::PreRuntime(x0_types::account::PROPOSER_ENGINE_ID, controller(0).account.encode());
        let digest = Digest { logs: vec![proposer] };
        let header = Header::new(height, Hash::zero(), Hash::zero(), parent, digest);
        let (results, header) = self.ext.execute_with(|| {
            Executive::initialize_block(&header);
            let now = T0 + u64::from(height) * 150;
            let inherent = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now });
            Executive::apply_extrinsic(UncheckedExtrinsic::new_bare(inherent)).unwrap().unwrap();
            let results = transactions.into_iter().map(apply).collect();
            (results, Executive::finalize_block())
        });
        self.head = header.hash();
        self.ext.execute_with(crate::check_invariants).unwrap();
        results
    }

    /// Makes empty blocks up to a height.
    pub fn advance_to(&mut self, height: u32) {
        while self.height < height {
            self.block(Vec::new());
        }
    }

    /// Makes a block with one call of this signer, which must enter it.
    pub fn call(&mut self, who: &Signer, call: impl Into<RuntimeCall>) -> Result<(), DispatchError> {
        let transaction = self.sign(who, call);
        self.block(vec![transaction]).pop().unwrap().unwrap()
    }

    /// Signs with the account's next nonce.
    pub fn sign(&mut self, who: &Signer, call: impl Into<RuntimeCall>) -> UncheckedExtrinsic {
        let nonce = self.nonce(&who.account);
        self.sign_with(who, nonce, call)
    }

    pub fn sign_with(&mut self, who: &Signer, nonce: Nonce, call: impl Into<RuntimeCall>) -> UncheckedExtrinsic {
        let call = call.into();
        let spec_version = self.read(|| crate::apis::version().spec_version);
        let implicit = ((), spec_version, 1, self.genesis, self.genesis, (), (), (), ());
        let payload = SignedPayload::from_raw(call.clone(), extension(nonce), implicit).encode();
        let signature = who.key.sign_transaction(&payload).unwrap();
        let signature = ChainSignature::MlDsa65 {
            public: MlDsa65PublicKey(who.key.public().clone().to_boxed()),
            signature: MlDsa65Signature(signature.to_boxed()),
        };
        let address = MultiAddress::Id(who.account.clone());
        let signed = UncheckedExtrinsic::new_signed(call, address, signature, extension(nonce));
        // As it would arrive from another node.
        UncheckedExtrinsic::decode(&mut &signed.encode()[..]).unwrap()
    }

    pub fn nonce(&mut self, account: &AccountId) -> Nonce {
        self.read(|| crate::apis::account_nonce(account.clone()))
    }

    /// Events of the last block.
    pub fn events(&mut self) -> Vec<RuntimeEvent> {
        self.read(|| System::events().into_iter().map(|record| record.event).collect())
    }
}

/// Applies a transaction; what may not stand in the block leaves nothing behind, as in the executor.
fn apply(transaction: UncheckedExtrinsic) -> ApplyExtrinsicResult {
    let outcome: Result<_, DispatchError> = with_transaction(|| match Executive::apply_extrinsic(transaction) {
        Ok(result) => TransactionOutcome::Commit(Ok(Ok(result))),
        Err(invalid) => TransactionOutcome::Rollback(Ok::<_, DispatchError>(Err::<
            Result<(), DispatchError>,
            TransactionValidityError,
        >(invalid))),
    });
    outcome.unwrap()
}

fn extension(nonce: Nonce) -> TxExtension {
    (
        frame_system::CheckNonZeroSender::<Runtime>::new(),
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
