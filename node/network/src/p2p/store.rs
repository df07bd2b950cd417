//! The peer store: addresses of peers from the last run, so that a node that starts again finds the
//! network even when the peers of its configuration are gone.

use super::address::{HostPort, key_from_hex};
use crate::PeerKey;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    peers: Vec<Peer>,
}

#[derive(Serialize, Deserialize)]
struct Peer {
    key: String,
    addresses: Vec<String>,
}

/// Addresses by peer.
pub(super) type Addresses = BTreeMap<PeerKey, Vec<HostPort>>;

/// What a store held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// There is none yet.
    Missing,
    /// These addresses.
    Addresses(Addresses),
    /// It was damaged, for this reason, and is now at this path. Peers come from elsewhere.
    Damaged {
        /// What is wrong with it.
        reason: String,
        /// Where it is now.
        moved_to: PathBuf,
    },
}

/// Reads the store. A damaged one is set aside, because addresses can be learned again and a node
/// must not stay down for them.
///
/// # Errors
/// Only when the file can be neither read nor set aside.
pub(super) fn load(path: &Path) -> io::Result<Loaded> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    (&mut file).take(x0_limits::PEER_STORE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    drop(file);
    match parse(&bytes) {
        Ok(addresses) => Ok(Loaded::Addresses(addresses)),
        Err(reason) => {
            let mut moved_to = path.as_os_str().to_owned();
            moved_to.push(".damaged");
            let moved_to = PathBuf::from(moved_to);
            fs::rename(path, &moved_to)?;
            Ok(Loaded::Damaged { reason, moved_to })
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Addresses, String> {
    if bytes.len() as u64 > x0_limits::PEER_STORE_BYTES_MAX {
        return Err(format!("more than {} bytes", x0_limits::PEER_STORE_BYTES_MAX));
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("version {} instead of {VERSION}", file.version));
    }
    let mut addresses = Addresses::new();
    for peer in file.peers.into_iter().take(x0_limits::LINK_TOLD_PEERS_MAX) {
        let key = key_from_hex(&peer.key).ok_or_else(|| "a peer key is not 64 hexadecimal digits".to_owned())?;
        let places: Result<Vec<HostPort>, _> =
            peer.addresses.iter().take(x0_limits::LINK_ADDRESSES_PER_PEER_MAX).map(|text| text.parse()).collect();
        addresses.insert(key, places.map_err(|error| error.to_string())?);
    }
    Ok(addresses)
}

/// Writes the store: whole or not at all.
///
/// # Errors
/// Those of the file system.
pub(super) fn save(path: &Path, addresses: &Addresses) -> io::Result<()> {
    let peers = addresses
        .iter()
        .map(|(key, places)| Peer {
            key: hex::encode(key.0),
            addresses: places.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let bytes = serde_json::to_vec_pretty(&File { version: VERSION, peers })?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Addresses {
        (1..=3).map(|tag| (PeerKey([tag; 32]), vec![format!("10.0.0.{tag}:30300").parse().unwrap()])).collect()
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("network/peers.json");
        assert_eq!(load(&path).unwrap(), Loaded::Missing);
        save(&path, &sample()).unwrap();
        assert_eq!(load(&path).unwrap(), Loaded::Addresses(sample()));
    }

    #[test]
    fn every_damage_is_set_aside_and_the_next_start_is_clean() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers.json");
        save(&path, &sample()).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut damages: Vec<Vec<u8>> = (0..whole.len()).step_by(7).map(|cut| whole[..cut].to_vec()).collect();
        damages.push(b"\0\xff".repeat(1_000));
        damages.push(br#"{"version":2,"peers":[]}"#.to_vec());
        damages.push(br#"{"version":1,"peers":[{"key":"00","addresses":[]}]}"#.to_vec());
        damages.push(vec![b' '; usize::try_from(x0_limits::PEER_STORE_BYTES_MAX).unwrap() + 1]);
        for damage in damages {
            fs::write(&path, &damage).unwrap();
            let loaded = load(&path).unwrap();
            let Loaded::Damaged { moved_to, .. } = loaded else { panic!("{loaded:?}") };
            assert_eq!(fs::read(moved_to).unwrap(), damage);
            assert_eq!(load(&path).unwrap(), Loaded::Missing);
        }
    }

    #[test]
    fn a_flipped_bit_never_panics() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers.json");
        save(&path, &sample()).unwrap();
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            fs::write(&path, &bytes).unwrap();
            load(&path).unwrap();
        }
    }
}
