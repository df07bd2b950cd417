//! Cookies: proof that the sender of a hello receives at its address (after WireGuard, section 5.4.7).

use super::{Aead, MeshError, TAG_BYTES, schedule::hash};
use aws_lc_rs::{constant_time, hmac};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of a cookie and of the MAC made with it.
pub const COOKIE_BYTES: usize = 16;

const LABEL_KEY: &[u8] = b"x0/mesh-cookie-key/v1";
const LABEL_COOKIE: &[u8] = b"x0/mesh-cookie/v1";
const LABEL_MAC: &[u8] = b"x0/mesh-cookie-mac/v1";

/// The first 16 bytes of HMAC-SHA-384 over a label and parts.
fn short_mac(key: &[u8], label: &[u8], parts: &[&[u8]]) -> [u8; COOKIE_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA384, key));
    context.update(label);
    for part in parts {
        context.update(part);
    }
    let mut mac = [0; COOKIE_BYTES];
    mac.copy_from_slice(&context.sign().as_ref()[..COOKIE_BYTES]);
    mac
}

/// The responder's changing secret, from which it makes every cookie again without remembering any.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CookieSecret([u8; 32]);

impl core::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CookieSecret(secret)")
    }
}

impl CookieSecret {
    /// Takes over 32 random bytes.
    #[must_use]
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The cookie of whoever receives at `place`: address and port, or the way back.
    #[must_use]
    pub fn cookie(&self, place: &[u8]) -> Cookie {
        Cookie(short_mac(&self.0, LABEL_COOKIE, &[place]))
    }
}

/// A cookie: secret between the responder and whoever receives at one place.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Cookie(pub(super) [u8; COOKIE_BYTES]);

impl core::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cookie(secret)")
    }
}

impl Cookie {
    /// The MAC that a hello carries when its sender holds this cookie.
    #[must_use]
    pub fn mac(&self, hello: &[u8]) -> [u8; COOKIE_BYTES] {
        short_mac(&self.0, LABEL_MAC, &[hello])
    }

    /// Whether this is the MAC of the hello, compared in constant time.
    #[must_use]
    pub fn fits(&self, hello: &[u8], mac: &[u8; COOKIE_BYTES]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac(hello), mac).is_ok()
    }
}

/// Seals a cookie on its way, so that only who sent the hello, and who saw it, reads it.
pub struct CookieKey(Zeroizing<[u8; 32]>);

impl core::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CookieKey(secret)")
    }
}

impl CookieKey {
    /// The key for the answer to this hello, which is without its cookie MAC. It belongs to one hello,
    /// so a random nonce of 96 bits does not repeat under it.
    #[must_use]
    pub fn new(genesis: &[u8; 32], mesh_id: &[u8; 32], responder: &[u8; 32], hello: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&hash(LABEL_KEY, &[genesis, mesh_id, responder, hello])[..32]);
        Self(key)
    }

    /// Seals a cookie under a random nonce.
    ///
    /// # Errors
    /// [`MeshError::Library`].
    pub fn seal(&self, nonce: &[u8; 12], cookie: &Cookie) -> Result<[u8; COOKIE_BYTES + TAG_BYTES], MeshError> {
        let mut sealed = [0; COOKIE_BYTES + TAG_BYTES];
        let (place, tag) = sealed.split_at_mut(COOKIE_BYTES);
        place.copy_from_slice(&cookie.0);
        tag.copy_from_slice(&Aead::new(&self.0, Zeroizing::new(*nonce))?.seal(0, &[], place)?);
        Ok(sealed)
    }

    /// Opens a sealed cookie.
    ///
    /// # Errors
    /// [`MeshError::Seal`].
    pub fn open(&self, nonce: &[u8; 12], sealed: &[u8; COOKIE_BYTES + TAG_BYTES]) -> Result<Cookie, MeshError> {
        let mut bytes = *sealed;
        let plain = Aead::new(&self.0, Zeroizing::new(*nonce))?.open(0, &[], &mut bytes)?;
        plain[..].try_into().map(Cookie).map_err(|_| MeshError::Library)
    }
}
