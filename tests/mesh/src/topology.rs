//! Nodes in namespaces and the wires between them.
//!
//! ```text
//!   two ends, N wires                 two ends, N relays
//!      a[a1] ---- [b1]b                  a[a1] --- [r1a] r1 [r1b] --- [b1]b
//!      a[a2] ---- [b2]b                  a[a2] --- [r2a] r2 [r2b] --- [b2]b
//! ```
//!
//! Wire `i` of a direct topology has the network `10.i.1.0/24`, ends `.1` and `.2`; of a relayed one the halves have
//! `10.i.1.0/24` (a, relay) and `10.i.2.0/24` (relay, b). Every wire has the drop program at both ends.

use crate::{
    bpf::{Direction, Drops, Fault, FaultMap},
    impair::{Impairer, Rule},
};
use anyhow::{Context as _, Result, ensure};
use std::{net::Ipv4Addr, os::fd::OwnedFd};
use x0_test_support::netns::Namespace;

/// Wires, or relays, of one topology.
pub const PATHS_MAX: usize = 9;

/// What a throttled path lets through at once: two full packets.
const BURST_BYTES: u32 = 3_100;
/// Queue before a throttled path, milliseconds at its rate.
pub const QUEUE_MS: u32 = 100;

/// What the wires of a lab are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Material {
    /// Virtual Ethernet pairs: as fast as the kernel.
    Ethernet,
    /// Tunnel devices with this delay between them; see [`crate::impair`].
    Impaired(Rule),
}

/// Who is connected with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Wires between the ends, or relays between them.
    pub paths: usize,
    /// Whether a relay stands in the middle of each path.
    pub relays: bool,
    /// Of what the wires are.
    pub material: Material,
}

impl Shape {
    /// Two ends with so many wires.
    #[must_use]
    pub const fn direct(paths: usize) -> Self {
        Self { paths, relays: false, material: Material::Ethernet }
    }

    /// Two ends with so many relays between them, none of them connected with another.
    #[must_use]
    pub const fn relayed(paths: usize) -> Self {
        Self { paths, relays: true, material: Material::Ethernet }
    }

    /// The same with every wire slowed.
    #[must_use]
    pub const fn impaired(mut self, rule: Rule) -> Self {
        self.material = Material::Impaired(rule);
        self
    }
}

/// One end of a wire.
#[derive(Clone, Debug)]
pub struct End {
    /// Number of the node in [`Topology::nodes`].
    pub node: usize,
    /// Its device.
    pub device: String,
    /// The device's address in a /24.
    pub address: Ipv4Addr,
}

/// A wire between two nodes.
#[derive(Debug)]
pub struct Wire {
    /// The end nearer to `a`.
    pub left: End,
    /// The end nearer to `b`.
    pub right: End,
    _programs: [OwnedFd; 2],
    _impairer: Option<Impairer>,
}

/// A node: a namespace with a name.
#[derive(Clone, Debug)]
pub struct Node {
    /// `a`, `b`, `r1`, `r2` and so on.
    pub name: String,
    /// Where its processes live.
    pub namespace: Namespace,
}

/// A lab that stands. Dropping it takes everything down; so does the end of the process, however it comes.
#[derive(Debug)]
pub struct Topology {
    /// What it is.
    pub shape: Shape,
    /// `a`, `b`, then the relays.
    pub nodes: Vec<Node>,
    /// Path by path, from `a` to `b`.
    pub wires: Vec<Wire>,
    faults: FaultMap,
}

/// Number of the node where streams begin.
pub const A: usize = 0;
/// Number of the node where they end.
pub const B: usize = 1;

impl Topology {
    /// Builds a lab.
    ///
    /// # Errors
    /// When the system does not allow it: labs need root, and Linux 6.6 for the place of their drop program.
    pub fn build(shape: Shape) -> Result<Self> {
        ensure!((1..=PATHS_MAX).contains(&shape.paths), "one to {PATHS_MAX} paths");
        let mut names = vec!["a".to_owned(), "b".to_owned()];
        if shape.relays {
            names.extend((1..=shape.paths).map(|path| format!("r{path}")));
        }
        let mut nodes = Vec::new();
        for name in names {
            let namespace = Namespace::create()?;
            // Paths come and go and packets return by other ones than they came by; addresses outlive their carrier.
            for setting in [
                "net.ipv4.conf.all.rp_filter=0",
                "net.ipv4.conf.default.rp_filter=0",
                "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1",
                "net.ipv6.conf.default.accept_dad=0",
                "net.ipv6.conf.all.keep_addr_on_down=1",
                "net.ipv6.conf.default.keep_addr_on_down=1",
            ] {
                namespace.command("sysctl", &format!("-qw {setting}"))?;
            }
            nodes.push(Node { name, namespace });
        }
        let mut lab = Self { shape, nodes, wires: Vec::new(), faults: FaultMap::create()? };
        for path in 1..=shape.paths {
            let number = u8::try_from(path)?;
            if shape.relays {
                let relay = path + 1;
                lab.lay((A, format!("a{path}")), (relay, format!("r{path}a")), [10, number, 1])?;
                lab.lay((relay, format!("r{path}b")), (B, format!("b{path}")), [10, number, 2])?;
            } else {
                lab.lay((A, format!("a{path}")), (B, format!("b{path}")), [10, number, 1])?;
            }
        }
        Ok(lab)
    }

    fn lay(&mut self, left: (usize, String), right: (usize, String), network: [u8; 3]) -> Result<()> {
        let number = self.wires.len();
        let [x, y, z] = network;
        let end = |(node, device): (usize, String), last| End { node, device, address: Ipv4Addr::new(x, y, z, last) };
        let (left, right) = (end(left, 1), end(right, 2));
        let (near, far) = (&self.nodes[left.node].namespace, &self.nodes[right.node].namespace);
        let impairer = match self.shape.material {
            Material::Ethernet => {
                near.wire(&left.device, far, &right.device)?;
                for (namespace, end) in [(near, &left), (far, &right)] {
                    namespace.ip(&format!("address add {}/24 dev {}", end.address, end.device))?;
                }
                know(near, &left, far, &right)?;
                None
            }
            Material::Impaired(rule) => {
                Some(Impairer::between((near, &left), (far, &right), rule, u64::try_from(number)?)?)
            }
        };
        let programs = [
            self.faults.watch(number, false, near, &left.device)?,
            self.faults.watch(number, true, far, &right.device)?,
        ];
        self.wires.push(Wire { left, right, _programs: programs, _impairer: impairer });
        Ok(())
    }

    /// The switch of all faults.
    #[must_use]
    pub const fn faults(&self) -> &FaultMap {
        &self.faults
    }

    /// The namespace of a node.
    #[must_use]
    pub fn namespace(&self, node: usize) -> &Namespace {
        &self.nodes[node].namespace
    }

    /// Numbers of the wires of a path, from `a` to `b`; paths count from zero.
    #[must_use]
    pub fn path(&self, path: usize) -> Vec<usize> {
        if self.shape.relays { vec![2 * path, 2 * path + 1] } else { vec![path] }
    }

    /// Sets the fault of a whole path, or of one wire where there is no relay.
    ///
    /// # Errors
    /// When there is no such path.
    pub fn set(&self, path: usize, direction: Direction, fault: Fault) -> Result<()> {
        self.faults.set_all(&self.path(path), direction, fault)
    }

    /// Lifts the fault of a whole path; its counts stay until the next one is set.
    ///
    /// # Errors
    /// When there is no such path.
    pub fn lift(&self, path: usize) -> Result<()> {
        self.path(path).into_iter().try_for_each(|wire| self.faults.lift(wire))
    }

    /// Counts of a wire's fault, to the left and to the right.
    ///
    /// # Errors
    /// When there is no such wire.
    pub fn drops(&self, wire: usize) -> Result<[Drops; 2]> {
        Ok([self.faults.drops(wire, false)?, self.faults.drops(wire, true)?])
    }

    /// Limits the rate of a path in both directions, with a queue of [`QUEUE_MS`] before its slow end, or ends the limit.
    ///
    /// # Errors
    /// When the system refuses, for example for want of the token bucket filter.
    pub fn throttle(&self, path: usize, kbit_s: Option<u32>) -> Result<()> {
        for wire in self.path(path).into_iter().filter_map(|wire| self.wires.get(wire)) {
            for end in [&wire.left, &wire.right] {
                let words = match kbit_s {
                    Some(rate) => format!(
                        "qdisc replace dev {} root tbf rate {rate}kbit burst {BURST_BYTES} latency {QUEUE_MS}ms",
                        end.device
                    ),
                    None => format!("qdisc del dev {} root", end.device),
                };
                self.namespace(end.node).command("tc", &words)?;
            }
        }
        Ok(())
    }

    /// Bytes that have left an end over each path, by the devices' own counters.
    ///
    /// # Errors
    /// When the system's table cannot be read.
    pub fn carried(&self, from_b: bool) -> Result<Vec<u64>> {
        let table = sent(self.namespace(if from_b { B } else { A }))?;
        let device = |path: usize| {
            let ends = self.path(path);
            let wire = if from_b { ends.last() } else { ends.first() };
            let wire = wire.and_then(|wire| self.wires.get(*wire)).context("a path's wire")?;
            Ok(if from_b { &wire.right.device } else { &wire.left.device })
        };
        let bytes = |device: &str| table.iter().find(|(name, _)| name == device).map_or(0, |(_, bytes)| *bytes);
        (0..self.shape.paths).map(|path| device(path).map(|device| bytes(device))).collect()
    }

    /// Takes the carrier of a wire away or gives it back, at its left or its right end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn carrier(&self, wire: usize, right: bool, up: bool) -> Result<()> {
        let wire = self.wires.get(wire).context("no such wire")?;
        let end = if right { &wire.right } else { &wire.left };
        self.namespace(end.node).set_device(&end.device, up)?;
        if up && self.shape.material == Material::Ethernet {
            // Permanent neighbours go with the carrier.
            know(self.namespace(wire.left.node), &wire.left, self.namespace(wire.right.node), &wire.right)?;
        }
        Ok(())
    }
}

/// Tells both ends of a wire each other's hardware address, so that no measurement begins with the question for it.
fn know(near: &Namespace, left: &End, far: &Namespace, right: &End) -> Result<()> {
    for (namespace, own, other_namespace, other) in [(near, left, far, right), (far, right, near, left)] {
        let shown = other_namespace.ip(&format!("-o link show dev {}", other.device))?;
        let hardware = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        let hardware = hardware.context("a hardware address")?;
        namespace.ip(&format!("neigh replace {} lladdr {hardware} dev {} nud permanent", other.address, own.device))?;
    }
    Ok(())
}

/// Bytes sent by each device of a namespace.
fn sent(namespace: &Namespace) -> Result<Vec<(String, u64)>> {
    let table = namespace.inside(|| Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?))?;
    let rows = table.lines().skip(2).filter_map(|line| {
        let (name, figures) = line.split_once(':')?;
        // The ninth figure is the first one of the sending half.
        let bytes = figures.split_whitespace().nth(8)?.parse().ok()?;
        Some((name.trim().to_owned(), bytes))
    });
    Ok(rows.collect())
}
