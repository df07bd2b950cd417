//! Routers that gossip over links that lose messages: they agree, they heal, and a liar gains nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod route_common;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use route_common::{Link, Net, label, name};
use std::collections::{BTreeMap, BTreeSet};
use x0_mesh::{
    NodeId, Time,
    route::{
        Adjacency, LinkRecord, LinkState, Message, Output, OwnLink, Refusal, Router, RouterConfig, SignedRecord,
        Verdict,
    },
};

const MESH: [u8; 32] = [9; 32];
const MS: u64 = 1_000_000;

/// Signatures of the imitated mesh: the hash of who signs and what. Nobody but [`World`] makes one.
fn sign(node: NodeId, body: &[u8]) -> [u8; 3_309] {
    let hash = x0_crypto::blake2b_256(&[&node.0[..], body].concat());
    core::array::from_fn(|at| hash[at % 32])
}

struct World {
    net: Net,
    routers: Vec<Option<Router>>,
    now: Time,
    random: ChaCha8Rng,
    /// One in a thousand.
    loss: u32,
    flight: Vec<(Time, usize, u32, Vec<u8>)>,
    sent_bytes: u64,
    suspects: Vec<(usize, NodeId, u32)>,
    refused: Vec<(usize, NodeId, Refusal)>,
    verifications: u64,
    plans: u64,
}

impl World {
    fn new(net: Net, loss: u32, seed: u64) -> Self {
        let now = Time(5_000 * MS);
        let nodes = net.nodes;
        let mut world = Self {
            net,
            routers: (0..nodes).map(|_| None).collect(),
            now,
            random: ChaCha8Rng::seed_from_u64(seed),
            loss,
            flight: Vec::new(),
            sent_bytes: 0,
            suspects: Vec::new(),
            refused: Vec::new(),
            verifications: 0,
            plans: 0,
        };
        (0..nodes).for_each(|node| world.start(node));
        world
    }

    /// A node starts with its first number and all links up.
    fn start(&mut self, node: usize) {
        let config = RouterConfig { me: name(node), mesh: MESH, first_seq: 1, seed: node as u64 };
        self.routers[node] = Some(Router::new(config, self.now));
        for link in self.links_of(node) {
            self.set(node, link, LinkState::Up);
        }
    }

    fn links_of(&self, node: usize) -> Vec<usize> {
        (0..self.net.links.len())
            .filter(|link| self.net.links[*link].a == node || self.net.links[*link].b == node)
            .collect()
    }

    fn set(&mut self, node: usize, link: usize, state: LinkState) {
        let claims = self.net.claims(node);
        let claim = claims.iter().find(|claim| claim.label == label(node, link)).unwrap();
        let own = OwnLink {
            label: claim.label,
            neighbour: claim.neighbour,
            underlay: claim.underlay,
            quality: claim.quality,
            state,
        };
        let mut out = Vec::new();
        let now = self.now;
        self.router(node).link(now, own, &mut out);
        self.carry_out(node, out);
    }

    fn router(&mut self, node: usize) -> &mut Router {
        self.routers[node].as_mut().unwrap()
    }

    /// Both ends of a link see it in this state.
    fn set_both(&mut self, link: usize, state: LinkState) {
        let Link { a, b, .. } = self.net.links[link];
        self.set(a, link, state);
        self.set(b, link, state);
    }

    fn carry_out(&mut self, node: usize, out: Vec<Output>) {
        for output in out {
            let now = self.now;
            match output {
                Output::Send { label: own, bytes } => {
                    assert!(bytes.len() <= 1_150);
                    self.sent_bytes += bytes.len() as u64;
                    let (owner, link) = route_common::owner(own);
                    assert_eq!(owner, node);
                    let other = self.net.other(node, link);
                    if self.random.random_range(0..1_000) >= self.loss {
                        let arrives = now.plus_us(self.random.random_range(1_000..30_000));
                        self.flight.push((arrives, other, label(other, link), bytes));
                    }
                }
                Output::Sign { seq, body } => {
                    let signature = sign(name(node), &body);
                    self.router(node).signed(now, seq, Some(&signature));
                }
                Output::Verify { ticket, record } => {
                    self.verifications += 1;
                    let holds = record.signature() == Some(&sign(record.record.node, record.body()));
                    let verdict = if holds { Verdict::Valid } else { Verdict::Invalid };
                    let mut out = Vec::new();
                    // Refusals are counted by the router and checked by the tests that expect them.
                    let judged = self.router(node).verified(now, ticket, verdict, &mut out);
                    assert!(judged.is_ok() || !holds || matches!(judged, Err(Refusal::Stale { .. })), "{judged:?}");
                    self.carry_out(node, out);
                }
                Output::Plan(request) => {
                    self.plans += 1;
                    assert!(self.router(node).planned(request.run()));
                }
                Output::Suspect { owner, label, .. } => self.suspects.push((node, owner, label)),
                Output::Refused { from, refusal } => self.refused.push((node, from, refusal)),
            }
        }
    }

    /// Hands a message to a node as its neighbour over this link.
    fn receive(&mut self, node: usize, own: u32, bytes: &[u8]) -> Result<(), Refusal> {
        let mut out = Vec::new();
        let now = self.now;
        let Some(router) = &mut self.routers[node] else { return Ok(()) };
        let result = router.message(now, own, bytes, &mut out);
        self.carry_out(node, out);
        result
    }

    fn run_ms(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.now < end {
            self.now = self.now.plus_ms(10);
            let now = self.now;
            let mut due = Vec::new();
            self.flight.retain(|message| {
                message.0 > now || {
                    due.push(message.clone());
                    false
                }
            });
            for (_, node, own, bytes) in due {
                let result = self.receive(node, own, &bytes);
                assert!(
                    matches!(result, Ok(()) | Err(Refusal::Stale { .. } | Refusal::Delta { .. })),
                    "an honest message is refused: {result:?}"
                );
            }
            for node in 0..self.net.nodes {
                let mut out = Vec::new();
                if let Some(router) = &mut self.routers[node] {
                    router.tick(now, &mut out);
                }
                self.carry_out(node, out);
            }
        }
    }

    /// What each living node believes of all links, as pairs of nodes with their number.
    fn beliefs(&self) -> Vec<BTreeMap<(u16, u16), usize>> {
        let living = self.routers.iter().flatten();
        living
            .map(|router| {
                let own: Vec<Adjacency> = router.table().claims(&self.me(router)).unwrap_or(&[]).to_vec();
                let graph = router.table().graph(&own, &BTreeSet::new());
                let mut links = BTreeMap::new();
                for edge in graph.edges() {
                    let of = |at: u16| u16::from(graph.node(at).unwrap().0[0]) - 1;
                    *links.entry((of(edge.from), of(edge.to))).or_default() += 1;
                }
                links
            })
            .collect()
    }

    fn me(&self, router: &Router) -> NodeId {
        let at = self.routers.iter().position(|one| one.as_ref().is_some_and(|one| core::ptr::eq(one, router)));
        name(at.unwrap())
    }

    fn agree_on(&self, links: usize) -> bool {
        let beliefs = self.beliefs();
        beliefs.iter().all(|belief| *belief == beliefs[0] && belief.values().sum::<usize>() == links * 2)
    }
}

/// A ring of `nodes` with some chords.
fn ring(nodes: usize) -> Net {
    let link = |a: usize, b: usize| Link { a, b, underlay_a: 1, underlay_b: 1, quality: 60_000 };
    let mut links: Vec<_> = (0..nodes).map(|at| link(at, (at + 1) % nodes)).collect();
    links.extend((0..nodes / 3).map(|at| link(at, at + nodes / 2)));
    Net { nodes, links }
}

#[test]
fn routers_agree_although_messages_are_lost() {
    for (loss, seconds) in [(0, 3), (50, 8), (200, 25)] {
        let mut world = World::new(ring(12), loss, 1);
        world.run_ms(seconds * 1_000);
        assert!(world.agree_on(world.net.links.len()), "loss {loss}: {:?}", world.beliefs());
    }
}

#[test]
fn a_link_that_goes_down_and_comes_back_is_known_everywhere_soon() {
    let mut world = World::new(ring(12), 50, 2);
    world.run_ms(10_000);
    world.set_both(3, LinkState::Down);
    world.run_ms(4_000);
    assert!(world.agree_on(world.net.links.len() - 1));
    world.set_both(3, LinkState::Up);
    world.run_ms(4_000);
    assert!(world.agree_on(world.net.links.len()));
}

#[test]
fn a_flapping_link_costs_at_most_a_record_a_second() {
    let mut world = World::new(ring(6), 0, 3);
    world.run_ms(5_000);
    let seq = |world: &mut World| world.router(2).table().known_seq(&name(0)).unwrap();
    let before = seq(&mut world);
    for flap in 0..500 {
        world.set(0, 0, if flap % 2 == 0 { LinkState::Down } else { LinkState::Up });
        world.run_ms(20);
    }
    let records = seq(&mut world) - before;
    assert!((5..=11).contains(&records), "{records} records in ten seconds");
}

#[test]
fn a_quiet_mesh_gossips_little_and_its_records_live_on() {
    let mut world = World::new(ring(12), 20, 4);
    world.run_ms(20_000);
    let before = world.sent_bytes;
    world.run_ms(300_000);
    assert!(world.agree_on(world.net.links.len()), "records are refreshed before they expire");
    let links = world.net.links.len() as u64 * 2;
    let per_link = (world.sent_bytes - before) / 300 / links;
    // Twelve records of 3.5 kB each 45 s, sent over each link once or twice.
    assert!(per_link < 2_500, "{per_link} bytes a second per link and direction");
}

#[test]
fn a_dead_node_is_forgotten_and_its_old_record_stays_dead() {
    let mut world = World::new(ring(6), 0, 5);
    world.run_ms(5_000);
    let now = world.now;
    let (old, _, _) = world.router(3).table().outgoing(now, &name(0)).unwrap();
    world.routers[0] = None;
    world.run_ms(260_000);
    assert!(world.routers.iter().flatten().all(|router| router.table().claims(&name(0)).is_none()));
    let seq = SignedRecord::read(&old).unwrap().record.seq;
    let index = (0..).zip(old.chunks(1_024));
    let own = label(3, 3);
    let mut last = Ok(());
    for (index, bytes) in index {
        let total = old.len() as u16;
        let chunk = Message::Chunk { node: name(0), seq, age_s: 0, total, index, bytes: bytes.to_vec() };
        last = world.receive(3, own, &chunk.bytes());
    }
    assert!(matches!(last, Ok(()) | Err(Refusal::Stale { .. })), "{last:?}");
    assert!(world.router(3).table().claims(&name(0)).is_none(), "a replay revives nobody");
}

#[test]
fn a_restarted_node_goes_beyond_its_old_records() {
    let mut world = World::new(ring(6), 20, 6);
    world.run_ms(120_000);
    let before = world.router(3).table().known_seq(&name(0)).unwrap();
    assert!(before > 1);
    world.routers[0] = None;
    world.run_ms(2_000);
    world.start(0);
    world.run_ms(6_000);
    assert!(world.router(3).table().known_seq(&name(0)).unwrap() > before);
    assert!(world.agree_on(world.net.links.len()));
}

/// Sends a record in pieces as a neighbour of node 1, over link 0.
fn push(world: &mut World, bytes: &[u8], node: NodeId, seq: u64) -> Result<(), Refusal> {
    let mut last = Ok(());
    for (index, piece) in (0..).zip(bytes.chunks(1_024)) {
        let total = bytes.len() as u16;
        let chunk = Message::Chunk { node, seq, age_s: 0, total, index, bytes: piece.to_vec() };
        last = world.receive(1, label(1, 0), &chunk.bytes());
    }
    last
}

#[test]
fn forged_records_are_counted_and_change_nothing() {
    let mut world = World::new(ring(6), 0, 7);
    world.run_ms(5_000);
    let before = world.beliefs();
    let claims = vec![Adjacency { neighbour: name(1), label: 5, underlay: 1, quality: 65_535, up: true }];
    let (mesh, node, seq, lifetime_s) = (MESH, name(4), 1_000, 100);
    let record = LinkRecord { mesh, node, seq, lifetime_s, adjacencies: claims };
    let forged = SignedRecord::new(record.clone(), &[1; 3_309]);
    assert!(push(&mut world, forged.bytes(), node, seq).is_ok(), "judged later");
    assert_eq!(world.refused, [(1, name(0), Refusal::Forged { node, seq })]);
    assert_eq!(world.router(1).refusals().of("forged"), 1);
    let renamed = push(&mut world, forged.bytes(), name(5), seq);
    assert!(matches!(renamed, Err(Refusal::Malformed { .. })));
    let other = LinkRecord { mesh: [1; 32], ..record };
    let other = SignedRecord::new(other.clone(), &sign(node, &other.body()));
    assert_eq!(push(&mut world, other.bytes(), node, seq), Err(Refusal::OtherMesh));
    world.run_ms(3_000);
    assert_eq!(world.beliefs(), before);
    assert!(world.agree_on(world.net.links.len()));
}

#[test]
fn a_flood_of_forged_records_costs_a_bounded_number_of_verifications() {
    let mut world = World::new(ring(6), 0, 8);
    world.run_ms(5_000);
    let before = world.verifications;
    let mut refusals: BTreeMap<&str, u64> = BTreeMap::new();
    for seq in 1_000..3_000 {
        let (mesh, node, lifetime_s) = (MESH, name(4), 100);
        let record = LinkRecord { mesh, node, seq, lifetime_s, adjacencies: Vec::new() };
        if let Err(refusal) = push(&mut world, SignedRecord::new(record, &[1; 3_309]).bytes(), node, seq) {
            *refusals.entry(refusal.name()).or_default() += 1;
        }
        world.now = world.now.plus_ms(1);
    }
    let spent = world.verifications - before;
    // 64 at once, 64 a second for two seconds.
    assert!(spent <= 64 * 3 + 1, "{spent} verifications");
    assert!(refusals["too_fast"] > 1_700, "{refusals:?}");
    world.flight.clear();
    world.run_ms(3_000);
    assert!(world.agree_on(world.net.links.len()));
}

#[test]
fn only_the_node_itself_changes_its_record_by_a_delta() {
    let mut world = World::new(ring(6), 0, 9);
    world.run_ms(5_000);
    let base = world.router(1).table().known_seq(&name(0)).unwrap();
    let change = x0_mesh::route::DeltaClaim { label: label(0, 0), quality: 5, up: false };
    let delta = Message::Delta { base, number: 99, changes: vec![change] };
    // Over the link to node 2, a delta is about node 2, which has no such label.
    let wrong = world.receive(1, label(1, 1), &delta.bytes());
    assert!(wrong.is_err(), "{wrong:?}");
    assert!(world.receive(1, label(1, 0), &delta.bytes()).is_ok());
    let claims = world.router(1).table().claims(&name(0)).unwrap();
    assert!(claims.iter().any(|claim| claim.label == label(0, 0) && !claim.up));
}

#[test]
fn a_notice_travels_back_to_the_source_hop_by_hop() {
    // 0 - 1 - 2 - 3 - 4 and back around; packets go 0 -> 4 over 1, 2, 3.
    let mut world = World::new(ring(8), 0, 10);
    world.run_ms(5_000);
    let labels = [label(1, 1), label(2, 2), label(3, 3)];
    for (relay, from) in [(1, 0), (2, 1), (3, 2)] {
        let now = world.now;
        world.router(relay).used(now, name(from), &labels[relay - 1..]);
    }
    world.set(3, 3, LinkState::Down);
    world.run_ms(200);
    let heard: BTreeSet<_> = world.suspects.iter().copied().collect();
    let expected: BTreeSet<_> = (0..3).map(|node| (node, name(3), label(3, 3))).collect();
    assert_eq!(heard, expected, "the nodes upstream and nobody else");
    // A second later nobody counts as a user any more.
    world.set(3, 3, LinkState::Up);
    world.run_ms(1_500);
    world.suspects.clear();
    world.set(3, 3, LinkState::Down);
    world.run_ms(200);
    assert!(world.suspects.is_empty(), "{:?}", world.suspects);
}

#[test]
fn notices_about_nothing_and_floods_of_notices_are_refused() {
    let mut world = World::new(ring(6), 0, 11);
    world.run_ms(5_000);
    let notice = |owner, label, hops| Message::LinkDown { owner, label, hops }.bytes();
    let own = label(1, 0);
    let unknown = world.receive(1, own, &notice(name(3), 12, 0));
    assert_eq!(unknown, Err(Refusal::NoticeUnknown { owner: name(3), label: 12 }));
    let mine = world.receive(1, own, &notice(name(1), label(1, 1), 0));
    assert_eq!(mine, Err(Refusal::NoticeUnknown { owner: name(1), label: label(1, 1) }));
    let far = world.receive(1, own, &notice(name(3), label(3, 3), 8));
    assert_eq!(far, Err(Refusal::NoticeTooFar { hops: 8 }));
    let mut taken = 0;
    for _ in 0..1_000 {
        taken += u32::from(world.receive(1, own, &notice(name(3), label(3, 3), 0)).is_ok());
    }
    assert!(taken <= 50, "{taken} notices at once");
    assert!(world.router(1).refusals().of("too_fast") >= 950);
}

#[test]
fn a_session_finds_its_routes_at_once_and_keeps_them_while_a_plan_is_under_way() {
    let mut world = World::new(ring(6), 0, 13);
    world.run_ms(5_000);
    let router = world.router(0);
    router.want(name(3));
    assert_eq!(router.paths(&name(3)).len(), 3);
    assert!(router.deadline() <= Time(0), "a plan is due");
    let (mut out, now) = (Vec::new(), world.now);
    let router = world.router(0);
    router.tick(now, &mut out);
    router.want(name(4));
    let plan = out.into_iter().find_map(|output| match output {
        Output::Plan(request) => Some(request.run()),
        _ => None,
    });
    assert!(router.planned(plan.unwrap()), "the plan knows nothing of node 4");
    assert_eq!(router.paths(&name(3)).len(), 3);
    assert!(!router.paths(&name(4)).is_empty());
    router.unwant(&name(4));
    assert!(router.paths(&name(4)).is_empty());
}

#[test]
fn refreshes_and_noise_cost_no_plans() {
    let mut world = World::new(ring(12), 0, 14);
    world.run_ms(10_000);
    let before = world.plans;
    for step in 0..600 {
        // Qualities that tremble by a hundredth, as measurements do.
        for node in 0..12 {
            let link = world.links_of(node)[0];
            world.net.links[link].quality = 60_000 - (step % 7) * 100;
            world.set(node, link, LinkState::Up);
        }
        world.run_ms(100);
    }
    assert_eq!(world.plans, before, "a minute of refreshes and noise");
    let own = world.links_of(3)[0];
    world.net.links[own].quality = 20_000;
    world.set(3, own, LinkState::Up);
    world.run_ms(500);
    assert!(world.plans > before, "another quality is another plan");
}

#[test]
fn whatever_a_neighbour_sends_nothing_breaks() {
    let mut world = World::new(ring(6), 0, 12);
    world.run_ms(3_000);
    let (mut random, mut refused_here) = (ChaCha8Rng::seed_from_u64(5), 0);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..random.random_range(0..1_200)).map(|_| random.random()).collect();
        if let Some(first) = bytes.first_mut() {
            *first = random.random_range(0..6);
        }
        refused_here += u64::from(world.receive(1, label(1, 0), &bytes).is_err());
    }
    world.run_ms(2_000);
    assert!(world.agree_on(world.net.links.len()));
    let refused: u64 = world.router(1).refusals().iter().map(|(_, count)| count).sum();
    assert!(refused_here > 15_000 && refused >= refused_here, "{refused} of {refused_here}");
}
