use super::*;
use crate::mesh::tun::{segment, vnet::GSO_NONE};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Checksums as RFC 1071 describes them, word by word: the oracle of these tests.
fn oracle_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u64::from(pair[0]) * 256 + u64::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether a packet's lengths and checksums are right, by the RFCs and not by the code under test.
fn oracle_is_whole(packet: &[u8]) -> bool {
    let v6 = packet[0] >> 4 == 6;
    let (ip, protocol, addresses) = if v6 { (40, packet[6], &packet[8..40]) } else { (20, packet[9], &packet[12..20]) };
    let length_is_right = if v6 {
        usize::from(packet[4]) * 256 + usize::from(packet[5]) == packet.len() - 40
    } else {
        usize::from(packet[2]) * 256 + usize::from(packet[3]) == packet.len() && oracle_sum(&[&packet[..20]]) == 0xffff
    };
    let body = &packet[ip..];
    let length = (body.len() as u32).to_be_bytes();
    length_is_right && oracle_sum(&[addresses, &length, &[0, protocol], body]) == 0xffff
}

#[derive(Clone, Debug)]
struct Shape {
    v6: bool,
    tcp: bool,
    host: u8,
    options: bool,
    flags: u8,
    lengths: Vec<usize>,
    gap: u32,
    window: u16,
}

/// Packets of one sender, with whole checksums of the oracle.
fn build(shape: &Shape, sequence: &mut u32, identification: &mut u16) -> Vec<Vec<u8>> {
    let count = shape.lengths.len();
    shape
        .lengths
        .iter()
        .enumerate()
        .map(|(index, length)| {
            let mut transport = vec![0_u8, shape.host, 0x1f, 0x90];
            if shape.tcp {
                transport.extend_from_slice(&sequence.to_be_bytes());
                transport.extend_from_slice(&[0, 0, 0, 9]);
                let words = if shape.options { 8 } else { 5 };
                let push = if index + 1 == count { shape.flags & TCP_PSH } else { 0 };
                transport.extend_from_slice(&[words << 4, (shape.flags & !TCP_PSH) | push]);
                transport.extend_from_slice(&shape.window.to_be_bytes());
                transport.extend_from_slice(&[0, 0, 0, 0]);
                if shape.options {
                    transport.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 7]);
                }
                *sequence = sequence.wrapping_add(*length as u32);
            } else {
                transport.extend_from_slice(&((length + 8) as u16).to_be_bytes());
                transport.extend_from_slice(&[0, 0]);
            }
            transport.extend((0..*length).map(|byte| (byte as u8).wrapping_mul(31) ^ shape.host ^ index as u8));
            packet(shape, transport, identification)
        })
        .collect()
}

fn packet(shape: &Shape, mut transport: Vec<u8>, identification: &mut u16) -> Vec<u8> {
    let protocol = if shape.tcp { TCP } else { UDP };
    let mut bytes = if shape.v6 {
        let mut head = vec![0x60, 0, 0, 3];
        head.extend_from_slice(&(transport.len() as u16).to_be_bytes());
        head.extend_from_slice(&[protocol, 64]);
        head.extend_from_slice(&[0xfd; 15]);
        head.push(shape.host);
        head.extend_from_slice(&[0xfd; 16]);
        head
    } else {
        let mut head = vec![0x45, 0];
        head.extend_from_slice(&((transport.len() + 20) as u16).to_be_bytes());
        head.extend_from_slice(&identification.to_be_bytes());
        head.extend_from_slice(&[0x40, 0, 64, protocol, 0, 0, 10, 0, 0, shape.host, 10, 0, 1, 1]);
        *identification = identification.wrapping_add(1);
        let sum = !oracle_sum(&[&head]);
        head[10..12].copy_from_slice(&sum.to_be_bytes());
        head
    };
    let addresses = if shape.v6 { bytes[8..40].to_vec() } else { bytes[12..20].to_vec() };
    let length = (transport.len() as u32).to_be_bytes();
    let mut sum = !oracle_sum(&[&addresses, &length, &[0, protocol], &transport]);
    if !shape.tcp && sum == 0 {
        sum = 0xffff;
    }
    let at = if shape.tcp { 16 } else { 6 };
    transport[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(&transport);
    bytes
}

fn shape() -> impl Strategy<Value = Shape> {
    let lengths = prop_oneof![
        (1_usize..1_400, 1_usize..60, 0_usize..1_400).prop_map(|(each, count, last)| {
            let mut lengths = vec![each; count];
            lengths.push(last);
            lengths
        }),
        proptest::collection::vec(0_usize..1_400, 1..8),
    ];
    let flags =
        prop_oneof![Just(TCP_ACK), Just(TCP_ACK | TCP_PSH), Just(TCP_ACK | 0x01), Just(TCP_ACK | 0x80), Just(0x02_u8)];
    let words = (any::<bool>(), any::<bool>(), 0_u8..3, any::<bool>());
    (
        words,
        flags,
        lengths,
        prop_oneof![4 => Just(0_u32), 1 => any::<u32>()],
        prop_oneof![3 => Just(512_u16), 1 => any::<u16>()],
    )
        .prop_map(|((v6, tcp, host, options), flags, lengths, gap, window)| Shape {
            v6,
            tcp,
            host,
            options,
            flags,
            lengths,
            gap,
            window,
        })
}

/// Flows are told apart by version, protocol and host in these tests.
fn flow_of(packet: &[u8]) -> (u8, u8, u8) {
    if packet[0] >> 4 == 6 { (6, packet[6], packet[23]) } else { (4, packet[9], packet[15]) }
}

/// What the device would make of what was written.
fn cut(written: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for bytes in written {
        let header = VnetHeader::read(bytes[..HEADER_BYTES].try_into().unwrap());
        let mut packet = bytes[HEADER_BYTES..].to_vec();
        segment(&header, &mut packet, |segment| packets.push(segment.to_vec())).unwrap();
    }
    packets
}

fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<(u8, u8, u8), Vec<Vec<u8>>> {
    let mut flows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for packet in packets {
        flows.entry(flow_of(packet)).or_default().push(packet.clone());
    }
    flows
}

proptest! {
    #[test]
    fn cutting_gives_back_what_was_joined(
        shapes in proptest::collection::vec(shape(), 1..6),
        start: u32,
        udp: bool,
        // Past the ports and lengths, by which these tests tell flows apart.
        damage in proptest::option::of((0_usize..200, 46_usize..52)),
    ) {
        let mut identification = start as u16;
        let mut sequences = [start; 3];
        let mut packets = Vec::new();
        for shape in &shapes {
            let sequence = &mut sequences[usize::from(shape.host)];
            *sequence = sequence.wrapping_add(shape.gap);
            packets.extend(build(shape, sequence, &mut identification));
        }
        prop_assert!(packets.iter().all(|packet| oracle_is_whole(packet)));
        let damaged = damage.and_then(|(index, at)| {
            let packet = packets.get_mut(index)?;
            *packet.get_mut(at)? ^= 0x40;
            Some(packet.clone())
        });

        let mut coalescer = Coalescer::new(udp);
        let mut written = Vec::new();
        for packet in &packets {
            coalescer.push(packet, |bytes| written.push(bytes.to_vec()));
        }
        coalescer.flush(|bytes| written.push(bytes.to_vec()));
        let back = cut(&written);
        prop_assert_eq!(by_flow(&back), by_flow(&packets));
        for packet in &back {
            prop_assert!(oracle_is_whole(packet) || damaged.as_ref() == Some(packet));
        }
    }

    #[test]
    fn nothing_that_a_device_could_say_makes_segmentation_panic(
        header in any::<[u8; HEADER_BYTES]>(),
        kind in 0_u8..6,
        packet in proptest::collection::vec(any::<u8>(), 0..300),
        first in any::<u8>(),
    ) {
        let mut header = VnetHeader::read(&header);
        header.gso_type = kind | (header.gso_type & 0x80);
        header.csum_start %= 80;
        header.gso_size %= 200;
        let mut packet = packet;
        if let Some(byte) = packet.first_mut() {
            *byte = if first & 1 == 0 { 0x45 } else { 0x60 };
        }
        let total = packet.len();
        let mut seen = 0;
        let result = segment(&header, &mut packet, |segment| { assert!(segment.len() <= total); seen += 1; });
        prop_assert_eq!(result.unwrap_or(0), seen);
    }

    #[test]
    fn nothing_that_a_peer_could_send_makes_coalescing_lose_bytes(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 0..20),
        first in any::<u8>(),
    ) {
        let mut coalescer = Coalescer::new(true);
        let mut written = Vec::new();
        let mut packets = packets;
        for packet in &mut packets {
            if let Some(byte) = packet.first_mut() {
                *byte = if first & 1 == 0 { 0x45 } else { 0x60 };
            }
            coalescer.push(packet, |bytes| written.push(bytes.to_vec()));
        }
        coalescer.flush(|bytes| written.push(bytes.to_vec()));
        let mut back = cut(&written);
        back.sort();
        packets.sort();
        prop_assert_eq!(back, packets);
    }
}

#[test]
fn a_full_stream_becomes_few_writes() {
    for (v6, tcp) in [(true, true), (false, true), (true, false), (false, false)] {
        let shape =
            Shape { v6, tcp, host: 1, options: true, flags: TCP_ACK, lengths: vec![1_300; 50], gap: 0, window: 9 };
        let packets = build(&shape, &mut 7, &mut 65_520);
        let mut coalescer = Coalescer::new(true);
        let mut written = Vec::new();
        for packet in &packets {
            coalescer.push(packet, |bytes| written.push(bytes.to_vec()));
        }
        coalescer.flush(|bytes| written.push(bytes.to_vec()));
        assert!(written.len() <= 2, "v6 {v6}, tcp {tcp}: {} writes", written.len());
        assert_eq!(cut(&written), packets);
    }
}

#[test]
fn an_ordinary_packet_gets_its_checksum() {
    let shape =
        Shape { v6: true, tcp: true, host: 1, options: false, flags: 0x02, lengths: vec![33], gap: 0, window: 1 };
    let expected = build(&shape, &mut 1, &mut 0).remove(0);
    let mut packet = expected.clone();
    // The kernel leaves the sum of the pseudo-header in the field.
    let partial = oracle_sum(&[&packet[8..40], &((packet.len() - 40) as u32).to_be_bytes(), &[0, TCP]]);
    packet[56..58].copy_from_slice(&partial.to_be_bytes());
    let header =
        VnetHeader { flags: NEEDS_CSUM, gso_type: GSO_NONE, csum_start: 40, csum_offset: 16, ..VnetHeader::default() };
    let mut seen = Vec::new();
    assert_eq!(segment(&header, &mut packet, |segment| seen.push(segment.to_vec())), Ok(1));
    assert_eq!(seen, [expected]);
}

#[test]
fn a_super_packet_keeps_fin_for_the_end_and_cwr_for_the_start() {
    let shape = Shape {
        v6: false,
        tcp: true,
        host: 1,
        options: false,
        flags: TCP_ACK,
        lengths: vec![100; 3],
        gap: 0,
        window: 1,
    };
    let packets = build(&shape, &mut 1, &mut 5);
    let mut bytes = packets[0].clone();
    bytes.extend_from_slice(&packets[1][40..]);
    bytes.extend_from_slice(&packets[2][40..]);
    bytes[33] = TCP_ACK | TCP_PSH | 0x01 | 0x80;
    let header = VnetHeader {
        flags: NEEDS_CSUM,
        gso_type: GSO_TCPV4 | 0x80,
        hdr_len: 40,
        gso_size: 100,
        csum_start: 20,
        csum_offset: 16,
    };
    let mut seen = Vec::new();
    assert_eq!(segment(&header, &mut bytes, |segment| seen.push(segment.to_vec())), Ok(3));
    assert!(seen.iter().all(|segment| oracle_is_whole(segment)));
    let flags: Vec<u8> = seen.iter().map(|segment| segment[33]).collect();
    assert_eq!(flags, [TCP_ACK | 0x80, TCP_ACK, TCP_ACK | TCP_PSH | 0x01]);
}
