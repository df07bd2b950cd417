//! The messages of the handshake, and the two ways in which they travel.
//!
//! ```text
//!  between neighbours        link header (link_tag = receiver's id, hop_mac = MAC) | body
//!  end to end, inside data   kind u8 | id u32 | MAC 8 | n u8 | n labels back       | body, or half of it
//! ```
//!
//! Either way the MAC is SipHash-2-4 over `kind | id | body`, with a key that depends on the message:
//! see `docs/mesh/handshake.md`.

use crate::{
    Flags, Header, HopKey, Kind, Labels, WireError,
    header::{put, take},
    limits::{
        CIPHERTEXT_BYTES, COOKIE_BYTES, COOKIE_NONCE_BYTES, ENCAPSULATION_KEY_BYTES, HEADER_BYTES, LABEL_BYTES,
        PROOF_FRAGMENT_BYTES_MAX, PROOF_FRAGMENTS_MAX, TAG_BYTES, X25519_BYTES,
    },
};

/// Version of the handshake.
pub const HANDSHAKE_VERSION: u8 = 1;
/// The only set of algorithms: ML-KEM-768 with X25519, ML-DSA-65, AES-256-GCM, HKDF-SHA-384 and
/// SipHash-2-4. It is a bit, because a hello offers a set of these and an answer picks one.
pub const SUITE_1: u8 = 1;
/// The purpose of a handshake between neighbours.
pub const PURPOSE_LINK: u8 = 1;
/// The purpose of a handshake between the ends of a session.
pub const PURPOSE_END_TO_END: u8 = 2;

/// Bytes of the body of a hello.
pub const HELLO_BYTES: usize = 8 + ENCAPSULATION_KEY_BYTES + COOKIE_BYTES;
/// Bytes of the body of an answer.
pub const ANSWER_BYTES: usize = 8 + CIPHERTEXT_BYTES + X25519_BYTES;
/// Bytes of the body of a cookie.
pub const COOKIE_BODY_BYTES: usize = COOKIE_NONCE_BYTES + COOKIE_BYTES + TAG_BYTES;
/// Bytes of a proof fragment before its ciphertext.
pub const PROOF_HEAD_BYTES: usize = 8;
/// Bytes of an end-to-end datagram before the labels that lead back.
pub const END_TO_END_HEAD_BYTES: usize = 14;

/// The input of the MAC of a handshake datagram before its body.
#[must_use]
pub const fn mac_head(kind: Kind, id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [kind.code(), a, b, c, d]
}

/// A handshake datagram without the way it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Which message: a kind of the handshake.
    pub kind: Kind,
    /// The receiver's handshake id; zero in a hello.
    pub id: u32,
    /// The MAC.
    pub mac: [u8; 8],
    /// The message.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Makes an envelope with its MAC.
    #[must_use]
    pub fn seal(kind: Kind, id: u32, body: &'a [u8], key: &HopKey) -> Self {
        Self { kind, id, mac: key.mac_of(&mac_head(kind, id), body), body }
    }

    /// Checks the MAC.
    ///
    /// # Errors
    /// [`WireError::HopMac`].
    pub fn check(&self, key: &HopKey) -> Result<(), WireError> {
        let right = key.mac_of(&mac_head(self.kind, self.id), self.body);
        if u64::from_be_bytes(right) == u64::from_be_bytes(self.mac) { Ok(()) } else { Err(WireError::HopMac) }
    }

    fn check_kind(&self) -> Result<(), WireError> {
        if self.kind.is_handshake() { Ok(()) } else { Err(WireError::WrongKind { found: self.kind }) }
    }

    /// Reads a handshake datagram between neighbours.
    ///
    /// # Errors
    /// Those of [`Header::read`], [`WireError::WrongKind`], [`WireError::Reserved`] when the number or
    /// the hops are not zero: handshakes do not use them, and the MAC does not cover them.
    pub fn read_link(bytes: &'a [u8]) -> Result<Self, WireError> {
        let header = Header::read(bytes)?;
        if header.ttl != 0 {
            return Err(WireError::Reserved { offset: 3 });
        }
        if header.link_seq != 0 {
            return Err(WireError::Reserved { offset: 8 });
        }
        let body = bytes.get(HEADER_BYTES..).unwrap_or(&[]);
        let envelope = Self { kind: header.kind, id: header.link_tag, mac: header.hop_mac, body };
        envelope.check_kind()?;
        Ok(envelope)
    }

    /// Writes the datagram between neighbours and tells its length.
    ///
    /// # Errors
    /// [`WireError::WrongKind`], [`WireError::NoSpace`].
    pub fn write_link(&self, place: &mut [u8]) -> Result<usize, WireError> {
        self.check_kind()?;
        let header = Header {
            kind: self.kind,
            flags: Flags::NONE,
            labels: 0,
            pointer: 0,
            ttl: 0,
            link_tag: self.id,
            link_seq: 0,
            hop_mac: self.mac,
        };
        header.write(place)?;
        put(place, HEADER_BYTES, self.body)?;
        Ok(HEADER_BYTES + self.body.len())
    }

    /// Reads an end-to-end datagram: what follows session index 0. The labels lead from the receiver
    /// back to the sender, for a receiver that does not know yet who that is; the receiver's own link
    /// is the one on which the datagram came.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::UnknownKind`], [`WireError::WrongKind`],
    /// [`WireError::TooManyLabels`].
    pub fn read_end_to_end(bytes: &'a [u8]) -> Result<(Self, Labels), WireError> {
        let code = take::<1>(bytes, 0)?[0];
        Self::read_after_kind(Kind::from_code(code)?, bytes)
    }

    fn read_after_kind(kind: Kind, bytes: &'a [u8]) -> Result<(Self, Labels), WireError> {
        let [_, i0, i1, i2, i3, m0, m1, m2, m3, m4, m5, m6, m7, labels] = take::<END_TO_END_HEAD_BYTES>(bytes, 0)?;
        let body_at = END_TO_END_HEAD_BYTES + usize::from(labels) * LABEL_BYTES;
        let (Some(labels), Some(body)) = (bytes.get(END_TO_END_HEAD_BYTES..body_at), bytes.get(body_at..)) else {
            return Err(WireError::TooShort { needed: body_at, found: bytes.len() });
        };
        let id = u32::from_be_bytes([i0, i1, i2, i3]);
        let envelope = Self { kind, id, mac: [m0, m1, m2, m3, m4, m5, m6, m7], body };
        envelope.check_kind()?;
        Ok((envelope, Labels::read(labels)?))
    }

    /// Writes the end-to-end datagram, without the session index before it, and tells its length.
    ///
    /// # Errors
    /// [`WireError::WrongKind`], [`WireError::NoSpace`].
    pub fn write_end_to_end(&self, back: &Labels, place: &mut [u8]) -> Result<usize, WireError> {
        self.write_after_kind(self.kind.code(), back, place)
    }

    fn write_after_kind(&self, code: u8, back: &Labels, place: &mut [u8]) -> Result<usize, WireError> {
        self.check_kind()?;
        let [i0, i1, i2, i3] = self.id.to_be_bytes();
        put(place, 0, &[code, i0, i1, i2, i3])?;
        put(place, 5, &self.mac)?;
        // At most LABELS_MAX, which fits a byte.
        put(place, END_TO_END_HEAD_BYTES - 1, &[u8::try_from(back.len()).unwrap_or(u8::MAX)])?;
        let found = place.len();
        let rest = place
            .get_mut(END_TO_END_HEAD_BYTES..)
            .ok_or(WireError::NoSpace { needed: END_TO_END_HEAD_BYTES, found })?;
        let used = END_TO_END_HEAD_BYTES + back.write(rest)?;
        put(place, used, self.body)?;
        Ok(used + self.body.len())
    }
}

/// Half of an end-to-end datagram that does not fit the smallest underlay in one piece: a hello with
/// its frame and labels. Both halves carry the same head, with the MAC of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half<'a> {
    /// Whether this is the second half.
    pub last: bool,
    /// The head of the whole, and this half of the body.
    pub envelope: Envelope<'a>,
    /// The labels that lead back.
    pub back: Labels,
}

impl<'a> Half<'a> {
    const FIRST: u8 = 0x80;
    const LAST: u8 = 0xC0;

    /// Whether the bytes are half of a datagram.
    #[must_use]
    pub fn is_half(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|code| code & Self::FIRST != 0)
    }

    /// Reads half of a datagram.
    ///
    /// # Errors
    /// Those of [`Envelope::read_end_to_end`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let code = take::<1>(bytes, 0)?[0];
        if code & Self::FIRST == 0 {
            return Err(WireError::UnknownKind { found: code });
        }
        let kind = Kind::from_code(code & !Self::LAST)?;
        let (envelope, back) = Envelope::read_after_kind(kind, bytes)?;
        Ok(Self { last: code & Self::LAST == Self::LAST, envelope, back })
    }

    /// Writes half of a datagram, without the session index before it, and tells its length.
    ///
    /// # Errors
    /// Those of [`Envelope::write_end_to_end`].
    pub fn write(&self, place: &mut [u8]) -> Result<usize, WireError> {
        let mark = if self.last { Self::LAST } else { Self::FIRST };
        self.envelope.write_after_kind(self.envelope.kind.code() | mark, &self.back, place)
    }
}

/// Checks that a body has exactly this length.
fn exact(body: &[u8], limit: usize) -> Result<(), WireError> {
    match body.len() {
        found if found < limit => Err(WireError::TooShort { needed: limit, found }),
        found if found > limit => Err(WireError::TooLong { limit, found }),
        _ => Ok(()),
    }
}

/// What hello and answer start with: `version u8 | suites u8 | purpose u8 | 0 u8 | sender's id u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The sets of algorithms offered, or the one picked.
    pub suites: u8,
    /// [`PURPOSE_LINK`] or [`PURPOSE_END_TO_END`].
    pub purpose: u8,
    /// The sender's handshake id, which the peer writes into its datagrams; not zero.
    pub sender: u32,
}

impl Opening {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        let [version, suites, purpose, reserved, s0, s1, s2, s3] = take::<8>(body, 0)?;
        if version != HANDSHAKE_VERSION {
            return Err(WireError::Version { found: version });
        }
        if !matches!(purpose, PURPOSE_LINK | PURPOSE_END_TO_END) {
            return Err(WireError::UnknownKind { found: purpose });
        }
        if reserved != 0 {
            return Err(WireError::Reserved { offset: 3 });
        }
        let sender = u32::from_be_bytes([s0, s1, s2, s3]);
        if sender == 0 {
            return Err(WireError::Reserved { offset: 4 });
        }
        Ok(Self { suites, purpose, sender })
    }

    const fn to_bytes(self) -> [u8; 8] {
        let [s0, s1, s2, s3] = self.sender.to_be_bytes();
        [HANDSHAKE_VERSION, self.suites, self.purpose, 0, s0, s1, s2, s3]
    }
}

/// The first flight (M1): `opening 8 | encapsulation key 1184 | cookie MAC 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Version, algorithms, purpose and id.
    pub opening: Opening,
    /// The initiator's fresh ML-KEM-768 key.
    pub encapsulation_key: &'a [u8; ENCAPSULATION_KEY_BYTES],
    /// MAC with the cookie that the responder gave; zeros without one.
    pub cookie_mac: [u8; COOKIE_BYTES],
    /// What transcript and cookie MAC cover: all but the cookie MAC.
    pub covered: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Offset of the cookie MAC.
    pub const COOKIE_MAC_OFFSET: usize = HELLO_BYTES - COOKIE_BYTES;

    /// Reads the body of a hello.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::TooLong`], [`WireError::Version`],
    /// [`WireError::UnknownKind`] for the purpose, [`WireError::Reserved`].
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        exact(body, HELLO_BYTES)?;
        let opening = Opening::read(body)?;
        let (covered, mac) = body.split_at_checked(Self::COOKIE_MAC_OFFSET).unwrap_or((body, &[]));
        let too_short = WireError::TooShort { needed: HELLO_BYTES, found: body.len() };
        Ok(Self {
            opening,
            encapsulation_key: covered.get(8..).and_then(|key| key.first_chunk()).ok_or(too_short)?,
            cookie_mac: take(mac, 0)?,
            covered,
        })
    }

    /// The body without a cookie MAC, which [`Hello::set_cookie_mac`] adds.
    #[must_use]
    pub fn body(opening: Opening, encapsulation_key: &[u8; ENCAPSULATION_KEY_BYTES]) -> [u8; HELLO_BYTES] {
        let mut body = [0; HELLO_BYTES];
        body[..8].copy_from_slice(&opening.to_bytes());
        body[8..8 + ENCAPSULATION_KEY_BYTES].copy_from_slice(encapsulation_key);
        body
    }

    /// Sets the cookie MAC of a body.
    pub fn set_cookie_mac(body: &mut [u8; HELLO_BYTES], mac: [u8; COOKIE_BYTES]) {
        body[Self::COOKIE_MAC_OFFSET..].copy_from_slice(&mac);
    }
}

/// The answer (M2): `opening 8 | ciphertext 1088 | X25519 key 32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Version, the algorithms picked, purpose and the responder's id.
    pub opening: Opening,
    /// The ML-KEM-768 ciphertext for the initiator's key.
    pub ciphertext: &'a [u8; CIPHERTEXT_BYTES],
    /// The responder's fresh X25519 key.
    pub x25519: &'a [u8; X25519_BYTES],
}

impl<'a> Answer<'a> {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// Those of [`Hello::read`].
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        exact(body, ANSWER_BYTES)?;
        let opening = Opening::read(body)?;
        let too_short = WireError::TooShort { needed: ANSWER_BYTES, found: body.len() };
        Ok(Self {
            opening,
            ciphertext: body.get(8..).and_then(|rest| rest.first_chunk()).ok_or(too_short)?,
            x25519: body.get(8 + CIPHERTEXT_BYTES..).and_then(|rest| rest.first_chunk()).ok_or(too_short)?,
        })
    }

    /// The body.
    #[must_use]
    pub fn body(
        opening: Opening,
        ciphertext: &[u8; CIPHERTEXT_BYTES],
        x25519: &[u8; X25519_BYTES],
    ) -> [u8; ANSWER_BYTES] {
        let mut body = [0; ANSWER_BYTES];
        body[..8].copy_from_slice(&opening.to_bytes());
        body[8..8 + CIPHERTEXT_BYTES].copy_from_slice(ciphertext);
        body[8 + CIPHERTEXT_BYTES..].copy_from_slice(x25519);
        body
    }
}

/// The head of a proof fragment (M3 and M4):
/// `number u32 | index u8 | count u8 | seen u8 | 0 u8 | ciphertext | tag`.
///
/// The seal covers the head, kind and id besides. Index `count` is the parity: the XOR of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The sender's number of this datagram, from zero: the nonce of the seal. A fragment that is
    /// sent again has a new number.
    pub number: u32,
    /// Which fragment.
    pub index: u8,
    /// How many data fragments the proof has; zero in a datagram that only tells what was seen.
    pub count: u8,
    /// Which fragments of the peer's proof arrived here: bit i is fragment i.
    pub seen: u8,
}

impl Proof {
    /// Reads the head of a fragment.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::TooLong`], [`WireError::Range`], [`WireError::Reserved`].
    pub fn read(body: &[u8]) -> Result<Self, WireError> {
        let [n0, n1, n2, n3, index, count, seen, reserved] = take::<PROOF_HEAD_BYTES>(body, 0)?;
        if usize::from(count) > PROOF_FRAGMENTS_MAX {
            return Err(WireError::Range { found: u64::from(count), limit: PROOF_FRAGMENTS_MAX as u64 });
        }
        if index > count {
            return Err(WireError::Range { found: u64::from(index), limit: u64::from(count) });
        }
        if reserved != 0 {
            return Err(WireError::Reserved { offset: 7 });
        }
        let payload_bytes_min = usize::from(count != 0);
        let payload_bytes_max = if count == 0 { 0 } else { PROOF_FRAGMENT_BYTES_MAX };
        let overhead = PROOF_HEAD_BYTES + TAG_BYTES;
        if body.len() < overhead + payload_bytes_min {
            return Err(WireError::TooShort { needed: overhead + payload_bytes_min, found: body.len() });
        }
        if body.len() > overhead + payload_bytes_max {
            return Err(WireError::TooLong { limit: overhead + payload_bytes_max, found: body.len() });
        }
        Ok(Self { number: u32::from_be_bytes([n0, n1, n2, n3]), index, count, seen })
    }

    /// The head as it travels.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; PROOF_HEAD_BYTES] {
        let [n0, n1, n2, n3] = self.number.to_be_bytes();
        [n0, n1, n2, n3, self.index, self.count, self.seen, 0]
    }

    /// What the seal covers besides the fragment.
    #[must_use]
    pub fn aad(&self, id: u32) -> [u8; 5 + PROOF_HEAD_BYTES] {
        let mut aad = [0; 5 + PROOF_HEAD_BYTES];
        aad[..5].copy_from_slice(&mac_head(Kind::Proof, id));
        aad[5..].copy_from_slice(&self.to_bytes());
        aad
    }
}

/// The answer of a responder under load: `nonce 12 | sealed cookie 16 | tag 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieBody<'a> {
    /// The random nonce.
    pub nonce: [u8; COOKIE_NONCE_BYTES],
    /// The sealed cookie and its tag.
    pub sealed: &'a [u8; COOKIE_BYTES + TAG_BYTES],
}

impl<'a> CookieBody<'a> {
    /// Reads the body of a cookie.
    ///
    /// # Errors
    /// [`WireError::TooShort`], [`WireError::TooLong`].
    pub fn read(body: &'a [u8]) -> Result<Self, WireError> {
        exact(body, COOKIE_BODY_BYTES)?;
        let too_short = WireError::TooShort { needed: COOKIE_BODY_BYTES, found: body.len() };
        Ok(Self {
            nonce: take(body, 0)?,
            sealed: body.get(COOKIE_NONCE_BYTES..).and_then(|rest| rest.first_chunk()).ok_or(too_short)?,
        })
    }

    /// The body.
    #[must_use]
    pub fn body(nonce: [u8; COOKIE_NONCE_BYTES], sealed: &[u8; COOKIE_BYTES + TAG_BYTES]) -> [u8; COOKIE_BODY_BYTES] {
        let mut body = [0; COOKIE_BODY_BYTES];
        body[..COOKIE_NONCE_BYTES].copy_from_slice(&nonce);
        body[COOKIE_NONCE_BYTES..].copy_from_slice(sealed);
        body
    }
}
