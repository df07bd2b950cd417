//! Counts allocations of a thread, and holds the path of a packet to having none.

use super::{
    wires::Wire,
    world::{World, address, pair},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
};
use x0_mesh::{
    NodeId, Time,
    node::{Event, Job, Mesh, Sink, UnderlayId, Urgency},
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count.
pub struct Counting;

// SAFETY: every call goes to the system's allocator with the same arguments; the count is a plain cell of
// the thread without a destructor, so it neither allocates nor is gone before the thread is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `place` came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`, and `place` came from the system's allocator.
        unsafe { System.realloc(place, layout, bytes) }
    }
}

/// Keeps the last datagrams in place and counts packets.
struct Fixed {
    frames: Vec<(u16, [u8; 2048], usize)>,
    used: usize,
    delivered: u64,
}

impl Sink for Fixed {
    fn send(&mut self, underlay: UnderlayId, _: SocketAddr, _: Urgency, bytes: &[u8]) {
        if let Some(place) = self.frames.get_mut(self.used) {
            place.0 = underlay.0;
            place.1[..bytes.len()].copy_from_slice(bytes);
            place.2 = bytes.len();
            self.used += 1;
        }
    }
    fn deliver(&mut self, _: &NodeId, _: &[u8]) {
        self.delivered += 1;
    }
    fn job(&mut self, _: Job) {}
    fn event(&mut self, _: Event) {}
}

fn carry(out: &mut Fixed, back: &mut Fixed, from: usize, to: &mut Mesh, now: Time) {
    for n in 0..out.used {
        let (underlay, bytes, length) = &mut out.frames[n];
        let bytes = &mut bytes[..*length];
        to.datagram(now, now, UnderlayId(*underlay), address(from, *underlay), bytes, back);
    }
    out.used = 0;
    to.flush(now, back);
}

/// Sends packets from node 0 to node 1 and counts the allocations of both.
fn steady(world: &mut World, packets: u64) -> (u64, u64) {
    let fixed = || Fixed { frames: vec![(0, [0; 2048], 0); 64], used: 0, delivered: 0 };
    let (mut ahead, mut back) = (fixed(), fixed());
    let (source, target) = (world.nodes[0].mesh.address(), world.nodes[1].mesh.address());
    let packet = world.oracle.packet(world.now_us, 0, 1, source, target, 1_000);
    let (first, rest) = world.nodes.split_at_mut(1);
    let (a, b) = (&mut first[0].mesh, &mut rest[0].mesh);
    let before = ALLOCATIONS.with(Cell::get);
    for n in 0..packets {
        let now = Time((world.now_us + n * 20) * 1_000);
        a.packet(now, &packet, &mut ahead);
        a.flush(now, &mut ahead);
        carry(&mut ahead, &mut back, 0, b, now);
        carry(&mut back, &mut ahead, 1, a, now);
    }
    world.now_us += packets * 20;
    (ALLOCATIONS.with(Cell::get) - before, back.delivered)
}

#[test]
fn a_packet_needs_no_memory_on_its_way() {
    let mut world = pair(1, 2, &Wire::default());
    world.connect(0, 1, 3_000_000);
    world.run_us(500_000);
    // The first packets let rings grow to their sizes.
    let (warm, _) = steady(&mut world, 5_000);
    let (allocations, delivered) = steady(&mut world, 2_000);
    println!("allocations: {warm} for the first 5,000 packets, {allocations} for the next 2,000");
    assert_eq!(delivered, 2_000);
    assert_eq!(allocations, 0);
}
