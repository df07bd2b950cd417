//! babeld: routes over both paths, nothing encrypted, hellos as fast as it takes them.

use super::{A, B, Launch, Patience, Running, System, debian, devices};
use crate::{fault::Class, process::find, topology::Topology};
use anyhow::{Context as _, Result};
use std::{net::Ipv6Addr, path::Path, time::Duration};

pub struct Babel;

const ADDRESSES: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xa), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xb)];

impl System for Babel {
    fn name(&self) -> &'static str {
        "babeld (10 ms hellos)"
    }

    fn about(&self) -> &'static str {
        "hello-interval 0.01 s (its default is 4 s), update-interval 0.04 s; plain routes, no encryption; where its \
         process on a relay is stopped or killed, the relay's kernel goes on forwarding"
    }

    fn version(&self) -> Result<String> {
        debian("babeld", "babeld")
    }

    fn meets(&self, _class: Class) -> bool {
        true
    }

    fn patience(&self) -> Patience {
        Patience {
            warm_up: Duration::from_secs(4),
            hold: Duration::from_millis(1_500),
            settle: Duration::from_millis(2_500),
        }
    }

    fn start(&self, lab: &Topology, folder: &Path) -> Result<Running> {
        let program = find("babeld").context("babeld is not installed")?;
        let mut running = Running::new(ADDRESSES[A], ADDRESSES[B], folder);
        for (node, address) in [A, B].into_iter().zip(ADDRESSES) {
            lab.namespace(node).ip(&format!("-6 address add {address}/128 dev lo nodad"))?;
        }
        for (node, name) in lab.nodes.iter().map(|node| node.name.clone()).enumerate() {
            let file = |ending| folder.join(format!("babeld-{name}.{ending}")).into_os_string();
            let mut arguments = vec!["-I".into(), file("pid"), "-S".into(), file("state"), "-d".into(), "1".into()];
            for line in [
                "default hello-interval 0.01 update-interval 0.04",
                "redistribute local ip fd00::/16 allow",
                "redistribute local deny",
            ] {
                arguments.extend(["-C".into(), line.into()]);
            }
            arguments.extend(devices(lab, node).into_iter().map(Into::into));
            running.launch(lab, Launch::new(node, &format!("babeld-{name}"), program.clone(), arguments))?;
        }
        for (node, other) in [(A, ADDRESSES[B]), (B, ADDRESSES[A])] {
            let namespace = lab.namespace(node).clone();
            let daemon = running.on(node).next().context("babeld of an end")?;
            daemon.until("a route to the other end", || {
                Ok(namespace.ip(&format!("-6 route show {other}"))?.contains("babel"))
            })?;
        }
        Ok(running)
    }
}
