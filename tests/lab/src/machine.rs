//! A machine of the lab: a network namespace and a mount namespace, so that commands of the operator's manual run
//! with the very paths that they name and touch nothing of the machine beneath.
//!
//! ```text
//!   ROOT/{etc,var,usr-local,root,run}  --bind mounts-->  /etc /var /usr/local /root /run   seen from inside only
//!   [`terminal`] an operator's shell        [`service`] what systemd does with a unit, asked by [`control`]
//! ```
//!
//! The rest of the file system (programs, libraries) is the real one. `/etc` begins as a copy, so that users are made
//! in it; the other folders begin empty. Everything ends with the lab: the kernel drops the mounts with the last
//! process in them.

pub mod control;
pub mod manual;
pub mod service;
pub mod terminal;
pub mod unit;

use crate::netns::Namespace;
use anyhow::{Context as _, Result, anyhow, ensure};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Folders of a machine's own: where they lie under its root, and where the machine sees them.
const OWN: [(&str, &str); 5] =
    [("etc", "/etc"), ("var", "/var"), ("usr-local", "/usr/local"), ("root", "/root"), ("run", "/run")];
/// Where commands are looked for inside.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What a process of a machine gets beside its namespaces.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Working directory inside; `/` when absent.
    pub directory: Option<String>,
    /// Whose process it is; root's when absent.
    pub user: Option<User>,
    /// Mode bits that its files do not get.
    pub umask: Option<u32>,
    /// Most open files.
    pub open_files: Option<u64>,
    /// It gains no rights by programs with set-user-id.
    pub no_new_privileges: bool,
    /// Its standard input becomes its controlling terminal.
    pub terminal: bool,
}

/// A machine that lives as long as this.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its folders, seen from outside.
    pub root: PathBuf,
    /// Its network.
    pub network: Namespace,
    mounts: Arc<File>,
}

impl Machine {
    /// Makes a machine with a network; `names` are lines of its `/etc/hosts`.
    ///
    /// # Errors
    /// When the system does not allow it: the lab needs root.
    pub fn create(root: &Path, network: Namespace, names: &str) -> Result<Self> {
        for (folder, _) in OWN {
            std::fs::create_dir_all(root.join(folder)).with_context(|| format!("{folder} of {}", root.display()))?;
        }
        let copied = Command::new("cp").args(["-a", "/etc/."]).arg(root.join("etc")).status().context("cp")?;
        ensure!(copied.success(), "/etc cannot be copied");
        std::fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost\n{names}"))?;
        for folder in ["var/lib", "var/log", "var/backups", "var/tmp", "usr-local/bin", "etc/systemd/system"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        let binds = OWN
            .iter()
            .map(|(folder, at)| Ok((text(root.join(folder).as_os_str().as_encoded_bytes())?, text(at.as_bytes())?)))
            .collect::<Result<Vec<_>>>()?;
        let made = std::thread::Builder::new()
            .name("lab-machine".into())
            .spawn(move || own_mounts(&binds))?
            .join()
            .map_err(|_| anyhow!("the thread that makes a machine panicked"))?;
        Ok(Self { root: root.to_owned(), network, mounts: Arc::new(made?) })
    }

    /// Where a path of the machine lies, seen from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        for (folder, at) in OWN {
            if let Some(rest) = inside.strip_prefix(at).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                return self.root.join(folder).join(rest.trim_start_matches('/'));
            }
        }
        PathBuf::from(inside)
    }

    /// Puts a file into the machine, as root's and with this mode; without a copy when that is possible.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn put(&self, file: &Path, inside: &str) -> Result<()> {
        let to = self.path(inside);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if std::fs::hard_link(file, &to).is_err() {
            std::fs::copy(file, &to).with_context(|| format!("{} to {}", file.display(), to.display()))?;
        }
        Ok(())
    }

    /// The numbers of a user by name.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn user(&self, name: &str) -> Result<User> {
        let users = std::fs::read_to_string(self.path("/etc/passwd"))?;
        let line = users.lines().find(|line| line.split(':').next() == Some(name));
        let fields: Vec<&str> = line.with_context(|| format!("there is no user {name}"))?.split(':').collect();
        let number = |field: usize| -> Result<u32> { Ok(fields.get(field).context("a short line")?.parse()?) };
        Ok(User { uid: number(2)?, gid: number(3)? })
    }

    /// Lets a command run inside, with nothing of this process's environment.
    ///
    /// # Errors
    /// When the directory's name cannot be given to the system.
    pub fn enter(&self, command: &mut Command, process: &Process) -> Result<()> {
        command.env_clear().env("PATH", SEARCH_PATH).env("LANG", "C.UTF-8");
        let directory = text(process.directory.as_deref().unwrap_or("/").as_bytes())?;
        let (mounts, process) = (Arc::clone(&self.mounts), process.clone());
        self.network.enter(command);
        // SAFETY: the closure only makes system calls that are safe between fork and exec, with memory that was
        // made before; the descriptor stays open as long as the command owns the closure.
        unsafe {
            command.pre_exec(move || {
                check(libc::setns(mounts.as_raw_fd(), libc::CLONE_NEWNS))?;
                check(libc::chdir(directory.as_ptr()))?;
                if let Some(mask) = process.umask {
                    libc::umask(mask);
                }
                if let Some(files) = process.open_files {
                    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                    check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
                    // No more than the lab itself may have: systemd could raise it.
                    limit.rlim_max = limit.rlim_max.min(files);
                    limit.rlim_cur = limit.rlim_max;
                    check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
                }
                if process.terminal {
                    check(libc::setsid())?;
                    check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                }
                if let Some(user) = process.user {
                    check(libc::setgroups(1, &raw const user.gid))?;
                    check(libc::setgid(user.gid))?;
                    check(libc::setuid(user.uid))?;
                }
                if process.no_new_privileges {
                    check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
                }
                Ok(())
            });
        }
        Ok(())
    }
}

/// Gives the calling thread, which ends afterwards, mounts of its own.
fn own_mounts(binds: &[(CString, CString)]) -> Result<File> {
    // SAFETY: `unshare` changes only which namespace this thread belongs to.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }).context("a mount namespace of its own (the lab needs root)")?;
    // Nothing that is mounted from here on is seen outside.
    mount(None, c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    // All sources are opened before the first mount hides one of them, as a temporary folder in `/var/tmp` would be.
    let sources =
        binds.iter().map(|(from, to)| Ok((File::open(Path::new(from.to_str()?))?, to))).collect::<Result<Vec<_>>>()?;
    for (source, to) in &sources {
        let from = text(format!("/proc/thread-self/fd/{}", source.as_raw_fd()).as_bytes())?;
        mount(Some(&from), to, libc::MS_BIND).with_context(|| format!("{}", to.to_string_lossy()))?;
    }
    Ok(File::open("/proc/thread-self/ns/mnt")?)
}

fn mount(from: Option<&CString>, to: &std::ffi::CStr, flags: libc::c_ulong) -> Result<()> {
    let from = from.map_or(std::ptr::null(), |from| from.as_ptr());
    // SAFETY: every pointer is null or a text that ends with a zero and lives during the call.
    let mounted = unsafe { libc::mount(from, to.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    check(mounted).map(drop).with_context(|| format!("mount at {}", to.to_string_lossy()))
}

fn text(bytes: &[u8]) -> Result<CString> {
    Ok(CString::new(bytes)?)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
