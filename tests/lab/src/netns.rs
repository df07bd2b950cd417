//! Network namespaces of the lab, each with one tunnel device to the fabric.

use anyhow::{Context as _, Result};
use std::{net::Ipv4Addr, ops::Deref, os::fd::OwnedFd};
use x0_test_support::netns;

/// Name of the device that leads to the other validators.
const DEVICE: &str = "lab0";
/// Large packets, so that forwarding in user space costs little for each byte.
pub const MTU_BYTES: i32 = 9_000;
/// The devices of all validators are in one /16.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 0, 0);

/// A network namespace with loopback and a tunnel device that are up.
#[derive(Clone, Debug)]
pub struct Namespace {
    inner: netns::Namespace,
    /// The address of its device.
    pub address: Ipv4Addr,
}

impl Namespace {
    /// Makes a namespace whose device has this address in a /16, and the user-space end of the device.
    ///
    /// # Errors
    /// When the system does not allow it: the lab needs root, or a user namespace, and `/dev/net/tun`.
    pub fn create(address: Ipv4Addr) -> Result<(Self, OwnedFd)> {
        let inner = netns::Namespace::create()?;
        let tunnel = inner.tunnel(DEVICE, address, MASK, MTU_BYTES).context("the way to the fabric")?;
        Ok((Self { inner, address }, tunnel))
    }

    /// Gives the device a further address, under a label with this number.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn add_address(&self, label: usize, address: Ipv4Addr) -> Result<()> {
        self.inner.add_address(DEVICE, label, address)
    }
}

impl Deref for Namespace {
    type Target = netns::Namespace;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}
