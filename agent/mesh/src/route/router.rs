//! One node's routing: its own record, gossip, the graph, plans, and notices.

use super::{
    Adjacency, DeltaClaim, LinkState, LinkStateTable, Message, Output, OwnLink, Path, Plan, PlanRequest, Refusal,
    RefusalCounters, RelayTable, RouterConfig, SignedRecord, Verdict, VerifiedRecord, candidates, notice,
    notice::{Sent, Usage},
    own::Own,
    peer::Peer,
    record::{Difference, differ},
};
use crate::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use x0_mesh_wire::limits::{ROUTE_SIGNATURE_BYTES, ROUTE_VERIFY_PENDING_MAX};

/// Time between two rounds of gossip while something waits, milliseconds.
const ROUND_MS: u64 = 50;
/// Time between two rounds while nothing waits, milliseconds.
const ROUND_IDLE_MS: u64 = 500;
/// Shortest time between two plans, milliseconds; in a mesh of more nodes than this, a millisecond for each.
const PLAN_INTERVAL_MS: u64 = 100;
/// A plan that did not come back within this time is asked for again, milliseconds.
const PLAN_WAIT_MS: u64 = 2_000;
/// A verification that did not come back within this time is given up, milliseconds.
const VERIFY_WAIT_MS: u64 = 5_000;

#[derive(Clone, Debug)]
struct Waiting {
    from: NodeId,
    record: SignedRecord,
    age_s: u16,
    since: Time,
}

/// Routing of one node in one mesh. Sans I/O: whatever it wants done is added to `out`.
///
/// # Correctness
/// * Nothing that a neighbour says is believed of another node unless that node signed it.
/// * Whatever one neighbour sends, memory, signatures and messages that it causes are bounded by `ROUTE_*` limits.
#[derive(Clone, Debug)]
pub struct Router {
    config: RouterConfig,
    own: Own,
    table: LinkStateTable,
    relay: RelayTable,
    peers: BTreeMap<NodeId, Peer>,
    waiting: BTreeMap<u64, Waiting>,
    next_ticket: u64,
    wanted: BTreeSet<NodeId>,
    excluded: BTreeSet<NodeId>,
    paths: BTreeMap<NodeId, Vec<Path>>,
    changed: bool,
    planning: Option<(u64, Time)>,
    planned_at: Option<Time>,
    /// The own claims of the last plan.
    planned_claims: Vec<Adjacency>,
    plans: u64,
    usage: Usage,
    sent_notices: Sent,
    round_at: Time,
    refusals: RefusalCounters,
}

impl Router {
    /// A router without links.
    #[must_use]
    pub fn new(config: RouterConfig, now: Time) -> Self {
        let RouterConfig { me, mesh, first_seq, seed } = config;
        Self {
            config,
            own: Own::new(me, mesh, first_seq, seed, now),
            table: LinkStateTable::new(me, mesh),
            relay: RelayTable::new(me),
            peers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_ticket: 1,
            wanted: BTreeSet::new(),
            excluded: BTreeSet::new(),
            paths: BTreeMap::new(),
            changed: false,
            planning: None,
            planned_at: None,
            planned_claims: Vec::new(),
            plans: 0,
            usage: Usage::new(),
            sent_notices: Sent::default(),
            round_at: now,
            refusals: RefusalCounters::default(),
        }
    }

    /// An own link is new, or anything about it changed. Relays use the new state at once; neighbours hear of it.
    pub fn link(&mut self, now: Time, link: OwnLink, out: &mut Vec<Output>) {
        let before = self.own.set(link);
        self.relay.set_link(link.label, link.neighbour, link.state);
        if let Some(before) = before.filter(|before| before.neighbour != link.neighbour) {
            self.detach(link.label, &before.neighbour);
        }
        let table = &self.table;
        let peer = self.peers.entry(link.neighbour).or_insert_with(|| Peer::new(now, table));
        peer.links.insert(link.label);
        let alike =
            |before: &OwnLink| before.state.carries() == link.state.carries() && before.underlay == link.underlay;
        self.changed |= !before.is_some_and(|before| alike(&before) && before.neighbour == link.neighbour);
        if before.is_some_and(|before| before.state.carries()) && !link.state.carries() {
            self.link_down(now, link.label, out);
        }
        self.round_at = self.round_at.min(now.plus_ms(ROUND_MS));
    }

    /// An own link is gone for good.
    pub fn link_gone(&mut self, now: Time, label: u32, out: &mut Vec<Output>) {
        let Some(link) = self.own.remove(label) else { return };
        if link.state.carries() {
            self.link_down(now, label, out);
        }
        self.relay.remove_link(label);
        self.detach(label, &link.neighbour);
        self.hurry();
    }

    fn detach(&mut self, label: u32, neighbour: &NodeId) {
        if let Some(peer) = self.peers.get_mut(neighbour) {
            peer.links.remove(&label);
            if peer.links.is_empty() {
                self.peers.remove(neighbour);
            }
        }
    }

    /// A session to this node wants routes. Those by the last graph can be read at once.
    pub fn want(&mut self, destination: NodeId) {
        if destination == self.config.me || !self.wanted.insert(destination) {
            return;
        }
        // The last graph is good enough to begin with: a session does not wait for the next plan.
        self.paths.insert(destination, candidates(self.relay.graph(), &self.config.me, &destination));
        self.hurry();
    }

    /// Something must be planned that no neighbour waits for.
    fn hurry(&mut self) {
        self.changed = true;
        self.round_at = Time(0);
    }

    /// No session wants routes to this node any more.
    pub fn unwant(&mut self, destination: &NodeId) {
        self.wanted.remove(destination);
        self.paths.remove(destination);
    }

    /// The candidates for this destination by the last plan, the cheapest disjoint ones first.
    #[must_use]
    pub fn paths(&self, destination: &NodeId) -> &[Path] {
        self.paths.get(destination).map_or(&[], Vec::as_slice)
    }

    /// What relays look at.
    #[must_use]
    pub const fn relay(&self) -> &RelayTable {
        &self.relay
    }

    /// The records.
    #[must_use]
    pub const fn table(&self) -> &LinkStateTable {
        &self.table
    }

    /// What was refused.
    #[must_use]
    pub const fn refusals(&self) -> &RefusalCounters {
        &self.refusals
    }

    /// Nodes that no route and no bypass may pass: denied, quarantined or weighed with zero.
    pub fn exclude(&mut self, nodes: BTreeSet<NodeId>) {
        if self.excluded != nodes {
            self.excluded = nodes;
            self.hurry();
        }
    }

    /// The authority no longer admits this node: its record is dropped.
    pub fn forget(&mut self, now: Time, node: &NodeId) {
        if self.table.forget(now, node) {
            self.dropped(node);
        }
    }

    fn dropped(&mut self, node: &NodeId) {
        self.changed = true;
        for peer in self.peers.values_mut() {
            peer.forget(node);
        }
    }

    /// A relayed packet came from `from` and was forwarded with these labels; `ahead` starts with this node's own.
    /// Feeds the notices; no allocation.
    pub fn used(&mut self, now: Time, from: NodeId, ahead: &[u32]) {
        self.usage.passed(now, from, ahead);
    }

    /// Tells those who sent packets over this own link lately that it is down.
    fn link_down(&mut self, now: Time, label: u32, out: &mut Vec<Output>) {
        let senders = self.usage.senders(now, |ahead| ahead.first() == Some(&label));
        self.pass_notice(now, (self.config.me, label), 0, &senders, out);
    }

    fn pass_notice(
        &mut self,
        now: Time,
        (owner, label): (NodeId, u32),
        hops: u8,
        to: &BTreeSet<NodeId>,
        out: &mut Vec<Output>,
    ) {
        for node in to {
            let Some(link) = self.link_to(node) else { continue };
            if self.sent_notices.may(now, *node, owner, label) {
                out.push(Output::Send { label: link, bytes: Message::LinkDown { owner, label, hops }.bytes() });
            }
        }
    }

    /// The own link to this neighbour that is in the best state, the one with the lowest label among equals.
    fn link_to(&self, node: &NodeId) -> Option<u32> {
        let links = self.peers.get(node)?.links.iter();
        let best = links.rev().filter_map(|label| self.own.link(*label)).max_by_key(|link| link.state)?;
        best.state.carries().then_some(best.label)
    }

    /// A message came over the own link with this label.
    ///
    /// # Errors
    /// A [`Refusal`], counted here; the caller may lower its trust in the neighbour.
    pub fn message(&mut self, now: Time, label: u32, bytes: &[u8], out: &mut Vec<Output>) -> Result<(), Refusal> {
        let result = self.read(now, label, bytes, out);
        if let Err(refusal) = &result {
            self.refusals.count(refusal);
        }
        result
    }

    fn read(&mut self, now: Time, label: u32, bytes: &[u8], out: &mut Vec<Output>) -> Result<(), Refusal> {
        let from = self.own.link(label).ok_or(Refusal::NoSuchLink { label })?.neighbour;
        let message = Message::read(bytes)?;
        let peer = self.peers.get_mut(&from).ok_or(Refusal::NoSuchLink { label })?;
        self.round_at = self.round_at.min(now.plus_ms(ROUND_MS));
        match message {
            Message::Have { entries, first, last } => {
                if first {
                    peer.list_begins();
                }
                for (node, seq) in entries {
                    peer.has(
                        now,
                        node,
                        seq,
                        self.table.known_seq(&node).filter(|_| self.table.claims(&node).is_some()),
                    );
                }
                if last {
                    peer.list_complete(now, &self.table);
                }
                Ok(())
            }
            Message::Chunk { node, seq, age_s, total, index, bytes } => {
                match peer.chunk(node, seq, age_s, total, index, bytes) {
                    Some((bytes, age_s)) => self.complete(now, from, (node, seq), &bytes, age_s, out),
                    None => Ok(()),
                }
            }
            Message::Delta { base, number, changes } => self.delta(&from, base, number, &changes),
            Message::LinkDown { owner, label, hops } => self.notice(now, from, (owner, label), hops, out),
        }
    }

    fn delta(&mut self, from: &NodeId, base: u64, number: u32, changes: &[DeltaClaim]) -> Result<(), Refusal> {
        self.changed |= self.table.apply_delta(from, base, number, changes)?;
        Ok(())
    }

    fn notice(
        &mut self,
        now: Time,
        from: NodeId,
        (owner, label): (NodeId, u32),
        hops: u8,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let peer = self.peers.get_mut(&from).ok_or(Refusal::NoSuchLink { label })?;
        if !peer.notices.take(now, 1) {
            return Err(Refusal::TooFast { what: "notices" });
        }
        let claims = self.table.claims(&owner).unwrap_or(&[]);
        notice::check(&self.config.me, owner, label, claims.iter().any(|claim| claim.label == label))?;
        out.push(Output::Suspect { owner, label, heard_from: from });
        // Those who send over this neighbour and then over that link hear it from here.
        let relay = &self.relay;
        let senders = self.usage.senders(now, |ahead| match ahead.split_first() {
            Some((own, rest)) => relay.neighbour(*own) == Some(from) && rest.contains(&label),
            None => false,
        });
        let hops = hops.saturating_add(1);
        if hops < x0_mesh_wire::limits::ROUTE_NOTICE_HOPS_MAX {
            self.pass_notice(now, (owner, label), hops, &senders, out);
        }
        Ok(())
    }

    /// A record is complete: everything but its signature is checked here.
    fn complete(
        &mut self,
        now: Time,
        from: NodeId,
        said: (NodeId, u64),
        bytes: &[u8],
        age_s: u16,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let record = SignedRecord::read(bytes)?;
        let name = (record.record.node, record.record.seq);
        if name != said {
            return Err(Refusal::Malformed { what: "record under another name", bytes: bytes.len() });
        }
        let own = self.table.known_seq(&name.0);
        let peer = self.peers.get_mut(&from).ok_or(Refusal::NoSuchLink { label: 0 })?;
        match self.table.check(&record, age_s) {
            Err(refusal @ Refusal::Stale { known, .. }) => {
                // The neighbour has it, and if it is behind, it gets the newer one. A copy of the same one is no fault.
                peer.has(now, name.0, name.1, own);
                peer.confirm(name.0, name.1.max(known));
                return if name.1 == known { Ok(()) } else { Err(refusal) };
            }
            other => other?,
        }
        if self.waiting.values().any(|waiting| waiting.from == from && waiting.record == record) {
            return Ok(());
        }
        peer.may_verify(now, ROUTE_VERIFY_PENDING_MAX)?;
        peer.waiting += 1;
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.wrapping_add(1);
        out.push(Output::Verify { ticket, record: record.clone() });
        self.waiting.insert(ticket, Waiting { from, record, age_s, since: now });
        Ok(())
    }

    /// The answer to [`Output::Verify`].
    ///
    /// # Errors
    /// A [`Refusal`], counted and told as [`Output::Refused`] too; [`Refusal::Stale`] is not told, since another
    /// neighbour may have been faster.
    pub fn verified(&mut self, now: Time, ticket: u64, verdict: Verdict, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let Some(waiting) = self.waiting.remove(&ticket) else {
            let refusal = Refusal::NoSuchTicket { ticket };
            self.refusals.count(&refusal);
            return Err(refusal);
        };
        let from = waiting.from;
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.waiting = peer.waiting.saturating_sub(1);
        }
        self.round_at = self.round_at.min(now.plus_ms(ROUND_MS));
        let result = self.take_over(now, waiting, verdict);
        if let Err(refusal) = &result {
            self.refusals.count(refusal);
            if !matches!(refusal, Refusal::Stale { .. } | Refusal::PendingFull) {
                out.push(Output::Refused { from, refusal: *refusal });
            }
        }
        result
    }

    fn take_over(&mut self, now: Time, waiting: Waiting, verdict: Verdict) -> Result<(), Refusal> {
        let Waiting { from, record, age_s, since } = waiting;
        let (node, seq) = (record.record.node, record.record.seq);
        let verified = VerifiedRecord::judge(record, verdict)?;
        if node == self.config.me {
            // An own record from before a restart is still around.
            self.own.overtake(seq);
            return Ok(());
        }
        let waited_s = u16::try_from(now.since_ns(since).div_ceil(1_000_000_000)).unwrap_or(u16::MAX);
        let result = self.table.accept(now, verified, age_s.saturating_add(waited_s.saturating_sub(1)));
        self.changed |= result == Ok(true);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.has(now, node, seq, self.table.known_seq(&node));
            peer.confirm(node, seq);
        }
        result?;
        self.spread(now, node, seq);
        Ok(())
    }

    /// Everybody who lacks this record gets it.
    fn spread(&mut self, now: Time, node: NodeId, seq: u64) {
        for peer in self.peers.values_mut() {
            peer.offer(now, node, seq);
        }
    }

    /// The answer to [`Output::Sign`]; none when it could not be signed, which is tried again.
    pub fn signed(&mut self, now: Time, seq: u64, signature: Option<&[u8; ROUTE_SIGNATURE_BYTES]>) {
        let Some(signature) = signature else { return };
        let Some(record) = self.own.signed(now, seq) else { return };
        let record = SignedRecord::new(record, signature);
        let accepted =
            VerifiedRecord::judge(record, Verdict::Valid).and_then(|verified| self.table.accept(now, verified, 0));
        match accepted {
            Ok(_) => self.spread(now, self.config.me, seq),
            Err(refusal) => self.refusals.count(&refusal),
        }
    }

    /// The answer to [`Output::Plan`]. True when it was the one that is waited for: tell every session its routes.
    pub fn planned(&mut self, plan: Plan) -> bool {
        if self.planning.is_none_or(|(number, _)| number != plan.number) {
            return false;
        }
        self.planning = None;
        self.relay.set_bypasses(plan.graph, plan.bypasses);
        // What has been wanted since keeps its first routes until the next plan.
        self.paths.extend(plan.paths);
        self.paths.retain(|destination, _| self.wanted.contains(destination));
        true
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        if now < self.deadline() {
            return;
        }
        for node in self.table.expire(now) {
            self.dropped(&node);
        }
        self.give_up(now);
        if self.own.record_due() <= now && !self.peers.is_empty() {
            let record = self.own.record(now);
            out.push(Output::Sign { seq: record.seq, body: record.body() });
        }
        self.gossip(now, out);
        self.plan(now, out);
        let busy = self.peers.values().any(Peer::is_busy) || self.changed;
        self.round_at = now.plus_ms(if busy { ROUND_MS } else { ROUND_IDLE_MS });
    }

    /// Forgets verifications that did not come back: the neighbours send those records again.
    fn give_up(&mut self, now: Time) {
        let (peers, refusals) = (&mut self.peers, &mut self.refusals);
        self.waiting.retain(|_, waiting| {
            let keep = now < waiting.since.plus_ms(VERIFY_WAIT_MS);
            if !keep {
                refusals.count(&Refusal::PendingFull);
                if let Some(peer) = peers.get_mut(&waiting.from) {
                    peer.waiting = peer.waiting.saturating_sub(1);
                }
            }
            keep
        });
    }

    fn gossip(&mut self, now: Time, out: &mut Vec<Output>) {
        let delta = self.own.delta(now);
        let neighbours: Vec<(NodeId, u32)> =
            self.peers.keys().filter_map(|node| Some((*node, self.link_to(node)?))).collect();
        for (node, label) in neighbours {
            let Some(peer) = self.peers.get_mut(&node) else { continue };
            if let Some((base, number, changes)) = &delta {
                let message = Message::Delta { base: *base, number: *number, changes: changes.clone() };
                out.push(Output::Send { label, bytes: message.bytes() });
            }
            let messages = peer.due(now, &self.table);
            out.extend(messages.iter().map(|message| Output::Send { label, bytes: message.bytes() }));
        }
    }

    fn plan(&mut self, now: Time, out: &mut Vec<Output>) {
        let claims = self.own.claims();
        self.changed |= differ(&self.planned_claims, &claims) != Difference::None;
        let waits = self.planning.is_some_and(|(_, since)| now < since.plus_ms(PLAN_WAIT_MS));
        // Large meshes change all the time and take long to plan.
        let interval_ms = u64::try_from(self.table.len()).unwrap_or(u64::MAX).max(PLAN_INTERVAL_MS);
        let too_soon = self.planned_at.is_some_and(|at| now < at.plus_ms(interval_ms));
        let lost = self.planning.is_some() && !waits;
        if waits || too_soon || !(self.changed || lost) {
            return;
        }
        self.changed = false;
        self.plans += 1;
        self.planning = Some((self.plans, now));
        self.planned_at = Some(now);
        self.planned_claims.clone_from(&claims);
        out.push(Output::Plan(PlanRequest {
            number: self.plans,
            claims: self.table.snapshot(&claims),
            excluded: self.excluded.clone(),
            me: self.config.me,
            wanted: self.wanted.iter().copied().collect(),
        }));
    }

    /// When [`Router::tick`] is due next. Constant time.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.round_at
    }

    /// Own links and their states, for status.
    pub fn links(&self) -> impl Iterator<Item = (u32, NodeId, LinkState)> + '_ {
        self.own.links().map(|link| (link.label, link.neighbour, link.state))
    }
}
