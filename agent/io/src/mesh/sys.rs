//! Thin safe forms of the system calls that several parts need.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use x0_mesh::Time;

use crate::mesh::error::{MeshIoError, Result};

const NS_PER_S: u64 = 1_000_000_000;

/// The result of a system call that gives -1 for an error.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The number of bytes of a system call that gives -1 for an error.
pub fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A clock of the system in nanoseconds.
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which lives during it.
    unsafe { libc::clock_gettime(clock, &raw mut spec) };
    spec_ns(&spec)
}

/// Nanoseconds of a `timespec`; zero for a negative one.
pub fn spec_ns(spec: &libc::timespec) -> u64 {
    let seconds = u64::try_from(spec.tv_sec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_S).saturating_add(u64::try_from(spec.tv_nsec).unwrap_or(0))
}

/// A duration as a `timespec`, saturating.
pub fn spec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Now, by `CLOCK_MONOTONIC`: the clock of the whole data plane.
#[must_use]
pub fn now() -> Time {
    Time(clock_ns(libc::CLOCK_MONOTONIC))
}

/// Now by the clock that the kernel stamps datagrams with, nanoseconds.
pub fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Sets an option whose value is plain data.
pub fn set_option<T: Copy>(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: pointer and length describe `value`, which the kernel only reads.
    check(unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    })
    .map(drop)
}

/// Reads an option whose value is a C integer.
pub fn get_option(socket: impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: pointer and length describe `value`, which lives during the call.
    check(unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    })?;
    Ok(value)
}

/// A socket that is closed at exec and never blocks.
pub fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: `socket` takes no pointers.
    let descriptor = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// An interface's name, checked for the kernel's length.
pub fn interface_name(name: &str) -> Result<CString> {
    let wrong = || MeshIoError::InterfaceName { name: name.to_owned(), length: name.len() };
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(wrong());
    }
    CString::new(name).map_err(|_| wrong())
}

/// The kernel's number of an interface.
///
/// # Errors
/// [`MeshIoError::NoInterface`], and [`MeshIoError::InterfaceName`] for an impossible name.
pub fn interface_index(name: &str) -> Result<u32> {
    let text = interface_name(name)?;
    // SAFETY: the pointer is a C string that lives during the call.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 => Err(MeshIoError::NoInterface { name: name.to_owned() }),
        index => Ok(index),
    }
}

/// Calls an `ioctl` about an interface.
pub fn interface_request(
    socket: impl AsFd,
    code: libc::Ioctl,
    name: &str,
    fill: impl FnOnce(&mut libc::ifreq),
) -> Result<libc::ifreq> {
    let text = interface_name(name)?;
    // SAFETY: `ifreq` is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(text.as_bytes()) {
        *slot = libc::c_char::from_ne_bytes([*byte]);
    }
    fill(&mut request);
    // SAFETY: every request of this module reads or writes one `ifreq`, which lives during the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), code, &raw mut request) })
        .map_err(|source| MeshIoError::System { call: "an interface request", source })?;
    Ok(request)
}

/// Bytes of the largest packet that an interface carries.
///
/// # Errors
/// [`MeshIoError::System`] when there is no such interface.
pub fn interface_mtu(name: &str) -> Result<u32> {
    let control = socket(libc::AF_INET, libc::SOCK_DGRAM, 0).map_err(|_| MeshIoError::last("a socket"))?;
    let request = interface_request(&control, libc::SIOCGIFMTU, name, |_| {})?;
    // SAFETY: the kernel has filled in the MTU, an integer.
    Ok(u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).unwrap_or(0))
}

/// A counter that wakes the data thread.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A waker that nobody has rung.
    pub fn new() -> Result<Self> {
        // SAFETY: `eventfd` takes no pointers.
        let descriptor = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
            .map_err(|source| MeshIoError::System { call: "eventfd", source })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Makes the descriptor readable. A counter that is full is readable already.
    pub fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the pointer and the length describe `one`, which lives during the call.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes the descriptor unreadable until the next [`Self::wake`].
    pub fn clear(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the pointer and the length describe `count`, which lives during the call.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// Blocks until the descriptor is readable.
    pub fn wait(&self) {
        self.wait_within(None);
    }

    /// Blocks until the descriptor is readable or the time is over.
    pub fn wait_for(&self, time: Duration) {
        self.wait_within(Some(time));
    }

    fn wait_within(&self, time: Option<Duration>) {
        let mut one = [poll_entry(self.0.as_fd(), libc::POLLIN)];
        // An interrupted wait ends early; the caller looks at its own state either way.
        let _ = poll(&mut one, time);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One descriptor to wait for.
pub fn poll_entry(descriptor: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 }
}

/// Waits until a descriptor is ready or the time is over; an interrupted wait counts as over.
pub fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout = timeout.map(spec);
    let pointer = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
    // SAFETY: pointer and count describe `entries`; the time lives during the call; no signal mask is given.
    match check(unsafe { libc::ppoll(entries.as_mut_ptr(), count, pointer, std::ptr::null()) }) {
        Ok(ready) => Ok(usize::try_from(ready).unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}
