//! A request budget for each connection.
//!
//! ```text
//!   bucket:  at most BURST tokens, refilled RPC_REQUESTS_PER_SECOND_MAX a second
//!   call:    one token      batch: one token for each entry      none left: error 7003
//! ```
//!
//! A connection that runs out gets an error at once and keeps its connection: a client that reads
//! its errors can slow down, and one that does not costs no more than reading its bytes.

use crate::{
    error::error,
    flow::{Flow, Owed},
    traffic::Table,
};
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request, RpcServiceT},
    server::{MethodCallback, MethodResponse},
    types::ErrorObjectOwned,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Instant};
use x0_limits::{RPC_BURST_SECONDS, RPC_REQUESTS_PER_SECOND_MAX};

/// Tokens of one connection.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    capacity: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// A full bucket with the product's limits.
    pub(crate) fn new() -> Self {
        Self::with(RPC_REQUESTS_PER_SECOND_MAX, RPC_BURST_SECONDS, Instant::now())
    }

    /// A full bucket.
    fn with(per_second: u32, burst_seconds: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        let capacity = per_second * f64::from(burst_seconds);
        Self { per_second, capacity, state: Mutex::new((capacity, now)) }
    }

    /// Takes one token.
    fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let (tokens, last) = *state;
        let refilled =
            (tokens + now.saturating_duration_since(last).as_secs_f64() * self.per_second).min(self.capacity);
        let granted = refilled >= 1.0;
        *state = (if granted { refilled - 1.0 } else { refilled }, now);
        granted
    }
}

/// What a request beyond the budget is told.
fn refusal() -> ErrorObjectOwned {
    error(
        x0_rpc_types::error::RATE_LIMITED,
        format!("Too many requests: a connection may send {RPC_REQUESTS_PER_SECOND_MAX} a second"),
    )
}

/// Applies a [`Bucket`] to calls and to each entry of a batch, and the connection's [`Flow`] to both.
#[derive(Clone)]
pub(crate) struct RateLimited<S> {
    pub(crate) service: S,
    pub(crate) table: Table,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) flow: Arc<Flow>,
}

impl<S> RateLimited<S> {
    /// Gives a call what subscriptions need of the connection; says whether it is an unsubscription.
    fn prepare(&self, call: &mut Request<'_>) -> bool {
        match self.table.methods().method(&call.method) {
            Some(MethodCallback::Subscription(_)) => {
                call.extensions.insert(self.flow.clone());
                false
            }
            Some(MethodCallback::Unsubscription(_)) => true,
            _ => false,
        }
    }
}

/// Counts an answer that goes to the connection's queue. Those of subscriptions are there already,
/// and notifications have none.
fn count(flow: &Flow, answer: &MethodResponse) {
    if answer.is_method_call() || answer.is_batch() {
        Owed::new(flow, answer.as_json().get().len()).queued();
    }
}

impl<S> RpcServiceT for RateLimited<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, mut request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let refused =
            if self.bucket.take(Instant::now()) { self.table.refusal(&request.method) } else { Some(refusal()) };
        let class = self.table.class(&request.method);
        class.asked();
        let unsubscribes = self.prepare(&mut request);
        let (service, flow) = (self.service.clone(), self.flow.clone());
        async move {
            let _turn = flow.turn().await;
            if unsubscribes {
                flow.accepted().await;
            }
            let begun = Instant::now();
            let answer = match refused {
                None => service.call(request).await,
                Some(refusal) => MethodResponse::error(request.id, refusal),
            };
            class.answered(begun.elapsed(), answer.as_error_code());
            count(&flow, &answer);
            answer
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (service, flow) = (self.service.clone(), self.flow.clone());
        let now = Instant::now();
        let mut unsubscribes = false;
        let entries = batch
            .into_iter()
            .map(|entry| match entry {
                Ok(BatchEntry::Call(mut call)) => {
                    let class = self.table.class(&call.method);
                    class.asked();
                    let refused =
                        if self.bucket.take(now) { self.table.refusal(&call.method) } else { Some(refusal()) };
                    if let Some(refusal) = refused {
                        class.failed(Some(refusal.code()));
                        return Err(BatchEntryErr::new(call.id, refusal));
                    }
                    unsubscribes |= self.prepare(&mut call);
                    Ok(BatchEntry::Call(call))
                }
                other => other,
            })
            .collect();
        let class = self.table.batch();
        class.asked();
        async move {
            let _turn = flow.turn().await;
            if unsubscribes {
                flow.accepted().await;
            }
            let begun = Instant::now();
            let answer = service.batch(Batch::from(entries)).await;
            class.answered(begun.elapsed(), answer.as_error_code());
            count(&flow, &answer);
            answer
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.service.clone();
        async move { service.notification(notification).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Waiting;
    use futures::{FutureExt as _, future::BoxFuture};
    use jsonrpsee::{
        RpcModule,
        core::server::{BoundedSubscriptions, ConnectionId, MethodSink, SubscriptionState},
        server::{Methods, RandomStringIdProvider},
        types::{Id, Params},
    };
    use serde_json::{Value, value::RawValue};
    use std::{
        task::{Context, Wake, Waker},
        time::Duration,
    };
    use tokio::sync::mpsc;

    /// What jsonrpsee's own service does for one connection, as far as these tests need it.
    #[derive(Clone)]
    struct Connection {
        methods: Methods,
        queue: MethodSink,
        places: BoundedSubscriptions,
    }

    impl RpcServiceT for Connection {
        type MethodResponse = MethodResponse;
        type NotificationResponse = MethodResponse;
        type BatchResponse = MethodResponse;

        fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
            let Request { id, method, params, extensions, .. } = request;
            let params = Params::new(params.as_deref().map(RawValue::get));
            let connection = ConnectionId(1);
            match self.methods.method(&method).expect("a method of the test") {
                MethodCallback::Subscription(open) => {
                    let state = SubscriptionState {
                        conn_id: connection,
                        id_provider: &RandomStringIdProvider::new(16),
                        subscription_permit: self.places.acquire().expect("a place"),
                    };
                    open(id, params, self.queue.clone(), state, extensions)
                }
                MethodCallback::Unsubscription(end) => {
                    let answer = end(id, params, connection, usize::MAX, extensions);
                    std::future::ready(answer).boxed()
                }
                _ => unreachable!("the test has no other methods"),
            }
        }

        fn batch<'a>(&self, _: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
            std::future::ready(MethodResponse::notification())
        }

        fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
            std::future::ready(MethodResponse::notification())
        }
    }

    /// A client that reads the answer of its subscription and unsubscribes within the moment in which
    /// jsonrpsee has answered and not yet entered the subscription: it runs where jsonrpsee wakes the
    /// task of the call, which is between the two.
    struct Quick {
        service: RateLimited<Connection>,
        inbox: Mutex<mpsc::Receiver<Box<RawValue>>>,
        ending: Mutex<Option<BoxFuture<'static, MethodResponse>>>,
    }

    impl Wake for Quick {
        fn wake(self: Arc<Self>) {
            let Ok(answer) = self.inbox.lock().try_recv() else { return };
            let answer: Value = serde_json::from_str(answer.get()).unwrap();
            let service = self.service.clone();
            let mut ending = async move {
                let id = RawValue::from_string(format!("[{}]", answer["result"])).unwrap();
                service.call(Request::owned("end".to_owned(), Some(id), Id::Number(2))).await
            }
            .boxed();
            // As far as it comes at once; without the lock that is to its end.
            let polled = ending.poll_unpin(&mut Context::from_waker(Waker::noop()));
            let ending = match polled {
                std::task::Poll::Ready(answer) => std::future::ready(answer).boxed(),
                std::task::Poll::Pending => ending,
            };
            *self.ending.lock() = Some(ending);
        }
    }

    impl Quick {
        /// Subscribes and unsubscribes; whether the node found the subscription.
        async fn subscribe(service: RateLimited<Connection>, inbox: mpsc::Receiver<Box<RawValue>>) -> bool {
            let quick = Arc::new(Self { service, inbox: Mutex::new(inbox), ending: Mutex::new(None) });
            let waker = Waker::from(quick.clone());
            let mut call = quick.service.call(Request::owned("begin".to_owned(), None, Id::Number(1))).boxed();
            assert!(call.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            let ending = loop {
                tokio::task::yield_now().await;
                if let Some(ending) = quick.ending.lock().take() {
                    break ending;
                }
            };
            assert!(call.await.is_success());
            let ended: Value = serde_json::from_str(ending.await.as_json().get()).unwrap();
            ended["result"].as_bool().unwrap()
        }
    }

    /// A connection's service and its queue; its one subscription ends when the client says so.
    fn connection() -> (RateLimited<Connection>, mpsc::Receiver<Box<RawValue>>) {
        let mut module = RpcModule::new(());
        module
            .register_subscription("begin", "event", "end", |_, pending, _, extensions| async move {
                if let Some(((), feed)) = Waiting::new(pending, &extensions).judged(Ok(())).await? {
                    feed.send(&"first").await?;
                    feed.closed().await;
                }
                Ok(())
            })
            .unwrap();
        let (queue, inbox) = mpsc::channel(4);
        let methods = Methods::from(module);
        let inner = Connection {
            methods: methods.clone(),
            queue: MethodSink::new(queue),
            places: BoundedSubscriptions::new(1),
        };
        let (bucket, flow) = (Arc::new(Bucket::new()), Arc::new(Flow::new()));
        let table = Table::new(methods, &crate::traffic::Traffic::default(), None);
        (RateLimited { service: inner, table, bucket, flow }, inbox)
    }

    #[tokio::test]
    async fn an_unsubscription_right_after_the_answer_finds_the_subscription() {
        let (service, inbox) = connection();
        assert!(Quick::subscribe(service.clone(), inbox).await, "the node knows what it has just answered");
        while service.service.places.acquire().is_none() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_subscription_owes_exactly_what_it_queues() {
        let (service, mut inbox) = connection();
        let call = service.call(Request::owned("begin".to_owned(), None, Id::Number(1)));
        assert!(call.await.is_success());
        let queued = inbox.recv().await.unwrap().get().len() + inbox.recv().await.unwrap().get().len();
        // The id of the request, one digit, is not counted.
        assert_eq!(service.flow.unsent() + 1, queued);
    }

    #[test]
    fn a_burst_is_granted_then_the_rate_holds() {
        let start = Instant::now();
        let bucket = Bucket::with(10, 2, start);
        assert_eq!((0..100).filter(|_| bucket.take(start)).count(), 20, "the burst");
        let later = start + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 5, "half a second at ten a second");
        let much_later = later + Duration::from_secs(3_600);
        assert_eq!(
            (0..100).filter(|_| bucket.take(much_later)).count(),
            20,
            "idle time saves up no more than the burst"
        );
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let bucket = Bucket::with(1, 1, start);
        assert!(bucket.take(start));
        assert!(!bucket.take(start - Duration::from_secs(5)));
    }
}
