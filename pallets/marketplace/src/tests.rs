//! What the market promises, one test for each edge of its state machines, and against a replay.

mod edges;
mod failures;
mod listings;
mod queues;
mod replay;
