//! What proves a contradiction, what does not, and what follows.

use crate::{Error, Event, Offences, PunishedUntil, mock::*};
use frame_support::{dispatch::Pays, pallet_prelude::DispatchResultWithPostInfo};
use proptest::prelude::*;
use sp_runtime::DispatchError;
use x0_crypto::SigningKey;
use x0_types::evidence::{Body, Evidence, Step};

const STEPS: [Step; 4] = [Step::Opening, Step::Proposal, Step::Prevote, Step::Precommit];

fn report(evidence: &Evidence) -> DispatchResultWithPostInfo {
    let result = Evidences::report(RuntimeOrigin::signed(account(77)), Box::new(evidence.clone()));
    check();
    result
}

fn fails(evidence: &Evidence, expected: Error<Test>) {
    let error = report(evidence).unwrap_err();
    assert_eq!(error.error, DispatchError::from(expected));
    assert_ne!(error.post_info.pays_fee, Pays::No, "what is refused is paid for");
}

fn set_at(height: u32) -> Vec<u8> {
    let first_byte = |one: x0_types::AccountId| <[u8; 32]>::from(one)[0];
    Validators::set_at(height).into_iter().map(|one| first_byte(one.controller)).collect()
}

#[test]
fn a_contradiction_in_any_step_costs_the_power_once() {
    for step in STEPS {
        run(&[1, 2, 3, 4], || {
            let proof = evidence(2, 0, step, PLACE);
            assert_eq!(report(&proof).unwrap().pays_fee, Pays::No);
            assert_eq!((set_at(11), set_at(12)), (vec![1, 2, 3, 4], vec![1, 3, 4]));
            let event = Event::Equivocation {
                validator: account(2),
                height: PLACE.0,
                round: PLACE.1,
                step,
                reporter: account(77),
                barred: true,
            };
            System::assert_has_event(event.into());
            let offences = Offences::<Test>::get(account(2));
            assert_eq!(offences.len(), 1);
            assert_eq!((offences[0].height, offences[0].step, offences[0].barred), (PLACE.0, step, true));
            fails(&proof, Error::AlreadyPunished);
            // The other order, another round and another step are the same lapse.
            let turned = Evidence { first: proof.second.clone(), second: proof.first.clone(), ..proof };
            fails(&turned, Error::AlreadyPunished);
            fails(&evidence(2, 0, Step::Prevote, (8, 0)), Error::AlreadyPunished);
            jump(10, 12);
            fails(&evidence(2, 0, Step::Prevote, (11, 0)), Error::AlreadyPunished);
            assert_eq!(set_at(12), vec![1, 3, 4]);
            assert_eq!(Offences::<Test>::iter().count(), 1, "nobody else is blamed");
        });
    }
}

#[test]
fn what_is_no_proof_is_refused_by_its_reason() {
    run(&[1, 2, 3, 4], || {
        let good = evidence(2, 0, Step::Prevote, PLACE);
        let change = |alter: &dyn Fn(&mut Evidence)| {
            let mut changed = good.clone();
            alter(&mut changed);
            changed
        };
        let (own, other) = (key(2, 0), key(3, 0));
        let said = |key: &SigningKey, place, content| signed(key, &says(key, Step::Prevote, place, content));
        fails(&change(&|e| e.second = e.first.clone()), Error::NoContradiction);
        fails(&change(&|e| e.second = said(&own, (9, 3), 1)), Error::OtherPlace);
        fails(&change(&|e| e.second = said(&own, (8, 2), 1)), Error::OtherPlace);
        fails(&change(&|e| e.round = 3), Error::OtherPlace);
        fails(&change(&|e| e.height = 8), Error::OtherPlace);
        fails(&change(&|e| e.step = Step::Precommit), Error::NotAStatement);
        fails(&change(&|e| e.step = Step::Opening), Error::NotAStatement);
        fails(&change(&|e| e.second.body = Body::default()), Error::NotAStatement);
        fails(&change(&|e| e.second.signature.0[100] ^= 1), Error::SignatureInvalid);
        fails(&change(&|e| core::mem::swap(&mut e.first.signature, &mut e.second.signature)), Error::SignatureInvalid);
        // Two validators that disagree contradict nobody.
        fails(&change(&|e| e.second = said(&other, PLACE, 1)), Error::NoContradiction);
        // What one signed is not another one's guilt.
        fails(&change(&|e| e.validator = account(3)), Error::SignatureInvalid);
        fails(&change(&|e| e.validator = account(5)), Error::NotValidatorThen);
        // The same words on another chain are no contradiction on this one.
        let foreign = signed_on(&[7; 32], &own, &says(&own, Step::Prevote, PLACE, 1));
        fails(&change(&|e| e.second = foreign.clone()), Error::SignatureInvalid);
        // One signs in the name of another.
        let forged = signed(&other, &says(&own, Step::Prevote, PLACE, 1));
        fails(&change(&|e| e.second = forged.clone()), Error::SignatureInvalid);
        assert_eq!(Offences::<Test>::iter().count() + PunishedUntil::<Test>::iter().count(), 0);
        assert_eq!(set_at(12), vec![1, 2, 3, 4]);
    });
}

#[test]
fn heights_of_the_future_and_of_long_ago_do_not_count() {
    run(&[1, 2], || {
        fails(&evidence(2, 0, Step::Prevote, (11, 0)), Error::HeightInFuture);
        fails(&evidence(2, 0, Step::Prevote, (u32::MAX, 0)), Error::HeightInFuture);
        let far = PLACE.0 + x0_limits::EVIDENCE_AGE_BLOCKS_MAX;
        jump(10, far);
        let proof = evidence(2, 0, Step::Prevote, PLACE);
        crate::Pallet::<Test>::check(&proof).unwrap();
        jump(far, far + 1);
        fails(&proof, Error::TooOld);
    });
}

/// A validator answers for the key that it had at the height, before and after a change.
#[test]
fn the_key_of_the_height_decides() {
    run(&[1, 2, 3, 4], || {
        rotate(2, 1);
        jump(10, 12);
        jump(12, 20);
        let old_key = |height| evidence(2, 0, Step::Precommit, (height, 0));
        let new_key = |height| evidence(2, 1, Step::Precommit, (height, 0));
        fails(&old_key(12), Error::SignatureInvalid);
        fails(&new_key(11), Error::SignatureInvalid);
        crate::Pallet::<Test>::check(&new_key(12)).unwrap();
        report(&old_key(11)).unwrap();
        assert_eq!(set_at(22), vec![1, 3, 4]);
    });
}

/// Leaving does not protect from what was signed before.
#[test]
fn who_has_left_is_barred_all_the_same() {
    run(&[1, 2, 3, 4], || {
        Validators::leave(RuntimeOrigin::signed(account(2))).unwrap();
        jump(10, 12);
        jump(12, 30);
        fails(&evidence(2, 0, Step::Prevote, (12, 0)), Error::NotValidatorThen);
        report(&evidence(2, 0, Step::Prevote, (11, 0))).unwrap();
        let back = Validators::add_validator(RuntimeOrigin::root(), account(2), 1);
        assert_eq!(back, Err(pallet_x0_validators::Error::<Test>::Barred.into()));
    });
}

#[test]
fn the_last_validator_is_recorded_and_stays() {
    run(&[1], || {
        report(&evidence(1, 0, Step::Prevote, PLACE)).unwrap();
        assert!(!Offences::<Test>::get(account(1))[0].barred);
        assert_eq!(set_at(12), vec![1]);
        fails(&evidence(1, 0, Step::Prevote, PLACE), Error::AlreadyPunished);
        // A later lapse is a further record; the list is bounded.
        let mut height = 10;
        for _ in 0..20 {
            jump(height, height + 5);
            height += 5;
            report(&evidence(1, 0, Step::Precommit, (height, 0))).unwrap();
        }
        assert_eq!(Offences::<Test>::get(account(1)).len(), x0_limits::OFFENCES_KEPT as usize);
    });
}

#[test]
fn after_readmission_only_new_contradictions_count() {
    run(&[1, 2, 3, 4], || {
        report(&evidence(2, 0, Step::Prevote, PLACE)).unwrap();
        jump(10, 12);
        Validators::readmit(RuntimeOrigin::root(), account(2)).unwrap();
        Validators::add_validator(RuntimeOrigin::root(), account(2), 1).unwrap();
        jump(12, 14);
        jump(14, 20);
        fails(&evidence(2, 0, Step::Precommit, (8, 5)), Error::AlreadyPunished);
        report(&evidence(2, 0, Step::Precommit, (15, 0))).unwrap();
        assert_eq!(Offences::<Test>::get(account(2)).len(), 2);
        assert_eq!(set_at(22), vec![1, 3, 4]);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// Any change of any byte of a proof is refused, and none makes the module panic.
    #[test]
    fn changed_proofs_prove_nothing(step in 0usize..4, at in any::<usize>(), flip in 1u8..) {
        use codec::{Decode, Encode};
        let proof = evidence(2, 0, STEPS[step], PLACE);
        let mut bytes = proof.encode();
        let place = at % bytes.len();
        bytes[place] ^= flip;
        if let Ok(changed) = Evidence::decode(&mut &bytes[..]) {
            run(&[1, 2, 3, 4], || assert!(crate::Pallet::<Test>::check(&changed).is_err()));
        }
    }
}
