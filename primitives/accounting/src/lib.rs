//! All arithmetic over money, trust shares and votes.

pub mod price;
