//! Every limit of the mesh, in one place.

/// Version of the datagram formats, the high nibble of the first byte.
pub const WIRE_VERSION: u8 = 1;
/// Most labels of a source route: relays between the ends.
pub const LABELS_MAX: usize = 8;
/// Live routes that a session keeps.
pub const ROUTES_MAX: usize = 3;
