//! The whole network in one thread, seeded.
