//! Status and explanations.

use super::{Counters, Event, LinkStatus, Mesh, SessionPaths, Status, TalkStatus, UnderlayId, links::Entry};
use crate::Time;

impl Mesh {
    /// Everything about this node as of now. For people and metrics: it allocates.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        Status {
            node: self.me,
            address: self.address,
            authority_height: self.peers.height(),
            peers: self.peers.iter().count(),
            nodes_known: self.router.table().len(),
            counters: self.counters,
            links: self.links.iter().map(|(_, entry)| self.link_status(now, entry)).collect(),
            sessions: self
                .talks
                .iter()
                .map(|talk| TalkStatus {
                    peer: talk.name,
                    address: talk.address,
                    open: talk.is_ready(),
                    session: talk.sessions.current().map(|session| session.status(now)),
                })
                .collect(),
            jobs: self.jobs.len(),
            waiting_bytes: self.talks.waiting_bytes,
        }
    }

    fn link_status(&self, now: Time, entry: &Entry) -> LinkStatus {
        LinkStatus {
            peer: entry.name,
            underlay: self.underlay_name(entry.underlay),
            address: entry.address,
            state: entry.link.state(),
            opened_us: entry.opened,
            measured: entry.link.measured(now),
            behaviour: entry.link.behaviour(),
            payload_bytes: entry.link.payload_bytes(),
        }
    }

    fn underlay_name(&self, id: UnderlayId) -> String {
        let named = self.config.underlays.iter().find(|underlay| underlay.id == id);
        named.map_or_else(|| id.to_string(), |underlay| underlay.name.clone())
    }

    /// Why each path of each session stands where it stands, and the last switches with their reasons.
    #[must_use]
    pub fn paths_explain(&self, now: Time) -> Vec<SessionPaths> {
        self.talks
            .iter()
            .map(|talk| {
                let explanation = talk.scheduler.explain(now);
                let over = |path: &crate::route::PathExplanation| {
                    let label = path.hops.first().map_or(0, |hop| hop.label);
                    let entry = self.links.labelled(label).and_then(|at| self.links.get(at));
                    entry.map_or_else(String::new, |entry| self.underlay_name(entry.underlay))
                };
                let underlays = explanation.paths.iter().map(over).collect();
                SessionPaths { peer: talk.name, explanation, underlays }
            })
            .collect()
    }

    /// What this node counted since its start; cheaper than [`Mesh::status`].
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What became of handshake datagrams and of handshakes, by reason.
    #[must_use]
    pub const fn handshake_counters(&self) -> &crate::handshake::HandshakeCounters {
        self.handshakes.counters()
    }

    /// Every tag that is valid now and whose link it is: what a filter lets in that has missed events.
    #[must_use]
    pub fn tags(&self) -> Vec<(u32, crate::NodeId)> {
        self.links.iter().flat_map(|(_, entry)| entry.tags.map(|tag| (tag, entry.name))).collect()
    }

    /// Every event of the last minutes, oldest first, at most [`super::HISTORY_MAX`].
    pub fn history(&self) -> impl Iterator<Item = &(Time, Event)> {
        self.history.iter()
    }
}
