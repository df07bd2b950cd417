//! Random histories against a model that knows no queues: it looks at everything in each slot and counts votes
//! anew each time.

use crate::{Call, Commitments, ProposalState, Votes, mock::*};
use proptest::prelude::*;
use std::collections::BTreeMap;
use x0_types::{Balance, governance::SealedVote};

#[derive(Clone, Debug)]
enum Step {
    Propose { who: u8, sealed: bool, from: u32 },
    Withdraw { which: usize },
    Vote { who: u8, which: usize, votes: i8, spam: bool },
    Commit { who: u8, which: usize, votes: i8 },
    Reveal { who: u8, which: usize },
    Delegate { who: u8, to: u32 },
    Undelegate { who: u8 },
    Contest { who: u8, which: usize },
    Pass { slots: u64 },
    Epoch,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 1u8..=10;
    prop_oneof![
        3 => (who.clone(), prop::bool::weighted(0.3), 0u32..3).prop_map(|(who, sealed, from)| Step::Propose { who, sealed, from }),
        1 => (0usize..6).prop_map(|which| Step::Withdraw { which }),
        14 => (who.clone(), 0usize..6, -9i8..=9, any::<bool>()).prop_map(|(who, which, votes, spam)| Step::Vote { who, which, votes, spam }),
        4 => (who.clone(), 0usize..6, -6i8..=6).prop_map(|(who, which, votes)| Step::Commit { who, which, votes }),
        4 => (who.clone(), 0usize..6).prop_map(|(who, which)| Step::Reveal { who, which }),
        2 => (who.clone(), 1u32..=10).prop_map(|(who, to)| Step::Delegate { who, to }),
        1 => who.prop_map(|who| Step::Undelegate { who }),
        3 => (101u8..=107, 0usize..6).prop_map(|(who, which)| Step::Contest { who, which }),
        8 => (1u64..14).prop_map(|slots| Step::Pass { slots }),
        1 => Just(Step::Epoch),
    ]
}

/// A proposal of the model.
#[derive(Clone, Debug)]
struct Item {
    who: u8,
    sealed: bool,
    call: (u32, u32),
    submitted: u64,
    state: &'static str,
    /// Beginning, end and epoch of both ballots.
    ballots: Vec<(u64, u64, u32)>,
    confirm: (u64, u64),
    extended: bool,
    due: u64,
    attempts: u8,
    /// Votes of each ballot by owner: votes, own, spam.
    votes: [BTreeMap<u32, (i8, bool, bool)>; 2],
    committed: BTreeMap<u32, SealedVote>,
    contesting: Vec<u8>,
    held: Balance,
}

#[derive(Default)]
struct Model {
    items: Vec<Item>,
    delegates: BTreeMap<(bool, u32), u32>,
    contested: Vec<(u32, u32)>,
    dial: u32,
    epoch: u32,
    treasury: Balance,
}

const OVER: [&str; 6] = ["executed", "rejected", "spam", "expired", "cancelled", "failed"];
const BUSY: [&str; 4] = ["deciding", "confirming", "committing", "revealing"];

impl Model {
    /// Credits of an owner in an epoch, summed up from all votes and envelopes.
    fn used(&self, owner: u32, epoch: u32) -> u32 {
        let mut used = 0;
        for item in &self.items {
            for (round, (_, _, of)) in item.ballots.iter().enumerate() {
                if *of == epoch {
                    used += item.votes[round].get(&owner).map_or(0, |vote| u32::from(vote.0.unsigned_abs()).pow(2));
                    used += if round == 0 && item.committed.contains_key(&owner) { 25 } else { 0 };
                }
            }
        }
        used
    }

    /// Ayes, nays, heads for, heads against, spam.
    fn count(votes: &BTreeMap<u32, (i8, bool, bool)>) -> (u64, u64, u32, u32, u32) {
        votes.values().fold((0, 0, 0, 0, 0), |(a, n, f, g, s), (votes, _, spam)| {
            let size = u64::from(votes.unsigned_abs());
            match votes.signum() {
                1 => (a + size, n, f + 1, g, s + u32::from(*spam)),
                -1 => (a, n + size, f, g + 1, s + u32::from(*spam)),
                _ => (a, n, f, g, s + u32::from(*spam)),
            }
        })
    }

    /// The default thresholds by fractions of whole numbers: 100 - 50 * t / 20 and 50 - 40 * t / 40 per cent.
    fn passes(item: &Item, now: u64) -> bool {
        let (ayes, nays, heads, ..) = Self::count(&item.votes[0]);
        let t = if item.sealed { 40 } else { now - item.ballots[0].0 };
        let approval = if t >= 20 { 1_000 } else { 2_000 - 50 * t };
        let support = if t >= 40 { 100 } else { 500 - 10 * t };
        ayes > 0 && ayes * 2_000 >= (ayes + nays) * approval && u64::from(heads) * 1_000 >= 10 * support
    }

    fn cast(&mut self, which: usize, round: usize, owner: u32, vote: (i8, bool, bool)) -> bool {
        let epoch = self.items[which].ballots[round].2;
        let old = self.items[which].votes[round].insert(owner, vote);
        if self.used(owner, epoch) <= 99 {
            return true;
        }
        match old {
            Some(old) => self.items[which].votes[round].insert(owner, old),
            None => self.items[which].votes[round].remove(&owner),
        };
        false
    }

    fn replicate(&mut self, which: usize, delegate: u32, votes: i8) {
        let (sealed, epoch) = (self.items[which].sealed, self.items[which].ballots[0].2);
        let of: Vec<u32> = self
            .delegates
            .iter()
            .filter(|((on, _), to)| *on == sealed && **to == delegate)
            .map(|((_, who), _)| *who)
            .collect();
        for owner in of {
            let own = self.items[which].votes[0].get(&owner).is_some_and(|vote| vote.1);
            if own || self.items[which].committed.contains_key(&owner) {
                continue;
            }
            self.items[which].votes[0].remove(&owner);
            let left = 99 - self.used(owner, epoch);
            let size = (0..=9i8).rev().find(|n| u32::from(n.unsigned_abs()).pow(2) <= left).unwrap().min(votes.abs());
            self.items[which].votes[0].insert(owner, (size * votes.signum(), false, false));
        }
    }

    fn finish(&mut self, which: usize, state: &'static str, now: u64) {
        let was = self.items[which].state;
        if state == "spam" {
            self.treasury += self.items[which].held;
        }
        self.items[which].held = 0;
        self.items[which].state = state;
        if BUSY.contains(&was) {
            self.free_place(self.items[which].sealed, now);
        }
    }

    fn busy(&self, sealed: bool) -> usize {
        self.items.iter().filter(|item| item.sealed == sealed && BUSY.contains(&item.state)).count()
    }

    fn begin(&mut self, which: usize, now: u64) {
        let epoch = self.epoch;
        let item = &mut self.items[which];
        item.state = if item.sealed { "committing" } else { "deciding" };
        item.ballots.push((now, now + 40, epoch));
    }

    fn free_place(&mut self, sealed: bool, now: u64) {
        if self.busy(sealed) >= 2 {
            return;
        }
        let next = self
            .items
            .iter()
            .position(|item| item.sealed == sealed && item.state == "preparing" && item.submitted + 2 <= now);
        if let Some(next) = next {
            self.begin(next, now);
        }
    }

    fn decide(&mut self, which: usize, now: u64) {
        let was = self.items[which].state;
        self.items[which].state = "passed";
        self.items[which].due = now + 6;
        self.items[which].attempts = 0;
        if BUSY.contains(&was) {
            self.free_place(self.items[which].sealed, now);
        }
    }

    fn reject(&mut self, which: usize, now: u64) {
        let (_, _, heads, against, spam) = Self::count(&self.items[which].votes[0]);
        let is_spam = heads < 1 && spam > 0 && 3 * spam >= heads + against;
        self.finish(which, if is_spam { "spam" } else { "rejected" }, now);
    }

    /// Judges an open ballot.
    fn judge(&mut self, which: usize, now: u64) {
        let item = &mut self.items[which];
        let passes = Self::passes(item, now);
        let over = now >= item.ballots[0].1;
        match (item.state, passes) {
            ("deciding", true) => {
                if !item.extended && !over && item.ballots[0].1 - now <= 4 {
                    item.extended = true;
                    item.ballots[0].1 += 4;
                }
                let least = if item.extended { item.ballots[0].1 } else { 0 };
                item.confirm = (now, least.max(now + 5));
                item.state = "confirming";
            }
            ("deciding", false) if over => self.reject(which, now),
            ("confirming", false) => {
                item.state = "deciding";
                if over {
                    self.reject(which, now);
                }
            }
            _ => {}
        }
    }

    /// Everything that happens by itself in a slot.
    fn tick(&mut self, now: u64) {
        for which in 0..self.items.len() {
            let item = &self.items[which];
            match item.state {
                "preparing" if now >= item.submitted + 2 => {
                    let (gives_up, sealed) = (now >= item.submitted + 12, item.sealed);
                    let looked_before = now > item.submitted + 2;
                    if self.busy(sealed) < 2 && (!looked_before || gives_up) {
                        self.begin(which, now);
                    } else if gives_up {
                        self.finish(which, "expired", now);
                    }
                }
                "deciding" => self.judge(which, now),
                "confirming" if now >= item.confirm.1 => self.decide(which, now),
                "committing" if now >= item.ballots[0].1 => {
                    self.items[which].state = "revealing";
                    self.items[which].due = now + 100;
                }
                "revealing" if now >= item.due => {
                    if Self::passes(&self.items[which], now) {
                        self.decide(which, now);
                    } else {
                        self.reject(which, now);
                    }
                }
                "contested" if now >= item.ballots[1].1 => {
                    let (ayes, nays, heads, ..) = Self::count(&item.votes[1]);
                    if ayes > 0 && ayes * 1_000 >= (ayes + nays) * 667 && heads * 3 >= 10 {
                        self.decide(which, now);
                    } else {
                        self.finish(which, "cancelled", now);
                    }
                }
                _ => {}
            }
        }
        let mut due: Vec<(u64, usize)> = (0..self.items.len())
            .filter(|which| self.items[*which].state == "passed" && self.items[*which].due <= now)
            .map(|which| (self.items[which].due, which))
            .collect();
        due.sort_unstable();
        for (_, which) in due {
            let (expected, new) = self.items[which].call;
            if self.dial == expected {
                self.dial = new;
                self.finish(which, "executed", now);
            } else {
                self.items[which].attempts += 1;
                self.items[which].due = now + 10;
                if self.items[which].attempts == 4 {
                    self.finish(which, "failed", now);
                }
            }
        }
    }

    /// Makes the step in the model if it may be made; says whether.
    fn apply(&mut self, step: &Step, now: u64) -> bool {
        let which = |which: usize| if self.items.is_empty() { 0 } else { which % self.items.len() };
        match *step {
            Step::Propose { who, sealed, from } => {
                let waiting = self.items.iter().filter(|item| item.sealed == sealed && item.state == "preparing");
                if waiting.count() >= 16 {
                    return false;
                }
                let call = (from, from + 1);
                self.items.push(Item {
                    who,
                    sealed,
                    call,
                    submitted: now,
                    state: "preparing",
                    ballots: vec![],
                    confirm: (0, 0),
                    extended: false,
                    due: 0,
                    attempts: 0,
                    votes: Default::default(),
                    committed: BTreeMap::new(),
                    contesting: vec![],
                    held: deposit_for(&turn(call.0, call.1)),
                });
                true
            }
            Step::Withdraw { which: n } => {
                let n = which(n);
                let may = self.items.get(n).is_some_and(|item| item.state == "preparing");
                if may {
                    self.finish(n, "cancelled", now);
                }
                may
            }
            Step::Vote { who, which: n, votes, spam } => {
                let n = which(n);
                let Some(item) = self.items.get(n) else { return false };
                let in_time = match item.state {
                    "deciding" => now < item.ballots[0].1,
                    "confirming" => now < item.confirm.1,
                    "contested" => now < item.ballots[1].1,
                    _ => false,
                };
                let round = usize::from(item.state == "contested");
                if !in_time || (spam && votes >= 0) || !self.cast(n, round, who.into(), (votes, true, spam)) {
                    return false;
                }
                if round == 0 {
                    self.replicate(n, who.into(), votes);
                    self.judge(n, now);
                }
                true
            }
            Step::Commit { who, which: n, votes } => {
                let n = which(n);
                let Some(item) = self.items.get(n) else { return false };
                let owner = u32::from(who);
                if item.state != "committing" || now >= item.ballots[0].1 {
                    return false;
                }
                if !item.committed.contains_key(&owner) && self.used(owner, item.ballots[0].2) + 25 > 99 {
                    return false;
                }
                let vote = SealedVote { proposal: n as u32, owner, votes, spam: false, salt: [who; 32] };
                self.items[n].committed.insert(owner, vote);
                true
            }
            Step::Reveal { who, which: n } => {
                let n = which(n);
                let Some(item) = self.items.get(n) else { return false };
                let owner = u32::from(who);
                let Some(vote) = item.committed.get(&owner) else { return false };
                let votes = vote.votes;
                if item.state != "revealing" || now >= item.due || votes.unsigned_abs() > 5 {
                    return false;
                }
                self.items[n].committed.remove(&owner);
                assert!(self.cast(n, 0, owner, (votes, true, false)), "the envelope pays");
                self.replicate(n, owner, votes);
                true
            }
            Step::Delegate { who, to } => {
                let owner = u32::from(who);
                let delegates_on = self.delegates.contains_key(&(false, to));
                let has_delegators = self.delegates.iter().any(|((sealed, _), of)| !sealed && *of == owner);
                if owner == to || delegates_on || has_delegators {
                    return false;
                }
                self.delegates.insert((false, owner), to);
                true
            }
            Step::Undelegate { who } => self.delegates.remove(&(false, who.into())).is_some(),
            Step::Contest { who, which: n } => {
                let n = which(n);
                let Some(item) = self.items.get_mut(n) else { return false };
                let before = self.contested.contains(&item.call) || item.ballots.len() > 1;
                if item.state != "passed" || before || now >= item.due || item.contesting.contains(&who) {
                    return false;
                }
                item.contesting.push(who);
                if item.contesting.len() * 3 >= 7 {
                    item.state = "contested";
                    item.ballots.push((now, now + 40, self.epoch));
                    self.contested.push(item.call);
                }
                true
            }
            Step::Pass { slots } => {
                for slot in now + 1..=now + slots {
                    self.tick(slot);
                }
                true
            }
            Step::Epoch => {
                self.epoch += 1;
                true
            }
        }
    }
}

/// Makes the step on the chain; says whether it was made.
fn perform(step: &Step, model: &Model) -> bool {
    let count = model.items.len();
    let number = |which: usize| if count == 0 { 0 } else { (which % count) as u32 };
    match *step {
        Step::Propose { who, sealed, from } => {
            propose(who, if sealed { SEALED } else { OPEN }, turn(from, from + 1)).is_ok()
        }
        Step::Withdraw { which } => {
            let by = model.items.get(number(which) as usize).map_or(1, |item| item.who);
            call(by, Call::withdraw { proposal: number(which) }).is_ok()
        }
        Step::Vote { who, which, votes, spam } => {
            call(who, Call::vote { proposal: number(which), votes, spam, reason: None }).is_ok()
        }
        Step::Commit { who, which, votes } => {
            let proposal = number(which);
            let vote = SealedVote { proposal, owner: who.into(), votes, spam: false, salt: [who; 32] };
            call(who, Call::commit_vote { proposal, hash: Governance::commitment_of(&vote) }).is_ok()
        }
        Step::Reveal { who, which } => {
            let known = model.items.get(number(which) as usize).and_then(|item| item.committed.get(&who.into()));
            let other = SealedVote { proposal: number(which), owner: who.into(), votes: 1, spam: false, salt: [0; 32] };
            let vote = known.cloned().unwrap_or(other);
            dispatch(RuntimeOrigin::none(), Call::reveal_vote { vote }).is_ok()
        }
        Step::Delegate { who, to } => call(who, Call::delegate { track: OPEN, to }).is_ok(),
        Step::Undelegate { who } => call(who, Call::undelegate { track: OPEN }).is_ok(),
        Step::Contest { who, which } => call(who, Call::contest { proposal: number(which) }).is_ok(),
        Step::Pass { slots } => {
            for _ in 0..slots {
                pass(1);
            }
            true
        }
        Step::Epoch => {
            world(|world| world.epoch += 1);
            true
        }
    }
}

fn compare(model: &Model) {
    for (number, item) in (0u32..).zip(&model.items) {
        // What the chain removed is over in the model too.
        let Some(found) = crate::Proposals::<Test>::get(number) else {
            assert!(OVER.contains(&item.state), "{number}: {item:?}");
            continue;
        };
        let expected = match item.state {
            "spam" => "rejected as spam",
            "failed" => "enactment failed",
            state => state,
        };
        assert_eq!(found.state.name(), expected, "proposal {number}: {item:?} {found:?}");
        if let ProposalState::Confirming { since, until } = found.state {
            assert_eq!((since, until), item.confirm, "{number}");
        }
        if let ProposalState::Passed { at, attempts } = found.state {
            assert_eq!((at, attempts), (item.due, item.attempts), "{number}");
        }
        assert_eq!(found.deposit, item.held);
        for (round, ballot) in
            [Some(found.ballot).filter(|ballot| ballot.ends > 0), found.second].into_iter().enumerate()
        {
            let Some(ballot) = ballot else { continue };
            assert_eq!((ballot.began, ballot.ends, ballot.epoch), item.ballots[round]);
            let tally = ballot.tally;
            let counted = (tally.ayes, tally.nays, tally.heads_for, tally.heads_against, tally.spam);
            assert_eq!(counted, Model::count(&item.votes[round]), "{number}: {item:?}");
        }
    }
    assert_eq!(dial(), model.dial);
    assert_eq!(Balances::free_balance(account(TREASURY)), ENDOWMENT + model.treasury);
    if Votes::<Test>::iter().next().is_some() || Commitments::<Test>::iter().next().is_some() {
        for owner in 1..=10 {
            assert_eq!(left(owner), 99 - model.used(owner, model.epoch), "owner {owner}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, max_shrink_iters: 4_000, ..ProptestConfig::default() })]
    /// G1, G2, G5, G6, G7, G9, G10, G11, G12, G13, G14, G17: for every history the chain allows what the model allows and agrees with it after each
    /// step about states, times, tallies, credits, deposits and what was carried out.
    #[test]
    fn chain_and_model_agree(steps in proptest::collection::vec(step(), 1..70)) {
        run(|| {
            let mut model = Model { epoch: 5, ..Model::default() };
            for step in steps {
                let now = slot_now();
                let done = perform(&step, &model);
                prop_assert_eq!(model.apply(&step, now), done, "{:?}", step);
                compare(&model);
            }
            Ok(())
        })?;
    }
}
