//! Why a datagram or a handshake came to nothing, counted.

use x0_crypto::mesh::MeshError;
use x0_mesh_wire::WireError;

/// Why a datagram had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no handshake datagram.
    #[error("malformed: {0}")]
    Malformed(WireError),
    /// The MAC is wrong: not for this node, forged, or reflected.
    #[error("the MAC is wrong")]
    Mac,
    /// The purpose in the message is not that of the way on which it came.
    #[error("the purpose does not fit the way")]
    Purpose,
    /// No set of algorithms in common.
    #[error("no set of algorithms in common in {offered:#04x}")]
    Suite {
        /// The sets that were offered or picked.
        offered: u8,
    },
    /// No handshake has this id, or it is over.
    #[error("no handshake has id {id}")]
    UnknownId {
        /// The id.
        id: u32,
    },
    /// The handshake does not wait for this message now.
    #[error("the message is out of turn")]
    OutOfTurn,
    /// Under load, and no valid cookie; one was sent.
    #[error("under load: a cookie is needed")]
    CookieNeeded,
    /// The cookie does not open.
    #[error("the cookie does not open")]
    Cookie,
    /// As many half-open handshakes from this address as are allowed.
    #[error("{limit} half-open handshakes from one address")]
    Quota {
        /// Most allowed.
        limit: usize,
    },
    /// A fragment does not open: changed, or of another handshake.
    #[error("the fragment does not open")]
    Seal,
    /// A fragment contradicts those before it.
    #[error("the fragment contradicts another")]
    Fragment,
    /// The peer's proof has no valid form.
    #[error("the proof is malformed")]
    Proof,
    /// The peer claims this node's own name.
    #[error("the peer claims this node's name")]
    OwnIdentity,
    /// Another peer answered than was asked for.
    #[error("another peer answered")]
    WrongPeer,
    /// The peer is not authorised.
    #[error("the peer is not authorised")]
    Unauthorised,
    /// The peer's key is not known and it did not send it.
    #[error("the peer's key is not known")]
    KeyUnknown,
    /// The key is not the peer's: it does not give its name, or it was rotated or revoked.
    #[error("the key is not the peer's")]
    KeyMismatch,
    /// The peer's signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// Our own handshake with this peer goes on instead.
    #[error("this node's own handshake goes on")]
    SimultaneousOpen,
    /// One name, too many handshakes: two machines may share a key.
    #[error("{limit} handshakes of one name within a minute")]
    TooFrequent {
        /// Most allowed.
        limit: u32,
    },
    /// A job could not be done.
    #[error("a job could not be done")]
    Job,
    /// The job's queue was full.
    #[error("the queue of jobs was full")]
    Busy,
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        match error {
            WireError::HopMac => Self::Mac,
            other => Self::Malformed(other),
        }
    }
}

impl From<MeshError> for Refusal {
    fn from(error: MeshError) -> Self {
        match error {
            MeshError::Seal => Self::Seal,
            MeshError::LowOrder | MeshError::Library => Self::Job,
        }
    }
}

/// Why a handshake cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The peer is not authorised.
    #[error("the peer is not authorised")]
    Unauthorised,
    /// The peer is this node.
    #[error("the peer is this node")]
    OwnIdentity,
    /// No way to the peer was given, too many, or one for another purpose.
    #[error("{found} ways were given, 1 to {limit} of one purpose are allowed")]
    Ways {
        /// Ways given.
        found: usize,
        /// Most allowed.
        limit: usize,
    },
    /// A handshake with this peer over this way, or for this session, runs already.
    #[error("handshake {id} with this peer runs already")]
    Running {
        /// Its id.
        id: u32,
    },
    /// As many handshakes of our own as are allowed.
    #[error("{limit} handshakes run already")]
    TooMany {
        /// Most allowed.
        limit: usize,
    },
}

/// Why a handshake that this node began gave no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No answer came.
    #[error("no answer came")]
    NoAnswer,
    /// An answer came, but no proof: the peer does not authorise this node, or its datagrams are lost.
    #[error("no proof came")]
    NoProof,
    /// The proof was wrong.
    #[error("the peer's proof was wrong")]
    BadProof,
    /// The peer is no longer authorised.
    #[error("the peer is no longer authorised")]
    Unauthorised,
    /// The peer's own handshake took its place.
    #[error("the peer's own handshake took its place")]
    Superseded,
    /// A job could not be done.
    #[error("a job could not be done")]
    Job,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What handshakes did since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct HandshakeCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl HandshakeCounters {
            /// Every counter with its name, for metrics.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}
counters! {
    /// Handshakes that this node began.
    started,
    /// Handshakes that gave keys, of both roles.
    established,
    /// Handshakes of ours that failed.
    failed,
    /// Datagrams sent again.
    retransmitted,
    /// Proofs that the parity fragment completed.
    parity_used,
    /// Cookies sent.
    cookies_sent,
    /// Half-open handshakes that a newer one pushed out.
    evicted,
    /// Half-open handshakes that nobody finished in time.
    expired,
    /// [`Refusal::Malformed`].
    refused_malformed,
    /// [`Refusal::Mac`].
    refused_mac,
    /// [`Refusal::Purpose`].
    refused_purpose,
    /// [`Refusal::Suite`].
    refused_suite,
    /// [`Refusal::UnknownId`].
    refused_unknown_id,
    /// [`Refusal::OutOfTurn`].
    refused_out_of_turn,
    /// [`Refusal::CookieNeeded`].
    refused_cookie_needed,
    /// [`Refusal::Cookie`].
    refused_cookie,
    /// [`Refusal::Quota`].
    refused_quota,
    /// [`Refusal::Seal`].
    refused_seal,
    /// [`Refusal::Fragment`].
    refused_fragment,
    /// [`Refusal::Proof`].
    refused_proof,
    /// [`Refusal::OwnIdentity`].
    refused_own_identity,
    /// [`Refusal::WrongPeer`].
    refused_wrong_peer,
    /// [`Refusal::Unauthorised`].
    refused_unauthorised,
    /// [`Refusal::KeyUnknown`].
    refused_key_unknown,
    /// [`Refusal::KeyMismatch`].
    refused_key_mismatch,
    /// [`Refusal::Signature`].
    refused_signature,
    /// [`Refusal::SimultaneousOpen`].
    refused_simultaneous_open,
    /// [`Refusal::TooFrequent`].
    refused_too_frequent,
    /// [`Refusal::Job`].
    refused_job,
    /// [`Refusal::Busy`].
    refused_busy,
}

impl HandshakeCounters {
    pub(super) fn count(&mut self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Malformed(_) => &mut self.refused_malformed,
            Refusal::Mac => &mut self.refused_mac,
            Refusal::Purpose => &mut self.refused_purpose,
            Refusal::Suite { .. } => &mut self.refused_suite,
            Refusal::UnknownId { .. } => &mut self.refused_unknown_id,
            Refusal::OutOfTurn => &mut self.refused_out_of_turn,
            Refusal::CookieNeeded => &mut self.refused_cookie_needed,
            Refusal::Cookie => &mut self.refused_cookie,
            Refusal::Quota { .. } => &mut self.refused_quota,
            Refusal::Seal => &mut self.refused_seal,
            Refusal::Fragment => &mut self.refused_fragment,
            Refusal::Proof => &mut self.refused_proof,
            Refusal::OwnIdentity => &mut self.refused_own_identity,
            Refusal::WrongPeer => &mut self.refused_wrong_peer,
            Refusal::Unauthorised => &mut self.refused_unauthorised,
            Refusal::KeyUnknown => &mut self.refused_key_unknown,
            Refusal::KeyMismatch => &mut self.refused_key_mismatch,
            Refusal::Signature => &mut self.refused_signature,
            Refusal::SimultaneousOpen => &mut self.refused_simultaneous_open,
            Refusal::TooFrequent { .. } => &mut self.refused_too_frequent,
            Refusal::Job => &mut self.refused_job,
            Refusal::Busy => &mut self.refused_busy,
        };
        *counter += 1;
    }
}
