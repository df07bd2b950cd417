//! Reads what the programs count, from any thread.

use super::{
    config::PeerId,
    error::FilterError,
    stats::{PeerTraffic, Totals, Traffic},
};
use crate::{
    LoaderError, counters,
    object::{Plain, Senders},
};
use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};
use x0_ebpf_shared::{PeerCounters, Reason, TagStats};

/// Peers whose traffic is remembered after their last tag is gone.
const RETIRED_MAX: usize = 4096;

/// The map of tags.
pub(super) type Tags = PerCpuHashMap<MapData, u32, Plain<TagStats>>;

/// Whose the tags are, and what was counted under tags that are gone.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) owners: BTreeMap<u32, PeerId>,
    retired: BTreeMap<PeerId, Traffic>,
}

impl Book {
    /// Keeps what was counted under a tag that goes.
    pub(super) fn retire(&mut self, peer: PeerId, traffic: &Traffic) {
        let sum = self.retired.entry(peer).or_default();
        *sum = sum.join(traffic);
        if self.retired.len() > RETIRED_MAX
            && let Some(oldest) =
                self.retired.iter().min_by_key(|(_, traffic)| traffic.last_seen_ns).map(|(peer, _)| *peer)
        {
            self.retired.remove(&oldest);
        }
    }
}

struct Maps {
    tags: Tags,
    totals: PerCpuArray<MapData, u64>,
    senders: Senders,
    book: RwLock<Book>,
}

/// Reads what the programs count. Clones read the same; they outlive the filter and then see numbers
/// that no longer change.
#[derive(Clone)]
pub struct FilterReader {
    maps: Arc<Maps>,
}

impl std::fmt::Debug for FilterReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterReader").field("book", &self.maps.book).finish_non_exhaustive()
    }
}

impl FilterReader {
    pub(super) fn new(tags: Tags, totals: PerCpuArray<MapData, u64>, senders: Senders) -> Self {
        Self { maps: Arc::new(Maps { tags, totals, senders, book: RwLock::new(Book::default()) }) }
    }

    /// Works on the book. A thread that panicked while it held the lock left a book that is complete
    /// but for one tag; refusing every statistic for that would be worse.
    pub(super) fn with_book<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.maps.book.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// When a datagram last arrived under this tag, whether a rule let it pass or not: nanoseconds of
    /// CLOCK_MONOTONIC. `None` when none did, when the tag is not allowed, or when the kernel refuses
    /// the read; none of the three says that the peer is silent. One system call.
    #[must_use]
    pub fn last_seen(&self, tag: u32) -> Option<u64> {
        let values = self.maps.tags.get(&tag, 0).ok()?;
        values.iter().map(|value| value.0.last_seen_ns).max().filter(|seen| *seen > 0)
    }

    /// What was counted under one tag; `None` when it is not allowed.
    ///
    /// # Errors
    /// [`LoaderError::Map`] when the kernel refuses the read.
    pub fn tag(&self, tag: u32) -> Result<Option<Traffic>, FilterError> {
        match self.maps.tags.get(&tag, 0) {
            Ok(values) => Ok(Some(Traffic::sum(values.iter().map(|value| value.0)))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(LoaderError::Map(error).into()),
        }
    }

    /// What was counted for each peer, over all its tags of now and before. Takes a system call for each
    /// tag; the filter's bound of tags bounds it.
    ///
    /// # Errors
    /// As for [`Self::tag`].
    pub fn peers(&self) -> Result<Vec<PeerTraffic>, FilterError> {
        let (owners, mut sums) = {
            let book = self.maps.book.read().unwrap_or_else(PoisonError::into_inner);
            (book.owners.clone(), book.retired.clone())
        };
        for (tag, peer) in owners {
            let sum = sums.entry(peer).or_default();
            if let Some(traffic) = self.tag(tag)? {
                *sum = sum.join(&traffic);
            }
        }
        Ok(sums.into_iter().map(|(peer, traffic)| PeerTraffic { peer, traffic }).collect())
    }

    /// Datagrams on the mesh's ports by fate.
    ///
    /// # Errors
    /// As for [`Self::tag`].
    pub fn totals(&self) -> Result<Totals, FilterError> {
        let mut counts = [0; Reason::COUNT];
        for (index, count) in (0..).zip(counts.iter_mut()) {
            let values = self.maps.totals.get(&index, 0).map_err(LoaderError::Map)?;
            *count = values.iter().fold(0u64, |sum, value| sum.saturating_add(*value));
        }
        Ok(Totals::new(counts))
    }

    /// What came in on the port of the availability service, by sender.
    ///
    /// # Errors
    /// As for [`Self::tag`].
    pub fn senders(&self) -> Result<BTreeMap<IpAddr, PeerCounters>, LoaderError> {
        counters::read(&self.maps.senders)
    }
}
