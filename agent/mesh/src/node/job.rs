//! Work that is too slow for the data thread: it goes to a worker and comes back.

/// A piece of slow work. Opaque; a worker calls [`Job::run`].
pub struct Job { /* private; Send */ }

/// Which work it is, for metrics.
pub enum JobKind { Sign, Verify, Agree }

impl Job {
    /// Which work it is.
    pub fn kind(&self) -> JobKind;
    /// Does the work on this thread: 0.05 to 0.5 ms.
    pub fn run(self, key: &x0_crypto::SigningKey) -> JobDone;
    /// Answers without doing the work, for a worker whose queue is full; the mesh tries again later.
    pub fn refuse(self) -> JobDone;
}

/// The answer to a job, for [`super::Mesh::complete`].
pub struct JobDone { /* private; Send */ }
