//! Places for connections: so many on a listener, so many for one remote address.

use crate::traffic::Traffic;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// The places of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total_max: u32,
    per_address_max: u32,
    taken: Mutex<Taken>,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Taken {
    total: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A place, free again when the last of its holders is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Admission,
    address: IpAddr,
}

impl Admission {
    /// All places free.
    pub(crate) fn new(total_max: u32, per_address_max: u32, traffic: Arc<Traffic>) -> Self {
        Self(Arc::new(Inner { total_max, per_address_max, taken: Mutex::default(), traffic }))
    }

    /// A place for a connection from this address, if there is one.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let place = self.take(address);
        match &place {
            Some(_) => self.0.traffic.connected(),
            None => self.0.traffic.refused_connection(),
        }
        place
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let address = network_of(address);
        let mut taken = self.0.taken.lock();
        if taken.total >= self.0.total_max {
            return None;
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if !address.is_loopback() && of_address >= self.0.per_address_max {
            return None;
        }
        taken.by_address.insert(address, of_address.saturating_add(1));
        taken.total = taken.total.saturating_add(1);
        Some(Place { admission: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.0.traffic.disconnected();
        let mut taken = self.admission.0.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, also one inside IPv6, or a /64 of IPv6, the smallest
/// network that a site gets.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_machine_cannot_take_all_places() {
        let admission = Admission::new(5, 2, Arc::default());
        let first = admission.enter(ip("192.0.2.1")).unwrap();
        let _second = admission.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert!(admission.enter(ip("192.0.2.1")).is_none(), "the same address in IPv6 clothes");
        let _third = admission.enter(ip("2001:db8::1")).unwrap();
        let _fourth = admission.enter(ip("2001:db8::ffff")).unwrap();
        assert!(admission.enter(ip("2001:db8::2")).is_none(), "the same /64");
        let _fifth = admission.enter(ip("2001:db8:0:1::2")).unwrap();
        assert!(admission.enter(ip("198.51.100.1")).is_none(), "the listener is full");
        drop(first);
        assert!(admission.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn loopback_shares_the_places_freely_and_nothing_is_left_behind() {
        let admission = Admission::new(5, 2, Arc::default());
        let all: Vec<_> = (0..5).map(|_| admission.enter(ip("127.0.0.1")).unwrap()).collect();
        assert!(admission.enter(ip("127.0.0.1")).is_none());
        drop(all);
        let taken = admission.0.taken.lock();
        assert!(taken.total == 0 && taken.by_address.is_empty());
    }
}
