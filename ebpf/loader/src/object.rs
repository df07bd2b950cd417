//! The embedded object, and the map types of both sides as the map functions want them.

use crate::{LoaderError, permitted};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, Map, MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use std::os::fd::AsFd as _;
use x0_ebpf_shared::{PEERS_MAP, PeerCounters, PeerKey, RuleEntry, SETTINGS_MAP, Settings, TagStats};

/// The committed BPF object, built from `ebpf/programs` by `cargo xtask bpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../object/x0-tc.o");

/// Most instructions that the kernel's verifier may walk through for one program. It gives up at
/// 1,000,000 (`BPF_COMPLEXITY_LIMIT_INSNS`, Linux 5.2); the rest is for kernels that prune less.
pub const VERIFIED_INSTRUCTIONS_MAX: u32 = 150_000;

/// A value of the shared crate for the map functions, which want their own trait on a local type.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<T: Copy>(pub(crate) T);

// SAFETY: transparent over a `repr(C)` struct of plain integers without padding (the shared crate
// asserts the sizes), so every bit pattern is a value.
unsafe impl Pod for Plain<PeerKey> {}
// SAFETY: as above.
unsafe impl Pod for Plain<PeerCounters> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Settings> {}
// SAFETY: as above.
unsafe impl Pod for Plain<TagStats> {}
// SAFETY: as above.
unsafe impl Pod for Plain<RuleEntry> {}

/// The map of senders of the availability service.
pub(crate) type Senders = PerCpuHashMap<MapData, Plain<PeerKey>, Plain<PeerCounters>>;

/// Loads the object with these sizes of maps.
///
/// The kernel's own type information is left alone: the programs need none of it, and reading it
/// takes some 16 MB.
pub(crate) fn load(sizes: &[(&'static str, u32)]) -> Result<Ebpf, LoaderError> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    for (map, entries) in sizes {
        loader.map_max_entries(map, *entries);
    }
    loader.load(OBJECT).map_err(|error| permitted(error, LoaderError::Object))
}

/// Takes a map out of the object. Programs that are not loaded yet know the map by its descriptor, so
/// the map must live until they are.
pub(crate) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoaderError> {
    ebpf.take_map(name).ok_or(LoaderError::Missing(name))
}

/// A second handle to a map.
pub(crate) fn again(map: &Map) -> Result<Map, LoaderError> {
    let (Map::HashMap(data) | Map::PerCpuHashMap(data) | Map::PerCpuLruHashMap(data) | Map::PerCpuArray(data)) = map
    else {
        return Err(LoaderError::Missing("a map of a kind with two handles"));
    };
    let descriptor = data.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError)?;
    Ok(Map::from_map_data(MapData::from_fd(descriptor)?)?)
}

/// Writes the settings.
pub(crate) fn set<T: std::borrow::BorrowMut<MapData>>(
    map: &mut Array<T, Plain<Settings>>,
    settings: Settings,
) -> Result<(), LoaderError> {
    Ok(map.set(0, Plain(settings), 0)?)
}

/// The map of settings, which stays in the object.
pub(crate) fn settings_in(ebpf: &mut Ebpf) -> Result<Array<&mut MapData, Plain<Settings>>, LoaderError> {
    Ok(Array::try_from(ebpf.map_mut(SETTINGS_MAP).ok_or(LoaderError::Missing(SETTINGS_MAP))?)?)
}

/// The map of settings, by value.
pub(crate) fn settings(ebpf: &mut Ebpf) -> Result<Array<MapData, Plain<Settings>>, LoaderError> {
    Ok(Array::try_from(take(ebpf, SETTINGS_MAP)?)?)
}

/// The map of senders, by value.
pub(crate) fn senders(ebpf: &mut Ebpf) -> Result<Senders, LoaderError> {
    Ok(PerCpuHashMap::try_from(take(ebpf, PEERS_MAP)?)?)
}

/// How many CPUs the machine may have: the length of a per-CPU value.
pub(crate) fn cpus() -> Result<usize, LoaderError> {
    nr_cpus().map_err(|(_, error)| LoaderError::Cpus(error))
}

/// The same value for every CPU; `cpus` are [`cpus`].
pub(crate) fn on_all_cpus<T: Pod>(cpus: usize, value: T) -> Result<PerCpuValues<T>, LoaderError> {
    PerCpuValues::try_from(vec![value; cpus]).map_err(LoaderError::Cpus)
}
