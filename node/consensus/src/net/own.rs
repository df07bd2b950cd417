//! What this node said at its height, to be said again to a peer that comes or comes back.
//!
//! # Limits
//! [`MESSAGES_MAX`] votes and proposals, one round certificate and the parts of one block.

use bytes::Bytes;
use parking_lot::Mutex;
use x0_network::Channel;

/// Votes and proposals: those of the last rounds.
const MESSAGES_MAX: usize = 12;

#[derive(Default)]
struct Words {
    height: u64,
    messages: Vec<Bytes>,
    certificate: Option<Bytes>,
    parts: Vec<Bytes>,
}

/// The last words of this node.
#[derive(Default)]
pub(super) struct OwnWords(Mutex<Words>);

impl OwnWords {
    /// Does `work` on the words of this height, unless it is over.
    fn at(&self, height: u64, work: impl FnOnce(&mut Words)) {
        let mut words = self.0.lock();
        if height > words.height {
            *words = Words { height, ..Words::default() };
        }
        if height == words.height {
            work(&mut words);
        }
    }

    /// A vote or a proposal of this height.
    pub(super) fn say(&self, height: u64, frame: Bytes) {
        self.at(height, |words| {
            if words.messages.len() >= MESSAGES_MAX {
                words.messages.remove(0);
            }
            words.messages.push(frame);
        });
    }

    /// The certificate with which this node entered its round.
    pub(super) fn certify(&self, height: u64, frame: Bytes) {
        self.at(height, |words| words.certificate = Some(frame));
    }

    /// The opening of a block; parts of an earlier block are forgotten.
    pub(super) fn open(&self, height: u64, frame: Bytes) {
        self.at(height, |words| words.parts = vec![frame]);
    }

    /// A part of the block that was opened last.
    pub(super) fn add_part(&self, frame: Bytes) {
        let mut words = self.0.lock();
        if !words.parts.is_empty() && words.parts.len() < x0_limits::PROPOSAL_PARTS_MAX {
            words.parts.push(frame);
        }
    }

    /// Everything, in the order in which it is of use.
    pub(super) fn all(&self) -> Vec<(Channel, Bytes)> {
        let words = self.0.lock();
        let certificate = words.certificate.iter().map(|frame| (Channel::Liveness, frame.clone()));
        let messages = words.messages.iter().map(|frame| (Channel::Consensus, frame.clone()));
        let parts = words.parts.iter().map(|frame| (Channel::Parts, frame.clone()));
        certificate.chain(messages).chain(parts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8) -> Bytes {
        Bytes::copy_from_slice(&[tag])
    }

    #[test]
    fn only_the_present_height_is_said_again_and_only_its_last_words() {
        let own = OwnWords::default();
        own.open(5, frame(1));
        own.add_part(frame(2));
        own.say(5, frame(3));
        own.open(5, frame(4));
        own.certify(5, frame(5));
        own.say(4, frame(6));
        let said: Vec<_> = own.all().into_iter().map(|(channel, frame)| (channel, frame[0])).collect();
        assert_eq!(said, [(Channel::Liveness, 5), (Channel::Consensus, 3), (Channel::Parts, 4)]);
        for tag in 0..20 {
            own.say(6, frame(tag));
        }
        let said = own.all();
        assert_eq!((said.len(), said[0].1[0]), (MESSAGES_MAX, 8));
        own.add_part(frame(9));
        assert_eq!(own.all().len(), MESSAGES_MAX, "a part without an opening belongs to an earlier height");
    }
}
