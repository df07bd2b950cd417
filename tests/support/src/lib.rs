//! What the scenario, load and client tests share.
