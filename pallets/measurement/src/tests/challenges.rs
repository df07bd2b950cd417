//! Receipts on demand.

use super::equals;
use crate::{Challenges, Error, Event, HoldReason, MeasuringTerms, OpenChallenges, Parameters, mock::*};
use frame_support::{
    assert_noop, assert_ok,
    dispatch::GetDispatchInfo as _,
    pallet_prelude::Pays,
    traits::fungible::{Inspect as _, InspectHold as _},
};
use x0_types::{
    AccountId, Balance, Hash, MlDsa65Signature,
    market::{Meter as _, Observation, Slot, pack_observations},
    merkle,
    probe::{Receipt, SignedReceipt},
    receipt::{ReceiptProof, bound_nonce, report_commitment},
};

const BLIND: [u8; 32] = [6; 32];

/// The receipt of node `n` for a probe of validator `v`, signed with the key of `signer`.
fn receipt(v: u8, n: u8, slot: Slot, signer: &AccountId) -> SignedReceipt {
    let nonce = bound_nonce(&validator(v), slot, &node(n), &BLIND);
    let (prober, admissions) = (Hash::repeat_byte(1), Hash::zero());
    let receipt = Receipt { node: node(n), slot, nonce, prober, admissions, agent_time_ms: 7 };
    let genesis = System::block_hash(0).0;
    let signature = key_of(signer).sign_receipt(&genesis, &receipt.signed_body()).unwrap();
    SignedReceipt { receipt, signature: MlDsa65Signature(signature.to_boxed()) }
}

/// Reports nodes 1 and 2 up with receipts by the keys of `signers`, as validator `v`, and closes the slot.
fn report_with_receipts(v: u8, others: &[u8], slot: Slot, signers: [&AccountId; 2]) -> Vec<ReceiptProof> {
    let signed: Vec<_> = (1u8..).zip(signers).map(|(n, signer)| receipt(v, n, slot, signer)).collect();
    let leaves: Vec<_> = (0u32..).zip(&signed).map(|(index, signed)| merkle::leaf(index, &BLIND, signed)).collect();
    let (root, packed) = (merkle::root(&leaves), pack_observations(&[Observation::Up, Observation::Up]));
    let hash = report_commitment(&validator(v), slot, &packed, &root, &SALT);
    block(time_in(slot), || {
        commit(reporter(v), slot, hash).unwrap();
        for other in others {
            report(*other, slot, &[Observation::Up, Observation::Up]).unwrap();
        }
    });
    go_to(slot + 2);
    block(time_in(slot + 2), || reveal(reporter(v), slot, packed, root).unwrap());
    go_to(slot + 3);
    let proofs = (0u32..).zip(signed);
    proofs
        .map(|(place, signed)| ReceiptProof { blind: BLIND, signed, path: merkle::prove(&leaves, place).unwrap() })
        .collect()
}

fn with_report(test: impl FnOnce(Vec<ReceiptProof>)) {
    run(&equals(1), || {
        for n in 1..=2 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        // The second receipt is forged.
        test(report_with_receipts(1, &[], 5, [&node(1), &stranger()]));
    });
}

fn challenge(who: AccountId, n: u8) -> frame_support::dispatch::DispatchResult {
    Measurement::challenge(RuntimeOrigin::signed(who), 5, validator(1), node(n))
}

fn held(who: &AccountId) -> Balance {
    Balances::balance_on_hold(&HoldReason::Challenge.into(), who)
}

/// M17: a claim with a receipt is proved, and who asked in vain pays the one it asked.
#[test]
fn a_receipt_that_is_asked_for_is_shown() {
    with_report(|proofs| {
        let (asker, deposit) = (challenger(1), Parameters::<Test>::get().challenge_deposit);
        assert_ok!(challenge(asker.clone(), 1));
        assert_eq!(held(&asker), deposit);
        assert_noop!(challenge(challenger(2), 1), Error::<Test>::AlreadyChallenged);
        let (number, wanted) = Measurement::challenges_of(&validator(1)).remove(0);
        assert_eq!((wanted.node, wanted.slot, wanted.index), (node(1), 5, 0));
        let answer = |proof: &ReceiptProof| {
            Measurement::answer_challenge(RuntimeOrigin::signed(reporter(1)), number, Box::new(proof.clone()))
        };
        let mut false_ones = vec![proofs[1].clone(), proofs[0].clone(), proofs[0].clone(), proofs[0].clone()];
        false_ones[1].blind = [0; 32];
        false_ones[2].signed.receipt.agent_time_ms += 1;
        false_ones[3].path.place = 1;
        for proof in false_ones {
            assert_eq!(answer(&proof).unwrap_err().error, Error::<Test>::ReceiptInvalid.into());
        }
        assert_eq!(answer(&proofs[0]).unwrap().pays_fee, Pays::No);
        assert_eq!(answer(&proofs[0]).unwrap_err().error, Error::<Test>::NoChallenge.into());
        assert_eq!((held(&asker), Balances::balance(&validator(1))), (0, deposit));
        assert_eq!(Measurement::conduct(&validator(1)).proved, 1);
    });
}

/// M17: a claim without a receipt is an offence that everybody sees, and the deposit comes back.
#[test]
fn a_receipt_that_cannot_be_shown_is_an_offence() {
    with_report(|proofs| {
        let asker = challenger(1);
        let before = Balances::balance(&asker);
        assert_ok!(challenge(asker.clone(), 2));
        let (number, _) = Measurement::challenges_of(&validator(1)).remove(0);
        // The leaf stands under the root, but the node did not sign it.
        let forged =
            Measurement::answer_challenge(RuntimeOrigin::signed(reporter(1)), number, Box::new(proofs[1].clone()));
        assert_eq!(forged.unwrap_err().error, Error::<Test>::ReceiptInvalid.into());
        go_to(8 + x0_limits::ANSWER_SLOTS);
        assert_eq!(Measurement::conduct(&validator(1)).unproven, 0, "there is still time");
        block(time_in(9 + x0_limits::ANSWER_SLOTS), || {});
        begin(time_in(9 + x0_limits::ANSWER_SLOTS));
        let seen = Event::Unproven { challenge: number, slot: 5, validator: validator(1), node: node(2) };
        assert!(System::events().iter().any(|record| record.event == RuntimeEvent::Measurement(seen.clone())));
        end();
        assert_eq!(Measurement::conduct(&validator(1)).unproven, 1);
        assert_eq!((held(&asker), Balances::balance(&asker)), (0, before));
        assert_eq!((OpenChallenges::<Test>::get().len(), Challenges::<Test>::iter().count()), (0, 0));
    });
}

/// A single proposer cannot keep an answer out until the time is over.
#[test]
fn an_answer_cannot_be_censored() {
    run(&equals(4), || {
        for n in 1..=2 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        let proofs = report_with_receipts(1, &[2, 3], 5, [&node(1), &node(2)]);
        Turns::set(vec![3]);
        block(time_in(8), || challenge(reporter(2), 1).unwrap());
        go_to(50);
        assert_eq!(OpenChallenges::<Test>::get().len(), 1, "one proposer of four makes all blocks");
        assert_ok!(Measurement::answer_challenge(RuntimeOrigin::signed(reporter(1)), 0, Box::new(proofs[0].clone())));
        assert_eq!(Measurement::conduct(&validator(1)).proved, 1);
        assert_eq!(Measurement::conduct(&validator(4)).missing, 1, "it did not report on slot 5");
    });
}

#[test]
fn validators_ask_without_a_deposit_and_within_bounds() {
    run(&equals(10), || {
        for n in 1..=12 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(5);
        block(time_in(5), || {
            for v in 1..=10 {
                report(v, 5, &[Observation::Up; 12]).unwrap();
            }
        });
        close(5);
        let ask = |who: AccountId, v, n| Measurement::challenge(RuntimeOrigin::signed(who), 5, validator(v), node(n));
        for n in 1..=4 {
            assert_ok!(ask(reporter(2), 1, n));
        }
        assert_noop!(ask(reporter(2), 1, 5), Error::<Test>::TooManyChallenges);
        for n in 5..=8 {
            assert_ok!(ask(challenger(1), 1, n));
        }
        assert_noop!(ask(challenger(2), 1, 9), Error::<Test>::TooManyChallenges);
        assert_eq!(held(&challenger(1)), 4 * x0_limits::CHALLENGE_DEPOSIT);
        let mut asked = 8;
        for v in 2..=10 {
            for n in 1..=8 {
                let outcome = ask(challenger(v % 9 + 1), v, n);
                assert_eq!(outcome.is_ok(), asked < x0_limits::CHALLENGES_OPEN_MAX, "{outcome:?}");
                asked += u32::from(outcome.is_ok());
            }
        }
        // All of them end, a bounded number in each block.
        go_to(9 + x0_limits::ANSWER_SLOTS);
        for _ in 0..16 {
            block(time_in(10 + x0_limits::ANSWER_SLOTS), || {});
        }
        assert_eq!(OpenChallenges::<Test>::get().len(), 0);
        let unproven: u64 = (1..=10).map(|v| Measurement::conduct(&validator(v)).unproven).sum();
        assert_eq!(unproven, u64::from(x0_limits::CHALLENGES_OPEN_MAX));
    });
}

#[test]
fn only_claims_that_were_made_about_nodes_with_an_old_key_can_be_asked_for() {
    run(&equals(2), || {
        for n in 1..=3 {
            Measurement::enrol(&node(n), &stranger()).unwrap();
        }
        go_to(3);
        go_to(5);
        let key_before = System::block_number() - 1;
        block(time_in(5), || {
            report(1, 5, &[Observation::Up, Observation::Down, Observation::Up]).unwrap();
            report(2, 5, &[]).unwrap();
        });
        assert_noop!(challenge(challenger(1), 1), Error::<Test>::NotProvable);
        close(5);
        assert_noop!(challenge(challenger(1), 2), Error::<Test>::NotClaimed);
        assert_noop!(challenge(challenger(1), 9), Error::<Test>::NodeNotMeasured);
        let of = |v, slot| Measurement::challenge(RuntimeOrigin::signed(challenger(1)), slot, validator(v), node(1));
        assert_noop!(of(2, 5), Error::<Test>::NotClaimed);
        assert_noop!(of(3, 5), Error::<Test>::NotProvable);
        assert_noop!(of(1, 4), Error::<Test>::NotProvable);
        // A node that changes its key after the probe cannot blame the validators.
        KeysSince::set([(node(1), key_before)].into());
        assert_noop!(challenge(challenger(1), 1), Error::<Test>::KeyTooYoung);
        KeysSince::set([(node(1), 1)].into());
        assert_ok!(challenge(challenger(1), 1));
        // A node that went and came back has another claim to its index.
        block(time_in(8), || {
            Measurement::dismiss(&node(3));
            Measurement::enrol(&node(3), &stranger()).unwrap();
        });
        assert_noop!(challenge(challenger(1), 3), Error::<Test>::NodeNotMeasured);
        assert_noop!(challenge(stranger(), 1), Error::<Test>::AlreadyChallenged);
        go_to(5 + x0_limits::CHALLENGE_SLOTS + 4);
        assert_noop!(of(1, 5), Error::<Test>::NotProvable);
    });
}

/// M30 in kind: governance changes what it has seen, within bounds, and open challenges keep their time.
#[test]
fn parameters_change_only_from_what_was_expected() {
    run(&equals(1), || {
        let old = MeasuringTerms::default();
        let new = MeasuringTerms { answer_slots: 20, ..old };
        let set = |expected, new| Measurement::set_parameters(RuntimeOrigin::root(), expected, new);
        assert_noop!(set(new, new), Error::<Test>::ParametersMismatch);
        for bad in [
            MeasuringTerms { answer_slots: 3, ..old },
            MeasuringTerms { answer_slots: 257, ..old },
            MeasuringTerms { challenge_deposit: 1, ..old },
            MeasuringTerms { challenge_deposit: Balance::MAX, ..old },
        ] {
            assert_noop!(set(old, bad), Error::<Test>::ParametersInvalid);
        }
        assert!(Measurement::set_parameters(RuntimeOrigin::signed(stranger()), old, new).is_err());
        assert_ok!(set(old, new));
        assert_eq!(Parameters::<Test>::get(), new);
        let call = crate::Call::<Test>::set_parameters { expected: old, new };
        assert!(call.get_dispatch_info().call_weight.ref_time() > 0);
    });
}
