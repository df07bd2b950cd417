//! Subscriptions as the methods see them: what they send counts against the connection, and an
//! unsubscription that follows their answer finds them.
//!
//! ```text
//!   subscribe ---> accept: answer to the queue, then entry in jsonrpsee's table
//!                    |  held: Flow::accepting (shared)
//!   unsubscribe ---> Flow::accepted (exclusive) ---> entry found, place freed
//! ```
//!
//! # Correctness
//! * jsonrpsee sends the answer of a subscription before it enters the subscription in its table. A
//!   client that unsubscribes in between would be told that there is no such subscription, which then
//!   keeps its place until the connection ends. Accepting therefore holds [`Flow::accepting`] over
//!   both steps, and unsubscriptions wait for it.
//! * Every byte that a subscription puts into the connection's queue is counted before it goes in,
//!   and given back when it does not.

use crate::{
    error::RpcResult,
    flow::{Flow, Owed},
};
use jsonrpsee::{
    PendingSubscriptionSink, SubscriptionSink,
    core::{SubscriptionError, SubscriptionResult},
    server::SubscriptionMessage,
    types::{ErrorObjectOwned, SubscriptionId},
};
use serde::Serialize;
use serde_json::value::to_raw_value;
use std::sync::Arc;

/// The frame of an answer without its id and its result: `{"jsonrpc":"2.0","id":,"result":""}`.
const ANSWER_FRAME_BYTES: usize = 35;
/// The frame of a notification without method, id and value:
/// `{"jsonrpc":"2.0","method":"","params":{"subscription":"","result":}}`.
const NOTIFICATION_FRAME_BYTES: usize = 68;

/// A subscription that waits for its answer, and the flow of its connection.
pub(crate) struct Waiting {
    pending: PendingSubscriptionSink,
    flow: Arc<Flow>,
}

/// An open subscription.
pub(crate) struct Feed {
    sink: SubscriptionSink,
    flow: Arc<Flow>,
    /// Bytes of a notification without its value.
    frame: usize,
}

impl Waiting {
    /// Takes the connection's flow from the request; one of its own where no connection is
    /// (methods called within the process).
    pub(crate) fn new(pending: PendingSubscriptionSink, extensions: &http::Extensions) -> Self {
        let flow = extensions.get::<Arc<Flow>>().cloned().unwrap_or_else(|| Arc::new(Flow::new()));
        Self { pending, flow }
    }

    /// Answers with the subscription's id, or with why there is none.
    pub(crate) async fn judged<T>(self, judged: RpcResult<T>) -> Result<Option<(T, Feed)>, SubscriptionError> {
        match judged {
            Ok(value) => self.accept().await.map(|feed| Some((value, feed))),
            Err(refusal) => {
                self.reject(refusal).await;
                Ok(None)
            }
        }
    }

    async fn accept(self) -> Result<Feed, SubscriptionError> {
        let Self { pending, flow } = self;
        let id = id_bytes(&pending.subscription_id());
        let frame = NOTIFICATION_FRAME_BYTES.saturating_add(pending.method_name().len()).saturating_add(id);
        let owed = Owed::new(&flow, ANSWER_FRAME_BYTES.saturating_add(id));
        let accepting = flow.accepting().await;
        let sink = pending.accept().await?;
        drop(accepting);
        owed.queued();
        flow.traffic().subscribed();
        Ok(Feed { sink, flow, frame })
    }

    async fn reject(self, refusal: ErrorObjectOwned) {
        // What is counted may be less than what is written, and never more: the id is left out.
        let bytes = refusal.message().len().saturating_add(ANSWER_FRAME_BYTES);
        let owed = Owed::new(&self.flow, bytes);
        self.pending.reject(refusal).await;
        owed.queued();
    }
}

impl Feed {
    /// Sends one JSON value once the connection has room for it; an error ends the subscription.
    pub(crate) async fn send(&self, value: &impl Serialize) -> SubscriptionResult {
        let value = to_raw_value(value)?;
        tokio::select! {
            () = self.flow.room() => {}
            () = self.closed() => return Err(SubscriptionError::from("the subscription has ended")),
        }
        let owed = Owed::new(&self.flow, self.frame.saturating_add(value.get().len()));
        self.sink.send(SubscriptionMessage::from(value)).await?;
        owed.queued();
        Ok(())
    }

    /// Completes when the client has unsubscribed or is gone.
    pub(crate) async fn closed(&self) {
        self.sink.closed().await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.flow.traffic().unsubscribed();
    }
}

/// Length of an id in JSON, without quotes.
fn id_bytes(id: &SubscriptionId<'_>) -> usize {
    match id {
        SubscriptionId::Num(number) => number.to_string().len(),
        SubscriptionId::Str(text) => text.len(),
    }
}
