//! Which transactions are taken, and what is said about those that are not.

use super::support::*;
use crate::{ExtrinsicError, TransactionSource, decode_extrinsic, extrinsic_hash};
use codec::{Compact, Encode};
use sp_runtime::{MultiAddress, generic::Preamble, transaction_validity::InvalidTransaction};
use x0_runtime::{ChainSignature, UncheckedExtrinsic};
use x0_types::{AccountId, Hash, account::UNIT};

fn refused(node: &Node, bytes: &[u8]) -> ExtrinsicError {
    node.executor.validate(bytes, TransactionSource::External).unwrap_err()
}

#[test]
fn an_admitted_transaction_says_what_the_mempool_needs() {
    let node = Node::new();
    let alice = signer("alice");
    let bytes = node.sign(&alice, 0, remark(b"x"));
    let first = node.admit(&bytes);
    assert_eq!((first.sender.clone(), first.nonce), (alice.account.clone(), 0));
    assert_eq!(first.hash, extrinsic_hash(&bytes));
    assert_eq!(first.bytes, bytes);
    assert_eq!(first.requires, Vec::<Vec<u8>>::new());
    let later = node.admit(&node.sign(&alice, 1, remark(b"y")));
    assert_eq!(later.requires, first.provides);
    assert_eq!(node.admit(&bytes).verified, first.verified, "known signatures are not verified again");
}

#[test]
fn each_kind_of_bad_transaction_has_its_error() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    node.advance(&[node.sign(&alice, 0, remark(b"x"))]);
    let invalid = ExtrinsicError::Invalid;

    let replayed = node.sign(&alice, 0, remark(b"x"));
    assert_eq!(refused(&node, &replayed), invalid(InvalidTransaction::Stale));
    let other_chain = alice.sign(Hash::repeat_byte(1), 1, remark(b"x"));
    assert_eq!(refused(&node, &other_chain), invalid(InvalidTransaction::BadProof));
    let stranger = signer("nobody");
    let unpayable = node.sign(&stranger, 0, remark(b"x"));
    assert_eq!(refused(&node, &unpayable), invalid(InvalidTransaction::Payment));
    let stolen = Signer { account: alice.account.clone(), ..bob };
    assert_eq!(refused(&node, &node.sign(&stolen, 1, remark(b"x"))), invalid(InvalidTransaction::BadProof));

    let bare = UncheckedExtrinsic::new_bare(remark(b"x")).encode();
    assert_eq!(refused(&node, &bare), ExtrinsicError::NotSigned);
    let time = UncheckedExtrinsic::new_bare(pallet_timestamp::Call::set { now: 1 }.into()).encode();
    assert_eq!(refused(&node, &time), ExtrinsicError::NotSigned);
    let general = UncheckedExtrinsic::new_transaction(remark(b"x"), extension(1)).encode();
    assert_eq!(refused(&node, &general), ExtrinsicError::NotSigned);
}

/// The placeholder variants never verify, whatever bytes they carry.
#[test]
fn placeholder_signatures_never_verify() {
    let node = Node::new();
    let alice = signer("alice");
    for signature in
        [ChainSignature::Ed25519([1; 64]), ChainSignature::Sr25519([1; 64]), ChainSignature::Ecdsa([1; 65])]
    {
        let bytes = UncheckedExtrinsic::new_signed(
            remark(b"x"),
            MultiAddress::Id(alice.account.clone()),
            signature,
            extension(0),
        )
        .encode();
        assert_eq!(refused(&node, &bytes), ExtrinsicError::Invalid(InvalidTransaction::BadProof));
    }
}

/// Every changed byte of a transaction makes it invalid or another transaction of nobody.
#[test]
fn no_byte_of_a_transaction_can_be_changed() {
    let node = Node::new();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let bytes = node.sign(&alice, 0, transfer(&bob.account, UNIT));
    let places = (0..64).chain((64..bytes.len() - 64).step_by(97)).chain(bytes.len() - 64..bytes.len());
    for place in places {
        let mut changed = bytes.to_vec();
        changed[place] ^= 1;
        assert!(node.executor.validate(&changed, TransactionSource::External).is_err(), "byte {place}");
    }
}

/// Signers are named by account id only, and bytes that decode to the same thing as others are not
/// a second name for it.
#[test]
fn there_is_one_encoding_of_a_transaction() {
    let node = Node::new();
    let alice = signer("alice");
    let good = node.sign(&alice, 0, remark(b"x"));
    let decoded = decode_extrinsic(&good).unwrap();
    assert_eq!(decoded.encode(), good);
    let Preamble::Signed(_, signature, extension) = decoded.preamble else { panic!() };
    let address: MultiAddress<AccountId, ()> = MultiAddress::Address32(*alice.account.as_ref());
    let named = UncheckedExtrinsic::new_signed(remark(b"x"), address, signature, extension).encode();
    assert_eq!(refused(&node, &named), ExtrinsicError::SignerForm);

    let mut longer = good.to_vec();
    longer.push(0);
    assert!(matches!(refused(&node, &longer), ExtrinsicError::Undecodable { .. }));
    // The length prefix in a wider form than needed.
    let inner = &good[Compact(u32::try_from(good.len()).unwrap()).encode().len()..];
    let length = u32::try_from(inner.len()).unwrap();
    let wide: Vec<u8> = ((length << 2) | 0b10).to_le_bytes().into_iter().chain(inner.iter().copied()).collect();
    assert!(matches!(refused(&node, &wide), ExtrinsicError::Undecodable { .. } | ExtrinsicError::NotCanonical));
}
