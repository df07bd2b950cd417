//! What a run showed.

use crate::oracle::Violation;
use std::collections::BTreeMap;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Broken promises, in the order in which they were found.
    pub violations: Vec<Violation>,
    /// Hash of all events in order.
    pub hash: String,
    /// Events.
    pub events: u64,
    /// Final blocks.
    pub heights: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Crashes.
    pub crashes: u64,
    /// Stops on a corrupt log that an operator ended by starting again.
    pub refusals: u64,
    /// Places at which twins contradicted themselves.
    pub contradictions: usize,
    /// Validators that correct nodes hold evidence against.
    pub accused: usize,
    /// Validators that correct nodes could hear contradict themselves after the healing.
    pub exposed: usize,
    /// Blocks until a block could carry the proof against one of them, at most.
    pub proof_blocks: u64,
    /// Changes of the validator set that are final.
    pub changes: usize,
    /// Greatest round in which a height was decided.
    pub round_max: u32,
    /// Heights that needed more than three rounds after the healing, because of a lock that few knew of.
    pub late: usize,
    /// Largest certificate, bytes.
    pub certificate_bytes: u64,
    /// Bytes in and out of all nodes, when links have a speed.
    pub bytes_in: u64,
    /// Bytes out of the busiest node.
    pub bytes_out_max: u64,
    /// First moment at which a node started a height, microseconds, by height.
    pub start_us: BTreeMap<u64, u64>,
    /// First moment at which a height was final at more than two thirds of the nodes, microseconds, by height.
    pub final_us: BTreeMap<u64, u64>,
}

impl Report {
    /// Whether no promise was broken.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

impl Report {
    /// The report of a run that ended before it could tell anything.
    pub(crate) fn broken(seed: u64, violation: Violation) -> Self {
        Self {
            seed,
            violations: vec![violation],
            hash: String::new(),
            events: 0,
            heights: 0,
            simulated_ms: 0,
            crashes: 0,
            refusals: 0,
            contradictions: 0,
            accused: 0,
            exposed: 0,
            proof_blocks: 0,
            changes: 0,
            round_max: 0,
            late: 0,
            certificate_bytes: 0,
            bytes_in: 0,
            bytes_out_max: 0,
            start_us: BTreeMap::new(),
            final_us: BTreeMap::new(),
        }
    }
}
