//! What validators may decide, who may not, and what a proof of contradiction costs.

use super::chain::{Chain, controller, signer};
use crate::{Balances, Runtime, RuntimeCall, Validators, presets};
use sp_runtime::{DispatchError, MultiAddress};
use x0_crypto::{
    SigningKey, dev,
    statement::{Statement, Vote, VoteKind},
};
use x0_types::{
    MlDsa65Signature,
    account::UNIT,
    evidence::{Evidence, SignedBody, Step},
};

fn approve(number: u32, call: impl Into<RuntimeCall>) -> RuntimeCall {
    pallet_x0_validators::Call::approve { number, call: Box::new(call.into()) }.into()
}

fn set_size(chain: &mut Chain) -> usize {
    let height = chain.height;
    chain.read(|| Validators::set_at(height + 2).len())
}

fn remove(n: usize) -> RuntimeCall {
    pallet_x0_validators::Call::remove_validator { controller: controller(n).account }.into()
}

#[test]
fn a_network_without_a_superuser_changes_its_set_by_quorum() {
    let mut chain = Chain::local();
    let filtered: DispatchError = frame_system::Error::<Runtime>::CallFiltered.into();
    let sudo = pallet_sudo::Call::sudo { call: Box::new(remove(3)) };
    assert_eq!(chain.call(&signer("alice"), sudo), Err(filtered));
    assert_eq!(chain.call(&controller(0), remove(3)), Err(DispatchError::BadOrigin));
    for n in 0..3 {
        assert_eq!(set_size(&mut chain), 4);
        chain.call(&controller(n), approve(0, remove(3))).unwrap();
    }
    assert_eq!(set_size(&mut chain), 3);
    let outsider: DispatchError = pallet_x0_validators::Error::<Runtime>::NotValidator.into();
    assert_eq!(chain.call(&signer("alice"), approve(1, remove(2))), Err(outsider));
}

#[test]
fn a_development_chain_has_its_superuser() {
    let mut chain = Chain::dev();
    let admit = pallet_x0_validators::Call::admit_candidate { controller: controller(1).account };
    let sudo = pallet_sudo::Call::sudo { call: Box::new(admit.into()) };
    chain.call(&signer("alice"), sudo).unwrap();
    // The account has no network key, so the call itself failed; the origin was right.
    let refused = chain.events().into_iter().any(|event| {
        matches!(event, crate::RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result: Err(error) })
            if error == pallet_x0_validators::Error::<Runtime>::NoNetworkKey.into())
    });
    assert!(refused);
}

/// Validators decide on their own affairs, and on nobody's money.
#[test]
fn validators_decide_on_their_own_affairs_only() {
    let mut chain = Chain::local();
    let not_allowed: DispatchError = pallet_x0_validators::Error::<Runtime>::CallNotAllowed.into();
    let (alice, treasury) = (signer("alice").account, crate::configs::money::treasury());
    let take = pallet_balances::Call::force_transfer {
        source: MultiAddress::Id(alice),
        dest: MultiAddress::Id(treasury),
        value: UNIT,
    };
    let wrapped = pallet_utility::Call::batch { calls: vec![remove(3)] };
    let calls: [RuntimeCall; 5] = [
        take.into(),
        wrapped.into(),
        approve(1, remove(3)),
        pallet_sudo::Call::remove_key {}.into(),
        frame_system::Call::kill_prefix { prefix: Vec::new(), subkeys: 1 }.into(),
    ];
    for call in calls {
        assert_eq!(chain.call(&controller(0), approve(0, call)), Err(not_allowed));
    }
}

/// Two prevotes of one validator for one place, on this chain.
fn contradiction(chain: &Chain, name: &str, height: u32) -> Evidence {
    let key = SigningKey::from_seed(&dev::seed(name, "consensus")).unwrap();
    let says = |block| {
        let voter = key.public().fingerprint();
        let vote = Vote { kind: VoteKind::Prevote, height: height.into(), round: 0, block, voter };
        let statement = Statement::from(vote);
        let signature = statement.sign(&key, &chain.genesis.0).unwrap();
        SignedBody { body: statement.body().try_into().unwrap(), signature: MlDsa65Signature(signature.to_boxed()) }
    };
    let validator = presets::dev_account(name).unwrap();
    Evidence { validator, height, round: 0, step: Step::Prevote, first: says(None), second: says(Some([1; 32])) }
}

/// The first valid proof is free, anybody may bring it, and later ones are paid for.
#[test]
fn a_proof_of_contradiction_is_free_once() {
    let mut chain = Chain::local();
    chain.advance_to(5);
    let name = presets::LOCAL_VALIDATORS[2];
    let evidence = contradiction(&chain, name, 5);
    let report = |evidence: &Evidence| -> RuntimeCall {
        pallet_x0_evidence::Call::report { evidence: Box::new(evidence.clone()) }.into()
    };
    let bob = signer("bob");
    let balance = |chain: &mut Chain| chain.read(|| Balances::free_balance(&bob.account));
    let before = balance(&mut chain);
    chain.call(&bob, report(&evidence)).unwrap();
    assert_eq!(balance(&mut chain), before, "free");
    assert_eq!(set_size(&mut chain), 3);
    let punished: DispatchError = pallet_x0_evidence::Error::<Runtime>::AlreadyPunished.into();
    assert_eq!(chain.call(&bob, report(&evidence)), Err(punished));
    assert!(balance(&mut chain) < before, "paid");
    // The others bring it back together, and only together.
    let readmit: RuntimeCall = pallet_x0_validators::Call::readmit { controller: evidence.validator.clone() }.into();
    let add: RuntimeCall =
        pallet_x0_validators::Call::add_validator { controller: evidence.validator, power: 1 }.into();
    for (number, call) in [(0, readmit), (1, add)] {
        for n in [0, 1, 3] {
            chain.call(&controller(n), approve(number, call.clone())).unwrap();
        }
    }
    assert_eq!(set_size(&mut chain), 4);
}

/// A report fits into every block, and costs what the measured parts of it cost.
#[test]
fn evidence_is_small() {
    use codec::Encode;
    let chain = Chain::local();
    let bytes = contradiction(&chain, presets::LOCAL_VALIDATORS[0], 1).encode().len();
    assert!(bytes < 8 * 1024, "{bytes}");
}
