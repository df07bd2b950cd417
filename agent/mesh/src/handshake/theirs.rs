//! The handshakes that others began: hellos, cookies, and the judgement of proofs.

use super::{
    Action, Established, Failure, Local, Refusal, Via,
    handshakes::{Call, Handshakes},
    initiator::Initiator,
    job::Outcome,
    responder::{Fragment, HalfOpen, Whole},
};
use crate::NodeId;
use x0_crypto::mesh::{CookieKey, answer_mac_key};
use x0_mesh_wire::{
    HopKey, Kind,
    handshake::{CookieBody, Envelope, Hello, SUITE_1},
    limits::{ANSWERS_PENDING_MAX, HALF_OPEN_BEFORE_COOKIES, HALF_OPEN_PER_PLACE_MAX, HANDSHAKES_PER_PEER_PER_MINUTE},
};

impl Handshakes {
    pub(super) fn hello(&mut self, call: &mut Call<'_>, via: Via, envelope: &Envelope<'_>) -> Result<(), Refusal> {
        envelope.check(&self.hello_mac)?;
        let hello = Hello::read(envelope.body)?;
        if hello.opening.purpose != via.purpose().code() {
            return Err(Refusal::Purpose);
        }
        if hello.opening.suites & SUITE_1 == 0 {
            return Err(Refusal::Suite { offered: hello.opening.suites });
        }
        let exceeded = self.rate.exceeded(call.now);
        let loaded = exceeded || self.theirs.len() >= HALF_OPEN_BEFORE_COOKIES;
        self.cookies.turn(call.now, call.entropy);
        if loaded && !self.cookies.fits(&via, hello.covered, &hello.cookie_mac) {
            self.send_cookie(call, &via, &hello)?;
            return Err(Refusal::CookieNeeded);
        }
        let hash = x0_crypto::blake2b_256(hello.covered);
        if let Some(half) = self.theirs.by_hello(&hash) {
            return half.hello_again(via, call.out);
        }
        if self.theirs.in_group(&via.quota_group()) >= HALF_OPEN_PER_PLACE_MAX {
            return Err(Refusal::Quota { limit: HALF_OPEN_PER_PLACE_MAX });
        }
        if self.theirs.answering() >= ANSWERS_PENDING_MAX {
            return Err(Refusal::Busy);
        }
        let id = self.free_id(call.entropy).ok_or(Refusal::Busy)?;
        let (half, job) = HalfOpen::begin(&self.local, id, via, &hello, hash, call.now, call.entropy);
        self.counters.evicted += self.theirs.insert(half);
        call.out.push(Action::Job(job));
        Ok(())
    }

    fn send_cookie(&mut self, call: &mut Call<'_>, via: &Via, hello: &Hello<'_>) -> Result<(), Refusal> {
        let Local { node, genesis, mesh_id, .. } = &*self.local;
        let mut nonce = [0; 12];
        call.entropy.fill(&mut nonce);
        let key = CookieKey::new(genesis, mesh_id, &node.0, hello.covered);
        let body = CookieBody::body(nonce, &key.seal(&nonce, &self.cookies.cookie(via))?);
        let mac = HopKey::new(answer_mac_key(genesis, mesh_id, &node.0, hello.covered));
        let envelope = Envelope::seal(Kind::Cookie, hello.opening.sender, &body, &mac);
        via.send(&envelope, call.out)?;
        self.counters.cookies_sent += 1;
        Ok(())
    }

    pub(super) fn proof_for_theirs(
        &mut self,
        call: &mut Call<'_>,
        via: Via,
        envelope: &Envelope<'_>,
    ) -> Result<(), Refusal> {
        let id = envelope.id;
        let fragment = self
            .theirs
            .update(id, |half| half.proof(call.now, via, envelope, call.out))
            .unwrap_or(Err(Refusal::UnknownId { id }));
        match fragment {
            Ok(Fragment::Kept) => Ok(()),
            Ok(Fragment::SentAgain(sent)) => {
                self.counters.retransmitted += sent;
                Ok(())
            }
            Ok(Fragment::Whole(whole)) => {
                self.counters.parity_used += u64::from(whole.parity_used);
                let judged = self.judge(call, id, *whole);
                if judged.is_err() {
                    // Silence: who is not wanted learns nothing from an answer.
                    self.theirs.remove(id);
                }
                judged
            }
            Err(refusal) => {
                if refusal == Refusal::Proof {
                    self.theirs.remove(id);
                }
                Err(refusal)
            }
        }
    }

    /// Judges a whole proof before any signature is checked.
    fn judge(&mut self, call: &mut Call<'_>, id: u32, whole: Whole) -> Result<(), Refusal> {
        let (peer, purpose) = (whole.message.node, whole.via.purpose());
        if peer == self.local.node {
            return Err(Refusal::OwnIdentity);
        }
        if !call.authority.may_connect(&peer, purpose) {
            return Err(Refusal::Unauthorised);
        }
        let key = whole.message.resolve_key(call.authority.public_key(&peer))?;
        if self.peers.is_too_frequent(&peer, call.now) {
            return Err(Refusal::TooFrequent { limit: HANDSHAKES_PER_PEER_PER_MINUTE });
        }
        if let Some(own) = self.running(&peer, &whole.via) {
            let answered = self.ours.get(&own).is_some_and(Initiator::is_answered);
            // The lower name goes first, unless its own way is not known to work.
            if answered && self.local.node < peer {
                return Err(Refusal::SimultaneousOpen);
            }
            self.with_ours(own, |ours| ours.held = true);
        }
        let job = self.theirs.update(id, |half| half.accept(whole, key)).unwrap_or(Err(Refusal::UnknownId { id }))?;
        call.out.push(Action::Job(job));
        Ok(())
    }

    pub(super) fn complete_theirs(
        &mut self,
        call: &mut Call<'_>,
        id: u32,
        outcome: Result<Outcome, Refusal>,
    ) -> Result<(), Refusal> {
        let result = match outcome {
            Ok(Outcome::Answered { ciphertext, kem, x25519 }) => self
                .theirs
                .update(id, |half| half.answered(&ciphertext, kem, x25519, call.out))
                .unwrap_or(Err(Refusal::UnknownId { id })),
            Ok(Outcome::Accepted { signature, traffic }) => {
                let authority = call.authority;
                let established = self
                    .theirs
                    .update(id, |half| match half.peer {
                        Some(peer) if authority.may_connect(&peer, half.purpose) => {
                            half.accepted(call.now, signature, *traffic, call.out)
                        }
                        _ => Err(Refusal::Unauthorised),
                    })
                    .unwrap_or(Err(Refusal::UnknownId { id }));
                established.map(|established| self.responded(call, established))
            }
            Ok(Outcome::Generated(_) | Outcome::Proved(_) | Outcome::Confirmed { .. }) => {
                Err(Refusal::UnknownId { id })
            }
            Err(refusal) => Err(refusal),
        };
        if result.is_err()
            && let Some(half) = self.theirs.remove(id)
            && let Some(peer) = half.peer
        {
            self.unhold(&peer);
        }
        result
    }

    /// A peer's handshake gave keys: our own for the same is no longer needed.
    fn responded(&mut self, call: &mut Call<'_>, established: Established) {
        self.peers.count(established.peer, call.now);
        if let Some(own) = self.running(&established.peer, &established.via) {
            self.fail(call, own, Failure::Superseded);
        }
        self.unhold(&established.peer);
        self.established(call, Box::new(established));
    }

    /// Lets our handshakes with a peer go on.
    fn unhold(&mut self, peer: &NodeId) {
        self.ours.values_mut().filter(|ours| ours.peer == *peer).for_each(|ours| ours.held = false);
    }
}
