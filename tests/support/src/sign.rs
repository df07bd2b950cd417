//! Accounts of development chains, and transactions signed with the runtime's own types.

use crate::rpc;
use codec::Encode as _;
use jsonrpsee::ws_client::WsClient;
use serde_json::json;
use sp_runtime::generic::Era;
use x0_crypto::{SigningKey, dev};
use x0_runtime::{ChainSignature, RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION};
use x0_types::{AccountId, Hash, MlDsa65PublicKey, MlDsa65Signature, Nonce, account::UNIT};

/// A development key.
#[must_use]
pub fn key(name: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(&dev::seed(name, role)).expect("a key")
}

/// A key's public half as it stands on chain.
#[must_use]
pub fn public(key: &SigningKey) -> MlDsa65PublicKey {
    MlDsa65PublicKey(key.public().clone().to_boxed())
}

/// A development account's id.
#[must_use]
pub fn account(name: &str) -> AccountId {
    public(&key(name, "account")).account_id()
}

/// What a wallet adds to a call: a transaction that is valid for ever, without a tip.
#[must_use]
pub fn extension(nonce: Nonce) -> TxExtension {
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

/// The bytes that are signed.
#[must_use]
pub fn payload(genesis: Hash, nonce: Nonce, call: RuntimeCall) -> Vec<u8> {
    let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
    SignedPayload::from_raw(call, extension(nonce), implicit).encode()
}

/// An account with its key.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The key.
    pub key: SigningKey,
    /// The account.
    pub account: AccountId,
}

impl Signer {
    /// A development account by its name.
    #[must_use]
    pub fn dev(name: &str) -> Self {
        Self { key: key(name, "account"), account: account(name) }
    }

    /// A signed transaction.
    #[must_use]
    pub fn extrinsic(&self, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> UncheckedExtrinsic {
        let signature = self.key.sign_transaction(&payload(genesis, nonce, call.clone())).expect("a signature");
        let signature =
            ChainSignature::MlDsa65 { public: public(&self.key), signature: MlDsa65Signature(signature.to_boxed()) };
        UncheckedExtrinsic::new_signed(call, self.account.clone().into(), signature, extension(nonce))
    }

    /// A signed transaction as `0x` hex.
    #[must_use]
    pub fn sign(&self, genesis: Hash, nonce: Nonce, call: RuntimeCall) -> String {
        x0_rpc_types::bytes::to_hex(&self.extrinsic(genesis, nonce, call).encode())
    }
}

/// A transfer of whole tokens.
#[must_use]
pub fn transfer(to: &AccountId, tokens: u128) -> RuntimeCall {
    RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest: to.clone().into(), value: tokens * UNIT })
}

/// Genesis hash of the node behind a client.
pub async fn genesis(client: &WsClient) -> Hash {
    serde_json::from_value(rpc::ask(client, "chain_getBlockHash", json!([0])).await).expect("a hash")
}

/// Sends a transaction and waits until it is final; returns the block.
pub async fn finalise(client: &WsClient, extrinsic: &str) -> Hash {
    serde_json::from_value(rpc::finalise_text(client, extrinsic).await.into()).expect("a hash")
}
