//! The first path itself, without any system: the floor of the lab's own latency, and no second path.

use super::{A, B, Patience, Running, System, underlay};
use crate::{fault::Class, topology::Topology};
use anyhow::Result;
use std::{path::Path, time::Duration};

pub struct Plain;

impl System for Plain {
    fn name(&self) -> &'static str {
        "bare wire"
    }

    fn about(&self) -> &'static str {
        "the kernel's own forwarding over the first path, no overlay, no encryption, no second path"
    }

    fn version(&self) -> Result<String> {
        Ok(std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
    }

    fn meets(&self, _class: Class) -> bool {
        false
    }

    fn patience(&self) -> Patience {
        let moment = Duration::from_millis(500);
        Patience { warm_up: moment, hold: moment, settle: moment }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        let (a, b) = (underlay(lab, A, 0)?, underlay(lab, B, 0)?);
        if lab.shape.relays {
            for (node, to, via) in [(A, b, underlay(lab, 2, 0)?), (B, a, lab.wires[1].left.address)] {
                lab.namespace(node).ip(&format!("route add {to}/32 via {via}"))?;
            }
        }
        Ok(Running::new(a, b, folder))
    }
}
