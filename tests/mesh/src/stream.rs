//! Probe packets as messages of a TCP or multipath TCP connection.

use crate::{
    probe::{Ends, PAYLOAD_BYTES, Transport},
    realtime::now_ns,
};
use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::fd::{AsRawFd as _, RawFd},
};

/// `IPPROTO_MPTCP`
const MPTCP: i32 = 262;
/// Holds what an outage of ten seconds keeps back.
const SEND_BUFFER_BYTES: usize = 4 << 20;

/// One end of a connection that carries messages of [`PAYLOAD_BYTES`].
#[derive(Debug)]
pub struct Messages {
    socket: Socket,
    /// The rest of a message that the system took a part of.
    rest: Vec<u8>,
    /// The part of a message that has arrived.
    part: Vec<u8>,
}

impl Messages {
    /// Connects `a` with `b`.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn pair(ends: &Ends) -> Result<[Self; 2]> {
        let at = SocketAddr::new(ends.b.1, 0);
        let protocol = if ends.transport == Transport::Mptcp { Protocol::from(MPTCP) } else { Protocol::TCP };
        let domain = Domain::for_address(at);
        let listener = ends.b.0.inside(move || {
            let listener = Socket::new(domain, Type::STREAM, Some(protocol)).context("a stream socket")?;
            listener.bind(&SockAddr::from(at)).with_context(|| format!("listening at {at}"))?;
            listener.listen(1)?;
            Ok(listener)
        })?;
        let to = listener.local_addr()?.as_socket().context("an address of the listener")?;
        let near = ends.a.0.inside(move || {
            let socket = Socket::new(domain, Type::STREAM, Some(protocol)).context("a stream socket")?;
            socket.connect(&SockAddr::from(to)).with_context(|| format!("connecting to {to}"))?;
            Ok(socket)
        })?;
        let far = listener.accept()?.0;
        Ok([Self::new(near)?, Self::new(far)?])
    }

    fn new(socket: Socket) -> Result<Self> {
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, rest: Vec::new(), part: Vec::new() })
    }

    /// The descriptor, for waiting.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Sends a message; whether the system took it, now or in parts.
    pub fn send(&mut self, message: &[u8]) -> bool {
        if self.rest.is_empty() {
            return match self.socket.write(message) {
                Ok(taken) => {
                    self.rest.extend_from_slice(&message[taken..]);
                    true
                }
                Err(_) => false,
            };
        }
        let taken = self.socket.write(&self.rest).unwrap_or(0);
        self.rest.drain(..taken);
        // A message after an unfinished one would have to wait in this process, which is not what is measured.
        self.rest.is_empty() && self.send(message)
    }

    /// Hands out the messages that have arrived, with the time of reading.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn receive(&mut self, mut arrived: impl FnMut(&[u8], u64)) -> Result<()> {
        let mut buffer = [0; 32 * PAYLOAD_BYTES];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).context("the stream of probes"),
                Ok(bytes) => self.part.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the stream of probes"),
            }
        }
        let now = now_ns();
        let whole = self.part.len() / PAYLOAD_BYTES * PAYLOAD_BYTES;
        for message in self.part[..whole].chunks_exact(PAYLOAD_BYTES) {
            arrived(message, now);
        }
        self.part.drain(..whole);
        Ok(())
    }
}
