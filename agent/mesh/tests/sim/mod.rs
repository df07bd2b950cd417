//! A network of meshes in memory: seeded, in virtual time, with an oracle that knows only payloads.

mod authority;
mod faults;
mod hostile;
pub mod memory;
mod opening;
pub mod oracle;
pub mod random;
mod relays;
pub mod wires;
pub mod world;
