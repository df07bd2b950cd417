//! What an agent answers.

use crate::{AdmissionList, ChainView, Event, Now, Phase, PhaseError, RateLimiter, SlotClock, ViewError};
use x0_crypto::{CryptoError, SigningKey};
use x0_limits::{
    AGENT_VIEW_LIFE_MS, PROBE_RATE_ENTRIES_MAX, PROBE_REQUEST_BURST, PROBE_REQUESTS_PER_SECOND, TRIAL_BYTES_MAX,
};
use x0_types::{
    AccountId, Hash, MlDsa65Signature,
    market::Slot,
    probe::{Admission, ProbeRequest, ProbeResponse, Receipt, SignedReceipt},
    receipt::Usage,
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
    /// The address has had its share of transfers for now.
    #[error("too many transfers")]
    TooManyTransfers,
    /// The peer is no agent of the deal that it names.
    #[error("not an agent of this deal")]
    NotOfTheDeal,
    /// This side saw something else of the link.
    #[error("this side saw another use of the link")]
    UsageDiffers,
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
    /// Send so many bytes made from this seed, see [`x0_types::probe::transfer_piece`].
    Transfer {
        /// Bytes.
        bytes: u32,
        /// The seed.
        seed: [u8; 32],
    },
    /// Send the refusal.
    Refuse(Refusal),
}

/// What this side of a link saw of its latest transfer. Both times include the peer's own delays, so that they are
/// never shorter than what an honest peer measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkUse {
    /// Bytes that were sent.
    pub bytes: u64,
    /// Milliseconds from the request to the peer's next one.
    pub duration_ms: u32,
    /// The shortest time from an answer to the peer's next request, milliseconds.
    pub round_trip_ms: u32,
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
    /// Pings that were answered.
    pub pings: u64,
    /// Transfers that were made.
    pub transfers: u64,
    /// Usage receipts that were signed.
    pub usages: u64,
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

    /// Whether this side agrees with what a renter's agent says of its latest transfer: the peer is an agent of
    /// that deal now, it got exactly these bytes, and neither time is longer than this side saw, so that a peer cannot
    /// have a node sign worse than it was.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn agree(
        &mut self,
        prober: &Hash,
        peer: &AccountId,
        usage: &Usage,
        seen: &LinkUse,
        now: Now,
    ) -> Result<(), Refusal> {
        let agreed = self.judge_usage(prober, peer, usage, seen, now);
        let counter = if agreed.is_ok() { &mut self.counters.usages } else { &mut self.counters.refusals };
        *counter = counter.saturating_add(1);
        agreed
    }

    fn judge_usage(
        &mut self,
        prober: &Hash,
        peer: &AccountId,
        usage: &Usage,
        seen: &LinkUse,
        now: Now,
    ) -> Result<(), Refusal> {
        if self.phase != Phase::Serving {
            return Err(Refusal::NotServing { phase: self.phase });
        }
        if !self.limiter.allow(prober, now.monotonic_ms) {
            return Err(Refusal::TooManyRequests);
        }
        let is_of_deal = |one: &&Admission| one.deal == usage.deal && one.agents.contains(peer);
        if usage.agent != *peer || self.admissions(now.monotonic_ms).iter().find(is_of_deal).is_none() {
            return Err(Refusal::NotOfTheDeal);
        }
        let credible = self.clock.credible(now.unix_ms);
        let agrees = usage.node == self.node
            && credible.contains(&usage.slot)
            && usage.bytes > 0
            && usage.bytes == seen.bytes
            && usage.duration_ms > 0
            && usage.duration_ms <= seen.duration_ms
            && usage.round_trip_ms <= seen.round_trip_ms;
        if agrees { Ok(()) } else { Err(Refusal::UsageDiffers) }
    }

    /// Answers a request of the peer whose link key has this hash.
    pub fn answer(&mut self, prober: &Hash, request: &ProbeRequest, now: Now) -> Answer {
        let answer = self.judge(prober, request, now).unwrap_or_else(Answer::Refuse);
        let counter = match &answer {
            Answer::Sign(_) => &mut self.counters.receipts,
            Answer::Reply(ProbeResponse::Admissions(_)) => &mut self.counters.admission_lists,
            Answer::Reply(_) => &mut self.counters.pings,
            Answer::Transfer { .. } => &mut self.counters.transfers,
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
            ProbeRequest::Transfer { bytes, seed } => {
                if bytes == 0 || bytes > TRIAL_BYTES_MAX {
                    return Err(Refusal::NotARequest);
                }
                Ok(Answer::Transfer { bytes, seed })
            }
            // What it says is judged by what this side of the link saw: see [`Agent::agree`].
            ProbeRequest::Usage { .. } => Err(Refusal::UsageDiffers),
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
