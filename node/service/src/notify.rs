//! Tells systemd how the node is doing, with the datagrams of `sd_notify(3)`.
//!
//! Without `NOTIFY_SOCKET` nobody asks, and nothing is sent. The watchdog is fed as long as the process
//! answers: its threads run, and the engine's state can be read. Whether heights grow is not its business,
//! because a network that waits for its other validators is not mended by a restart.

use std::{
    ffi::OsString,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The supervisor, if there is one that listens.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The supervisor that the environment names.
    #[must_use]
    pub fn from_environment() -> Self {
        let watchdog = watchdog_interval(
            std::env::var("WATCHDOG_USEC").ok().as_deref(),
            std::env::var("WATCHDOG_PID").ok().as_deref(),
            std::process::id(),
        );
        Self::at(std::env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    /// The supervisor at this address.
    fn at(address: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let socket = address.and_then(|address| match connect(&address) {
            Ok(socket) => Some(socket),
            Err(cause) => {
                tracing::warn!(target: "x0::node", %cause, ?address, "the supervisor's socket cannot be used");
                None
            }
        });
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// How often the watchdog wants to be fed, if there is one: half of its patience.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends assignments such as `READY=1`, a line each.
    pub fn send(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(cause) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(target: "x0::node", %cause, state, "the supervisor could not be told");
        }
    }
}

fn connect(address: &OsString) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold up the node.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Half of the watchdog's patience, when it is meant for this process.
fn watchdog_interval(micros: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_is_told_at_paths_and_at_abstract_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("x0-notify-{}", std::process::id());
        let ears = [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
                OsString::from(format!("@{name}")),
            ),
        ];
        for (ear, address) in ears {
            let notifier = Notifier::at(Some(address), Some(Duration::from_secs(1)));
            assert!(notifier.watchdog().is_some());
            notifier.send("READY=1\nSTATUS=height 1");
            let mut heard = [0; 64];
            let length = ear.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1\nSTATUS=height 1");
        }
    }

    #[test]
    fn without_a_supervisor_nothing_happens() {
        let none = Notifier::at(None, Some(Duration::from_secs(1)));
        assert!(none.watchdog().is_none());
        none.send("READY=1");
        Notifier::at(Some("/nonexistent/socket".into()), None).send("READY=1");
    }

    #[test]
    fn the_watchdog_is_only_fed_by_the_process_that_it_watches() {
        assert_eq!(watchdog_interval(Some("4000000"), None, 7), Some(Duration::from_secs(2)));
        assert_eq!(watchdog_interval(Some("4000000"), Some("7"), 7), Some(Duration::from_secs(2)));
        for (micros, pid) in [(Some("4000000"), Some("8")), (None, None), (Some("0"), None), (Some("soon"), None)] {
            assert_eq!(watchdog_interval(micros, pid, 7), None);
        }
    }
}
