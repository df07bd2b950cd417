//! The three uses of `bpf(2)` that the lab needs: a map in shared memory, a program, its place on a device.

use anyhow::{Context as _, Result, bail};
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    ptr,
};

const MAP_CREATE: libc::c_long = 0;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_ARRAY: u32 = 2;
/// The map's value may be mapped into a process.
const F_MMAPABLE: u32 = 1 << 10;
const PROG_TYPE_SCHED_CLS: u32 = 3;
/// Where packets come into the stack from a device, before the older filters of `tc` (Linux 6.6).
const TCX_INGRESS: u32 = 46;
/// Says only that the verifier need not hide pointers from us; no function of the program depends on it.
const LICENSE: &[u8] = b"Apache-2.0\0";
const LOG_BYTES: usize = 64 * 1024;

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    rest: [u32; 12],
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    rest: [u64; 13],
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 6],
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are a `repr(C)` prefix of the kernel's union that lives during the call, with its size
    // beside it; what they point to is kept alive by the callers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attributes), std::mem::size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the call returned a new descriptor that belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// An array map with one entry, in memory that this process and the programs share.
#[derive(Debug)]
pub struct SharedMap {
    descriptor: OwnedFd,
    address: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: the memory is used through atomics only, by [`Self::word`].
unsafe impl Send for SharedMap {}
// SAFETY: as above.
unsafe impl Sync for SharedMap {}

impl SharedMap {
    /// Makes a map of so many bytes, all zero.
    ///
    /// # Errors
    /// When the kernel refuses: this needs root, or `CAP_BPF`.
    pub fn create(bytes: usize) -> Result<Self> {
        let mut attributes = MapCreate {
            map_type: MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: u32::try_from(bytes)?,
            max_entries: 1,
            map_flags: F_MMAPABLE,
            ..MapCreate::default()
        };
        let descriptor = bpf(MAP_CREATE, &mut attributes).context("a BPF map (the lab needs root)")?;
        // SAFETY: a new mapping at an address of the kernel's choice; the result is checked below.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mapping the BPF map");
        }
        Ok(Self { descriptor, address, bytes })
    }

    /// The descriptor, for programs.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// The eight-byte word with this number.
    ///
    /// # Errors
    /// When the map is shorter.
    pub fn word(&self, number: usize) -> Result<&std::sync::atomic::AtomicU64> {
        if number.saturating_add(1).saturating_mul(8) > self.bytes {
            bail!("the fault map has {} bytes and no word {number}", self.bytes);
        }
        // SAFETY: the mapping is page-aligned, at least this long, lives as long as `self`, and is used by this
        // process through atomics only; the programs use atomic additions and single loads of eight bytes.
        Ok(unsafe { &*self.address.cast::<std::sync::atomic::AtomicU64>().add(number) })
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `create` with this length and nothing borrows from it any more.
        unsafe { libc::munmap(self.address, self.bytes) };
    }
}

/// Loads a classifier.
///
/// # Errors
/// When the verifier refuses it; the error holds what it says.
pub fn load(code: &[u64]) -> Result<OwnedFd> {
    let mut log = vec![0_u8; LOG_BYTES];
    let mut attributes = ProgLoad {
        prog_type: PROG_TYPE_SCHED_CLS,
        insn_cnt: u32::try_from(code.len())?,
        insns: u64::try_from(code.as_ptr().addr())?,
        license: u64::try_from(LICENSE.as_ptr().addr())?,
        log_level: 1,
        log_size: u32::try_from(LOG_BYTES)?,
        log_buf: u64::try_from(log.as_mut_ptr().expose_provenance())?,
        ..ProgLoad::default()
    };
    bpf(PROG_LOAD, &mut attributes).with_context(|| {
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        format!("the kernel does not take the drop program: {}", String::from_utf8_lossy(&log[..end]).trim())
    })
}

/// Puts a program at the ingress of a device of the calling thread's namespace, before programs that come later. It
/// stays until the returned descriptor is closed.
///
/// # Errors
/// When there is no such device, or the kernel is older than 6.6.
pub fn attach(program: &OwnedFd, device: &str) -> Result<OwnedFd> {
    let name = CString::new(device)?;
    // SAFETY: the name is a C string that lives during the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("there is no device {device}"));
    }
    let mut attributes = LinkCreate {
        prog_fd: u32::try_from(program.as_raw_fd())?,
        target_ifindex: index,
        attach_type: TCX_INGRESS,
        ..LinkCreate::default()
    };
    bpf(LINK_CREATE, &mut attributes).with_context(|| format!("the drop program on {device} (Linux 6.6 or newer)"))
}
