//! What goes over the RPC, counted: requests by class, errors, time, bytes, connections, subscriptions.
//!
//! ```text
//!   call --> Table: is it served? which class? --> method --> Class::note(time, error)
//!   socket -- bytes --> Traffic        connection, subscription -- begin, end --> Traffic
//! ```
//!
//! A class is the part of a method's name before the first `_` (`chain`, `market`); what nobody serves is
//! `unknown`, so that callers cannot make up classes. A batch counts as one of the class `batch`, and each of its
//! requests in its own class.

use crate::error::error;
use jsonrpsee::{
    server::Methods,
    types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use x0_rpc_types::error as code;

/// Upper bounds of the ranges in which times of answers are counted, microseconds. One more range is above the last.
pub const LATENCY_BOUNDS_US: [u64; 9] = [250, 1_000, 4_000, 16_000, 64_000, 250_000, 1_000_000, 4_000_000, 16_000_000];
/// The class of methods that nobody serves.
const UNKNOWN: &str = "unknown";
/// The class of batches.
const BATCH: &str = "batch";
/// jsonrpsee's code for a connection with too many subscriptions.
const TOO_MANY_SUBSCRIPTIONS: i32 = -32006;

/// Requests of one class since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// The class.
    pub class: String,
    /// Requests, those in batches included.
    pub requests: u64,
    /// Answers that say what is wrong with the request.
    pub refused: u64,
    /// Answers that say that the node, or the connection, has too much to do.
    pub busy: u64,
    /// Answers that say that something failed inside the node.
    pub internal: u64,
    /// Answers by the time that they took, in the ranges of [`LATENCY_BOUNDS_US`]; requests in batches count
    /// with their batch.
    pub latency: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// The sum of these times, nanoseconds.
    pub time_ns: u64,
}

/// What went over the RPC since the start, all listeners together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpcStats {
    /// By class, in the order of their names.
    pub classes: Vec<ClassStats>,
    /// Connections that stand now.
    pub connections: u64,
    /// Connections that were closed at once because their places were taken.
    pub refused_connections: u64,
    /// Subscriptions that are open now.
    pub subscriptions: u64,
    /// Bytes of requests, with HTTP or WebSocket around them, without TLS.
    pub received_bytes: u64,
    /// Bytes of answers, likewise.
    pub sent_bytes: u64,
}

/// Counters of one class.
#[derive(Debug, Default)]
pub(crate) struct Class {
    requests: AtomicU64,
    refused: AtomicU64,
    busy: AtomicU64,
    internal: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
    time_ns: AtomicU64,
}

impl Class {
    /// A request came.
    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// It was answered, with this error if that is what it was.
    pub(crate) fn answered(&self, took: Duration, error: Option<i32>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let range = LATENCY_BOUNDS_US.partition_point(|bound| *bound < micros);
        if let Some(count) = self.latency.get(range) {
            count.fetch_add(1, Relaxed);
        }
        self.time_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.failed(error);
    }

    /// Counts an error, if there is one.
    pub(crate) fn failed(&self, error: Option<i32>) {
        let counter = match error {
            None => return,
            Some(INTERNAL_ERROR_CODE) => &self.internal,
            Some(code::BUSY | code::RATE_LIMITED | code::STARTING | TOO_MANY_SUBSCRIPTIONS) => &self.busy,
            Some(_) => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn stats(&self, class: &str) -> ClassStats {
        let mut latency = [0; LATENCY_BOUNDS_US.len() + 1];
        for (count, counter) in latency.iter_mut().zip(&self.latency) {
            *count = counter.load(Relaxed);
        }
        ClassStats {
            class: class.to_owned(),
            requests: self.requests.load(Relaxed),
            refused: self.refused.load(Relaxed),
            busy: self.busy.load(Relaxed),
            internal: self.internal.load(Relaxed),
            latency,
            time_ns: self.time_ns.load(Relaxed),
        }
    }
}

/// The counters of all listeners.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    classes: Mutex<BTreeMap<String, Arc<Class>>>,
    connections: AtomicU64,
    refused_connections: AtomicU64,
    subscriptions: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    fn class(&self, name: &str) -> Arc<Class> {
        Arc::clone(self.classes.lock().entry(name.to_owned()).or_default())
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    pub(crate) fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn subscribed(&self) {
        self.subscriptions.fetch_add(1, Relaxed);
    }

    pub(crate) fn unsubscribed(&self) {
        self.subscriptions.fetch_sub(1, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// The present counts.
    pub(crate) fn stats(&self) -> RpcStats {
        RpcStats {
            classes: self.classes.lock().iter().map(|(name, class)| class.stats(name)).collect(),
            connections: self.connections.load(Relaxed),
            refused_connections: self.refused_connections.load(Relaxed),
            subscriptions: self.subscriptions.load(Relaxed),
            received_bytes: self.received.load(Relaxed),
            sent_bytes: self.sent.load(Relaxed),
        }
    }
}

/// The methods of a listener with their classes.
#[derive(Clone)]
pub(crate) struct Table(Arc<Inner>);

struct Inner {
    methods: Methods,
    classes: HashMap<&'static str, Arc<Class>>,
    unknown: Arc<Class>,
    batch: Arc<Class>,
    /// Why methods are absent that are there at other times.
    absent: Option<String>,
}

impl Table {
    /// A table whose requests are counted. With a reason in `absent`, methods that are not in the table are
    /// refused with [`code::STARTING`] and that reason, in place of "method not found".
    pub(crate) fn new(methods: Methods, traffic: &Traffic, absent: Option<String>) -> Self {
        let class = |name: &str| name.split('_').next().unwrap_or(name).to_owned();
        let classes = methods.method_names().map(|name| (name, traffic.class(&class(name)))).collect();
        let (unknown, batch) = (traffic.class(UNKNOWN), traffic.class(BATCH));
        Self(Arc::new(Inner { methods, classes, unknown, batch, absent }))
    }

    /// The methods.
    pub(crate) fn methods(&self) -> &Methods {
        &self.0.methods
    }

    /// The class of a method.
    pub(crate) fn class(&self, method: &str) -> Arc<Class> {
        Arc::clone(self.0.classes.get(method).unwrap_or(&self.0.unknown))
    }

    /// The class of batches.
    pub(crate) fn batch(&self) -> Arc<Class> {
        Arc::clone(&self.0.batch)
    }

    /// Why a method is not served now.
    pub(crate) fn refusal(&self, method: &str) -> Option<ErrorObjectOwned> {
        let reason = self.0.absent.as_ref().filter(|_| !self.0.classes.contains_key(method))?;
        Some(error(code::STARTING, reason.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_time_and_by_whose_fault_an_error_is() {
        let traffic = Traffic::default();
        let class = traffic.class("chain");
        for (micros, error) in [
            (0, None),
            (250, None),
            (251, Some(-32602)),
            (16_000_000, Some(code::BUSY)),
            (16_000_001, Some(INTERNAL_ERROR_CODE)),
        ] {
            class.asked();
            class.answered(Duration::from_micros(micros), error);
        }
        let stats = traffic.stats().classes.remove(0);
        assert_eq!((stats.requests, stats.refused, stats.busy, stats.internal), (5, 1, 1, 1));
        assert_eq!(stats.latency, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(stats.time_ns, 32_000_502_000);
    }

    #[test]
    fn callers_do_not_make_up_classes() {
        let mut module = jsonrpsee::RpcModule::new(());
        module.register_method("chain_head", |_, (), _| 1).unwrap();
        let traffic = Traffic::default();
        let table = Table::new(module.into(), &traffic, None);
        for method in ["chain_head", "chain_tail", "x", ""] {
            table.class(method).asked();
            assert!(table.refusal(method).is_none());
        }
        let counts: Vec<_> = traffic.stats().classes.into_iter().map(|class| (class.class, class.requests)).collect();
        assert_eq!(counts, [("batch".to_owned(), 0), ("chain".to_owned(), 1), ("unknown".to_owned(), 3)]);
    }
}
