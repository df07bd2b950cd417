//! The account of each peer's offences. No clock in here.

use crate::{Offence, PeerKey};
use std::collections::BTreeMap;

impl Offence {
    /// What the offence adds to the account of a peer, points. At [`x0_limits::LINK_BAN_POINTS`] the
    /// peer is disconnected and refused for a while; one point is forgiven each second.
    #[must_use]
    pub const fn points(self) -> u32 {
        match self {
            // Requests are taken back while their answers are under way, so this happens to honest peers.
            Self::NotAsked => 1,
            Self::Malformed | Self::Flooding => 20,
            Self::BadSignature => 25,
            Self::Oversized => 50,
            Self::WrongChain => x0_limits::LINK_BAN_POINTS,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    points: u32,
    at_ms: u64,
    bans: u32,
    banned_until_ms: u64,
}

impl Account {
    fn forgive(&mut self, now_ms: u64) {
        let seconds = now_ms.saturating_sub(self.at_ms) / 1_000;
        if seconds > 0 {
            self.points = self.points.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX));
            self.at_ms = now_ms;
        }
        if self.points == 0 && now_ms > self.banned_until_ms + x0_limits::LINK_BAN_MEMORY_MS {
            self.bans = 0;
        }
    }
}

/// What follows from an offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is noted.
    Noted,
    /// The peer is refused for this long, milliseconds.
    Banned {
        /// Length of the ban, milliseconds.
        for_ms: u64,
    },
}

/// The accounts of all peers. Only admitted peers can offend, so their number is bounded.
#[derive(Debug, Default)]
pub(super) struct Conduct(BTreeMap<PeerKey, Account>);

impl Conduct {
    /// Notes an offence.
    pub(super) fn offend(&mut self, peer: PeerKey, offence: Offence, now_ms: u64) -> Verdict {
        let account = self.0.entry(peer).or_default();
        account.forgive(now_ms);
        account.at_ms = now_ms;
        account.points = account.points.saturating_add(offence.points());
        if account.points < x0_limits::LINK_BAN_POINTS || account.banned_until_ms > now_ms {
            return Verdict::Noted;
        }
        let for_ms = (x0_limits::LINK_BAN_MS << account.bans.min(16)).min(x0_limits::LINK_BAN_MS_MAX);
        account.bans += 1;
        account.points = 0;
        account.banned_until_ms = now_ms + for_ms;
        Verdict::Banned { for_ms }
    }

    /// How long the peer is still refused, milliseconds; 0 when it is not.
    pub(super) fn banned_for(&self, peer: &PeerKey, now_ms: u64) -> u64 {
        self.0.get(peer).map_or(0, |account| account.banned_until_ms.saturating_sub(now_ms))
    }

    /// The points on a peer's account.
    pub(super) fn points(&self, peer: &PeerKey, now_ms: u64) -> u32 {
        self.0.get(peer).map_or(0, |account| {
            let mut account = *account;
            account.forgive(now_ms);
            account.points
        })
    }

    /// Forgets everybody who is not in the list.
    pub(super) fn keep(&mut self, admitted: impl Fn(&PeerKey) -> bool, now_ms: u64) {
        self.0.retain(|peer, account| admitted(peer) || account.banned_until_ms > now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerKey = PeerKey([1; 32]);

    #[test]
    fn offences_add_up_to_a_ban_of_minutes_that_grows_and_ends() {
        let mut conduct = Conduct::default();
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..6 {
            let for_ms = loop {
                if let Verdict::Banned { for_ms } = conduct.offend(PEER, Offence::BadSignature, now) {
                    break for_ms;
                }
            };
            assert_eq!(conduct.banned_for(&PEER, now), for_ms);
            now += for_ms;
            assert_eq!(conduct.banned_for(&PEER, now), 0);
            lengths.push(for_ms);
        }
        assert_eq!(lengths[0], x0_limits::LINK_BAN_MS);
        assert!(lengths.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(*lengths.last().unwrap() <= 10 * 60 * 1_000, "a validator is banned for minutes, not for good");
    }

    #[test]
    fn rare_small_offences_are_forgiven() {
        let mut conduct = Conduct::default();
        for second in 0..100_000 {
            assert_eq!(conduct.offend(PEER, Offence::NotAsked, second * 1_000), Verdict::Noted);
        }
        assert!(conduct.points(&PEER, 100_000_000) <= 1);
        assert!(matches!(conduct.offend(PEER, Offence::WrongChain, 100_000_000), Verdict::Banned { .. }));
    }
}
