//! Packets as the two hooks hand them over.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_fib_lookup as FibQuery,
    helpers::{bpf_fib_lookup, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use core::mem::MaybeUninit;
use x0_ebpf_shared::frame::{Packet, ethertype_of};

/// A packet with what the kernel knows about it besides its bytes.
pub trait Frame: Packet {
    /// Bytes of the packet from its first header on; a super-packet counts its headers once.
    fn bytes(&self) -> u32;
    /// Payload bytes of each segment of a super-packet; zero when it is none.
    fn segment_bytes(&self) -> u32;
    /// Asks the kernel's routes; the answer is one of `BPF_FIB_LKUP_RET_`, or negative.
    fn route(&self, query: &mut FibQuery) -> i64;
    /// Index of the interface.
    fn interface(&self) -> u32;
}

/// A socket buffer at TC ingress.
pub struct Buffer(pub TcContext);

impl Packet for Buffer {
    #[inline(always)]
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.0.load::<[u8; N]>(at as usize).ok()
    }

    #[inline(always)]
    fn ethertype(&self) -> Option<u16> {
        // The kernel has taken a VLAN tag off already and hands the frame to the VLAN's own interface next.
        // SAFETY: the context of a classifier is valid for the whole run; the verifier checks the field.
        if unsafe { (*self.0.skb.skb).vlan_present } != 0 {
            return None;
        }
        ethertype_of(self)
    }
}

impl Frame for Buffer {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        // SAFETY: as in `ethertype`.
        unsafe { (*self.0.skb.skb).gso_size }
    }

    #[inline(always)]
    fn route(&self, query: &mut FibQuery) -> i64 {
        // SAFETY: context and query are valid; the size is the query's.
        unsafe { bpf_fib_lookup(self.0.as_ptr(), query, size_of::<FibQuery>() as i32, 0) as i64 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: as in `ethertype`.
        unsafe { (*self.0.skb.skb).ifindex }
    }
}

/// A frame in the driver's memory, perhaps in several pieces.
pub struct Driver(pub XdpContext);

impl Packet for Driver {
    #[inline(always)]
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes all `N` bytes or fails.
        let failed = unsafe { bpf_xdp_load_bytes(self.0.ctx, at, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: the helper wrote them.
        if failed == 0 { Some(unsafe { bytes.assume_init() }) } else { None }
    }

    #[inline(always)]
    fn ethertype(&self) -> Option<u16> {
        ethertype_of(self)
    }
}

impl Frame for Driver {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        // SAFETY: the context of an XDP program is valid for the whole run.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as u32 }
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn route(&self, query: &mut FibQuery) -> i64 {
        // SAFETY: context and query are valid; the size is the query's.
        unsafe { bpf_fib_lookup(self.0.as_ptr(), query, size_of::<FibQuery>() as i32, 0) as i64 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.0.ingress_ifindex() as u32
    }
}
