//! The ML-KEM ratchet inside a session: fresh secrets every two minutes, without signatures.
//!
//! ```text
//!   initiator                                  responder
//!   offer (number, encapsulation key) x2 --->
//!                                        <---  answer (number, ciphertext) x2     opens with the new keys
//!   confirm, sealed with the new key     --->                                     seals with the new keys
//!                                        <---  acknowledgement, sealed with the new key
//! ```
//! Each side repeats what is unanswered. The handshake's initiator offers, so offers never cross.

use super::{SessionError, SessionLimits};
use crate::{Entropy, Time};
use x0_crypto::{
    kem::{CIPHERTEXT_BYTES, DecapsulationKey, ENCAPSULATION_KEY_BYTES, EncapsulationKey, KEM_SEED_BYTES},
    mesh::{ChainKey, Traffic},
};
use x0_mesh_wire::{ControlFragment, control::kind};
use zeroize::Zeroizing;

/// Fragments of an offer or an answer: they fit every route.
const FRAGMENTS: u8 = 2;
/// Bytes of the number before key or ciphertext.
const NUMBER_BYTES: usize = 4;

/// A message in fragments on its way out.
#[derive(Debug)]
struct Outgoing {
    kind: u8,
    message: u16,
    bytes: Vec<u8>,
    next: u8,
    since: Time,
}

/// A message in fragments on its way in.
#[derive(Debug)]
struct Incoming {
    kind: u8,
    message: u16,
    parts: [Option<Vec<u8>>; FRAGMENTS as usize],
}

/// Where the initiator stands.
enum Offer {
    /// Nothing to do before this moment.
    Resting(Time),
    /// An offer waits for its answer.
    Made(Box<DecapsulationKey>),
    /// The new keys are known here, and wait for the peer to use them.
    Answered,
}

impl core::fmt::Debug for Offer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Resting(until) => write!(f, "Resting({until:?})"),
            Self::Made(_) => f.write_str("Made"),
            Self::Answered => f.write_str("Answered"),
        }
    }
}

/// The ratchet of one end.
#[derive(Debug)]
pub(super) struct Ratchet {
    /// `None` at the responder.
    offer: Option<Offer>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    /// The number that was answered last, so that a repeated offer gets the same answer.
    answered: u32,
    next_message: u16,
    repeat_at: Option<Time>,
    wait_ms: u64,
    /// Spreads the next ratchet.
    random: u64,
}

impl Ratchet {
    pub(super) fn initiator(now: Time, limits: &SessionLimits, entropy: &mut dyn Entropy) -> Self {
        let offer = Some(Offer::Resting(spread(now, limits, draw(entropy))));
        Self { offer, random: draw(entropy), ..Self::responder() }
    }

    pub(super) const fn responder() -> Self {
        Self {
            offer: None,
            outgoing: None,
            incoming: None,
            answered: 0,
            next_message: 0,
            repeat_at: None,
            wait_ms: 0,
            random: 0,
        }
    }

    /// When something is to be sent.
    pub(super) fn deadline(&self) -> Option<Time> {
        if let Some(message) = self.outgoing.as_ref().filter(|message| message.next < FRAGMENTS) {
            return Some(message.since);
        }
        match &self.offer {
            Some(Offer::Resting(until)) => Some(*until),
            Some(Offer::Made(_)) => self.repeat_at,
            Some(Offer::Answered) | None => None,
        }
    }

    /// Begins or repeats what is due. `number`: ratchets done.
    pub(super) fn tick(
        &mut self,
        now: Time,
        number: u32,
        limits: &SessionLimits,
        entropy: &mut dyn Entropy,
    ) -> Result<(), SessionError> {
        match &self.offer {
            Some(Offer::Resting(until)) if now >= *until => {
                // Should the library fail, it is tried again later, not at once.
                self.offer = Some(Offer::Resting(now.plus_ms(limits.repeat_ms.1)));
                let mut seed = Zeroizing::new([0; KEM_SEED_BYTES]);
                entropy.fill(&mut seed[..]);
                let key = DecapsulationKey::from_seed(&seed)?;
                let mut bytes = (number.wrapping_add(1)).to_be_bytes().to_vec();
                bytes.extend_from_slice(key.encapsulation_key().as_bytes());
                self.say(now, kind::RATCHET_OFFER, bytes);
                self.random = draw(entropy);
                self.offer = Some(Offer::Made(Box::new(key)));
                self.wait_ms = limits.repeat_ms.0;
                self.repeat_at = Some(now.plus_ms(self.wait_ms));
            }
            Some(Offer::Made(_)) if self.repeat_at.is_some_and(|at| now >= at) => {
                self.repeat(now);
                self.wait_ms = (self.wait_ms * 3 / 2).min(limits.repeat_ms.1);
                self.repeat_at = Some(now.plus_ms(self.wait_ms));
            }
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, now: Time, kind: u8, bytes: Vec<u8>) {
        self.next_message = self.next_message.wrapping_add(1);
        self.outgoing = Some(Outgoing { kind, message: self.next_message, bytes, next: 0, since: now });
    }

    fn repeat(&mut self, now: Time) {
        if let Some(message) = &mut self.outgoing {
            message.next = 0;
            message.since = now;
        }
    }

    /// Writes the next fragment that is to be sent; its length.
    pub(super) fn write(&mut self, place: &mut [u8]) -> Result<Option<usize>, SessionError> {
        let Some(message) = self.outgoing.as_mut().filter(|message| message.next < FRAGMENTS) else { return Ok(None) };
        let half = message.bytes.len().div_ceil(usize::from(FRAGMENTS));
        let start = half * usize::from(message.next);
        let end = (start + half).min(message.bytes.len());
        let fragment = ControlFragment {
            kind: message.kind,
            message: message.message,
            index: message.next,
            count: FRAGMENTS,
            payload: message.bytes.get(start..end).unwrap_or(&[]),
        };
        let written = fragment.write(place)?;
        message.next += 1;
        Ok(Some(written))
    }

    /// Takes a fragment of an offer or an answer. Gives the number and the new keys when that completes a ratchet.
    pub(super) fn fragment(
        &mut self,
        now: Time,
        fragment: &ControlFragment<'_>,
        number: u32,
        changing: bool,
        chain: &ChainKey,
    ) -> Result<Option<(u32, Traffic)>, SessionError> {
        let body = match (fragment.kind, &self.offer) {
            (kind::RATCHET_OFFER, None) => ENCAPSULATION_KEY_BYTES,
            (kind::RATCHET_ANSWER, Some(_)) => CIPHERTEXT_BYTES,
            _ => return Err(SessionError::Ratchet { found: 0, expected: number.wrapping_add(1) }),
        };
        let Some(bytes) = self.assemble(fragment, NUMBER_BYTES + body)? else { return Ok(None) };
        let (head, body) = bytes.split_at(NUMBER_BYTES);
        let found = head.first_chunk().map_or(0, |head| u32::from_be_bytes(*head));
        if fragment.kind == kind::RATCHET_OFFER {
            self.offered(now, found, body, (number, changing), chain)
        } else {
            self.answer(found, body, number, chain)
        }
    }

    fn assemble(&mut self, fragment: &ControlFragment<'_>, needed: usize) -> Result<Option<Vec<u8>>, SessionError> {
        let index = usize::from(fragment.index);
        let wrong = SessionError::RatchetLength { found: fragment.payload.len(), needed };
        let half = needed.div_ceil(usize::from(FRAGMENTS));
        let expected = if index == 0 { half } else { needed - half };
        if fragment.count != FRAGMENTS || fragment.payload.len() != expected {
            return Err(wrong);
        }
        let incoming = match &mut self.incoming {
            Some(incoming) if incoming.kind == fragment.kind && incoming.message == fragment.message => incoming,
            place => place.insert(Incoming { kind: fragment.kind, message: fragment.message, parts: [None, None] }),
        };
        *incoming.parts.get_mut(index).ok_or(wrong)? = Some(fragment.payload.to_vec());
        if let [Some(first), Some(last)] = &incoming.parts {
            let whole = [&first[..], &last[..]].concat();
            self.incoming = None;
            return Ok(Some(whole));
        }
        Ok(None)
    }

    /// The responder makes the new keys, once for each number.
    fn offered(
        &mut self,
        now: Time,
        found: u32,
        body: &[u8],
        (number, changing): (u32, bool),
        chain: &ChainKey,
    ) -> Result<Option<(u32, Traffic)>, SessionError> {
        let expected = number.wrapping_add(1);
        if found == self.answered && (changing || found == number) {
            // The answer, or a part of it, was lost.
            self.repeat(now);
            return Ok(None);
        }
        if found != expected || changing {
            return Err(SessionError::Ratchet { found, expected });
        }
        let key = EncapsulationKey::from_bytes(body)?;
        let (ciphertext, secret) = key.encapsulate()?;
        let traffic = chain.ratchet(found, &secret, key.as_bytes(), &ciphertext)?;
        let mut bytes = found.to_be_bytes().to_vec();
        bytes.extend_from_slice(&ciphertext[..]);
        self.say(now, kind::RATCHET_ANSWER, bytes);
        self.answered = found;
        Ok(Some((found, traffic)))
    }

    /// The initiator gets the new keys.
    fn answer(
        &mut self,
        found: u32,
        body: &[u8],
        number: u32,
        chain: &ChainKey,
    ) -> Result<Option<(u32, Traffic)>, SessionError> {
        let expected = number.wrapping_add(1);
        let Some(Offer::Made(key)) = &self.offer else {
            // A repetition of what was taken already.
            return Ok(None);
        };
        let ciphertext: &[u8; CIPHERTEXT_BYTES] =
            body.try_into().map_err(|_| SessionError::RatchetLength { found: body.len(), needed: CIPHERTEXT_BYTES })?;
        if found != expected {
            return Err(SessionError::Ratchet { found, expected });
        }
        let secret = key.decapsulate(ciphertext)?;
        let traffic = chain.ratchet(found, &secret, key.encapsulation_key().as_bytes(), ciphertext)?;
        self.offer = Some(Offer::Answered);
        self.outgoing = None;
        self.repeat_at = None;
        Ok(Some((found, traffic)))
    }

    /// The peer uses the new keys.
    pub(super) fn done(&mut self, now: Time, limits: &SessionLimits) {
        if self.offer.is_some() {
            self.offer = Some(Offer::Resting(spread(now, limits, self.random)));
        }
        self.outgoing = None;
    }
}

fn draw(entropy: &mut dyn Entropy) -> u64 {
    let mut random = [0; 8];
    entropy.fill(&mut random);
    u64::from_be_bytes(random)
}

/// The moment of the next ratchet: the interval, shorter or longer by up to a tenth, so that sessions that began
/// together do not ratchet together.
fn spread(now: Time, limits: &SessionLimits, random: u64) -> Time {
    let tenth = limits.ratchet_ms / 10;
    now.plus_ms(limits.ratchet_ms - tenth + random % (2 * tenth).max(1))
}
