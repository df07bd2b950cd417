//! What a deal is about: whom the node serves, and how others can see that it does. Both sides name its
//! hash.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use sp_core::H256;
use sp_runtime::{BoundedVec, traits::ConstU32};

use crate::market::Slot;

/// The path of an HTTP check: printable ASCII that begins with a slash.
pub type CheckPath = BoundedVec<u8, ConstU32<{ x0_limits::CHECK_PATH_BYTES_MAX }>>;

/// How a prober sees that the node serves its renter, without a secret of the renter. The host is
/// that of the node's registered endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum ServiceCheck {
    /// A TCP connection to this port opens.
    Port {
        /// The port; not 0.
        port: u16,
    },
    /// An HTTP GET answers 200 with a body that has this hash.
    Http {
        /// The port; not 0.
        port: u16,
        /// The path, query included.
        path: CheckPath,
        /// BLAKE2b-256 of the body.
        body_hash: H256,
    },
}

impl ServiceCheck {
    /// Whether the port is a port and the path a path.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Port { port } => *port > 0,
            Self::Http { port, path, .. } => {
                *port > 0 && path.first() == Some(&b'/') && path.iter().all(|byte| (0x21..0x7f).contains(byte))
            }
        }
    }
}

/// The checks of a manifest.
pub type ServiceChecks = BoundedVec<ServiceCheck, ConstU32<{ x0_limits::SERVICE_CHECKS_MAX }>>;

/// Whom the provider's node serves in a deal, and how that shows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Manifest<AccountId> {
    /// Identity of the renter's mesh.
    pub mesh: H256,
    /// Subjects of the agents that the node admits as peers while the deal runs. The renter may change
    /// them in mid-deal.
    pub agents: BoundedVec<AccountId, ConstU32<{ x0_limits::MANIFEST_AGENTS_MAX }>>,
    /// What probers try beside the node's own answer; fixed for the whole deal.
    pub checks: ServiceChecks,
}

impl<AccountId: Encode> Manifest<AccountId> {
    /// BLAKE2b-256 of the SCALE encoding: what both sides of a deal agree on.
    #[must_use]
    pub fn hash(&self) -> H256 {
        H256(sp_io::hashing::blake2_256(&self.encode()))
    }

    /// Whether every check can be made.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.checks.iter().all(ServiceCheck::is_valid)
    }
}

/// What became of a manifest whose agents the renter changed in mid-deal. The deal itself keeps the hash
/// that both sides accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ManifestChange {
    /// Number of the version that holds now; the accepted one is 0.
    pub version: u32,
    /// The hash of the version before.
    pub before: H256,
    /// The hash of the version that holds now.
    pub now: H256,
    /// When it was changed.
    pub slot: Slot,
}
