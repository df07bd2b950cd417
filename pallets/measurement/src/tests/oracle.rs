//! A second telling of the rules, without any of the tricks: it keeps every report by the node's
//! name, closes slot by slot, and counts good slots by looking at each. Random histories must give
//! the same news and the same counters in both.

use crate::mock::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use x0_types::{
    AccountId,
    market::{Counters, Meter, Observation, Slot, Verdict},
};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Void,
    Judged(Verdict),
}

struct Enrolment {
    node: u8,
    owner: Option<u8>,
    first_slot: Slot,
    fates: BTreeMap<Slot, Fate>,
    alive: bool,
}

#[derive(Default)]
struct Oracle {
    /// All enrolments ever; the same node may come back as a new one.
    enrolments: Vec<Enrolment>,
    /// Who said what about which node, by slot and validator. What was seen of a node stays about it
    /// when it goes and comes back.
    said: BTreeMap<Slot, BTreeMap<u8, BTreeMap<u8, Observation>>>,
    closed: Slot,
    news: Vec<(Slot, u8, Verdict, BTreeSet<u8>)>,
}

impl Oracle {
    fn alive(&self, node: u8) -> Option<usize> {
        self.enrolments.iter().position(|one| one.alive && one.node == node)
    }

    fn enrol(&mut self, node: u8, owner: Option<u8>) {
        if self.alive(node).is_none() {
            let first_slot = self.closed + 1;
            self.enrolments.push(Enrolment { node, owner, first_slot, fates: BTreeMap::new(), alive: true });
        }
    }

    fn dismiss(&mut self, node: u8) {
        if let Some(place) = self.alive(node) {
            self.enrolments[place].alive = false;
        }
    }

    /// Closes what is due when a block begins in the slot `current`. `order` are the nodes in the
    /// order in which news about them come.
    fn close(&mut self, current: Slot, set: &[(u8, u64)], order: &[u8]) {
        // The slot after the last closed one is over, and so is the one slot of grace.
        while self.closed + 1 + 2 <= current {
            self.closed += 1;
            let slot = self.closed;
            let said = self.said.remove(&slot).unwrap_or_default();
            let votes: u64 = set.iter().filter(|(n, _)| said.contains_key(n)).map(|(_, power)| power).sum();
            let whole: u64 = set.iter().map(|(_, power)| power).sum();
            let owner_power =
                |one: &Enrolment| set.iter().find(|(n, _)| Some(*n) == one.owner).map_or(0, |(_, power)| *power);
            let strongest_owner = self.enrolments.iter().filter(|one| one.alive).map(owner_power).max().unwrap_or(0);
            let is_void = votes <= (whole - strongest_owner) / 3;
            for node in order {
                let Some(place) = self.alive(*node) else { continue };
                let fate = if is_void { Fate::Void } else { self.judge(place, slot, set, &said) };
                self.enrolments[place].fates.insert(slot, fate);
            }
        }
    }

    fn judge(
        &mut self,
        place: usize,
        slot: Slot,
        set: &[(u8, u64)],
        said: &BTreeMap<u8, BTreeMap<u8, Observation>>,
    ) -> Fate {
        let one = &self.enrolments[place];
        let judges: Vec<_> = set.iter().filter(|(n, _)| Some(*n) != one.owner).collect();
        let third = judges.iter().map(|(_, power)| power).sum::<u64>() / 3;
        let who = |wanted| -> Vec<&(u8, u64)> {
            let saw = |n: &u8| said.get(n).and_then(|report| report.get(&one.node)) == Some(&wanted);
            judges.iter().copied().filter(|(n, _)| saw(n)).collect()
        };
        let (ups, downs) = (who(Observation::Up), who(Observation::Down));
        let strong = |side: &[&(u8, u64)]| side.iter().map(|(_, power)| power).sum::<u64>() > third;
        let verdict = match (strong(&ups), strong(&downs)) {
            (true, true) => Verdict::Conflict,
            (true, false) => Verdict::Up,
            (false, true) => Verdict::Down,
            (false, false) => Verdict::Unknown,
        };
        let last_word = one.fates.values().rev().find_map(|fate| match fate {
            Fate::Judged(verdict @ (Verdict::Up | Verdict::Down)) => Some(*verdict),
            _ => None,
        });
        if verdict != Verdict::Up || last_word == Some(Verdict::Down) {
            let blamed =
                if verdict == Verdict::Down { downs.iter().map(|(n, _)| *n).collect() } else { BTreeSet::new() };
            self.news.push((slot, one.node, verdict, blamed));
        }
        Fate::Judged(verdict)
    }

    /// Good, bad, unknown and void slots of a node since its enrolment.
    fn sums(&self, node: u8) -> Option<(u64, u64, u64, u64)> {
        let one = &self.enrolments[self.alive(node)?];
        assert_eq!(one.fates.len() as u64, self.closed + 1 - one.first_slot, "each slot has one fate");
        let count = |wanted: &dyn Fn(&Fate) -> bool| one.fates.values().filter(|fate| wanted(fate)).count() as u64;
        Some((
            count(&|fate| *fate == Fate::Judged(Verdict::Up)),
            count(&|fate| *fate == Fate::Judged(Verdict::Down)),
            count(&|fate| matches!(fate, Fate::Judged(Verdict::Unknown | Verdict::Conflict))),
            count(&|fate| *fate == Fate::Void),
        ))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enrol {
        node: u8,
        owner: Option<u8>,
    },
    Dismiss {
        node: u8,
    },
    /// Validator `n` reports on the slot that lies `back` before the block's.
    Report {
        n: u8,
        back: u64,
        bits: Vec<u8>,
    },
    SetOf(Vec<(u8, u64)>),
    Block {
        after_ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..6, proptest::option::of(1u8..6)).prop_map(|(node, owner)| Step::Enrol { node, owner }),
        1 => (1u8..6).prop_map(|node| Step::Dismiss { node }),
        16 => (1u8..6, 0u64..4, proptest::collection::vec(0u8..4, 12))
            .prop_map(|(n, back, bits)| Step::Report { n, back, bits }),
        1 => proptest::collection::btree_map(1u8..6, 1u64..5, 1..6)
            .prop_map(|set| Step::SetOf(set.into_iter().collect())),
        8 => (0u64..1_500).prop_map(|after_ms| Step::Block { after_ms }),
        1 => (0u64..200_000).prop_map(|after_ms| Step::Block { after_ms }),
    ]
}

/// Which node each index stands for now.
fn nodes_by_index() -> BTreeMap<u32, u8> {
    let number = |account: &AccountId| (1u8..6).find(|n| node(*n) == *account).unwrap();
    Measurement::targets().iter().map(|(index, account)| (*index, number(account))).collect()
}

/// Reports to both; the chain decides whether it takes the report, the tables of other tests say
/// when it must.
fn report_to_both(oracle: &mut Oracle, n: u8, slot: Slot, bits: &[u8]) {
    let targets = nodes_by_index();
    let length = crate::NextIndex::<Test>::get().div_ceil(4) * 4;
    let observations: Vec<_> = (0..length)
        .map(|index| match targets.get(&index) {
            Some(_) => Observation::from_bits(bits[index as usize % bits.len()]),
            None => Observation::None,
        })
        .collect();
    if report(n, slot, &observations).is_ok() {
        let said = targets.iter().map(|(index, number)| (*number, observations[*index as usize])).collect();
        let twice = oracle.said.entry(slot).or_default().insert(n, said);
        assert!(twice.is_none(), "a second report of validator {n} on slot {slot} was taken");
    }
}

fn compare(oracle: &Oracle, enrolled_with: &BTreeMap<u8, Counters>) {
    assert_eq!(Measurement::closed_slot(), oracle.closed);
    for n in 1u8..6 {
        let counters = Measurement::counters(&node(n));
        let Some((good, bad, unknown, void)) = oracle.sums(n) else {
            assert_eq!(counters, None);
            continue;
        };
        let (now, start) = (counters.unwrap(), enrolled_with[&n]);
        assert_eq!((now.bad, now.unknown, now.void - start.void), (bad, unknown, void), "node {n}");
        assert_eq!(now.good_since(&start), good, "node {n}");
    }
    let heard: Vec<_> = Verdicts::get()
        .into_iter()
        .map(|one| {
            let number = (1u8..6).find(|n| node(*n) == one.node).unwrap();
            let seats = crate::Seats::<Test>::get();
            let has_bit =
                |seat: &usize| one.down_reporters.get(seat / 8).is_some_and(|byte| byte >> (seat % 8) & 1 == 1);
            let blamed: BTreeSet<u8> = (0..seats.len())
                .filter(has_bit)
                .map(|seat| (1u8..6).find(|n| validator(*n) == seats[seat]).unwrap())
                .collect();
            (one.slot, number, one.verdict, blamed)
        })
        .collect();
    assert_eq!(heard, oracle.news);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    /// Any mixture of blocks, gaps, reports, enrolments, dismissals and changes of the set.
    #[test]
    fn random_histories_give_what_the_plain_rules_give(steps in proptest::collection::vec(step(), 1..150)) {
        run(&[(1, 1), (2, 1), (3, 1), (4, 1)], || {
            let mut oracle = Oracle::default();
            let mut set = Set::get();
            let mut enrolled_with = BTreeMap::new();
            let mut now = time_in(1);
            begin(now);
            for step in steps {
                match step {
                    Step::Enrol { node: n, owner } => {
                        let is_new = Measurement::counters(&node(n)).is_none();
                        Measurement::enrol(&node(n), &owner.map_or_else(stranger, validator)).unwrap();
                        oracle.enrol(n, owner);
                        if is_new {
                            enrolled_with.insert(n, Measurement::counters(&node(n)).unwrap());
                        }
                    }
                    Step::Dismiss { node: n } => {
                        Measurement::dismiss(&node(n));
                        oracle.dismiss(n);
                    }
                    Step::Report { n, back, bits } => {
                        let slot = Measurement::slot_of(now).saturating_sub(back);
                        report_to_both(&mut oracle, n, slot, &bits);
                    }
                    Step::SetOf(new) => {
                        Set::set(new.clone());
                        set = new;
                    }
                    Step::Block { after_ms } => {
                        end();
                        let number = |account: &AccountId| (1u8..6).find(|n| node(*n) == *account).unwrap();
                        let order: Vec<_> =
                            Measurement::targets().iter().map(|(_, account)| number(account)).collect();
                        oracle.close(Measurement::slot_of(now), &set, &order);
                        now += after_ms;
                        begin(now);
                        compare(&oracle, &enrolled_with);
                    }
                }
            }
            end();
        });
    }
}
