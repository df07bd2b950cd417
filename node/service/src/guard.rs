//! `x0-node guard`: the sign guard's record, shown, taken along and brought in.

use crate::{
    cli::GuardCommand,
    exit::{Exit, Failure},
    setup,
    site::Site,
};
use serde_json::{Value, json};
use std::path::Path;
use x0_crypto::statement::Place;
use x0_sign_guard::{Guard, GuardError, GuardExport, export, import};

/// Mode of an exported record: not a secret, and nobody else's business.
const MODE: u32 = 0o600;

/// Runs a `guard` subcommand; the answer is JSON on standard output.
///
/// # Errors
/// One line.
pub fn run(command: &GuardCommand) -> Result<Value, Failure> {
    match command {
        GuardCommand::Show { run } => {
            let site = Site::load(run)?;
            site.refuse_running("it holds the record")?;
            let guard = open(&site)?;
            Ok(
                json!({ "directory": site.guard_directory(), "last": place(guard.last()), "repaired": guard.repaired() }),
            )
        }
        GuardCommand::Export { run, out, retire } => {
            let site = Site::load(run)?;
            site.refuse_running("it holds the record")?;
            present(&site)?;
            let record =
                export(&site.guard_directory(), site.guard_binding()?, *retire).map_err(|cause| failure(&cause))?;
            setup::write_new(out, &record.to_json().map_err(|cause| failure(&cause))?, MODE)?;
            Ok(json!({ "file": out, "last": place(record.last()), "retired": retire }))
        }
        GuardCommand::Import { run, file } => {
            let site = Site::load(run)?;
            site.refuse_running("it holds the record")?;
            let last = import(&site.guard_directory(), site.guard_binding()?, &read(file)?)
                .map_err(|cause| failure(&cause))?;
            Ok(json!({ "directory": site.guard_directory(), "last": place(last) }))
        }
    }
}

/// Opens the record of a node that does not run.
///
/// # Errors
/// One line: there is none, it is damaged, it moved away.
pub fn open(site: &Site) -> Result<Guard, Failure> {
    present(site)?;
    Guard::open(&site.guard_directory(), site.guard_binding()?).map_err(|cause| failure(&cause))
}

/// Refuses to make a record where none is: an empty one would look like a key that never signed.
fn present(site: &Site) -> Result<(), Failure> {
    let directory = site.guard_directory();
    if crate::keys::is_there(&directory)? {
        return Ok(());
    }
    Err(Failure::configuration(format!("there is no record in {}: this node never signed", directory.display())))
}

/// Reads an exported record.
///
/// # Errors
/// One line that names the file.
pub fn read(file: &Path) -> Result<GuardExport, Failure> {
    let named = |cause: &dyn core::fmt::Display| Failure::configuration(format!("{}: {cause}", file.display()));
    let size = std::fs::metadata(file).map_err(|cause| named(&cause))?.len();
    if size > x0_limits::GUARD_EXPORT_BYTES_MAX as u64 {
        return Err(named(&format!("{size} bytes, more than an exported record has")));
    }
    let text = std::fs::read_to_string(file).map_err(|cause| named(&cause))?;
    GuardExport::from_json(&text).map_err(|cause| named(&cause))
}

/// A place as JSON.
pub fn place(place: Option<Place>) -> Value {
    place.map_or(Value::Null, |place| {
        json!({ "height": place.height, "round": place.round, "step": format!("{:?}", place.step).to_lowercase() })
    })
}

/// How the process ends on account of the guard.
pub fn failure(cause: &GuardError) -> Failure {
    let exit = match cause {
        GuardError::InUse(_) | GuardError::OtherKey(_) | GuardError::Export(_) => Exit::Configuration,
        GuardError::Io { .. } => Exit::Storage,
        GuardError::Unavailable { .. } => Exit::Restartable,
        _ => Exit::SafetyHalt,
    };
    Failure::new(exit, format!("sign guard: {cause}"))
}
