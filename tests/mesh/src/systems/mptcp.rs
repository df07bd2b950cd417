//! The kernel's multipath TCP: the stream is messages on one connection, not datagrams.

use super::{A, B, Patience, Running, System, underlay};
use crate::{fault::Class, probe::Transport, topology::Topology};
use anyhow::{Context as _, Result};
use std::{path::Path, time::Duration};

pub struct Mptcp;

impl System for Mptcp {
    fn name(&self) -> &'static str {
        "kernel MPTCP"
    }

    fn about(&self) -> &'static str {
        "in-kernel path manager, default scheduler, one subflow on each path; messages on one connection, so that \
         lost packets are sent again and only the gap counts; no encryption"
    }

    fn version(&self) -> Result<String> {
        std::fs::metadata("/proc/sys/net/mptcp/enabled").context("the kernel has no MPTCP")?;
        Ok(std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
    }

    fn meets(&self, class: Class) -> bool {
        !class.shape().relays
    }

    fn patience(&self) -> Patience {
        Patience { warm_up: Duration::from_secs(2), hold: Duration::from_secs(6), settle: Duration::from_secs(5) }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        for node in [A, B] {
            let namespace = lab.namespace(node);
            namespace.command("sysctl", "-qw net.mptcp.enabled=1")?;
            namespace.ip("mptcp limits set subflow 4 add_addr_accepted 4")?;
        }
        for path in 1..lab.shape.paths {
            let wire = lab.path(path).first().and_then(|wire| lab.wires.get(*wire)).context("a wire of the path")?;
            let left = &wire.left;
            lab.namespace(A).ip(&format!("mptcp endpoint add {} dev {} subflow", left.address, left.device))?;
            let right = &wire.right;
            lab.namespace(B).ip(&format!("mptcp endpoint add {} dev {} signal", right.address, right.device))?;
        }
        let mut running = Running::new(underlay(lab, A, 0)?, underlay(lab, B, 0)?, folder);
        running.transport = Transport::Mptcp;
        Ok(running)
    }
}
