//! Where packets go: who is linked to whom, which routes are disjoint, which of them carries a packet, and what a
//! relay does with it.
//!
//! ```text
//!   neighbours' gossip --> state (signed records) --> Graph --+--> disjoint paths --> Scheduler (per session)
//!        ^                    |                               |                          |  tau, classes, explain
//!        +--- records, LINK_DOWN notices <--- Router          +--> bypasses --> RelayTable --> Decision per packet
//! ```
//!
//! [`Router`] is what a node composes: one for each mesh, control rate only. [`RelayTable`] is read for each relayed
//! packet and [`Scheduler::choose`] for each sent one; neither allocates.
//!
//! # How it is used
//! ```text
//!   let mut router = Router::new(RouterConfig { me, mesh, first_seq, seed, .. }, now);
//!   router.link(now, OwnLink { label, neighbour, underlay, quality, state }, &mut out)   // new, or anything changed
//!   router.link_gone(now, label, &mut out)
//!   router.message(now, from_label, bytes, &mut out)          // body of a control frame of the route kind
//!   router.signed(now, seq, signature, &mut out)              // answers Output::Sign
//!   router.verified(now, ticket, Verdict, &mut out)           // answers Output::Verify
//!   router.planned(now, plan, &mut out)                       // answers Output::Plan (run anywhere: PlanRequest::run)
//!   router.want(destination) / router.unwant(destination)     // a session opens, closes
//!   router.paths(&destination) -> &[Path]
//!   router.relay() -> &RelayTable                             // relay().decide(&RelayInput) -> Decision
//!   router.used(now, from, labels, pointer)                   // after each Forward, feeds LINK_DOWN
//!   router.tick(now, &mut out); router.deadline() -> Time
//!
//!   let mut scheduler = Scheduler::new(SchedulerConfig { destination, seed, .. }, now);
//!   scheduler.set_paths(now, router.paths(&destination));
//!   scheduler.link(now, label, LinkState)                     // own first links
//!   scheduler.notice(now, &Hop)                               // LINK_DOWN heard: suspicion only
//!   scheduler.delivered(now, path) .probe_sent(now, path) .measured(now, path, Measure) .state(now, path, PathState, reason)
//!   scheduler.tick(now) -> Tick { probe: [..], explore: Option<PathId>, switched: Option<Switch> }
//!   scheduler.choose(Class, flow_hash) -> Choice { first, copies }
//!   scheduler.explain(now) -> Explanation                     // serde
//! ```
