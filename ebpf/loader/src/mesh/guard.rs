//! The filter, or the reason why there is none: what an agent holds.

use super::{
    config::{BucketConfig, FilterConfig, Hook, Mode, PeerId, PeerRule, PrefixRule},
    error::FilterError,
    filter::MeshFilter,
    reader::FilterReader,
};
use std::collections::BTreeMap;

/// How the filter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterStatus {
    /// The programs are loaded.
    Kernel {
        /// Where they run.
        interfaces: Vec<(String, Hook)>,
        /// Where they were asked to run and do not, and why.
        missing: Vec<(String, String)>,
        /// Whether unknown tags are dropped.
        armed: bool,
        /// How many tags are allowed.
        tags: usize,
    },
    /// There are none: the process behind checks everything alone.
    Degraded {
        /// Why.
        reason: String,
    },
}

impl FilterStatus {
    /// Whether every interface that was asked for is filtered by the kernel.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Kernel { missing, .. } if missing.is_empty())
    }
}

impl std::fmt::Display for FilterStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Degraded { reason } => write!(f, "degraded: {reason}"),
            Self::Kernel { interfaces, missing, armed, tags } => {
                let state = if missing.is_empty() { "kernel" } else { "degraded" };
                write!(f, "{state}: {tags} tags, {}", if *armed { "enforced" } else { "not enforced" })?;
                for (interface, hook) in interfaces {
                    write!(f, "; {interface} {hook:?}")?;
                }
                for (interface, reason) in missing {
                    write!(f, "; {interface} not filtered: {reason}")?;
                }
                Ok(())
            }
        }
    }
}

/// The filter, or the reason why there is none. An agent without rights, or on a kernel that refuses
/// the programs, goes on with the checks of its own process and says so.
#[derive(Debug)]
pub struct MeshGuard {
    filter: Result<MeshFilter, String>,
    missing: BTreeMap<String, String>,
}

impl MeshGuard {
    /// Loads the programs, or remembers why that failed.
    #[must_use]
    pub fn load(config: &FilterConfig) -> Self {
        let filter = MeshFilter::load(config).map_err(|error| {
            tracing::warn!(%error, "no mesh filter in the kernel; the agent goes on with its own checks");
            error.to_string()
        });
        Self { filter, missing: BTreeMap::new() }
    }

    /// A guard without a filter, because the configuration says so.
    #[must_use]
    pub fn off(reason: &str) -> Self {
        Self { filter: Err(reason.to_owned()), missing: BTreeMap::new() }
    }

    /// Attaches the filter to an interface; a failure becomes part of the status.
    pub fn attach(&mut self, interface: &str, mode: Mode) -> Option<Hook> {
        let filter = self.filter.as_mut().ok()?;
        match filter.attach(interface, mode) {
            Ok(hook) => {
                self.missing.remove(interface);
                Some(hook)
            }
            Err(error) => {
                tracing::warn!(interface, %error, "the mesh filter is not attached");
                self.missing.insert(interface.to_owned(), error.to_string());
                None
            }
        }
    }

    /// Detaches the filter from an interface and no longer misses it there.
    pub fn detach(&mut self, interface: &str) {
        self.missing.remove(interface);
        if let Ok(filter) = &mut self.filter {
            filter.detach(interface);
        }
    }

    /// As [`MeshFilter::allow`].
    ///
    /// # Errors
    /// As there; none without a filter.
    pub fn allow(&mut self, tag: u32, peer: PeerId) -> Result<(), FilterError> {
        self.with(|filter| filter.allow(tag, peer))
    }

    /// As [`MeshFilter::revoke`].
    ///
    /// # Errors
    /// As there; none without a filter.
    pub fn revoke(&mut self, tag: u32) -> Result<(), FilterError> {
        self.with(|filter| filter.revoke(tag))
    }

    /// As [`MeshFilter::arm`].
    ///
    /// # Errors
    /// As there; none without a filter.
    pub fn arm(&mut self, enforce: bool) -> Result<(), FilterError> {
        self.with(|filter| filter.arm(enforce))
    }

    /// As [`MeshFilter::set_ports`].
    ///
    /// # Errors
    /// As there; none without a filter.
    pub fn set_ports(&mut self, ports: &[u16]) -> Result<(), FilterError> {
        self.with(|filter| filter.set_ports(ports))
    }

    /// As [`MeshFilter::set_buckets`].
    ///
    /// # Errors
    /// As there; none without a filter.
    pub fn set_buckets(&mut self, per_prefix: BucketConfig, global: BucketConfig) -> Result<(), FilterError> {
        self.with(|filter| filter.set_buckets(per_prefix, global))
    }

    /// As [`MeshFilter::set_rules`]. Without a filter nothing happens: the process enforces rules on peers
    /// itself, and prefixes are not looked at.
    ///
    /// # Errors
    /// As there; none without a filter.
    pub fn set_rules(&mut self, peers: &[PeerRule], prefixes: &[PrefixRule]) -> Result<(), FilterError> {
        self.with(|filter| filter.set_rules(peers, prefixes))
    }

    /// A handle that reads what the filter counts; none without a filter.
    #[must_use]
    pub fn reader(&self) -> Option<FilterReader> {
        self.filter.as_ref().ok().map(MeshFilter::reader)
    }

    /// As [`FilterReader::last_seen`]; `None` without a filter.
    #[must_use]
    pub fn last_seen(&self, tag: u32) -> Option<u64> {
        self.reader()?.last_seen(tag)
    }

    /// How the filter is.
    #[must_use]
    pub fn status(&self) -> FilterStatus {
        match &self.filter {
            Err(reason) => FilterStatus::Degraded { reason: reason.clone() },
            Ok(filter) => FilterStatus::Kernel {
                interfaces: filter.interfaces().map(|(interface, hook)| (interface.to_owned(), hook)).collect(),
                missing: self.missing.iter().map(|(interface, why)| (interface.clone(), why.clone())).collect(),
                armed: filter.is_armed(),
                tags: filter.tags(),
            },
        }
    }

    fn with(&mut self, work: impl FnOnce(&mut MeshFilter) -> Result<(), FilterError>) -> Result<(), FilterError> {
        match &mut self.filter {
            Ok(filter) => work(filter),
            Err(_) => Ok(()),
        }
    }
}
