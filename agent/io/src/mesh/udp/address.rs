//! Socket addresses in the kernel's form and in Rust's.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An address in the kernel's form with its length.
#[derive(Clone, Copy)]
pub struct RawAddress {
    /// The bytes; the first two say the family.
    pub storage: libc::sockaddr_storage,
    /// How many of them count.
    pub length: libc::socklen_t,
}

impl RawAddress {
    /// Room for any address.
    pub fn empty() -> Self {
        // SAFETY: `sockaddr_storage` is plain data for which zeroes are valid.
        Self { storage: unsafe { std::mem::zeroed() }, length: capacity() }
    }

    /// The kernel's form of an address for a socket of one family: an IPv6 socket reaches IPv4 by
    /// mapped addresses (RFC 4291 section 2.5.5.2). An IPv4 socket cannot reach IPv6: `None`.
    pub fn for_socket(address: SocketAddr, socket_is_v6: bool) -> Option<Self> {
        let mut raw = Self::empty();
        match (address, socket_is_v6) {
            (SocketAddr::V4(v4), false) => raw.put_v4(&v4),
            (SocketAddr::V4(v4), true) => {
                raw.put_v6(&SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0));
            }
            (SocketAddr::V6(v6), true) => raw.put_v6(&v6),
            (SocketAddr::V6(_), false) => return None,
        }
        Some(raw)
    }

    fn put_v4(&mut self, address: &SocketAddrV4) {
        let value = libc::sockaddr_in {
            sin_family: family(libc::AF_INET),
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
            sin_zero: [0; 8],
        };
        // SAFETY: `sockaddr_storage` is large enough and aligned for every address.
        unsafe { std::ptr::from_mut(&mut self.storage).cast::<libc::sockaddr_in>().write(value) };
        self.length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
    }

    fn put_v6(&mut self, address: &SocketAddrV6) {
        let value = libc::sockaddr_in6 {
            sin6_family: family(libc::AF_INET6),
            sin6_port: address.port().to_be(),
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
            sin6_scope_id: address.scope_id(),
        };
        // SAFETY: `sockaddr_storage` is large enough and aligned for every address.
        unsafe { std::ptr::from_mut(&mut self.storage).cast::<libc::sockaddr_in6>().write(value) };
        self.length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>()).unwrap_or(0);
    }

    /// Rust's form; mapped addresses become IPv4 again, so that one peer has one address.
    pub fn get(&self) -> Option<SocketAddr> {
        let length = usize::try_from(self.length).unwrap_or(0);
        match libc::c_int::from(self.storage.ss_family) {
            libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the family and the length say that the bytes are a `sockaddr_in`.
                let value = unsafe { std::ptr::from_ref(&self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(value.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(value.sin_port)).into())
            }
            libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: the family and the length say that the bytes are a `sockaddr_in6`.
                let value = unsafe { std::ptr::from_ref(&self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(value.sin6_addr.s6_addr);
                let port = u16::from_be(value.sin6_port);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddrV4::new(v4, port).into(),
                    // A scope matters for link-local addresses only (RFC 4007).
                    None if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, value.sin6_scope_id).into(),
                    None => SocketAddrV6::new(ip, port, 0, 0).into(),
                })
            }
            _ => None,
        }
    }
}

fn family(value: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(value).unwrap_or_default()
}

fn capacity() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        for text in ["192.0.2.7:9000", "[2001:db8::7]:1", "[fe80::1%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::for_socket(address, true).unwrap().get(), Some(address), "{text}");
        }
        let v4: SocketAddr = "192.0.2.7:9000".parse().unwrap();
        assert_eq!(RawAddress::for_socket(v4, false).unwrap().get(), Some(v4));
        assert!(RawAddress::for_socket("[::1]:1".parse().unwrap(), false).is_none());
        assert_eq!(RawAddress::empty().get(), None);
    }
}
