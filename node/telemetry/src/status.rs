//! Health and readiness: two questions with reasons.

use serde::Serialize;

/// The answer to a question, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whether the answer is yes.
    pub ok: bool,
    /// Why not, a sentence each; empty when `ok`.
    pub reasons: Vec<String>,
    /// The numbers behind the answer.
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    /// A report that is good as long as no reason is added.
    #[must_use]
    pub fn good() -> Self {
        Self { ok: true, ..Self::default() }
    }

    /// Adds a reason against.
    pub fn against(&mut self, reason: impl Into<String>) {
        self.ok = false;
        self.reasons.push(reason.into());
    }

    /// Adds a number or text behind the answer.
    pub fn detail(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.details.insert(name.to_owned(), value.into());
    }
}

/// Who answers. Called on a blocking thread.
pub trait Status: Send + Sync + 'static {
    /// Whether the node does its work: its height grows, or there is a good reason why it does not. A node
    /// that is not healthy for long needs a person, or a restart where its supervisor is told so.
    fn health(&self) -> Report;

    /// Whether others should rely on the node now: it is at the head, has peers, and signs if it is a validator.
    fn ready(&self) -> Report;
}

impl<S: Status + ?Sized> Status for std::sync::Arc<S> {
    fn health(&self) -> Report {
        (**self).health()
    }
    fn ready(&self) -> Report {
        (**self).ready()
    }
}
