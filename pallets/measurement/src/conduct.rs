//! How validators keep to their duty: reports that never came, commitments that were never shown, nodes of
//! which a report says nothing, receipts that could not be shown.

use crate::{
    Commitments, Conduct, Conducts, Config, Pallet, Reports,
    types::{NodeBits, Observations},
};
use x0_types::{
    AccountId,
    market::{Slot, ValidatorSet},
};

impl<T: Config> Pallet<T> {
    /// What is known of a validator.
    #[must_use]
    pub fn conduct(validator: &AccountId) -> Conduct {
        Conducts::<T>::get().iter().find(|(who, _)| who == validator).map(|(_, conduct)| *conduct).unwrap_or_default()
    }

    /// Books what each validator of the present set did about a slot that somebody reported on.
    pub(crate) fn book_conduct(slot: Slot, active: &NodeBits) {
        let mask = PairMask::of(active);
        let set: Vec<AccountId> = T::Validators::current().into_iter().map(|(who, _)| who).collect();
        Self::change_conduct(&set, &set, |who, conduct| {
            let seen = match (Reports::<T>::get(slot, who), Commitments::<T>::get(slot, who)) {
                (Some(report), _) => {
                    conduct.reported = conduct.reported.saturating_add(1);
                    mask.judged(&report.observations)
                }
                (None, Some(commitment)) => {
                    let count = if commitment.mismatched { &mut conduct.mismatched } else { &mut conduct.unrevealed };
                    *count = count.saturating_add(1);
                    0
                }
                (None, None) => {
                    conduct.missing = conduct.missing.saturating_add(1);
                    0
                }
            };
            conduct.asked = conduct.asked.saturating_add(mask.nodes);
            conduct.unknown = conduct.unknown.saturating_add(mask.nodes.saturating_sub(seen));
        });
    }

    /// Changes the entry of one validator.
    pub(crate) fn note_conduct(validator: &AccountId, change: impl Fn(&mut Conduct)) {
        let set: Vec<AccountId> = T::Validators::current().into_iter().map(|(who, _)| who).collect();
        Self::change_conduct(&set, std::slice::from_ref(validator), |_, conduct| change(conduct));
    }

    /// Changes the entries of `whom`; where all places are taken, one who is not in `set` gives way.
    fn change_conduct(set: &[AccountId], whom: &[AccountId], change: impl Fn(&AccountId, &mut Conduct)) {
        let mut all = Conducts::<T>::get();
        for who in whom {
            let mut place = all.iter().position(|(known, _)| known == who);
            if place.is_none() {
                if all.is_full()
                    && let Some(gone) = all.iter().position(|(known, _)| !set.contains(known))
                {
                    all.swap_remove(gone);
                }
                place = all.try_push((who.clone(), Conduct::default())).ok().map(|()| all.len().saturating_sub(1));
            }
            if let Some((_, conduct)) = place.and_then(|place| all.get_mut(place)) {
                change(who, conduct);
            }
        }
        Conducts::<T>::put(all);
    }
}

/// Both bits of each measured node in packed observations.
struct PairMask {
    /// The low bit of the pair of each measured node.
    low: Vec<u8>,
    /// Measured nodes.
    nodes: u64,
}

impl PairMask {
    fn of(active: &NodeBits) -> Self {
        let (mut low, mut nodes) = (Vec::new(), 0u64);
        for index in active.iter() {
            let Ok(byte) = usize::try_from(index / 4) else { continue };
            if low.len() <= byte {
                low.resize(byte.saturating_add(1), 0u8);
            }
            if let Some(pairs) = low.get_mut(byte) {
                *pairs |= 1 << (2 * (index % 4));
            }
            nodes = nodes.saturating_add(1);
        }
        Self { low, nodes }
    }

    /// Measured nodes that these observations call up or down: their two bits differ.
    fn judged(&self, observations: &Observations) -> u64 {
        let pairs = observations.iter().zip(&self.low);
        pairs.map(|(seen, low)| u64::from(((seen ^ (seen >> 1)) & low).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use x0_types::market::{NodeIndex, Observation, observation_at};

    proptest! {
        /// The bits by the byte say what a look at each node says.
        #[test]
        fn judged_nodes_are_counted(bytes in proptest::collection::vec(any::<u8>(), 0..20), indices in proptest::collection::btree_set(0u32..100, 0..60)) {
            let mut active = NodeBits::default();
            indices.iter().for_each(|index: &NodeIndex| active.set(*index, true));
            let mask = PairMask::of(&active);
            let judged = indices.iter().filter(|index| matches!(observation_at(&bytes, **index), Observation::Up | Observation::Down));
            prop_assert_eq!(mask.judged(&Observations::try_from(bytes.clone()).unwrap()), judged.count() as u64);
            prop_assert_eq!(mask.nodes, indices.len() as u64);
        }
    }
}
