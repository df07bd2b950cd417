//! The phases of an agent's life.
//!
//! ```text
//!   Starting --Enrolled--> Enrolled --ListenerReady--> Serving
//!      ^                      |                           |
//!      +-------Revoked--------+-----------Revoked---------+
//!   any of these --StopRequested--> Draining --Drained--> Stopped
//! ```

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The keys are loaded; the chain has not confirmed the identity.
    Starting,
    /// The chain knows the identity and this key; the responder does not listen yet.
    Enrolled,
    /// The responder answers.
    Serving,
    /// No new work; answers under way are finished.
    Draining,
    /// All is done.
    Stopped,
}

impl Phase {
    /// The name in logs and refusals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Enrolled => "enrolled",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// The phase after an event. Events that only repeat what is known change nothing.
    ///
    /// # Errors
    /// [`PhaseError`] when the event cannot happen in this phase.
    pub const fn after(self, event: Event) -> Result<Self, PhaseError> {
        Ok(match (self, event) {
            (Self::Starting, Event::Enrolled) => Self::Enrolled,
            (Self::Enrolled, Event::ListenerReady) => Self::Serving,
            (Self::Starting | Self::Enrolled | Self::Serving, Event::Revoked) => Self::Starting,
            (Self::Starting | Self::Enrolled | Self::Serving | Self::Draining, Event::StopRequested) => Self::Draining,
            (Self::Draining, Event::Drained) => Self::Stopped,
            // The daemon asks the chain again and again; the same answer is no news.
            (Self::Enrolled | Self::Serving | Self::Draining, Event::Enrolled) => self,
            // While draining, what the chain says about the identity does not matter any more.
            (Self::Draining, Event::Revoked) => self,
            (phase, event) => return Err(PhaseError { phase, event }),
        })
    }
}

/// What happens to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The chain has this identity with this key, not revoked.
    Enrolled,
    /// The chain has this identity no more, or with another key.
    Revoked,
    /// The responder's socket is open.
    ListenerReady,
    /// The operator or the system wants the agent to stop.
    StopRequested,
    /// All answers under way are finished or given up.
    Drained,
}

/// An event that cannot happen in a phase: a defect of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen while the agent is {}", phase.name())]
pub struct PhaseError {
    /// The phase.
    pub phase: Phase,
    /// The event.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [Event; 5] =
        [Event::Enrolled, Event::Revoked, Event::ListenerReady, Event::StopRequested, Event::Drained];

    proptest! {
        /// Whatever happens: serving needs an enrolment and a listener since the last revocation and
        /// no stop before; after a stop the agent never serves again; stopped is the end.
        #[test]
        fn the_phases_keep_their_promises(events in proptest::collection::vec(0usize..5, 0..40)) {
            let mut phase = Phase::Starting;
            let (mut enrolled, mut listening, mut stopping, mut drained) = (false, false, false, false);
            for event in events.into_iter().map(|index| EVENTS[index]) {
                let Ok(next) = phase.after(event) else {
                    continue;
                };
                match event {
                    Event::Enrolled => enrolled = true,
                    Event::Revoked => (enrolled, listening) = (false, false),
                    Event::ListenerReady => listening = true,
                    Event::StopRequested => stopping = true,
                    Event::Drained => drained = true,
                }
                phase = next;
                let expected = match (drained, stopping, enrolled, listening) {
                    (true, ..) => Phase::Stopped,
                    (_, true, ..) => Phase::Draining,
                    (_, _, true, true) => Phase::Serving,
                    (_, _, true, false) => Phase::Enrolled,
                    _ => Phase::Starting,
                };
                prop_assert_eq!(phase, expected);
            }
        }
    }

    #[test]
    fn an_event_that_does_not_fit_is_named() {
        let error = Phase::Starting.after(Event::ListenerReady).unwrap_err();
        assert_eq!(error.to_string(), "ListenerReady cannot happen while the agent is starting");
        for event in EVENTS {
            assert!(Phase::Stopped.after(event).is_err());
        }
    }
}
