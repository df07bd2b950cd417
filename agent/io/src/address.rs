//! What one address may use up.

use crate::Limits;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use x0_agent_core::RateLimiter;

/// Counts connections and handshakes by address.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: Limits,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    rates: RateLimiter<IpAddr>,
    /// Pieces of transfers.
    pieces: RateLimiter<IpAddr>,
    used: HashMap<IpAddr, Used>,
    connections: usize,
}

#[derive(Debug)]
struct Used {
    connections: usize,
    /// Handshakes that may still begin. Its holders keep it alive when the entry goes.
    handshakes: Arc<Semaphore>,
}

/// A connection that is counted; the count goes down when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSeat {
    addresses: Arc<Addresses>,
    address: IpAddr,
    handshakes: Arc<Semaphore>,
}

impl Addresses {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let rates = RateLimiter::new(limits.handshake_burst, limits.handshakes_per_second, limits.rate_entries_max);
        let pieces = |bytes: u32| bytes / x0_limits::TRIAL_PIECE_BYTES;
        let pieces = RateLimiter::new(
            pieces(x0_limits::TRIAL_ADDRESS_BURST_BYTES),
            pieces(x0_limits::TRIAL_ADDRESS_BYTES_PER_SECOND),
            limits.rate_entries_max,
        );
        Arc::new(Self { limits, book: Mutex::new(Book { rates, pieces, used: HashMap::new(), connections: 0 }) })
    }

    /// A seat for a new connection of this address, unless a limit is reached.
    pub(crate) fn seat(self: &Arc<Self>, peer: IpAddr, monotonic_ms: u64) -> Option<ConnectionSeat> {
        let address = subscriber(peer);
        let mut book = self.book.lock();
        let connections = book.used.get(&address).map_or(0, |used| used.connections);
        let free = book.connections < self.limits.connections_max
            && connections < self.limits.connections_per_address_max
            && book.rates.allow(&address, monotonic_ms);
        if !free {
            return None;
        }
        book.connections += 1;
        let handshakes_max = self.limits.handshakes_in_flight_per_address_max;
        let used = book
            .used
            .entry(address)
            .or_insert_with(|| Used { connections: 0, handshakes: Arc::new(Semaphore::new(handshakes_max)) });
        used.connections += 1;
        let handshakes = Arc::clone(&used.handshakes);
        Some(ConnectionSeat { addresses: Arc::clone(self), address, handshakes })
    }
}

impl ConnectionSeat {
    /// Whether this address may be sent so many bytes of a transfer now; if so, they count. Other addresses have
    /// their own share, so that nobody can use up somebody else's.
    pub(crate) fn may_transfer(&self, bytes: u32, monotonic_ms: u64) -> bool {
        let pieces = bytes.div_ceil(x0_limits::TRIAL_PIECE_BYTES);
        self.addresses.book.lock().pieces.allow_many(&self.address, pieces, monotonic_ms)
    }

    /// Waits until this address has a handshake to spare. `None` never happens, because nobody closes
    /// the semaphore.
    pub(crate) async fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handshakes).acquire_owned().await.ok()
    }
}

impl Drop for ConnectionSeat {
    fn drop(&mut self) {
        let mut book = self.addresses.book.lock();
        book.connections = book.connections.saturating_sub(1);
        if let Some(used) = book.used.get_mut(&self.address) {
            used.connections = used.connections.saturating_sub(1);
            if used.connections == 0 {
                book.used.remove(&self.address);
            }
        }
    }
}

/// The address by which a subscriber is counted: an IPv4 address, or the /64 of an IPv6 address,
/// because a whole /64 belongs to one subscriber.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(connections_max: usize, per_address: usize) -> Arc<Addresses> {
        Addresses::new(Limits {
            connections_max,
            connections_per_address_max: per_address,
            handshakes_in_flight_per_address_max: 1,
            handshake_burst: 100,
            ..Limits::default()
        })
    }

    #[test]
    fn seats_are_limited_in_all_and_by_address_and_come_back() {
        let addresses = addresses(3, 2);
        let (one, two) = (address("192.0.2.1"), address("192.0.2.2"));
        let first = addresses.seat(one, 0).unwrap();
        let _second = addresses.seat(one, 0).unwrap();
        assert!(addresses.seat(one, 0).is_none(), "two for one address");
        let _third = addresses.seat(two, 0).unwrap();
        assert!(addresses.seat(two, 0).is_none(), "three in all");
        drop(first);
        assert!(addresses.seat(two, 0).is_some());
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_addresses_that_left() {
        let addresses = addresses(10, 10);
        let seat = addresses.seat(address("192.0.2.1"), 0).unwrap();
        let other = addresses.seat(address("192.0.2.1"), 0).unwrap();
        let handshake = seat.handshake().await.unwrap();
        assert_eq!(other.handshakes.available_permits(), 0, "one handshake at a time");
        drop(handshake);
        assert!(other.handshake().await.is_some());
        drop((seat, other));
        assert!(addresses.book.lock().used.is_empty());
        assert_eq!(addresses.book.lock().connections, 0);
    }

    #[test]
    fn a_subscriber_is_one_whatever_address_it_takes() {
        assert_eq!(subscriber(address("::ffff:192.0.2.1")), address("192.0.2.1"));
        assert_eq!(subscriber(address("2001:db8:1:2:3:4:5:6")), subscriber(address("2001:db8:1:2:ffff::1")));
        assert_ne!(subscriber(address("2001:db8:1:2::1")), subscriber(address("2001:db8:1:3::1")));
    }
}
