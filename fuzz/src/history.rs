//! A short history of the chain, made from bytes: blocks with transactions of a handful of accounts over the
//! market, measuring, trust, owners and governance, and what must be true after each block.
//!
//! ```text
//!   bytes --Reader--> step: a block after some time | reports of validators | a transaction
//!                       |
//!                     World: Executive::initialize_block, transactions with fee, nonce, weight and call filter,
//!                            Executive::finalize_block --> checks
//! ```
//!
//! Every byte string is a history: a byte out of range is taken modulo the number of choices, so that libFuzzer
//! loses no input to a parser. Numbers of deals, listings, proposals and motions are taken modulo what exists
//! plus one, so that most calls name something and some name nothing.
//!
//! A transaction is what a signature check leaves of one (`CheckedExtrinsic`): signatures are the business of
//! other targets, and a check costs more than a whole block here. `X0_TELL=1 fuzz-history INPUT` tells what happens.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a panic is how a fuzz target reports, and every byte stands for some number"
)]

mod calls;
mod checks;
mod market;
mod world;

use world::World;

/// Most blocks of one history: enough for deals to be confirmed, fail and be paid, few enough for an input to
/// take a fraction of a second.
const BLOCKS_MAX: u32 = 80;
/// Most transactions and reports of one history.
const STEPS_MAX: u32 = 240;
/// Blocks at the end, a slot apart, in which nobody does anything.
const CLOSING_BLOCKS: u32 = 4;

/// Takes one choice after another from the bytes of an input; it never runs out, so that the end of the input
/// is the end of the history and of nothing else.
pub(crate) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// The next byte; 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `choices` numbers, from 0.
    pub(crate) fn below(&mut self, choices: u64) -> u64 {
        u64::from(self.byte()) % choices.max(1)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// Whether a byte is odd.
    pub(crate) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// A number over the whole range of its type, small ones most often.
    pub(crate) fn number(&mut self) -> u128 {
        let (mantissa, shift) = (u128::from(self.byte()), self.byte());
        match shift % 8 {
            0..=5 => mantissa,
            6 => mantissa << (shift / 8),
            _ => u128::MAX - mantissa,
        }
    }
}

/// Runs the history that the bytes describe and checks the state after each block.
///
/// # Panics
/// When the state after a block breaks an invariant, a block is heavier than the largest one or takes too long,
/// or the runtime panics: that is how a fuzz target reports.
pub fn run(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    world::with(reader.byte(), |world| {
        let (mut blocks, mut steps) = (0, 0);
        world.begin(1_000);
        while !reader.0.is_empty() && blocks < BLOCKS_MAX && steps < STEPS_MAX {
            match reader.byte() {
                0..80 => {
                    world.end();
                    world.begin(pause(&mut reader));
                    blocks += 1;
                }
                80..120 => {
                    report(world, &mut reader);
                    steps += 1;
                }
                kind => {
                    let (who, call) = calls::read(kind, &mut reader);
                    world.transact(&who, call);
                    steps += 1;
                }
            }
        }
        for _ in 0..CLOSING_BLOCKS {
            world.end();
            world.begin(1_000);
        }
        world.end();
    });
}

/// How long after the last block the next one is, milliseconds: mostly within a slot or a slot later, and
/// sometimes beyond every deadline of the market.
fn pause(reader: &mut Reader<'_>) -> u64 {
    const SLOT: u64 = 1_000;
    match reader.byte() {
        0..60 => 150,
        60..200 => SLOT,
        200..225 => 4 * SLOT,
        225..240 => 120 * SLOT,
        240..248 => 700 * SLOT,
        248..253 => 15_000 * SLOT,
        _ => 500_000 * SLOT,
    }
}

/// Some validators commit to what they saw in this slot or the one before. Each shows it when its time comes,
/// unless the bytes say that it never does.
fn report(world: &mut World, reader: &mut Reader<'_>) {
    let (slots_back, mask, seen) = (reader.below(2), reader.byte(), reader.byte());
    for validator in 0..world::VALIDATORS {
        if mask >> validator & 1 == 1 {
            let hides = mask >> (4 + validator) & 1 == 1 && seen % 4 == 3;
            // Validators mostly agree; one bit for each makes it see something else.
            let own = if seen >= 128 { seen.rotate_left(u32::from(validator)) } else { seen };
            world.commit(validator, slots_back, own, hides);
        }
    }
}
