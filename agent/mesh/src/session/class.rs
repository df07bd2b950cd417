//! How a packet is sent, read from its own headers.

/// Longest packet of connection control that is worth a second route, bytes.
const CONTROL_BYTES_MAX: usize = 256;
/// DSCP of expedited forwarding (RFC 3246), voice admit (RFC 5865) and network control (RFC 2474: CS6, CS7).
const CRITICAL: [u8; 4] = [46, 44, 48, 56];
/// DSCP of lower effort (RFC 8622) and its predecessor CS1.
const BULK: [u8; 2] = [1, 8];
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// FIN, SYN and RST (RFC 9293, section 3.1): losing one costs a second or a connection.
const TCP_CONTROL: u8 = 0b0000_0111;

/// How a packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Always on two disjoint routes.
    Critical,
    /// On the primary route.
    Normal,
    /// On any live route, flow by flow.
    Bulk,
}

/// The class of an IPv4 or IPv6 packet. Critical: DSCP EF, VA, CS6 or CS7, and ICMP and the beginning and end of TCP
/// connections up to 256 bytes. Bulk: DSCP LE or CS1. Anything else, and what cannot be read, is normal.
#[must_use]
pub fn class_of(packet: &[u8]) -> Class {
    let Some((dscp, protocol, transport)) = read(packet) else { return Class::Normal };
    if CRITICAL.contains(&dscp) {
        return Class::Critical;
    }
    if BULK.contains(&dscp) {
        return Class::Bulk;
    }
    let control = match protocol {
        ICMP | ICMPV6 => true,
        TCP => transport.get(13).is_some_and(|flags| flags & TCP_CONTROL != 0),
        _ => false,
    };
    if control && packet.len() <= CONTROL_BYTES_MAX { Class::Critical } else { Class::Normal }
}

/// DSCP, protocol and what follows the IP header. Extension headers of IPv6 are not walked: who needs a class then
/// marks the packet.
fn read(packet: &[u8]) -> Option<(u8, u8, &[u8])> {
    let first = *packet.first()?;
    match first >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let length = usize::from(first & 0x0F) * 4;
            // Later fragments have no transport header where one is expected.
            let first_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1FFF == 0;
            let transport = if first_fragment { packet.get(length.max(20)..)? } else { &[] };
            Some((header[1] >> 2, header[9], transport))
        }
        6 => {
            let header = packet.first_chunk::<40>()?;
            let traffic_class = header[0] << 4 | header[1] >> 4;
            Some((traffic_class >> 2, header[6], packet.get(40..)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ipv4(dscp: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, dscp << 2, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(payload);
        packet
    }

    fn ipv6(dscp: u8, next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60 | dscp >> 2, dscp << 6, 0, 0, 0, 0, next, 64];
        packet.extend_from_slice(&[0; 32]);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn marks_decide_in_both_versions() {
        for (dscp, class) in
            [(46, Class::Critical), (48, Class::Critical), (0, Class::Normal), (8, Class::Bulk), (1, Class::Bulk)]
        {
            assert_eq!(class_of(&ipv4(dscp, 17, &[0; 1_000])), class, "{dscp}");
            assert_eq!(class_of(&ipv6(dscp, 17, &[0; 1_000])), class, "{dscp}");
        }
    }

    #[test]
    fn the_ends_of_tcp_connections_are_critical_and_the_middle_is_not() {
        let segment = |flags: u8, bytes: usize| {
            let mut segment = vec![0; 20 + bytes];
            segment[13] = flags;
            segment
        };
        for version in [ipv4, ipv6] {
            assert_eq!(class_of(&version(0, TCP, &segment(0b10, 0))), Class::Critical);
            assert_eq!(class_of(&version(0, TCP, &segment(0b1_0001, 0))), Class::Critical);
            assert_eq!(class_of(&version(0, TCP, &segment(0b1_0000, 0))), Class::Normal);
            assert_eq!(class_of(&version(0, TCP, &segment(0b1_0001, 1_000))), Class::Normal);
        }
        assert_eq!(class_of(&ipv6(0, ICMPV6, &[128; 64])), Class::Critical);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_class(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = class_of(&packet);
        }
    }
}
