//! Gives up what the agent does not need, before it listens to anybody.
//!
//! ```text
//!   confine --> capabilities: network, BPF and scheduling stay, the rest goes and cannot come back
//!           --> Landlock:     files of the agent and a few of the system, nothing else
//!           --> seccomp:      no programs, no mounts, no other processes, no raw sockets
//! ```
//!
//! An error in a parser of datagrams then hands an attacker a process that cannot read keys of others, run a
//! program or listen to the wire, even when the agent was started as root.
//!
//! # Correctness
//! All three belong to the calling thread and pass on to threads and processes that it starts. [`confine`] is
//! therefore called while the process has one thread, and refuses otherwise. None of the three can be undone.
//!
//! # Limits
//! The list of system calls is one of refusals: a call that the kernel gains later is allowed. What is open
//! stays open.
//!
//! # Errors
//! [`PrivilegeError`]. A kernel without Landlock or seccomp is no error but a [`Measure`] that says so, which
//! the caller shows and warns about: such a machine is as safe as it was before.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Capabilities that stay where they are held: interfaces, routes and tunnels; BPF programs, which need two
/// besides; real-time priority; memory that is not paged out.
const KEPT: [Capability; 5] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_NICE,
    Capability::CAP_IPC_LOCK,
];

/// What name resolution, clocks, the number of CPUs and the kernel's settings are read from.
const SYSTEM_FILES: [&str; 14] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/services",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/run/systemd/resolve",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/proc",
    "/sys/class/net",
    "/sys/devices",
];
/// Devices that are read, written and set up.
const DEVICES: [&str; 2] = ["/dev/net/tun", "/dev/null"];

/// The newest rules on files that are asked for; older kernels know fewer of them.
const LANDLOCK: ABI = ABI::V5;

/// Why the agent does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivilegeError {
    /// Other threads would keep their rights.
    #[error("rights can be given up while there is one thread; there are {count}")]
    Threads {
        /// Threads of this process.
        count: usize,
    },
    /// The process does not know its threads.
    #[error("the threads of this process cannot be counted: {0}")]
    Count(io::Error),
    /// A file or folder that the agent needs is not there.
    #[error("{} cannot be opened: {reason}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// Capabilities cannot be given up.
    #[error("capabilities cannot be given up: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The rules on files are not taken.
    #[error("the rules on files are not taken: {0}")]
    Files(#[from] landlock::RulesetError),
    /// The list of system calls is not taken.
    #[error("the list of system calls is not taken: {0}")]
    Calls(#[from] seccompiler::Error),
}

/// What the agent keeps of the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files and folders that are read, with all below them.
    pub read: Vec<PathBuf>,
    /// Folders that are read and written, with all below them.
    pub write: Vec<PathBuf>,
}

/// How far one of the three took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// As far as it goes.
    Full,
    /// In part, because the kernel is older.
    Partial(&'static str),
    /// Not at all, because the kernel has nothing of the kind.
    Absent(&'static str),
}

/// What took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confined {
    /// Names of the capabilities that are left, in order.
    pub capabilities: Vec<String>,
    /// The rules on files.
    pub files: Measure,
    /// The list of system calls.
    pub calls: Measure,
}

impl Confined {
    /// What an operator should know: one line for each measure that did not take full effect.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        [("file access is", &self.files), ("system calls are", &self.calls)]
            .into_iter()
            .filter_map(|(what, measure)| match measure {
                Measure::Full => None,
                Measure::Partial(why) => Some(format!("{what} confined in part: {why}")),
                Measure::Absent(why) => Some(format!("{what} not confined: {why}")),
            })
            .collect()
    }
}

/// Gives up everything that the agent does not need, for this process and for good. Call it before any
/// thread is started; [`Confined::warnings`] belong in the log and the status.
///
/// # Errors
/// [`PrivilegeError`]; what had taken effect before stays in effect.
pub fn confine(files: &Files) -> Result<Confined, PrivilegeError> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(PrivilegeError::Count)?.count();
    if threads != 1 {
        return Err(PrivilegeError::Threads { count: threads });
    }
    confine_thread(files)
}

/// As [`confine`], for this thread and those that it starts.
fn confine_thread(files: &Files) -> Result<Confined, PrivilegeError> {
    let capabilities = drop_capabilities()?;
    let files = restrict_files(files)?;
    let calls = restrict_calls()?;
    Ok(Confined { capabilities, files, calls })
}

/// Drops all capabilities but [`KEPT`], from every set from which they could come back.
fn drop_capabilities() -> Result<Vec<String>, PrivilegeError> {
    let kept: HashSet<Capability> = KEPT.into_iter().collect();
    let left: HashSet<Capability> = &caps::read(None, CapSet::Permitted)? & &kept;
    // Only who may change the bounding set can regain something through it, by starting another program.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &left)?;
    caps::set(None, CapSet::Permitted, &left)?;
    let mut names: Vec<String> = left.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(names)
}

/// Allows the given files and those of the system, and nothing else.
fn restrict_files(files: &Files) -> Result<Measure, PrivilegeError> {
    let all = AccessFs::from_all(LANDLOCK);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Neither programs nor devices are made or run.
    let write = all & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?.create()?;
    for path in SYSTEM_FILES {
        ruleset = allow_if_there(ruleset, Path::new(path), read)?;
    }
    for path in DEVICES {
        ruleset = allow_if_there(ruleset, Path::new(path), device)?;
    }
    for (paths, access) in [(&files.read, read), (&files.write, write)] {
        for path in paths {
            let opened = PathFd::new(path)
                .map_err(|error| PrivilegeError::Folder { path: path.clone(), reason: error.to_string() })?;
            ruleset = ruleset.add_rule(PathBeneath::new(opened, fitting(path, access)))?;
        }
    }
    Ok(match ruleset.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Measure::Full,
        RulesetStatus::PartiallyEnforced => Measure::Partial("the kernel's Landlock is older than Linux 6.10"),
        RulesetStatus::NotEnforced => Measure::Absent("the kernel has no Landlock, or it is switched off"),
    })
}

fn allow_if_there(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, PrivilegeError> {
    match PathFd::new(path) {
        Ok(opened) => Ok(ruleset.add_rule(PathBeneath::new(opened, fitting(path, access)))?),
        // A machine without it has no use for it either.
        Err(_) => Ok(ruleset),
    }
}

/// The rights that a file can have; folders can have all.
fn fitting(path: &Path, access: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK) }
}

/// System calls that the agent never makes, and that an intruder would.
const REFUSED: [libc::c_long; 47] = [
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_personality,
    // Mounts, roots and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_quotactl,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    // Keys of the kernel, and interfaces with a history of faults that the agent has no use for.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Bits of a socket's type that are flags (`SOCK_CLOEXEC`, `SOCK_NONBLOCK`) are above these.
const SOCKET_TYPE: u64 = 0xf;

/// Refuses [`REFUSED`] and raw sockets with "operation not permitted".
fn restrict_calls() -> Result<Measure, PrivilegeError> {
    let Ok(arch) = std::env::consts::ARCH.try_into() else {
        return Ok(Measure::Absent("no list of system calls exists for this kind of processor"));
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let packet = condition(0, SeccompCmpOp::Eq, libc::AF_PACKET)?;
    let mut sockets = vec![rule(vec![packet])?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        let raw = condition(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), libc::SOCK_RAW)?;
        sockets.push(rule(vec![condition(0, SeccompCmpOp::Eq, family)?, raw])?);
    }
    rules.insert(libc::SYS_socket, sockets);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(seccompiler::Error::from)?;
    let program: BpfProgram = filter.try_into().map_err(seccompiler::Error::from)?;
    match seccompiler::apply_filter(&program) {
        Ok(()) => Ok(Measure::Full),
        Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
        {
            Ok(Measure::Absent("the kernel has no seccomp filters"))
        }
        Err(error) => Err(error.into()),
    }
}

fn condition(argument: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompCondition, PrivilegeError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value.unsigned_abs()))
        .map_err(|error| seccompiler::Error::from(error).into())
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, PrivilegeError> {
    SeccompRule::new(conditions).map_err(|error| seccompiler::Error::from(error).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        io::ErrorKind,
        net::{TcpListener, TcpStream, UdpSocket},
        process::Command,
    };

    /// Folders of the test for its child: read, write, and one outside.
    const FOLDERS: &str = "X0_PRIVILEGE_TEST_FOLDERS";

    fn errno(result: libc::c_long) -> Option<i32> {
        (result < 0).then(|| io::Error::last_os_error().raw_os_error().unwrap())
    }

    fn socket(family: i32, kind: i32) -> Option<i32> {
        // SAFETY: takes numbers; a descriptor that it returns is closed at once.
        unsafe {
            let descriptor = libc::socket(family, kind | libc::SOCK_CLOEXEC, 0);
            let refused = errno(descriptor.into());
            libc::close(descriptor);
            refused
        }
    }

    /// What the confined process does; as a test of its own it does nothing.
    #[test]
    fn child() {
        let Ok(folders) = std::env::var(FOLDERS) else { return };
        let base = PathBuf::from(folders);
        let (read, write, outside) = (base.join("read"), base.join("write"), base.join("outside"));
        let confined = confine_thread(&Files { read: vec![read.clone()], write: vec![write.clone()] }).unwrap();
        println!("{confined:?}");
        check_capabilities(&confined);
        if confined.files != Measure::Absent("the kernel has no Landlock, or it is switched off") {
            check_files(&read, &write, &outside);
        }
        assert_eq!(confined.calls, Measure::Full);
        check_calls();
        check_what_an_agent_does(&write);
        // Threads that start later are confined as well.
        std::thread::spawn(|| assert!(Command::new("/bin/true").status().is_err())).join().unwrap();
        println!("\nconfined");
    }

    fn check_capabilities(confined: &Confined) {
        let kept: HashSet<Capability> = KEPT.into_iter().collect();
        for set in [CapSet::Permitted, CapSet::Effective] {
            let left = caps::read(None, set).unwrap();
            assert!(left.is_subset(&kept), "{left:?}");
            assert_eq!(left.len(), confined.capabilities.len());
        }
        assert!(caps::read(None, CapSet::Inheritable).unwrap().is_empty());
        assert!(caps::set(None, CapSet::Permitted, &HashSet::from([Capability::CAP_SYS_ADMIN])).is_err());
    }

    fn check_files(read: &Path, write: &Path, outside: &Path) {
        let denied = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read_to_string(read.join("file")).unwrap(), "read");
        denied(fs::write(read.join("file"), "changed"));
        denied(fs::write(read.join("new"), ""));
        fs::write(write.join("new"), "written").unwrap();
        fs::rename(write.join("new"), write.join("renamed")).unwrap();
        assert_eq!(fs::read_to_string(write.join("renamed")).unwrap(), "written");
        fs::remove_file(write.join("renamed")).unwrap();
        denied(fs::read(outside.join("secret")).map(drop));
        denied(fs::read_dir(outside).map(drop));
        denied(fs::write(outside.join("new"), ""));
        denied(fs::read("/etc/passwd").map(drop));
        assert!(fs::hard_link(read.join("file"), write.join("link")).is_err(), "rights are not gained by a new name");
        // A link inside that leads outside opens nothing.
        std::os::unix::fs::symlink(outside.join("secret"), write.join("sly")).unwrap();
        denied(fs::read(write.join("sly")).map(drop));
    }

    fn check_calls() {
        assert!(Command::new("/bin/true").status().is_err(), "a program was run");
        for kind in [libc::SOCK_RAW, libc::SOCK_RAW | libc::SOCK_NONBLOCK] {
            assert_eq!(socket(libc::AF_INET, kind), Some(libc::EPERM));
            assert_eq!(socket(libc::AF_INET6, kind), Some(libc::EPERM));
        }
        assert_eq!(socket(libc::AF_PACKET, libc::SOCK_DGRAM), Some(libc::EPERM));
        // SAFETY: each call is refused before the kernel looks at its arguments, which are zeros.
        unsafe {
            for call in [libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_ptrace, libc::SYS_reboot] {
                assert_eq!(errno(libc::syscall(call, 0, 0, 0, 0, 0)), Some(libc::EPERM), "{call}");
            }
        }
    }

    fn check_what_an_agent_does(write: &Path) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        UdpSocket::bind("[::1]:0").unwrap();
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW), None, "routes are asked for over netlink");
        std::os::unix::net::UnixListener::bind(write.join("status")).unwrap();
        assert!(!fs::read_to_string("/proc/self/status").unwrap().is_empty());
        assert!(fs::read_to_string("/sys/devices/system/cpu/possible").is_ok());
        let mut random = [0u8; 8];
        // SAFETY: the call writes the bytes that it is given.
        assert_eq!(unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) }, 8);
    }

    #[test]
    fn a_confined_process_reads_its_own_and_runs_nothing() {
        let base = tempfile::tempdir().unwrap();
        for (folder, file, text) in [("read", "file", "read"), ("write", "old", ""), ("outside", "secret", "secret")] {
            fs::create_dir(base.path().join(folder)).unwrap();
            fs::write(base.path().join(folder).join(file), text).unwrap();
        }
        let own = std::thread::current().name().unwrap().to_owned();
        let name = own.replace("a_confined_process_reads_its_own_and_runs_nothing", "child");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(FOLDERS, base.path())
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && says.contains("\nconfined"), "{says}");
    }

    #[test]
    fn a_process_with_threads_and_a_missing_folder_are_refused() {
        // A test runs beside the thread that waits for it.
        assert!(matches!(confine(&Files::default()), Err(PrivilegeError::Threads { count }) if count > 1));
        let missing = Files { read: vec![PathBuf::from("/no/such/folder")], write: Vec::new() };
        let refused = std::thread::spawn(move || restrict_files(&missing)).join().unwrap();
        assert!(matches!(refused, Err(PrivilegeError::Folder { path, .. }) if path == Path::new("/no/such/folder")));
    }

    #[test]
    fn what_did_not_take_full_effect_is_said() {
        let confined = Confined {
            capabilities: Vec::new(),
            files: Measure::Absent("the kernel has no Landlock, or it is switched off"),
            calls: Measure::Full,
        };
        assert_eq!(
            confined.warnings(),
            ["file access is not confined: the kernel has no Landlock, or it is switched off"]
        );
        assert!(Confined { files: Measure::Full, ..confined }.warnings().is_empty());
    }
}
