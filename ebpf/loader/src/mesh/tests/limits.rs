//! Buckets, rules and counters in the kernel.

use super::kernel::*;
use crate::mesh::{FilterError, PeerAction, PeerRule, PrefixAction, PrefixRule};
use std::collections::BTreeSet;
use x0_ebpf_shared::{PeerKey, Reason};

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

fn hello(from: From) -> Vec<u8> {
    udp(from, PORT, &mesh(1, 0))
}

#[test]
fn a_prefix_has_its_burst_and_then_what_refills() {
    let Some(mut filter) = filter() else { return };
    slow_buckets(&mut filter, 5, 1_000);
    let v6_prefix = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for (from, key) in [(V4, PeerKey::from_v4([192, 0, 2, 1]).address), (V6, v6_prefix)] {
        for _ in 0..5 {
            assert_eq!(fate(&filter, At::Tc, &hello(from)), Some(Reason::Handshake));
        }
        // All hooks and all handshake kinds draw on the same bucket.
        for at in EVERYWHERE {
            for kind in 1..=4 {
                assert_eq!(fate(&filter, at, &udp(from, PORT, &mesh(kind, 7))), Some(Reason::PrefixBucket));
            }
        }
        age_prefix(&mut filter, key);
        assert_eq!(fate(&filter, At::Xdp, &hello(from)), Some(Reason::Handshake), "one was refilled");
        assert_eq!(fate(&filter, At::Xdp, &hello(from)), Some(Reason::PrefixBucket), "and no more than one");
    }
}

#[test]
fn prefixes_are_hosts_of_ipv4_and_sites_of_ipv6() {
    let Some(mut filter) = filter() else { return };
    slow_buckets(&mut filter, 1, 1_000);
    let v6 = |site, host| From::V6([0x2001, 0xdb8, 0, site, 0, 0, 0, host]);
    assert_eq!(fate(&filter, At::Tc, &hello(v6(1, 1))), Some(Reason::Handshake));
    assert_eq!(fate(&filter, At::Tc, &hello(v6(1, 2))), Some(Reason::PrefixBucket), "the same site");
    assert_eq!(fate(&filter, At::Tc, &hello(v6(2, 1))), Some(Reason::Handshake), "another site");
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, 1]))), Some(Reason::Handshake));
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, 1]))), Some(Reason::PrefixBucket));
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, 2]))), Some(Reason::Handshake), "another host");
}

#[test]
fn everybody_shares_a_bucket_except_favoured_prefixes() {
    let Some(mut filter) = filter() else { return };
    slow_buckets(&mut filter, 5, 4);
    let favoured = [PrefixRule { address: "198.51.100.0".parse().unwrap(), bits: 24, action: PrefixAction::Favour }];
    filter.set_rules(&[], &favoured).unwrap();
    for host in 1..=4 {
        assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, host]))), Some(Reason::Handshake));
    }
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, 5]))), Some(Reason::GlobalBucket));
    for _ in 0..5 {
        assert_eq!(fate(&filter, At::Tc, &hello(From::V4([198, 51, 100, 1]))), Some(Reason::Handshake));
    }
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([198, 51, 100, 1]))), Some(Reason::PrefixBucket));
    age_global(&mut filter);
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, 6]))), Some(Reason::Handshake));
    assert_eq!(fate(&filter, At::Tc, &hello(From::V4([192, 0, 2, 7]))), Some(Reason::GlobalBucket));
    // Data is no handshake.
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(DATA, TAG))), Some(Reason::Unarmed));
}

/// A super-packet takes a token for each datagram, and one that is larger than the burst empties the bucket.
#[test]
fn segments_of_handshakes_take_a_token_each() {
    let Some(mut filter) = filter() else { return };
    slow_buckets(&mut filter, 10, 1_000);
    let packet = |segments: usize| udp(V4, PORT, &mesh(3, 0).repeat(segments));
    assert_eq!(fate_super(&filter, At::Tc, &packet(8), 48), Some(Reason::Handshake));
    assert_eq!(fate_super(&filter, At::Tc, &packet(3), 48), Some(Reason::PrefixBucket));
    assert_eq!(fate_super(&filter, At::Tc, &packet(2), 48), Some(Reason::Handshake));
    let totals = filter.reader().totals().unwrap();
    assert_eq!((totals.of(Reason::Handshake), totals.of(Reason::PrefixBucket), totals.dropped()), (10, 3, 3));
}

#[test]
fn buckets_follow_the_configured_rates() {
    let Some(mut filter) = filter() else { return };
    let bucket = |per_s, burst| crate::mesh::BucketConfig { per_s, burst };
    filter.set_buckets(bucket(100, 200), bucket(1_000_000, 1)).unwrap();
    let settings = filter.settings;
    assert_eq!((settings.prefix_cost_ns, settings.prefix_window_ns), (10_000_000, 2_000_000_000));
    assert_eq!((settings.global_cost_ns, settings.global_window_ns), (1_000, 1_000));
    assert!(matches!(filter.set_buckets(bucket(0, 1), bucket(1, 1)), Err(FilterError::Bucket { .. })));
    assert_eq!(filter.settings, settings);
}

fn kinds_that_pass(filter: &crate::mesh::MeshFilter, tag: u32) -> BTreeSet<u8> {
    [HEARTBEAT, DATA, CONTROL, PROBE]
        .into_iter()
        .filter(|kind| {
            let fates = EVERYWHERE.map(|at| fate(filter, at, &udp(V6, PORT, &mesh(*kind, tag))));
            assert_eq!(fates, [fates[0]; 3]);
            fates[0] == Some(Reason::Tagged)
        })
        .collect()
}

#[test]
fn rules_on_peers_meet_their_tags_only_and_go_as_they_came() {
    let Some(mut filter) = filter() else { return };
    filter.arm(true).unwrap();
    filter.allow(TAG, ALICE).unwrap();
    filter.allow(NEXT_TAG, BOB).unwrap();
    let all = BTreeSet::from([HEARTBEAT, DATA, CONTROL, PROBE]);
    let rule = |action| [PeerRule { peer: ALICE, action }];

    filter.set_rules(&rule(PeerAction::Deny), &[]).unwrap();
    assert_eq!((kinds_that_pass(&filter, TAG), kinds_that_pass(&filter, NEXT_TAG)), (BTreeSet::new(), all.clone()));
    // A tag that comes after the rule meets it too.
    filter.allow(77, ALICE).unwrap();
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(DATA, 77))), Some(Reason::DeniedPeer));

    filter.set_rules(&rule(PeerAction::Quarantine), &[]).unwrap();
    assert_eq!(kinds_that_pass(&filter, TAG), BTreeSet::from([HEARTBEAT, CONTROL]));
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(PROBE, TAG))), Some(Reason::Quarantined));

    filter.set_rules(&[], &[]).unwrap();
    assert_eq!(kinds_that_pass(&filter, TAG), all);
}

#[test]
fn a_limit_counts_bytes_of_data_and_not_upkeep() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    // At 1,000 bytes a second the burst takes a minute: nothing refills that would make a difference.
    let rules = [PeerRule { peer: ALICE, action: PeerAction::RateLimit { bytes_per_s: 1_000, burst_bytes: 65_536 } }];
    filter.set_rules(&rules, &[]).unwrap();
    let mut large = mesh(DATA, TAG);
    large.resize(2_000, 0);
    let large = udp(V4, PORT, &large);
    let passed = (0..40).filter(|_| fate(&filter, At::Tc, &large) == Some(Reason::Tagged)).count();
    assert_eq!(passed, 32, "64,000 of 65,536 bytes");
    assert_eq!(fate(&filter, At::Tc, &large), Some(Reason::Limited));
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(HEARTBEAT, TAG))), Some(Reason::Tagged));
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(CONTROL, TAG))), Some(Reason::Tagged));
    // The same rules again give no fresh bucket.
    filter.set_rules(&rules, &[]).unwrap();
    assert_eq!(fate(&filter, At::Tc, &large), Some(Reason::Limited));
    let traffic = filter.reader().tag(TAG).unwrap().unwrap();
    assert_eq!((traffic.packets, traffic.dropped), (34, 10));
}

#[test]
fn rules_on_prefixes_go_by_the_longest_match() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    let rule = |address: &str, bits, action| PrefixRule { address: address.parse().unwrap(), bits, action };
    filter
        .set_rules(
            &[],
            &[
                rule("192.0.0.0", 16, PrefixAction::Deny),
                rule("192.0.2.0", 24, PrefixAction::Favour),
                rule("2001:db8::", 32, PrefixAction::Deny),
            ],
        )
        .unwrap();
    for at in EVERYWHERE {
        for kind in [1, DATA, HEARTBEAT] {
            let judged = |from| fate(&filter, at, &udp(from, PORT, &mesh(kind, TAG)));
            assert_eq!(judged(From::V4([192, 0, 3, 1])), Some(Reason::DeniedPrefix));
            assert_ne!(judged(From::V4([192, 0, 2, 1])), Some(Reason::DeniedPrefix));
            assert_ne!(judged(From::V4([192, 1, 2, 1])), Some(Reason::DeniedPrefix));
            assert_eq!(judged(V6), Some(Reason::DeniedPrefix));
            assert_ne!(judged(From::V6([0x2001, 0xdb9, 0, 0, 0, 0, 0, 1])), Some(Reason::DeniedPrefix));
        }
    }
    filter.set_rules(&[], &[rule("::", 0, PrefixAction::Deny)]).unwrap();
    assert_eq!(fate(&filter, At::Tc, &hello(V6)), Some(Reason::DeniedPrefix));
    assert_eq!(fate(&filter, At::Tc, &hello(V4)), Some(Reason::Handshake), "all of IPv6 is not IPv4");
    filter.set_rules(&[], &[]).unwrap();
    assert_eq!(fate(&filter, At::Tc, &hello(V6)), Some(Reason::Handshake));
}

#[test]
fn rules_that_are_refused_change_nothing() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    filter.set_rules(&[PeerRule { peer: ALICE, action: PeerAction::Deny }], &[]).unwrap();
    let bad = PrefixRule { address: "10.0.0.0".parse().unwrap(), bits: 33, action: PrefixAction::Deny };
    assert!(matches!(filter.set_rules(&[], &[bad]), Err(FilterError::PrefixLength { .. })));
    assert_eq!(fate(&filter, At::Tc, &udp(V4, PORT, &mesh(DATA, TAG))), Some(Reason::DeniedPeer));
}

#[test]
fn counters_tell_when_how_much_and_how_regularly() {
    let Some(mut filter) = filter() else { return };
    stay_on_one_cpu();
    filter.allow(TAG, ALICE).unwrap();
    let reader = filter.reader();
    assert_eq!((reader.last_seen(TAG), reader.last_seen(99)), (None, None));
    let packet = udp(V6, PORT, &mesh(HEARTBEAT, TAG));
    let mut last = 0;
    for _ in 0..50 {
        let before = now_ns();
        assert!(!drops(&filter, At::Tc, &packet));
        let seen = reader.last_seen(TAG).unwrap();
        assert!(before <= seen && seen <= now_ns() && seen > last, "{before} {seen}");
        last = seen;
    }
    let traffic = reader.tag(TAG).unwrap().unwrap();
    assert_eq!((traffic.packets, traffic.dropped), (50, 0));
    assert_eq!(traffic.bytes, 50 * (14 + packet.len() as u64));
    assert_eq!(traffic.intervals.iter().sum::<u64>(), 49);
    assert!(traffic.interval_mean_ns > 0);
    assert_eq!(reader.tag(99).unwrap(), None);
}

#[test]
fn what_a_peer_sent_under_old_tags_still_counts() {
    let Some(mut filter) = filter() else { return };
    filter.allow(TAG, ALICE).unwrap();
    filter.allow(NEXT_TAG, ALICE).unwrap();
    for tag in [TAG, NEXT_TAG, NEXT_TAG] {
        assert!(!drops(&filter, At::Xdp, &udp(V4, PORT, &mesh(DATA, tag))));
    }
    let last = filter.reader().last_seen(NEXT_TAG);
    filter.revoke(TAG).unwrap();
    filter.revoke(NEXT_TAG).unwrap();
    let peers = filter.reader().peers().unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!((peers[0].peer, peers[0].traffic.packets, Some(peers[0].traffic.last_seen_ns)), (ALICE, 3, last));
}
