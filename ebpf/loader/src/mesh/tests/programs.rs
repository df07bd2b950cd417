//! What the programs let in: formats, tags, ports, super-packets, fragments.

use super::kernel::*;
use crate::{
    mesh::{FilterConfig, FilterError},
    object::VERIFIED_INSTRUCTIONS_MAX,
};
use proptest::prelude::*;
use x0_ebpf_shared::Reason;

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

/// The kernel's verifier gives up at a million; other kernels count differently, so a program stays
/// well below.
#[test]
fn programs_stay_within_the_budget_of_verified_instructions() {
    let Some(filter) = filter() else { return };
    let infos = infos(&filter);
    assert_eq!(infos.len(), 3);
    for (name, info) in infos {
        let verified = info.verified_instruction_count().unwrap();
        println!("{name}: {verified} instructions verified, {} bytes of machine code", info.size_jitted());
        assert!((1_000..=VERIFIED_INSTRUCTIONS_MAX).contains(&verified), "{name}: {verified}");
    }
}

#[test]
fn what_nobody_would_take_is_dropped_and_counted_by_its_fault() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    let with = |at: usize, byte: u8| {
        let mut datagram = mesh(DATA, TAG);
        datagram[at] = byte;
        datagram
    };
    let mut cases = vec![
        (with(0, 0x06), Reason::Version),
        (with(0, 0x26), Reason::Version),
        (with(0, 0x10), Reason::Kind),
        (with(0, 0x19), Reason::Kind),
        (with(1, 0x08), Reason::Fields),
        (with(2, 0x90), Reason::Fields),
        (with(2, 0x12), Reason::Fields),
        // Eight labels need 32 bytes more than there are.
        (with(2, 0x80), Reason::Length),
    ];
    cases.extend((0..36).map(|length| (mesh(DATA, TAG)[..length].to_vec(), Reason::Length)));
    cases.extend((0..20).map(|length| (mesh(1, 0)[..length].to_vec(), Reason::Length)));
    for from in [V4, V6] {
        for at in EVERYWHERE {
            for (datagram, fault) in &cases {
                let packet = udp(from, PORT, datagram);
                assert_eq!(fate(&filter, at, &packet), Some(*fault), "{at:?} {from:?} {datagram:?}");
            }
            assert_eq!(fate(&filter, at, &udp(from, PORT, &mesh(DATA, TAG))), Some(Reason::Tagged));
        }
    }
    // A length in the UDP header that is shorter than the header itself is no datagram either.
    let mut lying = udp(V4, PORT, &mesh(DATA, TAG));
    lying[25] = 3;
    assert_eq!(fate(&filter, At::Tc, &lying), Some(Reason::Length));
}

#[test]
fn unknown_tags_are_dropped_only_when_tags_are_enforced() {
    let Some(mut filter) = filter() else { return };
    for enforced in [false, true, false] {
        filter.arm(enforced).unwrap();
        let expected = if enforced { Reason::UnknownTag } else { Reason::Unarmed };
        for at in EVERYWHERE {
            for from in [V4, V6] {
                for kind in [HEARTBEAT, DATA, CONTROL, PROBE] {
                    assert_eq!(fate(&filter, at, &udp(from, PORT, &mesh(kind, TAG))), Some(expected));
                }
                for kind in 1..=4 {
                    assert_eq!(fate(&filter, at, &udp(from, PORT, &mesh(kind, TAG))), Some(Reason::Handshake));
                }
            }
        }
    }
}

#[test]
fn the_tags_of_both_epochs_pass_until_they_are_revoked() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    let fates = |filter: &_| [TAG, NEXT_TAG].map(|tag| fate(filter, At::Tc, &udp(V6, PORT, &mesh(DATA, tag))));
    filter.allow(TAG, ALICE).unwrap();
    assert_eq!(fates(&filter), [Some(Reason::Tagged), Some(Reason::UnknownTag)]);
    filter.allow(NEXT_TAG, ALICE).unwrap();
    assert_eq!(fates(&filter), [Some(Reason::Tagged), Some(Reason::Tagged)]);
    filter.revoke(TAG).unwrap();
    assert_eq!(fates(&filter), [Some(Reason::UnknownTag), Some(Reason::Tagged)]);
    filter.revoke(NEXT_TAG).unwrap();
    filter.revoke(NEXT_TAG).unwrap();
    assert_eq!(fates(&filter), [Some(Reason::UnknownTag), Some(Reason::UnknownTag)]);
    assert_eq!(filter.tags(), 0);
}

#[test]
fn what_is_not_for_the_mesh_passes_uncounted() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    let junk = [0xff; 64];
    let mut arp = framed(&[0; 46]);
    arp[12..14].copy_from_slice(&[8, 6]);
    for at in EVERYWHERE {
        for from in [V4, V6] {
            for (protocol, header) in [
                (17, udp_header(OTHER_PORT, junk.len())),
                // TCP, ICMP, SCTP and GRE, whose third and fourth byte are the mesh's port.
                (6, udp_header(PORT, junk.len())),
                (1, udp_header(PORT, junk.len())),
                (132, udp_header(PORT, junk.len())),
                (47, udp_header(PORT, junk.len())),
            ] {
                assert_eq!(fate(&filter, at, &transport(from, protocol, &header, &junk)), None, "{at:?} {protocol}");
            }
            // Cut within the UDP header: the kernel sees to it.
            let packet = udp(from, PORT, &junk);
            let head = if packet[0] >> 4 == 4 { 20 } else { 40 };
            for length in head..head + 8 {
                assert_eq!(fate(&filter, at, &packet[..length]), None, "{at:?} {length}");
            }
        }
    }
    assert_eq!(fate_of_frame(&filter, At::Tc, &arp), None);
    assert_eq!(fate_of_frame(&filter, At::Xdp, &arp), None);
    assert_eq!(fate_of_frame(&filter, At::TcBareIp, &[0xff; 20]), None);
    assert_eq!(filter.reader().totals().unwrap().dropped(), 0);
}

#[test]
fn several_ports_are_watched_and_changed() {
    let Some(mut filter) = filter_with(&FilterConfig::new(&[1, 2, 3, OTHER_PORT])) else { return };
    let junk = |port| udp(V4, port, &[0xff; 64]);
    for port in [1, 2, 3, OTHER_PORT] {
        assert_eq!(fate(&filter, At::Tc, &junk(port)), Some(Reason::Version), "{port}");
    }
    assert_eq!(fate(&filter, At::Tc, &junk(PORT)), None);
    filter.set_ports(&[PORT]).unwrap();
    assert_eq!(fate(&filter, At::Tc, &junk(PORT)), Some(Reason::Version));
    assert_eq!(fate(&filter, At::Tc, &junk(OTHER_PORT)), None);
    for ports in [&[][..], &[0], &[9; 17]] {
        assert!(matches!(filter.set_ports(ports), Err(FilterError::Ports { .. })));
    }
}

/// First fragments to a mesh port are dropped, so that no fragmented datagram is ever put together; later
/// ones name no port and pass.
#[test]
fn fragments_do_not_reach_the_mesh() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    let mut v4 = udp(V4, PORT, &mesh(DATA, TAG));
    v4[6] = 0x20;
    assert_eq!(fate(&filter, At::Tc, &v4), Some(Reason::Fragment));
    v4[7] = 1;
    assert_eq!(fate(&filter, At::Tc, &v4), None);
    let inner = udp(V6, PORT, &mesh(DATA, TAG));
    let fragment = |offset_and_more: [u8; 2]| {
        transport(V6, 44, &[17, 0, offset_and_more[0], offset_and_more[1], 0, 0, 0, 1], &inner[40..])
    };
    assert_eq!(fate(&filter, At::Tc, &fragment([0, 1])), Some(Reason::Fragment));
    assert_eq!(fate(&filter, At::Tc, &fragment([1, 1])), None);
    // An atomic fragment (RFC 6946) is a whole datagram.
    assert_eq!(fate(&filter, At::Tc, &fragment([0, 0])), Some(Reason::Tagged));
}

#[test]
fn options_and_extension_headers_are_stepped_over_and_too_many_are_said() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    let mut v4 = udp(V4, PORT, &mesh(DATA, TAG));
    v4[0] = 0x47;
    v4.splice(20..20, [1; 8]);
    assert_eq!(fate(&filter, At::Xdp, &v4), Some(Reason::UnknownTag));
    let inner = udp(V6, PORT, &mesh(DATA, TAG));
    for count in 0..12u8 {
        // Destination options of eight bytes, each naming the next.
        let mut headers = Vec::new();
        for index in 0..count {
            headers.extend([if index + 1 == count { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        let packet = transport(V6, if count == 0 { 17 } else { 60 }, &headers, &inner[40..]);
        let expected = if count <= 8 { Reason::UnknownTag } else { Reason::Unparsed };
        for at in EVERYWHERE {
            assert_eq!(fate(&filter, at, &packet), Some(expected), "{at:?} {count}");
        }
    }
}

/// Segments of `length` bytes as one super-packet.
fn super_packet(segments: &[Vec<u8>]) -> (Vec<u8>, u32) {
    (udp(V4, PORT, &segments.concat()), segments[0].len() as u32)
}

#[test]
fn every_segment_of_a_super_packet_counts() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    let mut segments = vec![mesh(DATA, TAG); 20];
    segments[19].truncate(40);
    let (packet, size) = super_packet(&segments);
    assert_eq!(fate_super(&filter, At::Tc, &packet, size), Some(Reason::Tagged));
    let reader = filter.reader();
    assert_eq!(reader.totals().unwrap().of(Reason::Tagged), 20);
    let traffic = reader.tag(TAG).unwrap().unwrap();
    let headers = 14 + 20 + 8;
    assert_eq!((traffic.packets, traffic.bytes), (20, 19 * (headers + 48) + headers + 40));
}

/// A stranger who spoofs our peer's address and length may get his datagram merged in front of ours.
#[test]
fn one_bad_segment_does_not_kill_the_good_ones() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    filter.allow(TAG, ALICE).unwrap();
    for (bad, alone) in
        [(mesh(DATA, 99), Reason::UnknownTag), (vec![0xff; 48], Reason::Version), (mesh(1, 0), Reason::Handshake)]
    {
        for good_at in [1usize, 5, 63] {
            let mut segments = vec![bad.clone(); 64];
            segments[good_at] = mesh(DATA, TAG);
            let (packet, size) = super_packet(&segments);
            assert_eq!(fate_super(&filter, At::Tc, &packet, size), Some(Reason::Tagged), "{alone:?} {good_at}");
        }
        let (packet, size) = super_packet(&vec![bad; 64]);
        assert_eq!(fate_super(&filter, At::Tc, &packet, size), Some(alone));
    }
}

#[test]
fn the_senders_of_the_availability_service_are_counted_as_before() {
    let config = FilterConfig { probe_port: Some(OTHER_PORT), ..FilterConfig::new(&[PORT]) };
    let Some(filter) = filter_with(&config) else { return };
    for at in EVERYWHERE {
        assert_eq!(fate(&filter, at, &transport(V4, 6, &udp_header(OTHER_PORT, 4), &[0; 4])), None);
        assert_eq!(fate(&filter, at, &udp(V6, OTHER_PORT, &[0xff; 4])), None);
    }
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(1, 0))), Some(Reason::Handshake));
    let senders = filter.reader().senders().unwrap();
    let packets: Vec<(String, u64)> = senders.iter().map(|(from, seen)| (from.to_string(), seen.packets)).collect();
    assert_eq!(packets, [("192.0.2.1".to_owned(), 3), ("2001:db8:0:1::1".to_owned(), 3)]);
}

#[test]
fn tags_are_bounded_and_go_over_to_new_owners() {
    let config = FilterConfig { tags_max: 3, ..FilterConfig::new(&[PORT]) };
    let Some(mut filter) = filter_with(&config) else { return };
    for tag in 0..3 {
        filter.allow(tag, ALICE).unwrap();
        filter.allow(tag, ALICE).unwrap();
    }
    assert!(matches!(filter.allow(3, ALICE), Err(FilterError::TooManyTags { max: 3 })));
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(DATA, 2))), Some(Reason::Tagged));
    filter.allow(2, BOB).unwrap();
    assert_eq!(filter.tags(), 3);
    assert_eq!(filter.reader().last_seen(2), None, "the new owner starts at zero");
    let peers = filter.reader().peers().unwrap();
    let packets: Vec<_> = peers.iter().map(|peer| (peer.peer, peer.traffic.packets)).collect();
    assert_eq!(packets, [(ALICE, 1), (BOB, 0)]);
}

#[test]
fn configurations_out_of_bounds_are_refused() {
    let good = FilterConfig::new(&[PORT]);
    let with = |change: fn(&mut FilterConfig)| {
        let mut config = good.clone();
        change(&mut config);
        config.check()
    };
    assert!(good.check().is_ok());
    assert!(matches!(with(|config| config.ports.clear()), Err(FilterError::Ports { count: 0, .. })));
    assert!(matches!(with(|config| config.tags_max = 0), Err(FilterError::TagBound { value: 0, .. })));
    assert!(matches!(with(|config| config.tags_max = 65_537), Err(FilterError::TagBound { .. })));
    assert!(matches!(with(|config| config.global.per_s = 0), Err(FilterError::Bucket { name: "global", .. })));
    assert!(matches!(with(|config| config.per_prefix.burst = 1_000_001), Err(FilterError::Bucket { .. })));
}

fn datagrams() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![8 => (0u8..16).prop_map(|kind| 0x10 | kind), 1 => any::<u8>()];
    let flags = prop_oneof![3 => Just(0u8), 1 => any::<u8>()];
    let labels = prop_oneof![3 => Just(0u8), 2 => (0u8..9, 0u8..9).prop_map(|(n, p)| n << 4 | p), 1 => any::<u8>()];
    let tag = prop_oneof![Just(TAG), any::<u32>()];
    (first, flags, labels, any::<u8>(), tag, proptest::collection::vec(any::<u8>(), 0..80), 0usize..88).prop_map(
        |(first, flags, labels, ttl, tag, rest, length)| {
            let mut datagram = vec![first, flags, labels, ttl];
            datagram.extend(tag.to_be_bytes());
            datagram.extend(rest);
            datagram.truncate(length);
            datagram
        },
    )
}

/// What the kernel lets in is what the reader of the formats takes and what is a handshake or tagged.
#[test]
fn the_kernel_agrees_with_the_reader_of_the_formats() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    filter.allow(TAG, ALICE).unwrap();
    slow_buckets(&mut filter, 100_000, 100_000);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2_000));
    runner
        .run(&(datagrams(), any::<bool>(), 0usize..3), |(datagram, v6, at)| {
            let expected = x0_mesh_wire::Frame::read(&datagram)
                .is_ok_and(|frame| frame.header.kind.is_handshake() || frame.header.link_tag == TAG);
            let packet = udp(if v6 { V6 } else { V4 }, PORT, &datagram);
            prop_assert_eq!(drops(&filter, EVERYWHERE[at], &packet), !expected);
            Ok(())
        })
        .unwrap();
}

/// Whatever a packet is, both hooks come to the same verdict, and nothing but the mesh's port is dropped.
#[test]
fn any_packet_is_judged_alike_at_every_hook() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    slow_buckets(&mut filter, 100_000, 100_000);
    let protocols = prop_oneof![Just(17u8), Just(44), Just(60), any::<u8>()];
    let packets = (any::<bool>(), proptest::collection::vec(any::<u8>(), 40..140), protocols, any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2_000));
    runner
        .run(&packets, |(v6, mut packet, protocol, ours)| {
            packet[0] = if v6 { 0x60 } else { 0x40 | packet[0] & 0x0f };
            packet[if v6 { 6 } else { 9 }] = protocol;
            let header = if v6 { 40 } else { usize::from(packet[0] & 0x0f) * 4 };
            if ours && let Some(port) = packet.get_mut(header + 2..header + 4) {
                port.copy_from_slice(&PORT.to_be_bytes());
            }
            let verdicts = EVERYWHERE.map(|at| drops(&filter, at, &packet));
            prop_assert_eq!(verdicts, [verdicts[0]; 3]);
            Ok(())
        })
        .unwrap();
}
