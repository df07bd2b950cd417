//! Quadratic votes of owners: tracks, delegation, sealed votes and the enactment queue.
