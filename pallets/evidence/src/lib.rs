//! Verifies and punishes equivocation.
