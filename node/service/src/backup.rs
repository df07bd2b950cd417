//! `x0-node backup` and `x0-node restore`: the chain's database and the sign guard's record in a directory that
//! can be copied anywhere.
//!
//! ```text
//!   OUT/chain/       a data directory as of one moment        (tables hard-linked where possible)
//!   OUT/guard.json   the record of what the key signed
//!   OUT/config.toml, chain.json                               as they were
//!   OUT/manifest.json   written last: sizes and BLAKE2b-256 of all files, height, chain
//! ```
//!
//! A running node is asked for its copy through the operator's door ([`crate::control`]). Such a backup holds no record: the
//! node signs on, and an older record is worse than none.
//!
//! Key files are not in it: they never change, and whoever finds a backup should not find them too.
//!
//! The chain may go back in time, for the network has the blocks. The record of the consensus key may not: what was
//! signed after the backup was made would be signed differently.

mod files;

use crate::{
    cli::{BackupArgs, RestoreArgs},
    control,
    exit::Failure,
    failures::storage_failure,
    guard, keys, setup,
    site::Site,
};
use files::{Entry, copy_tree, list};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::File,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use x0_sign_guard::{GuardError, GuardExport, export, import};
use x0_storage::{Database, Head, OpenOptions};
use x0_types::Hash;

/// What the manifest calls itself.
const KIND: &str = "x0-backup";
const VERSION: u32 = 1;
const MANIFEST: &str = "manifest.json";
const GUARD: &str = "guard.json";
const CHAIN: &str = "chain";
/// Largest manifest, bytes: some hundred bytes for each of a hundred thousand tables.
const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Mode of the files that are written.
const MODE: u32 = 0o600;

/// What a backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    kind: String,
    version: u32,
    chain: String,
    genesis: Hash,
    height: u32,
    hash: Hash,
    /// The consensus key whose record is in it.
    consensus_key: Option<String>,
    made_at_ms: u64,
    /// Made while the node ran: without a record.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    online: bool,
    files: Vec<Entry>,
}

/// Makes a backup.
///
/// # Errors
/// One line; a directory without a manifest is no backup.
pub fn backup(args: &BackupArgs) -> Result<Value, Failure> {
    let site = Site::load(&args.run)?;
    let out = &args.out;
    if !keys::is_there(&site.chain_directory())? {
        return Err(Failure::configuration(format!("{} holds no chain", site.base.display())));
    }
    std::fs::create_dir(out)
        .map_err(|cause| Failure::configuration(format!("cannot create {}: {cause}", out.display())))?;
    let online = site.is_running();
    let head = if online { copy_running(&site, out)? } else { copy_stopped(&site, out)? };
    let consensus_key = if online { own_key(&site)? } else { save_guard(&site, out)? };
    for (path, name) in [(&args.run.config, "config.toml"), (&site.config.file.node.chain, "chain.json")] {
        if let Some(path) = path {
            copy_text(path, &out.join(name))?;
        }
    }
    let manifest = Manifest {
        kind: KIND.to_owned(),
        version: VERSION,
        chain: site.spec.id.clone(),
        genesis: site.genesis,
        height: head.number,
        hash: head.hash,
        consensus_key,
        made_at_ms: now_ms(),
        online,
        files: list(out)?,
    };
    let text = serde_json::to_string_pretty(&manifest).map_err(Failure::configuration)?;
    setup::write_new(&out.join(MANIFEST), &text, MODE)?;
    Ok(json!({
        "directory": out,
        "height": head.number,
        "hash": head.hash,
        "files": manifest.files.len(),
        "guard": if online { "the node runs: its record is not in the backup" } else { "as of this moment" },
    }))
}

/// Copies the chain of a node that does not run.
fn copy_stopped(site: &Site, out: &Path) -> Result<Head, Failure> {
    let database = open(site, &site.chain_directory())?;
    let head = head(&database)?;
    database.checkpoint(&out.join(CHAIN)).map_err(|cause| storage_failure(&cause))?;
    Ok(head)
}

/// Has the running node copy its chain, and opens the copy to see that it is whole and how high it is.
fn copy_running(site: &Site, out: &Path) -> Result<Head, Failure> {
    let whole = out
        .canonicalize()
        .map_err(|cause| Failure::configuration(format!("cannot look at {}: {cause}", out.display())))?;
    let directory = whole.join(CHAIN);
    control::ask(&site.base, &control::Request::Backup { directory: directory.clone() })?;
    head(&open(site, &directory)?)
}

fn open(site: &Site, directory: &Path) -> Result<Database, Failure> {
    Database::open(directory, OpenOptions { genesis: Some(site.genesis), ..OpenOptions::default() })
        .map_err(|cause| storage_failure(&cause))
}

fn head(database: &Database) -> Result<Head, Failure> {
    database.head().ok_or_else(|| Failure::configuration("the database is empty: there is nothing to back up"))
}

/// Fingerprint of this node's consensus key, if it has one in a file here.
fn own_key(site: &Site) -> Result<Option<String>, Failure> {
    let here = site.config.dev || keys::is_there(&site.config.file.keys.consensus(&site.base))?;
    if here { Ok(Some(hex::encode(site.consensus_key()?.fingerprint()))) } else { Ok(None) }
}

/// Saves the guard's record, if this node ever signed; the fingerprint of its key.
fn save_guard(site: &Site, out: &Path) -> Result<Option<String>, Failure> {
    if !keys::is_there(&site.guard_directory())? {
        return Ok(None);
    }
    let key = site.consensus_key()?;
    let record =
        export(&site.guard_directory(), site.guard_binding()?, false).map_err(|cause| guard::failure(&cause))?;
    let text = record.to_json().map_err(|cause| guard::failure(&cause))?;
    setup::write_new(&out.join(GUARD), &text, MODE)?;
    Ok(Some(hex::encode(key.fingerprint())))
}

fn copy_text(from: &Path, to: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(from)
        .map_err(|cause| Failure::configuration(format!("cannot read {}: {cause}", from.display())))?;
    setup::write_new(to, &text, MODE)
}

/// Brings a backup into the data directory of a node that has no chain.
///
/// # Errors
/// One line, before anything is changed: a damaged backup, another chain, a record that would go backwards.
pub fn restore(args: &RestoreArgs) -> Result<Value, Failure> {
    let site = Site::load(&args.run)?;
    site.refuse_running("its chain is replaced")?;
    let manifest = read_manifest(&args.from)?;
    if manifest.genesis != site.genesis {
        let reason = format!(
            "the backup is of the chain {} with genesis {:?}, and this node's is {:?}",
            manifest.chain, manifest.genesis, site.genesis
        );
        return Err(Failure::configuration(reason));
    }
    if keys::is_there(&site.chain_directory())? {
        let path = site.chain_directory();
        return Err(Failure::configuration(format!("{} exists: move it away first", path.display())));
    }
    files::verify(&args.from, &manifest.files)?;
    let guard = restore_guard(&site, args, &manifest)?;
    let partial = site.base.join("chain.restoring");
    if keys::is_there(&partial)? {
        std::fs::remove_dir_all(&partial)
            .map_err(|cause| Failure::configuration(format!("cannot remove {}: {cause}", partial.display())))?;
    }
    copy_tree(&args.from.join(CHAIN), &partial)?;
    std::fs::rename(&partial, site.chain_directory())
        .and_then(|()| File::open(&site.base)?.sync_all())
        .map_err(|cause| Failure::configuration(format!("cannot put {} in its place: {cause}", partial.display())))?;
    Ok(json!({ "directory": site.base, "height": manifest.height, "hash": manifest.hash, "guard": guard }))
}

/// Decides about the record of the consensus key, and says what was done.
fn restore_guard(site: &Site, args: &RestoreArgs, manifest: &Manifest) -> Result<Value, Failure> {
    let own = own_key(site)?;
    let Some(saved) = &manifest.consensus_key else { return Ok(json!("the backup has no record")) };
    if own.as_ref() != Some(saved) {
        return Ok(json!("this node has another consensus key than the backup: the record of that one is left alone"));
    }
    let present = keys::is_there(&site.guard_directory())?;
    if manifest.online && !present {
        return Err(Failure::configuration(
            "the record of what this key signed is lost, and a backup of a running node has none: give the node a new \
             consensus key (`x0-node rotate-key`)",
        ));
    }
    if args.keep_guard || manifest.online {
        return match present {
            true => Ok(json!("the record that was here stays")),
            false => Err(Failure::configuration("--keep-guard: there is no record here to keep")),
        };
    }
    let record = guard::read(&args.from.join(GUARD))?;
    if !present && !args.accept_old_guard {
        return Err(Failure::configuration(lost_guard(&record)));
    }
    match import(&site.guard_directory(), site.guard_binding()?, &record) {
        Ok(last) => Ok(guard::place(last)),
        Err(cause @ GuardError::Backwards { .. }) => Err(Failure::new(
            guard::failure(&cause).exit,
            format!("{cause}: restore with --keep-guard, which leaves the record that is here in charge"),
        )),
        Err(cause) => Err(guard::failure(&cause)),
    }
}

fn lost_guard(record: &GuardExport) -> String {
    let height = record.last().map_or(0, |place| place.height);
    format!(
        "the record of what this key signed is lost; the backup's ends at height {height}, and signing by it could \
         contradict what was signed later: give the node a new consensus key, or pass --accept-old-guard when the \
         node signed nothing after the backup was made"
    )
}

fn read_manifest(from: &Path) -> Result<Manifest, Failure> {
    let path = from.join(MANIFEST);
    let named = |cause: &dyn core::fmt::Display| Failure::configuration(format!("{}: {cause}", path.display()));
    let size = std::fs::metadata(&path).map_err(|cause| named(&cause))?.len();
    if size > MANIFEST_BYTES_MAX {
        return Err(named(&format!("{size} bytes, more than a manifest has")));
    }
    let text = std::fs::read_to_string(&path).map_err(|cause| named(&cause))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|cause| named(&cause))?;
    if manifest.kind != KIND || manifest.version != VERSION {
        return Err(named(&format!(
            "{} of version {}, not {KIND} of version {VERSION}",
            manifest.kind, manifest.version
        )));
    }
    Ok(manifest)
}

/// The clock, milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
