//! A few BPF instructions, written down by name, so that the lab needs no compiler for its one small program.
//!
//! Encodings: RFC 9669, sections 2 to 5. Only what the program uses is here.

/// A register; `R1` holds the argument at entry, `R0` the result at exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Result.
    R0 = 0,
    /// First argument: the packet's context.
    R1 = 1,
    /// Scratch.
    R2 = 2,
    /// Scratch.
    R3 = 3,
    /// Scratch.
    R4 = 4,
    /// Kept over calls; here the wire's record.
    R7 = 7,
}

/// Width of a load from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Four bytes, zero-extended.
    Word = 0x00,
    /// Eight bytes.
    Double = 0x18,
}

/// 64-bit arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `+=`
    Add = 0x00,
    /// `*=`
    Multiply = 0x20,
    /// `>>=`, unsigned
    ShiftRight = 0x70,
    /// `%=`, unsigned
    Modulo = 0x90,
    /// `^=`
    Xor = 0xa0,
    /// `=`
    Move = 0xb0,
}

/// When a jump is taken; comparisons are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `==`
    Equal = 0x10,
    /// `>`
    Greater = 0x20,
    /// `>=`
    AtLeast = 0x30,
    /// any of these bits
    AnyBit = 0x40,
    /// `!=`
    NotEqual = 0x50,
}

/// The right-hand side of an operation or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A register.
    Of(Register),
    /// A number, sign-extended to 64 bits.
    Number(i32),
}

/// A place to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Why a program cannot be assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A label was used and never placed.
    #[error("label {0} is jumped to and stands nowhere")]
    Unplaced(usize),
    /// A jump is longer than its 16-bit offset.
    #[error("the jump at instruction {0} is too long")]
    TooFar(usize),
}

/// A program being written.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<u64>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

const LOAD_MEMORY: u8 = 0x61;
const STORE_ATOMIC: u8 = 0xdb;
const ALU64: u8 = 0x07;
const JUMP: u8 = 0x05;
const FROM_REGISTER: u8 = 0x08;
const EXIT: u8 = 0x95;
const LOAD_IMMEDIATE: u8 = 0x18;
/// Source register field that says: the number is a map's descriptor, and the address of its value is meant.
const PSEUDO_MAP_VALUE: u8 = 2;
/// Add, and return what was there before.
const ATOMIC_FETCH_ADD: i32 = 0x01;

impl Assembler {
    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, number: i32) {
        let mut bytes = [0; 8];
        bytes[0] = code;
        bytes[1] = to | (from << 4);
        bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&number.to_ne_bytes());
        self.code.push(u64::from_ne_bytes(bytes));
    }

    /// A label to be placed later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label stands for the next instruction.
    pub fn place(&mut self, label: Label) {
        if let Some(slot) = self.labels.get_mut(label.0) {
            *slot = Some(self.code.len());
        }
    }

    /// `to = *(width *)(from + offset)`
    pub fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(LOAD_MEMORY | width as u8, to as u8, from as u8, offset, 0);
    }

    /// `to` = the address of the value of a map with one entry, plus an offset.
    pub fn map_value(&mut self, to: Register, map: i32, offset: i32) {
        self.push(LOAD_IMMEDIATE, to as u8, PSEUDO_MAP_VALUE, 0, map);
        self.push(0, 0, 0, 0, offset);
    }

    /// `to` = a 64-bit number.
    pub fn number(&mut self, to: Register, number: u64) {
        let halves = number.to_le_bytes();
        let low = i32::from_le_bytes([halves[0], halves[1], halves[2], halves[3]]);
        let high = i32::from_le_bytes([halves[4], halves[5], halves[6], halves[7]]);
        self.push(LOAD_IMMEDIATE, to as u8, 0, 0, low);
        self.push(0, 0, 0, 0, high);
    }

    /// `to operation= operand`
    pub fn alu(&mut self, operation: Operation, to: Register, operand: Operand) {
        match operand {
            Operand::Of(from) => self.push(ALU64 | FROM_REGISTER | operation as u8, to as u8, from as u8, 0, 0),
            Operand::Number(number) => self.push(ALU64 | operation as u8, to as u8, 0, 0, number),
        }
    }

    /// `*(u64 *)(to + offset) += from`, and `from` = what was there, in one step.
    pub fn fetch_add(&mut self, to: Register, offset: i16, from: Register) {
        self.push(STORE_ATOMIC, to as u8, from as u8, offset, ATOMIC_FETCH_ADD);
    }

    /// `if left condition right goto label`
    pub fn jump_if(&mut self, condition: Condition, left: Register, right: Operand, label: Label) {
        self.jumps.push((self.code.len(), label));
        match right {
            Operand::Of(from) => self.push(JUMP | FROM_REGISTER | condition as u8, left as u8, from as u8, 0, 0),
            Operand::Number(number) => self.push(JUMP | condition as u8, left as u8, 0, 0, number),
        }
    }

    /// `goto label`
    pub fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP, 0, 0, 0, 0);
    }

    /// Ends the program with `R0` as its result.
    pub fn exit(&mut self) {
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// The instructions.
    ///
    /// # Errors
    /// When a label stands nowhere or a jump is too long.
    pub fn assemble(mut self) -> Result<Vec<u64>, AssemblyError> {
        for (at, label) in &self.jumps {
            let target = self.labels.get(label.0).copied().flatten().ok_or(AssemblyError::Unplaced(label.0))?;
            let distance = i64::try_from(target).ok().zip(i64::try_from(*at).ok());
            let offset = distance.and_then(|(target, at)| i16::try_from(target - at - 1).ok());
            let offset = offset.ok_or(AssemblyError::TooFar(*at))?;
            let mut bytes = self.code[*at].to_ne_bytes();
            bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
            self.code[*at] = u64::from_ne_bytes(bytes);
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_have_the_encodings_of_the_standard() {
        let mut program = Assembler::default();
        program.load(Width::Word, Register::R2, Register::R1, 4);
        program.load(Width::Double, Register::R3, Register::R7, 16);
        program.alu(Operation::Move, Register::R0, Operand::Number(-1));
        program.alu(Operation::Xor, Register::R2, Operand::Of(Register::R3));
        program.fetch_add(Register::R7, 64, Register::R4);
        program.exit();
        let bytes: Vec<[u8; 8]> = program.assemble().unwrap().into_iter().map(u64::to_le_bytes).collect();
        // As printed by an assembler of the compilers: r2 = *(u32 *)(r1 + 4), r3 = *(u64 *)(r7 + 16), r0 = -1,
        // r2 ^= r3, r4 = atomic_fetch_add((u64 *)(r7 + 64), r4), exit.
        assert_eq!(bytes[0], [0x61, 0x12, 4, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[1], [0x79, 0x73, 16, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[2], [0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(bytes[3], [0xaf, 0x32, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[4], [0xdb, 0x47, 64, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[5], [0x95, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn jumps_count_from_the_next_instruction_and_need_their_label() {
        let mut program = Assembler::default();
        let end = program.label();
        program.jump_if(Condition::Equal, Register::R1, Operand::Number(0), end);
        program.alu(Operation::Move, Register::R0, Operand::Number(2));
        program.place(end);
        program.exit();
        let first = program.assemble().unwrap()[0].to_le_bytes();
        assert_eq!(first, [0x15, 1, 1, 0, 0, 0, 0, 0]);

        let mut program = Assembler::default();
        let nowhere = program.label();
        program.jump(nowhere);
        assert_eq!(program.assemble(), Err(AssemblyError::Unplaced(0)));
    }
}
