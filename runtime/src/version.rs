//! Which rules the chain runs by, as the state says.
//!
//! There is no code blob on chain that a node could load: a new version of the rules is a new
//! binary. If the version came from the binary, each node would switch at the first block that it
//! executes with the new binary, and the chain would fork. So the version is a storage item
//! ([`crate::network::ActiveSpec`]) that switches at a height that was announced on chain, and a
//! node whose binary does not know the active version stops.

use sp_version::RuntimeVersion;

/// The first version of the rules of this software: with it begins a network whose definition does not
/// say otherwise.
pub const FIRST_SPEC: u32 = 1;
/// The newest version of the rules that this binary knows.
///
/// The feature `next-spec` builds the binary of a release that does not exist, for rehearsals of an
/// upgrade: it knows one version more, which differs by a migration that changes nothing else. The
/// unit tests of this crate know it too.
#[cfg(not(any(test, feature = "next-spec")))]
pub const SPEC_VERSION: u32 = 1;
/// The newest version of the rules that this rehearsal binary knows.
#[cfg(any(test, feature = "next-spec"))]
pub const SPEC_VERSION: u32 = 2;
/// All versions of the rules that this binary can execute.
#[cfg(not(any(test, feature = "next-spec")))]
pub const SUPPORTED_SPECS: &[u32] = &[1];
/// All versions of the rules that this rehearsal binary can execute.
#[cfg(any(test, feature = "next-spec"))]
pub const SUPPORTED_SPECS: &[u32] = &[1, 2];

/// Name of the rules. The build that lets accounts sign with Ed25519, to measure what post-quantum signatures cost,
/// has rules of its own.
const SPEC_NAME: &str = if cfg!(feature = "bench-ed25519") { "x0tta6bl4-bench-ed25519" } else { "x0tta6bl4" };

/// The version that this binary reports where no state is at hand.
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: sp_version::Cow::Borrowed(SPEC_NAME),
    impl_name: sp_version::Cow::Borrowed("x0-node"),
    authoring_version: 1,
    spec_version: SPEC_VERSION,
    impl_version: 1,
    apis: crate::apis::RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

/// The version as of the state at hand.
///
/// Metadata is also built where there is no state (tools, documentation); there the version of the
/// binary stands in.
pub struct ActiveVersion;

impl frame_support::traits::Get<RuntimeVersion> for ActiveVersion {
    fn get() -> RuntimeVersion {
        let has_state = sp_externalities::with_externalities(|_| ()).is_some();
        let spec_version = if has_state { crate::network::ActiveSpec::<crate::Runtime>::get() } else { SPEC_VERSION };
        RuntimeVersion { spec_version, ..VERSION }
    }
}
