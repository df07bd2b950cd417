//! A network of meshes in memory: seeded, in virtual time, with an oracle that knows only payloads.

pub mod oracle;
pub mod random;
pub mod wires;
pub mod world;
