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

/// Channels that share a stream of a link, so that a large frame of one class holds up no frame of
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Small frames on which rounds wait.
    Votes,
    /// Proposed blocks, transactions and small requests.
    Blocks,
    /// Large answers.
    Bulk,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Votes, Self::Blocks, Self::Bulk];

    pub(crate) const fn of(channel: Channel) -> Self {
        match channel {
            Channel::Consensus | Channel::Liveness | Channel::Status | Channel::SyncRequest => Self::Votes,
            Channel::Parts | Channel::Transactions | Channel::SnapshotRequest => Self::Blocks,
            Channel::SyncResponse | Channel::SnapshotResponse => Self::Bulk,
        }
    }
}

#[derive(Default)]
struct Lane {
    frames: VecDeque<Waiting>,
    bytes: usize,
}

impl Lane {
    fn pop(&mut self) -> Option<Waiting> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.bytes.len());
        Some(frame)
    }
}

#[derive(Default)]
struct Lanes {
    lanes: [Lane; Channel::ALL.len()],
    closed: bool,
}

impl Lanes {
    fn next(&mut self, wanted: impl Fn(Channel) -> bool) -> Option<Waiting> {
        Channel::ALL
            .iter()
            .zip(&mut self.lanes)
            .filter(|(channel, _)| wanted(**channel))
            .find_map(|(_, lane)| lane.pop())
    }
}

/// Frames of one direction of one link, by channel. A full channel drops its oldest frames, since a
/// newer vote, part or status is worth more than an older one.
#[derive(Default)]
pub(crate) struct LinkQueue {
    lanes: Mutex<Lanes>,
    /// Wakes the reader of every channel.
    any: Notify,
    /// Wake the reader of each class.
    classes: [Notify; Class::ALL.len()],
}

impl LinkQueue {
    /// Adds a frame; how many older ones gave way. A closed queue drops the frame itself.
    pub(crate) fn push(&self, frame: Waiting) -> u64 {
        let class = Class::of(frame.channel);
        let mut dropped = 0;
        {
            let mut lanes = self.lanes.lock();
            if lanes.closed {
                return 1;
            }
            let max = frame.channel.queue_frames_max();
            let Some(lane) = lanes.lanes.get_mut(frame.channel.index()) else { return 1 };
            while lane.frames.len() >= max
                || (lane.bytes + frame.bytes.len() > x0_limits::LINK_QUEUE_BYTES_MAX && !lane.frames.is_empty())
            {
                lane.pop();
                dropped += 1;
            }
            lane.bytes += frame.bytes.len();
            lane.frames.push_back(frame);
        }
        self.any.notify_one();
        self.wake(class);
        dropped
    }

    /// The next frame in the order of channels; `None` once the queue is closed.
    pub(crate) async fn pop(&self) -> Option<Waiting> {
        self.pop_where(&self.any, |_| true).await
    }

    /// The next frame of a class in the order of channels; `None` once the queue is closed. Each
    /// class has one reader.
    pub(crate) async fn pop_class(&self, class: Class) -> Option<Waiting> {
        let ready = self.classes.get(class as usize)?;
        self.pop_where(ready, |channel| Class::of(channel) == class).await
    }

    /// The next frame of a class, if one waits.
    pub(crate) fn try_pop_class(&self, class: Class) -> Option<Waiting> {
        self.lanes.lock().next(|channel| Class::of(channel) == class)
    }

    async fn pop_where(&self, ready: &Notify, wanted: impl Fn(Channel) -> bool) -> Option<Waiting> {
        loop {
            {
                let mut lanes = self.lanes.lock();
                if lanes.closed {
                    return None;
                }
                let next = lanes.next(&wanted);
                if next.is_some() {
                    return next;
                }
            }
            ready.notified().await;
        }
    }

    /// Ends the queue and forgets its frames.
    pub(crate) fn close(&self) {
        {
            let mut lanes = self.lanes.lock();
            lanes.closed = true;
            lanes.lanes = Default::default();
        }
        // Each reader is a task of its own, so one permit reaches it.
        self.any.notify_one();
        Class::ALL.into_iter().for_each(|class| self.wake(class));
    }

    fn wake(&self, class: Class) {
        if let Some(ready) = self.classes.get(class as usize) {
            ready.notify_one();
        }
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
            assert_eq!(dropped, u64::from(usize::from(tag) >= max));
        }
        assert_eq!(queue.pop().await.unwrap().bytes[0], 9);
        for tag in 1..=u8::try_from(max).unwrap() {
            assert_eq!(queue.pop().await.unwrap().bytes[0], tag);
        }
        queue.close();
        assert!(queue.pop().await.is_none());
    }

    #[tokio::test]
    async fn many_large_frames_are_bounded_by_their_bytes() {
        let queue = LinkQueue::default();
        let large = Bytes::from(vec![0; Channel::Liveness.frame_bytes_max()]);
        let fits = x0_limits::LINK_QUEUE_BYTES_MAX / large.len();
        assert!(fits < Channel::Liveness.queue_frames_max());
        let mut dropped = 0;
        for _ in 0..fits + 5 {
            dropped +=
                queue.push(Waiting { channel: Channel::Liveness, bytes: large.clone(), not_before: Instant::now() });
        }
        assert_eq!(dropped, 5);
    }
}
