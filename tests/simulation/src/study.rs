//! What large votes cost: heights under a model of bandwidth and distance, with ML-DSA-65 signatures and with
//! signatures of 64 bytes.
//!
//! Both kinds of run are the same code with stand-in signatures. Their frames have the real encoding; the model
//! takes the difference in size off each signature that a frame carries.

use crate::{
    disk::Tear,
    plan::{Bandwidth, NetworkFaults, NodeFaults, Plan, Sabotage},
    run,
};
use bytes::Bytes;
use malachite_codec::Codec as _;
use malachite_engine::util::streaming::{StreamContent, StreamMessage};
use std::{collections::BTreeSet, fmt::Write as _};
use x0_consensus::{parts::Part, wire::ChainCodec};
use x0_crypto::{
    SIGNATURE_BYTES, Signature,
    certificate::{Certificate, CertificateEntry},
};
use x0_network::Channel;

/// Sizes of the validator set.
pub const VALIDATORS: [usize; 4] = [4, 21, 50, 100];
/// Speeds of each node's link, bits per second, up and down each.
pub const SPEEDS: [u64; 2] = [100_000_000, 1_000_000_000];
/// Bytes of a classical signature.
pub const SMALL_SIGNATURE: u64 = 64;
/// Heights measured in a run, after those that begin it.
const HEIGHTS: u64 = 8;
const FIRST_HEIGHTS: u64 = 2;
/// Time to check and to make a signature, and to wait for a disk, nanoseconds (measured for ML-DSA-65 on the
/// reference machine, and taken for both kinds, so that only sizes differ).
const VERIFY_NS: u64 = 50_000;
const SIGN_NS: u64 = 130_000;
const SYNC_NS: u64 = 1_000_000;
/// One-way delays between regions, microseconds: western Europe, central Europe, eastern and western North America,
/// south-eastern Asia.
const WIDE_US: [[u64; 5]; 5] = [
    [500, 8_000, 38_000, 70_000, 85_000],
    [8_000, 500, 45_000, 75_000, 80_000],
    [38_000, 45_000, 500, 32_000, 110_000],
    [70_000, 75_000, 32_000, 500, 88_000],
    [85_000, 80_000, 110_000, 88_000, 500],
];
const LOCAL_US: u64 = 500;

/// Bytes of a frame under the model.
pub(crate) fn modelled_bytes(bandwidth: Option<&Bandwidth>, channel: Channel, frame: &Bytes) -> u64 {
    let length = u64::try_from(frame.len()).unwrap_or(u64::MAX);
    let Some(bandwidth) = bandwidth else { return length };
    let real = u64::try_from(SIGNATURE_BYTES).unwrap_or(u64::MAX);
    let signatures = match channel {
        Channel::Consensus => 1,
        // A certificate is little else than signatures with addresses.
        Channel::Liveness => length / real,
        Channel::Parts => {
            let message: Result<StreamMessage<Part>, _> = ChainCodec.decode(frame.clone());
            u64::from(matches!(message, Ok(StreamMessage { content: StreamContent::Data(Part::Opening(_)), .. })))
        }
        _ => 0,
    };
    length - signatures * real.saturating_sub(bandwidth.signature_bytes)
}

/// One measured run.
#[derive(Clone, Debug)]
pub struct Row {
    /// Validators.
    pub validators: usize,
    /// Speed of each link, bits per second.
    pub bits_per_second: u64,
    /// Whether the validators are spread over regions.
    pub wide: bool,
    /// Bytes of a block's body.
    pub body_bytes: usize,
    /// Bytes of a signature.
    pub signature_bytes: u64,
    /// Mean time from the start of a height until more than two thirds of the nodes hold its block, microseconds.
    pub height_us: u64,
    /// Bytes out of each node and height, mean.
    pub bytes_out: u64,
    /// Greatest round.
    pub round_max: u32,
}

/// Runs one configuration.
///
/// # Errors
/// A run that breaks a promise, in words.
pub fn measure(
    validators: usize,
    bits_per_second: u64,
    wide: bool,
    body_bytes: usize,
    signature_bytes: u64,
) -> Result<Row, String> {
    let latency_us = if wide { WIDE_US.iter().map(|row| row.to_vec()).collect() } else { vec![vec![LOCAL_US]] };
    let plan = Plan {
        seed: 1,
        real_signatures: false,
        powers: vec![1; validators],
        agenda: Vec::new(),
        twins: BTreeSet::new(),
        split: false,
        lying: false,
        network: NetworkFaults {
            delay_us: 0,
            jitter_us: 0,
            loss: 0,
            duplication: 0,
            cuts: false,
            partitions: false,
            shuffled_parts: false,
        },
        nodes: NodeFaults { crash_ms: 0, tear: Tear::Cut, skew_ms: 0, slow_us: 0 },
        permanent: Vec::new(),
        busy: true,
        body_bytes,
        bad_ms: 0,
        bad_heights: 0,
        good_heights: FIRST_HEIGHTS + HEIGHTS,
        sabotage: Sabotage::None,
        bandwidth: Some(Bandwidth {
            bits_per_second,
            signature_bytes,
            latency_us,
            verify_ns: VERIFY_NS,
            sign_ns: SIGN_NS,
            sync_ns: SYNC_NS,
        }),
    };
    let report = run(plan, false);
    // Rounds are a result here, not a promise: links may be too slow for the timeouts.
    let broken = report.violations.iter().find(|violation| !matches!(violation, crate::Violation::Slow { .. }));
    if let Some(violation) = broken {
        return Err(violation.to_string());
    }
    let times: Vec<u64> = (FIRST_HEIGHTS + 1..=FIRST_HEIGHTS + HEIGHTS)
        .filter_map(|height| Some(report.final_us.get(&height)?.saturating_sub(*report.start_us.get(&height)?)))
        .collect();
    let count = u64::try_from(times.len()).unwrap_or(0).max(1);
    let nodes = u64::try_from(validators).unwrap_or(u64::MAX);
    Ok(Row {
        validators,
        bits_per_second,
        wide,
        body_bytes,
        signature_bytes,
        height_us: times.iter().sum::<u64>() / count,
        bytes_out: report.bytes_in / nodes / report.heights.max(1),
        round_max: report.round_max,
    })
}

/// Bytes of a certificate with this many signatures, in the chain's own form.
fn certificate_bytes(signatures: usize) -> usize {
    let entry = CertificateEntry { address: [0; 32], signature: Signature::from(Box::new([0; SIGNATURE_BYTES])) };
    Certificate { height: 1, round: 0, block: [0; 32], entries: vec![entry; signatures] }.encode().len()
}

fn ms(us: u64) -> String {
    format!("{}.{}", us / 1_000, us % 1_000 / 100)
}

fn percent(large: u64, small: u64) -> String {
    match (large * 100).checked_div(small) {
        Some(ratio) => format!("{}.{:02}", ratio / 100, ratio % 100),
        None => "-".into(),
    }
}

fn table(text: &mut String, rows: &[[Row; 2]]) {
    text.push_str(
        "| validators | link | regions | height with 64 B, ms | height with ML-DSA-65, ms | ratio | out per node and \
         height, 64 B, kB | out, ML-DSA-65, kB | greatest round, 64 B / ML-DSA |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for [small, large] in rows {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} | {} Mbit/s | {} | {} | {} | {} | {} | {} | {} / {} |",
            small.validators,
            small.bits_per_second / 1_000_000,
            if small.wide { "five" } else { "one" },
            ms(small.height_us),
            ms(large.height_us),
            percent(large.height_us, small.height_us),
            small.bytes_out.div_ceil(1_000),
            large.bytes_out.div_ceil(1_000),
            small.round_max,
            large.round_max,
        );
    }
}

/// Measures every configuration and writes the report.
///
/// # Errors
/// A run that breaks a promise, in words.
pub fn report(mut said: impl FnMut(&str)) -> Result<String, String> {
    let large_signature = u64::try_from(SIGNATURE_BYTES).unwrap_or(u64::MAX);
    let mut pair = |validators, speed, wide, body| -> Result<[Row; 2], String> {
        said(&format!("{validators} validators, {speed} bit/s, wide: {wide}, blocks to {body} bytes"));
        Ok([
            measure(validators, speed, wide, body, SMALL_SIGNATURE)?,
            measure(validators, speed, wide, body, large_signature)?,
        ])
    };
    let (mut small_blocks, mut large_blocks) = (Vec::new(), Vec::new());
    for validators in VALIDATORS {
        for speed in SPEEDS {
            small_blocks.push(pair(validators, speed, false, 200)?);
            small_blocks.push(pair(validators, speed, true, 200)?);
            large_blocks.push(pair(validators, speed, true, 128 * 1_024)?);
        }
    }
    let mut text = String::from(HEAD);
    text.push_str("\n## Blocks that are almost empty\n\nThe votes alone.\n\n");
    table(&mut text, &small_blocks);
    text.push_str("\n## Blocks of up to 128 KiB\n\nBodies are drawn evenly between nothing and 128 KiB.\n\n");
    table(&mut text, &large_blocks);
    text.push_str(
        "\n## Certificates\n\nEncoded size, with as many signatures as make a quorum of equal powers; nodes store and \
         send this trimmed form.\n\n| validators | quorum | ML-DSA-65, bytes | 64 B, bytes |\n|---|---|---|---|\n",
    );
    for validators in VALIDATORS {
        let quorum = 2 * validators / 3 + 1;
        let real = certificate_bytes(quorum);
        let small = real - quorum * (SIGNATURE_BYTES - 64);
        let _ = writeln!(text, "| {validators} | {quorum} | {real} | {small} |");
    }
    text.push_str(TAIL);
    Ok(text)
}

const HEAD: &str = "# What large votes cost

Written by `cargo run -p x0-simulation -- vote-study --output docs/qa/vote-size.md`; do not edit by hand. It is a
simulation of the node's consensus under a model of links, not a measurement of links.

An ML-DSA-65 signature has 3,309 bytes, an Ed25519 signature 64. Each row runs the same code twice and differs in
nothing but the bytes that signatures take on links.
";

const TAIL: &str = "
## The model

* Real: the engine's core, the encodings of all frames, direct broadcast from each validator to each other one,
  proposer turns, the checks and their order.
* Each node has a link of the given speed up and one of the same speed down. Frames leave one after the other, in the
  order in which the node makes them, and are received one after the other. To each frame come 22 bytes for each TLS record of
  16 KiB, 12 for the stream and 52 for each TCP segment of 1,448. There is no loss, no congestion window and no other traffic
  (transactions, which also travel between validators, are not in it).
* One region: 0.5 ms one way. Five regions: 8 to 110 ms one way between them, nodes spread evenly.
* A node checks a signature in 50 us, makes one in 130 us, one after the other on one core, and waits 1 ms for
  its disk with each signature and each write-ahead log flush. Both kinds of row take these times, so that the ratio is
  about bytes; an Ed25519 check costs about the same, its signing less. Building, executing and committing a block take 5 ms each.
* Height: from the first node that starts it until more than two thirds of the nodes have committed its block; mean of
  eight heights. The pace of the chain (150 ms between busy blocks) is not in it.
* Bytes are means over all nodes; what comes in is as much as what goes out, since nothing is lost.
* One run for each row, from one seed. Proposers and therefore distances follow one another in the same order in both
  runs of a row, but not each frame: ratios within 0.03 of 1 say nothing.

## Reading it

Height times are set by distance and by the checks of 2n votes on one core, until the bytes of n times 2n votes fill
the links: a node sends 2(n-1) votes of 3.4 kB in each height. The first rows to suffer are those
with many validators behind slow links close to one another, where distance hides nothing. The goal is a ratio below 1.25
for 21 validators between regions. With 100 validators on 100 Mbit/s and large blocks, block and votes together outlast the
timeouts, and repeated votes and certificates of lost rounds make it worse: such a network needs faster links or slower
timeouts.
";
