//! Two namespaces with a wire between them, and datagrams for the mesh's port.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use anyhow::{Context as _, Result};
use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};
use x0_test_support::netns::Namespace;

/// The mesh's port.
pub const PORT: u16 = 7_400;
/// A tag that the tests allow.
pub const TAG: u32 = 0x0102_0304;
/// Whose it is.
pub const PEER: [u8; 32] = [9; 32];
/// Kinds of datagrams.
pub const HELLO: u8 = 1;
pub const DATA: u8 = 6;

/// How long a datagram that must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two namespaces on one wire: `near` sends, `far` receives and filters.
pub struct Wire {
    pub near: Namespace,
    pub far: Namespace,
}

impl Wire {
    /// `a1` (10.77.0.1, fd77::1) and `b1` (10.77.0.2, fd77::2). `None`, and a line that says so, where
    /// namespaces are not allowed.
    pub fn lay() -> Option<Self> {
        let (near, far) = (namespace()?, namespace()?);
        near.wire("a1", &far, "b1").unwrap();
        for (namespace, device, host) in [(&near, "a1", 1), (&far, "b1", 2)] {
            namespace.ip(&format!("address add 10.77.0.{host}/24 dev {device}")).unwrap();
            namespace.ip(&format!("address add fd77::{host}/64 dev {device} nodad")).unwrap();
        }
        Some(Self { near, far })
    }

    /// A socket at the far end of this family that waits for datagrams.
    pub fn receiver(&self, v6: bool) -> UdpSocket {
        bound(&self.far, if v6 { "fd77::2" } else { "10.77.0.2" }, PORT).unwrap()
    }

    /// A socket at the near end that sends to the far end.
    pub fn sender(&self, v6: bool) -> UdpSocket {
        let (own, to) = if v6 { ("fd77::1", "fd77::2") } else { ("10.77.0.1", "10.77.0.2") };
        let socket = bound(&self.near, own, 0).unwrap();
        socket.connect((to.parse::<IpAddr>().unwrap(), PORT)).unwrap();
        socket
    }
}

/// A namespace, or a line that says why there is none.
pub fn namespace() -> Option<Namespace> {
    match Namespace::create() {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            // SAFETY: asks for a number.
            assert_ne!(unsafe { libc::geteuid() }, 0, "root gets no namespace: {error:#}");
            println!("not run: {error:#}");
            None
        }
    }
}

/// A UDP socket inside a namespace.
pub fn bound(namespace: &Namespace, address: &str, port: u16) -> Result<UdpSocket> {
    let at = SocketAddr::new(address.parse()?, port);
    namespace.inside(move || {
        let socket = UdpSocket::bind(at).with_context(|| format!("binding {at}"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    })
}

/// A datagram of this kind with this tag; the last byte tells it from others.
pub fn datagram(kind: u8, tag: u32, mark: u8) -> Vec<u8> {
    let mut datagram = vec![0x10 | kind, 0, 0, 8];
    datagram.extend(tag.to_be_bytes());
    datagram.extend([0; 40]);
    datagram.push(mark);
    datagram
}

/// The mark of the next datagram that arrives. Datagrams of one sender stay in order on a wire, so
/// that what was sent before and does not come was dropped.
pub fn next_mark(socket: &UdpSocket) -> u8 {
    let mut bytes = [0; 2_048];
    let length = socket.recv(&mut bytes).expect("a datagram that must pass");
    bytes[length - 1]
}

/// Sends several datagrams of equal length in one system call, as one super-packet (`UDP_SEGMENT`).
pub fn send_super(socket: &UdpSocket, datagrams: &[Vec<u8>]) {
    let size = libc::c_int::try_from(datagrams[0].len()).unwrap();
    set_segments(socket, size);
    socket.send(&datagrams.concat()).unwrap();
    set_segments(socket, 0);
}

fn set_segments(socket: &UdpSocket, bytes: libc::c_int) {
    // SAFETY: the option is an integer of this size, which lives during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}
