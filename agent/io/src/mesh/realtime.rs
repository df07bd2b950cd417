//! The data thread's priority: first on the processor for liveness and switching, an ordinary process
//! for bulk data.
//!
//! ```text
//!              sleeps                wakes, works            share used up         goes on
//!   SCHED_FIFO ------> SCHED_FIFO ----------------> ... ------------------> SCHED_OTHER --+
//!        ^                                                                       |        |
//!        +---- before it sleeps, if the share has recovered ---------------------+        |
//!        +---- the watch (SCHED_FIFO, a few us): a timer is overdue -----------------------+
//! ```
//!
//! # Why so
//! Heartbeats every 2 ms are judged by neighbours within 6 ms. Under load from other processes an
//! ordinary thread wakes up to 15 ms late on a kernel that does not preempt, so that liveness needs
//! `SCHED_FIFO`. A thread that also carries gigabits at that priority stops everything else on a small
//! machine. Two threads that share the protocol's state would need a lock between a datagram and its
//! forwarding, and would invert priorities at it. So there is one thread and one owner of all state,
//! and its priority moves:
//!
//! * It sleeps and wakes with `SCHED_FIFO`. What it does between wake-ups is charged to a share of each
//!   [`PERIOD_NS`]. An idle or lightly loaded node never uses it up.
//! * When the share is used up, the thread goes on as `SCHED_OTHER`: bulk data competes like any process.
//! * From then on the *watch*, a thread that does nothing else, sleeps until the next timer of the
//!   protocol. If the timer is [`GRACE_NS`] overdue, because the data thread waits for a processor, the
//!   watch gives it `SCHED_FIFO` back: it finishes its turn, whose length is bounded, runs the timer and
//!   returns to `SCHED_OTHER`.
//!
//! # Measured
//! `cargo run --release -p x0-agent-io --example stream -- --hogs 4 --priority P`, both agents, one TCP stream
//! and four computing threads on two processors that builds kept at a load of 10 to 20; how late the
//! sender's timers ran, of 2,000 to 3,000 each:
//!
//! | priority | within 0.5 ms | within 2 ms | latest | stream | hogs' work |
//! |---|---|---|---|---|---|
//! | `Normal` | 33 % | 70 % | 32 ms | 1.7 Gbit/s | 100 % |
//! | `Bounded` | 95 % | all | 2 ms | 2.2 Gbit/s | 100 % |
//! | `Always` | 99 % | all but one | 8 ms | 2.7 Gbit/s | 50 % |
//!
//! # Limits
//! Ahead of others runs at most the share plus one bounded turn for each timer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use x0_mesh::Time;

use crate::mesh::{
    config::Priority,
    error::{MeshIoError, Result},
    sys::{self, Waker},
};

/// The time over which the share is counted.
pub const PERIOD_NS: u64 = 10_000_000;
/// How overdue a timer is before the watch helps: more than an undisturbed turn is late, and little
/// against the 2 ms between heartbeats.
pub const GRACE_NS: u64 = 200_000;
/// `SCHED_FIFO` priority of the data thread: above ordinary real-time work, below the kernel's threads.
const FIFO_DATA: libc::c_int = 50;
/// The watch must run while the data thread is at [`FIFO_DATA`].
const FIFO_WATCH: libc::c_int = 51;
/// A share that has recovered this much is worth two system calls.
const WORTHWHILE_NS: i64 = 100_000;
/// The longest that the watch sleeps without looking.
const WATCH_SLEEP_NS: u64 = 20_000_000;
/// Bits of `CapEff` in `/proc/self/status` (`include/uapi/linux/capability.h`).
const CAP_IPC_LOCK: u32 = 14;

/// What the system grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PriorityReport {
    /// The data thread may use `SCHED_FIFO`.
    pub realtime: bool,
    /// The process's pages stay in memory.
    pub memory_locked: bool,
    /// What is missing and what follows from it, one sentence each.
    pub warnings: Vec<String>,
}

/// Finds out what the system grants, and locks memory where that is wanted.
#[must_use]
pub fn prepare(priority: Priority, lock_memory: bool) -> PriorityReport {
    let mut report = PriorityReport::default();
    if priority != Priority::Normal {
        match probe() {
            Ok(()) => report.realtime = true,
            Err(error) => report.warnings.push(format!(
                "no SCHED_FIFO ({error}): under load from other processes links fail over in 20 ms instead of 10 \
                 (CAP_SYS_NICE is needed, and real-time budget in the control group where the kernel has \
                 RT_GROUP_SCHED: cpu.rt_runtime_us)"
            )),
        }
    }
    if lock_memory {
        match lock() {
            Ok(()) => report.memory_locked = true,
            Err(reason) => report.warnings.push(format!(
                "memory is not locked ({reason}): a page that was swapped out can stall the links (CAP_IPC_LOCK is \
                 needed)"
            )),
        }
    }
    report
}

/// Whether a thread of this process may be real-time, tried on one that ends at once.
fn probe() -> io::Result<()> {
    let tried = std::thread::Builder::new().name("x0-mesh-probe".into()).spawn(|| set_fifo(0, FIFO_WATCH))?;
    tried.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

fn lock() -> Result<(), String> {
    // With a limit, locked memory of the future makes allocations fail: worse than a page fault.
    let unlimited = capability(CAP_IPC_LOCK) || locked_limit() == libc::RLIM_INFINITY;
    if !unlimited {
        return Err("RLIMIT_MEMLOCK is finite".into());
    }
    // SAFETY: the call takes no pointers and changes no contents of memory.
    sys::check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
        .map(drop)
        .map_err(|error| error.to_string())
}

fn locked_limit() -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which lives during it.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    limit.rlim_cur
}

/// Whether the process has an effective capability.
fn capability(bit: u32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_some_and(|bits| bits >> bit & 1 == 1)
}

fn set_scheduler(thread: libc::pid_t, policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // Threads that this one starts are ordinary.
    let policy = policy | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the call reads one `sched_param`, which lives during it.
    sys::check(unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) }).map(drop)
}

fn set_fifo(thread: libc::pid_t, priority: libc::c_int) -> io::Result<()> {
    set_scheduler(thread, libc::SCHED_FIFO, priority)
}

/// What data thread and watch share: four numbers, no protocol state.
#[derive(Debug)]
struct Shared {
    data_thread: AtomicI32,
    /// The protocol's next timer, nanoseconds; the largest number for none.
    deadline_ns: AtomicU64,
    /// Until when the watch sleeps; whoever moves the timer before that wakes it.
    sleeps_until_ns: AtomicU64,
    /// The data thread has made itself ordinary; only that thread writes it, *before* it does so: from then
    /// on it may lose the processor at any moment.
    lowered: AtomicBool,
    /// The watch has raised the data thread, which does not know it yet.
    rescued: AtomicBool,
    stop: AtomicBool,
    rescues: AtomicU64,
    waker: Waker,
}

impl Shared {
    fn watch(&self) {
        while !self.stop.load(Ordering::Acquire) {
            if !self.lowered.load(Ordering::Acquire) {
                self.waker.wait();
                self.waker.clear();
                continue;
            }
            let now_ns = sys::now().0;
            let deadline_ns = self.deadline_ns.load(Ordering::SeqCst);
            let due_ns = deadline_ns.saturating_add(GRACE_NS).min(now_ns.saturating_add(WATCH_SLEEP_NS));
            if now_ns < due_ns {
                self.sleeps_until_ns.store(due_ns, Ordering::SeqCst);
                // A timer that moved before the store has not seen it; one that moves after it wakes the watch.
                if self.deadline_ns.load(Ordering::SeqCst) == deadline_ns {
                    self.waker.wait_for(Duration::from_nanos(due_ns - now_ns));
                    self.waker.clear();
                }
                self.sleeps_until_ns.store(0, Ordering::SeqCst);
                continue;
            }
            self.rescues.fetch_add(1, Ordering::Relaxed);
            self.rescued.store(true, Ordering::SeqCst);
            // Rights do not go away while the process runs; if they do, the data thread is what it was.
            let _ = set_fifo(self.data_thread.load(Ordering::Acquire), FIFO_DATA);
            // The data thread may have been about to make itself ordinary: if the timer has not run after
            // another while, it is raised again.
            std::thread::sleep(Duration::from_nanos(GRACE_NS));
        }
    }
}

/// Moves the data thread's priority. Lives on that thread.
#[derive(Debug)]
pub struct Governor {
    priority: Priority,
    realtime: bool,
    /// Real-time now, as far as this thread did it itself.
    raised: bool,
    /// When the present charge began.
    since: Time,
    refilled: Time,
    share_ns: i64,
    tokens_ns: i64,
    demotions: u64,
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

impl Governor {
    /// Takes over the calling thread, and starts the watch where it is needed.
    ///
    /// # Errors
    /// [`MeshIoError::System`] when the watch cannot be started.
    pub fn start(priority: Priority, report: &PriorityReport) -> Result<Self> {
        // Ordinary threads wake up to 50 us late on purpose; not this one.
        // SAFETY: the call takes numbers only.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        // SAFETY: the call takes no arguments.
        let thread = unsafe { libc::gettid() };
        let shared = Arc::new(Shared {
            data_thread: AtomicI32::new(thread),
            deadline_ns: AtomicU64::new(u64::MAX),
            sleeps_until_ns: AtomicU64::new(0),
            lowered: AtomicBool::new(false),
            rescued: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            rescues: AtomicU64::new(0),
            waker: Waker::new()?,
        });
        let realtime = report.realtime && priority != Priority::Normal;
        let share_permille = if let Priority::Bounded { share_permille } = priority { share_permille } else { 1_000 };
        let now = sys::now();
        let share_ns = i64::from(share_permille);
        let mut governor = Self {
            priority,
            realtime,
            raised: false,
            since: now,
            refilled: now,
            share_ns,
            tokens_ns: 0,
            demotions: 0,
            shared,
            watch: None,
        };
        if realtime {
            governor.raise(now);
            if matches!(priority, Priority::Bounded { .. }) {
                governor.watch = Some(watch(&governor.shared)?);
            }
        }
        Ok(governor)
    }

    /// Before the thread waits for descriptors: `sleeps` says whether it waits at all, `deadline` when it
    /// must run next.
    pub fn before_wait(&mut self, now: Time, sleeps: bool, deadline: Option<Time>) {
        if !self.is_bounded() {
            return;
        }
        self.publish(deadline.map_or(u64::MAX, |deadline| deadline.0));
        self.refill(now);
        if self.charge(now) {
            // A timer that is due runs first.
            if self.tokens_ns <= 0 && deadline.is_none_or(|deadline| deadline > now) {
                self.lower();
            }
        } else if sleeps && self.tokens_ns >= WORTHWHILE_NS {
            self.raise(now);
        }
    }

    fn publish(&self, deadline_ns: u64) {
        self.shared.deadline_ns.store(deadline_ns, Ordering::SeqCst);
        if deadline_ns.saturating_add(GRACE_NS) < self.shared.sleeps_until_ns.load(Ordering::SeqCst) {
            self.shared.waker.wake();
        }
    }

    /// After the wait: sleeping costs nothing.
    pub fn after_wait(&mut self, now: Time) {
        self.since = now;
    }

    /// Times that the share was used up.
    #[must_use]
    pub const fn demotions(&self) -> u64 {
        self.demotions
    }

    /// Times that the watch helped.
    #[must_use]
    pub fn rescues(&self) -> u64 {
        self.shared.rescues.load(Ordering::Relaxed)
    }

    const fn is_bounded(&self) -> bool {
        self.realtime && matches!(self.priority, Priority::Bounded { .. })
    }

    fn capacity_ns(&self) -> i64 {
        i64::try_from(PERIOD_NS / 1_000).unwrap_or(0) * self.share_ns
    }

    fn refill(&mut self, now: Time) {
        let passed_ns = i64::try_from(now.since_ns(self.refilled).min(PERIOD_NS)).unwrap_or(0);
        self.refilled = now;
        self.tokens_ns = (self.tokens_ns + passed_ns * self.share_ns / 1_000).min(self.capacity_ns());
    }

    /// Charges the time since the wake-up if it was spent ahead of others; says whether it was.
    fn charge(&mut self, now: Time) -> bool {
        self.raised |= self.shared.rescued.swap(false, Ordering::SeqCst);
        if self.raised {
            let spent_ns = i64::try_from(now.since_ns(self.since)).unwrap_or(i64::MAX);
            self.tokens_ns = self.tokens_ns.saturating_sub(spent_ns).max(-self.capacity_ns());
        }
        self.since = now;
        self.raised
    }

    fn raise(&mut self, now: Time) {
        self.raised = set_fifo(0, FIFO_DATA).is_ok();
        self.shared.lowered.store(!self.raised, Ordering::SeqCst);
        self.since = now;
    }

    fn lower(&mut self) {
        self.shared.lowered.store(true, Ordering::SeqCst);
        self.shared.waker.wake();
        self.demotions += 1;
        // Lowering one's own priority needs no right.
        self.raised = set_scheduler(0, libc::SCHED_OTHER, 0).is_err();
    }
}

impl Drop for Governor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.waker.wake();
        if let Some(watch) = self.watch.take() {
            // It has nothing to fail with, and wakes from its sleep within 5 ms.
            let _ = watch.join();
        }
    }
}

fn watch(shared: &Arc<Shared>) -> Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("x0-mesh-watch".into())
        .spawn(move || {
            // The report says that this is allowed.
            let _ = set_fifo(0, FIFO_WATCH);
            shared.watch();
        })
        .map_err(|source| MeshIoError::System { call: "the watch thread", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> libc::c_int {
        // SAFETY: the call takes a number.
        unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
    }

    /// Runs on a thread of its own, because it changes its priority.
    fn alone(work: impl FnOnce() + Send + 'static) {
        std::thread::spawn(work).join().unwrap();
    }

    #[test]
    fn a_used_up_share_makes_the_thread_ordinary_and_rest_gives_it_back() {
        alone(|| {
            let report = prepare(Priority::default(), false);
            assert!(report.realtime, "this test needs the right to SCHED_FIFO: {:?}", report.warnings);
            let mut governor = Governor::start(Priority::Bounded { share_permille: 100 }, &report).unwrap();
            assert_eq!(policy(), libc::SCHED_FIFO);
            let start = sys::now();
            governor.after_wait(start);
            governor.before_wait(start.plus_ms(2), false, None);
            assert_eq!((policy(), governor.demotions()), (libc::SCHED_OTHER, 1));
            // 10 ms of rest give 1 ms back.
            governor.after_wait(start.plus_ms(3));
            governor.before_wait(start.plus_ms(13), true, None);
            governor.before_wait(start.plus_ms(23), true, None);
            assert_eq!(policy(), libc::SCHED_FIFO);
        });
    }

    #[test]
    fn the_watch_raises_a_thread_whose_timer_is_overdue() {
        alone(|| {
            let report = prepare(Priority::default(), false);
            let mut governor = Governor::start(Priority::Bounded { share_permille: 10 }, &report).unwrap();
            let start = sys::now();
            governor.after_wait(start);
            // Two milliseconds of work use up the share; the timer passes, and nobody runs it.
            governor.before_wait(start.plus_ms(2), false, Some(start.plus_ms(3)));
            assert_eq!(governor.demotions(), 1);
            while governor.rescues() == 0 {
                std::thread::yield_now();
            }
            while policy() != libc::SCHED_FIFO {
                std::thread::yield_now();
            }
            // The next wait charges the turn and gives the priority up again.
            governor.after_wait(start.plus_ms(2));
            governor.before_wait(start.plus_ms(3), false, None);
            assert_eq!((policy(), governor.demotions()), (libc::SCHED_OTHER, 2));
        });
    }

    #[test]
    fn an_ordinary_thread_stays_so() {
        alone(|| {
            let report = prepare(Priority::Normal, false);
            let mut governor = Governor::start(Priority::Normal, &report).unwrap();
            governor.before_wait(sys::now(), true, None);
            assert_eq!((policy(), report.warnings.len()), (libc::SCHED_OTHER, 0));
        });
    }
}
