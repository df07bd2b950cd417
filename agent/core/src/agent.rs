//! What an agent answers.

use crate::{AdmissionList, ChainView, Event, Now, Phase, PhaseError, RateLimiter, SlotClock, ViewError};
use x0_crypto::{CryptoError, SigningKey};
use x0_limits::{AGENT_VIEW_LIFE_MS, PROBE_RATE_ENTRIES_MAX, PROBE_REQUEST_BURST, PROBE_REQUESTS_PER_SECOND};
use x0_types::{
    AccountId, Hash, MlDsa65Signature,
    market::Slot,
    probe::{Admission, ProbeRequest, ProbeResponse, Receipt, SignedReceipt},
};

/// Why a prober gets no answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The agent does not serve now.
    #[error("not serving: {}", phase.name())]
    NotServing {
        /// The agent's phase.
        phase: Phase,
    },
    /// The prober asks too often.
    #[error("too many requests")]
    TooManyRequests,
    /// The slot of the probe is not about now.
    #[error("slot {asked} is outside {earliest} to {latest}")]
    SlotOutOfRange {
        /// The slot that was asked for.
        asked: Slot,
        /// Earliest credible slot.
        earliest: Slot,
        /// Latest credible slot.
        latest: Slot,
    },
    /// The bytes were no request.
    #[error("not a request")]
    NotARequest,
    /// The agent could not sign.
    #[error("internal error")]
    Internal,
}

impl Refusal {
    /// The refusal as it travels.
    #[must_use]
    pub fn to_response(self) -> ProbeResponse {
        ProbeResponse::Refused(self.to_string().into_bytes())
    }

    /// Whether the connection ends with this refusal: for peers that do not keep to the protocol.
    #[must_use]
    pub const fn ends_connection(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::NotARequest | Self::NotServing { .. })
    }
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Sign this receipt (off the async threads, see [`sign_receipt`]) and send it.
    Sign(Receipt),
    /// Send this.
    Reply(ProbeResponse),
    /// Send the refusal.
    Refuse(Refusal),
}

/// What became of a view of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewOutcome {
    /// The view is in force; the flag says whether the admission list is another one than before.
    Taken {
        /// Whether the list changed.
        changed: bool,
    },
    /// A newer view is in force already.
    Older {
        /// Height of the view in force.
        newest: u32,
    },
}

/// What an agent has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Receipts that were handed out for signing.
    pub receipts: u64,
    /// Admission lists that were sent.
    pub admission_lists: u64,
    /// Requests that were refused.
    pub refusals: u64,
}

/// The state of an agent. Every method is quick; callers may hold a lock around it.
#[derive(Clone, Debug)]
pub struct Agent {
    node: AccountId,
    clock: SlotClock,
    phase: Phase,
    view: Option<InForce>,
    nobody: AdmissionList,
    limiter: RateLimiter<Hash>,
    counters: Counters,
}

#[derive(Clone, Debug)]
struct InForce {
    height: u32,
    observed_ms: u64,
    list: AdmissionList,
}

impl Agent {
    /// An agent for this node, in phase [`Phase::Starting`], that admits nobody.
    #[must_use]
    pub fn new(node: AccountId, clock: SlotClock) -> Self {
        Self {
            node,
            clock,
            phase: Phase::Starting,
            view: None,
            nobody: AdmissionList::default(),
            limiter: RateLimiter::new(PROBE_REQUEST_BURST, PROBE_REQUESTS_PER_SECOND, PROBE_RATE_ENTRIES_MAX),
            counters: Counters::default(),
        }
    }

    /// The node that this agent is.
    #[must_use]
    pub const fn node(&self) -> &AccountId {
        &self.node
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What was done so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes an event in and gives the phase after it.
    ///
    /// # Errors
    /// [`PhaseError`] when the event does not fit; the phase stays.
    pub fn handle(&mut self, event: Event) -> Result<Phase, PhaseError> {
        self.phase = self.phase.after(event)?;
        Ok(self.phase)
    }

    /// Takes a view of the chain in. Views may come late and out of order; the highest counts.
    ///
    /// # Errors
    /// [`ViewError`] when the view breaks a bound of the chain; the view in force stays.
    pub fn observe(&mut self, view: &ChainView, monotonic_ms: u64) -> Result<ViewOutcome, ViewError> {
        if let Some(newest) = self.view.as_ref().map(|view| view.height).filter(|newest| *newest > view.height) {
            return Ok(ViewOutcome::Older { newest });
        }
        let list = AdmissionList::from_view(&self.node, view)?;
        let changed = *self.admission_list(monotonic_ms) != list;
        self.view = Some(InForce { height: view.height, observed_ms: monotonic_ms, list });
        Ok(ViewOutcome::Taken { changed })
    }

    /// Height of the view in force.
    #[must_use]
    pub fn view_height(&self) -> Option<u32> {
        self.view.as_ref().map(|view| view.height)
    }

    /// The admission list at this time: that of the newest view, or nobody when it is too old.
    #[must_use]
    pub fn admission_list(&self, monotonic_ms: u64) -> &AdmissionList {
        match &self.view {
            Some(view) if monotonic_ms.saturating_sub(view.observed_ms) <= AGENT_VIEW_LIFE_MS => &view.list,
            _ => &self.nobody,
        }
    }

    /// Whether this foreign agent may peer and relay now.
    #[must_use]
    pub fn admits(&self, agent: &AccountId, monotonic_ms: u64) -> bool {
        self.admission_list(monotonic_ms).admits(agent)
    }

    /// The deals that count now and their agents.
    #[must_use]
    pub fn admissions(&self, monotonic_ms: u64) -> &[Admission] {
        self.admission_list(monotonic_ms).admissions()
    }

    /// Answers a request of the peer whose link key has this hash.
    pub fn answer(&mut self, prober: &Hash, request: &ProbeRequest, now: Now) -> Answer {
        let answer = self.judge(prober, request, now).unwrap_or_else(Answer::Refuse);
        let counter = match &answer {
            Answer::Sign(_) => &mut self.counters.receipts,
            Answer::Reply(_) => &mut self.counters.admission_lists,
            Answer::Refuse(_) => &mut self.counters.refusals,
        };
        *counter = counter.saturating_add(1);
        answer
    }

    fn judge(&mut self, prober: &Hash, request: &ProbeRequest, now: Now) -> Result<Answer, Refusal> {
        if self.phase != Phase::Serving {
            return Err(Refusal::NotServing { phase: self.phase });
        }
        if !self.limiter.allow(prober, now.monotonic_ms) {
            return Err(Refusal::TooManyRequests);
        }
        match *request {
            ProbeRequest::Admissions => {
                Ok(Answer::Reply(ProbeResponse::Admissions(self.admissions(now.monotonic_ms).to_vec())))
            }
            ProbeRequest::Ping { nonce } => Ok(Answer::Reply(ProbeResponse::Pong { nonce })),
            ProbeRequest::Transfer { .. } | ProbeRequest::Usage { .. } => Err(Refusal::NotARequest),
            ProbeRequest::Alive { slot, nonce } => {
                let credible = self.clock.credible(now.unix_ms);
                if !credible.contains(&slot) {
                    let (earliest, latest) = credible.into_inner();
                    return Err(Refusal::SlotOutOfRange { asked: slot, earliest, latest });
                }
                Ok(Answer::Sign(Receipt {
                    node: self.node.clone(),
                    slot,
                    nonce,
                    prober: *prober,
                    admissions: self.admission_list(now.monotonic_ms).hash(),
                    agent_time_ms: now.unix_ms,
                }))
            }
        }
    }
}

/// Signs a receipt for the chain with this genesis hash. Takes about 100 us: async code calls it on a
/// blocking thread.
///
/// # Errors
/// [`CryptoError::Signing`] when the library fails.
pub fn sign_receipt(key: &SigningKey, genesis: &[u8; 32], receipt: Receipt) -> Result<SignedReceipt, CryptoError> {
    let signature = key.sign_receipt(genesis, &receipt.signed_body())?;
    Ok(SignedReceipt { receipt, signature: MlDsa65Signature(signature.to_boxed()) })
}

#[cfg(test)]
mod tests;
