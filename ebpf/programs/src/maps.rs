//! The maps, and the three ways in which they are written.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, lpm_trie::Key},
};
use core::arch::asm;
use x0_ebpf_shared::{
    PEERS_MAX, PREFIXES_MAX, PeerCounters, PeerKey, RULES_MAX, Reason, RuleEntry, Settings, TAGS_MAX, TagStats, rate,
};

#[map(name = "X0_SETTINGS")]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map(name = "X0_PEERS")]
static PEERS: LruPerCpuHashMap<PeerKey, PeerCounters> = LruPerCpuHashMap::with_max_entries(PEERS_MAX, 0);
/// Without preallocation memory is taken for the tags that are allowed, not for those that may be.
#[map(name = "X0_TAGS")]
pub static TAGS: PerCpuHashMap<u32, TagStats> = PerCpuHashMap::with_max_entries(TAGS_MAX, BPF_F_NO_PREALLOC);
#[map(name = "X0_RULES")]
pub static RULES: HashMap<u32, RuleEntry> = HashMap::with_max_entries(RULES_MAX, BPF_F_NO_PREALLOC);
#[map(name = "X0_PREFIX_RULES")]
static PREFIX_RULES: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(RULES_MAX, BPF_F_NO_PREALLOC);
#[map(name = "X0_PREFIXES")]
static PREFIXES: LruHashMap<PeerKey, u64> = LruHashMap::with_max_entries(PREFIXES_MAX, 0);
#[map(name = "X0_GLOBAL")]
static GLOBAL: Array<u64> = Array::with_max_entries(1, 0);
#[map(name = "X0_TOTALS")]
static TOTALS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNT as u32, 0);

/// Tries of an exchange that other CPUs get in the way of; then the bucket is under a flood, and refuses.
const EXCHANGES_MAX: u32 = 4;

/// Counts datagrams with this fate.
#[inline(always)]
pub fn count(reason: Reason, datagrams: u32) {
    if let Some(total) = TOTALS.get_ptr_mut(reason as u32) {
        // SAFETY: the pointer is this CPU's value, checked not to be null; no other program run on this CPU
        // uses it while this one does.
        unsafe { *total = (*total).wrapping_add(u64::from(datagrams)) };
    }
}

/// Counts a packet of the availability service for its sender.
#[inline(always)]
pub fn count_sender(sender: &PeerKey, bytes: u64, now_ns: u64) {
    if let Some(counters) = PEERS.get_ptr_mut(sender) {
        // SAFETY: as in `count`.
        let counters = unsafe { &mut *counters };
        counters.packets = counters.packets.wrapping_add(1);
        counters.bytes = counters.bytes.wrapping_add(bytes);
        counters.last_seen_ns = now_ns;
        return;
    }
    // A full map gives way to new senders; any other failure leaves one packet uncounted.
    let _counted = PEERS.insert(sender, &PeerCounters { packets: 1, bytes, last_seen_ns: now_ns }, 0);
}

/// The action of the longest rule that matches the sender; zero when there is none.
#[inline(always)]
pub fn prefix_action(sender: &PeerKey) -> u32 {
    match PREFIX_RULES.get(Key::new(128, sender.address)) {
        Some(action) => *action,
        None => 0,
    }
}

/// Stores `new` if the word is still `old`; what it was before.
///
/// # Safety
/// `word` must point into a map's value and have been checked not to be null; such values are aligned
/// to eight bytes.
#[inline(always)]
unsafe fn exchange(word: *mut u64, old: u64, new: u64) -> u64 {
    let seen;
    // The language has no compare-and-exchange for this target; the kernel has it since Linux 5.12.
    // SAFETY: the caller's promise; the instruction touches the word and the named registers only.
    unsafe {
        asm!("r0 = cmpxchg_64(r1 + 0, r0, r2)", in("r1") word, inout("r0") old => seen, in("r2") new);
    }
    seen
}

/// Takes tokens out of a bucket's word, which other CPUs change too.
///
/// # Safety
/// As for [`exchange`].
#[inline(always)]
pub unsafe fn take(word: *mut u64, now_ns: u64, cost_ns: u64, window_ns: u64) -> bool {
    // SAFETY: the caller's promise.
    let mut current = unsafe { word.read_volatile() };
    let mut tries = 0;
    while tries < EXCHANGES_MAX {
        tries += 1;
        let Some(next) = rate::take(current, now_ns, cost_ns, window_ns) else { return false };
        // SAFETY: the caller's promise.
        let seen = unsafe { exchange(word, current, next) };
        if seen == current {
            return true;
        }
        current = seen;
    }
    false
}

/// Takes handshake tokens of a prefix.
#[inline(always)]
pub fn take_prefix(prefix: &PeerKey, datagrams: u64, now_ns: u64, settings: &Settings) -> bool {
    let (cost, window) = (settings.prefix_cost_ns.wrapping_mul(datagrams), settings.prefix_window_ns);
    if let Some(word) = PREFIXES.get_ptr_mut(prefix) {
        // SAFETY: a value of the map, not null.
        return unsafe { take(word, now_ns, cost, window) };
    }
    let Some(word) = rate::take(0, now_ns, cost, window) else { return false };
    // When this fails another CPU was first or the map is under pressure; everybody's bucket still bounds it.
    let _stored = PREFIXES.insert(prefix, &word, 0);
    true
}

/// Takes handshake tokens of everybody.
#[inline(always)]
pub fn take_global(datagrams: u64, now_ns: u64, settings: &Settings) -> bool {
    let cost = settings.global_cost_ns.wrapping_mul(datagrams);
    match GLOBAL.get_ptr_mut(0) {
        // SAFETY: a value of the map, not null.
        Some(word) => unsafe { take(word, now_ns, cost, settings.global_window_ns) },
        None => true,
    }
}
