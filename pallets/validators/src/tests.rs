//! What consensus, measuring and light clients rely on.

mod members;
mod oracle;
mod quorum;

use crate::{CONSENSUS_ENGINE_ID, Call, Error, GenesisValidator, PowerList, Validator, mock::*};
use codec::Encode;
use frame_support::assert_ok;
use proptest::prelude::*;
use sp_runtime::{Digest, DigestItem, DispatchError};
use std::collections::BTreeMap;
use x0_types::{KeyRole, market::ValidatorSet};

fn powers(set: &[Validator]) -> Vec<(u8, u64)> {
    set.iter().map(|one| (one.controller.as_ref() as &[u8; 32])[0]).zip(set.iter().map(|one| one.power)).collect()
}

fn at(height: u32) -> Vec<(u8, u64)> {
    powers(&Validators::set_at(height))
}

fn add(n: u8, power: u64) -> Call<Test> {
    Call::add_validator { controller: account(n), power }
}

fn remove(n: u8) -> Call<Test> {
    Call::remove_validator { controller: account(n) }
}

fn set_all(list: &[(u8, u64)]) -> Call<Test> {
    let validators: Vec<_> = list.iter().map(|(n, power)| (account(*n), *power)).collect();
    Call::set_validators { validators: PowerList::try_from(validators).unwrap() }
}

fn fails(result: Result<(), DispatchError>, error: Error<Test>) {
    assert_eq!(result, Err(error.into()));
}

/// The set hashes that a header announces.
fn announced(digest: &Digest) -> Vec<Vec<u8>> {
    let ours = |item: &DigestItem| match item {
        DigestItem::Consensus(CONSENSUS_ENGINE_ID, data) => Some(data.clone()),
        _ => None,
    };
    digest.logs().iter().filter_map(ours).collect()
}

#[test]
fn a_change_counts_two_heights_later() {
    run(&[(1, 1)], || {
        assert_eq!((at(1), at(2), at(3)), (vec![(1, 1)], vec![(1, 1)], vec![(1, 1)]));
        assert_ok!(root(add(2, 5)));
        assert_eq!((at(1), at(2), at(3)), (vec![(1, 1)], vec![(1, 1)], vec![(1, 1), (2, 5)]));
        assert!(at(0).is_empty() && at(4).is_empty(), "the past and the far future are not known");
        end(1);
        begin(2);
        assert_ok!(root(remove(1)));
        assert_eq!((at(2), at(3), at(4)), (vec![(1, 1)], vec![(1, 1), (2, 5)], vec![(2, 5)]));
        end(2);
        begin(3);
        assert_eq!((at(3), at(4), at(5)), (vec![(1, 1), (2, 5)], vec![(2, 5)], vec![(2, 5)]));
        assert_eq!(Validators::current(), vec![(account(1), 1), (account(2), 5)]);
        end(3);
        begin(4);
        assert_eq!(at(4), vec![(2, 5)]);
        end(4);
    });
}

#[test]
fn the_header_of_the_changing_block_announces_the_set_once() {
    run(&[(1, 1)], || {
        assert!(announced(&end(1)).is_empty(), "no change, no digest item");
        begin(2);
        assert_ok!(root(add(2, 5)));
        assert_ok!(root(add(3, 7)));
        let expected = sp_io::hashing::blake2_256(&Validators::set_at(4).encode()).to_vec();
        assert_eq!(at(4), vec![(1, 1), (2, 5), (3, 7)], "changes of one block build on one another");
        assert_eq!(announced(&end(2)), vec![expected]);
        begin(3);
        assert!(announced(&end(3)).is_empty());
        begin(4);
        assert!(announced(&end(4)).is_empty());
    });
}

#[test]
fn a_set_never_breaks_its_rules() {
    run(&[(1, 1)], || {
        fails(root(remove(1)), Error::EmptySet);
        fails(root(set_all(&[])), Error::EmptySet);
        fails(root(remove(2)), Error::UnknownValidator);
        fails(root(add(1, 1)), Error::DuplicateValidator);
        fails(root(set_all(&[(2, 1), (3, 1), (2, 4)])), Error::DuplicateValidator);
        fails(root(add(2, 0)), Error::PowerZero);
        fails(root(Call::set_power { controller: account(1), power: 0 }), Error::PowerZero);
        fails(root(Call::set_power { controller: account(2), power: 1 }), Error::UnknownValidator);
        fails(root(add(2, x0_limits::VALIDATOR_POWER_MAX + 1)), Error::PowerTooLarge);
        fails(root(add(121, 1)), Error::NoConsensusKey);
        assert_ok!(root(add(2, x0_limits::VALIDATOR_POWER_MAX)));
        let full: Vec<_> = (1..=100).map(|n| (n, 1)).collect();
        assert_ok!(root(set_all(&full)));
        assert_eq!(at(3).len(), 100);
        fails(root(add(101, 1)), Error::TooManyValidators);
    });
}

#[test]
fn only_the_administrator_changes_the_set() {
    run(&[(1, 1), (2, 1)], || {
        let validator = RuntimeOrigin::signed(account(1));
        assert_eq!(Validators::add_validator(validator.clone(), account(3), 1), Err(DispatchError::BadOrigin));
        assert_eq!(Validators::remove_validator(validator.clone(), account(2)), Err(DispatchError::BadOrigin));
        assert_eq!(Validators::set_power(validator.clone(), account(1), 9), Err(DispatchError::BadOrigin));
        assert_eq!(Validators::set_validators(validator, PowerList::default()), Err(DispatchError::BadOrigin));
    });
}

#[test]
fn a_rotated_consensus_key_counts_after_a_refresh() {
    run(&[(1, 1), (2, 1)], || {
        let fresh = key("fresh");
        rotate_consensus_key(&account(1), &fresh);
        let old = unsigned_key(1, KeyRole::Consensus);
        assert_eq!(Validators::set_at(3)[0].consensus_key, old, "the set keeps its keys until it changes");
        assert_ok!(Validators::refresh_consensus_key(RuntimeOrigin::signed(account(1))));
        let again = Validators::refresh_consensus_key(RuntimeOrigin::signed(account(1)));
        assert_eq!(again, Err(Error::<Test>::KeyUnchanged.into()), "nobody announces a set that is no news");
        assert_eq!(Validators::set_at(2)[0].consensus_key, old);
        assert_eq!(Validators::set_at(3)[0].consensus_key, public(&fresh));
        assert_eq!(
            Validators::refresh_consensus_key(RuntimeOrigin::signed(account(3))),
            Err(Error::<Test>::UnknownValidator.into())
        );
    });
}

#[test]
fn reporters_are_found_by_the_account_of_their_key() {
    run(&[(1, 1), (2, 1)], || {
        let reporter = |n| unsigned_key(n, KeyRole::Reporter).account_id();
        assert_eq!(Validators::index_of_reporter(&reporter(1)), Some(0));
        assert_eq!(Validators::index_of_reporter(&reporter(2)), Some(1));
        assert_eq!(Validators::index_of_reporter(&reporter(3)), None, "no validator");
        assert_eq!(Validators::index_of_reporter(&account(1)), None, "the controller is not the reporter");
        assert_ok!(Did::revoke_key(RuntimeOrigin::signed(account(1)), account(1), KeyRole::Reporter));
        assert_eq!(Validators::index_of_reporter(&reporter(1)), None);
        assert_eq!(
            Validators::network_keys(),
            vec![(account(1), unsigned_key(1, KeyRole::Network)), (account(2), unsigned_key(2, KeyRole::Network))]
        );
    });
}

#[test]
fn genesis_reads_as_people_write_it() {
    let json = format!(r#"{{"validators":[{{"controller":"{}","power":3}}]}}"#, account(1));
    let genesis: crate::GenesisConfig<Test> = serde_json::from_str(&json).unwrap();
    assert_eq!(genesis.validators, vec![GenesisValidator { controller: account(1), power: 3 }]);
}

#[test]
#[should_panic(expected = "no consensus key")]
fn a_genesis_validator_without_a_key_does_not_start() {
    run(&[(1, 1), (121, 1)], || {});
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, u64),
    Remove(u8),
    Power(u8, u64),
    Replace(Vec<(u8, u64)>),
    NextBlock,
}

fn step() -> impl Strategy<Value = Step> {
    let member = || (1u8..6, 0u64..4);
    prop_oneof![
        3 => member().prop_map(|(n, power)| Step::Add(n, power)),
        2 => (1u8..6).prop_map(Step::Remove),
        1 => member().prop_map(|(n, power)| Step::Power(n, power)),
        1 => proptest::collection::vec(member(), 0..5).prop_map(Step::Replace),
        4 => Just(Step::NextBlock),
    ]
}

/// The same rules told as a list: the set of each height, found by replaying every change.
#[derive(Default)]
struct Oracle {
    /// The set after the changes of each block.
    decided: BTreeMap<u32, BTreeMap<u8, u64>>,
}

impl Oracle {
    fn set_at(&self, height: u32) -> Vec<(u8, u64)> {
        let (_, set) = self.decided.range(..=height.saturating_sub(2)).next_back().unwrap();
        set.iter().map(|(n, power)| (*n, *power)).collect()
    }

    fn change(&mut self, height: u32, change: impl FnOnce(&mut BTreeMap<u8, u64>) -> bool) -> bool {
        let mut set = self.decided.values().next_back().unwrap().clone();
        let valid = change(&mut set) && !set.is_empty() && set.values().all(|power| *power > 0);
        if valid {
            self.decided.insert(height, set);
        }
        valid
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// After any changes in any blocks, the set of each known height is the one that a replay of
    /// all accepted changes gives.
    #[test]
    fn sets_by_height_are_what_a_replay_gives(steps in proptest::collection::vec(step(), 1..60)) {
        run(&[(1, 1)], || {
            let mut oracle = Oracle::default();
            oracle.decided.insert(0, BTreeMap::from([(1, 1)]));
            let mut height = 1;
            for step in steps {
                let (call, expected) = match step {
                    Step::Add(n, power) => {
                        (add(n, power), oracle.change(height, |set| set.insert(n, power).is_none()))
                    }
                    Step::Remove(n) => (remove(n), oracle.change(height, |set| set.remove(&n).is_some())),
                    Step::Power(n, power) => (
                        Call::set_power { controller: account(n), power },
                        oracle.change(height, |set| set.insert(n, power).is_some()),
                    ),
                    Step::Replace(list) => (
                        set_all(&list),
                        oracle.change(height, |set| {
                            *set = list.iter().copied().collect();
                            set.len() == list.len()
                        }),
                    ),
                    Step::NextBlock => {
                        let changed = oracle.decided.contains_key(&height);
                        assert_eq!(announced(&end(height)).len(), usize::from(changed));
                        height += 1;
                        begin(height);
                        continue;
                    }
                };
                assert_eq!(root(call).is_ok(), expected);
                for known in height..=height + 2 {
                    assert_eq!(at(known), oracle.set_at(known), "set of height {known} in block {height}");
                }
            }
        });
    }
}
