//! A proof of identity is longer than a datagram: fragments of equal length, and one more that is the
//! XOR of all, so that any one of them may be lost.

use super::Refusal;
use x0_crypto::mesh::ProofKey;
use x0_mesh_wire::{
    HopKey, Kind,
    handshake::{Envelope, PROOF_HEAD_BYTES, Proof},
    limits::{PROOF_FRAGMENTS_MAX, TAG_BYTES},
};

/// A proof that is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The data fragments and, last, the parity.
    fragments: Vec<Vec<u8>>,
}

impl Outgoing {
    /// Cuts a message into as few fragments as `bytes_max` allows. The last is filled with zeros, which
    /// the reader of the message removes.
    pub(super) fn cut(message: &[u8], bytes_max: usize) -> Self {
        let count = message.len().div_ceil(bytes_max.max(1)).clamp(1, PROOF_FRAGMENTS_MAX);
        let length = message.len().div_ceil(count).max(1);
        let mut parity = vec![0; length];
        let mut fragments = Vec::with_capacity(count + 1);
        for index in 0..count {
            let start = (index * length).min(message.len());
            let end = (start + length).min(message.len());
            let mut fragment = message[start..end].to_vec();
            fragment.resize(length, 0);
            xor(&mut parity, &fragment);
            fragments.push(fragment);
        }
        fragments.push(parity);
        Self { fragments }
    }

    /// How many data fragments there are.
    pub(super) fn count(&self) -> u8 {
        u8::try_from(self.fragments.len() - 1).unwrap_or(u8::MAX)
    }

    /// The fragments with their indices: all of the first flight, parity included.
    pub(super) fn all(&self) -> impl Iterator<Item = (u8, &[u8])> {
        (0..=self.count()).zip(self.fragments.iter().map(Vec::as_slice))
    }

    /// The data fragments that a peer who saw `seen` lacks.
    pub(super) fn missing(&self, seen: u8) -> impl Iterator<Item = (u8, &[u8])> {
        let count = self.count();
        self.all().filter(move |(index, _)| *index < count && seen & (1 << index) == 0)
    }
}

fn xor(into: &mut [u8], other: &[u8]) {
    for (byte, other) in into.iter_mut().zip(other) {
        *byte ^= other;
    }
}

/// A proof that arrives.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    count: u8,
    fragments: [Option<Vec<u8>>; PROOF_FRAGMENTS_MAX + 1],
    done: bool,
}

/// What a fragment completed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// The message with its padding.
    pub(super) message: Vec<u8>,
    /// Whether the parity replaced a fragment.
    pub(super) parity_used: bool,
}

impl Incoming {
    /// Which fragments arrived: bit i is fragment i. All, when the message is complete.
    pub(super) fn seen(&self) -> u8 {
        if self.done {
            return u8::MAX;
        }
        let bits = self.fragments.iter().enumerate().filter(|(_, fragment)| fragment.is_some());
        bits.fold(0, |seen, (index, _)| seen | (1 << index))
    }

    /// Whether nothing arrived yet.
    pub(super) fn is_empty(&self) -> bool {
        self.seen() == 0
    }

    /// Adds an opened fragment; the message, when this one completes it. Copies change nothing.
    pub(super) fn add(&mut self, head: &Proof, payload: &[u8]) -> Result<Option<Whole>, Refusal> {
        if self.done {
            return Ok(None);
        }
        let length = self.fragments.iter().flatten().next().map(Vec::len);
        let fits = head.count != 0 && (self.is_empty() || (head.count, Some(payload.len())) == (self.count, length));
        let place = self.fragments.get_mut(usize::from(head.index)).filter(|_| fits).ok_or(Refusal::Fragment)?;
        if let Some(before) = place {
            return if before == payload { Ok(None) } else { Err(Refusal::Fragment) };
        }
        *place = Some(payload.to_vec());
        self.count = head.count;
        let count = usize::from(self.count);
        let arrived = self.fragments.iter().take(count + 1).flatten().count();
        if arrived < count {
            return Ok(None);
        }
        let mut rest = vec![0; payload.len()];
        self.fragments.iter().flatten().for_each(|fragment| xor(&mut rest, fragment));
        let mut parity_used = false;
        let mut message = Vec::with_capacity(count * payload.len());
        for fragment in self.fragments.iter_mut().take(count) {
            parity_used |= fragment.is_none();
            // Of all but one the XOR is the one that is missing.
            message.extend(fragment.take().as_ref().unwrap_or(&rest));
        }
        *self = Self { count: self.count, done: true, ..Self::default() };
        Ok(Some(Whole { message, parity_used }))
    }
}

/// One side's sealing of its proof: each datagram has the next number.
#[derive(Debug)]
pub(super) struct Sealer {
    pub(super) mac: HopKey,
    pub(super) next: u32,
    /// The peer's id.
    pub(super) id: u32,
}

impl Sealer {
    /// Seals one fragment, or with a count of zero only tells what was seen.
    pub(super) fn seal(
        &mut self,
        key: &ProofKey,
        index: u8,
        count: u8,
        seen: u8,
        payload: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let head = Proof { number: self.next, index, count, seen };
        self.next = self.next.checked_add(1).ok_or(Refusal::OutOfTurn)?;
        let mut body = Vec::with_capacity(PROOF_HEAD_BYTES + payload.len() + TAG_BYTES);
        body.extend(head.to_bytes());
        body.extend(payload);
        let tag = key.seal_in_place(head.number, &head.aad(self.id), &mut body[PROOF_HEAD_BYTES..])?;
        body.extend(tag);
        Ok(body)
    }

    /// The envelope of a sealed body.
    pub(super) fn envelope<'a>(&self, body: &'a [u8]) -> Envelope<'a> {
        Envelope::seal(Kind::Proof, self.id, body, &self.mac)
    }
}

/// Checks and opens a fragment that came for the handshake `envelope.id`.
pub(super) fn open(envelope: &Envelope<'_>, key: &ProofKey, mac: &HopKey) -> Result<(Proof, Vec<u8>), Refusal> {
    envelope.check(mac)?;
    let head = Proof::read(envelope.body)?;
    let mut sealed = envelope.body.get(PROOF_HEAD_BYTES..).unwrap_or(&[]).to_vec();
    let length = key.open_in_place(head.number, &head.aad(envelope.id), &mut sealed)?.len();
    sealed.truncate(length);
    Ok((head, sealed))
}
