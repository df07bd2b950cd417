//! The keys of a session as they change: phases of one direction, ratchets of both.
//!
//! One bit of each packet tells which of two successive keys sealed it. That suffices because a sender changes its key
//! again only after the peer has acknowledged a packet of the present one (RFC 9001, section 6.1, does the same) and after
//! late packets of the one before have arrived (section 6.5), and because packet numbers tell a late packet of the key
//! before from an early one of the key after.

use super::{SessionError, SessionLimits};
use crate::{
    Time,
    handshake::{Keys, Role},
};
use x0_crypto::mesh::{ChainKey, PacketKey, TAG_BYTES, Traffic};
use x0_mesh_wire::data::DATA_PREFIX_BYTES;

/// A ratchet whose keys are known here and not yet in use.
#[derive(Debug)]
struct Fresh {
    number: u32,
    /// Gone when this end has begun to seal with it.
    send: Option<PacketKey>,
    /// Gone when a packet of the peer was opened with it.
    receive: Option<PacketKey>,
    chain: ChainKey,
}

/// What opening a packet showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyUse {
    /// A key that was in use, or the next phase.
    Known,
    /// The first packet of the peer with the keys of this ratchet: both ends hold them.
    Ratcheted,
}

/// All keys of a session.
#[derive(Debug)]
pub(super) struct KeyRing {
    role: Role,
    chain: ChainKey,
    /// Ratchets done.
    number: u32,
    fresh: Option<Fresh>,
    send: PacketKey,
    send_phase: bool,
    /// The first number that the present key sealed, and how many.
    send_first: u64,
    sealed: u64,
    /// Whether the peer has acknowledged a packet of the present key.
    send_confirmed: bool,
    /// When the sending key changed last.
    send_changed: Option<Time>,
    receive: PacketKey,
    receive_phase: bool,
    /// The lowest number that the present key has opened.
    receive_first: u64,
    receive_next: Option<PacketKey>,
    receive_old: Option<(PacketKey, Time)>,
    /// A copy for a second try, because a failed one leaves nothing.
    scratch: Vec<u8>,
    phases: u64,
}

impl KeyRing {
    pub(super) fn new(keys: Keys, role: Role) -> Self {
        Self {
            role,
            chain: keys.chain,
            number: 0,
            fresh: None,
            send: keys.send,
            send_phase: false,
            send_first: 0,
            sealed: 0,
            send_confirmed: false,
            send_changed: None,
            receive: keys.receive,
            receive_phase: false,
            receive_first: 0,
            receive_next: None,
            receive_old: None,
            scratch: Vec::new(),
            phases: 0,
        }
    }

    /// Ratchets done.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Changes of the sending key so far.
    pub(super) const fn phases(&self) -> u64 {
        self.phases
    }

    /// The chain that the next ratchet starts from.
    pub(super) const fn chain(&self) -> &ChainKey {
        &self.chain
    }

    /// Takes the keys of a ratchet. The initiator may seal with them as soon as the present key is confirmed, because
    /// the responder made them first; the responder opens with them, and seals when the initiator has used them.
    pub(super) fn add(&mut self, number: u32, traffic: Traffic) {
        let keys = Keys::new(traffic, self.role);
        self.fresh = Some(Fresh { number, send: Some(keys.send), receive: Some(keys.receive), chain: keys.chain });
    }

    /// Whether the keys of a ratchet wait for the peer.
    pub(super) const fn is_changing(&self) -> bool {
        self.fresh.is_some()
    }

    /// Whether a change of the sending key waits for the peer to acknowledge the present one.
    pub(super) fn waits_for_confirmation(&self) -> bool {
        !self.send_confirmed && self.fresh.as_ref().is_some_and(|fresh| self.may_send(fresh))
    }

    fn may_send(&self, fresh: &Fresh) -> bool {
        fresh.send.is_some() && (self.role == Role::Initiator || fresh.receive.is_none())
    }

    /// The peer has this packet.
    pub(super) fn acknowledged(&mut self, pn: u64) {
        self.send_confirmed |= self.sealed > 0 && pn >= self.send_first;
    }

    /// Seals; the key phase must be in the prefix already: ask [`KeyRing::before_sealing`] first.
    pub(super) fn seal(&mut self, pn: u64, aad: &[u8], plain: &mut [u8]) -> Result<[u8; TAG_BYTES], SessionError> {
        self.sealed += 1;
        Ok(self.send.seal_in_place(pn, aad, plain)?)
    }

    /// Changes the sending key when it is time, and tells the phase of the key that seals this number.
    pub(super) fn before_sealing(&mut self, now: Time, pn: u64, limits: &SessionLimits) -> Result<bool, SessionError> {
        if self.send_confirmed && self.send_changed.is_none_or(|at| now >= at.plus_ms(limits.spacing_ms)) {
            let ready = match self.fresh.take() {
                Some(mut fresh) if self.may_send(&fresh) => {
                    let send = fresh.send.take();
                    self.fresh = Some(fresh);
                    self.settle();
                    send
                }
                other => {
                    self.fresh = other;
                    None
                }
            };
            if let Some(key) = ready {
                self.send_with(now, key, pn);
            } else if self.sealed >= limits.phase_packets {
                let key = self.send.next_phase()?;
                self.send_with(now, key, pn);
            }
        }
        if self.sealed >= limits.phase_packets_max {
            return Err(SessionError::KeyExhausted { sealed: self.sealed });
        }
        Ok(self.send_phase)
    }

    fn send_with(&mut self, now: Time, key: PacketKey, pn: u64) {
        self.send_changed = Some(now);
        self.send = key;
        self.send_phase = !self.send_phase;
        self.send_first = pn;
        self.sealed = 0;
        self.send_confirmed = false;
        self.phases += 1;
    }

    /// Opens in place.
    pub(super) fn open<'a>(
        &mut self,
        now: Time,
        limits: &SessionLimits,
        pn: u64,
        phase: bool,
        aad: &[u8; DATA_PREFIX_BYTES],
        sealed: &'a mut [u8],
    ) -> Result<(&'a mut [u8], KeyUse), SessionError> {
        let refused = SessionError::Seal { pn };
        if phase == self.receive_phase {
            let plain = self.receive.open_in_place(pn, aad, sealed).map_err(|_| refused)?;
            self.receive_first = self.receive_first.min(pn);
            return Ok((plain, KeyUse::Known));
        }
        if pn < self.receive_first {
            // A late packet of the key before.
            if self.receive_old.as_ref().is_some_and(|(_, until)| now > *until) {
                self.receive_old = None;
            }
            let (key, _) = self.receive_old.as_ref().ok_or(refused)?;
            return Ok((key.open_in_place(pn, aad, sealed).map_err(|_| refused)?, KeyUse::Known));
        }
        if let Some(key) = self.fresh.as_ref().and_then(|fresh| fresh.receive.as_ref()) {
            self.scratch.clear();
            self.scratch.extend_from_slice(sealed);
            let opened = key.open_in_place(pn, aad, &mut self.scratch).map(|plain| plain.len());
            if let Ok(length) = opened {
                if let Some(key) = self.fresh.as_mut().and_then(|fresh| fresh.receive.take()) {
                    self.receive_with(now, limits, key, pn);
                }
                if let Some(fresh) = &self.fresh {
                    self.chain = fresh.chain.clone();
                    self.number = fresh.number;
                }
                self.settle();
                let plain = sealed.get_mut(..length).ok_or(refused)?;
                plain.copy_from_slice(self.scratch.get(..length).ok_or(refused)?);
                return Ok((plain, KeyUse::Ratcheted));
            }
        }
        let next = match self.receive_next.take() {
            Some(next) => next,
            None => self.receive.next_phase()?,
        };
        match next.open_in_place(pn, aad, sealed) {
            Ok(plain) => {
                self.receive_with(now, limits, next, pn);
                Ok((plain, KeyUse::Known))
            }
            Err(_) => {
                // Kept, so that forged packets cost no derivation each.
                self.receive_next = Some(next);
                Err(refused)
            }
        }
    }

    fn receive_with(&mut self, now: Time, limits: &SessionLimits, key: PacketKey, pn: u64) {
        let old = core::mem::replace(&mut self.receive, key);
        self.receive_old = Some((old, now.plus_ms(limits.old_keys_ms)));
        self.receive_next = None;
        self.receive_phase = !self.receive_phase;
        self.receive_first = pn;
    }

    /// Forgets a ratchet whose both keys are in use.
    fn settle(&mut self) {
        if self.fresh.as_ref().is_some_and(|fresh| fresh.send.is_none() && fresh.receive.is_none()) {
            self.fresh = None;
        }
    }

    /// Drops keys whose time is over.
    pub(super) fn prune(&mut self, now: Time) {
        if self.receive_old.as_ref().is_some_and(|(_, until)| now > *until) {
            self.receive_old = None;
        }
    }
}
