//! Unmodified subxt against the live node.
