//! Runs the programs and prepares packets for them.

use crate::{
    LoaderError,
    mesh::{FilterConfig, FilterError, MeshFilter},
    object::Plain,
};
use aya::{
    TestRun as _, TestRunOptions,
    maps::{Array, HashMap},
    programs::{Program, ProgramInfo, SchedClassifier, Xdp},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};
use x0_ebpf_shared::{
    GLOBAL_MAP, INGRESS_IP_PROGRAM, INGRESS_PROGRAM, PREFIXES_MAP, PeerKey, Reason, Settings, XDP_PROGRAM,
};

/// The mesh's port in these tests.
pub const PORT: u16 = 7_400;
/// Another port.
pub const OTHER_PORT: u16 = 7_401;
/// The first tag of a link, and the one of the next epoch.
pub const TAG: u32 = 0x0a0b_0c0d;
pub const NEXT_TAG: u32 = 0xffff_fffe;
pub const HEARTBEAT: u8 = 5;
pub const DATA: u8 = 6;
pub const CONTROL: u8 = 7;
pub const PROBE: u8 = 8;
/// One hour: a price that no stall of the machine refills.
pub const HOUR_NS: u64 = 3_600_000_000_000;

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Tc,
    TcBareIp,
    Xdp,
}

pub const EVERYWHERE: [At; 3] = [At::Tc, At::TcBareIp, At::Xdp];

/// A filter whose programs are loaded but attached nowhere; `None`, and a line that says so, without
/// the rights.
pub fn filter() -> Option<MeshFilter> {
    filter_with(&FilterConfig::new(&[PORT]))
}

pub fn filter_with(config: &FilterConfig) -> Option<MeshFilter> {
    let mut filter = match MeshFilter::load(config) {
        Ok(filter) => filter,
        Err(FilterError::Loader(LoaderError::NotPermitted)) => {
            println!("not run: no right to load BPF programs");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    for name in [INGRESS_PROGRAM, INGRESS_IP_PROGRAM] {
        let program: &mut SchedClassifier = filter.ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load().unwrap();
    }
    let program: &mut Xdp = filter.ebpf.program_mut(XDP_PROGRAM).unwrap().try_into().unwrap();
    program.load().unwrap();
    Some(filter)
}

/// What the kernel says about the loaded programs.
pub fn infos(filter: &MeshFilter) -> BTreeMap<String, ProgramInfo> {
    filter.ebpf.programs().map(|(name, program)| (name.to_owned(), program.info().unwrap())).collect()
}

/// Runs one program on an IP packet; whether it drops the packet. `gso_bytes` makes it a super-packet.
pub fn drops_super(filter: &MeshFilter, at: At, ip: &[u8], gso_bytes: u32) -> bool {
    match at {
        At::TcBareIp => drops_frame(filter, at, ip, gso_bytes),
        At::Tc | At::Xdp => drops_frame(filter, at, &framed(ip), gso_bytes),
    }
}

/// Runs one program on the bytes as they are.
fn drops_frame(filter: &MeshFilter, at: At, bytes: &[u8], gso_bytes: u32) -> bool {
    let (name, drop, pass) = match at {
        At::Tc => (INGRESS_PROGRAM, 2, u32::MAX),
        At::TcBareIp => (INGRESS_IP_PROGRAM, 2, u32::MAX),
        At::Xdp => (XDP_PROGRAM, 1, 2),
    };
    // The member `gso_size` of `struct __sk_buff` (linux/bpf.h).
    let mut buffer = [0u8; 184];
    buffer[176..180].copy_from_slice(&gso_bytes.to_ne_bytes());
    let mut options = TestRunOptions { data_in: Some(bytes), ..TestRunOptions::default() };
    if gso_bytes > 0 {
        options.ctx_in = Some(&buffer);
    }
    let result = match filter.ebpf.program(name).unwrap() {
        Program::SchedClassifier(program) => program.test_run(options),
        Program::Xdp(program) => program.test_run(options),
        other => panic!("{other:?}"),
    };
    match result.unwrap().return_value {
        value if value == drop => true,
        value if value == pass => false,
        other => panic!("{at:?} returns {other}"),
    }
}

pub fn drops(filter: &MeshFilter, at: At, ip: &[u8]) -> bool {
    drops_super(filter, at, ip, 0)
}

/// Runs one program; the fate that its counters tell, `None` when they tell none. Asserts that the
/// verdict is the fate's.
pub fn fate_super(filter: &MeshFilter, at: At, ip: &[u8], gso_bytes: u32) -> Option<Reason> {
    told(filter, || drops_super(filter, at, ip, gso_bytes))
}

/// As [`fate_super`], of the bytes as they are.
pub fn fate_of_frame(filter: &MeshFilter, at: At, frame: &[u8]) -> Option<Reason> {
    told(filter, || drops_frame(filter, at, frame, 0))
}

fn told(filter: &MeshFilter, run: impl FnOnce() -> bool) -> Option<Reason> {
    let before = filter.reader().totals().unwrap();
    let dropped = run();
    let after = filter.reader().totals().unwrap();
    let counted: Vec<Reason> =
        Reason::ALL.into_iter().filter(|reason| after.of(*reason) > before.of(*reason)).collect();
    assert!(counted.len() <= 1, "{counted:?} for one packet");
    assert_eq!(dropped, counted.first().is_some_and(|reason| reason.drops()), "{counted:?}");
    counted.first().copied()
}

pub fn fate(filter: &MeshFilter, at: At, ip: &[u8]) -> Option<Reason> {
    fate_super(filter, at, ip, 0)
}

/// An Ethernet frame around an IP packet.
pub fn framed(ip: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(if ip.first().is_some_and(|byte| byte >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] });
    frame.extend(ip);
    frame
}

/// A datagram of this kind with this tag and some body.
pub fn mesh(kind: u8, tag: u32) -> Vec<u8> {
    let mut datagram = vec![0x10 | kind, 0, 0, 8];
    datagram.extend(tag.to_be_bytes());
    datagram.extend([7; 40]);
    datagram
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug)]
pub enum From {
    V4([u8; 4]),
    V6([u16; 8]),
}

pub const V4: From = From::V4([192, 0, 2, 1]);
pub const V6: From = From::V6([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]);

/// A UDP packet.
pub fn udp(from: From, port: u16, datagram: &[u8]) -> Vec<u8> {
    transport(from, 17, &udp_header(port, datagram.len()), datagram)
}

pub fn udp_header(port: u16, payload: usize) -> Vec<u8> {
    let mut header = Vec::new();
    for field in [40_000, port, (payload + 8) as u16, 0] {
        header.extend(field.to_be_bytes());
    }
    header
}

/// An IP packet of this protocol.
pub fn transport(from: From, protocol: u8, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = header.len() + payload.len();
    let mut packet = match from {
        From::V4(source) => {
            let mut head = vec![0x45, 0];
            head.extend((20 + length as u16).to_be_bytes());
            head.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            head.extend(source);
            head.extend(Ipv4Addr::LOCALHOST.octets());
            head
        }
        From::V6(source) => {
            let mut head = vec![0x60, 0, 0, 0];
            head.extend((length as u16).to_be_bytes());
            head.extend([protocol, 64]);
            head.extend(Ipv6Addr::from(source).octets());
            head.extend(Ipv6Addr::LOCALHOST.octets());
            head
        }
    };
    packet.extend(header);
    packet.extend(payload);
    packet
}

/// Now on CLOCK_MONOTONIC, which is the programs' clock.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure that it is given.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps this thread on one CPU, so that its runs see each other's per-CPU values.
pub fn stay_on_one_cpu() {
    // SAFETY: a set of bits, for which zeros are a value; the calls read and write it within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set), 0);
        let first = (0..libc::CPU_SETSIZE as usize).find(|cpu| libc::CPU_ISSET(*cpu, &set)).unwrap();
        libc::CPU_ZERO(&mut set);
        libc::CPU_SET(first, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set), 0);
    }
}

/// Buckets of this many datagrams that take an hour for each to fill again.
pub fn slow_buckets(filter: &mut MeshFilter, per_prefix: u64, global: u64) {
    filter
        .store(Settings {
            prefix_cost_ns: HOUR_NS,
            prefix_window_ns: per_prefix * HOUR_NS,
            global_cost_ns: HOUR_NS,
            global_window_ns: global * HOUR_NS,
            ..filter.settings
        })
        .unwrap();
}

/// Lets an hour go by for the bucket of a prefix.
pub fn age_prefix(filter: &mut MeshFilter, address: [u8; 16]) {
    let map = filter.ebpf.map_mut(PREFIXES_MAP).unwrap();
    let mut prefixes = HashMap::<_, Plain<PeerKey>, u64>::try_from(map).unwrap();
    let key = Plain(PeerKey { address });
    let word = prefixes.get(&key, 0).unwrap();
    prefixes.insert(key, word - HOUR_NS, 0).unwrap();
}

/// Lets an hour go by for everybody's bucket.
pub fn age_global(filter: &mut MeshFilter) {
    let mut global = Array::<_, u64>::try_from(filter.ebpf.map_mut(GLOBAL_MAP).unwrap()).unwrap();
    let word = global.get(&0, 0).unwrap();
    global.set(0, word - HOUR_NS, 0).unwrap();
}
