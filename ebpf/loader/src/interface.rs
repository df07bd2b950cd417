//! What the kernel says about an interface of this thread's network namespace.
//!
//! Asked by `ioctl` rather than read from `/sys`, which shows the namespace in which it was mounted.

use crate::LoaderError;
use std::{
    ffi::c_void,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// `ETHTOOL_GDRVINFO` of `linux/ethtool.h`.
const DRIVER_INFO: u32 = 3;

/// `struct ethtool_drvinfo` of `linux/ethtool.h`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// How the frames of an interface begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// With an Ethernet header.
    Ethernet,
    /// With the IP header.
    BareIp,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) link: Link,
    /// What the kernel calls its driver; empty when it has none.
    pub(crate) driver: String,
    /// Whether there is a device on a bus behind it.
    pub(crate) hardware: bool,
}

impl Interface {
    /// Looks at an interface.
    pub(crate) fn look(name: &str) -> Result<Self, LoaderError> {
        let missing = || LoaderError::NoInterface { interface: name.to_owned() };
        let unreadable = |error| LoaderError::Interface { interface: name.to_owned(), error };
        let mut request = request(name).ok_or_else(missing)?;
        let socket = socket().map_err(unreadable)?;
        // SAFETY: the request is valid for reads and writes and names the interface.
        if let Err(error) = unsafe { ask(&socket, libc::SIOCGIFHWADDR, (&raw mut request).cast()) } {
            return Err(if error.raw_os_error() == Some(libc::ENODEV) { missing() } else { unreadable(error) });
        }
        // SAFETY: this answer fills the address, whose family is the link type.
        let link_type = unsafe { request.ifr_ifru.ifru_hwaddr.sa_family };
        let link = match link_type {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Link::Ethernet,
            libc::ARPHRD_NONE => Link::BareIp,
            link_type => return Err(LoaderError::LinkType { interface: name.to_owned(), link_type }),
        };
        let (driver, hardware) = driver(&socket, name).map_err(unreadable)?;
        Ok(Self { name: name.to_owned(), link, driver, hardware })
    }
}

/// A request about this interface; none when it cannot be the name of one.
fn request(name: &str) -> Option<libc::ifreq> {
    // SAFETY: a C structure of integers and unions of integers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= request.ifr_name.len() || bytes.contains(&0) || bytes.contains(&b'/') {
        return None;
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(bytes) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    Some(request)
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the descriptor is checked and owned at once.
    let descriptor = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
/// `argument` must be what this request reads and writes.
unsafe fn ask(socket: &OwnedFd, request: libc::c_ulong, argument: *mut c_void) -> io::Result<()> {
    // SAFETY: the caller's promise.
    if unsafe { libc::ioctl(socket.as_raw_fd(), request as _, argument) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The driver's name, and whether there is a bus. The kernel answers for hardware whose driver does
/// not, and says "not supported" for software that does not.
fn driver(socket: &OwnedFd, name: &str) -> io::Result<(String, bool)> {
    let Some(mut request) = request(name) else { return Ok((String::new(), false)) };
    let mut info = DriverInfo {
        command: DRIVER_INFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        rom: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request points to the structure that this command fills; both outlive the call.
    match unsafe { ask(socket, libc::SIOCETHTOOL, (&raw mut request).cast()) } {
        Ok(()) => Ok((text(&info.driver), info.bus.first().is_some_and(|byte| *byte != 0))),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok((String::new(), false)),
        Err(error) => Err(error),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_ethernet_without_hardware() {
        let loopback = Interface::look("lo").unwrap();
        assert_eq!((loopback.link, loopback.hardware), (Link::Ethernet, false));
    }
}
