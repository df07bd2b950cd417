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

use super::address::HostPort;
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

#[derive(Clone, Debug)]
struct Entry {
    wanted: bool,
    places: Vec<Place>,
    state: State,
    attempts: u32,
    last_error: Option<String>,
}

impl Entry {
    const fn new() -> Self {
        Self { wanted: false, places: Vec::new(), state: State::Waiting { until_ms: 0 }, attempts: 0, last_error: None }
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
                entry.attempts = 0;
                if matches!(entry.state, State::Waiting { .. }) {
                    entry.state = State::Waiting { until_ms: now_ms };
                }
                self.recall(*key);
            }
        }
        for (key, entry) in &mut self.entries {
            entry.wanted = wanted.contains(key);
        }
        // Addresses of peers that left are of no use; those that still have a link go with it.
        self.entries.retain(|_, entry| entry.wanted || !matches!(entry.state, State::Waiting { .. }));
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
        if let State::Waiting { until_ms } = &mut entry.state {
            *until_ms = (*until_ms).min(now_ms);
        }
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
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<(PeerKey, HostPort)> {
        let mut due = Vec::new();
        for (key, entry) in &mut self.entries {
            if self.dialing >= x0_limits::LINK_DIALS_MAX {
                break;
            }
            let State::Waiting { until_ms } = entry.state else { continue };
            if !entry.wanted || until_ms > now_ms || *key == self.local {
                continue;
            }
            if let Some(place) = entry.best() {
                due.push((*key, place.address.clone()));
                entry.state = State::Dialing;
                self.dialing += 1;
            }
        }
        due
    }

    /// When the next dial is due, if nothing happens before.
    pub(super) fn next_at(&self) -> Option<u64> {
        if self.dialing >= x0_limits::LINK_DIALS_MAX {
            return None;
        }
        self.entries
            .iter()
            .filter(|(key, entry)| entry.wanted && !entry.places.is_empty() && **key != self.local)
            .filter_map(|(_, entry)| match entry.state {
                State::Waiting { until_ms } => Some(until_ms),
                State::Dialing | State::Linked { .. } => None,
            })
            .min()
    }

    /// A dial failed.
    pub(super) fn failed(
        &mut self,
        key: &PeerKey,
        address: &HostPort,
        error: String,
        now_ms: u64,
        random: &mut dyn RngCore,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(place) = entry.places.iter_mut().find(|place| place.address == *address) {
            place.failures = place.failures.saturating_add(1);
        }
        if entry.state == State::Dialing {
            self.dialing = self.dialing.saturating_sub(1);
            entry.last_error = Some(error);
            back_off(entry, now_ms, random);
        }
    }

    /// A link to the peer stands, whoever dialled.
    pub(super) fn linked(&mut self, key: &PeerKey, dialled: Option<&HostPort>, now_ms: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(place) = dialled.and_then(|address| entry.places.iter_mut().find(|place| place.address == *address))
        {
            place.failures = 0;
        }
        match entry.state {
            State::Dialing => self.dialing = self.dialing.saturating_sub(1),
            State::Linked { .. } => return,
            State::Waiting { .. } => {}
        }
        entry.state = State::Linked { since_ms: now_ms };
        entry.last_error = None;
    }

    /// The last link to the peer is gone.
    pub(super) fn unlinked(&mut self, key: &PeerKey, now_ms: u64, random: &mut dyn RngCore) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let State::Linked { since_ms } = entry.state {
            if now_ms.saturating_sub(since_ms) >= x0_limits::LINK_STABLE_MS {
                entry.attempts = 0;
            }
            back_off(entry, now_ms, random);
            if !entry.wanted {
                self.entries.remove(key);
            }
        }
    }

    /// No dial to the peer before this time.
    pub(super) fn postpone(&mut self, key: &PeerKey, until: u64) {
        if let Some(Entry { state: State::Waiting { until_ms }, .. }) = self.entries.get_mut(key) {
            *until_ms = (*until_ms).max(until);
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

    /// Wanted peers without a link.
    pub(super) fn unlinked_peers(&self) -> Vec<Unlinked> {
        self.entries
            .iter()
            .filter(|(key, entry)| entry.wanted && **key != self.local && !matches!(entry.state, State::Linked { .. }))
            .map(|(key, entry)| Unlinked {
                key: *key,
                addresses: entry.places.iter().map(|place| place.address.clone()).collect(),
                attempts: entry.attempts,
                last_error: entry.last_error.clone(),
            })
            .collect()
    }
}

/// Doubles the wait, up to a limit, and takes a random part off, so that peers that lost each other
/// at the same time do not dial at the same time for ever.
fn back_off(entry: &mut Entry, now_ms: u64, random: &mut dyn RngCore) {
    let longest = (x0_limits::LINK_RECONNECT_MS_MIN << entry.attempts.min(16)).min(x0_limits::LINK_RECONNECT_MS_MAX);
    entry.attempts = entry.attempts.saturating_add(1);
    let wait = random.random_range(longest / 2..=longest);
    entry.state = State::Waiting { until_ms: now_ms + wait };
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
            assert_eq!(book.due(now), [(key(1), at("10.0.0.1:1"))]);
            assert!(book.due(now).is_empty(), "a dial that is under way is not begun again");
            book.failed(&key(1), &at("10.0.0.1:1"), "refused".into(), now, &mut random);
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
            book.linked(&key(1), Some(&at("10.0.0.1:1")), now);
            book.unlinked(&key(1), now, &mut random);
            now = book.next_at().unwrap();
        }
        book.due(now);
        book.linked(&key(1), None, now);
        let broken = now + x0_limits::LINK_STABLE_MS;
        book.unlinked(&key(1), broken, &mut random);
        assert!(book.next_at().unwrap() - broken <= x0_limits::LINK_RECONNECT_MS_MIN);
    }

    #[test]
    fn another_address_is_tried_when_one_fails() {
        let (mut book, mut random) = book();
        book.learn(key(1), at("10.0.0.1:1"), Origin::Configured, 0);
        book.learn(key(1), at("10.0.0.2:1"), Origin::Told, 0);
        assert_eq!(book.due(0)[0].1, at("10.0.0.1:1"));
        book.failed(&key(1), &at("10.0.0.1:1"), String::new(), 0, &mut random);
        let now = book.next_at().unwrap();
        assert_eq!(book.due(now)[0].1, at("10.0.0.2:1"));
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
        book.linked(&key(2), None, 0);
        book.want(&BTreeSet::new(), 0);
        book.failed(&key(1), &at("10.0.0.1:1"), String::new(), 0, &mut random);
        book.unlinked(&key(2), 0, &mut random);
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
        fn dials_are_bounded_and_none_is_forgotten(steps in proptest::collection::vec((0u8..6, 0u8..40, 0u64..5_000), 1..300), seed: u64) {
            let mut random = StdRng::seed_from_u64(seed);
            let mut book = Book::new(key(255));
            let all: BTreeSet<_> = (0..40).map(key).collect();
            book.want(&all, 0);
            let mut now = 0;
            let mut under_way: BTreeMap<PeerKey, HostPort> = BTreeMap::new();
            for (step, tag, elapsed) in steps {
                now += elapsed;
                match step {
                    0 => { book.learn(key(tag), at(&format!("10.0.0.{tag}:1")), Origin::Told, now); }
                    1 => for (peer, address) in book.due(now) {
                        proptest::prop_assert!(under_way.insert(peer, address).is_none());
                    },
                    2 => if let Some(address) = under_way.remove(&key(tag)) {
                        book.failed(&key(tag), &address, String::new(), now, &mut random);
                    },
                    3 => { under_way.remove(&key(tag)); book.linked(&key(tag), None, now); }
                    4 => book.unlinked(&key(tag), now, &mut random),
                    _ => book.want(&all.iter().copied().filter(|peer| peer.0[0] != tag).collect(), now),
                }
                proptest::prop_assert!(book.dialing <= x0_limits::LINK_DIALS_MAX);
            }
            for (peer, address) in under_way {
                book.failed(&peer, &address, String::new(), now, &mut random);
            }
            let dialing = book.entries.values().filter(|entry| entry.state == State::Dialing).count();
            proptest::prop_assert_eq!((book.dialing, dialing), (0, 0));
        }
    }
}
