//! The sessions with one peer: while keys are agreed on anew there are several.
//!
//! A new session takes over when data confirms it. Its initiator may send at once, because the responder made the keys
//! first; the responder waits for a packet, because it cannot know whether its proof arrived. When both ends began a
//! handshake at the same time there are two new sessions; both ends choose the same of them by their public names.

use super::{Opened, Session, SessionError};
use crate::{Time, handshake::Role};
use x0_mesh_wire::DataBody;

/// A replaced session goes on opening for so long after the last packet on it, milliseconds.
const RETIRE_MS: u64 = 10_000;
/// A session that no packet confirms is dropped after this time when there is another, milliseconds.
const CONFIRM_MS: u64 = 30_000;
/// Two sessions whose handshakes ended within this time are of the same moment, milliseconds.
const RACE_MS: u64 = 10_000;
/// Most sessions that retire at the same time.
const RETIRING_MAX: usize = 3;

/// What a session is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Sends and opens.
    Current,
    /// Opens, and takes over with its first packet.
    Pending,
    /// Opens.
    Retiring,
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
        let mut freed = Vec::new();
        let takes_over = match self.find(Use::Current) {
            None => true,
            Some(_) => session.role == Role::Initiator && !self.is_beaten(now, &session),
        };
        if takes_over {
            freed.extend(self.retire_current(now));
        } else if let Some(index) = self.find(Use::Pending) {
            freed.push(self.remove(index));
        }
        self.sessions.push(session);
        self.uses.push((if takes_over { Use::Current } else { Use::Pending }, now));
        freed.extend(self.trim());
        freed
    }

    /// Whether the session in use is of the same moment, confirmed, and to be preferred.
    fn is_beaten(&self, now: Time, session: &Session) -> bool {
        self.current().is_some_and(|current| {
            current.confirmed() && now.since_ns(current.created) < RACE_MS * 1_000_000 && current.id > session.id
        })
    }

    fn retire_current(&mut self, now: Time) -> Option<u32> {
        let index = self.find(Use::Current)?;
        if self.sessions.get(index).is_some_and(|session| !session.confirmed() && session.counters.sealed == 0) {
            return Some(self.remove(index));
        }
        if let Some(used) = self.uses.get_mut(index) {
            *used = (Use::Retiring, now);
        }
        None
    }

    /// Drops the longest unused of too many retiring sessions.
    fn trim(&mut self) -> Option<u32> {
        let retiring = || self.uses.iter().enumerate().filter(|(_, (used, _))| *used == Use::Retiring);
        if retiring().count() <= RETIRING_MAX {
            return None;
        }
        let (index, _) = retiring().min_by_key(|(_, (_, last))| *last)?;
        Some(self.remove(index))
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
        let beaten = self.sessions.get(index).is_some_and(|session| self.is_beaten(now, session));
        let session = self.sessions.get_mut(index).ok_or(unknown)?;
        let opened = session.open(now, body);
        if opened.is_err() {
            return opened;
        }
        if self.uses.get(index).is_some_and(|(used, _)| *used == Use::Pending) {
            for used in self.uses.iter_mut().filter(|(used, _)| !beaten && *used == Use::Current) {
                *used = (Use::Retiring, now);
            }
            if let Some(used) = self.uses.get_mut(index) {
                used.0 = if beaten { Use::Retiring } else { Use::Current };
            }
        }
        if let Some(used) = self.uses.get_mut(index) {
            used.1 = now;
        }
        opened
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
                    Use::Retiring => now >= last.plus_ms(RETIRE_MS),
                };
            if over {
                freed.push(self.remove(index));
            } else {
                index += 1;
            }
        }
        while let Some(local) = self.trim() {
            freed.push(local);
        }
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
                    Use::Retiring => due.min(last.plus_ms(RETIRE_MS)),
                }
            })
            .min()
    }
}
