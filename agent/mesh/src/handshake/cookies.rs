//! When a responder is under load, and the cookies that it then asks for.

use super::Via;
use crate::{Entropy, Time};
use x0_crypto::mesh::{COOKIE_BYTES, Cookie, CookieSecret};
use x0_mesh_wire::limits::{COOKIE_SECRET_MS, HELLOS_PER_S_BEFORE_COOKIES};

/// The secrets of cookies: this one and the one before.
#[derive(Debug)]
pub(super) struct Cookies {
    current: CookieSecret,
    before: Option<CookieSecret>,
    since: Time,
}

fn fresh(entropy: &mut dyn Entropy) -> CookieSecret {
    let mut random = [0; 32];
    entropy.fill(&mut random);
    CookieSecret::new(random)
}

impl Cookies {
    pub(super) fn new(now: Time, entropy: &mut dyn Entropy) -> Self {
        Self { current: fresh(entropy), before: None, since: now }
    }

    /// Changes the secret when its time is over.
    pub(super) fn turn(&mut self, now: Time, entropy: &mut dyn Entropy) {
        let life_ns = COOKIE_SECRET_MS * 1_000_000;
        let age_ns = now.since_ns(self.since);
        if age_ns < life_ns {
            return;
        }
        let old = core::mem::replace(&mut self.current, fresh(entropy));
        self.before = (age_ns < 2 * life_ns).then_some(old);
        self.since = now;
    }

    /// The cookie for whoever receives there.
    pub(super) fn cookie(&self, via: &Via) -> Cookie {
        self.current.cookie(via.place().as_bytes())
    }

    /// Whether the hello carries a MAC with a cookie that was given to this place.
    pub(super) fn fits(&self, via: &Via, hello: &[u8], mac: &[u8; COOKIE_BYTES]) -> bool {
        let place = via.place();
        let secrets = core::iter::once(&self.current).chain(&self.before);
        *mac != [0; COOKIE_BYTES] && secrets.into_iter().any(|secret| secret.cookie(place.as_bytes()).fits(hello, mac))
    }
}

/// How many hellos are answered without a cookie: a bucket that holds a quarter of a second.
#[derive(Debug)]
pub(super) struct Rate {
    /// Hellos that may pass now, in billionths.
    credit: u64,
    at: Time,
}

const HELLO_COST: u64 = 1_000_000_000;
const CREDIT_MAX: u64 = HELLOS_PER_S_BEFORE_COOKIES * HELLO_COST / 4;

impl Rate {
    pub(super) const fn new(now: Time) -> Self {
        Self { credit: CREDIT_MAX, at: now }
    }

    /// Counts a hello; whether there are more than are answered without a cookie.
    pub(super) fn exceeded(&mut self, now: Time) -> bool {
        let earned = now.since_ns(self.at).saturating_mul(HELLOS_PER_S_BEFORE_COOKIES);
        self.at = self.at.max(now);
        self.credit = self.credit.saturating_add(earned).min(CREDIT_MAX);
        match self.credit.checked_sub(HELLO_COST) {
            Some(rest) => {
                self.credit = rest;
                false
            }
            None => true,
        }
    }
}
