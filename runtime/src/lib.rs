//! Composes the pallets into the chain's state transition function, executed natively.
