//! All handshakes of a node.

use super::{
    Action, Authority, ConnectError, Established, Failure, HandshakeCounters, JobDone, Local, Purpose, Refusal, Via,
    cookies::{Cookies, Rate},
    halves::Halves,
    initiator::{Initiator, Step, failure_of},
    peers::Peers,
    table::Table,
};
use crate::{Entropy, NodeId, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};
use x0_crypto::mesh::hello_mac_key;
use x0_mesh_wire::{
    HopKey, Kind, Labels,
    handshake::{Envelope, Half},
    limits::{HANDSHAKE_ID_TRIES, HANDSHAKE_RUNNING_MAX, HANDSHAKE_WAYS_MAX},
};

/// All handshakes of a node, in both roles.
#[derive(Debug)]
pub struct Handshakes {
    pub(super) local: Arc<Local>,
    pub(super) hello_mac: HopKey,
    pub(super) cookies: Cookies,
    pub(super) rate: Rate,
    pub(super) ours: BTreeMap<u32, Initiator>,
    /// When each of ours is due, so that the next one is found at once.
    timers: BTreeSet<(Time, u32)>,
    pub(super) theirs: Table,
    /// Indices of sessions that live.
    taken: BTreeSet<u32>,
    pub(super) peers: Peers,
    pub(super) counters: HandshakeCounters,
    halves: Halves,
}

/// What every call brings along.
pub(super) struct Call<'a> {
    pub(super) now: Time,
    pub(super) authority: &'a dyn Authority,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) out: &'a mut Vec<Action>,
}

impl Handshakes {
    /// No handshakes yet. `entropy` gives the first cookie secret.
    #[must_use]
    pub fn new(local: Local, now: Time, entropy: &mut dyn Entropy) -> Self {
        let hello_mac = HopKey::new(hello_mac_key(&local.genesis, &local.mesh_id, &local.node.0));
        Self {
            local: Arc::new(local),
            hello_mac,
            cookies: Cookies::new(now, entropy),
            rate: Rate::new(now),
            ours: BTreeMap::new(),
            timers: BTreeSet::new(),
            theirs: Table::default(),
            taken: BTreeSet::new(),
            peers: Peers::default(),
            counters: HandshakeCounters::default(),
            halves: Halves::default(),
        }
    }

    /// Begins a handshake with a peer: for a link over one socket address, for a session over up to
    /// three routes. The id names it in [`Action::Failed`] and [`Established::local_id`].
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was begun then.
    pub fn connect(
        &mut self,
        now: Time,
        peer: NodeId,
        ways: &[Via],
        authority: &dyn Authority,
        entropy: &mut dyn Entropy,
        out: &mut Vec<Action>,
    ) -> Result<u32, ConnectError> {
        if peer == self.local.node {
            return Err(ConnectError::OwnIdentity);
        }
        let limit = match ways.first().map(Via::purpose) {
            Some(Purpose::EndToEnd) => HANDSHAKE_WAYS_MAX,
            Some(Purpose::Link) | None => 1,
        };
        let (Some(first), true) = (ways.first(), ways.len() <= limit) else {
            return Err(ConnectError::Ways { found: ways.len(), limit });
        };
        if ways.iter().any(|way| way.purpose() != first.purpose()) {
            return Err(ConnectError::Ways { found: ways.len(), limit });
        }
        if !authority.may_connect(&peer, first.purpose()) {
            return Err(ConnectError::Unauthorised);
        }
        if let Some(id) = ways.iter().find_map(|way| self.running(&peer, way)) {
            return Err(ConnectError::Running { id });
        }
        let too_many = ConnectError::TooMany { limit: HANDSHAKE_RUNNING_MAX };
        if self.ours.len() >= HANDSHAKE_RUNNING_MAX {
            return Err(too_many);
        }
        let id = self.free_id(entropy).ok_or(too_many)?;
        let send_key = self.peers.wants_key(&peer);
        let (ours, job) = Initiator::begin(&self.local, id, peer, ways, send_key, now, entropy);
        self.timers.insert((ours.due, id));
        self.ours.insert(id, ours);
        self.counters.started += 1;
        out.push(Action::Job(job));
        Ok(id)
    }

    /// Tells a session's handshake of ours, if one runs, which routes lead to its peer now. Without any it goes
    /// on over those that it has.
    pub fn reroute(&mut self, now: Time, peer: &NodeId, ways: &[Via]) {
        let running = ways.first().and_then(|via| self.running(peer, via));
        let fits = ways.len() <= HANDSHAKE_WAYS_MAX && ways.iter().all(|way| way.purpose() == Purpose::EndToEnd);
        if let Some(id) = running.filter(|_| fits) {
            self.with_ours(id, |ours| ours.reroute(now, ways));
        }
    }

    /// Ends a handshake of ours without a word.
    pub fn cancel(&mut self, id: u32) {
        if let Some(ours) = self.ours.remove(&id) {
            self.timers.remove(&(ours.due, id));
        }
    }

    /// A session is over: its index may be given again.
    pub fn release(&mut self, local_id: u32) {
        self.taken.remove(&local_id);
    }

    /// Forgets every handshake with a peer that lost its rights. Those that have not shown their
    /// peer's name yet are judged when they do.
    pub fn forget(&mut self, peer: &NodeId) {
        let ids: Vec<u32> = self.ours.values().filter(|ours| ours.peer == *peer).map(|ours| ours.id).collect();
        ids.into_iter().for_each(|id| self.cancel(id));
        self.theirs.remove_if(|half| half.peer == Some(*peer));
    }

    /// Whether a handshake of ours with this peer runs.
    #[must_use]
    pub fn is_running(&self, peer: &NodeId, purpose: Purpose) -> bool {
        self.ours.values().any(|ours| ours.peer == *peer && ours.purpose == purpose)
    }

    /// What handshakes did so far.
    #[must_use]
    pub const fn counters(&self) -> &HandshakeCounters {
        &self.counters
    }

    /// When [`Handshakes::tick`] is due next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let ours = self.timers.first().map(|(due, _)| *due);
        [ours, self.theirs.deadline()].into_iter().flatten().min()
    }

    /// A datagram of kind 1 to 4 arrived on a socket: all of it.
    ///
    /// # Errors
    /// [`Refusal`], which is counted: the datagram had no effect, or ended its handshake.
    #[allow(clippy::too_many_arguments, reason = "place, datagram and what every call brings along")]
    pub fn link_datagram(
        &mut self,
        now: Time,
        underlay: u16,
        from: SocketAddr,
        bytes: &[u8],
        authority: &dyn Authority,
        entropy: &mut dyn Entropy,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let via = Via::Socket { underlay, address: from };
        let mut call = Call { now, authority, entropy, out };
        let result =
            Envelope::read_link(bytes).map_err(Refusal::from).and_then(|envelope| self.take(&mut call, via, &envelope));
        self.counted(result)
    }

    /// An end-to-end handshake datagram (`DataBody::Handshake`) arrived on this link.
    ///
    /// # Errors
    /// [`Refusal`], as for [`Handshakes::link_datagram`].
    pub fn end_to_end_datagram(
        &mut self,
        now: Time,
        link: u32,
        bytes: &[u8],
        authority: &dyn Authority,
        entropy: &mut dyn Entropy,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let mut call = Call { now, authority, entropy, out };
        let result = self.take_end_to_end(&mut call, link, bytes);
        self.counted(result)
    }

    /// The answer to a job.
    ///
    /// # Errors
    /// [`Refusal`]: the job failed, or its handshake is over.
    pub fn complete(
        &mut self,
        now: Time,
        done: JobDone,
        authority: &dyn Authority,
        entropy: &mut dyn Entropy,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let mut call = Call { now, authority, entropy, out };
        let JobDone { id, outcome } = done;
        let result = if self.ours.contains_key(&id) {
            let (step, result) = self
                .with_ours(id, |ours| ours.complete(now, outcome, authority, call.out))
                .unwrap_or((Step::On, Err(Refusal::UnknownId { id })));
            self.step(&mut call, id, step);
            result
        } else {
            self.complete_theirs(&mut call, id, outcome)
        };
        self.counted(result)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Time, authority: &dyn Authority, entropy: &mut dyn Entropy, out: &mut Vec<Action>) {
        let mut call = Call { now, authority, entropy, out };
        self.cookies.turn(now, call.entropy);
        self.counters.expired += self.theirs.expire(now);
        while let Some((due, id)) = self.timers.first().copied() {
            if due > now {
                break;
            }
            match self.with_ours(id, |ours| ours.tick(now, call.out)) {
                Some(Ok((step, sent))) => {
                    self.counters.retransmitted += sent;
                    self.step(&mut call, id, step);
                }
                Some(Err(refusal)) => {
                    self.counters.count(refusal);
                    self.step(&mut call, id, Step::Fail(Failure::Job));
                }
                None => {
                    self.timers.remove(&(due, id));
                }
            }
        }
    }

    fn take_end_to_end(&mut self, call: &mut Call<'_>, link: u32, bytes: &[u8]) -> Result<(), Refusal> {
        let via = |labels| Via::Route { link, labels, back: Labels::NONE };
        if !Half::is_half(bytes) {
            let (envelope, labels) = Envelope::read_end_to_end(bytes)?;
            return self.take(call, via(labels), &envelope);
        }
        let half = Half::read(bytes)?;
        match self.halves.add(call.now, &half) {
            Some(body) => self.take(call, via(half.back), &Envelope { body: &body, ..half.envelope }),
            None => Ok(()),
        }
    }

    fn counted(&mut self, result: Result<(), Refusal>) -> Result<(), Refusal> {
        if let Err(refusal) = result {
            self.counters.count(refusal);
        }
        result
    }

    /// A random id that nothing has.
    pub(super) fn free_id(&self, entropy: &mut dyn Entropy) -> Option<u32> {
        (0..HANDSHAKE_ID_TRIES).find_map(|_| {
            let mut bytes = [0; 4];
            entropy.fill(&mut bytes);
            let id = u32::from_be_bytes(bytes);
            let used = id == 0 || self.ours.contains_key(&id) || self.theirs.contains(id) || self.taken.contains(&id);
            (!used).then_some(id)
        })
    }

    /// Our own handshake for the same link or session.
    pub(super) fn running(&self, peer: &NodeId, via: &Via) -> Option<u32> {
        self.ours.values().find(|ours| ours.is_for(peer, via)).map(|ours| ours.id)
    }

    /// Changes one of ours and keeps its timer right.
    pub(super) fn with_ours<R>(&mut self, id: u32, change: impl FnOnce(&mut Initiator) -> R) -> Option<R> {
        let ours = self.ours.get_mut(&id)?;
        let before = ours.due;
        let result = change(ours);
        if before != ours.due {
            self.timers.remove(&(before, id));
            self.timers.insert((ours.due, id));
        }
        Some(result)
    }

    /// Ends one of ours when its step says so.
    fn step(&mut self, call: &mut Call<'_>, id: u32, step: Step) {
        match step {
            Step::On => {}
            Step::Done(established) => {
                self.cancel(id);
                self.established(call, established);
            }
            Step::Fail(reason) => self.fail(call, id, reason),
        }
    }

    pub(super) fn fail(&mut self, call: &mut Call<'_>, id: u32, reason: Failure) {
        let Some(ours) = self.ours.get(&id) else { return };
        let (peer, purpose) = (ours.peer, ours.purpose);
        self.cancel(id);
        self.counters.failed += 1;
        if reason == Failure::NoProof {
            self.peers.no_proof(peer);
        }
        call.out.push(Action::Failed { id, peer, purpose, reason });
    }

    pub(super) fn established(&mut self, call: &mut Call<'_>, established: Box<Established>) {
        self.counters.established += 1;
        if established.purpose == Purpose::EndToEnd {
            self.taken.insert(established.local_id);
        }
        call.out.push(Action::Established(established));
    }

    /// Hands a datagram to its handshake.
    fn take(&mut self, call: &mut Call<'_>, via: Via, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        let id = envelope.id;
        match envelope.kind {
            Kind::Hello => self.hello(call, via, envelope),
            Kind::Cookie => self
                .with_ours(id, |ours| ours.cookie(call.now, &via, envelope, call.out))
                .unwrap_or(Err(Refusal::UnknownId { id })),
            Kind::Answer => {
                let job = self
                    .with_ours(id, |ours| ours.answer(call.now, envelope, call.entropy))
                    .unwrap_or(Err(Refusal::UnknownId { id }))?;
                call.out.push(Action::Job(job));
                Ok(())
            }
            Kind::Proof if self.ours.contains_key(&id) => self.proof_for_ours(call, via, envelope),
            Kind::Proof => self.proof_for_theirs(call, via, envelope),
            Kind::Heartbeat | Kind::Data | Kind::Control | Kind::Probe => Err(Refusal::OutOfTurn),
        }
    }

    fn proof_for_ours(&mut self, call: &mut Call<'_>, via: Via, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        let id = envelope.id;
        let mut parity_used = 0;
        let result = self
            .with_ours(id, |ours| ours.proof(call.now, &via, envelope, call.authority, &mut parity_used))
            .unwrap_or(Err(Refusal::UnknownId { id }));
        self.counters.parity_used += parity_used;
        match result {
            Ok(job) => {
                call.out.extend(job.map(Action::Job));
                Ok(())
            }
            Err(refusal) => {
                // What only the holder of the other end's secrets can send wrong ends the handshake.
                if failure_of(refusal) != Failure::Job {
                    self.fail(call, id, failure_of(refusal));
                }
                Err(refusal)
            }
        }
    }
}
