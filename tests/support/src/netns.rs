//! Network namespaces that live as long as this process (feature `netns`).
//!
//! A namespace is made by a thread of its own and kept by an open descriptor: when the tests end, in
//! whatever way, the kernel takes everything down. Nothing is written to `/run/netns`, so nothing can be left
//! behind and two runs cannot meet. Unlike the rest of this crate these functions return their errors,
//! because labs report them.
//!
//! ```text
//!   Namespace::create --> loopback up
//!      wire(a, "a1", b, "b1")   a veth pair, both ends up, not yet addressed
//!      ip("address add ...")    the ordinary `ip` program inside
//!      tunnel("lab0", ...)      a TUN device whose user-space end the caller holds
//!      enter(command)           a child process inside
//!      run / inside             a thread inside; sockets that it opens stay inside wherever they are used
//! ```

use anyhow::{Context as _, Result, anyhow, ensure};
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    os::unix::process::CommandExt as _,
    process::Command,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// How long a connection into a namespace may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A network namespace whose loopback is up; clones name the same one.
#[derive(Clone, Debug)]
pub struct Namespace {
    descriptor: Arc<File>,
}

impl Namespace {
    /// Makes a namespace.
    ///
    /// # Errors
    /// When the system does not allow it: this needs root, or a user namespace.
    pub fn create() -> Result<Self> {
        let made = std::thread::Builder::new()
            .name("lab-namespace".into())
            .spawn(move || -> Result<File> {
                // SAFETY: `unshare` changes only which namespace this thread, which ends below, belongs to.
                check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
                    .context("a network namespace of its own (the lab needs root)")?;
                set_up(&socket()?, "lo", true).context("loopback")?;
                Ok(File::open("/proc/thread-self/ns/net")?)
            })?
            .join()
            .map_err(|_| anyhow!("the thread that makes a namespace panicked"))?;
        Ok(Self { descriptor: Arc::new(made?) })
    }

    /// A path by which other programs of this machine find the namespace while this process lives; the `ip`
    /// program takes it where it takes a name.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.descriptor.as_raw_fd())
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

    /// Does something inside the namespace and waits for it: opening a socket, for example. Blocks.
    ///
    /// # Errors
    /// What the work says.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        self.run("lab-inside", work)?.join().map_err(|_| anyhow!("the thread inside a namespace panicked"))?
    }

    /// Runs a program with these words, separated by spaces, inside the namespace, and returns what it prints.
    ///
    /// # Errors
    /// When it cannot be started or fails; the error holds what it says.
    pub fn command(&self, program: &str, words: &str) -> Result<String> {
        let mut command = Command::new(program);
        command.args(words.split_whitespace());
        self.enter(&mut command);
        let output = command.output().with_context(|| format!("running {program}"))?;
        let says = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {words}: {}", says.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `ip` with these words inside the namespace: `ip("address add 10.1.0.1/24 dev a1")`.
    ///
    /// # Errors
    /// As for [`Self::command`].
    pub fn ip(&self, words: &str) -> Result<String> {
        self.command("ip", words)
    }

    /// Joins two namespaces by a pair of virtual Ethernet devices, both up.
    ///
    /// # Errors
    /// When the system does not allow it, or a name is taken.
    pub fn wire(&self, device: &str, other: &Self, other_device: &str) -> Result<()> {
        self.ip(&format!("link add {device} type veth peer name {other_device} netns {}", other.path()))?;
        self.ip(&format!("link set {device} up"))?;
        other.ip(&format!("link set {other_device} up"))?;
        Ok(())
    }

    /// Takes a device up or down, by one system call.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn set_device(&self, device: &str, up: bool) -> Result<()> {
        let device = device.to_owned();
        self.inside(move || set_up(&socket()?, &device, up).with_context(|| format!("device {device}")))
    }

    /// Makes a TUN device that is up, and returns its user-space end, which reads and writes plain IP packets.
    ///
    /// # Errors
    /// When the system does not allow it: this needs root and `/dev/net/tun`.
    pub fn tunnel(&self, device: &str, address: Ipv4Addr, mask: Ipv4Addr, mtu_bytes: i32) -> Result<OwnedFd> {
        let device = device.to_owned();
        self.inside(move || {
            let tunnel = open_tunnel(&device).context("/dev/net/tun")?;
            let control = socket()?;
            configure(&control, &device, address, mask, mtu_bytes).context("the tunnel device")?;
            Ok(tunnel)
        })
    }

    /// Gives a device a further address, under a label with this number.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn add_address(&self, device: &str, label: usize, address: Ipv4Addr) -> Result<()> {
        let labelled = format!("{device}:{label}");
        self.inside(move || {
            let mut own = request(&labelled)?;
            own.ifr_ifru.ifru_addr = ipv4(address);
            control(&socket()?, libc::SIOCSIFADDR, &mut own).with_context(|| format!("address {address}"))
        })
    }

    /// Opens a connection from inside the namespace; the stream works everywhere. Blocks.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        self.inside(move || {
            TcpStream::connect_timeout(&to, CONNECT_TIMEOUT).with_context(|| format!("connecting to {to}"))
        })
    }

    /// Listens inside the namespace; the listener works everywhere.
    ///
    /// # Errors
    /// When the address is taken or not there.
    pub fn listen(&self, at: SocketAddr) -> Result<TcpListener> {
        self.inside(move || TcpListener::bind(at).with_context(|| format!("listening at {at}")))
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

fn set_up(socket: &OwnedFd, name: &str, up: bool) -> Result<()> {
    let mut request = request(name)?;
    let flags = if up { libc::IFF_UP | libc::IFF_RUNNING } else { 0 };
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags)?;
    control(socket, libc::SIOCSIFFLAGS, &mut request).context("up or down")
}

fn open_tunnel(device: &str) -> Result<OwnedFd> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let descriptor = OwnedFd::from(file);
    let mut request = request(device)?;
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

fn configure(socket: &OwnedFd, device: &str, address: Ipv4Addr, mask: Ipv4Addr, mtu_bytes: i32) -> Result<()> {
    let mut own = request(device)?;
    own.ifr_ifru.ifru_addr = ipv4(address);
    control(socket, libc::SIOCSIFADDR, &mut own).context("address")?;
    let mut netmask = request(device)?;
    netmask.ifr_ifru.ifru_netmask = ipv4(mask);
    control(socket, libc::SIOCSIFNETMASK, &mut netmask).context("netmask")?;
    let mut size = request(device)?;
    size.ifr_ifru.ifru_mtu = mtu_bytes;
    control(socket, libc::SIOCSIFMTU, &mut size).context("MTU")?;
    set_up(socket, device, true)
}
