//! Programs of the systems under test: started inside a namespace, ended with the lab however it ends.

use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use x0_test_support::netns::Namespace;

/// How long a program gets for something that takes it a fraction of that.
const PATIENCE: Duration = Duration::from_secs(40);
/// What of a log a failure shows.
const LOG_TAIL_BYTES: usize = 1_500;

/// A running program; it is killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a command inside a namespace, with its output in `NAME.log` of a folder. The kernel kills it when the
    /// thread that started it ends, so labs start programs from threads that live as long as they do.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(namespace: &Namespace, name: &str, folder: &Path, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        namespace.enter(command);
        die_with_parent(command);
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of its log when it has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}): {}", self.name, self.tail());
        }
        Ok(())
    }

    /// Waits until something is so, while the program runs.
    ///
    /// # Errors
    /// When it does not become so, or the program ends.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so()? {
            self.check()?;
            ensure!(Instant::now() < deadline, "{}: in vain: {what}; its log ends: {}", self.name, self.tail());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(text).trim().to_owned()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is no more.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: no pointers. The child is not yet waited for, so the id is its own.
        let result = unsafe { libc::kill(pid, signal) };
        ensure!(result == 0, "signalling {}: {}", self.name, io::Error::last_os_error());
        Ok(())
    }

    /// Processor time that it has used, user and system, microseconds.
    ///
    /// # Errors
    /// When the process is no more.
    pub fn processor_us(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces; it ends with the last parenthesis. Fields 14 and 15 of the whole line.
        let rest = text.rsplit_once(')').context("a process's stat line")?.1;
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|word| word.parse().unwrap_or(0)).sum();
        // SAFETY: no pointers.
        let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
        Ok(ticks * 1_000_000 / per_second.max(1))
    }

    /// Resident memory, KiB.
    ///
    /// # Errors
    /// When the process is no more.
    pub fn resident_kib(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a line VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Ends it at once and waits for its end.
    pub fn kill(&mut self) {
        // Already ended is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lets the kernel kill the process when the thread that starts it ends, even by SIGKILL.
pub fn die_with_parent(command: &mut Command) {
    let parent = libc::pid_t::try_from(std::process::id()).unwrap_or(0);
    // SAFETY: the closure makes two system calls without pointers, which is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// First letters of the names of labs' folders, before the id of the lab's process.
const FOLDER: &str = "x0-mesh-lab-";

/// A folder for the files of a lab, removed with it. Those of labs that were killed are removed here: their names hold
/// the id of a process that is no more.
///
/// # Errors
/// When it cannot be made.
pub fn folder() -> Result<TempDir> {
    for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(FOLDER).and_then(|rest| rest.split_once('-')).map(|(owner, _)| owner);
        if let Some(owner) = owner
            && owner.parse::<u32>().is_ok()
            && !Path::new("/proc").join(owner).exists()
        {
            // Another lab may remove it at the same time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", std::process::id())).tempdir()?)
}

/// Where a program is, in `PATH` or in the folder of tools that `scripts/setup rivals` fills.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    folders.extend(cache.map(|cache| cache.join("x0tta6bl4/tools/bin")));
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The first line that matches what a program prints about its version, whichever stream and exit code it uses.
///
/// # Errors
/// When it cannot be run or prints nothing.
pub fn version(program: &Path, arguments: &[&str], contains: &str) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text
        .lines()
        .find(|line| line.contains(contains))
        .with_context(|| format!("{} {} prints no line with {contains:?}", program.display(), arguments.join(" ")))?;
    Ok(line.trim().to_owned())
}

/// Busy loops, for measuring on a machine that has no time. They end when dropped.
#[derive(Debug)]
pub struct Hogs(Vec<Child>);

impl Hogs {
    /// Starts so many.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(count: usize) -> Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            die_with_parent(&mut command);
            hogs.0.push(command.spawn().context("a busy loop")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}
