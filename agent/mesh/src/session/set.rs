//! The sessions with one peer: while keys are agreed on anew there are several.
//!
//! A new session takes over when data confirms it. Its initiator may send at once, because the responder made the keys
//! first; the responder waits for a packet, because it cannot know whether its proof arrived. When both ends began a
//! handshake at the same time there are two new sessions; when both are confirmed, both ends choose the same of them by
//! their public names. Should the peer, having lost its keys, use only the other one, this end follows it.

use super::{Opened, Session, SessionError};
use crate::{Time, handshake::Role};
use x0_mesh_wire::DataBody;

/// A replaced session goes on opening for so long after the last packet on it, milliseconds.
const RETIRE_MS: u64 = 10_000;
/// A session that no packet confirms is dropped after this time when there is another, milliseconds.
const CONFIRM_MS: u64 = 30_000;
/// Two sessions whose handshakes ended within this time are of the same moment, milliseconds.
const RACE_MS: u64 = 10_000;
/// After so long without a packet on the session in use, a packet on one that lost a race shows what the peer uses,
/// milliseconds.
const FOLLOW_MS: u64 = 1_000;
/// Most sessions that only open, and most that wait for their confirmation.
const OPENING_MAX: usize = 3;
const PENDING_MAX: usize = 2;

/// What a session is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Sends and opens.
    Current,
    /// Opens, and takes over with its first packet.
    Pending,
    /// Opens, and is over when nothing uses it.
    Retiring,
    /// The same; of two of the same moment the other one is used.
    Beaten,
}

impl Use {
    const fn only_opens(self) -> bool {
        matches!(self, Self::Retiring | Self::Beaten)
    }
}

/// The sessions with one peer.
#[derive(Debug, Default)]
pub struct SessionSet {
    sessions: Vec<Session>,
    /// For each session its use, and when a packet on it was opened last or its use began.
    uses: Vec<(Use, Time)>,
}

impl SessionSet {
    /// No session yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is no session.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn find(&self, used: Use) -> Option<usize> {
        self.uses.iter().position(|(found, _)| *found == used)
    }

    fn remove(&mut self, index: usize) -> u32 {
        self.uses.swap_remove(index);
        self.sessions.swap_remove(index).local
    }

    /// Adds a session whose handshake is done. Gives the local indices that are free again.
    pub fn install(&mut self, now: Time, session: Session) -> Vec<u32> {
        let takes_over = match self.find(Use::Current) {
            None => true,
            Some(_) => session.role == Role::Initiator && !self.is_beaten(&session),
        };
        if takes_over {
            let replaced = self.replaced();
            self.demote(now, replaced);
        }
        self.sessions.push(session);
        self.uses.push((if takes_over { Use::Current } else { Use::Pending }, now));
        self.trim()
    }

    /// Whether the session in use is of the same moment, begun by the other end, confirmed, and to be preferred.
    fn is_beaten(&self, session: &Session) -> bool {
        self.current().is_some_and(|current| {
            current.confirmed()
                && current.role != session.role
                && current.created.0.abs_diff(session.created.0) < RACE_MS * 1_000_000
                && current.id > session.id
        })
    }

    /// What becomes of the session in use when another takes over: one that was never confirmed may yet be, and may be
    /// the only one that the peer has.
    fn replaced(&self) -> Use {
        if self.current().is_some_and(Session::confirmed) { Use::Retiring } else { Use::Pending }
    }

    fn demote(&mut self, now: Time, to: Use) {
        for used in self.uses.iter_mut().filter(|(used, _)| *used == Use::Current) {
            *used = (to, now);
        }
    }

    /// Drops the longest unused of too many sessions.
    fn trim(&mut self) -> Vec<u32> {
        let mut freed = Vec::new();
        let opens: fn(Use) -> bool = Use::only_opens;
        let waits: fn(Use) -> bool = |used| used == Use::Pending;
        for (belongs, most) in [(opens, OPENING_MAX), (waits, PENDING_MAX)] {
            loop {
                let those = || self.uses.iter().enumerate().filter(|(_, (used, _))| belongs(*used));
                let oldest = those().min_by_key(|(_, (_, last))| *last).map(|(index, _)| index);
                match oldest {
                    Some(index) if those().count() > most => freed.push(self.remove(index)),
                    _ => break,
                }
            }
        }
        freed
    }

    /// The session to send on.
    pub fn sending(&mut self) -> Option<&mut Session> {
        let index = self.find(Use::Current)?;
        self.sessions.get_mut(index)
    }

    /// The session that is used for sending, to look at.
    #[must_use]
    pub fn current(&self) -> Option<&Session> {
        self.sessions.get(self.find(Use::Current)?)
    }

    /// Every session: each may have something to say.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.iter_mut()
    }

    /// Opens a body with the session that its index names. When that confirms a new session, it takes over.
    ///
    /// # Errors
    /// [`SessionError::Index`] when none has this index, and those of [`Session::open`].
    pub fn open<'a>(&'a mut self, now: Time, body: &'a mut [u8]) -> Result<Opened<'a>, SessionError> {
        let own = self.current().map_or(0, |session| session.local);
        let DataBody::Packet { session_index: found, .. } = DataBody::read(body)? else {
            return Err(SessionError::Index { own, found: 0 });
        };
        let unknown = SessionError::Index { own, found };
        let index = self.sessions.iter().position(|session| session.local == found).ok_or(unknown)?;
        let beaten = self.sessions.get(index).is_some_and(|session| self.is_beaten(session));
        let replaced = self.replaced();
        let silent = self.uses.iter().any(|(used, last)| *used == Use::Current && now >= last.plus_ms(FOLLOW_MS));
        let opened = self.sessions.get_mut(index).ok_or(unknown)?.open(now, body)?;
        let before = self.uses.get(index).map_or(Use::Retiring, |(used, _)| *used);
        let after = match before {
            Use::Pending if beaten => Use::Beaten,
            Use::Beaten if !silent => Use::Beaten,
            Use::Pending | Use::Beaten => Use::Current,
            Use::Current | Use::Retiring => before,
        };
        if after == Use::Current && before != Use::Current {
            for used in self.uses.iter_mut().filter(|(used, _)| *used == Use::Current) {
                *used = (replaced, now);
            }
        }
        if let Some(used) = self.uses.get_mut(index) {
            *used = (after, now);
        }
        Ok(opened)
    }

    /// Drops what is over. Gives the local indices that are free again.
    pub fn prune(&mut self, now: Time) -> Vec<u32> {
        let mut freed = Vec::new();
        let mut index = 0;
        while let (Some(session), Some((used, last))) = (self.sessions.get(index), self.uses.get(index)) {
            let over = session.expired(now)
                || match used {
                    Use::Current => false,
                    Use::Pending => now >= last.plus_ms(CONFIRM_MS),
                    Use::Retiring | Use::Beaten => now >= last.plus_ms(RETIRE_MS),
                };
            if over {
                freed.push(self.remove(index));
            } else {
                index += 1;
            }
        }
        freed.extend(self.trim());
        freed
    }

    /// When one of the sessions has something to say, or is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.sessions
            .iter()
            .zip(&self.uses)
            .map(|(session, (used, last))| {
                let due = session.deadline();
                match used {
                    Use::Current => due,
                    Use::Pending => due.min(last.plus_ms(CONFIRM_MS)),
                    Use::Retiring | Use::Beaten => due.min(last.plus_ms(RETIRE_MS)),
                }
            })
            .min()
    }
}
