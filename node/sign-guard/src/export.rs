//! The guard's record as a file that moves to another machine.
//!
//! A validator that moves takes its record along: the new machine then repeats what was signed for the last height
//! and refuses everything before it. The record is never moved backwards, and a guard that was exported for a move refuses to
//! open until a record that is not older comes back.

use crate::{
    guard::{Guard, GuardError, Signed},
    slot::write_record,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use x0_crypto::{
    Signature,
    statement::{Place, Step},
};
use x0_limits::{GUARD_EXPORT_BYTES_MAX, GUARD_RECORDS_PER_SLOT_MAX};

/// What the file calls itself.
const KIND: &str = "x0-guard-record";
const VERSION: u32 = 1;

/// The signatures of the last height that a key signed for, with a checksum over key, chain and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardExport {
    kind: String,
    version: u32,
    /// Stands for key and chain, hex.
    binding: String,
    records: Vec<Record>,
    /// BLAKE2b-256 of the records as the guard writes them, hex.
    checksum: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    height: u64,
    round: u32,
    step: String,
    block: Option<String>,
    pol_round: Option<u32>,
    digest: String,
    signature: String,
}

fn wrong(reason: impl Into<String>) -> GuardError {
    GuardError::Export(reason.into())
}

const fn step_name(step: Step) -> &'static str {
    match step {
        Step::Opening => "opening",
        Step::Proposal => "proposal",
        Step::Prevote => "prevote",
        Step::Precommit => "precommit",
    }
}

fn hash(text: &str) -> Result<[u8; 32], GuardError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| wrong(format!("a hash of 64 hex digits: {error}")))?;
    Ok(bytes)
}

impl Record {
    fn of(signed: &Signed) -> Self {
        Self {
            height: signed.place.height,
            round: signed.place.round,
            step: step_name(signed.place.step).into(),
            block: signed.block.map(hex::encode),
            pol_round: signed.pol_round,
            digest: hex::encode(signed.digest),
            signature: hex::encode(signed.signature.as_bytes()),
        }
    }

    fn signed(&self) -> Result<Signed, GuardError> {
        let step = Step::ALL
            .into_iter()
            .find(|step| step_name(*step) == self.step)
            .ok_or_else(|| wrong(format!("unknown step {:?}", self.step)))?;
        let signature = hex::decode(&self.signature).map_err(|error| wrong(format!("signature: {error}")))?;
        Ok(Signed {
            place: Place { height: self.height, round: self.round, step },
            block: self.block.as_deref().map(hash).transpose()?,
            pol_round: self.pol_round,
            digest: hash(&self.digest)?,
            signature: Signature::from_bytes(&signature)?,
        })
    }
}

fn checksum(binding: &[u8; 32], records: &[Signed]) -> String {
    let bytes: Vec<u8> = records.iter().flat_map(|signed| *write_record(signed, binding)).collect();
    hex::encode(x0_crypto::blake2b_256_of(&[binding, &bytes]))
}

impl GuardExport {
    fn of(binding: &[u8; 32], records: &[Signed]) -> Self {
        Self {
            kind: KIND.into(),
            version: VERSION,
            binding: hex::encode(binding),
            records: records.iter().map(Record::of).collect(),
            checksum: checksum(binding, records),
        }
    }

    /// The file's text.
    ///
    /// # Errors
    /// [`GuardError::Export`] when it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, GuardError> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| wrong(error.to_string()))
    }

    /// Reads the file's text and checks that it is whole.
    ///
    /// # Errors
    /// [`GuardError::Export`] for anything but what [`GuardExport::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, GuardError> {
        if text.len() > GUARD_EXPORT_BYTES_MAX {
            return Err(wrong(format!("{} bytes; at most {GUARD_EXPORT_BYTES_MAX} are read", text.len())));
        }
        let export: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if export.kind != KIND || export.version != VERSION {
            return Err(wrong(format!(
                "{} of version {}, not {KIND} of version {VERSION}",
                export.kind, export.version
            )));
        }
        export.signed()?;
        Ok(export)
    }

    /// The last place in it.
    #[must_use]
    pub fn last(&self) -> Option<Place> {
        self.records.last().and_then(|record| record.signed().ok()).map(|signed| signed.place)
    }

    fn signed(&self) -> Result<Vec<Signed>, GuardError> {
        if self.records.len() > 2 * GUARD_RECORDS_PER_SLOT_MAX {
            return Err(wrong(format!(
                "{} records; a guard keeps {}",
                self.records.len(),
                2 * GUARD_RECORDS_PER_SLOT_MAX
            )));
        }
        let records = self.records.iter().map(Record::signed).collect::<Result<Vec<_>, _>>()?;
        if checksum(&hash(&self.binding)?, &records) != self.checksum {
            return Err(wrong("the checksum does not fit: the file was changed or cut"));
        }
        let in_order = records.windows(2).all(|pair| match pair {
            [first, second] => first.place < second.place && first.place.height == second.place.height,
            _ => true,
        });
        if in_order { Ok(records) } else { Err(wrong("the records are not those of one height in their order")) }
    }
}

/// Takes the record of a guard that no process uses. With `retire`, the guard does not open any more afterwards: the
/// record is about to be used elsewhere, and two machines with one key must not both sign.
///
/// # Errors
/// As [`Guard::open`], and [`GuardError::Io`].
pub fn export(directory: &Path, binding: [u8; 32], retire: bool) -> Result<GuardExport, GuardError> {
    let guard = if retire { Guard::open_any(directory, binding)? } else { Guard::open(directory, binding)? };
    if retire {
        guard.retire()?;
    }
    let records: Vec<_> = guard.recent().cloned().collect();
    Ok(GuardExport::of(&binding, &records))
}

/// Puts an exported record in charge of a directory, which may hold an older record of the same key and chain. Gives the
/// last place that is signed from then on.
///
/// # Errors
/// [`GuardError::OtherKey`] for a record of another key or chain, [`GuardError::Backwards`] for one that ends before
/// the one that is here, [`GuardError::Conflict`] when the two contradict one another (then both machines have
/// signed, and the key must be replaced), and as [`Guard::open`].
pub fn import(directory: &Path, binding: [u8; 32], export: &GuardExport) -> Result<Option<Place>, GuardError> {
    let records = export.signed()?;
    if hash(&export.binding)? != binding {
        return Err(GuardError::OtherKey(directory.to_owned()));
    }
    let mut guard = Guard::open_any(directory, binding)?;
    if let Some(own) = guard.last()
        && export.last() < Some(own)
    {
        return Err(GuardError::Backwards { own, imported: export.last() });
    }
    let mut fresh = Vec::new();
    for signed in records {
        match guard.admit(signed.place, &signed.digest) {
            Ok(Some(_)) => {}
            Ok(None) => fresh.push(signed),
            // An earlier place of a height that is here already, and of which only the later part was kept.
            Err(GuardError::Regression { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    for chunk in fresh.chunks(GUARD_RECORDS_PER_SLOT_MAX) {
        guard.record(chunk.to_vec())?;
    }
    guard.reinstate()?;
    Ok(guard.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_crypto::{
        Seed, SigningKey,
        statement::{Statement, Vote, VoteKind},
    };

    const GENESIS: [u8; 32] = [7; 32];

    fn vote(height: u64, round: u32, tag: u8) -> Statement {
        Vote { kind: VoteKind::Prevote, height, round, block: Some([tag; 32]), voter: [1; 32] }.into()
    }

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
        fn open(&self) -> Result<Guard, GuardError> {
            Guard::open(self.0.path(), binding())
        }
        fn sign(&self, statement: &Statement) -> Result<Signature, GuardError> {
            self.open()?.sign(statement, || statement.sign(&key(), &GENESIS))
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&Seed::from_bytes([5; 32])).unwrap()
    }

    fn binding() -> [u8; 32] {
        crate::binding(&GENESIS, key().public())
    }

    #[test]
    fn a_record_moves_with_its_signatures_and_the_old_machine_stays_silent() {
        let (old, new) = (Machine::new(), Machine::new());
        old.sign(&vote(4, 0, 1)).unwrap();
        let first = old.sign(&vote(5, 0, 1)).unwrap();
        old.sign(&vote(5, 1, 2)).unwrap();
        let text = export(old.0.path(), binding(), true).unwrap().to_json().unwrap();
        assert!(matches!(old.sign(&vote(6, 0, 1)), Err(GuardError::Retired(_))));

        let moved = GuardExport::from_json(&text).unwrap();
        let last = import(new.0.path(), binding(), &moved).unwrap();
        assert_eq!(last, Some(vote(5, 1, 2).place()));
        assert_eq!(new.sign(&vote(5, 0, 1)).unwrap(), first, "the stored signature came along");
        assert!(matches!(new.sign(&vote(5, 1, 3)), Err(GuardError::Conflict { .. })));
        assert!(matches!(new.sign(&vote(4, 0, 1)), Err(GuardError::Regression { .. })));
        new.sign(&vote(9, 0, 1)).unwrap();

        // Back again: the old machine takes the newer record, and only that.
        let back = export(new.0.path(), binding(), true).unwrap();
        assert_eq!(import(old.0.path(), binding(), &back).unwrap(), Some(vote(9, 0, 1).place()));
        assert!(matches!(old.sign(&vote(9, 0, 2)), Err(GuardError::Conflict { .. })));
        old.sign(&vote(10, 0, 1)).unwrap();
        assert!(matches!(import(old.0.path(), binding(), &moved), Err(GuardError::Backwards { .. })));
    }

    #[test]
    fn changed_foreign_and_contradicting_records_are_refused() {
        let (machine, other) = (Machine::new(), Machine::new());
        machine.sign(&vote(5, 0, 1)).unwrap();
        let good = export(machine.0.path(), binding(), false).unwrap();
        let text = good.to_json().unwrap();
        for (from, to) in
            [("\"height\": 5", "\"height\": 4"), ("\"round\": 0", "\"round\": 1"), ("prevote", "precommit")]
        {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(matches!(GuardExport::from_json(&changed), Err(GuardError::Export(_))), "{from}");
        }
        for cut in [0, 1, text.len() / 2, text.len() - 3] {
            assert!(matches!(GuardExport::from_json(&text[..cut]), Err(GuardError::Export(_))));
        }
        assert!(matches!(import(other.0.path(), [0; 32], &good), Err(GuardError::OtherKey(_))));
        other.sign(&vote(5, 0, 2)).unwrap();
        assert!(matches!(import(other.0.path(), binding(), &good), Err(GuardError::Conflict { .. })));
        let empty = GuardExport::of(&binding(), &[]);
        assert!(matches!(import(other.0.path(), binding(), &empty), Err(GuardError::Backwards { imported: None, .. })));
        assert_eq!(import(machine.0.path(), binding(), &good).unwrap(), good.last(), "again changes nothing");
        let _held = machine.open().unwrap();
        assert!(matches!(export(machine.0.path(), binding(), false), Err(GuardError::InUse(_))));
        assert!(matches!(import(machine.0.path(), binding(), &good), Err(GuardError::InUse(_))));
    }
}
