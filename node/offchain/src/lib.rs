//! Off-chain workers: probing agents and reporting verdicts.
