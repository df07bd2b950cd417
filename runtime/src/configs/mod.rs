//! The parameters of the pallets.

pub mod governance;
pub mod identity;
pub mod market;
pub mod money;
pub mod system;
pub mod wrappers;
