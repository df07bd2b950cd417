//! A request budget for each connection.
//!
//! ```text
//!   bucket:  at most BURST tokens, refilled RPC_REQUESTS_PER_SECOND_MAX a second
//!   call:    one token      batch: one token for each entry      none left: error 7003
//! ```
//!
//! A connection that runs out gets an error at once and keeps its connection: a client that reads
//! its errors can slow down, and one that does not costs no more than reading its bytes.

use crate::{error::error, flow::Flow};
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, Request, RpcServiceT},
    server::MethodResponse,
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
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) flow: Arc<Flow>,
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

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let granted = self.bucket.take(Instant::now());
        let (service, flow) = (self.service.clone(), self.flow.clone());
        async move {
            let _turn = flow.turn().await;
            let answer =
                if granted { service.call(request).await } else { MethodResponse::error(request.id, refusal()) };
            flow.produced(answer.as_json().get().len());
            answer
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (service, flow) = (self.service.clone(), self.flow.clone());
        let now = Instant::now();
        let entries = batch
            .into_iter()
            .map(|entry| match entry {
                Ok(BatchEntry::Call(call)) if !self.bucket.take(now) => Err(BatchEntryErr::new(call.id, refusal())),
                other => other,
            })
            .collect();
        async move {
            let _turn = flow.turn().await;
            let answer = service.batch(Batch::from(entries)).await;
            flow.produced(answer.as_json().get().len());
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
    use std::time::Duration;

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
