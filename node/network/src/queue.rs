//! The bounded queue of one direction of one link.

use crate::Channel;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, time::Instant};
use tokio::sync::Notify;

/// A frame that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub channel: Channel,
    pub bytes: Bytes,
    /// When it may arrive.
    pub not_before: Instant,
}

#[derive(Default)]
struct Lanes {
    lanes: [VecDeque<Waiting>; Channel::ALL.len()],
    closed: bool,
}

/// Frames of one direction of one link, by channel. A full channel drops its oldest frame, since a
/// newer vote, part or status is worth more than an older one.
#[derive(Default)]
pub(crate) struct LinkQueue {
    lanes: Mutex<Lanes>,
    ready: Notify,
}

impl LinkQueue {
    /// Adds a frame; `true` when an older one gave way.
    pub(crate) fn push(&self, frame: Waiting) -> bool {
        let dropped = {
            let mut lanes = self.lanes.lock();
            if lanes.closed {
                return true;
            }
            let max = frame.channel.queue_frames_max();
            let Some(lane) = Channel::ALL
                .iter()
                .position(|channel| *channel == frame.channel)
                .and_then(|index| lanes.lanes.get_mut(index))
            else {
                return true;
            };
            let full = lane.len() >= max;
            if full {
                lane.pop_front();
            }
            lane.push_back(frame);
            full
        };
        self.ready.notify_one();
        dropped
    }

    /// The next frame in the order of channels; `None` once the queue is closed.
    pub(crate) async fn pop(&self) -> Option<Waiting> {
        loop {
            {
                let mut lanes = self.lanes.lock();
                if lanes.closed {
                    return None;
                }
                if let Some(frame) = lanes.lanes.iter_mut().find_map(VecDeque::pop_front) {
                    return Some(frame);
                }
            }
            self.ready.notified().await;
        }
    }

    /// Ends the queue and forgets its frames.
    pub(crate) fn close(&self) {
        let mut lanes = self.lanes.lock();
        lanes.closed = true;
        lanes.lanes.iter_mut().for_each(VecDeque::clear);
        drop(lanes);
        // The only reader of a link is its own task, so one permit reaches it.
        self.ready.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(channel: Channel, tag: u8) -> Waiting {
        Waiting { channel, bytes: Bytes::copy_from_slice(&[tag]), not_before: Instant::now() }
    }

    #[tokio::test]
    async fn votes_overtake_blocks() {
        let queue = LinkQueue::default();
        queue.push(frame(Channel::Parts, 1));
        queue.push(frame(Channel::SyncResponse, 2));
        queue.push(frame(Channel::Consensus, 3));
        assert_eq!(queue.pop().await.unwrap().bytes[0], 3);
        assert_eq!(queue.pop().await.unwrap().bytes[0], 1);
        assert_eq!(queue.pop().await.unwrap().bytes[0], 2);
    }

    #[tokio::test]
    async fn a_full_channel_keeps_the_newest_and_leaves_the_others_alone() {
        let queue = LinkQueue::default();
        queue.push(frame(Channel::Consensus, 9));
        let max = Channel::SyncResponse.queue_frames_max();
        for tag in 0..=u8::try_from(max).unwrap() {
            let dropped = queue.push(frame(Channel::SyncResponse, tag));
            assert_eq!(dropped, usize::from(tag) >= max);
        }
        assert_eq!(queue.pop().await.unwrap().bytes[0], 9);
        for tag in 1..=u8::try_from(max).unwrap() {
            assert_eq!(queue.pop().await.unwrap().bytes[0], tag);
        }
        queue.close();
        assert!(queue.pop().await.is_none());
    }
}
