//! What the composition promises: room in a block, metadata that wallets read, fees; and, on a chain
//! of its own, nonces, upgrades and what validators decide.

mod ballots;
mod chain;
mod decisions;
mod nonces;
mod proxies;
mod upgrades;

use crate::{Balance, Runtime, RuntimeCall, SignedPayload, UncheckedExtrinsic, configs::system};
use codec::Encode;
use frame_support::{
    dispatch::{DispatchClass, GetDispatchInfo},
    traits::Get,
    weights::{Weight, WeightToFee},
};
use scale_info::{PortableRegistry, TypeDef};
use sp_runtime::{MultiAddress, generic::Era};
use x0_types::account::UNIT;

fn transfer() -> RuntimeCall {
    let dest = MultiAddress::Id(crate::AccountId::new([1; 32]));
    pallet_balances::Call::transfer_keep_alive { dest, value: UNIT }.into()
}

/// Weight of a transfer with everything around it.
fn transfer_weight() -> Weight {
    let extension: crate::TxExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(Era::Immortal),
        frame_system::CheckNonce::from(0),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_system::WeightReclaim::new(),
    );
    let call = transfer();
    let extension_weight = sp_runtime::traits::TransactionExtension::weight(&extension, &call);
    let base = system::Weights::get().get(DispatchClass::Normal).base_extrinsic;
    base + call.get_dispatch_info().call_weight + extension_weight
}

/// One block has room for more transfers than the goal of 5,000 in a second.
#[test]
fn a_block_holds_more_than_5000_transfers() {
    let limit = system::Weights::get().get(DispatchClass::Normal).max_total.unwrap();
    let count = limit.ref_time() / transfer_weight().ref_time();
    assert!(count > 5_000, "{count} transfers of {} ps", transfer_weight().ref_time());
}

/// A transfer with its post-quantum signature costs some thousandths of an X0T.
#[test]
fn a_transfer_costs_thousandths() {
    type Payment = <Runtime as pallet_transaction_payment::Config>::WeightToFee;
    let weight_fee: Balance = Payment::weight_to_fee(&transfer_weight());
    let length_fee = 5_400 * crate::configs::money::FEE_PER_BYTE;
    let fee = weight_fee + length_fee;
    assert!((UNIT / 1_000..UNIT / 100).contains(&fee), "{fee} base units");
}

/// polkadot.js refuses metadata with arrays of more than 2,048 elements.
#[test]
fn metadata_has_no_array_that_wallets_refuse() {
    let mut registry = scale_info::Registry::new();
    registry.register_type(&scale_info::meta_type::<UncheckedExtrinsic>());
    registry.register_type(&scale_info::meta_type::<RuntimeCall>());
    registry.register_type(&scale_info::meta_type::<crate::RuntimeEvent>());
    registry.register_type(&scale_info::meta_type::<crate::ChainSignature>());
    let registry = PortableRegistry::from(registry);
    assert!(registry.types.len() > 100);
    for entry in &registry.types {
        if let TypeDef::Array(array) = &entry.ty.type_def {
            assert!(array.len <= 2_048, "{:?} has {} elements", entry.ty.path, array.len);
        }
    }
}

/// The first three variants keep the names and sizes that wallets need, and the two real ones keep
/// their places: a changed index would make every wallet's signature something else.
#[test]
fn signature_variants_keep_their_bytes() {
    use crate::ChainSignature as Signature;
    use x0_types::{MlDsa65PublicKey, MlDsa65Signature};
    let public = MlDsa65PublicKey(Box::new([2; x0_types::key::PUBLIC_KEY_BYTES]));
    let signature = MlDsa65Signature(Box::new([3; x0_types::key::SIGNATURE_BYTES]));
    for (signature, index, length) in [
        (Signature::Ed25519([1; 64]), 0, 65),
        (Signature::Sr25519([1; 64]), 1, 65),
        (Signature::Ecdsa([1; 65]), 2, 66),
        (Signature::MlDsa65 { public, signature: signature.clone() }, 3, 1 + 1952 + 3309),
        (Signature::MlDsa65Registered { signature }, 4, 1 + 3309),
    ] {
        let bytes = signature.encode();
        assert_eq!((bytes[0], bytes.len()), (index, length));
    }
}

/// A payload of more than 256 bytes is replaced by its hash, as wallets do it.
#[test]
fn long_payloads_are_hashed() {
    let extension = || {
        (
            frame_system::CheckNonZeroSender::<Runtime>::new(),
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
    let implicit = ((), 1, 1, crate::Hash::zero(), crate::Hash::zero(), (), (), (), ());
    let call: RuntimeCall = frame_system::Call::remark { remark: vec![0; 300] }.into();
    let raw = (&call, extension(), implicit).encode();
    assert!(raw.len() > 256);
    let payload = SignedPayload::from_raw(call, extension(), implicit).encode();
    assert_eq!(payload, sp_io::hashing::blake2_256(&raw));
}
