//! Spreads transactions between mempools.
