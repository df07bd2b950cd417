//! Random lives of a set against a second telling of the rules.

use super::{add, remove};
use crate::{Call, OpenProposals, Spans, mock::*};
use proptest::prelude::*;
use sp_runtime::traits::Dispatchable;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    /// A validator (or a stranger) approves proposal `open` of those open, or a new one.
    Approve {
        who: u8,
        open: usize,
        change: (u8, bool),
    },
    Withdraw {
        who: u8,
        open: usize,
    },
    Leave(u8),
    Bar(u8),
    Readmit(u8),
    NextBlock,
}

fn step() -> impl Strategy<Value = Step> {
    let change = || (1u8..8, any::<bool>());
    prop_oneof![
        8 => (1u8..8, 0usize..4, change()).prop_map(|(who, open, change)| Step::Approve { who, open, change }),
        1 => (1u8..8, 0usize..4).prop_map(|(who, open)| Step::Withdraw { who, open }),
        1 => (1u8..8).prop_map(Step::Leave),
        1 => (1u8..8).prop_map(Step::Bar),
        1 => (1u8..8).prop_map(Step::Readmit),
        4 => Just(Step::NextBlock),
    ]
}

fn change_call((n, is_add): (u8, bool)) -> RuntimeCall {
    if is_add { add(n, 1).into() } else { remove(n).into() }
}

/// Opener, change and approvals of an open proposal.
type Open = (u8, (u8, bool), BTreeSet<u8>);

/// All powers are 1 here.
#[derive(Clone)]
struct Model {
    /// The set in force and those that are decided, by the height from which they count.
    sets: BTreeMap<u32, BTreeSet<u8>>,
    barred: BTreeSet<u8>,
    proposals: BTreeMap<u32, Open>,
    next: u32,
    height: u32,
}

impl Model {
    fn current(&self) -> &BTreeSet<u8> {
        self.sets.range(..=self.height).next_back().unwrap().1
    }

    fn latest(&self) -> BTreeSet<u8> {
        self.sets.values().next_back().unwrap().clone()
    }

    fn decide(&mut self, set: BTreeSet<u8>) {
        self.sets.insert(self.height + 2, set);
    }

    fn execute(&mut self, (n, is_add): (u8, bool)) {
        let mut set = self.latest();
        // How often a validator may come and go is another test's matter: read, not told again.
        let may_come = Spans::<Test>::get(account(n)).len() < 6;
        let valid = if is_add { !self.barred.contains(&n) && set.insert(n) && may_come } else { set.remove(&n) };
        if valid && !set.is_empty() {
            self.decide(set);
        }
    }

    fn approve(&mut self, who: u8, number: u32, change: (u8, bool)) -> bool {
        let current = self.current().clone();
        if !current.contains(&who) {
            return false;
        }
        if !self.proposals.contains_key(&number) {
            let own = self.proposals.values().filter(|(opener, ..)| *opener == who).count();
            if number != self.next || own >= 2 {
                return false;
            }
            self.next += 1;
            self.proposals.insert(number, (who, change, BTreeSet::new()));
        }
        let (_, call, approvals) = self.proposals.get_mut(&number).unwrap();
        let is_new = approvals.insert(who);
        let enough = approvals.intersection(&current).count() * 3 > current.len() * 2;
        if !is_new && !enough {
            return false;
        }
        let call = *call;
        if enough {
            self.proposals.remove(&number);
            self.execute(call);
        }
        true
    }

    fn next_block(&mut self) {
        self.height += 1;
        if self.sets.contains_key(&self.height) {
            let current = self.current().clone();
            for (_, _, approvals) in self.proposals.values_mut() {
                approvals.retain(|one| current.contains(one));
            }
            self.proposals.retain(|_, (_, _, approvals)| !approvals.is_empty());
        }
    }

    fn leave(&mut self, who: u8) -> bool {
        let mut set = self.latest();
        let current = self.current().clone();
        let valid = set.remove(&who) && !set.is_empty() && set.intersection(&current).count() * 3 > current.len() * 2;
        if valid {
            self.decide(set);
        }
        valid
    }

    fn bar(&mut self, who: u8) -> bool {
        let mut set = self.latest();
        let was_member = set.remove(&who);
        if set.is_empty() {
            return false;
        }
        self.barred.insert(who);
        if was_member {
            self.decide(set);
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    /// Whatever validators approve, withdraw, leave and do wrong, set and proposals are what the
    /// model says, and all invariants hold after each step.
    #[test]
    fn sets_and_proposals_are_what_the_model_says(steps in proptest::collection::vec(step(), 1..80)) {
        run(&[(1, 1), (2, 1), (3, 1), (4, 1)], || {
            let mut model = Model {
                sets: BTreeMap::from([(0, (1..=4).collect())]),
                barred: BTreeSet::new(),
                proposals: BTreeMap::new(),
                next: 0,
                height: 1,
            };
            for step in steps {
                let numbers: Vec<u32> = model.proposals.keys().copied().collect();
                match step {
                    Step::Approve { who, open, change } => {
                        let number = numbers.get(open).copied().unwrap_or(model.next);
                        let change = model.proposals.get(&number).map_or(change, |(_, change, _)| *change);
                        let call = Box::new(change_call(change));
                        let call: RuntimeCall = Call::approve { number, call }.into();
                        let done = call.dispatch(RuntimeOrigin::signed(account(who))).is_ok();
                        prop_assert_eq!(done, model.approve(who, number, change));
                    }
                    Step::Withdraw { who, open } => {
                        let Some(number) = numbers.get(open).copied() else { continue };
                        let done = Validators::withdraw_approval(RuntimeOrigin::signed(account(who)), number).is_ok();
                        let (_, _, approvals) = model.proposals.get_mut(&number).unwrap();
                        prop_assert_eq!(done, approvals.remove(&who));
                        model.proposals.retain(|_, (_, _, approvals)| !approvals.is_empty());
                    }
                    Step::Leave(who) => {
                        let done = Validators::leave(RuntimeOrigin::signed(account(who))).is_ok();
                        prop_assert_eq!(done, model.leave(who));
                    }
                    Step::Bar(who) => prop_assert_eq!(Validators::bar(&account(who)), Ok(model.bar(who))),
                    Step::Readmit(who) => {
                        let done = root(Call::readmit { controller: account(who) }).is_ok();
                        prop_assert_eq!(done, model.barred.remove(&who));
                    }
                    Step::NextBlock => {
                        end(model.height);
                        model.next_block();
                        begin(model.height);
                    }
                }
                crate::Pallet::<Test>::check_invariants().unwrap();
                for height in model.height..=model.height + 2 {
                    let expected = model.sets.range(..=height).next_back().unwrap().1;
                    let found: BTreeSet<u8> = super::at(height).into_iter().map(|(n, _)| n).collect();
                    prop_assert_eq!(&found, expected);
                }
                let open: Vec<u32> = OpenProposals::<Test>::get().iter().map(|one| one.number).collect();
                prop_assert_eq!(open, model.proposals.keys().copied().collect::<Vec<_>>());
            }
            Ok(())
        })?;
    }
}
