//! Network namespaces that live as long as this process, each with one tunnel device to the fabric.
//!
//! A namespace is made by a thread of its own and kept by an open descriptor: when the lab ends, in
//! whatever way, the kernel takes everything down. Nothing is written to `/run/netns`.

use anyhow::{Context as _, Result, anyhow, ensure};
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::process::CommandExt as _,
    process::Command,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// Name of the device that leads to the other validators.
const DEVICE: &str = "lab0";
/// Large packets, so that forwarding in user space costs little for each byte.
pub const MTU_BYTES: i32 = 9_000;
/// How long a connection into a namespace may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A network namespace with loopback and a tunnel device that are up.
#[derive(Clone, Debug)]
pub struct Namespace {
    descriptor: Arc<File>,
    /// The address of its device.
    pub address: Ipv4Addr,
}

impl Namespace {
    /// Makes a namespace whose device has this address in a /16, and the user-space end of the device.
    ///
    /// # Errors
    /// When the system does not allow it: the lab needs root, or a user namespace, and `/dev/net/tun`.
    pub fn create(address: Ipv4Addr) -> Result<(Self, OwnedFd)> {
        let made = std::thread::Builder::new()
            .name("lab-namespace".into())
            .spawn(move || -> Result<(File, OwnedFd)> {
                // SAFETY: `unshare` changes only which namespace this thread, which ends below, belongs to.
                check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
                    .context("a network namespace of its own (the lab needs root)")?;
                let control = socket()?;
                up(&control, "lo").context("loopback")?;
                let tunnel = tunnel().context("/dev/net/tun")?;
                configure(&control, address).context("the tunnel device")?;
                let namespace = File::open("/proc/thread-self/ns/net")?;
                Ok((namespace, tunnel))
            })?
            .join()
            .map_err(|_| anyhow!("the thread that makes a namespace panicked"))?;
        let (descriptor, tunnel) = made?;
        Ok((Self { descriptor: Arc::new(descriptor), address }, tunnel))
    }

    /// Lets the process start inside this namespace.
    pub fn enter(&self, command: &mut Command) {
        let descriptor = Arc::clone(&self.descriptor);
        // SAFETY: the closure only makes the system call `setns`, which is safe between fork and exec; the
        // descriptor stays open as long as the command owns the closure.
        unsafe {
            command.pre_exec(move || {
                if libc::setns(descriptor.as_raw_fd(), libc::CLONE_NEWNET) == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            });
        }
    }

    /// Gives the device a further address, under a label with this number.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn add_address(&self, label: usize, address: Ipv4Addr) -> Result<()> {
        self.run("lab-address", move || {
            let mut own = request(&format!("{DEVICE}:{label}"))?;
            own.ifr_ifru.ifru_addr = ipv4(address);
            control(&socket()?, libc::SIOCSIFADDR, &mut own).with_context(|| format!("address {address}"))
        })?
        .join()
        .map_err(|_| anyhow!("the thread that adds an address panicked"))?
    }

    /// Runs something on a thread of its own inside the namespace.
    ///
    /// # Errors
    /// When there is no thread; the thread's own are its result.
    pub fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let descriptor = Arc::clone(&self.descriptor);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            // SAFETY: `setns` changes only which namespace this thread, which ends below, belongs to.
            check(unsafe { libc::setns(descriptor.as_raw_fd(), libc::CLONE_NEWNET) }).context("setns")?;
            work()
        })?;
        Ok(thread)
    }

    /// Opens a connection from inside the namespace; the stream works everywhere. Blocks.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        self.run("lab-connect", move || {
            TcpStream::connect_timeout(&to, CONNECT_TIMEOUT).with_context(|| format!("connecting to {to}"))
        })?
        .join()
        .map_err(|_| anyhow!("the connecting thread panicked"))?
    }
}

#[cfg(test)]
impl Namespace {
    /// Listens on a free port inside the namespace. Changes the calling thread's namespace.
    pub(crate) fn listen(&self) -> Result<std::net::TcpListener> {
        // SAFETY: `setns` changes only which namespace this thread belongs to.
        check(unsafe { libc::setns(self.descriptor.as_raw_fd(), libc::CLONE_NEWNET) })?;
        Ok(std::net::TcpListener::bind((self.address, 0))?)
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket() -> Result<OwnedFd> {
    // SAFETY: `socket` takes no pointers; the descriptor that it returns belongs to nobody else.
    let descriptor = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn request(name: &str) -> Result<libc::ifreq> {
    ensure!(name.len() < libc::IFNAMSIZ, "the device name {name} is too long");
    // SAFETY: `ifreq` is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = libc::c_char::try_from(byte)?;
    }
    Ok(request)
}

fn control(descriptor: &OwnedFd, code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every request used here reads or writes one `ifreq`, which lives during the call.
    check(unsafe { libc::ioctl(descriptor.as_raw_fd(), code, std::ptr::from_mut(request)) }).map(drop)
}

fn up(socket: &OwnedFd, name: &str) -> Result<()> {
    let mut request = request(name)?;
    let flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING)?;
    request.ifr_ifru.ifru_flags = flags;
    control(socket, libc::SIOCSIFFLAGS, &mut request).context("up")
}

fn tunnel() -> Result<OwnedFd> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let descriptor = OwnedFd::from(file);
    let mut request = request(DEVICE)?;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    control(&descriptor, libc::TUNSETIFF, &mut request).context("TUNSETIFF")?;
    Ok(descriptor)
}

fn ipv4(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (slot, byte) in data.iter_mut().skip(2).zip(address.octets()) {
        *slot = libc::c_char::from_ne_bytes([byte]);
    }
    libc::sockaddr { sa_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default(), sa_data: data }
}

fn configure(socket: &OwnedFd, address: Ipv4Addr) -> Result<()> {
    let mut own = request(DEVICE)?;
    own.ifr_ifru.ifru_addr = ipv4(address);
    control(socket, libc::SIOCSIFADDR, &mut own).context("address")?;
    let mut mask = request(DEVICE)?;
    mask.ifr_ifru.ifru_netmask = ipv4(Ipv4Addr::new(255, 255, 0, 0));
    control(socket, libc::SIOCSIFNETMASK, &mut mask).context("netmask")?;
    let mut size = request(DEVICE)?;
    size.ifr_ifru.ifru_mtu = MTU_BYTES;
    control(socket, libc::SIOCSIFMTU, &mut size).context("MTU")?;
    up(socket, DEVICE)
}
