//! What the market promises, one test for each edge of its state machines, and against a replay.

mod acceptance;
mod auction;
mod bidding;
mod costs;
mod disputes;
mod edges;
mod failures;
mod listings;
mod model;
mod queues;
mod replay;
mod running;
mod sla;
