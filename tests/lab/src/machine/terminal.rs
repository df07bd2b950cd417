//! An operator's shell on a machine: bash at a real terminal, so that programs ask for passwords and consent as they do.
//!
//! ```text
//!   command --> pseudo-terminal --> bash --> program
//!   output  <-- until bash prints the mark of the end; a question at the end of the output is answered
//! ```

use super::{Machine, Process};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(100);
/// How often the output is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How bash says that a command has ended; followed by its exit code.
const MARK: &str = "\u{1}lab-end ";

/// What the operator answers when the output ends with a question that contains a text.
#[derive(Clone, Debug)]
pub struct Reply {
    /// A part of the question.
    pub question: String,
    /// What is typed, without the line feed.
    pub answer: String,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything that it printed, on either stream.
    pub text: String,
    /// Its exit code.
    pub code: i32,
}

/// A shell that keeps its variables and its directory between commands.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    bash: Child,
    /// What is answered to questions.
    pub replies: Vec<Reply>,
}

impl Terminal {
    /// Root's shell in `/root`.
    ///
    /// # Errors
    /// When there is no terminal to be had.
    pub fn open(machine: &Machine) -> Result<Self> {
        let (master, slave) = pair()?;
        let mut command = Command::new("/bin/bash");
        let process = Process { directory: Some("/root".into()), terminal: true, ..Process::default() };
        machine.enter(&mut command, &process)?;
        command
            .args(["--noprofile", "--norc", "--noediting"])
            .env("HOME", "/root")
            .env("TERM", "dumb")
            .env("PS1", "")
            .env("PS2", "")
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave);
        let bash = command.spawn().context("bash")?;
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone()?;
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        std::thread::Builder::new().name("lab-terminal".into()).spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when the last process at the terminal has ended.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                if let Ok(mut shown) = shown.lock() {
                    shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            }
        })?;
        Ok(Self { keyboard, screen, bash, replies: Vec::new() })
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it does not end in time, or asks what nobody answers.
    pub async fn run(&mut self, command: &str) -> Result<Outcome> {
        self.begin(command)?;
        let mut looked = Looked::default();
        let started = Instant::now();
        loop {
            let text = self.shown()?;
            if let Some((text, rest)) = text.split_once(MARK)
                && let Some((code, _)) = rest.split_once('\n')
            {
                return Ok(Outcome { text: text.to_owned(), code: code.trim().parse()? });
            }
            self.reply(&text, &mut looked)?;
            ensure!(started.elapsed() < COMMAND_MAX, "`{command}` does not end, and says:\n{text}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Runs a command that stays, until it has printed a text; ends it with Ctrl-C then.
    ///
    /// # Errors
    /// When it ends before, or does not end after.
    pub async fn run_until(&mut self, command: &str, says: &str) -> Result<Outcome> {
        self.begin(command)?;
        let mut looked = Looked::default();
        let (started, mut interrupted) = (Instant::now(), false);
        loop {
            let text = self.shown()?;
            if let Some((text, rest)) = text.split_once(MARK)
                && let Some((code, _)) = rest.split_once('\n')
            {
                ensure!(interrupted, "`{command}` ended with {code} before it said `{says}`:\n{text}");
                return Ok(Outcome { text: text.to_owned(), code: code.trim().parse()? });
            }
            if !interrupted && text.contains(says) {
                interrupted = true;
                // The terminal turns this into SIGINT for the foreground process.
                self.keyboard.write_all(b"\x03")?;
            }
            self.reply(&text, &mut looked)?;
            ensure!(started.elapsed() < COMMAND_MAX, "`{command}` does not say `{says}`, but:\n{text}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn begin(&mut self, command: &str) -> Result<()> {
        ensure!(self.bash.try_wait()?.is_none(), "the shell has ended:\n{}", self.shown()?);
        match self.screen.lock() {
            Ok(mut screen) => screen.clear(),
            Err(_) => bail!("the terminal's reader panicked"),
        }
        // One compound command: bash reads it whole before the program can read from the terminal. Ctrl-C ends the
        // program, and the mark is printed all the same.
        let line = format!("{{ {command}\n}}; printf '\\001lab-end %s\\n' \"$?\"\n");
        Ok(self.keyboard.write_all(line.as_bytes())?)
    }

    fn shown(&self) -> Result<String> {
        match self.screen.lock() {
            Ok(screen) => Ok(screen.clone()),
            Err(_) => bail!("the terminal's reader panicked"),
        }
    }

    /// Answers a question that stands at the end of the output, once.
    fn reply(&mut self, text: &str, looked: &mut Looked) -> Result<()> {
        let last = text.rsplit('\n').next().unwrap_or_default();
        if text.len() == looked.answered || last.is_empty() {
            return Ok(());
        }
        if !last.ends_with(' ') {
            return Ok(());
        }
        // A line can hold a question that was answered, and the next one behind it.
        let asked = |reply: &&Reply| last.rfind(&reply.question);
        let reply = self.replies.iter().filter(|reply| asked(reply).is_some()).max_by_key(asked);
        if let Some(reply) = reply {
            looked.answered = text.len();
            self.keyboard.write_all(format!("{}\n", reply.answer).as_bytes())?;
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What the operator left running gets SIGHUP with its terminal.
        drop(self.bash.kill().and_then(|()| self.bash.wait().map(drop)));
    }
}

/// How far the output was answered.
#[derive(Default)]
struct Looked {
    answered: usize,
}

/// A pseudo-terminal that neither repeats what is typed nor changes line ends.
fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: `termios` is plain data for which zeroes are valid; `openpty` fills the two descriptors.
    let (opened, mut modes) = unsafe {
        let opened = libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        );
        (opened, std::mem::zeroed::<libc::termios>())
    };
    ensure!(opened == 0, "a pseudo-terminal: {}", std::io::Error::last_os_error());
    // SAFETY: both descriptors were just made and belong to nobody else.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for descriptor in [&master, &slave] {
        // SAFETY: the descriptor is open.
        let set = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        ensure!(set == 0, "close on exec: {}", std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor is a terminal, and the structure lives during both calls.
    let set = unsafe {
        libc::tcgetattr(slave.as_raw_fd(), &raw mut modes);
        modes.c_lflag &= !(libc::ECHO | libc::ECHONL);
        modes.c_oflag &= !libc::OPOST;
        libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &raw const modes)
    };
    ensure!(set == 0, "modes of a terminal: {}", std::io::Error::last_os_error());
    Ok((master, slave))
}
