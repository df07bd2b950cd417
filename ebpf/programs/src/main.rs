//! TC ingress program: counts what comes in for the agent's port, per sender.
//!
//! It lets every packet pass. It reads headers only, within bounds that the verifier checks, and
//! writes two maps whose layout is in `x0-ebpf-shared`.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::TC_ACT_OK,
    helpers::bpf_ktime_get_ns,
    macros::{classifier, map},
    maps::{Array, LruPerCpuHashMap},
    programs::TcContext,
};
use x0_ebpf_shared::{PEERS_MAX, PeerCounters, PeerKey, Settings};

#[map(name = "X0_PEERS")]
static PEERS: LruPerCpuHashMap<PeerKey, PeerCounters> = LruPerCpuHashMap::with_max_entries(PEERS_MAX, 0);
#[map(name = "X0_SETTINGS")]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

const ETHERNET_BYTES: usize = 14;
const ETHERTYPE_AT: usize = 12;
const ETHERTYPE_V4: u16 = 0x0800;
const ETHERTYPE_V6: u16 = 0x86dd;
const V4_PROTOCOL_AT: usize = ETHERNET_BYTES + 9;
const V4_FRAGMENT_AT: usize = ETHERNET_BYTES + 6;
const V4_SOURCE_AT: usize = ETHERNET_BYTES + 12;
const V6_NEXT_HEADER_AT: usize = ETHERNET_BYTES + 6;
const V6_SOURCE_AT: usize = ETHERNET_BYTES + 8;
const V6_BYTES: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Offset of the destination port in both TCP and UDP headers.
const DESTINATION_PORT_AT: usize = 2;

/// Entry point at TC ingress.
#[classifier]
pub fn x0_ingress(context: TcContext) -> i32 {
    // A packet that is too short or of another protocol is nobody's peer traffic; it passes.
    let _counted = count(&context);
    TC_ACT_OK
}

#[inline(always)]
fn count(context: &TcContext) -> Option<()> {
    let port = SETTINGS.get(0)?.port;
    if port == 0 {
        return None;
    }
    let ethertype = u16::from_be(context.load::<u16>(ETHERTYPE_AT).ok()?);
    let (key, protocol, transport_at) = match ethertype {
        ETHERTYPE_V4 => v4(context)?,
        ETHERTYPE_V6 => v6(context)?,
        _ => return None,
    };
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let destination = u16::from_be(context.load::<u16>(transport_at + DESTINATION_PORT_AT).ok()?);
    if destination != port {
        return None;
    }
    record(&key, u64::from(context.len()))
}

#[inline(always)]
fn v4(context: &TcContext) -> Option<(PeerKey, u8, usize)> {
    let header_bytes = usize::from(context.load::<u8>(ETHERNET_BYTES).ok()? & 0x0f) * 4;
    // A later fragment carries no ports.
    if u16::from_be(context.load::<u16>(V4_FRAGMENT_AT).ok()?) & 0x1fff != 0 {
        return None;
    }
    let protocol = context.load::<u8>(V4_PROTOCOL_AT).ok()?;
    let source = context.load::<[u8; 4]>(V4_SOURCE_AT).ok()?;
    Some((PeerKey::from_v4(source), protocol, ETHERNET_BYTES + header_bytes))
}

#[inline(always)]
fn v6(context: &TcContext) -> Option<(PeerKey, u8, usize)> {
    let protocol = context.load::<u8>(V6_NEXT_HEADER_AT).ok()?;
    let address = context.load::<[u8; 16]>(V6_SOURCE_AT).ok()?;
    Some((PeerKey { address }, protocol, ETHERNET_BYTES + V6_BYTES))
}

#[inline(always)]
fn record(key: &PeerKey, bytes: u64) -> Option<()> {
    // SAFETY: reads the kernel's clock; the helper takes no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if let Some(counters) = PEERS.get_ptr_mut(key) {
        // SAFETY: the pointer is this CPU's value, which no other program run on this CPU uses while
        // this one holds it, and the verifier has checked that it is not null.
        let counters = unsafe { &mut *counters };
        counters.packets = counters.packets.wrapping_add(1);
        counters.bytes = counters.bytes.wrapping_add(bytes);
        counters.last_seen_ns = now_ns;
        return Some(());
    }
    PEERS.insert(key, &PeerCounters { packets: 1, bytes, last_seen_ns: now_ns }, 0).ok()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel allows some helpers to GPL-compatible programs only; ours is dual licensed for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
