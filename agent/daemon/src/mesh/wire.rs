//! Headers of the mesh's datagrams as they pass on the wire: who sends to whom, which kind, which tag. Nothing of it
//! is secret, and nothing is decrypted.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{FromRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::mpsc;
use x0_mesh_wire::Header;

/// Bytes that are read of each packet: IPv6, UDP, the mesh's header and its labels.
const HEAD_BYTES: usize = 160;
/// How often the end of the time, or of the reader, is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// `ETH_P_ALL` of `if_ether.h`: every protocol, both ways.
const ALL_PROTOCOLS: u16 = 3;
const UDP: u8 = 17;

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Microseconds since the capture began.
    pub at_us: u64,
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// Bytes of UDP payload; several datagrams of one length when the kernel joins them.
    pub payload_bytes: usize,
    /// The mesh's header.
    pub header: Shown,
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Shown {
    /// It reads.
    Mesh {
        /// What the datagram is.
        kind: String,
        /// Copy, repair, congestion.
        flags: u8,
        /// Hops that are left.
        ttl: u8,
        /// The receiver's tag for the link, or its handshake.
        tag: u32,
        /// Number on the link.
        sequence: u32,
        /// Labels of the route.
        labels: u8,
        /// The label that counts next.
        pointer: u8,
    },
    /// It does not.
    Other {
        /// Why not.
        malformed: String,
    },
}

/// A socket that sees every packet of this network namespace.
///
/// # Errors
/// A sentence: it needs CAP_NET_RAW.
pub fn open() -> Result<UdpSocket, String> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: `socket` takes no pointers.
    let raw = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(ALL_PROTOCOLS.to_be())) };
    if raw < 0 {
        let error = std::io::Error::last_os_error();
        return Err(format!("a packet socket: {error} (CAP_NET_RAW is needed; --decrypted needs no rights)"));
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let owned = unsafe { OwnedFd::from_raw_fd(raw) };
    // Only `recv` is used on it, which is the same system call for packet and UDP sockets.
    let socket = UdpSocket::from(owned);
    socket.set_read_timeout(Some(LOOK)).map_err(|error| format!("a packet socket: {error}"))?;
    Ok(socket)
}

/// Reads for some time. Blocks; ends early when nobody takes what is read.
///
/// # Errors
/// A sentence when reading fails.
pub fn watch(
    socket: &UdpSocket,
    ports: &BTreeSet<u16>,
    duration: Duration,
    seen: &mpsc::Sender<Seen>,
) -> Result<(), String> {
    let start = Instant::now();
    let mut head = [0; HEAD_BYTES];
    while start.elapsed() < duration && !seen.is_closed() {
        let length = match socket.recv(&mut head) {
            Ok(length) => length.min(HEAD_BYTES),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {
                continue;
            }
            // A device that goes down says so on the socket, which goes on with the others.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => continue,
            Err(error) => return Err(format!("a packet socket: {error}")),
        };
        let at_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Some(datagram) = head.get(..length).and_then(|head| read(head, ports, at_us)) {
            // A reader that is slower than the wire misses some, and sees that in the numbers.
            let _ = seen.try_send(datagram);
        }
    }
    Ok(())
}

/// Reads one IP packet from its first bytes; nothing unless it is a datagram on these ports.
fn read(head: &[u8], ports: &BTreeSet<u16>, at_us: u64) -> Option<Seen> {
    let (source, target, ip_bytes): (IpAddr, IpAddr, usize) = match head.first()? >> 4 {
        4 if *head.get(9)? == UDP => {
            let address = |at: usize| Some(Ipv4Addr::from(*head.get(at..)?.first_chunk::<4>()?));
            (address(12)?.into(), address(16)?.into(), usize::from(head.first()? & 0x0f) * 4)
        }
        6 if *head.get(6)? == UDP => {
            let address = |at: usize| Some(Ipv6Addr::from(*head.get(at..)?.first_chunk::<16>()?));
            (address(8)?.into(), address(24)?.into(), 40)
        }
        _ => return None,
    };
    let udp = head.get(ip_bytes..)?;
    let number = |at: usize| Some(u16::from_be_bytes(*udp.get(at..)?.first_chunk::<2>()?));
    let (from, to) = (SocketAddr::new(source, number(0)?), SocketAddr::new(target, number(2)?));
    if !ports.contains(&from.port()) && !ports.contains(&to.port()) {
        return None;
    }
    let payload_bytes = usize::from(number(4)?).saturating_sub(8);
    let header = match Header::read(udp.get(8..)?) {
        Ok(header) => Shown::Mesh {
            kind: format!("{:?}", header.kind).to_lowercase(),
            flags: header.flags.byte(),
            ttl: header.ttl,
            tag: header.link_tag,
            sequence: header.link_seq,
            labels: header.labels,
            pointer: header.pointer,
        },
        Err(error) => Shown::Other { malformed: error.to_string() },
    };
    Some(Seen { at_us, from, to, payload_bytes, header })
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_mesh_wire::{Flags, Kind};

    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45; 1];
        packet.resize(20, 0);
        packet[9] = UDP;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
        packet.extend([0x1e, 0x79, 0x1e, 0x79]);
        packet.extend(((payload.len() + 8) as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn datagrams_on_the_ports_are_read_and_nothing_else() {
        let header = Header {
            kind: Kind::Heartbeat,
            flags: Flags::from_byte(0).unwrap(),
            labels: 0,
            pointer: 0,
            ttl: 9,
            link_tag: 77,
            link_seq: 5,
            hop_mac: [0; 8],
        };
        let mut payload = header.to_bytes().unwrap().to_vec();
        payload.extend([0; 30]);
        let packet = ipv4(&payload);
        let ports = BTreeSet::from([7801]);
        let seen = read(&packet, &ports, 3).unwrap();
        assert_eq!((seen.payload_bytes, seen.from), (50, "10.0.0.1:7801".parse().unwrap()));
        assert!(matches!(seen.header, Shown::Mesh { tag: 77, sequence: 5, ttl: 9, .. }), "{seen:?}");
        assert_eq!(read(&packet, &BTreeSet::from([1]), 3), None);
        let junk = read(&ipv4(&[0xff; 40]), &ports, 3).unwrap();
        assert!(matches!(junk.header, Shown::Other { .. }));
        for length in 0..packet.len() {
            // Whatever is cut off, nothing is read beyond the end.
            let _ = read(&packet[..length], &ports, 0);
        }
    }
}
