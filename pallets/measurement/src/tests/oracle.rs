//! A second telling of the rules, without any of the tricks: it keeps every report by the node's
//! name and every block with its maker, opens and closes windows by looking through all of them, closes slot by
//! slot, and counts good slots by looking at each. Random histories must give the same news, the same counters and
//! the same record of each validator in both.

use crate::mock::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use x0_types::{
    AccountId,
    market::{Counters, Meter, Observation, Slot, Verdict, pack_observations},
    receipt::report_commitment,
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

/// What became of a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Showing {
    Hidden,
    Wrong,
    Shown,
}

#[derive(Default)]
struct Oracle {
    /// All enrolments ever; the same node may come back as a new one.
    enrolments: Vec<Enrolment>,
    /// Who said what about which node, by slot and validator. What was seen of a node stays about it
    /// when it goes and comes back.
    said: BTreeMap<Slot, BTreeMap<u8, BTreeMap<u8, Observation>>>,
    /// Who committed to a report on which slot, and whether it was shown, with what was shown in between.
    commits: BTreeMap<Slot, BTreeMap<u8, Showing>>,
    /// The slot of the parent and the maker of each block, from the first one on.
    blocks: Vec<(Slot, Option<u8>)>,
    /// For each slot whose commitments are over: the slot of the parent and the place of that block.
    shown_since: BTreeMap<Slot, (Slot, usize)>,
    conduct: BTreeMap<u8, [u64; 4]>,
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

    /// Whether the makers of the blocks from this place up to the last one hold more than a third.
    fn enough(&self, from: usize, set: &[(u8, u64)]) -> bool {
        let makers: BTreeSet<u8> = self.blocks[from..].iter().filter_map(|(_, maker)| *maker).collect();
        let power =
            |wanted: &dyn Fn(&u8) -> bool| set.iter().filter(|(n, _)| wanted(n)).map(|(_, power)| power).sum::<u64>();
        power(&|n| makers.contains(n)) * 3 > power(&|_| true)
    }

    /// Whether the time to commit to reports on a slot is over when a block begins whose parent lies in `current`.
    fn commits_are_over(&self, slot: Slot, current: Slot, set: &[(u8, u64)]) -> bool {
        if current < slot + 2 {
            return false;
        }
        let slots = || self.blocks.iter().map(|(slot, _)| *slot).chain([current]);
        let all_in = self.commits.get(&slot).is_some_and(|commits| commits.len() >= set.len());
        let stood_still = !slots().any(|one| one == slot || one == slot + 1);
        let from = slots().position(|one| one > slot).unwrap_or(self.blocks.len());
        all_in || stood_still || self.enough(from.min(self.blocks.len()), set)
    }

    /// A block begins whose parent lies in `current`: windows move, and what is due closes. `order` are the nodes
    /// in the order in which news about them come.
    fn begin(&mut self, current: Slot, maker: Option<u8>, set: &[(u8, u64)], order: &[u8]) {
        let waiting: Vec<Slot> =
            self.commits.keys().copied().filter(|slot| !self.shown_since.contains_key(slot)).collect();
        for slot in waiting {
            if !self.commits_are_over(slot, current, set) {
                break;
            }
            self.shown_since.insert(slot, (current, self.blocks.len()));
        }
        loop {
            let slot = self.closed + 1;
            let is_due = match (self.commits.get(&slot), self.shown_since.get(&slot)) {
                (Some(_), None) => false,
                (Some(commits), Some((since, place))) => {
                    let all = commits.values().all(|showing| *showing == Showing::Shown);
                    current > *since
                        && (all || (current > *since + 1 && self.enough((*place + 1).min(self.blocks.len()), set)))
                }
                _ => current >= slot + 3 && self.commits_are_over(slot, current, set),
            };
            if !is_due {
                break;
            }
            self.close(slot, set, order);
        }
        self.blocks.push((current, maker));
    }

    fn close(&mut self, slot: Slot, set: &[(u8, u64)], order: &[u8]) {
        self.closed = slot;
        let said = self.said.remove(&slot).unwrap_or_default();
        if let Some(commits) = self.commits.remove(&slot) {
            for (n, _) in set {
                let what = match commits.get(n) {
                    Some(Showing::Shown) => 0,
                    None => 1,
                    Some(Showing::Hidden) => 2,
                    Some(Showing::Wrong) => 3,
                };
                self.conduct.entry(*n).or_default()[what] += 1;
            }
        }
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
    /// Validator `n` commits to a report on the slot that lies `back` before the block's.
    Commit {
        n: u8,
        back: u64,
        bits: Vec<u8>,
    },
    /// Validator `n` shows its report on the slot that lies `back` before the block's, or another one.
    Show {
        n: u8,
        back: u64,
        wrong: bool,
    },
    /// Who makes the blocks from now on.
    Turns(Vec<u8>),
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
            .prop_map(|(n, back, bits)| Step::Commit { n, back, bits }),
        20 => (1u8..6, 1u64..8, proptest::bool::weighted(0.1)).prop_map(|(n, back, wrong)| Step::Show { n, back, wrong }),
        1 => proptest::collection::vec(1u8..6, 1..4).prop_map(Step::Turns),
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

/// What waits to be shown: the packed bits and what they say of nodes by name.
type Hidden = BTreeMap<(Slot, u8), (Vec<u8>, BTreeMap<u8, Observation>)>;

/// Commits to both; the chain decides whether it takes the commitment, the tables of other tests say
/// when it must, and whether the oracle agrees on the time is checked here.
fn commit_to_both(oracle: &mut Oracle, hidden: &mut Hidden, n: u8, slot: Slot, bits: &[u8]) {
    let targets = nodes_by_index();
    let length = crate::NextIndex::<Test>::get().div_ceil(4) * 4;
    let observations: Vec<_> = (0..length)
        .map(|index| match targets.get(&index) {
            Some(_) => Observation::from_bits(bits[index as usize % bits.len()]),
            None => Observation::None,
        })
        .collect();
    let packed = pack_observations(&observations);
    if commit(reporter(n), slot, report_commitment(&validator(n), slot, &packed, &ROOT, &SALT)).is_ok() {
        assert!(!oracle.shown_since.contains_key(&slot), "somebody could have seen reports on slot {slot}");
        let said = targets.iter().map(|(index, number)| (*number, observations[*index as usize])).collect();
        let twice = oracle.commits.entry(slot).or_default().insert(n, Showing::Hidden);
        assert!(twice.is_none(), "a second commitment of validator {n} on slot {slot} was taken");
        hidden.insert((slot, n), (packed, said));
    }
}

/// Shows to both.
fn show_to_both(oracle: &mut Oracle, hidden: &Hidden, n: u8, slot: Slot, wrong: bool) {
    let Some((packed, said)) = hidden.get(&(slot, n)) else { return };
    let root = if wrong { x0_types::Hash::zero() } else { ROOT };
    if let Ok(info) = reveal(reporter(n), slot, packed.clone(), root) {
        assert_eq!(info.pays_fee == frame_support::pallet_prelude::Pays::Yes, wrong);
        let showing = if wrong { Showing::Wrong } else { Showing::Shown };
        let before = oracle.commits.get_mut(&slot).unwrap().insert(n, showing).unwrap();
        assert!(oracle.shown_since.contains_key(&slot) && before != Showing::Shown);
        if !wrong {
            oracle.said.entry(slot).or_default().insert(n, said.clone());
        }
    }
}

fn compare(oracle: &Oracle, enrolled_with: &BTreeMap<u8, Counters>) {
    assert_eq!(Measurement::closed_slot(), oracle.closed);
    for n in 1u8..6 {
        let known = Measurement::conduct(&validator(n));
        let counted = [known.reported, known.missing, known.unrevealed, known.mismatched];
        assert_eq!(counted, oracle.conduct.get(&n).copied().unwrap_or_default(), "validator {n}");
    }
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
            let mut hidden = Hidden::new();
            let maker = |set: &[(u8, u64)]| {
                let turns = Turns::get();
                let turns = if turns.is_empty() { set.iter().map(|(n, _)| *n).collect() } else { turns };
                Some(turns[(System::block_number() as usize + 1) % turns.len()])
            };
            oracle.begin(0, maker(&set), &set, &[]);
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
                    Step::Commit { n, back, bits } => {
                        let slot = Measurement::slot_of(now).saturating_sub(back);
                        commit_to_both(&mut oracle, &mut hidden, n, slot, &bits);
                    }
                    Step::Show { n, back, wrong } => {
                        let slot = Measurement::slot_of(now).saturating_sub(back);
                        show_to_both(&mut oracle, &hidden, n, slot, wrong);
                    }
                    Step::Turns(turns) => Turns::set(turns),
                    Step::SetOf(new) => {
                        Set::set(new.clone());
                        set = new;
                    }
                    Step::Block { after_ms } => {
                        end();
                        let number = |account: &AccountId| (1u8..6).find(|n| node(*n) == *account).unwrap();
                        let order: Vec<_> =
                            Measurement::targets().iter().map(|(_, account)| number(account)).collect();
                        oracle.begin(Measurement::slot_of(now), maker(&set), &set, &order);
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
