//! The count of one slot's reports.

use crate::{Config, Observations, OwnedNodes, Pallet, Reports, verdict};
use std::collections::BTreeMap;
use x0_types::{
    AccountId,
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

/// All that the verdicts of one slot depend on.
pub(crate) struct Tally {
    ballots: Vec<Ballot>,
    /// Power of each validator of the set.
    powers: Vec<u64>,
    total: u64,
    /// The place in the set of the owner of each node whose owner is a validator.
    owners: BTreeMap<NodeIndex, usize>,
}

/// The verdict on one node and what the market wants to know of it.
pub(crate) struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Seats of the validators that saw the node down.
    pub down_reporters: Vec<u8>,
    /// Number of validators that may judge the node.
    pub validators: u32,
}

impl Tally {
    /// Reads the reports of a slot, the present set, and which nodes its validators own.
    pub(crate) fn load<T: Config>(slot: Slot) -> Self {
        let set = T::Validators::current();
        let seats = Pallet::<T>::seats_of(&set);
        let mut tally = Self { ballots: Vec::new(), powers: Vec::new(), total: 0, owners: BTreeMap::new() };
        for (place, ((controller, power), seat)) in set.iter().zip(seats).enumerate() {
            tally.powers.push(*power);
            tally.total = tally.total.saturating_add(*power);
            if let Some(report) = Reports::<T>::get(slot, controller) {
                tally.ballots.push(Ballot { place, power: *power, seat, observations: report.observations });
            }
            tally.add_owned::<T>(controller, place);
        }
        tally
    }

    fn add_owned<T: Config>(&mut self, controller: &AccountId, place: usize) {
        for index in OwnedNodes::<T>::iter_key_prefix(controller) {
            self.owners.insert(index, place);
        }
    }

    /// Whether no node can get a verdict from these reports.
    pub(crate) fn is_void(&self) -> bool {
        let reported = self.ballots.iter().fold(0u64, |sum, ballot| sum.saturating_add(ballot.power));
        let owner_power_max = self.owners.values().filter_map(|place| self.powers.get(*place)).max();
        verdict::is_void(reported, self.total, owner_power_max.copied().unwrap_or_default())
    }

    /// The verdict on the node with this index. The owner's validator has no say.
    pub(crate) fn judge(&self, index: NodeIndex) -> Judgement {
        let owner = self.owners.get(&index).copied();
        let owner_power = owner.and_then(|place| self.powers.get(place)).copied().unwrap_or_default();
        let (mut up, mut down) = (0u64, 0u64);
        let mut down_reporters = Vec::new();
        for ballot in self.ballots.iter().filter(|ballot| Some(ballot.place) != owner) {
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
        let verdict = verdict::judge(up, down, self.total.saturating_sub(owner_power));
        if verdict != Verdict::Down {
            down_reporters.clear();
        }
        let validators = self.powers.len().saturating_sub(usize::from(owner.is_some()));
        Judgement { verdict, down_reporters, validators: u32::try_from(validators).unwrap_or(u32::MAX) }
    }
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
