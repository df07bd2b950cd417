//! The count of one slot's reports.

use crate::{ActiveNodes, Config, NodeAt, Nodes, Observations, Pallet, Reports, verdict};
use x0_types::{
    AccountId,
    governance::{OwnerId, OwnerRegistry},
    market::{NodeIndex, Observation, Slot, ValidatorSet, Verdict, observation_at},
};

/// A report of a validator of the present set.
struct Ballot {
    /// Place of the validator in the set.
    place: usize,
    power: u64,
    seat: Option<usize>,
    observations: Observations,
}

/// A validator of the present set.
struct Judge {
    controller: AccountId,
    power: u64,
    owner: Option<OwnerId>,
}

impl Judge {
    /// Whether this validator and that account belong together.
    fn belongs_to(&self, account: &AccountId, owner: Option<OwnerId>) -> bool {
        self.controller == *account || (self.owner.is_some() && self.owner == owner)
    }
}

/// All that the verdicts of one slot depend on.
pub(crate) struct Tally {
    ballots: Vec<Ballot>,
    judges: Vec<Judge>,
    total: u64,
    /// The largest power that validators of one owner have together.
    owner_power_max: u64,
}

/// The verdict on one node and what the market wants to know of it.
pub(crate) struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Seats of the validators that saw the node down.
    pub down_reporters: Vec<u8>,
    /// Number of validators that may judge the node.
    pub validators: u32,
    /// Whether the node's owner was looked up.
    pub looked_up: bool,
}

impl Tally {
    /// Reads the reports of a slot and the present set.
    pub(crate) fn load<T: Config>(slot: Slot) -> Self {
        let set = T::Validators::current();
        let seats = Pallet::<T>::seats_of(&set);
        let mut tally = Self { ballots: Vec::new(), judges: Vec::new(), total: 0, owner_power_max: 0 };
        for (place, ((controller, power), seat)) in set.into_iter().zip(seats).enumerate() {
            tally.total = tally.total.saturating_add(power);
            if let Some(report) = Reports::<T>::get(slot, &controller) {
                tally.ballots.push(Ballot { place, power, seat, observations: report.observations });
            }
            let owner = T::Owners::owner_of(&controller);
            tally.judges.push(Judge { controller, power, owner });
        }
        let together = tally.judges.iter().map(|judge| tally.power_of(&judge.controller, judge.owner));
        tally.owner_power_max = together.max().unwrap_or_default();
        tally
    }

    /// The power of the validators that belong to this account.
    fn power_of(&self, account: &AccountId, owner: Option<OwnerId>) -> u64 {
        let own = self.judges.iter().filter(|judge| judge.belongs_to(account, owner));
        own.fold(0u64, |sum, judge| sum.saturating_add(judge.power))
    }

    /// Whether no node can get a verdict from these reports, and how many owners were looked up to know.
    pub(crate) fn is_void<T: Config>(&self) -> (bool, u32) {
        let reported = self.ballots.iter().fold(0u64, |sum, ballot| sum.saturating_add(ballot.power));
        if !verdict::is_void(reported, self.total, 0) {
            return (false, 0);
        }
        if verdict::is_void(reported, self.total, self.owner_power_max) {
            return (true, 0);
        }
        // Between the two it depends on whether validators own a node at all.
        let mut looked_up = 0u32;
        let mut power_max = 0;
        for index in ActiveNodes::<T>::get().iter() {
            looked_up = looked_up.saturating_add(1);
            if let Some((owner, id)) = owner_of::<T>(index) {
                power_max = power_max.max(self.power_of(&owner, id));
            }
        }
        (verdict::is_void(reported, self.total, power_max), looked_up)
    }

    /// The verdict on the node with this index. The validators of its owner have no say.
    pub(crate) fn judge<T: Config>(&self, index: NodeIndex) -> Judgement {
        let (up, down, _) = self.count(index, |_| false);
        let validators = u32::try_from(self.judges.len()).unwrap_or(u32::MAX);
        // Whoever the owner is: without its validators there is at least this much up, and no more down.
        let sure = verdict::judge(up.saturating_sub(self.owner_power_max), down, self.total) == Verdict::Up
            && !verdict::exceeds_third(down, self.total.saturating_sub(self.owner_power_max));
        if sure {
            return Judgement { verdict: Verdict::Up, down_reporters: Vec::new(), validators, looked_up: false };
        }
        let Some((owner, id)) = owner_of::<T>(index) else {
            return Judgement { verdict: Verdict::Unknown, down_reporters: Vec::new(), validators, looked_up: true };
        };
        let is_own = |place: usize| self.judges.get(place).is_some_and(|judge| judge.belongs_to(&owner, id));
        let (up, down, mut down_reporters) = self.count(index, is_own);
        let verdict = verdict::judge(up, down, self.total.saturating_sub(self.power_of(&owner, id)));
        if verdict != Verdict::Down {
            down_reporters.clear();
        }
        let own = (0..self.judges.len()).filter(|place| is_own(*place)).count();
        let validators = validators.saturating_sub(u32::try_from(own).unwrap_or(u32::MAX));
        Judgement { verdict, down_reporters, validators, looked_up: true }
    }

    /// Power that saw the node up and down, and the seats of the latter, without the validators of these places.
    fn count(&self, index: NodeIndex, is_own: impl Fn(usize) -> bool) -> (u64, u64, Vec<u8>) {
        let (mut up, mut down) = (0u64, 0u64);
        let mut down_reporters = Vec::new();
        for ballot in self.ballots.iter().filter(|ballot| !is_own(ballot.place)) {
            match observation_at(&ballot.observations, index) {
                Observation::Up => up = up.saturating_add(ballot.power),
                Observation::Down => {
                    down = down.saturating_add(ballot.power);
                    set_bit(&mut down_reporters, ballot.seat);
                }
                // Not probed, or own probes that disagree, speak for neither side.
                Observation::None | Observation::Conflict => {}
            }
        }
        (up, down, down_reporters)
    }
}

/// The account that controls the node with this index, and its entry in the owners' registry.
fn owner_of<T: Config>(index: NodeIndex) -> Option<(AccountId, Option<OwnerId>)> {
    let owner = Nodes::<T>::get(NodeAt::<T>::get(index)?)?.owner;
    let id = T::Owners::owner_of(&owner);
    Some((owner, id))
}

/// Sets the bit of a seat in a bitmap that grows as needed; a set has at most as many seats as
/// validators, so the bitmap stays short.
fn set_bit(bits: &mut Vec<u8>, seat: Option<usize>) {
    let Some(seat) = seat else { return };
    let byte = seat / 8;
    if bits.len() <= byte {
        bits.resize(byte.saturating_add(1), 0);
    }
    if let Some(slot) = bits.get_mut(byte) {
        *slot |= 1 << (seat % 8);
    }
}
