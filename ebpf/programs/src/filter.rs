//! The filter's decision on one packet, the same at both hooks.

use crate::{
    context::Frame,
    maps::{RULES, SETTINGS, TAGS, count, count_sender, prefix_action, take, take_global, take_prefix},
};
use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, BPF_FIB_LKUP_RET_UNSUPP_LWT,
        bpf_fib_lookup as FibQuery,
    },
    helpers::bpf_ktime_get_ns,
};
use x0_ebpf_shared::{
    FLAG_ARMED, FLAG_PEER_RULES, FLAG_PREFIX_RULES, PORTS_MAX, PREFIX_DENY, PREFIX_FAVOUR, RULE_DENY, RULE_LIMIT,
    RULE_QUARANTINE, Reason, Settings, TagStats, arrivals,
    frame::{Other, Place, TCP, UDP, UDP_BYTES, destination_v4, destination_v6, locate},
    header::{self, Link},
    rate,
};

/// Most segments of a super-packet (`UDP_MAX_SEGMENTS` of Linux 6.9; 64 before).
const SEGMENTS_MAX: u32 = 128;
/// Segments that are looked at: as many as the kernel merges (`UDP_GRO_CNT_MAX`).
const SCANNED_MAX: u32 = 64;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A UDP packet on a mesh port: one datagram, or a super-packet of equal ones whose last may be shorter.
struct Datagrams {
    /// Offset of the first.
    at: u32,
    /// Bytes of all.
    bytes: u32,
    /// Bytes of each but the last.
    segment_bytes: u32,
    /// How many.
    count: u32,
}

/// Whether the packet is to be dropped.
#[inline(always)]
pub fn judge<F: Frame, const LINK_BYTES: u32>(frame: &F) -> bool {
    let Some(settings) = SETTINGS.get(0) else { return false };
    let place = match locate::<F, LINK_BYTES>(frame) {
        Ok(place) => place,
        Err(Other::Foreign) => return false,
        Err(Other::TooManyHeaders) => {
            count(Reason::Unparsed, 1);
            return false;
        }
    };
    if place.protocol != UDP && place.protocol != TCP {
        return false;
    }
    // Both transports begin with their ports, and both headers have eight bytes at least.
    let Some(transport) = frame.load::<8>(place.at) else { return false };
    let port = u16::from_be_bytes([transport[2], transport[3]]);
    // SAFETY: reads the kernel's clock; the helper takes no arguments.
    let now = || unsafe { bpf_ktime_get_ns() };
    if port == settings.probe_port && port != 0 {
        count_sender(&place.source, u64::from(frame.bytes()), now());
    }
    if place.protocol != UDP || !is_mesh_port(settings, port) {
        return false;
    }
    let udp_bytes = u32::from(u16::from_be_bytes([transport[4], transport[5]]));
    let datagrams = datagrams(frame, &place, udp_bytes.saturating_sub(UDP_BYTES));
    let reason = fate::<F, LINK_BYTES>(frame, &place, &datagrams, now(), settings);
    count(reason, datagrams.count);
    reason.drops()
}

#[inline(always)]
fn is_mesh_port(settings: &Settings, port: u16) -> bool {
    let mut index = 0;
    while index < PORTS_MAX {
        let candidate = settings.mesh_ports[index];
        if candidate == 0 {
            return false;
        }
        if candidate == port {
            return true;
        }
        index += 1;
    }
    false
}

#[inline(always)]
fn datagrams<F: Frame>(frame: &F, place: &Place, bytes: u32) -> Datagrams {
    let at = place.at + UDP_BYTES;
    let segment_bytes = frame.segment_bytes();
    if segment_bytes == 0 || segment_bytes >= bytes {
        return Datagrams { at, bytes, segment_bytes: bytes, count: 1 };
    }
    let count = (bytes + segment_bytes - 1) / segment_bytes;
    Datagrams { at, bytes, segment_bytes, count: if count > SEGMENTS_MAX { SEGMENTS_MAX } else { count } }
}

#[inline(always)]
fn fate<F: Frame, const LINK_BYTES: u32>(
    frame: &F,
    place: &Place,
    datagrams: &Datagrams,
    now_ns: u64,
    settings: &Settings,
) -> Reason {
    let action = if settings.flags & FLAG_PREFIX_RULES != 0 { prefix_action(&place.source) } else { 0 };
    let refused = if place.fragment {
        Reason::Fragment
    } else if action == PREFIX_DENY {
        Reason::DeniedPrefix
    } else {
        match find_tag(frame, datagrams) {
            Ok((link, stats)) => return tagged(frame, datagrams, link, stats, now_ns, settings),
            Err(reason) => reason,
        }
    };
    // Only now, because it costs a look at the routes: a router's guests may use the same port.
    if is_forwarded::<F, LINK_BYTES>(frame, place) {
        return Reason::Forwarded;
    }
    match refused {
        Reason::Handshake => handshake(place, action, datagrams, now_ns, settings),
        Reason::UnknownTag if settings.flags & FLAG_ARMED == 0 => Reason::Unarmed,
        reason => reason,
    }
}

/// The first datagram whose tag is allowed, or what the first of all is.
///
/// The kernel may have merged a stranger's datagram in front of ours when it spoofs addresses and
/// length; dropping the whole super-packet for it would let one datagram kill many.
#[inline(always)]
fn find_tag<F: Frame>(frame: &F, datagrams: &Datagrams) -> Result<(Link, *mut TagStats), Reason> {
    let head = frame.load::<{ header::HEAD_BYTES }>(datagrams.at).ok_or(Reason::Length)?;
    let first = match header::read(head, datagrams.segment_bytes) {
        Ok(link) if link.is_handshake() => Reason::Handshake,
        Ok(link) => match TAGS.get_ptr_mut(link.tag) {
            Some(stats) => return Ok((link, stats)),
            None => Reason::UnknownTag,
        },
        Err(reason) => reason,
    };
    // The loop looks at as little as it can, because the verifier walks through all its turns.
    let mut index = 1;
    while index < SCANNED_MAX && index < datagrams.count {
        let start = index * datagrams.segment_bytes;
        let Some(head) = frame.load::<{ header::HEAD_BYTES }>(datagrams.at + start) else { break };
        if let Some(stats) = TAGS.get_ptr_mut(header::tag(head)) {
            let rest = datagrams.bytes.saturating_sub(start);
            let bytes = if rest < datagrams.segment_bytes { rest } else { datagrams.segment_bytes };
            return match header::read(head, bytes) {
                Ok(link) if !link.is_handshake() => Ok((link, stats)),
                _ => Err(first),
            };
        }
        index += 1;
    }
    Err(first)
}

/// Datagrams of a link that is ours: counts them and asks the peer's rules.
#[inline(always)]
fn tagged<F: Frame>(
    frame: &F,
    datagrams: &Datagrams,
    link: Link,
    stats: *mut TagStats,
    now_ns: u64,
    settings: &Settings,
) -> Reason {
    // SAFETY: this CPU's value, not null; no other program run on this CPU uses it while this one does.
    let stats = unsafe { &mut *stats };
    let last = stats.last_seen_ns;
    if last != 0 && now_ns > last {
        let interval = now_ns - last;
        let bucket = arrivals::bucket(interval);
        stats.intervals[bucket] = stats.intervals[bucket].wrapping_add(1);
        let (mean, deviation) = arrivals::smooth(stats.interval_mean_ns, stats.interval_deviation_ns, interval);
        stats.interval_mean_ns = mean;
        stats.interval_deviation_ns = deviation;
    }
    stats.last_seen_ns = now_ns;
    let reason = if settings.flags & FLAG_PEER_RULES != 0 {
        peer_rule(stats.peer, link, datagrams.bytes, now_ns)
    } else {
        Reason::Tagged
    };
    if reason.drops() {
        stats.dropped = stats.dropped.wrapping_add(u64::from(datagrams.count));
        return reason;
    }
    // On the wire each segment had headers of its own.
    let headers = u64::from(datagrams.at) * u64::from(datagrams.count - 1);
    stats.packets = stats.packets.wrapping_add(u64::from(datagrams.count));
    stats.bytes = stats.bytes.wrapping_add(u64::from(frame.bytes()) + headers);
    reason
}

#[inline(always)]
fn peer_rule(peer: u32, link: Link, bytes: u32, now_ns: u64) -> Reason {
    let Some(rule) = RULES.get_ptr_mut(peer) else { return Reason::Tagged };
    // SAFETY: a value of the map, not null. Only `word` is written, and that by atomic exchange.
    let (actions, byte_cost, window) = unsafe { ((*rule).actions, (*rule).byte_cost_q10, (*rule).window_ns) };
    if actions & RULE_DENY != 0 {
        return Reason::DeniedPeer;
    }
    if link.is_upkeep() {
        return Reason::Tagged;
    }
    if actions & RULE_QUARANTINE != 0 {
        return Reason::Quarantined;
    }
    if actions & RULE_LIMIT != 0 {
        let cost = rate::bytes_cost_ns(bytes, byte_cost);
        // SAFETY: the first field of a value of the map, not null.
        if !unsafe { take(&raw mut (*rule).word, now_ns, cost, window) } {
            return Reason::Limited;
        }
    }
    Reason::Tagged
}

#[inline(always)]
fn handshake(place: &Place, action: u32, datagrams: &Datagrams, now_ns: u64, settings: &Settings) -> Reason {
    let taken = u64::from(datagrams.count);
    // The prefix pays first: who floods from one place does not empty everybody's bucket.
    if !take_prefix(&place.source.prefix(place.v6), taken, now_ns, settings) {
        return Reason::PrefixBucket;
    }
    if action != PREFIX_FAVOUR && !take_global(taken, now_ns, settings) {
        return Reason::GlobalBucket;
    }
    Reason::Handshake
}

/// Whether this host would route the packet on to another one.
#[inline(always)]
fn is_forwarded<F: Frame, const LINK_BYTES: u32>(frame: &F, place: &Place) -> bool {
    // SAFETY: a plain C structure of integers, for which zeros are a value.
    let mut query: FibQuery = unsafe { core::mem::zeroed() };
    query.l4_protocol = UDP;
    query.ifindex = frame.interface();
    if place.v6 {
        let Some(destination) = destination_v6::<F, LINK_BYTES>(frame) else { return false };
        query.family = AF_INET6;
        query.__bindgen_anon_3.ipv6_src = words(place.source.address);
        query.__bindgen_anon_4.ipv6_dst = words(destination);
    } else {
        let Some(destination) = destination_v4::<F, LINK_BYTES>(frame) else { return false };
        let source = place.source.address;
        query.family = AF_INET;
        query.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes([source[12], source[13], source[14], source[15]]);
        query.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination);
    }
    let answer = frame.route(&mut query);
    answer == i64::from(BPF_FIB_LKUP_RET_SUCCESS)
        || answer == i64::from(BPF_FIB_LKUP_RET_NO_NEIGH)
        || answer == i64::from(BPF_FIB_LKUP_RET_FRAG_NEEDED)
        || answer == i64::from(BPF_FIB_LKUP_RET_UNSUPP_LWT)
}

/// Sixteen bytes as four words in memory order.
#[inline(always)]
fn words(a: [u8; 16]) -> [u32; 4] {
    [
        u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
        u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
        u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
        u32::from_ne_bytes([a[12], a[13], a[14], a[15]]),
    ]
}
