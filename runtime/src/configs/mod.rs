//! The parameters of the pallets.

pub mod identity;
pub mod money;
pub mod system;
pub mod wrappers;
