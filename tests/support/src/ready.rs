//! The READY line that the product's programs print when they serve.

use serde_json::Value;
use std::{
    io::{BufReader, Read},
    sync::mpsc,
    time::Duration,
};

/// What a program prints before the JSON.
const MARK: &str = "READY ";

/// A READY line that is waited for.
#[derive(Debug)]
pub struct Ready(mpsc::Receiver<Result<Value, String>>);

impl Ready {
    /// Reads a program's standard output until the line comes, and on until it ends: a full pipe, or a closed one,
    /// would end the program at a later print.
    pub fn of(stdout: impl Read + Send + 'static) -> Self {
        let (found, wanted) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            // The receiver is gone when nobody waits any more; then nobody needs the line.
            let _ = found.send(find(&mut lines));
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
        });
        Self(wanted)
    }

    /// Waits for the line.
    ///
    /// # Errors
    /// When the program ends without it, prints no JSON, or takes longer.
    pub fn wait(self, within: Duration) -> Result<Value, String> {
        self.0.recv_timeout(within).unwrap_or_else(|_| Err(format!("it was not ready in {within:?}")))
    }
}

fn find(lines: &mut impl std::io::BufRead) -> Result<Value, String> {
    loop {
        let mut line = String::new();
        let read = lines.read_line(&mut line).map_err(|error| format!("its output does not read: {error}"))?;
        if let Some(json) = line.strip_prefix(MARK) {
            return serde_json::from_str(json).map_err(|error| format!("READY without JSON: {error}"));
        }
        if read == 0 {
            return Err("it ended before it was ready".to_owned());
        }
    }
}

/// Sends a signal to a process that the caller started and has not waited for, so that the id is its own.
///
/// # Errors
/// What the system says.
pub fn signal(pid: u32, signal: libc::c_int) -> std::io::Result<()> {
    let pid = i32::try_from(pid).map_err(std::io::Error::other)?;
    // SAFETY: `kill` has no memory preconditions.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
