//! The agent's BPF programs: the mesh's filter at TC ingress and at XDP, and the counters of the
//! availability service.
//!
//! ```text
//!   x0_ingress (Ethernet)    \
//!   x0_ingress_ip (tunnels)   >-- filter::judge --> drop, or on to whoever is next
//!   x0_xdp (hardware)        /        |
//!                                  maps.rs
//! ```
//!
//! Packets to other ports, other protocols and other hosts pass untouched: the programs read headers
//! within bounds that the verifier checks, change no packet, and hand it on with "unspecified" rather
//! than "accept", so that other programs on the same hook see it too.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod context;
mod filter;
mod maps;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action::XDP_DROP, xdp_action::XDP_PASS},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use context::{Buffer, Driver};
use x0_ebpf_shared::frame::ETHERNET_BYTES;

/// TC ingress of an interface with Ethernet headers.
#[classifier]
pub fn x0_ingress(context: TcContext) -> i32 {
    if filter::judge::<_, ETHERNET_BYTES>(&Buffer(context)) { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

/// TC ingress of a tunnel whose packets begin with the IP header.
#[classifier]
pub fn x0_ingress_ip(context: TcContext) -> i32 {
    if filter::judge::<_, 0>(&Buffer(context)) { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

/// The driver's hook of an interface with Ethernet headers.
#[xdp(frags)]
pub fn x0_xdp(context: XdpContext) -> u32 {
    if filter::judge::<_, ETHERNET_BYTES>(&Driver(context)) { XDP_DROP } else { XDP_PASS }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel allows some helpers to GPL-compatible programs only; ours is dual licensed for it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
