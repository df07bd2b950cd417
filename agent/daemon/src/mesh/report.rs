//! What the agent says of its mesh: JSON for programs, lines for people, numbers for Prometheus.
//!
//! The JSON is that of the protocol's own structures with names in camel case, so that it grows with them.

use serde::Serialize;
use serde_json::{Map, Value, json};
use x0_mesh::{NodeId, node::SessionPaths};
use x0_mesh_wire::handshake::SUITE_1;
use x0_types::AccountId;

use super::{
    MeshService, State,
    plane::{Plane, PlaneError, Snapshot, hex},
};

/// What the handshake's sets of algorithms consist of. The protocol has one set, opens nothing without it, and counts
/// what offers another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Algorithms {
    /// The set's number on the wire.
    pub suite: u8,
    /// Key exchange, both parts together.
    pub key_exchange: &'static str,
    /// Who is who.
    pub authentication: &'static str,
    /// Packets and frames.
    pub sealing: &'static str,
    /// From secrets to keys.
    pub key_schedule: &'static str,
    /// What a relay checks before it does anything else.
    pub hop: &'static str,
}

/// The only set.
const SUITE: Algorithms = Algorithms {
    suite: SUITE_1,
    key_exchange: "ML-KEM-768 + X25519",
    authentication: "ML-DSA-65",
    sealing: "AES-256-GCM",
    key_schedule: "HKDF-SHA-384",
    hop: "SipHash-2-4",
};

impl MeshService {
    /// The mesh's part of the status.
    pub async fn report(&self) -> Value {
        let state = self.0.state.lock().await;
        let mut report = json!({
            "state": if state.plane.is_some() { "up" } else { "waiting" },
            "name": state.plan.name,
            "authority": {
                "height": state.facts.as_ref().map(|(facts, _)| facts.height),
                "ageMs": state.facts.as_ref().map(|(_, read)| u64::try_from(read.elapsed().as_millis()).unwrap_or(u64::MAX)),
                "deals": state.facts.as_ref().map(|(facts, _)| facts.deals.iter().map(|deal| deal.id).collect::<Vec<_>>()),
                "peers": state.peers.len(),
                "configuredPeers": state.plan.peers.len(),
            },
        });
        let mut warnings = state.warnings.clone();
        warnings.extend(state.failure.iter().cloned());
        if let Some(plane) = &state.plane {
            match plane.snapshot().await {
                Ok(snapshot) => add_plane(&mut report, plane, &snapshot, &mut warnings),
                Err(error) => {
                    report["state"] = "failed".into();
                    warnings.push(error.to_string());
                }
            }
        } else if state.plan.mesh_id.is_none() {
            warnings.push("no deal on this node runs, and the configuration names no mesh: waiting".to_owned());
        }
        report["warnings"] = warnings.into();
        report
    }

    /// Everybody whom this node may deal with, their links and sessions.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn peers(&self) -> Result<Value, PlaneError> {
        let state = self.0.state.lock().await;
        let Some(plane) = &state.plane else { return Ok(json!([])) };
        let status = camel(plane.snapshot().await?.status);
        let of = |list: &str, id: &NodeId| -> Vec<Value> {
            let name = id.to_string();
            let all = status[list].as_array().into_iter().flatten();
            all.filter(|entry| entry["peer"] == name.as_str()).cloned().collect()
        };
        let peers = state.peers.iter().map(|peer| {
            json!({
                "account": AccountId::new(peer.id.0),
                "node": peer.id,
                "address": x0_mesh::node::overlay_address(&plane.mesh_id, &peer.id),
                "rights": peer.rights,
                "trustQ16": peer.trust_q16,
                "endpoints": endpoints(&state, peer),
                "configured": state.plan.peers.iter().any(|known| known.account == AccountId::new(peer.id.0)),
                "links": of("links", &peer.id),
                "session": of("sessions", &peer.id).into_iter().next(),
            })
        });
        Ok(peers.collect())
    }

    /// The paths of sessions, of all or of one peer.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn paths(&self, peer: Option<&AccountId>) -> Result<Value, PlaneError> {
        let state = self.0.state.lock().await;
        let Some(plane) = &state.plane else { return Ok(json!([])) };
        let (_, sessions) = plane.paths().await?;
        let wanted = |session: &&SessionPaths| peer.is_none_or(|peer| AccountId::new(session.peer.0) == *peer);
        Ok(sessions.iter().filter(wanted).map(session).collect())
    }

    /// Works with the data plane, if it runs.
    ///
    /// # Errors
    /// What the work says; `None` when there is no plane.
    pub async fn with_plane<T>(&self, work: impl FnOnce(&Plane) -> T) -> Option<T> {
        self.0.state.lock().await.plane.as_ref().map(work)
    }

    /// The lines for Prometheus.
    pub async fn metrics(&self) -> String {
        let state = self.0.state.lock().await;
        let mut text = Metrics::default();
        text.gauge("x0_agent_mesh_up", "1 while the data plane runs", u64::from(state.plane.is_some()));
        text.gauge("x0_agent_mesh_peers", "peers by deals and configuration", state.peers.len() as u64);
        let age_s = state.facts.as_ref().map_or(u64::MAX, |(_, read)| read.elapsed().as_secs());
        if age_s != u64::MAX {
            text.gauge("x0_agent_mesh_view_age_seconds", "age of the last view of the chain", age_s);
        }
        let Some(plane) = &state.plane else { return text.0 };
        match plane.snapshot().await {
            Ok(snapshot) => add_metrics(&mut text, &snapshot, plane),
            Err(error) => tracing::warn!(%error, "no numbers from the data thread"),
        }
        text.0
    }
}

fn endpoints(state: &State, peer: &x0_mesh::node::Peer) -> Vec<Value> {
    let name = |id| state.plan.underlays.iter().find(|underlay| underlay.id == id).map(|underlay| &underlay.name);
    peer.addresses.iter().map(|(id, address)| json!({ "underlay": name(*id), "address": address })).collect()
}

fn session(paths: &SessionPaths) -> Value {
    let mut value = camel(&paths.explanation);
    value["peer"] = AccountId::new(paths.peer.0).to_string().into();
    let underlays = paths.underlays.iter();
    for (path, underlay) in value["paths"].as_array_mut().into_iter().flatten().zip(underlays) {
        path["underlay"] = underlay.as_str().into();
    }
    value
}

fn add_plane(report: &mut Value, plane: &Plane, snapshot: &Snapshot, warnings: &mut Vec<String>) {
    warnings.extend(plane.warnings.iter().cloned().chain(plane.report.warnings()));
    if !snapshot.filter.is_complete() {
        warnings.push(format!("the filter in the kernel is {}", snapshot.filter));
    }
    warnings.extend(snapshot.notes.filter_error.iter().cloned());
    warnings.extend(snapshot.notes.dark.iter().map(|underlay| format!("underlay {underlay} has no carrier")));
    let status = camel(&snapshot.status);
    report["meshId"] = hex(&plane.mesh_id).into();
    report["node"] = status["node"].clone();
    report["address"] = status["address"].clone();
    report["algorithms"] = json!(SUITE);
    report["opened"] = camel(&plane.report);
    for field in ["links", "sessions", "counters", "nodesKnown", "jobs", "waitingBytes"] {
        report[field] = status[field].clone();
    }
    report["handshakes"] = camel(snapshot.handshakes);
    report["io"] = camel(&snapshot.io);
    report["filter"] = json!({ "state": snapshot.filter.to_string(), "datagrams": camel(&snapshot.filtered) });
    report["notes"] = camel(&snapshot.notes);
    let events = snapshot.events.iter().map(|(at, event)| json!({ "atUs": at, "event": camel(event) }));
    report["events"] = events.collect();
}

/// Text in the format of Prometheus 0.0.4.
#[derive(Default)]
struct Metrics(String);

impl Metrics {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "counter", help, value);
    }

    /// One metric with a label that says which.
    fn family(&mut self, name: &str, kind: &str, help: &str, label: &str, values: impl Iterator<Item = (String, u64)>) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (which, value) in values {
            self.0.push_str(&format!("{name}{{{label}=\"{which}\"}} {value}\n"));
        }
    }
}

fn add_metrics(text: &mut Metrics, snapshot: &Snapshot, plane: &Plane) {
    let status = &snapshot.status;
    let (refused, rest): (Vec<_>, Vec<_>) =
        status.counters.list().into_iter().partition(|(name, _)| name.starts_with("refused_"));
    for (name, value) in rest {
        text.counter(&format!("x0_agent_mesh_{name}_total"), "see docs/operating/x0-agent.md", value);
    }
    let named = |prefix: &str, (name, value): (&str, u64)| (name.trim_start_matches(prefix).to_owned(), value);
    text.family(
        "x0_agent_mesh_refused_total",
        "counter",
        "what was refused, by reason",
        "reason",
        refused.into_iter().map(|entry| named("refused_", entry)),
    );
    text.family(
        "x0_agent_mesh_handshakes_total",
        "counter",
        "handshakes and their refusals",
        "what",
        snapshot.handshakes.each().map(|entry| named("", entry)),
    );
    text.family(
        "x0_agent_mesh_filter_total",
        "counter",
        "datagrams by what the kernel's filter did with them",
        "fate",
        snapshot.filtered.iter().map(|(name, value)| (name.clone(), *value)),
    );
    text.gauge(
        "x0_agent_mesh_filter_complete",
        "1 while the kernel filters all interfaces",
        u64::from(snapshot.filter.is_complete()),
    );
    let states = ["recovering", "up", "suspect", "down"];
    let state_of = |link: &x0_mesh::node::LinkStatus| camel(link.state).as_str().unwrap_or_default().to_owned();
    let in_state = |state: &str| status.links.iter().filter(|link| state_of(link) == state).count() as u64;
    text.family(
        "x0_agent_mesh_links",
        "gauge",
        "links by state",
        "state",
        states.into_iter().map(|state| (state.to_owned(), in_state(state))),
    );
    let open = status.sessions.iter().filter(|session| session.open).count() as u64;
    text.gauge("x0_agent_mesh_sessions", "open sessions", open);
    let rtt = |link: &x0_mesh::node::LinkStatus| {
        (format!("{}\",underlay=\"{}", link.peer, link.underlay), link.measured.srtt_us.unwrap_or(0))
    };
    text.family(
        "x0_agent_mesh_link_rtt_microseconds",
        "gauge",
        "round trip of a link",
        "peer",
        status.links.iter().map(rtt),
    );
    let loss = |link: &x0_mesh::node::LinkStatus| {
        (format!("{}\",underlay=\"{}", link.peer, link.underlay), u64::from(link.measured.loss_in_q16))
    };
    text.family(
        "x0_agent_mesh_link_loss_q16",
        "gauge",
        "loss of a link towards this node, 65536 for all",
        "peer",
        status.links.iter().map(loss),
    );
    let Value::Object(io) = camel(&snapshot.io) else { return };
    let numbers = io.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?)));
    text.family("x0_agent_mesh_io", "gauge", "sockets, tunnel and loop since the start", "what", numbers);
    text.gauge(
        "x0_agent_mesh_warnings",
        "warnings of the start",
        (plane.warnings.len() + plane.report.warnings().len()) as u64,
    );
}

/// A value as JSON with all names in camel case, as everywhere in this product.
pub fn camel(value: impl Serialize) -> Value {
    // The structures of the protocol have nothing that JSON has not.
    serde_json::to_value(value).map_or(Value::Null, renamed)
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (camel_name(&name), renamed(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(renamed).collect()),
        other => other,
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_camel_case_at_every_depth() {
        let value = camel(json!({ "loss_q16": [{ "rtt_us_min": 1 }], "plain": "snake_text" }));
        assert_eq!(value, json!({ "lossQ16": [{ "rttUsMin": 1 }], "plain": "snake_text" }));
    }

    #[test]
    fn metrics_have_their_form() {
        let mut text = Metrics::default();
        text.counter("a_total", "help", 3);
        text.family("b", "gauge", "help", "what", [("x".to_owned(), 1)].into_iter());
        assert_eq!(
            text.0,
            "# HELP a_total help\n# TYPE a_total counter\na_total 3\n# HELP b help\n# TYPE b gauge\nb{what=\"x\"} 1\n"
        );
    }
}
