//! Keys and pre-signed transfers.

use crate::account::AccountKey;
use anyhow::{Context, Result};
use codec::Encode;
use rayon::prelude::*;
use sp_runtime::{MultiAddress, generic::Era};
use x0_runtime::{RuntimeCall, SignedPayload, TxExtension, UncheckedExtrinsic, VERSION};
use x0_types::{AccountId, Hash};

/// A funded account of the load.
#[derive(Clone, Debug)]
pub struct Sender {
    key: AccountKey,
    /// Its account.
    pub account: AccountId,
}

impl Sender {
    /// The holder of the key that belongs to a seed.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self> {
        let key = AccountKey::from_seed(seed)?;
        Ok(Self { account: key.account(), key })
    }

    /// A development account, funded by the development preset and by `testnet --development-accounts`.
    pub fn development(name: &str) -> Result<Self> {
        Self::from_seed(*x0_crypto::dev::seed(name, "account").expose())
    }
}

/// A signed transfer, ready to be sent.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Hash of the extrinsic's bytes.
    pub hash: Hash,
    /// The request that submits it: JSON-RPC, with the extrinsic in hex.
    pub request: String,
}

/// What stands before and after the extrinsic's hex in a request.
const REQUEST: [&str; 2] =
    ["{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"author_submitExtrinsic\",\"params\":[\"", "\"]}"];

impl Transfer {
    /// The extrinsic in hex with prefix, as JSON-RPC takes it.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.request.strip_prefix(REQUEST[0]).and_then(|rest| rest.strip_suffix(REQUEST[1])).unwrap_or_default()
    }

    /// The encoded extrinsic.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        hex::decode(self.hex().trim_start_matches("0x")).context("hex")
    }
}

/// Derives `count` senders; the same every time.
pub fn senders(count: usize) -> Result<Vec<Sender>> {
    (0..count)
        .into_par_iter()
        .map(|index| Sender::from_seed(x0_crypto::blake2b_256(format!("x0/load/v1/{index}").as_bytes())))
        .collect()
}

/// One transfer from each sender in `from`, to another sender chosen by a fixed permutation.
pub fn sign_all(senders: &[Sender], nonces: impl Fn(usize) -> u32 + Sync, genesis: Hash) -> Result<Vec<Transfer>> {
    (0..senders.len())
        .into_par_iter()
        .map(|index| {
            let to = &senders[(index * 7_919 + 1) % senders.len()].account;
            sign(&senders[index], to, 1_000_000_000, nonces(index), genesis)
        })
        .collect()
}

/// Signs one transfer with the key inline.
pub fn sign(from: &Sender, to: &AccountId, amount: u128, nonce: u32, genesis: Hash) -> Result<Transfer> {
    let dest = MultiAddress::Id(to.clone());
    sign_call(from, pallet_balances::Call::transfer_keep_alive { dest, value: amount }.into(), nonce, genesis)
}

/// Signs any call with the key inline.
pub fn sign_call(from: &Sender, call: RuntimeCall, nonce: u32, genesis: Hash) -> Result<Transfer> {
    let extension: TxExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_system::WeightReclaim::new(),
    );
    let implicit = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), (), ());
    let payload = SignedPayload::from_raw(call, extension, implicit);
    let signature = payload.using_encoded(|bytes| from.key.sign(bytes))?;
    let (call, extension, _) = payload.deconstruct();
    let extrinsic = UncheckedExtrinsic::new_signed(call, MultiAddress::Id(from.account.clone()), signature, extension);
    let bytes = extrinsic.encode();
    let hash = Hash::from(x0_crypto::blake2b_256(&bytes));
    Ok(Transfer { hash, request: format!("{}0x{}{}", REQUEST[0], hex::encode(&bytes), REQUEST[1]) })
}
