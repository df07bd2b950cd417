//! How a sealed body becomes frames: once sealed, with one header for each route that it travels.

use super::{
    Counters, Sink, Urgency,
    links::{LinkIx, Links},
    timers::Timers,
};
use crate::Time;
use x0_mesh_wire::{
    Flags, Header, Kind, Labels, WireError,
    limits::{DATAGRAM_BYTES_MAX, HEADER_BYTES, LABEL_BYTES, LABELS_MAX, TTL_MAX},
};

/// Room for the header and the longest route before a body.
const HEAD_BYTES: usize = HEADER_BYTES + LABELS_MAX * LABEL_BYTES;

/// A buffer in which a body keeps its place while headers of different lengths are written before it.
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self(vec![0; HEAD_BYTES + DATAGRAM_BYTES_MAX].into_boxed_slice())
    }

    /// The place of the body.
    pub(super) fn body(&mut self) -> &mut [u8] {
        self.0.get_mut(HEAD_BYTES..).unwrap_or_default()
    }

    /// All of it, for a frame that brings its own header.
    pub(super) fn whole(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Copies a body to its place; its length, zero when it is longer than any datagram.
    pub(super) fn set_body(&mut self, body: &[u8]) -> usize {
        match self.body().get_mut(..body.len()) {
            Some(place) => {
                place.copy_from_slice(body);
                body.len()
            }
            None => 0,
        }
    }

    /// Writes header and labels before the body and gives the frame, which still needs its stamp.
    fn frame(&mut self, body_bytes: usize, labels: &Labels, flags: Flags) -> Result<&mut [u8], WireError> {
        let found = self.0.len();
        let start = HEAD_BYTES - HEADER_BYTES - labels.wire_bytes();
        let needed = HEAD_BYTES + body_bytes;
        let frame = self.0.get_mut(start..needed).ok_or(WireError::NoSpace { needed, found })?;
        let header = Header {
            kind: Kind::Data,
            flags,
            labels: u8::try_from(labels.len()).unwrap_or(u8::MAX),
            pointer: 0,
            ttl: TTL_MAX,
            link_tag: 0,
            link_seq: 0,
            hop_mac: [0; 8],
        };
        header.write(frame)?;
        labels.write(frame.get_mut(HEADER_BYTES..).unwrap_or_default())?;
        Ok(frame)
    }
}

/// Everything that sending touches, borrowed apart from the sessions whose packets are sent.
pub(super) struct Out<'a> {
    pub(super) now: Time,
    pub(super) links: &'a mut Links,
    pub(super) timers: &'a mut Timers,
    pub(super) counters: &'a mut Counters,
    pub(super) sink: &'a mut dyn Sink,
}

impl Out<'_> {
    /// Sends the body in `buffer` over a link along labels; false when the link is gone.
    pub(super) fn body(
        &mut self,
        buffer: &mut Buffer,
        body_bytes: usize,
        at: LinkIx,
        labels: &Labels,
        flags: Flags,
        urgency: Urgency,
    ) -> bool {
        match buffer.frame(body_bytes, labels, flags) {
            Ok(frame) => self.stamp_and_send(at, frame, urgency),
            Err(_) => {
                self.counters.internal_errors += 1;
                false
            }
        }
    }

    /// Gives a data frame the stamp of a link and sends it.
    pub(super) fn stamp_and_send(&mut self, at: LinkIx, frame: &mut [u8], urgency: Urgency) -> bool {
        let Some(entry) = self.links.get_mut(at) else { return false };
        if entry.link.stamp(self.now, frame).is_err() {
            self.counters.internal_errors += 1;
            return false;
        }
        self.timers.set(super::mesh::link_timer(at), entry.deadline());
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += frame.len() as u64;
        self.sink.send(entry.underlay, entry.address, urgency, frame);
        true
    }
}
