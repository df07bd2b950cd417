//! One end-to-end session: packets sealed once, sent on any number of routes, delivered once.
//!
//! ```text
//!   IP packet --seal--> body (index, pn, ciphertext, tag) --sent(paths)--> TailPool --tail--> again on a new route
//!   body --open--> [keys by phase] -> [tag] -> [16,384-packet window] --+--> IP packet
//!                                                                       +--> acknowledgement, ratchet, fragments
//!   transmit: what the session itself has to say (acknowledgements, ratchet), as sealed bodies
//! ```
//!
//! # How it is used
//! ```text
//!   let sealed = session.seal(now, &Inner::Packet(ip), &mut frame[offset..])?;   // the body of a data frame
//!   session.sent(now, &mut pool, paths, sealed.pn, &frame[offset..][..sealed.bytes]);
//!   ... session.tail(now, &pool, dead) -> in order, then session.tail_moved(dead, onto)
//!   sessions.open(now, body)?                                                    // in place: Opened::Packet(ip) ...
//!   while let Some(sealed) = session.transmit(now, entropy, &mut buffer)? { send it on the primary path }
//!   session.take_delivered()                                                     // paths that acknowledgements confirm
//!   sleep until session.deadline()
//! ```

mod class;
mod error;
mod fragment;
mod keys;
mod ratchet;
mod receipts;
mod set;
mod tail;
mod types;

pub use class::{Class, class_of};
pub use error::SessionError;
pub use fragment::{HALF_BYTES_MAX, HALF_MS};
pub use receipts::{ACKNOWLEDGE_MS, WINDOW_PACKETS};
pub use set::SessionSet;
pub use tail::{TAIL_MS, TAIL_PACKETS, TAIL_POOL_BYTES, TAIL_SESSION_BYTES, TailPool};
pub use types::{Opened, PathSet, Sealed, SessionCounters, SessionLimits, SessionStatus};

use crate::{
    Entropy, Time,
    handshake::{Keys, Role},
    window::Freshness,
};
use fragment::Joiner;
use keys::{KeyRing, KeyUse};
use ratchet::Ratchet;
use receipts::{Acknowledgement, Receipts};
use tail::Tail;
use x0_crypto::mesh::TAG_BYTES;
use x0_mesh_wire::{
    ControlFragment, DataBody, Inner,
    control::kind,
    data::{DATA_PREFIX_BYTES, data_prefix},
};

/// Packet numbers end here; hourly handshakes come long before.
const PN_MAX: u64 = 1 << 62;
/// Bytes before the payload of a control message.
const CONTROL_HEAD_BYTES: usize = x0_mesh_wire::control::CONTROL_HEAD_BYTES;
/// Longest control message that a session itself sends.
const CONTROL_BYTES_MAX: usize = 640;

/// One session.
#[derive(Debug)]
pub struct Session {
    local: u32,
    remote: u32,
    id: [u8; 32],
    role: Role,
    limits: SessionLimits,
    created: Time,
    ratcheted: Time,
    opened: Option<Time>,
    demanded: bool,
    keys: KeyRing,
    ratchet: Ratchet,
    next_pn: u64,
    next_fragment: u16,
    receipts: Receipts,
    joiner: Joiner,
    tail: Tail,
    delivered: PathSet,
    /// When the peer is asked next for a sign that it holds the present keys, and the wait after that.
    nudge: (Time, u64),
    counters: SessionCounters,
}

impl Session {
    /// Bytes that sealing adds to a packet.
    pub const OVERHEAD_BYTES: usize = DATA_PREFIX_BYTES + 1 + TAG_BYTES;
    /// Bytes that sealing adds to half a packet.
    pub const FRAGMENT_OVERHEAD_BYTES: usize = DATA_PREFIX_BYTES + Inner::FRAGMENT_HEAD_BYTES + TAG_BYTES;

    /// A session whose handshake is done. `local` is the index that the peer writes on bodies to us, `remote` what we
    /// write on ours.
    #[must_use]
    pub fn new(keys: Keys, role: Role, (local, remote): (u32, u32), now: Time, entropy: &mut dyn Entropy) -> Self {
        Self::with_limits(keys, role, (local, remote), now, entropy, SessionLimits::PRODUCT)
    }

    /// A session with other limits than the product's.
    #[must_use]
    pub fn with_limits(
        keys: Keys,
        role: Role,
        (local, remote): (u32, u32),
        now: Time,
        entropy: &mut dyn Entropy,
        limits: SessionLimits,
    ) -> Self {
        let ratchet = match role {
            Role::Initiator => Ratchet::initiator(now, &limits, entropy),
            Role::Responder => Ratchet::responder(),
        };
        Self {
            local,
            remote,
            id: keys.transcript,
            role,
            limits,
            created: now,
            ratcheted: now,
            opened: None,
            demanded: false,
            keys: KeyRing::new(keys, role),
            ratchet,
            next_pn: 0,
            next_fragment: 0,
            receipts: Receipts::new(now),
            joiner: Joiner::default(),
            tail: Tail::default(),
            delivered: PathSet::NONE,
            nudge: (now, limits.repeat_ms.0),
            counters: SessionCounters::default(),
        }
    }

    /// Seals a packet; its body begins at the start of `out`. It is sealed once, however many routes it takes.
    ///
    /// # Errors
    /// [`SessionError::Expired`], [`SessionError::KeyExhausted`], [`SessionError::NoSpace`].
    pub fn seal(&mut self, now: Time, inner: &Inner<'_>, out: &mut [u8]) -> Result<Sealed, SessionError> {
        self.check_age(now)?;
        let plain_bytes = inner.bytes();
        let (bytes, found) = (DATA_PREFIX_BYTES + plain_bytes + TAG_BYTES, out.len());
        let body = out.get_mut(..bytes).ok_or(SessionError::NoSpace { needed: bytes, found })?;
        let pn = self.next_pn;
        if pn >= PN_MAX {
            return Err(SessionError::KeyExhausted { sealed: pn });
        }
        let phase = self.keys.before_sealing(now, pn, &self.limits)?;
        let prefix = data_prefix(self.remote, pn, phase)?;
        // The number is spent before it is used, so that no error can make it be used twice.
        self.next_pn += 1;
        let (head, rest) = body.split_at_mut(DATA_PREFIX_BYTES);
        head.copy_from_slice(&prefix);
        let (plain, tag) = rest.split_at_mut(plain_bytes);
        inner.write(plain)?;
        tag.copy_from_slice(&self.keys.seal(pn, &prefix, plain)?);
        self.counters.sealed += 1;
        self.counters.sealed_bytes += bytes as u64;
        Ok(Sealed { pn, bytes })
    }

    /// Cuts a packet in two tunnel fragments and seals both. `body_bytes_max`: the longest body that the path takes.
    ///
    /// # Errors
    /// [`SessionError::TooLong`] for a packet that does not fit in two, and those of [`Session::seal`].
    pub fn seal_split(
        &mut self,
        now: Time,
        packet: &[u8],
        body_bytes_max: usize,
        first: &mut [u8],
        last: &mut [u8],
    ) -> Result<[Sealed; 2], SessionError> {
        let at = fragment::cut(packet.len(), body_bytes_max.saturating_sub(Self::FRAGMENT_OVERHEAD_BYTES))?;
        let (front, back) = packet.split_at(at);
        self.next_fragment = self.next_fragment.wrapping_add(1);
        let id = self.next_fragment;
        Ok([
            self.seal(now, &Inner::Fragment { id, last: false, payload: front }, first)?,
            self.seal(now, &Inner::Fragment { id, last: true, payload: back }, last)?,
        ])
    }

    /// Opens a body in place. Nothing moves before the tag was checked, and no packet is given out twice.
    ///
    /// # Errors
    /// [`SessionError`]; all are counted. [`SessionError::Repeated`] is what copies on several routes give.
    pub fn open<'a>(&'a mut self, now: Time, body: &'a mut [u8]) -> Result<Opened<'a>, SessionError> {
        self.check_age(now)?;
        let DataBody::Packet { session_index, pn, key_phase, .. } = DataBody::read(body)? else {
            return Err(SessionError::Index { own: self.local, found: 0 });
        };
        if session_index != self.local {
            return Err(SessionError::Index { own: self.local, found: session_index });
        }
        match self.receipts.window.look(pn) {
            Freshness::New => {}
            Freshness::Repeated => {
                self.counters.repeated += 1;
                return Err(SessionError::Repeated { pn });
            }
            Freshness::TooOld => {
                self.counters.too_old += 1;
                return Err(SessionError::TooOld { pn });
            }
        }
        let bytes = body.len();
        let (prefix, sealed) = body.split_at_mut(DATA_PREFIX_BYTES);
        let prefix = prefix.first_chunk().ok_or(SessionError::Seal { pn })?;
        let (plain, key) = match self.keys.open(now, &self.limits, pn, key_phase, prefix, sealed) {
            Ok(opened) => opened,
            Err(error) => {
                self.counters.forged += 1;
                return Err(error);
            }
        };
        self.receipts.window.mark(pn);
        self.opened = Some(now);
        self.counters.opened += 1;
        self.counters.opened_bytes += bytes as u64;
        if key == KeyUse::Ratcheted {
            self.ratcheted = now;
            self.ratchet.done(now, &self.limits);
            self.nudge = (now, self.limits.repeat_ms.0);
        }
        let plain: &'a [u8] = plain;
        self.take(now, plain)
    }

    /// What an authentic packet holds.
    fn take<'a>(&'a mut self, now: Time, plain: &'a [u8]) -> Result<Opened<'a>, SessionError> {
        match Inner::read(plain) {
            Ok(Inner::Packet(packet)) => {
                self.receipts.owe(now, false);
                Ok(Opened::Packet(packet))
            }
            Ok(Inner::PathProbe(probe)) => {
                self.receipts.owe(now, false);
                Ok(Opened::PathProbe(probe))
            }
            Ok(Inner::Fragment { id, last, payload }) => {
                self.receipts.owe(now, false);
                Ok(self.joiner.half(now, id, last, payload)?.map_or(Opened::Nothing, Opened::Packet))
            }
            Ok(Inner::Control(control)) => match self.control(now, control) {
                Ok(true) => Ok(Opened::Nothing),
                Ok(false) => Ok(Opened::Control(control)),
                Err(error) => {
                    self.counters.malformed += 1;
                    Err(error)
                }
            },
            Err(error) => {
                self.counters.malformed += 1;
                Err(error.into())
            }
        }
    }

    /// Takes a control message; false when it belongs to the node.
    fn control(&mut self, now: Time, plain: &[u8]) -> Result<bool, SessionError> {
        let fragment = ControlFragment::read(plain)?;
        match fragment.kind {
            kind::SESSION_ACKNOWLEDGEMENT => {
                let told = Acknowledgement::read(fragment.payload)?;
                if told.largest >= self.next_pn || told.base > self.next_pn {
                    let acknowledged = told.largest.max(told.base);
                    return Err(SessionError::AcknowledgesUnsent { acknowledged, sent: self.next_pn });
                }
                self.keys.acknowledged(told.largest);
                self.delivered = self.delivered.with(self.tail.acknowledged(told.base, &told.bits));
                Ok(true)
            }
            kind::RATCHET_OFFER | kind::RATCHET_ANSWER => {
                self.receipts.owe(now, false);
                let (number, changing) = (self.keys.number(), self.keys.is_changing());
                if let Some((number, traffic)) =
                    self.ratchet.fragment(now, &fragment, number, changing, self.keys.chain())?
                {
                    self.keys.add(number, traffic);
                    self.nudge = (now, self.limits.repeat_ms.0);
                }
                Ok(true)
            }
            kind::RATCHET_CONFIRM => {
                self.receipts.owe(now, true);
                Ok(true)
            }
            _ => {
                self.receipts.owe(now, false);
                Ok(false)
            }
        }
    }

    /// Remembers a sealed body that went out on `paths`. What is too long for the pool is not remembered.
    pub fn sent(&mut self, now: Time, pool: &mut TailPool, paths: PathSet, pn: u64, body: &[u8]) {
        self.tail.push(now, pool, paths, pn, body);
    }

    /// Sealed bodies that travelled only on `dead` paths, in the order in which they were sent: of the last 25 ms, or
    /// the last 64, and not acknowledged. Send them on another path, before newer ones, and call
    /// [`Session::tail_moved`].
    pub fn tail<'a>(
        &'a self,
        now: Time,
        pool: &'a TailPool,
        dead: PathSet,
    ) -> impl Iterator<Item = (u64, &'a [u8])> + 'a {
        self.tail.of(now, pool, dead)
    }

    /// The tail of `dead`, `packets` of it, was sent on `onto` too.
    pub fn tail_moved(&mut self, dead: PathSet, onto: PathSet, packets: u64) {
        self.tail.moved(dead, onto);
        self.counters.replayed += packets;
    }

    /// The paths over which packets arrived since the last call, as acknowledgements tell. Packets that travelled
    /// several paths tell of none.
    pub const fn take_delivered(&mut self) -> PathSet {
        core::mem::replace(&mut self.delivered, PathSet::NONE)
    }

    /// Seals the next message that the session itself has to say: acknowledgement or ratchet. Call it until it gives
    /// `None`; send each on the primary path.
    ///
    /// # Errors
    /// Those of [`Session::seal`], and of the key agreement.
    pub fn transmit(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<Option<Sealed>, SessionError> {
        if self.expired(now) {
            return Ok(None);
        }
        self.keys.prune(now);
        self.ratchet.tick(now, self.keys.number(), &self.limits, entropy)?;
        let mut plain = [0; CONTROL_BYTES_MAX];
        if let Some(bytes) = self.ratchet.write(&mut plain)? {
            let plain = plain.get(..bytes).unwrap_or(&[]);
            return self.seal(now, &Inner::Control(plain), out).map(Some);
        }
        if self.wants_nudge() && now >= self.nudge.0 {
            self.nudge = (now.plus_ms(self.nudge.1), (self.nudge.1 * 3 / 2).min(self.limits.repeat_ms.1));
            let number = self.keys.number().to_be_bytes();
            let fragment =
                ControlFragment { kind: kind::RATCHET_CONFIRM, message: 0, index: 0, count: 1, payload: &number };
            let bytes = fragment.write(&mut plain)?;
            let plain = plain.get(..bytes).unwrap_or(&[]);
            return self.seal(now, &Inner::Control(plain), out).map(Some);
        }
        let Some(told) = self.receipts.acknowledge(now) else { return Ok(None) };
        let payload = told.to_bytes();
        let fragment =
            ControlFragment { kind: kind::SESSION_ACKNOWLEDGEMENT, message: 0, index: 0, count: 1, payload: &payload };
        let bytes = fragment.write(&mut plain)?;
        self.counters.acknowledgements += 1;
        let plain = plain.get(..bytes).unwrap_or(&[]);
        self.seal(now, &Inner::Control(plain), out).map(Some)
    }

    /// Whether the peer has yet to show something that it only shows when asked: that it holds the session's keys, the
    /// keys of a ratchet, or the present key of this end.
    fn wants_nudge(&self) -> bool {
        let initiator = self.role == Role::Initiator;
        initiator && (self.opened.is_none() || self.keys.is_changing()) || self.keys.waits_for_confirmation()
    }

    /// When [`Session::transmit`] has something to do, or the session ends.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let mut due = self.ratcheted.plus_ms(self.limits.expire_ms);
        for at in [self.receipts.due, self.ratchet.deadline(), self.wants_nudge().then_some(self.nudge.0)] {
            due = at.map_or(due, |at| due.min(at));
        }
        due
    }

    fn check_age(&self, now: Time) -> Result<(), SessionError> {
        if !self.expired(now) {
            return Ok(());
        }
        let age_ms = now.since_ns(self.ratcheted) / 1_000_000;
        Err(SessionError::Expired { age_ms, limit_ms: self.limits.expire_ms })
    }

    /// Whether no ratchet succeeded for too long: nothing is sealed or opened any more.
    #[must_use]
    pub fn expired(&self, now: Time) -> bool {
        now >= self.ratcheted.plus_ms(self.limits.expire_ms)
    }

    /// Whether a new handshake is due: after an hour, or when it was demanded.
    #[must_use]
    pub fn wants_handshake(&self, now: Time) -> bool {
        self.demanded || now >= self.created.plus_ms(self.limits.handshake_ms)
    }

    /// When [`Session::wants_handshake`] becomes true by time alone.
    #[must_use]
    pub const fn handshake_at(&self) -> Time {
        self.created.plus_ms(self.limits.handshake_ms)
    }

    /// Asks for a new handshake, because trust or rights of the peer changed.
    pub const fn demand_handshake(&mut self) {
        self.demanded = true;
    }

    /// Whether the peer has proved by a packet that it holds the keys.
    #[must_use]
    pub const fn confirmed(&self) -> bool {
        self.opened.is_some()
    }

    /// The index that the peer writes on bodies to us.
    #[must_use]
    pub const fn local_index(&self) -> u32 {
        self.local
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &SessionCounters {
        &self.counters
    }

    /// The session as `status` shows it.
    #[must_use]
    pub fn status(&self, now: Time) -> SessionStatus {
        let (tail_packets, tail_bytes) = self.tail.size();
        SessionStatus {
            role: self.role,
            age_ms: now.since_ns(self.created) / 1_000_000,
            keys_age_ms: now.since_ns(self.ratcheted) / 1_000_000,
            ratchets: self.keys.number(),
            phases: self.keys.phases(),
            confirmed: self.confirmed(),
            tail_packets,
            tail_bytes,
            counters: self.counters,
        }
    }
}

const _: () = assert!(CONTROL_BYTES_MAX >= CONTROL_HEAD_BYTES + x0_crypto::kem::ENCAPSULATION_KEY_BYTES / 2 + 4);
