//! What the drop program does, and the map that steers it.

use super::{
    assembler::{Assembler, AssemblyError, Condition, Operand, Operation, Register, Width},
    kernel::{self, SharedMap},
};
use anyhow::{Result, ensure};
use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use x0_test_support::netns::Namespace;

/// Wires of one lab.
pub const WIRES_MAX: usize = 32;

/// Words of a wire's record, by their number.
const MODE: usize = 0;
const DIRECTIONS: usize = 1;
const THRESHOLD: usize = 2;
const SEED: usize = 3;
const EVERY: usize = 4;
const SIZE: usize = 5;
const SEEN: usize = 6;
const DROPPED: usize = 8;
const WORDS: usize = 16;

/// Modes; 0 lets everything pass.
const HOLE: i32 = 1;
const LOSS: i32 = 2;
const NTH: i32 = 3;
const LARGER: i32 = 4;

/// Verdicts of classifiers: go on with the next one, and drop.
const NEXT: i32 = -1;
const SHOT: i32 = 2;

/// Offsets in the packet's context (`struct __sk_buff`).
const SKB_LEN: i16 = 0;
const SKB_GSO_SIZE: i16 = 176;

/// Constants of SplitMix64 (Steele, Lea, Flood 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_1: u64 = 0xbf58_476d_1ce4_e5b9;
const MIX_2: u64 = 0x94d0_49bb_1331_11eb;

/// Which packets of a wire a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those of both directions.
    Both,
    /// Those that arrive at the left end.
    ToLeft,
    /// Those that arrive at the right end.
    ToRight,
}

impl Direction {
    const fn mask(self) -> u64 {
        match self {
            Self::ToLeft => 1,
            Self::ToRight => 2,
            Self::Both => 3,
        }
    }
}

/// What happens to packets of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: all pass.
    None,
    /// All are lost.
    BlackHole,
    /// Each is lost with this chance in 1,000, decided by the seed and the packet's number: see [`loses`].
    Loss {
        /// Lost of 1,000.
        per_mille: u16,
        /// Of the sequence.
        seed: u64,
    },
    /// The n-th, the 2n-th and so on of each direction are lost.
    EveryNth(u32),
    /// Packets of more bytes than this, counted from the Ethernet header, are lost; of a train that the kernel carries
    /// as one packet, the size of its members counts.
    LargerThan(u32),
}

/// Counts of one direction since the last fault was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets that met the fault. A train that the kernel carries as one packet counts once.
    pub seen: u64,
    /// Those that were lost.
    pub dropped: u64,
}

/// Whether packet number `number` (from zero) of a direction is lost under [`Fault::Loss`]: SplitMix64 of seed and
/// number, its upper half against the chance. The direction's own sequence starts at `seed`, or at `seed + 1` for
/// packets to the right.
#[must_use]
pub const fn loses(seed: u64, number: u64, per_mille: u16) -> bool {
    let mut z = seed.wrapping_add(GAMMA.wrapping_mul(number.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(MIX_1);
    z = (z ^ (z >> 27)).wrapping_mul(MIX_2);
    z ^= z >> 31;
    (z >> 32) < threshold(per_mille)
}

const fn threshold(per_mille: u16) -> u64 {
    (per_mille as u64 * (1 << 32)) / 1_000
}

/// The map that steers all wires of a lab.
#[derive(Clone, Debug)]
pub struct FaultMap {
    map: Arc<SharedMap>,
}

impl FaultMap {
    /// A map under which everything passes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create() -> Result<Self> {
        Ok(Self { map: Arc::new(SharedMap::create(WIRES_MAX * WORDS * 8)?) })
    }

    fn word(&self, wire: usize, word: usize) -> Result<&AtomicU64> {
        ensure!(wire < WIRES_MAX, "a lab has at most {WIRES_MAX} wires");
        self.map.word(wire * WORDS + word)
    }

    /// Puts the program on the device that is the left or the right end of a wire; it stays as long as the descriptor.
    ///
    /// # Errors
    /// When the kernel refuses the program or the device is not there.
    pub fn watch(&self, wire: usize, right: bool, namespace: &Namespace, device: &str) -> Result<OwnedFd> {
        ensure!(wire < WIRES_MAX, "a lab has at most {WIRES_MAX} wires");
        let offset = i32::try_from(wire * WORDS * 8)?;
        let program = kernel::load(&code(self.map.descriptor(), offset, right)?)?;
        let device = device.to_owned();
        namespace.inside(move || kernel::attach(&program, &device))
    }

    /// Sets the fault of a wire, for both ends in one store, and starts its counts from zero.
    ///
    /// # Errors
    /// When there is no such wire.
    pub fn set(&self, wire: usize, direction: Direction, fault: Fault) -> Result<()> {
        let prepared = self.prepare(wire, direction, fault)?;
        self.word(wire, MODE)?.store(prepared, Ordering::Release);
        Ok(())
    }

    /// Sets the same fault on several wires; between the first and the last one lie nanoseconds.
    ///
    /// # Errors
    /// When there is no such wire.
    pub fn set_all(&self, wires: &[usize], direction: Direction, fault: Fault) -> Result<()> {
        let mut modes = Vec::new();
        for wire in wires {
            modes.push((self.prepare(*wire, direction, fault)?, self.word(*wire, MODE)?));
        }
        for (mode, word) in modes {
            word.store(mode, Ordering::Release);
        }
        Ok(())
    }

    /// Lifts the fault of a wire and keeps its counts.
    ///
    /// # Errors
    /// When there is no such wire.
    pub fn lift(&self, wire: usize) -> Result<()> {
        self.word(wire, MODE)?.store(0, Ordering::Release);
        Ok(())
    }

    fn prepare(&self, wire: usize, direction: Direction, fault: Fault) -> Result<u64> {
        // While its record is written, the wire lets everything pass.
        self.word(wire, MODE)?.store(0, Ordering::SeqCst);
        self.word(wire, DIRECTIONS)?.store(direction.mask(), Ordering::Relaxed);
        for word in SEEN..SEEN + 4 {
            self.word(wire, word)?.store(0, Ordering::Relaxed);
        }
        let mode = match fault {
            Fault::None => 0,
            Fault::BlackHole => HOLE,
            Fault::Loss { per_mille, seed } => {
                ensure!(per_mille <= 1_000, "a chance of {per_mille} in 1,000");
                self.word(wire, THRESHOLD)?.store(threshold(per_mille), Ordering::Relaxed);
                self.word(wire, SEED)?.store(seed, Ordering::Relaxed);
                LOSS
            }
            Fault::EveryNth(every) => {
                ensure!(every > 0, "every zeroth packet");
                self.word(wire, EVERY)?.store(u64::from(every), Ordering::Relaxed);
                NTH
            }
            Fault::LargerThan(bytes) => {
                self.word(wire, SIZE)?.store(u64::from(bytes), Ordering::Relaxed);
                LARGER
            }
        };
        Ok(u64::try_from(mode)?)
    }

    /// What the fault of a wire met in one direction: to the left end, or to the right one.
    ///
    /// # Errors
    /// When there is no such wire.
    pub fn drops(&self, wire: usize, right: bool) -> Result<Drops> {
        let side = usize::from(right);
        Ok(Drops {
            seen: self.word(wire, SEEN + side)?.load(Ordering::Relaxed),
            dropped: self.word(wire, DROPPED + side)?.load(Ordering::Relaxed),
        })
    }
}

fn bytes(word: usize) -> Result<i16, AssemblyError> {
    i16::try_from(word * 8).map_err(|_| AssemblyError::TooFar(word))
}

/// The program for one end of one wire.
fn code(map: i32, offset: i32, right: bool) -> Result<Vec<u64>, AssemblyError> {
    use Operand::{Number, Of};
    use Register::{R0, R1, R2, R3, R4, R7};
    let side = usize::from(right);
    let mut p = Assembler::default();
    let (pass, drop, loss, nth, larger, compare) = (p.label(), p.label(), p.label(), p.label(), p.label(), p.label());
    p.map_value(R7, map, offset);
    p.load(Width::Double, R2, R7, bytes(MODE)?);
    p.jump_if(Condition::Equal, R2, Number(0), pass);
    // Not this direction's fault.
    p.load(Width::Double, R3, R7, bytes(DIRECTIONS)?);
    let met = p.label();
    p.jump_if(Condition::AnyBit, R3, Number(1 << side), met);
    p.jump(pass);
    p.place(met);
    // R4 = the packet's number, from zero.
    p.alu(Operation::Move, R4, Number(1));
    p.fetch_add(R7, bytes(SEEN + side)?, R4);
    p.jump_if(Condition::Equal, R2, Number(HOLE), drop);
    p.jump_if(Condition::Equal, R2, Number(LOSS), loss);
    p.jump_if(Condition::Equal, R2, Number(NTH), nth);
    p.jump_if(Condition::Equal, R2, Number(LARGER), larger);
    p.jump(pass);

    p.place(loss);
    p.alu(Operation::Add, R4, Number(1));
    p.number(R3, GAMMA);
    p.alu(Operation::Multiply, R4, Of(R3));
    p.load(Width::Double, R3, R7, bytes(SEED)?);
    p.alu(Operation::Add, R4, Of(R3));
    p.alu(Operation::Add, R4, Number(i32::from(right)));
    for (shift, factor) in [(30, Some(MIX_1)), (27, Some(MIX_2)), (31, None)] {
        p.alu(Operation::Move, R3, Of(R4));
        p.alu(Operation::ShiftRight, R3, Number(shift));
        p.alu(Operation::Xor, R4, Of(R3));
        if let Some(factor) = factor {
            p.number(R3, factor);
            p.alu(Operation::Multiply, R4, Of(R3));
        }
    }
    p.alu(Operation::ShiftRight, R4, Number(32));
    p.load(Width::Double, R3, R7, bytes(THRESHOLD)?);
    p.jump_if(Condition::AtLeast, R4, Of(R3), pass);
    p.jump(drop);

    p.place(nth);
    p.alu(Operation::Add, R4, Number(1));
    p.load(Width::Double, R3, R7, bytes(EVERY)?);
    p.alu(Operation::Modulo, R4, Of(R3));
    p.jump_if(Condition::NotEqual, R4, Number(0), pass);
    p.jump(drop);

    p.place(larger);
    p.load(Width::Word, R4, R1, SKB_GSO_SIZE);
    p.jump_if(Condition::NotEqual, R4, Number(0), compare);
    p.load(Width::Word, R4, R1, SKB_LEN);
    p.place(compare);
    p.load(Width::Double, R3, R7, bytes(SIZE)?);
    p.jump_if(Condition::Greater, R4, Of(R3), drop);

    p.place(pass);
    p.alu(Operation::Move, R0, Number(NEXT));
    p.exit();
    p.place(drop);
    p.alu(Operation::Move, R2, Number(1));
    p.fetch_add(R7, bytes(DROPPED + side)?, R2);
    p.alu(Operation::Move, R0, Number(SHOT));
    p.exit();
    p.assemble()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_sequence_is_splitmix64() {
        // First outputs of SplitMix64 with seed 1234567, as published with its reference implementation.
        let published: [u64; 3] = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        for (number, value) in (0..).zip(published) {
            for per_mille in [1, 100, 349, 350, 351, 500, 532, 533, 999] {
                let expected = (value >> 32) < (u64::from(per_mille) << 32) / 1_000;
                assert_eq!(loses(1_234_567, number, per_mille), expected, "number {number}, {per_mille} per mille");
            }
        }
        assert!((0..1_000).all(|number| !loses(7, number, 0) && loses(7, number, 1_000)));
    }

    #[test]
    fn loss_is_about_what_the_chance_says() {
        let lost = (0..100_000).filter(|number| loses(3, *number, 50)).count();
        assert!((4_700..5_300).contains(&lost), "{lost} of 100,000 at 5 %");
    }
}
