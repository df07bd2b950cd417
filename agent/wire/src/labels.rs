//! The labels of a source route.

use crate::{
    WireError,
    limits::{LABEL_BYTES, LABELS_MAX},
};

/// Up to [`LABELS_MAX`] labels, by value: the relays of a route in the order of travel. Each label
/// is the name that a relay gave to one of its outgoing links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    count: u8,
    labels: [u32; LABELS_MAX],
}

impl Labels {
    /// No label: the neighbour itself is the destination.
    pub const NONE: Self = Self { count: 0, labels: [0; LABELS_MAX] };

    /// Takes over these labels.
    ///
    /// # Errors
    /// [`WireError::TooManyLabels`].
    pub fn new(labels: &[u32]) -> Result<Self, WireError> {
        let mut all = [0; LABELS_MAX];
        let place = all.get_mut(..labels.len()).ok_or(WireError::TooManyLabels { found: labels.len() })?;
        place.copy_from_slice(labels);
        let count = u8::try_from(labels.len()).map_err(|_| WireError::TooManyLabels { found: labels.len() })?;
        Ok(Self { count, labels: all })
    }

    /// The labels in order.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        self.labels.get(..self.len()).unwrap_or(&[])
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the labels take in a frame.
    #[must_use]
    pub const fn wire_bytes(&self) -> usize {
        self.len() * LABEL_BYTES
    }

    /// Reads labels from `bytes`, four bytes each; all bytes are labels.
    ///
    /// # Errors
    /// [`WireError::TooManyLabels`], or [`WireError::TooShort`] when the last label is cut.
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut all = Self::NONE;
        let (labels, rest) = bytes.as_chunks::<LABEL_BYTES>();
        if !rest.is_empty() {
            return Err(WireError::TooShort { needed: (labels.len() + 1) * LABEL_BYTES, found: bytes.len() });
        }
        if labels.len() > LABELS_MAX {
            return Err(WireError::TooManyLabels { found: labels.len() });
        }
        for (place, label) in all.labels.iter_mut().zip(labels) {
            *place = u32::from_be_bytes(*label);
            all.count += 1;
        }
        Ok(all)
    }

    /// Writes the labels to the start of `place` and tells how many bytes that took.
    ///
    /// # Errors
    /// [`WireError::NoSpace`].
    pub fn write(&self, place: &mut [u8]) -> Result<usize, WireError> {
        let found = place.len();
        let needed = self.wire_bytes();
        let place = place.get_mut(..needed).ok_or(WireError::NoSpace { needed, found })?;
        for (place, label) in place.as_chunks_mut::<LABEL_BYTES>().0.iter_mut().zip(self.as_slice()) {
            *place = label.to_be_bytes();
        }
        Ok(needed)
    }
}
