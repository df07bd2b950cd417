//! The node's side of joining a network and of replacing a key. The chain's side are transactions, which the controller's
//! wallet signs; these commands make the proofs for them and say which they are.
//!
//! ```text
//!   join:        keys/*.json --proofs of possession--> OUT/*.proof.json --> x0 did add-key
//!   rotate-key:  keys/ROLE.next.json, ROLE.proof.json --> x0 did rotate-key --> --activate: next becomes current
//! ```

use crate::{
    cli::{JoinArgs, RotateArgs},
    exit::Failure,
    keys::{self, generate, is_there, prove},
    password::Source,
    setup,
    site::Site,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use x0_crypto::keystore::{KdfParams, KeystoreFile};
use x0_rpc_types::{bytes::to_hex, did::role_name};
use x0_types::KeyRole;

/// Mode of proofs: they are public.
const MODE: u32 = 0o644;
/// Roles of a validator's keys, in the order of registering.
const ROLES: [KeyRole; 3] = [KeyRole::Network, KeyRole::Consensus, KeyRole::Reporter];

/// Makes the proofs with which the controller registers this node's keys.
///
/// # Errors
/// One line; nothing is overwritten.
pub fn join(args: &JoinArgs) -> Result<Value, Failure> {
    let site = Site::load(&args.run)?;
    let source = password_source(&site);
    std::fs::create_dir_all(&args.out)
        .map_err(|cause| Failure::configuration(format!("cannot create {}: {cause}", args.out.display())))?;
    let mut proofs = Vec::new();
    let mut commands = Vec::new();
    for role in ROLES {
        let proof = prove(
            &key_file(&site, role)?,
            &to_hex(site.genesis.as_bytes()),
            &args.controller,
            None,
            args.life_s,
            &source,
        )?;
        let path = args.out.join(format!("{}.proof.json", role_name(role)));
        setup::write_new(&path, &format!("{proof:#}\n"), MODE)?;
        commands.push(format!("x0 did add-key --proof {} --key CONTROLLER", path.display()));
        proofs.push(json!(path));
    }
    let network = KeystoreFile::read(&key_file(&site, KeyRole::Network)?)
        .and_then(|file| file.public_key())
        .map_err(Failure::configuration)?;
    Ok(json!({
        "controller": args.controller,
        "networkKey": to_hex(&network.fingerprint()),
        "proofs": proofs,
        "commands": commands,
        "then": [
            "the validators admit the controller as a candidate: x0 validators propose admit CONTROLLER",
            "the node follows the chain: x0-node --config ... and /ready says yes",
            "the validators give it power: x0 validators propose add CONTROLLER POWER; it signs two heights later",
        ],
    }))
}

/// Replaces a key of this node: first makes the new one, later puts it in the place of the old one.
///
/// # Errors
/// One line; nothing is overwritten, and no key is ever removed.
pub fn rotate(args: &RotateArgs) -> Result<Value, Failure> {
    let site = Site::load(&args.run)?;
    let role = keys::parse_role(&args.role).map_err(|failure| Failure::usage(failure.reason))?;
    if !ROLES.contains(&role) {
        return Err(Failure::usage(format!(
            "--role {}: a node has the keys network, consensus and reporter",
            args.role
        )));
    }
    let current = key_file(&site, role)?;
    let next = beside(&current, "next");
    if args.activate { activate(&site, role, &current, &next) } else { prepare(args, &site, role, &next) }
}

/// Makes the next key and the proof for it.
fn prepare(args: &RotateArgs, site: &Site, role: KeyRole, next: &Path) -> Result<Value, Failure> {
    let controller =
        args.controller.as_ref().ok_or_else(|| Failure::usage("--controller ACCOUNT is needed to prove the key"))?;
    let source = password_source(site);
    if !is_there(next)? {
        // One password opens all files of a node.
        let password = source.read_new("of the node's keystore files")?;
        generate(role, next, &password, &KdfParams::default())?;
    }
    let proof = prove(next, &to_hex(site.genesis.as_bytes()), controller, None, args.life_s, &source)?;
    let path = args.out.clone().unwrap_or_else(|| next.with_extension("proof.json"));
    // The proof beside the key is this command's own: it is good for an hour, and of an earlier key after a rotation.
    if args.out.is_none() && is_there(&path)? {
        std::fs::remove_file(&path)
            .map_err(|cause| Failure::configuration(format!("cannot replace {}: {cause}", path.display())))?;
    }
    setup::write_new(&path, &format!("{proof:#}\n"), MODE)?;
    let mut commands = vec![format!("x0 did rotate-key --proof {} --key CONTROLLER", path.display())];
    if role == KeyRole::Consensus {
        commands.push("x0 validators refresh-key --key CONTROLLER".to_owned());
    }
    commands.push(format!("stop the node; x0-node rotate-key --role {} --activate --config ...; start it", args.role));
    Ok(json!({ "key": next, "proof": path, "commands": commands }))
}

/// Puts the next key in the place of the current one, and the current one's record of signatures aside.
fn activate(site: &Site, role: KeyRole, current: &Path, next: &Path) -> Result<Value, Failure> {
    site.refuse_running("it holds the key")?;
    if !is_there(next)? {
        return Err(Failure::configuration(format!("there is no {}: run without --activate first", next.display())));
    }
    // A key that is lost has no file any more; what belonged to it is then named by the key that follows it.
    let (lost, named_by) = if is_there(current)? { (false, current) } else { (true, next) };
    let key = KeystoreFile::read(named_by).and_then(|file| file.public_key()).map_err(Failure::configuration)?;
    let fingerprint = hex::encode(key.fingerprint().get(..4).unwrap_or_default());
    let name = if lost { format!("before-{fingerprint}") } else { fingerprint };
    let mut moves = vec![(next.to_owned(), current.to_owned())];
    if !lost {
        moves.insert(0, (current.to_owned(), beside(current, &name)));
    }
    if role == KeyRole::Consensus {
        // Record and log speak of what the old key signed; the new one begins with neither.
        for part in ["guard", "wal"] {
            let path = site.base.join("consensus").join(part);
            if is_there(&path)? {
                moves.insert(0, (path.clone(), path.with_file_name(format!("{part}-{name}"))));
            }
        }
    }
    for (from, to) in &moves {
        setup::refuse_present(to, "it would be overwritten").or_else(|failure| {
            // The current key's place is free by the time the next one moves there.
            if to == current { Ok(()) } else { Err(failure) }
        })?;
        std::fs::rename(from, to).map_err(|cause| {
            Failure::configuration(format!("cannot move {} to {}: {cause}", from.display(), to.display()))
        })?;
    }
    let moved: Vec<Value> = moves.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
    Ok(json!({ "role": role_name(role), "moved": moved }))
}

/// The file of a key of this node.
fn key_file(site: &Site, role: KeyRole) -> Result<PathBuf, Failure> {
    let section = &site.config.file.keys;
    match role {
        KeyRole::Consensus => Ok(section.consensus(&site.base)),
        KeyRole::Network => Ok(section.network(&site.base)),
        KeyRole::Reporter => Ok(section.reporter(&site.base)),
        _ => Err(Failure::usage("a node has the keys network, consensus and reporter")),
    }
}

/// `DIR/consensus.json` and `next` give `DIR/consensus.next.json`.
fn beside(path: &Path, word: &str) -> PathBuf {
    path.with_extension(format!("{word}.json"))
}

fn password_source(site: &Site) -> Source {
    Source { file: site.config.file.keys.password_file.clone(), fd: site.config.password_fd }
}
