//! Messages between a validator's probing worker and a mesh agent.
//!
//! A frame is a 4-byte big-endian length and that many bytes of SCALE, at most
//! [`x0_limits::PROBE_FRAME_BYTES_MAX`], inside TLS 1.3 with mutual raw ML-DSA-65 keys.

use crate::{AccountId, Hash, MlDsa65Signature, Moment, market::Slot};
use codec::{Decode, Encode};

/// ALPN protocol name of the probe channel; the genesis hash in hex follows it after a slash.
pub const PROBE_ALPN: &str = "x0-probe/1";

/// What a validator asks an agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ProbeRequest {
    /// Are you there? Answered by a [`Receipt`] over the nonce.
    Alive {
        /// The slot that the probe judges.
        slot: Slot,
        /// Fresh random bytes of the prober.
        nonce: [u8; 32],
    },
    /// Which agents may relay through you now? Answered by [`ProbeResponse::Admissions`].
    Admissions,
}

/// What an agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ProbeResponse {
    /// The answer to [`ProbeRequest::Alive`].
    Receipt(SignedReceipt),
    /// The answer to [`ProbeRequest::Admissions`]: one entry per live deal.
    Admissions(Vec<Admission>),
    /// The agent refuses, and says why in a few words.
    Refused(Vec<u8>),
}

/// What an agent admits on account of one deal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Admission {
    /// The deal.
    pub deal: crate::market::DealId,
    /// The renter's mesh.
    pub mesh: Hash,
    /// The renter's agents that may peer and relay.
    pub agents: Vec<AccountId>,
}

/// What an agent signs (domain `x0/receipt/v1`, with the genesis hash) to show that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// The agent.
    pub node: AccountId,
    /// The slot of the probe.
    pub slot: Slot,
    /// The prober's nonce.
    pub nonce: [u8; 32],
    /// BLAKE2b-256 of the prober's link key, so that a receipt given to one is worthless to another.
    pub prober: Hash,
    /// BLAKE2b-256 of the agent's admission list at this time.
    pub admissions: Hash,
    /// The agent's clock, milliseconds since the Unix epoch.
    pub agent_time_ms: Moment,
}

/// A receipt and the agent's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// By the agent's key in role Agent.
    pub signature: MlDsa65Signature,
}
