//! The links of a node: found by number, by the tag on their frames, and by their label.

use super::{UnderlayId, peers::PeerIx};
use crate::{NodeId, Time, link::Link};
use std::net::SocketAddr;

/// Most links at once.
pub const LINKS_MAX: usize = 256;
/// Most links with one neighbour: those of its addresses, and as many that wait to replace them.
pub const LINKS_PER_PEER_MAX: usize = 16;

/// Number of a link while it lives: an index into [`Links`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkIx(pub(super) usize);

/// A question to a new address: who answers it receives there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    /// Where the link may move.
    pub(super) underlay: UnderlayId,
    pub(super) address: SocketAddr,
    /// What the neighbour must send back.
    pub(super) token: [u8; 8],
    /// When the question went out.
    pub(super) asked: Time,
}

/// A link and what the node knows about it besides.
pub(super) struct Entry {
    pub(super) peer: PeerIx,
    pub(super) name: NodeId,
    pub(super) underlay: UnderlayId,
    pub(super) address: SocketAddr,
    /// Shared-risk group of the underlay.
    pub(super) srlg: u32,
    /// This node's name for the link in labels and records.
    pub(super) label: u32,
    pub(super) link: Link,
    pub(super) opened: Time,
    pub(super) tags: [u32; 2],
    pub(super) tags_until: Time,
    pub(super) moving: Option<Moving>,
    /// When the kernel filter last saw a frame of the link.
    pub(super) kernel_seen: Option<Time>,
    /// Whether the link was up at least once.
    pub(super) proved: bool,
    /// When it went down, while it is.
    pub(super) down_since: Option<Time>,
    /// Fresh keys are wanted.
    pub(super) stale: bool,
    /// Fresh keys for a way that has a link: routes go on over that one until this one is up.
    pub(super) renews: bool,
    /// The keys of before: until this moment frames under them are still taken, and none are sent.
    pub(super) retires: Option<Time>,
    /// Measures went to the router at this time.
    pub(super) reported: Time,
}

/// All links. Numbers are used again, labels are not.
#[derive(Default)]
pub(super) struct Links {
    slots: Vec<Option<Entry>>,
    /// Sorted by tag. Two links may have the same tag for a while; their keys tell them apart.
    tags: Vec<(u32, LinkIx)>,
}

impl Links {
    /// The number that the next link gets, if there may be another.
    pub(super) fn free(&self) -> Option<LinkIx> {
        match self.slots.iter().position(Option::is_none) {
            Some(free) => Some(LinkIx(free)),
            None if self.slots.len() < LINKS_MAX => Some(LinkIx(self.slots.len())),
            None => None,
        }
    }

    /// A label for this number: its low byte finds the link, the rest is drawn, so that a label of a
    /// link that is gone names no link.
    pub(super) fn label(at: LinkIx, drawn: [u8; 4]) -> u32 {
        let slot = u32::try_from(at.0 % LINKS_MAX).unwrap_or(0);
        (u32::from_be_bytes(drawn) | 0x100) & !0xFF | slot
    }

    /// Puts a link at a number from [`Links::free`].
    pub(super) fn put(&mut self, at: LinkIx, entry: Entry) {
        for tag in entry.tags {
            self.add_tag(tag, at);
        }
        match self.slots.get_mut(at.0) {
            Some(slot) => *slot = Some(entry),
            None => self.slots.push(Some(entry)),
        }
    }

    /// Takes a link out.
    pub(super) fn take(&mut self, at: LinkIx) -> Option<Entry> {
        let entry = self.slots.get_mut(at.0)?.take()?;
        self.tags.retain(|(_, link)| *link != at);
        Some(entry)
    }

    pub(super) fn get(&self, at: LinkIx) -> Option<&Entry> {
        self.slots.get(at.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: LinkIx) -> Option<&mut Entry> {
        self.slots.get_mut(at.0)?.as_mut()
    }

    /// The link with this label.
    pub(super) fn labelled(&self, label: u32) -> Option<LinkIx> {
        let at = LinkIx(usize::try_from(label & 0xFF).ok()?);
        self.get(at).filter(|entry| entry.label == label).map(|_| at)
    }

    /// The links that a frame with this tag may belong to.
    pub(super) fn tagged(&self, tag: u32) -> impl Iterator<Item = LinkIx> + '_ {
        let start = self.tags.partition_point(|(known, _)| *known < tag);
        self.tags.get(start..).unwrap_or(&[]).iter().take_while(move |(known, _)| *known == tag).map(|(_, at)| *at)
    }

    /// Gives the link at `kept` the keys of the link at `fresh`, and the other way round: the label, by which
    /// routes of others name the link, outlives its keys.
    pub(super) fn exchange(&mut self, kept: LinkIx, fresh: LinkIx) {
        let (low, high) = (kept.0.min(fresh.0), kept.0.max(fresh.0));
        let Some((head, tail)) = self.slots.split_at_mut_checked(high) else { return };
        if let (Some(Some(a)), Some(Some(b))) = (head.get_mut(low), tail.first_mut()) {
            core::mem::swap(&mut a.link, &mut b.link);
            core::mem::swap(&mut a.opened, &mut b.opened);
            core::mem::swap(&mut a.tags, &mut b.tags);
            core::mem::swap(&mut a.tags_until, &mut b.tags_until);
            core::mem::swap(&mut a.kernel_seen, &mut b.kernel_seen);
            core::mem::swap(&mut a.proved, &mut b.proved);
            core::mem::swap(&mut a.down_since, &mut b.down_since);
            core::mem::swap(&mut a.stale, &mut b.stale);
            for (_, at) in self.tags.iter_mut().filter(|(_, at)| *at == kept || *at == fresh) {
                *at = if *at == kept { fresh } else { kept };
            }
            self.tags.sort_unstable();
        }
    }

    /// Takes over the tags that are valid now; those that came and those that went.
    pub(super) fn refresh_tags(&mut self, at: LinkIx, now: Time) -> ([Option<u32>; 2], [Option<u32>; 2]) {
        let mut came = [None; 2];
        let mut went = [None; 2];
        let Some(entry) = self.get_mut(at) else { return (came, went) };
        let old = entry.tags;
        let (new, until) = entry.link.own_tags(now);
        entry.tags = new;
        entry.tags_until = until;
        for (place, tag) in went.iter_mut().zip(old) {
            if !new.contains(&tag) {
                self.tags.retain(|known| *known != (tag, at));
                *place = Some(tag).filter(|tag| self.tagged(*tag).next().is_none());
            }
        }
        for (place, tag) in came.iter_mut().zip(new) {
            if !old.contains(&tag) {
                self.add_tag(tag, at);
                *place = Some(tag);
            }
        }
        (came, went)
    }

    fn add_tag(&mut self, tag: u32, at: LinkIx) {
        if let Err(place) = self.tags.binary_search(&(tag, at)) {
            self.tags.insert(place, (tag, at));
        }
    }

    /// Every link, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkIx, &Entry)> {
        self.slots.iter().enumerate().filter_map(|(number, slot)| slot.as_ref().map(|entry| (LinkIx(number), entry)))
    }

    /// As [`Links::iter`], to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (LinkIx, &mut Entry)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(number, slot)| slot.as_mut().map(|entry| (LinkIx(number), entry)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Numbers of the links for which something holds. Control rate only: it allocates.
    pub(super) fn which(&self, holds: impl Fn(&Entry) -> bool) -> Vec<LinkIx> {
        self.iter().filter(|(_, entry)| holds(entry)).map(|(at, _)| at).collect()
    }
}
