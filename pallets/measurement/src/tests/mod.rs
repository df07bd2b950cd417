//! What the market, the validators' workers and the wallets rely on.

mod challenges;
mod clock;
mod complaints;
mod conduct;
mod indices;
mod oracle;
mod reports;
mod verdicts;

use crate::mock::*;
use x0_types::market::{Counters, Meter, Observation, Slot};

/// Reports in `slot`, closes it, and gives the counters of node 1 after that.
fn closed_with(slot: Slot, reports: &[(u8, Observation)]) -> Counters {
    go_to(slot);
    block(time_in(slot), || {
        for (n, observation) in reports {
            report(*n, slot, &[*observation]).unwrap();
        }
    });
    close(slot);
    Measurement::counters(&node(1)).unwrap()
}

/// Validators 1 to n with one vote each.
fn equals(n: u8) -> Vec<(u8, u64)> {
    (1..=n).map(|n| (n, 1)).collect()
}
