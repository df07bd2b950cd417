//! What is answered on the control socket and to Prometheus.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    config::Config,
    control::{Answer, Answers, CAPTURE_SECONDS_MAX, Request},
    identity::blocking,
    mesh::{
        MeshService, parse,
        report::camel,
        wire::{self, Seen},
    },
    metrics::Numbers,
    status::Sources,
};

/// Headers of one capture at most.
const CAPTURE_PACKETS_MAX: u64 = 1_000_000;
/// Headers that wait for a slow reader.
const CAPTURE_QUEUE: usize = 4_096;

impl Answers for Sources {
    async fn answer(&self, request: Request, answer: &mut Answer<'_>) -> Result<(), String> {
        let value = match request {
            Request::Status => serde_json::to_value(self.report().await).map_err(|error| error.to_string())?,
            Request::Peers => self.mesh()?.peers().await.map_err(|error| error.to_string())?,
            Request::Paths { peer } => {
                let peer = peer.map(|peer| parse::account("the peer", &peer)).transpose();
                let peer = peer.map_err(|error| error.to_string())?;
                self.mesh()?.paths(peer.as_ref()).await.map_err(|error| error.to_string())?
            }
            Request::Capture { seconds, decrypted } => return self.capture(seconds, decrypted, answer).await,
            Request::Reload => self.reload().await?,
        };
        // Who asked and went away needs no answer.
        answer.line(value).await.map_err(|error| error.to_string())
    }
}

impl Numbers for Sources {
    async fn text(&self) -> String {
        let mut text = String::new();
        let serving = self.serving.read().clone();
        if let Some(serving) = serving {
            let line = serving.line.borrow().clone();
            let counters = serving.agent.lock().counters();
            for (name, kind, value) in [
                ("x0_agent_chain_connected", "gauge", u64::from(line.connected)),
                ("x0_agent_chain_height", "gauge", line.height.unwrap_or(0)),
                ("x0_agent_chain_reconnects_total", "counter", line.reconnects),
                ("x0_agent_receipts_total", "counter", counters.receipts),
                ("x0_agent_refusals_total", "counter", counters.refusals),
            ] {
                text.push_str(&format!("# TYPE {name} {kind}\n{name} {value}\n"));
            }
        }
        if let Some(mesh) = self.mesh.get() {
            text.push_str(&mesh.metrics().await);
        }
        text
    }
}

impl Sources {
    fn mesh(&self) -> Result<&MeshService, String> {
        self.mesh.get().ok_or_else(|| "this agent takes part in no mesh: its configuration has no [mesh]".to_owned())
    }

    /// Reads the configuration again and takes over what needs no restart.
    ///
    /// # Errors
    /// A sentence; what was in force before goes on.
    pub async fn reload(&self) -> Result<Value, String> {
        let mesh = self.mesh()?;
        let path = self.config.clone();
        let plan = blocking(move || Config::load(&path).and_then(|config| config.plan(&path))).await;
        let plan = plan.and_then(|plan| plan).map_err(|error| error.to_string())?;
        let plan = plan.ok_or("the section [mesh] is gone; leaving the mesh needs a restart")?;
        let restart = mesh.reload(plan).await.map_err(|error| error.to_string())?;
        tracing::info!(?restart, "the configuration was read again");
        Ok(json!({ "reloaded": true, "restartNeededFor": restart }))
    }

    async fn capture(&self, seconds: u64, decrypted: bool, answer: &mut Answer<'_>) -> Result<(), String> {
        if !(1..=CAPTURE_SECONDS_MAX).contains(&seconds) {
            return Err(format!("a capture takes 1 to {CAPTURE_SECONDS_MAX} seconds"));
        }
        let mesh = self.mesh()?;
        if decrypted {
            self.capture_inner(mesh, seconds, answer).await
        } else {
            capture_wire(mesh, seconds, answer).await
        }
    }

    async fn capture_inner(&self, mesh: &MeshService, seconds: u64, answer: &mut Answer<'_>) -> Result<(), String> {
        tracing::warn!(seconds, "headers of decrypted packets are captured");
        let started = mesh.with_plane(|plane| plane.capture(seconds, CAPTURE_PACKETS_MAX)).await;
        let mut captured = started.ok_or("the mesh does not run")?.map_err(|error| error.to_string())?;
        let end = tokio::time::sleep(Duration::from_secs(seconds));
        tokio::pin!(end);
        let mut first = None;
        loop {
            let header = tokio::select! {
                header = captured.recv() => match header {
                    Some(header) => header,
                    // The data thread has ended it.
                    None => return Ok(()),
                },
                () = &mut end => break,
                () = answer.gone() => break,
            };
            let start = *first.get_or_insert(header.at);
            let line = json!({
                "atUs": header.at.since_ns(start) / 1_000,
                "direction": camel(header.direction),
                "peer": header.from.map(|peer| x0_types::AccountId::new(peer.0)),
                "packetBytes": header.packet_bytes,
                "header": x0_client::text::hex_text(&header.header),
            });
            if answer.line(line).await.is_err() {
                break;
            }
        }
        // A plane that is gone by now captures nothing any more.
        let _ = mesh.with_plane(crate::mesh::plane::Plane::end_capture).await;
        Ok(())
    }
}

async fn capture_wire(mesh: &MeshService, seconds: u64, answer: &mut Answer<'_>) -> Result<(), String> {
    let ports = mesh.with_plane(|plane| plane.report.underlays.iter().map(|underlay| underlay.listen.port()).collect());
    let ports: BTreeSet<u16> = ports.await.ok_or("the mesh does not run")?;
    let socket = wire::open()?;
    let (sender, mut seen) = mpsc::channel::<Seen>(CAPTURE_QUEUE);
    let duration = Duration::from_secs(seconds);
    let watching = tokio::task::spawn_blocking(move || wire::watch(&socket, &ports, duration, &sender));
    loop {
        let datagram = tokio::select! {
            datagram = seen.recv() => datagram,
            () = answer.gone() => None,
        };
        let Some(datagram) = datagram else { break };
        if answer.line(camel(datagram)).await.is_err() {
            break;
        }
    }
    // The watch ends when nobody takes what it reads.
    drop(seen);
    watching.await.map_err(|error| error.to_string())?
}
