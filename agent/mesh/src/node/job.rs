//! Work that is too slow for the data thread: it goes to a worker and comes back.

use super::{Mesh, Sink};
use crate::{
    Time, handshake,
    route::{Plan, PlanRequest, SignedRecord, Verdict},
};
use std::collections::BTreeMap;
use x0_crypto::{PublicKey, SIGNATURE_BYTES, Signature, SigningKey};

/// Most jobs that wait for their answer, besides those of handshakes, which have bounds of their own.
pub const JOBS_MAX: usize = 256;

/// Which work a job is, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// A step of a handshake: key agreement, a signature made or checked.
    Handshake,
    /// Signing what this node says about its links.
    Sign,
    /// Checking what another node says about its links.
    Verify,
    /// Finding routes.
    Plan,
}

/// A piece of slow work. A worker calls [`Job::run`].
#[derive(Debug)]
pub struct Job {
    number: u64,
    work: Work,
}

/// The answer to a job, for [`Mesh::complete`].
#[derive(Debug)]
pub struct JobDone {
    number: u64,
    outcome: Outcome,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    Handshake(handshake::Job),
    Sign { genesis: [u8; 32], body: Vec<u8> },
    Verify { genesis: [u8; 32], key: PublicKey, record: SignedRecord },
    Plan(PlanRequest),
}

#[derive(Debug)]
enum Outcome {
    Handshake(handshake::JobDone),
    Signed(Option<Signature>),
    Verified(bool),
    Planned(Box<Plan>),
    Refused,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Sign { seq: u64 },
    Verify { ticket: u64 },
    Plan,
}

/// The jobs that are out.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    next: u64,
    waiting: BTreeMap<u64, Purpose>,
    handshakes: u64,
}

impl Jobs {
    /// Jobs that wait for their answer.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::try_from(self.handshakes).unwrap_or(usize::MAX)
    }
}

impl Job {
    /// Which work it is.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        match self.work {
            Work::Handshake(_) => JobKind::Handshake,
            Work::Sign { .. } => JobKind::Sign,
            Work::Verify { .. } => JobKind::Verify,
            Work::Plan(_) => JobKind::Plan,
        }
    }

    /// Does the work on this thread, with the node's agent key: 0.05 to 0.5 ms.
    #[must_use]
    pub fn run(self, key: &SigningKey) -> JobDone {
        let outcome = match self.work {
            Work::Handshake(job) => Outcome::Handshake(job.run(key)),
            Work::Sign { genesis, body } => Outcome::Signed(key.sign_link_state(&genesis, &body).ok()),
            Work::Verify { genesis, key, record } => Outcome::Verified(verify(&genesis, &key, &record)),
            Work::Plan(request) => Outcome::Planned(Box::new(request.run())),
        };
        JobDone { number: self.number, outcome }
    }

    /// Answers without doing the work, for a worker whose queue is full; the mesh tries again later.
    #[must_use]
    pub fn refuse(self) -> JobDone {
        let outcome = match self.work {
            Work::Handshake(job) => Outcome::Handshake(job.refuse()),
            Work::Sign { .. } | Work::Verify { .. } | Work::Plan(_) => Outcome::Refused,
        };
        JobDone { number: self.number, outcome }
    }
}

fn verify(genesis: &[u8; 32], key: &PublicKey, record: &SignedRecord) -> bool {
    let signature: Option<&[u8; SIGNATURE_BYTES]> = record.signature();
    let signature = signature.and_then(|bytes| Signature::from_bytes(bytes).ok());
    signature.is_some_and(|signature| key.verify_link_state(genesis, record.body(), &signature).is_ok())
}

impl Mesh {
    /// Hands out a job of the router.
    pub(super) fn give(&mut self, work: Work, purpose: Purpose, sink: &mut dyn Sink) {
        if self.jobs.waiting.len() >= JOBS_MAX {
            // The router asks again when no answer comes.
            self.counters.refused_bound += 1;
            return;
        }
        let number = self.next_job();
        self.jobs.waiting.insert(number, purpose);
        sink.job(Job { number, work });
    }

    /// Hands out a job of a handshake.
    pub(super) fn give_handshake(&mut self, job: handshake::Job, sink: &mut dyn Sink) {
        let number = self.next_job();
        self.jobs.handshakes += 1;
        sink.job(Job { number, work: Work::Handshake(job) });
    }

    fn next_job(&mut self) -> u64 {
        self.jobs.next += 1;
        self.counters.jobs_out += 1;
        self.jobs.next
    }

    /// Takes an answer in.
    pub(super) fn finish_job(&mut self, now: Time, done: JobDone, sink: &mut dyn Sink) {
        if let Outcome::Handshake(done) = done.outcome {
            self.jobs.handshakes = self.jobs.handshakes.saturating_sub(1);
            self.complete_handshake(now, done, sink);
            return;
        }
        let Some(purpose) = self.jobs.waiting.remove(&done.number) else {
            self.counters.stale_answers += 1;
            return;
        };
        match (purpose, done.outcome) {
            (Purpose::Sign { seq }, Outcome::Signed(Some(signature))) => {
                self.router.signed(now, seq, Some(signature.as_bytes()));
            }
            (Purpose::Verify { ticket }, Outcome::Verified(valid)) => {
                let verdict = if valid { Verdict::Valid } else { Verdict::Invalid };
                self.verified(now, ticket, verdict, sink);
            }
            (Purpose::Plan, Outcome::Planned(plan)) => {
                if self.router.planned(*plan) {
                    self.replan(now, sink);
                }
            }
            // Not done: the router asks again when its time is over.
            _ => self.counters.jobs_refused += 1,
        }
    }
}
