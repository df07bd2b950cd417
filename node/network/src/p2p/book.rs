//! Where peers are and when to dial them. Takes time and randomness as arguments, so that its
//! behaviour follows from its inputs alone.
//!
//! ```text
//!             due()                failed(): next try after a back-off with jitter
//!   waiting ---------> dialing ---------------------------------> waiting
//!      ^                  |  linked()
//!      |   unlinked()     v
//!      +------------- linked     a link that stood for long starts the back-off anew
//! ```
//!
//! Each peer has this once for each [`Lane`]. The lane of bulk is dialled only while that of votes stands and this side
//! leads, so that the two sides do not both dial it.

use super::{address::HostPort, lane::Lane};
use crate::PeerKey;
use rand::{Rng, RngCore};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Who says that a peer is at an address. Later variants are believed more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Another peer, or the peer store.
    Told,
    /// The peer itself, over its authenticated link.
    Itself,
    /// The operator.
    Configured,
}

#[derive(Clone, Debug)]
struct Place {
    address: HostPort,
    origin: Origin,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until_ms: u64 },
    Dialing,
    Linked { since_ms: u64 },
}

/// The way to a peer on one lane.
#[derive(Clone, Copy, Debug)]
struct Road {
    state: State,
    attempts: u32,
}

impl Road {
    const NEW: Self = Self { state: State::Waiting { until_ms: 0 }, attempts: 0 };

    const fn waits(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    const fn linked(&self) -> bool {
        matches!(self.state, State::Linked { .. })
    }

    /// Waits no longer than until this time.
    fn hurry(&mut self, now_ms: u64) {
        if let State::Waiting { until_ms } = &mut self.state {
            *until_ms = (*until_ms).min(now_ms);
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    wanted: bool,
    places: Vec<Place>,
    votes: Road,
    bulk: Road,
    /// Whether this side dials the lane of bulk.
    leads: bool,
    last_error: Option<String>,
}

impl Entry {
    const fn new() -> Self {
        Self { wanted: false, places: Vec::new(), votes: Road::NEW, bulk: Road::NEW, leads: false, last_error: None }
    }

    const fn road(&mut self, lane: Lane) -> &mut Road {
        match lane {
            Lane::Votes => &mut self.votes,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// When the next dial on a lane is due.
    const fn due_at(&self, lane: Lane) -> Option<u64> {
        let road = match lane {
            Lane::Votes => &self.votes,
            Lane::Bulk if self.leads && self.votes.linked() => &self.bulk,
            Lane::Bulk => return None,
        };
        match road.state {
            State::Waiting { until_ms } if self.wanted && !self.places.is_empty() => Some(until_ms),
            _ => None,
        }
    }

    /// Nothing stands and nothing is under way.
    const fn idle(&self) -> bool {
        self.votes.waits() && self.bulk.waits()
    }

    /// The place with the fewest failures, the most believed one among equals.
    fn best(&self) -> Option<&Place> {
        self.places.iter().min_by_key(|place| (place.failures, std::cmp::Reverse(place.origin)))
    }
}

/// A peer that has no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlinked {
    /// The peer.
    pub key: PeerKey,
    /// Where it may be. Empty when nobody has told yet.
    pub addresses: Vec<HostPort>,
    /// Dials without success since the last link.
    pub attempts: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

/// The address book.
#[derive(Debug)]
pub(super) struct Book {
    local: PeerKey,
    entries: BTreeMap<PeerKey, Entry>,
    /// Addresses from the last run, for peers that are admitted later.
    remembered: BTreeMap<PeerKey, Vec<HostPort>>,
    dialing: usize,
}

impl Book {
    pub(super) const fn new(local: PeerKey) -> Self {
        Self { local, entries: BTreeMap::new(), remembered: BTreeMap::new(), dialing: 0 }
    }

    /// Takes the addresses of the last run, each for the time when its peer is wanted.
    pub(super) fn remember(&mut self, addresses: &BTreeMap<PeerKey, Vec<HostPort>>) {
        self.remembered.clone_from(addresses);
        let known: Vec<_> = self.entries.keys().copied().collect();
        for key in known {
            self.recall(key);
        }
    }

    fn recall(&mut self, key: PeerKey) {
        for address in self.remembered.remove(&key).unwrap_or_default() {
            self.learn(key, address, Origin::Told, 0);
        }
    }

    /// Keeps links with exactly these peers from now on.
    pub(super) fn want(&mut self, wanted: &BTreeSet<PeerKey>, now_ms: u64) {
        for key in wanted {
            let entry = self.entries.entry(*key).or_insert_with(Entry::new);
            if !entry.wanted {
                entry.wanted = true;
                entry.votes.attempts = 0;
                if entry.votes.waits() {
                    entry.votes.state = State::Waiting { until_ms: now_ms };
                }
                self.recall(*key);
            }
        }
        for (key, entry) in &mut self.entries {
            entry.wanted = wanted.contains(key);
        }
        // Addresses of peers that left are of no use; those that still have a link go with it.
        self.entries.retain(|_, entry| entry.wanted || !entry.idle());
    }

    /// Takes note of an address. Whether it is news. Addresses of peers that nobody wants are not kept.
    pub(super) fn learn(&mut self, key: PeerKey, address: HostPort, origin: Origin, now_ms: u64) -> bool {
        if key == self.local {
            return false;
        }
        if origin == Origin::Configured {
            self.entries.entry(key).or_insert_with(Entry::new).wanted = true;
        }
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.wanted) else { return false };
        if let Some(place) = entry.places.iter_mut().find(|place| place.address == address) {
            place.origin = place.origin.max(origin);
            return false;
        }
        if entry.places.len() >= x0_limits::LINK_ADDRESSES_PER_PEER_MAX {
            let Some((index, worst)) = entry
                .places
                .iter()
                .enumerate()
                .filter(|(_, place)| place.origin != Origin::Configured)
                .max_by_key(|(_, place)| (std::cmp::Reverse(place.origin), place.failures))
            else {
                return false;
            };
            // Hearsay replaces only what does not work.
            if worst.origin > origin || (worst.origin == origin && worst.failures == 0) {
                return false;
            }
            entry.places.remove(index);
        }
        entry.places.push(Place { address, origin, failures: 0 });
        entry.votes.hurry(now_ms);
        true
    }

    /// The peer says where it is: what it said before does not count any more.
    pub(super) fn learn_from_itself(&mut self, key: PeerKey, addresses: &[HostPort], now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.places.retain(|place| place.origin != Origin::Itself || addresses.contains(&place.address));
        }
        for address in addresses {
            self.learn(key, address.clone(), Origin::Itself, now_ms);
        }
    }

    /// The dials that are due, each marked as under way.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<(PeerKey, Lane, HostPort)> {
        let mut due = Vec::new();
        // Votes first, when there are more dials than places.
        for lane in Lane::ALL {
            for (key, entry) in &mut self.entries {
                if self.dialing >= x0_limits::LINK_DIALS_MAX {
                    return due;
                }
                if *key == self.local || entry.due_at(lane).is_none_or(|at| at > now_ms) {
                    continue;
                }
                let Some(address) = entry.best().map(|place| place.address.clone()) else { continue };
                due.push((*key, lane, address));
                entry.road(lane).state = State::Dialing;
                self.dialing += 1;
            }
        }
        due
    }

    /// Whether this side dials the lane of bulk from now on. Who begins to lead dials at once.
    pub(super) fn lead(&mut self, key: &PeerKey, leads: bool, now_ms: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if leads && !entry.leads {
            entry.bulk.attempts = 0;
            entry.bulk.hurry(now_ms);
        }
        entry.leads = leads;
    }

    /// When the next dial is due, if nothing happens before.
    pub(super) fn next_at(&self) -> Option<u64> {
        if self.dialing >= x0_limits::LINK_DIALS_MAX {
            return None;
        }
        self.entries
            .iter()
            .filter(|(key, _)| **key != self.local)
            .flat_map(|(_, entry)| Lane::ALL.into_iter().filter_map(|lane| entry.due_at(lane)))
            .min()
    }

    /// A dial failed.
    pub(super) fn failed(
        &mut self,
        key: &PeerKey,
        lane: Lane,
        address: &HostPort,
        error: String,
        now_ms: u64,
        random: &mut dyn RngCore,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let (Lane::Votes, Some(place)) = (lane, entry.places.iter_mut().find(|place| place.address == *address)) {
            place.failures = place.failures.saturating_add(1);
        }
        if entry.road(lane).state == State::Dialing {
            self.dialing = self.dialing.saturating_sub(1);
            if lane == Lane::Votes {
                entry.last_error = Some(error);
            }
            back_off(entry.road(lane), lane, now_ms, random);
        }
    }

    /// A link to the peer stands, whoever dialled.
    pub(super) fn linked(&mut self, key: &PeerKey, lane: Lane, dialled: Option<&HostPort>, now_ms: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(place) = dialled.and_then(|address| entry.places.iter_mut().find(|place| place.address == *address))
        {
            place.failures = 0;
        }
        let road = entry.road(lane);
        match road.state {
            State::Dialing => self.dialing = self.dialing.saturating_sub(1),
            State::Linked { .. } => return,
            State::Waiting { .. } => {}
        }
        road.state = State::Linked { since_ms: now_ms };
        if lane == Lane::Votes {
            entry.last_error = None;
        }
    }

    /// The last connection with the peer on a lane is gone.
    pub(super) fn unlinked(&mut self, key: &PeerKey, lane: Lane, now_ms: u64, random: &mut dyn RngCore) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let road = entry.road(lane);
        if let State::Linked { since_ms } = road.state {
            if now_ms.saturating_sub(since_ms) >= x0_limits::LINK_STABLE_MS {
                road.attempts = 0;
            }
            back_off(road, lane, now_ms, random);
            if !entry.wanted && entry.idle() {
                self.entries.remove(key);
            }
        }
    }

    /// No dial to the peer before this time.
    pub(super) fn postpone(&mut self, key: &PeerKey, until: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        for lane in Lane::ALL {
            if let State::Waiting { until_ms } = &mut entry.road(lane).state {
                *until_ms = (*until_ms).max(until);
            }
        }
    }

    /// The addresses of every wanted peer, to be told and to be stored.
    pub(super) fn addresses(&self) -> BTreeMap<PeerKey, Vec<HostPort>> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.wanted && !entry.places.is_empty())
            .map(|(key, entry)| {
                let mut places: Vec<_> = entry.places.iter().collect();
                places.sort_by_key(|place| (place.failures, std::cmp::Reverse(place.origin)));
                (*key, places.into_iter().map(|place| place.address.clone()).collect())
            })
            .collect()
    }

    /// IP addresses where wanted peers are.
    pub(super) fn ips(&self) -> HashSet<std::net::IpAddr> {
        self.entries
            .values()
            .filter(|entry| entry.wanted)
            .flat_map(|entry| entry.places.iter().filter_map(|place| place.address.ip()))
            .collect()
    }

    /// Wanted peers without a connection on any lane.
    pub(super) fn unlinked_peers(&self) -> Vec<Unlinked> {
        self.entries
            .iter()
            .filter(|(key, entry)| entry.wanted && **key != self.local && !entry.votes.linked() && !entry.bulk.linked())
            .map(|(key, entry)| Unlinked {
                key: *key,
                addresses: entry.places.iter().map(|place| place.address.clone()).collect(),
                attempts: entry.votes.attempts,
                last_error: entry.last_error.clone(),
            })
            .collect()
    }
}

/// Doubles the wait, up to a limit, and takes a random part off, so that peers that lost each other
/// at the same time do not dial at the same time for ever.
fn back_off(road: &mut Road, lane: Lane, now_ms: u64, random: &mut dyn RngCore) {
    let max = match lane {
        Lane::Votes => x0_limits::LINK_RECONNECT_MS_MAX,
        Lane::Bulk => x0_limits::LINK_BULK_RECONNECT_MS_MAX,
    };
    let longest = (x0_limits::LINK_RECONNECT_MS_MIN << road.attempts.min(16)).min(max);
    road.attempts = road.attempts.saturating_add(1);
    let wait = random.random_range(longest / 2..=longest);
    road.state = State::Waiting { until_ms: now_ms + wait };
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn key(tag: u8) -> PeerKey {
        PeerKey([tag; 32])
    }

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn book() -> (Book, StdRng) {
        let mut book = Book::new(key(0));
        book.want(&BTreeSet::from([key(0), key(1), key(2)]), 0);
        (book, StdRng::seed_from_u64(1))
    }

    #[test]
    fn dials_back_off_with_jitter_up_to_a_limit() {
        let (mut book, mut random) = book();
        book.learn(key(1), at("10.0.0.1:1"), Origin::Configured, 0);
        assert_eq!(book.next_at(), Some(0));
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..12 {
            assert_eq!(book.due(now), [(key(1), Lane::Votes, at("10.0.0.1:1"))]);
            assert!(book.due(now).is_empty(), "a dial that is under way is not begun again");
            book.failed(&key(1), Lane::Votes, &at("10.0.0.1:1"), "refused".into(), now, &mut random);
            let next = book.next_at().unwrap();
            waits.push(next - now);
            assert!(book.due(next - 1).is_empty());
            now = next;
        }
        assert!(waits[0] <= x0_limits::LINK_RECONNECT_MS_MIN);
        let last = *waits.last().unwrap();
        assert!((x0_limits::LINK_RECONNECT_MS_MAX / 2..=x0_limits::LINK_RECONNECT_MS_MAX).contains(&last));
        assert_eq!(book.unlinked_peers()[0].last_error.as_deref(), Some("refused"));
    }

    #[test]
    fn a_link_that_breaks_at_once_does_not_reset_the_back_off_one_that_stood_does() {
        let (mut book, mut random) = book();
        book.learn(key(1), at("10.0.0.1:1"), Origin::Configured, 0);
        let mut now = 0;
        for _ in 0..8 {
            book.due(now);
            book.linked(&key(1), Lane::Votes, Some(&at("10.0.0.1:1")), now);
            book.unlinked(&key(1), Lane::Votes, now, &mut random);
            now = book.next_at().unwrap();
        }
        book.due(now);
        book.linked(&key(1), Lane::Votes, None, now);
        let broken = now + x0_limits::LINK_STABLE_MS;
        book.unlinked(&key(1), Lane::Votes, broken, &mut random);
        assert!(book.next_at().unwrap() - broken <= x0_limits::LINK_RECONNECT_MS_MIN);
    }

    #[test]
    fn another_address_is_tried_when_one_fails() {
        let (mut book, mut random) = book();
        book.learn(key(1), at("10.0.0.1:1"), Origin::Configured, 0);
        book.learn(key(1), at("10.0.0.2:1"), Origin::Told, 0);
        assert_eq!(book.due(0)[0].2, at("10.0.0.1:1"));
        book.failed(&key(1), Lane::Votes, &at("10.0.0.1:1"), String::new(), 0, &mut random);
        let now = book.next_at().unwrap();
        assert_eq!(book.due(now)[0].2, at("10.0.0.2:1"));
    }

    #[test]
    fn bulk_is_dialled_by_the_side_that_leads_while_votes_have_their_link() {
        let (mut book, mut random) = book();
        book.learn(key(1), at("10.0.0.1:1"), Origin::Configured, 0);
        book.lead(&key(1), true, 0);
        assert_eq!(book.due(0), [(key(1), Lane::Votes, at("10.0.0.1:1"))], "not before the lane of votes stands");
        book.linked(&key(1), Lane::Votes, Some(&at("10.0.0.1:1")), 0);
        book.lead(&key(1), false, 0);
        assert_eq!((book.due(0).len(), book.next_at()), (0, None), "the other side does");
        book.lead(&key(1), true, 5);
        assert_eq!(book.due(5), [(key(1), Lane::Bulk, at("10.0.0.1:1"))]);
        // A peer that does not know the lane is asked more and more seldom, and is no missing peer.
        let (mut now, mut waits) = (5, Vec::new());
        for _ in 0..16 {
            book.failed(&key(1), Lane::Bulk, &at("10.0.0.1:1"), "what?".into(), now, &mut random);
            let next = book.next_at().unwrap();
            waits.push(next - now);
            now = next;
            assert_eq!(book.due(now).len(), 1);
        }
        assert!(waits[0] <= x0_limits::LINK_RECONNECT_MS_MIN);
        assert!(*waits.last().unwrap() >= x0_limits::LINK_BULK_RECONNECT_MS_MAX / 2);
        assert!(book.unlinked_peers().iter().all(|peer| peer.key != key(1)));
        // While one of the two stands, nobody is missing; and each comes back by itself.
        book.linked(&key(1), Lane::Bulk, Some(&at("10.0.0.1:1")), now);
        book.unlinked(&key(1), Lane::Votes, now, &mut random);
        assert!(book.unlinked_peers().iter().all(|peer| peer.key != key(1)));
        assert_eq!(book.due(now + x0_limits::LINK_RECONNECT_MS_MAX)[0].1, Lane::Votes);
        book.unlinked(&key(1), Lane::Bulk, now, &mut random);
        assert!(book.unlinked_peers().iter().any(|peer| peer.key == key(1)));
    }

    #[test]
    fn hearsay_displaces_nothing_that_works_and_nobody_unwanted_is_kept() {
        let (mut book, _) = book();
        assert!(!book.learn(key(9), at("10.0.0.9:1"), Origin::Told, 0));
        assert!(!book.learn(key(0), at("10.0.0.9:1"), Origin::Told, 0), "not even of this node itself");
        book.learn(key(1), at("10.0.0.1:1"), Origin::Configured, 0);
        for tag in 2..100 {
            book.learn(key(1), at(&format!("10.0.0.{tag}:1")), Origin::Told, 0);
        }
        let places = book.addresses().remove(&key(1)).unwrap();
        assert_eq!(places.len(), x0_limits::LINK_ADDRESSES_PER_PEER_MAX);
        assert_eq!(places[0], at("10.0.0.1:1"));
        book.learn_from_itself(key(1), &[at("10.1.0.1:1")], 0);
        book.learn_from_itself(key(1), &[at("10.1.0.2:1")], 0);
        let places = book.addresses().remove(&key(1)).unwrap();
        assert!(places.contains(&at("10.1.0.2:1")) && !places.contains(&at("10.1.0.1:1")));
        assert!(places.contains(&at("10.0.0.1:1")));
    }

    #[test]
    fn peers_that_leave_the_list_are_not_dialled_again() {
        let (mut book, mut random) = book();
        for tag in 1..=2 {
            book.learn(key(tag), at("10.0.0.1:1"), Origin::Told, 0);
        }
        assert_eq!(book.due(0).len(), 2);
        book.linked(&key(2), Lane::Votes, None, 0);
        book.want(&BTreeSet::new(), 0);
        book.failed(&key(1), Lane::Votes, &at("10.0.0.1:1"), String::new(), 0, &mut random);
        book.unlinked(&key(2), Lane::Votes, 0, &mut random);
        assert!(book.due(1_000_000).is_empty());
        assert_eq!(book.next_at(), None);
        // Who comes back is dialled at once.
        book.want(&BTreeSet::from([key(1)]), 5);
        book.learn(key(1), at("10.0.0.1:1"), Origin::Told, 5);
        assert_eq!(book.due(5).len(), 1);
    }

    proptest::proptest! {
        /// Whatever happens in whatever order, no more dials are under way than allowed, none begins before its
        /// time, and the count of dials under way returns to zero.
        #[test]
        fn dials_are_bounded_and_none_is_forgotten(
            steps in proptest::collection::vec((0u8..8, 0u8..40, 0u64..5_000), 1..300),
            seed: u64,
        ) {
            let mut random = StdRng::seed_from_u64(seed);
            let mut book = Book::new(key(255));
            let all: BTreeSet<_> = (0..40).map(key).collect();
            book.want(&all, 0);
            let mut now = 0;
            let mut under_way: BTreeMap<(PeerKey, Lane), HostPort> = BTreeMap::new();
            for (step, tag, elapsed) in steps {
                now += elapsed;
                let lane = Lane::ALL[usize::from(tag % 2)];
                let road = (key(tag), lane);
                match step {
                    0 => { book.learn(key(tag), at(&format!("10.0.0.{tag}:1")), Origin::Told, now); }
                    1 => for (peer, lane, address) in book.due(now) {
                        proptest::prop_assert!(under_way.insert((peer, lane), address).is_none());
                    },
                    2 => if let Some(address) = under_way.remove(&road) {
                        book.failed(&key(tag), lane, &address, String::new(), now, &mut random);
                    },
                    3 => { under_way.remove(&road); book.linked(&key(tag), lane, None, now); }
                    4 => book.unlinked(&key(tag), lane, now, &mut random),
                    5 => book.lead(&key(tag), elapsed % 2 == 0, now),
                    6 => { under_way.remove(&(key(tag), Lane::Votes)); book.linked(&key(tag), Lane::Votes, None, now); }
                    _ => book.want(&all.iter().copied().filter(|peer| peer.0[0] != tag).collect(), now),
                }
                proptest::prop_assert!(book.dialing <= x0_limits::LINK_DIALS_MAX);
            }
            for ((peer, lane), address) in under_way {
                book.failed(&peer, lane, &address, String::new(), now, &mut random);
            }
            let roads = book.entries.values().flat_map(|entry| [entry.votes, entry.bulk]);
            let dialing = roads.filter(|road| road.state == State::Dialing).count();
            proptest::prop_assert_eq!((book.dialing, dialing), (0, 0));
        }
    }
}
