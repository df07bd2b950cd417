//! Seats: the bit that stands for a validator in bitmaps of reporters.
//!
//! The market unites such bitmaps over the slots of a run to learn how many validators saw a node
//! down. Places in the validator set would not do, because they shift when the set changes, and a
//! validator that moved would count twice. So each validator has a seat, which it keeps while it is
//! in the set, and after that until somebody else needs it. Two validators that share a seat at
//! different times count once: the error is on the side of not failing a deal.

use crate::{Config, Pallet, Seats};
use x0_types::AccountId;

impl<T: Config> Pallet<T> {
    /// The seats of these validators, in their order; gives seats to those that have none.
    pub(crate) fn seats_of(validators: &[(AccountId, u64)]) -> Vec<Option<usize>> {
        let mut seats = Seats::<T>::get();
        let mut changed = false;
        for (controller, _) in validators {
            if seats.contains(controller) {
                continue;
            }
            changed = true;
            if seats.try_push(controller.clone()).is_err() {
                let left = seats.iter_mut().find(|holder| validators.iter().all(|(one, _)| one != *holder));
                if let Some(holder) = left {
                    *holder = controller.clone();
                }
            }
        }
        let places = validators.iter().map(|(one, _)| seats.iter().position(|holder| holder == one)).collect();
        if changed {
            Seats::<T>::put(seats);
        }
        places
    }
}
