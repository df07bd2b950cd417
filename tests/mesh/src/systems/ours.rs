//! Our own agents.

use super::{OURS, Patience, Running, System};
use crate::topology::{Shape, Topology};
use anyhow::{Result, bail};
use std::{path::Path, time::Duration};

pub struct Ours;

impl System for Ours {
    fn name(&self) -> &'static str {
        OURS
    }

    fn about(&self) -> &'static str {
        "one agent on each node, static peers, everything else as it comes"
    }

    fn version(&self) -> Result<String> {
        bail!("the agent has no mesh yet")
    }

    fn fails_over(&self, shape: Shape) -> bool {
        shape.paths > 1
    }

    fn patience(&self) -> Patience {
        Patience {
            warm_up: Duration::from_secs(3),
            hold: Duration::from_millis(600),
            settle: Duration::from_millis(2_500),
        }
    }

    fn start(&self, _lab: &Topology, _folder: &Path) -> Result<Running> {
        bail!("the agent has no mesh yet")
    }
}
