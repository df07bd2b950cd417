//! Notices a tip that stands still while the others go on.
//!
//! Synchronisation has stood still for hours in other networks, with a process that looked healthy. So when more than a
//! third of the validators' worth of peers say that they are ahead and the tip does not move:
//!
//! ```text
//!   for STUCK_TIP_MS        log, count, and let the synchronisation forget its peers and meet them again
//!   for STUCK_TIP_EXIT_MS   end the engine in a way that a restart may mend
//! ```
//!
//! Fewer peers than that are not believed: a few liars could otherwise restart every node for ever. When nobody has the
//! next block any more, a restart is of no use either; the log says what is.

use crate::{fate::Fate, host::Shared, net::Fabric};
use malachite_core_types::ValidatorSet as _;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use x0_limits::{STUCK_TIP_EXIT_MS, STUCK_TIP_MS};

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(1_000);

/// What the watchdog wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bark {
    /// Nothing.
    Quiet,
    /// The synchronisation should start over.
    Again,
    /// The process should start over.
    Exit,
}

/// What the watchdog remembers between two looks.
struct Watch {
    tip: u64,
    /// Since when the tip stands still while others are ahead.
    stuck_since: Option<Instant>,
    again_at: Instant,
}

impl Watch {
    const fn new(tip: u64, now: Instant) -> Self {
        Self { tip, stuck_since: None, again_at: now }
    }

    /// One look: `ahead` peers of a network of `validators` say that their tip is beyond `tip`.
    fn look(&mut self, now: Instant, tip: u64, ahead: usize, validators: usize) -> Bark {
        let believed = ahead > validators.saturating_sub(1) / 3;
        if tip != self.tip || !believed {
            *self = Self::new(tip, now);
            return Bark::Quiet;
        }
        let since = *self.stuck_since.get_or_insert(now);
        let stuck = now.saturating_duration_since(since);
        if stuck >= Duration::from_millis(STUCK_TIP_EXIT_MS) {
            return Bark::Exit;
        }
        let pause = Duration::from_millis(STUCK_TIP_MS);
        if stuck >= pause && now.saturating_duration_since(self.again_at) >= pause {
            self.again_at = now;
            return Bark::Again;
        }
        Bark::Quiet
    }
}

/// Watches until the engine stops.
pub(crate) async fn watch(shared: Arc<Shared>, fabric: Arc<Fabric>, fate: Fate, mut stopping: watch::Receiver<bool>) {
    let mut watch = Watch::new(shared.tip.borrow().height, Instant::now());
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let tip = shared.tip.borrow().height;
        let validators = shared.book.set(tip.saturating_add(1)).map_or(1, |set| set.count());
        // A peer that is one block ahead is usual.
        let ahead = fabric.peers_beyond(tip.saturating_add(1));
        match watch.look(Instant::now(), tip, ahead, validators) {
            Bark::Quiet => {}
            Bark::Again => {
                tracing::error!(tip, ahead, "the tip stands still while others are ahead; synchronising anew");
                shared.ledger.stuck();
                fabric.introduce_again();
            }
            Bark::Exit if !fabric.anybody_has(tip.saturating_add(1)) => {
                tracing::error!(tip, "no peer has the next block any more: synchronise from a snapshot");
                watch = Watch::new(tip, Instant::now());
            }
            Bark::Exit => {
                return fate
                    .fail(&format!("the tip stands at {tip} while {ahead} peers are ahead; synchronisation is stuck"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tip_that_stands_still_behind_enough_peers_is_noticed_and_nothing_else_is() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut watch = Watch::new(5, start);
        assert_eq!(watch.look(at(0), 5, 2, 4), Bark::Quiet);
        assert_eq!(watch.look(at(STUCK_TIP_MS - 1), 5, 2, 4), Bark::Quiet);
        assert_eq!(watch.look(at(STUCK_TIP_MS), 5, 2, 4), Bark::Again);
        assert_eq!(watch.look(at(STUCK_TIP_MS + 1_000), 5, 2, 4), Bark::Quiet, "not at every look");
        assert_eq!(watch.look(at(2 * STUCK_TIP_MS), 5, 2, 4), Bark::Again);
        assert_eq!(watch.look(at(STUCK_TIP_EXIT_MS), 5, 2, 4), Bark::Exit);
        // A block, or a peer that takes its word back, starts the clock anew.
        assert_eq!(watch.look(at(STUCK_TIP_EXIT_MS), 6, 2, 4), Bark::Quiet);
        assert_eq!(watch.look(at(STUCK_TIP_EXIT_MS + STUCK_TIP_MS / 2), 6, 2, 4), Bark::Quiet);
        assert_eq!(watch.look(at(STUCK_TIP_EXIT_MS + STUCK_TIP_MS), 6, 1, 4), Bark::Quiet);
        assert_eq!(watch.look(at(10 * STUCK_TIP_EXIT_MS), 6, 2, 4), Bark::Quiet);
        // A third of the validators may lie.
        let mut watch = Watch::new(5, start);
        for late in [0, STUCK_TIP_MS, STUCK_TIP_EXIT_MS, 2 * STUCK_TIP_EXIT_MS] {
            assert_eq!(watch.look(at(late), 5, 1, 4), Bark::Quiet);
        }
    }
}
