//! Backpressure: a connection that does not read its answers gets no more of them.
//!
//! ```text
//!   socket --read--> jsonrpsee --call--> turn --> method --answer--> queue --write--> socket
//!      ^  closed while calls or answers      |                                  |
//!      +---- are too many, or stuck ---------+------- unsent += bytes           +-- unsent -= bytes
//! ```
//!
//! jsonrpsee starts a task for each message that it reads, and each such task keeps its answer until
//! the connection takes it. Without a bound on what is read, a peer that sends and never reads makes
//! the node hold all its answers.
//!
//! # Correctness
//! * A call begins only while fewer than [`x0_limits::RPC_UNSENT_BYTES_MAX`] bytes of answers wait, and
//!   at most [`x0_limits::RPC_CALLS_PER_CONNECTION_MAX`] are under way: what a connection holds is bounded
//!   by both.
//! * Small frames pass while an answer is being written, so that a slow reader's pongs arrive.
//! * Bytes are counted before they enter the connection's queue and given back when they do not
//!   ([`Owed`]): counted later, a fast peer's reading would come first and the count would only grow.
//! * Whatever closes the gate also opens it: each write and each end of a call wakes the reader.
//! * An unsubscription is looked up after every answer of a subscription sent before it
//!   ([`Flow::accepted`]).

use crate::traffic::Traffic;
use futures::task::AtomicWaker;
use std::{
    io::{IoSlice, Result},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, RwLock, RwLockReadGuard, Semaphore, SemaphorePermit},
};
use x0_limits::{RPC_CALLS_PER_CONNECTION_MAX, RPC_READ_WHILE_STUCK_BYTES_MAX, RPC_UNSENT_BYTES_MAX};

/// What one connection owes its peer.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Calls that may still begin.
    calls: Semaphore,
    /// Bytes of answers that the socket has not taken.
    unsent: AtomicUsize,
    /// The socket did not take the last write.
    stuck: AtomicBool,
    /// Bytes read since the socket last took a write.
    read: AtomicUsize,
    /// Wakes calls that wait for answers to leave.
    drained: Notify,
    /// Wakes the task that reads from the socket.
    reader: AtomicWaker,
    /// Shared by subscriptions between their answer and their entry in the table of subscriptions.
    accepting: RwLock<()>,
    /// Counts for all connections.
    traffic: Arc<Traffic>,
}

/// Bytes that were counted for the connection's queue; given back when dropped before [`Self::queued`].
pub(crate) struct Owed<'a> {
    flow: &'a Flow,
    bytes: usize,
}

impl<'a> Owed<'a> {
    /// Counts bytes that are about to be queued. Less than what is written is fine, more is not:
    /// nothing would ever take the difference off.
    pub(crate) fn new(flow: &'a Flow, bytes: usize) -> Self {
        flow.unsent.fetch_add(bytes, SeqCst);
        Self { flow, bytes }
    }

    /// They are in the queue: the socket takes them off.
    pub(crate) fn queued(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.flow.settle(self.bytes);
        }
    }
}

/// The right to work on one call; dropped when its answer is there.
pub(crate) struct Turn<'a> {
    flow: &'a Flow,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.flow.reader.wake();
    }
}

impl Flow {
    /// Nothing owed, and counted for nobody.
    pub(crate) fn new() -> Self {
        Self::counted(Arc::default())
    }

    /// Nothing owed.
    pub(crate) fn counted(traffic: Arc<Traffic>) -> Self {
        Self {
            calls: Semaphore::new(RPC_CALLS_PER_CONNECTION_MAX),
            unsent: AtomicUsize::new(0),
            stuck: AtomicBool::new(false),
            read: AtomicUsize::new(0),
            drained: Notify::new(),
            reader: AtomicWaker::new(),
            accepting: RwLock::new(()),
            traffic,
        }
    }

    /// Waits until a call may begin.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        // The semaphore is never closed; without a permit the bytes alone would bound the calls.
        let turn = Turn { flow: self, permit: self.calls.acquire().await.ok() };
        self.room().await;
        turn
    }

    /// Waits until the answers under way are few enough to make another.
    pub(crate) async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Registered before the look, so that a write in between is not missed.
            drained.as_mut().enable();
            if self.unsent.load(SeqCst) < RPC_UNSENT_BYTES_MAX {
                return;
            }
            drained.await;
        }
    }

    /// Marks a subscription whose answer may leave before it is entered in the table.
    pub(crate) async fn accepting(&self) -> RwLockReadGuard<'_, ()> {
        self.accepting.read().await
    }

    /// Waits until every subscription whose answer may have left is in the table. The lock is fair:
    /// later subscriptions do not delay this one.
    pub(crate) async fn accepted(&self) {
        drop(self.accepting.write().await);
    }

    /// The counters of all connections.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The socket took bytes: answers, and whatever frames them.
    fn written(&self, bytes: usize) {
        self.traffic.sent(bytes);
        self.stuck.store(false, SeqCst);
        self.read.store(0, SeqCst);
        self.settle(bytes);
    }

    /// Takes bytes off what is owed, and wakes what waits for that.
    fn settle(&self, bytes: usize) {
        let before = self.unsent.fetch_update(SeqCst, SeqCst, |unsent| Some(unsent.saturating_sub(bytes)));
        if before.is_ok_and(|before| before.saturating_sub(bytes) < RPC_UNSENT_BYTES_MAX) {
            self.drained.notify_waiters();
        }
        self.reader.wake();
    }

    /// Bytes of answers that wait.
    #[cfg(test)]
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(SeqCst)
    }

    /// Whether more requests may be read.
    fn may_read(&self) -> bool {
        let clogged = self.stuck.load(SeqCst) && self.read.load(SeqCst) >= RPC_READ_WHILE_STUCK_BYTES_MAX;
        !clogged && self.unsent.load(SeqCst) < RPC_UNSENT_BYTES_MAX && self.calls.available_permits() > 0
    }
}

/// A byte stream under a [`Flow`].
pub(crate) struct Metered<I> {
    io: I,
    flow: Arc<Flow>,
}

impl<I> Metered<I> {
    /// Puts a stream under a flow.
    pub(crate) const fn new(io: I, flow: Arc<Flow>) -> Self {
        Self { io, flow }
    }

    /// Notes how a write went.
    fn note(&self, wrote: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => self.flow.written(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.flow.stuck.store(true, SeqCst),
        }
        wrote
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Metered<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if !self.flow.may_read() {
            self.flow.reader.register(cx.waker());
            // Looked at again, because the gate may have opened before the waker stood there.
            if !self.flow.may_read() {
                return Poll::Pending;
            }
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.flow.read.fetch_add(bytes, SeqCst);
        self.flow.traffic.received(bytes);
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Metered<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.note(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // TLS keeps bytes of its own and meets a full socket here.
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_pending() {
            self.flow.stuck.store(true, SeqCst);
        } else {
            self.flow.written(0);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn answers_that_nobody_reads_stop_calls_and_requests_until_they_leave() {
        let flow = Arc::new(Flow::new());
        let (mut peer, ours) = tokio::io::duplex(4 * RPC_UNSENT_BYTES_MAX);
        let mut ours = Metered::new(ours, flow.clone());
        Owed::new(&flow, RPC_UNSENT_BYTES_MAX).queued();
        peer.write_all(b"request").await.unwrap();
        let mut request = [0u8; 7];
        assert!(ours.read(&mut request).now_or_never().is_none(), "no request is read");
        assert!(flow.turn().now_or_never().is_none(), "no call begins");
        ours.write_all(&vec![0; RPC_UNSENT_BYTES_MAX]).await.unwrap();
        ours.read_exact(&mut request).await.unwrap();
        assert!(flow.turn().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_call_that_ends_wakes_the_reader() {
        let flow = Arc::new(Flow::new());
        let (mut peer, ours) = tokio::io::duplex(64);
        let mut ours = Metered::new(ours, flow.clone());
        let mut turns = Vec::new();
        for _ in 0..RPC_CALLS_PER_CONNECTION_MAX {
            turns.push(flow.turn().await);
        }
        peer.write_all(b"request").await.unwrap();
        let reading = tokio::spawn(async move {
            let mut request = [0u8; 7];
            ours.read_exact(&mut request).await.map(|_| request)
        });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        drop(turns.pop());
        assert_eq!(&reading.await.unwrap().unwrap(), b"request");
    }

    #[tokio::test]
    async fn a_full_socket_lets_small_frames_in_and_no_flood() {
        let flow = Arc::new(Flow::new());
        let (mut peer, ours) = tokio::io::duplex(RPC_READ_WHILE_STUCK_BYTES_MAX);
        let mut ours = Metered::new(ours, flow);
        let full = vec![0; 2 * RPC_READ_WHILE_STUCK_BYTES_MAX];
        assert!(ours.write_all(&full).now_or_never().is_none(), "the peer does not read");
        let mut flood = vec![0; RPC_READ_WHILE_STUCK_BYTES_MAX];
        peer.write_all(&flood).await.unwrap();
        ours.read_exact(&mut flood).await.unwrap();
        peer.write_all(b"more").await.unwrap();
        assert!(ours.read(&mut flood).now_or_never().is_none());
        peer.read_exact(&mut flood).await.unwrap();
        ours.write_all(b"progress").await.unwrap();
        assert_eq!(ours.read(&mut flood).await.unwrap(), 4);
    }
}
