//! What the engine counts, in plain numbers: telemetry gives them names.

use crate::{
    context::{Address, ChainContext, Height, ValidatorSet, proposer},
    net::FrameError,
};
use malachite_core_types::{CommitCertificate, Round, Validator as _, ValidatorSet as _};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};
use x0_limits::VALIDATORS_MAX;
use x0_sign_guard::SignStats;

/// Upper bounds of the histogram of rounds per height; one more bucket takes the rest.
pub const ROUNDS_BOUNDS: [u32; 6] = [1, 2, 3, 5, 10, 20];

/// What is known of one validator since the start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatorStats {
    /// BLAKE2b-256 of its consensus key.
    pub address: [u8; 32],
    /// The account that answers for it.
    pub controller: [u8; 32],
    /// Decided heights at which it was in the set.
    pub heights: u64,
    /// Of these, the ones whose certificate had its signature when this node decided. A quorum is enough for a decision,
    /// so that a correct validator misses some.
    pub signed: u64,
    /// Blocks of its that were decided in the round of its turn.
    pub proposed: u64,
    /// Its turns that ended without a decision.
    pub missed: u64,
}

/// What the engine counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStats {
    /// Height of the last committed block.
    pub tip: u64,
    /// Height at which the engine works.
    pub height: u64,
    /// Its round.
    pub round: u32,
    /// Peers with a standing link.
    pub peers: u64,
    /// Whether this node's key is in the set of the next height.
    pub validator: bool,
    /// Validators of the next height that propose last because they made none of the last blocks.
    pub benched: u64,
    /// Heights decided since the start.
    pub decided: u64,
    /// Of these, heights by the number of rounds that they took: up to each of [`ROUNDS_BOUNDS`], and more.
    pub rounds: [u64; 7],
    /// Rounds of all these heights together.
    pub rounds_sum: u64,
    /// Turns to propose that ended without a decision.
    pub missed_proposals: u64,
    /// Frames of peers that were refused as an offence.
    pub refused_frames: u64,
    /// Frames of peers that were of no use, and nobody's fault.
    pub useless_frames: u64,
    /// Requests for decided blocks made.
    pub sync_requests: u64,
    /// Requests for decided blocks received.
    pub sync_answers: u64,
    /// Times that the watchdog let the synchronisation start over because the tip stood still.
    pub stuck_tips: u64,
    /// Contradictions of validators that were proven.
    pub evidence_found: u64,
    /// Of these, the ones that are not on chain yet.
    pub evidence_waiting: u64,
    /// What the guard of the consensus key has done.
    pub guard: SignStats,
    /// Validators, in the order of their addresses.
    pub validators: Vec<ValidatorStats>,
}

#[derive(Default)]
struct Book {
    decided: u64,
    rounds: [u64; 7],
    rounds_sum: u64,
    missed: u64,
    validators: BTreeMap<Address, ValidatorStats>,
}

/// The counters behind [`EngineStats`].
#[derive(Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    refused: AtomicU64,
    useless: AtomicU64,
    sync_requests: AtomicU64,
    sync_answers: AtomicU64,
    stuck: AtomicU64,
}

impl Ledger {
    pub(crate) fn refused(&self, error: &FrameError) {
        let counter = if error.offence().is_some() { &self.refused } else { &self.useless };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_frames(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn sync_request(&self) {
        self.sync_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sync_answer(&self) {
        self.sync_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stuck(&self) {
        self.stuck.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a decision of this node's engine.
    pub(crate) fn decided(
        &self,
        certificate: &CommitCertificate<ChainContext>,
        set: &ValidatorSet,
        controller: impl Fn(&Address) -> Option<[u8; 32]>,
    ) {
        let mut book = self.book.lock();
        let book = &mut *book;
        let round = certificate.round.as_u32().unwrap_or(0);
        let rounds = round.saturating_add(1);
        let bucket = ROUNDS_BOUNDS.iter().position(|bound| rounds <= *bound).unwrap_or(ROUNDS_BOUNDS.len());
        book.rounds[bucket] = book.rounds[bucket].saturating_add(1);
        book.rounds_sum = book.rounds_sum.saturating_add(u64::from(rounds));
        book.decided = book.decided.saturating_add(1);
        // Validators that left make room: what they did is history.
        if book.validators.len() > 4 * usize::try_from(VALIDATORS_MAX).unwrap_or(usize::MAX) {
            book.validators.retain(|address, _| set.contains(address));
        }
        for index in 0..set.count() {
            let Some(address) = set.get_by_index(index).map(|validator| *validator.address()) else { continue };
            let controller = controller(&address).unwrap_or_default();
            let fresh =
                ValidatorStats { address: address.0, controller, heights: 0, signed: 0, proposed: 0, missed: 0 };
            let stats = book.validators.entry(address).or_insert(fresh);
            stats.heights = stats.heights.saturating_add(1);
            if certificate.commit_signatures.iter().any(|signature| signature.address == address) {
                stats.signed = stats.signed.saturating_add(1);
            }
        }
        // Beyond one turn of everybody there is nothing new to say.
        let turns = round.min(u32::try_from(set.count()).unwrap_or(u32::MAX));
        book.missed = book.missed.saturating_add(u64::from(turns));
        let mut turn = |round: u32, count: &dyn Fn(&mut ValidatorStats)| {
            let address = *proposer(set, Height(certificate.height.0), Round::new(round)).address();
            book.validators.get_mut(&address).into_iter().for_each(count);
        };
        (0..turns).for_each(|round| turn(round, &|stats| stats.missed = stats.missed.saturating_add(1)));
        turn(round, &|stats| stats.proposed = stats.proposed.saturating_add(1));
    }

    /// Fills in what is counted here.
    pub(crate) fn fill(&self, stats: &mut EngineStats) {
        let book = self.book.lock();
        stats.decided = book.decided;
        stats.rounds = book.rounds;
        stats.rounds_sum = book.rounds_sum;
        stats.missed_proposals = book.missed;
        stats.validators = book.validators.values().copied().collect();
        drop(book);
        stats.refused_frames = self.refused_frames();
        stats.useless_frames = self.useless.load(Ordering::Relaxed);
        stats.sync_requests = self.sync_requests.load(Ordering::Relaxed);
        stats.sync_answers = self.sync_answers.load(Ordering::Relaxed);
        stats.stuck_tips = self.stuck.load(Ordering::Relaxed);
    }
}
