//! What users of identities rely on.

use crate::{Call, Error, GenesisIdentity, GenesisKey, HoldReason, Identities, Keys, UsedKeys, mock::*};
use frame_support::{assert_ok, traits::fungible::InspectHold};
use proptest::prelude::*;
use x0_crypto::SigningKey;
use x0_types::{AccountId, Balance, KeyProof, KeyRole, market::Identities as _};

fn fails(result: Result<(), sp_runtime::DispatchError>, error: Error<Test>) {
    assert_eq!(result, Err(error.into()));
}

fn held(reason: HoldReason, who: &AccountId) -> Balance {
    Balances::balance_on_hold(&reason.into(), who)
}

/// An account whose id is made of this key, with money.
fn owner_of(key: &SigningKey) -> AccountId {
    let who = public(key).account_id();
    assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), who.clone(), ENDOWMENT));
    who
}

fn add(role: KeyRole, key: &SigningKey, proof: KeyProof) -> Call<Test> {
    Call::add_key { role, public: public(key), proof }
}

fn agent(key: &SigningKey, proof: KeyProof) -> Call<Test> {
    Call::register_agent { public: public(key), proof, endpoint: b"127.0.0.1:9000".to_vec().try_into().unwrap() }
}

fn register_agent(who: &AccountId, key: &SigningKey) -> AccountId {
    let subject = public(key).account_id();
    assert_ok!(call(who, agent(key, proof(key, KeyRole::Agent, &subject, who))));
    subject
}

fn rotate(subject: &AccountId, role: KeyRole, key: &SigningKey, proof: KeyProof) -> Call<Test> {
    Call::rotate_key { subject: subject.clone(), role, public: public(key), proof }
}

#[test]
fn an_account_names_and_rotates_its_own_key() {
    run(|| {
        let (first, second, third) = (key("first"), key("second"), key("third"));
        let who = owner_of(&first);
        let own = |key: &SigningKey| proof(key, KeyRole::Account, &who, &who);
        fails(
            call(&who, Call::rotate_account_key { public: public(&second), proof: own(&second) }),
            Error::AccountKeyNotRegistered,
        );
        fails(
            call(&who, Call::register_account_key { public: public(&second), proof: own(&second) }),
            Error::KeyOfAnotherAccount,
        );
        // The account may have signed with its key before: that is its own use.
        System::inc_account_nonce(&who);
        assert_ok!(call(&who, Call::register_account_key { public: public(&first), proof: own(&first) }));
        assert_eq!(Did::account_key(&who), Some(public(&first)));
        fails(
            call(&who, Call::register_account_key { public: public(&first), proof: own(&first) }),
            Error::AccountKeyRegistered,
        );
        assert_ok!(call(&who, Call::rotate_account_key { public: public(&second), proof: own(&second) }));
        assert_eq!(Did::account_key(&who), Some(public(&second)));
        // Going back to a key of the past is not possible: it may be the one that leaked.
        fails(call(&who, Call::rotate_account_key { public: public(&first), proof: own(&first) }), Error::KeyUsed);
        assert_ok!(call(&who, Call::rotate_account_key { public: public(&third), proof: own(&third) }));
        assert_eq!(held(HoldReason::Key, &who), KeyDeposit::get());
        assert_eq!(held(HoldReason::Identity, &who), IdentityDeposit::get());
    });
}

#[test]
fn the_named_key_survives_revocation_and_reaping() {
    let (first, second) = (key("first"), key("second"));
    let who = public(&first).account_id();
    let named = GenesisIdentity {
        subject: who.clone(),
        controller: None,
        endpoint: None,
        keys: vec![GenesisKey { role: KeyRole::Account, public: public(&first) }],
    };
    run_with(vec![named], || {
        assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), who.clone(), ENDOWMENT));
        let own = proof(&second, KeyRole::Account, &who, &who);
        assert_ok!(call(&who, Call::rotate_account_key { public: public(&second), proof: own }));
        fails(call(&who, Call::revoke_key { subject: who.clone(), role: KeyRole::Account }), Error::RoleNotAllowed);
        assert_ok!(call(&who, Call::revoke { subject: who.clone() }));
        assert_eq!(Did::controller(&who), None);
        assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), who.clone(), 0));
        assert!(!System::account_exists(&who), "the account is reaped");
        assert_eq!(Did::account_key(&who), Some(public(&second)), "the first key must not come back to life");
    });
}

#[test]
fn who_gave_up_the_identity_can_still_protect_the_account() {
    run(|| {
        let (first, second, network) = (key("first"), key("second"), key("network"));
        let who = owner_of(&first);
        assert_ok!(call(&who, add(KeyRole::Network, &network, proof(&network, KeyRole::Network, &who, &who))));
        assert_ok!(call(&who, Call::revoke { subject: who.clone() }));
        let own = |key: &SigningKey| proof(key, KeyRole::Account, &who, &who);
        assert_ok!(call(&who, Call::register_account_key { public: public(&first), proof: own(&first) }));
        assert_ok!(call(&who, Call::rotate_account_key { public: public(&second), proof: own(&second) }));
        assert_eq!(Did::account_key(&who), Some(public(&second)));
        assert_eq!(Did::controller(&who), None, "naming a key does not revive the identity");
    });
}

#[test]
fn an_agent_has_its_own_subject_and_a_controller() {
    run(|| {
        let provider = account(1);
        let (one, two) = (key("one"), key("two"));
        let subject = register_agent(&provider, &one);
        assert_eq!(Did::controller(&subject), Some(provider.clone()));
        assert_eq!(Did::key(&subject, KeyRole::Agent), Some(public(&one)));
        assert_eq!(held(HoldReason::Identity, &provider), IdentityDeposit::get());
        assert_eq!(held(HoldReason::Key, &provider), KeyDeposit::get());
        // The subject stays when the key changes.
        assert_ok!(call(
            &provider,
            rotate(&subject, KeyRole::Agent, &two, proof(&two, KeyRole::Agent, &subject, &provider))
        ));
        assert_eq!(Did::key(&subject, KeyRole::Agent), Some(public(&two)));
        assert_eq!(held(HoldReason::Key, &provider), KeyDeposit::get(), "rotation costs no second deposit");
        fails(
            call(&provider, Call::revoke_key { subject: subject.clone(), role: KeyRole::Agent }),
            Error::RoleNotAllowed,
        );
        assert_ok!(call(&provider, Call::revoke { subject: subject.clone() }));
        assert_eq!(Did::controller(&subject), None);
        assert!(!Did::has_key(&subject, KeyRole::Agent));
        assert_eq!(Balances::free_balance(&provider), ENDOWMENT, "all deposits are back");
        fails(call(&provider, Call::revoke { subject: subject.clone() }), Error::SubjectRevoked);
        // Neither of its keys brings the subject back.
        fails(call(&provider, agent(&one, proof(&one, KeyRole::Agent, &subject, &provider))), Error::SubjectExists);
        let other = public(&two).account_id();
        fails(call(&provider, agent(&two, proof(&two, KeyRole::Agent, &other, &provider))), Error::KeyUsed);
    });
}

#[test]
fn only_the_controller_acts_for_a_subject() {
    run(|| {
        let (provider, stranger) = (account(1), account(2));
        let (one, two) = (key("one"), key("two"));
        let subject = register_agent(&provider, &one);
        let endpoint = b"10.0.0.1:1".to_vec().try_into().unwrap();
        let calls = [
            rotate(&subject, KeyRole::Agent, &two, proof(&two, KeyRole::Agent, &subject, &stranger)),
            Call::revoke_key { subject: subject.clone(), role: KeyRole::Network },
            Call::set_endpoint { subject: subject.clone(), endpoint },
            Call::revoke { subject: subject.clone() },
        ];
        for one_call in calls {
            fails(call(&stranger, one_call.clone()), Error::NotController);
            // The agent's own account is a stranger too: its key is for links and receipts.
            fails(call(&subject, one_call), Error::NotController);
        }
        fails(
            call(&subject, add(KeyRole::Network, &two, proof(&two, KeyRole::Network, &subject, &subject))),
            Error::NotController,
        );
        fails(call(&stranger, Call::revoke { subject: account(9) }), Error::UnknownSubject);
    });
}

#[test]
fn a_key_has_one_role_for_one_subject_for_ever() {
    run(|| {
        let (alice, bob) = (account(1), account(2));
        let (one, two) = (key("one"), key("two"));
        assert_ok!(call(&alice, add(KeyRole::Network, &one, proof(&one, KeyRole::Network, &alice, &alice))));
        let again = |who: &AccountId, role| call(who, add(role, &one, proof(&one, role, who, who)));
        fails(again(&alice, KeyRole::Network), Error::RoleTaken);
        fails(again(&alice, KeyRole::Consensus), Error::KeyUsed);
        fails(again(&bob, KeyRole::Network), Error::KeyUsed);
        let subject = public(&one).account_id();
        fails(call(&bob, agent(&one, proof(&one, KeyRole::Agent, &subject, &bob))), Error::KeyUsed);
        // Neither rotation nor revocation frees it.
        assert_ok!(call(&alice, rotate(&alice, KeyRole::Network, &two, proof(&two, KeyRole::Network, &alice, &alice))));
        fails(again(&bob, KeyRole::Network), Error::KeyUsed);
        assert_ok!(call(&alice, Call::revoke_key { subject: alice.clone(), role: KeyRole::Network }));
        fails(call(&alice, add(KeyRole::Network, &two, proof(&two, KeyRole::Network, &alice, &alice))), Error::KeyUsed);
        assert_eq!(Did::use_of(&public(&two).fingerprint()).map(|used| used.role), Some(KeyRole::Network));
    });
}

#[test]
fn a_key_that_signed_transactions_takes_no_other_role() {
    run(|| {
        let one = key("one");
        let owner = owner_of(&one);
        System::inc_account_nonce(&owner);
        let alice = account(1);
        for role in [KeyRole::Consensus, KeyRole::Reporter] {
            fails(call(&alice, add(role, &one, proof(&one, role, &alice, &alice))), Error::KeyIsAnAccountKey);
        }
        fails(call(&alice, agent(&one, proof(&one, KeyRole::Agent, &owner, &alice))), Error::KeyIsAnAccountKey);
    });
}

#[test]
fn a_proof_holds_for_one_chain_role_subject_controller_and_time() {
    run(|| {
        let (alice, bob) = (account(1), account(2));
        let (one, other) = (key("one"), key("other"));
        let right = claim(KeyRole::Network, &alice, &alice);
        let wrong = [
            Claim { role: KeyRole::Consensus, ..right.clone() },
            Claim { subject: bob.clone(), ..right.clone() },
            Claim { controller: bob, ..right.clone() },
            Claim { genesis: [8; 32], ..right.clone() },
        ];
        for claim in wrong {
            fails(call(&alice, add(KeyRole::Network, &one, sign(&one, &claim))), Error::ProofInvalid);
        }
        let later = KeyProof { expires_at_ms: right.expires_at_ms + 1, ..sign(&one, &right) };
        fails(call(&alice, add(KeyRole::Network, &one, later)), Error::ProofInvalid);
        fails(call(&alice, add(KeyRole::Network, &one, sign(&other, &right))), Error::ProofInvalid);
        assert_ok!(call(&alice, add(KeyRole::Network, &one, sign(&one, &right))));
    });
}

#[test]
fn a_proof_ends_in_time_and_not_too_late() {
    let max = x0_limits::POSSESSION_LIFE_MS_MAX;
    for (expires_at_ms, expected) in [
        (0, Some(Error::<Test>::ProofExpired)),
        (NOW_MS, Some(Error::ProofExpired)),
        (NOW_MS + 1, None),
        (NOW_MS + max, None),
        (NOW_MS + max + 1, Some(Error::ProofLivesTooLong)),
        (u64::MAX, Some(Error::ProofLivesTooLong)),
    ] {
        run(|| {
            let (alice, one) = (account(1), key("one"));
            let claim = Claim { expires_at_ms, ..claim(KeyRole::Network, &alice, &alice) };
            let result = call(&alice, add(KeyRole::Network, &one, sign(&one, &claim)));
            assert_eq!(result, expected.map_or(Ok(()), |error| Err(error.into())), "expiry {expires_at_ms}");
        });
    }
}

#[test]
fn roles_belong_to_their_calls() {
    run(|| {
        let (alice, one) = (account(1), key("one"));
        for role in [KeyRole::Account, KeyRole::Agent] {
            fails(call(&alice, add(role, &one, proof(&one, role, &alice, &alice))), Error::RoleNotAllowed);
        }
        fails(
            call(&alice, rotate(&alice, KeyRole::Account, &one, proof(&one, KeyRole::Account, &alice, &alice))),
            Error::RoleNotAllowed,
        );
        let two = key("two");
        assert_ok!(call(&alice, add(KeyRole::Network, &two, proof(&two, KeyRole::Network, &alice, &alice))));
        fails(
            call(&alice, rotate(&alice, KeyRole::Release, &one, proof(&one, KeyRole::Release, &alice, &alice))),
            Error::NoKeyInRole,
        );
        fails(call(&alice, Call::revoke_key { subject: alice.clone(), role: KeyRole::Release }), Error::NoKeyInRole);
        let endpoint = b"10.0.0.1:1".to_vec().try_into().unwrap();
        fails(call(&alice, Call::set_endpoint { subject: alice.clone(), endpoint }), Error::NotAnAgent);
    });
}

#[test]
fn the_reporter_account_follows_the_reporter_key() {
    run(|| {
        let alice = account(1);
        let (one, two) = (key("one"), key("two"));
        let (first, second) = (public(&one).account_id(), public(&two).account_id());
        assert_ok!(call(&alice, add(KeyRole::Reporter, &one, proof(&one, KeyRole::Reporter, &alice, &alice))));
        assert_eq!(Did::reporter_subject(&first), Some(alice.clone()));
        assert_ok!(call(
            &alice,
            rotate(&alice, KeyRole::Reporter, &two, proof(&two, KeyRole::Reporter, &alice, &alice))
        ));
        assert_eq!((Did::reporter_subject(&first), Did::reporter_subject(&second)), (None, Some(alice.clone())));
        assert_ok!(call(&alice, Call::revoke { subject: alice.clone() }));
        assert_eq!(Did::reporter_subject(&second), None);
        fails(
            call(&alice, add(KeyRole::Network, &key("three"), proof(&key("three"), KeyRole::Network, &alice, &alice))),
            Error::SubjectRevoked,
        );
    });
}

#[test]
fn who_cannot_pay_the_deposit_registers_nothing() {
    run(|| {
        let poor = account(20);
        let enough_for_identity = IdentityDeposit::get() + ExistentialDeposit::get();
        assert_ok!(Balances::force_set_balance(RuntimeOrigin::root(), poor.clone(), enough_for_identity));
        let one = key("one");
        // `call` checks that the failed call left no trace, the identity's deposit included.
        assert!(call(&poor, add(KeyRole::Network, &one, proof(&one, KeyRole::Network, &poor, &poor))).is_err());
        assert!(!UsedKeys::<Test>::contains_key(public(&one).fingerprint()));
        assert_eq!(Balances::free_balance(&poor), enough_for_identity);
    });
}

#[test]
fn endpoints_are_literal() {
    let cases: [(&[u8], bool); 8] = [
        (b"127.0.0.1:9000", true),
        (b"[2001:db8::1]:443", true),
        (b"127.0.0.1:0", false),
        (b"127.0.0.1", false),
        (b"node.example:9000", false),
        (b"127.0.0.1:70000", false),
        (b"", false),
        (b"\xff\xfe", false),
    ];
    run(|| {
        let (provider, one) = (account(1), key("one"));
        let subject = register_agent(&provider, &one);
        for (text, valid) in cases {
            let endpoint: crate::Endpoint = text.to_vec().try_into().unwrap();
            let result = call(&provider, Call::set_endpoint { subject: subject.clone(), endpoint: endpoint.clone() });
            assert_eq!(result.is_ok(), valid, "{}", String::from_utf8_lossy(text));
            if valid {
                assert_eq!(Identities::<Test>::get(&subject).and_then(|one| one.endpoint), Some(endpoint));
            } else {
                fails(result, Error::EndpointInvalid);
            }
        }
    });
}

#[test]
fn genesis_reads_as_people_write_it() {
    let (one, two) = (key("one"), key("two"));
    let subject = public(&two).account_id();
    let json = format!(
        r#"{{"identities":[
            {{"subject":"{}","keys":[{{"role":"consensus","public":"0x{}"}}]}},
            {{"subject":"{subject}","controller":"{}","endpoint":"10.1.2.3:9000","keys":[{{"role":"agent","public":"0x{}"}}]}}
        ]}}"#,
        account(1),
        hex(one.public().as_bytes()),
        account(2),
        hex(two.public().as_bytes()),
    );
    let genesis: crate::GenesisConfig<Test> = serde_json::from_str(&json).unwrap();
    let written = serde_json::to_value(&genesis.identities).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(&json).unwrap()["identities"]);
    run_with(genesis.identities, || {
        assert_eq!(Did::controller(&account(1)), Some(account(1)));
        assert_eq!(Did::key(&account(1), KeyRole::Consensus), Some(public(&one)));
        assert_eq!(Did::controller(&subject), Some(account(2)));
        assert!(Did::has_key(&subject, KeyRole::Agent));
    });
    let short = r#"{"role":"agent","public":"0x0102"}"#;
    let error = serde_json::from_str::<GenesisKey>(short).unwrap_err().to_string();
    assert!(error.contains("1952 bytes, found 2"), "{error}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[should_panic(expected = "used twice")]
fn a_genesis_with_a_key_in_two_roles_does_not_start() {
    let one = key("one");
    let keys = [KeyRole::Consensus, KeyRole::Network].map(|role| GenesisKey { role, public: public(&one) }).to_vec();
    run_with(vec![GenesisIdentity { subject: account(1), controller: None, endpoint: None, keys }], || {});
}

/// One random step of somebody who tries to use a key.
#[derive(Clone, Debug)]
enum Step {
    Add { who: u8, role: KeyRole, key: u8 },
    Rotate { who: u8, role: KeyRole, key: u8 },
    RevokeKey { who: u8, role: KeyRole },
    Agent { who: u8, key: u8 },
    Revoke { who: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let role = prop_oneof![Just(KeyRole::Network), Just(KeyRole::Reporter), Just(KeyRole::Consensus)];
    let (who, key) = (1u8..4, 0u8..6);
    prop_oneof![
        4 => (who.clone(), role.clone(), key.clone()).prop_map(|(who, role, key)| Step::Add { who, role, key }),
        3 => (who.clone(), role.clone(), key.clone()).prop_map(|(who, role, key)| Step::Rotate { who, role, key }),
        2 => (who.clone(), role).prop_map(|(who, role)| Step::RevokeKey { who, role }),
        2 => (who.clone(), key).prop_map(|(who, key)| Step::Agent { who, key }),
        1 => who.prop_map(|who| Step::Revoke { who }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    /// Whatever is tried in whatever order, each key is accepted at most once, deposits equal the
    /// entries that exist, and no money appears or vanishes.
    #[test]
    fn no_order_of_calls_uses_a_key_twice(steps in proptest::collection::vec(step(), 1..40)) {
        run(|| {
            let issuance = Balances::total_issuance();
            let keys: Vec<_> = (0..6).map(|n| key(&format!("pool-{n}"))).collect();
            let mut accepted = std::collections::BTreeSet::new();
            for step in steps {
                let (result, used) = match step {
                    Step::Add { who, role, key } => {
                        let (who, key_pair) = (account(who), &keys[usize::from(key)]);
                        (call(&who, add(role, key_pair, proof(key_pair, role, &who, &who))), Some(key))
                    }
                    Step::Rotate { who, role, key } => {
                        let (who, key_pair) = (account(who), &keys[usize::from(key)]);
                        (call(&who, rotate(&who, role, key_pair, proof(key_pair, role, &who, &who))), Some(key))
                    }
                    Step::Agent { who, key } => {
                        let (who, key_pair) = (account(who), &keys[usize::from(key)]);
                        let subject = public(key_pair).account_id();
                        (call(&who, agent(key_pair, proof(key_pair, KeyRole::Agent, &subject, &who))), Some(key))
                    }
                    Step::RevokeKey { who, role } => {
                        (call(&account(who), Call::revoke_key { subject: account(who), role }), None)
                    }
                    Step::Revoke { who } => (call(&account(who), Call::revoke { subject: account(who) }), None),
                };
                if let (Ok(()), Some(key)) = (result, used) {
                    assert!(accepted.insert(key), "key {key} was accepted a second time");
                }
            }
            assert_eq!(Balances::total_issuance(), issuance);
            assert_eq!(UsedKeys::<Test>::iter().count(), accepted.len());
            let valid = Keys::<Test>::iter().count() as Balance;
            let on_hold: Balance = (1..10).map(|n| held(HoldReason::Key, &account(n))).sum();
            assert_eq!(on_hold, valid * KeyDeposit::get());
        });
    }
}
