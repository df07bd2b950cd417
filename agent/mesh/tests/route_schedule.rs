//! What a session's scheduler does over time, against what its users rely on.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod route_common;

use proptest::prelude::*;
use route_common::{Link, Net, label, name};
use x0_mesh::{
    Time,
    route::{
        Class, DAMPING_MS, Disjointness, LinkState, Measure, Path, PathId, PathState, Scheduler, Switch, SwitchReason,
        candidates,
    },
};

/// Three routes from node 0 to node 4: over 1, 2 and 3, each over an underlay of its own.
fn three_routes() -> Vec<Path> {
    let mut links = Vec::new();
    for relay in 1..=3 {
        let quality = 60_000 - 5_000 * relay as u16;
        for (a, b) in [(0, relay), (relay, 4)] {
            links.push(Link { a, b, underlay_a: relay as u32, underlay_b: relay as u32, quality });
        }
    }
    let net = Net { nodes: 5, links };
    let paths = candidates(&net.graph(), &name(0), &name(4));
    assert_eq!(paths.len(), 3);
    paths
}

/// One route of the imitated network: alive or not, and how long a round trip takes.
#[derive(Clone, Copy, Debug)]
struct World {
    alive: bool,
    rtt_us: u64,
}

/// A scheduler in an imitated network: probes and packets are answered after a round trip while the route lives.
struct Session {
    scheduler: Scheduler,
    paths: Vec<Path>,
    world: Vec<World>,
    now: Time,
    answers: Vec<(Time, PathId, Time)>,
    switches: Vec<Switch>,
    probes: Vec<(Time, PathId)>,
    sending: bool,
}

const MS: u64 = 1_000_000;

impl Session {
    fn new(rtts_us: [u64; 3]) -> Self {
        let paths = three_routes();
        let mut now = Time(1_000 * MS);
        now.0 += 13;
        let mut scheduler = Scheduler::new(name(4), 7, now);
        for path in &paths {
            assert!(scheduler.link(now, path.first_label(), LinkState::Up).is_none());
        }
        let mut session = Self {
            scheduler,
            world: rtts_us.iter().map(|rtt_us| World { alive: true, rtt_us: *rtt_us }).collect(),
            paths: paths.clone(),
            now,
            answers: Vec::new(),
            switches: Vec::new(),
            probes: Vec::new(),
            sending: true,
        };
        let first = session.scheduler.set_paths(now, &paths);
        session.note(first);
        session
    }

    fn note(&mut self, switch: Option<Switch>) {
        self.switches.extend(switch);
    }

    fn route(&self, id: PathId) -> usize {
        self.paths.iter().position(|path| path.id() == id).unwrap()
    }

    fn id(&self, route: usize) -> PathId {
        self.paths[route].id()
    }

    fn primary(&self) -> usize {
        self.route(self.scheduler.primary().unwrap())
    }

    fn state(&self, route: usize) -> PathState {
        self.scheduler.state(self.id(route)).unwrap()
    }

    fn send(&mut self, id: PathId) {
        let World { alive, rtt_us } = self.world[self.route(id)];
        if alive {
            self.answers.push((self.now.plus_us(rtt_us), id, self.now));
        }
    }

    /// One millisecond: a packet, what is due, and what arrives.
    fn step(&mut self) {
        self.now = self.now.plus_ms(1);
        if self.sending {
            let choice = self.scheduler.choose(self.now, Class::Normal, 0);
            let lanes: Vec<PathId> = choice.iter().map(|lane| lane.id).collect();
            lanes.into_iter().for_each(|id| self.send(id));
        }
        if self.scheduler.deadline() <= self.now {
            let tick = self.scheduler.tick(self.now);
            self.note(tick.switched);
            let due: Vec<PathId> = tick.probes().collect();
            for id in due {
                self.scheduler.probe_sent(self.now, id);
                self.probes.push((self.now, id));
                self.send(id);
            }
        }
        let (now, mut arrived) = (self.now, Vec::new());
        self.answers.retain(|answer| {
            answer.0 > now || {
                arrived.push(*answer);
                false
            }
        });
        for (_, id, sent) in arrived {
            let World { alive, rtt_us } = self.world[self.route(id)];
            if alive {
                let srtt_us = u32::try_from(rtt_us).unwrap();
                self.scheduler.measured(id, Measure { srtt_us, rttvar_us: 0, loss_q16: 0 });
                let switch = self.scheduler.delivered(now, id, sent);
                self.note(switch);
            }
        }
    }

    fn run_ms(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    fn link(&mut self, route: usize, state: LinkState) {
        let switch = self.scheduler.link(self.now, self.paths[route].first_label(), state);
        self.note(switch);
    }
}

#[test]
fn the_cheapest_route_carries_and_all_three_are_proved() {
    let mut session = Session::new([2_000; 3]);
    assert_eq!(session.primary(), 0);
    session.run_ms(500);
    assert!((0..3).all(|route| session.state(route) == PathState::Up));
    assert_eq!(session.switches.len(), 1, "the first choice alone");
    assert_eq!(session.switches[0].reason, SwitchReason::First);
    let live: Vec<_> = session.scheduler.live().collect();
    assert_eq!(live.len(), 3);
}

#[test]
fn classes_take_the_routes_that_they_should() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(2_000);
    let now = session.now;
    let mut routes = |class, flow| -> Vec<PathId> {
        session.scheduler.choose(now, class, flow).iter().map(|lane| lane.id).collect()
    };
    let (primary, critical) = (routes(Class::Normal, 1), routes(Class::Critical, 1));
    assert_eq!(primary.len(), 1);
    assert_eq!((critical.len(), critical[0]), (2, primary[0]));
    for flow in [0, 1, 0x4000_0000, 0x9000_0000, u32::MAX] {
        let once = routes(Class::Bulk, flow);
        assert_eq!(once.len(), 1);
        assert_eq!(once, routes(Class::Bulk, flow), "a flow stays on its route");
        assert_eq!(routes(Class::Normal, flow), primary, "other flows are not spread");
    }
    let spread: std::collections::BTreeSet<_> =
        (0..64u32).flat_map(|flow| routes(Class::Bulk, flow.wrapping_mul(0x0400_0000))).collect();
    assert_eq!(spread.len(), 3, "bulk uses all three");
}

#[test]
fn a_suspect_primary_is_copied_at_once_and_left_at_a_tick() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    session.link(0, LinkState::Suspect);
    assert_eq!(session.primary(), 0, "suspicion alone does not switch");
    let copies = |session: &mut Session, class| session.scheduler.choose(session.now, class, 0).iter().count();
    assert_eq!(copies(&mut session, Class::Normal), 2);
    assert_eq!(copies(&mut session, Class::Critical), 2, "one of two is reliable");
    session.run_ms(101);
    assert_ne!(session.primary(), 0);
    assert_eq!(session.switches.last().unwrap().reason, SwitchReason::Suspected);
    assert_eq!(copies(&mut session, Class::Normal), 1, "the new primary is not suspect");
}

#[test]
fn a_short_suspicion_costs_copies_and_no_switch() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_010);
    session.link(0, LinkState::Suspect);
    session.run_ms(3);
    session.link(0, LinkState::Up);
    session.run_ms(3_000);
    assert_eq!(session.switches.len(), 1);
    assert_eq!(session.primary(), 0);
}

#[test]
fn a_dead_primary_is_left_at_once_and_the_log_explains_it_afterwards() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    let (at, first) = (session.now, session.id(0));
    session.link(0, LinkState::Down);
    assert_ne!(session.primary(), 0, "in the same call");
    session.run_ms(10_000);
    let explanation = session.scheduler.explain(session.now);
    let switch = explanation.switches.iter().find(|switch| switch.reason == SwitchReason::Down).unwrap();
    assert_eq!((switch.at_ns, switch.from), (at.0, Some(first.0)));
    assert_eq!(switch.evidence.down_ns, Some(at.0));
    assert_eq!(switch.evidence.link_ns, Some(at.0));
    assert!(switch.evidence.delivered_ns.is_some_and(|delivered| delivered + 5 * MS > at.0));
    let text = serde_json::to_string_pretty(&explanation).unwrap();
    for word in ["own_link", "\"down\"", "tau", "srtt_us", "trust_q16", "held_until_ns", &name(4).to_string()] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
}

#[test]
fn a_route_that_swallows_packets_is_left_although_its_link_lives() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    session.world[0].alive = false;
    let start = session.now;
    while session.primary() == 0 {
        session.step();
        assert!(session.now < start.plus_ms(400), "still on the dead route: {:?}", session.state(0));
    }
    session.run_ms(100);
    assert!(session.switches.iter().any(|switch| switch.from == Some(session.id(0).0)));
}

#[test]
fn a_restored_better_route_is_used_again_within_five_seconds() {
    for (own_link, rtt_us) in [(true, 6_000), (false, 6_000), (true, 20_000), (false, 20_000)] {
        let mut session = Session::new([2_000, rtt_us, rtt_us]);
        session.run_ms(4_000);
        if own_link {
            session.link(0, LinkState::Down);
        }
        session.world[0].alive = false;
        session.run_ms(6_000);
        assert_ne!(session.primary(), 0);
        let restored = session.now;
        session.world[0].alive = true;
        if own_link {
            session.link(0, LinkState::Recovering);
            session.run_ms(100);
            session.link(0, LinkState::Up);
        }
        while session.primary() != 0 {
            session.step();
            assert!(
                session.now < restored.plus_ms(5_000),
                "not used again: {:#?}",
                session.scheduler.explain(session.now)
            );
        }
        assert_eq!(session.switches.last().unwrap().reason, SwitchReason::Better);
    }
}

#[test]
fn a_restored_equal_route_is_live_again_and_takes_copies_within_five_seconds() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    session.link(0, LinkState::Down);
    session.run_ms(3_000);
    session.link(0, LinkState::Up);
    session.run_ms(1_000);
    assert_eq!(session.state(0), PathState::Up);
    assert!(session.scheduler.live().any(|id| id == session.id(0)));
    assert_eq!(session.switches.len(), 2, "an equal route is no reason to switch");
}

#[test]
fn a_route_that_fails_again_and_again_is_held_longer_each_time() {
    let mut session = Session::new([2_000, 40_000, 40_000]);
    session.run_ms(4_000);
    let mut held = Vec::new();
    for _ in 0..5 {
        let failed = session.now;
        session.link(0, LinkState::Down);
        session.run_ms(50);
        session.link(0, LinkState::Up);
        while session.primary() != 0 {
            session.step();
            assert!(session.now < failed.plus_ms(40_000), "never used again");
        }
        held.push(session.now.since_ns(failed) / MS);
        session.run_ms(50);
    }
    for (held_ms, hold_ms) in held.iter().zip([1_000, 2_000, 4_000, 8_000, 16_000]) {
        assert!((hold_ms..hold_ms + 4_000).contains(held_ms), "{held:?}");
    }
    session.run_ms(61_000);
    session.link(0, LinkState::Down);
    let held_until = session.scheduler.explain(session.now).paths.iter().map(|path| path.held_until_ns).max();
    assert_eq!(held_until, Some(session.now.0 + 1_000 * MS), "a minute without a failure starts over");
}

#[test]
fn a_lying_notice_costs_copies_until_the_route_proves_itself() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    let (relay, dead) = (name(1), label(1, 1));
    assert!(session.paths[0].uses(&relay, dead));
    let switch = session.scheduler.notice(session.now, &relay, dead);
    assert!(switch.is_none(), "a notice alone switches nothing");
    assert_eq!(session.state(0), PathState::Suspect);
    assert_eq!(session.scheduler.choose(session.now, Class::Normal, 0).iter().count(), 2);
    // What was on its way when the notice came proves nothing.
    let before = Time(session.now.0 - 1);
    session.scheduler.delivered(session.now, session.id(0), before);
    assert_eq!(session.state(0), PathState::Suspect);
    session.run_ms(5);
    assert_eq!(session.state(0), PathState::Up);
    assert_eq!(session.switches.len(), 1);
    assert!(session.scheduler.notice(session.now, &name(9), dead).is_none());
    assert_eq!(session.state(0), PathState::Up, "a link of nobody on the route");
}

#[test]
fn a_liar_that_repeats_its_notice_gains_a_change_of_path_and_no_more() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    for _ in 0..200 {
        let switch = session.scheduler.notice(session.now, &name(1), label(1, 1));
        session.note(switch);
        session.run_ms(50);
    }
    assert!(session.switches.len() <= 2, "{:?}", session.switches);
    assert!((0..3).all(|route| session.state(route) >= PathState::Suspect));
}

#[test]
fn an_idle_session_probes_little_and_a_used_one_each_live_route() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(3_000);
    session.probes.clear();
    session.run_ms(1_000);
    for route in 0..3 {
        let count = session.probes.iter().filter(|(_, id)| *id == session.id(route)).count();
        assert!((18..=21).contains(&count), "{count} probes of a live route in a second");
    }
    session.sending = false;
    session.run_ms(3_000);
    session.probes.clear();
    session.run_ms(10_000);
    assert!((27..=33).contains(&session.probes.len()), "{} probes in ten idle seconds", session.probes.len());
    assert_eq!(session.switches.len(), 1);
}

#[test]
fn every_route_down_keeps_sending_on_the_last_one() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(1_000);
    for route in 0..3 {
        session.link(route, LinkState::Down);
    }
    assert_eq!(session.scheduler.choose(session.now, Class::Critical, 0).iter().count(), 1);
    session.link(1, LinkState::Up);
    session.run_ms(400);
    assert_eq!(session.primary(), 1, "the first that answers");
}

#[test]
fn a_primary_that_the_records_no_longer_name_stays_while_it_delivers() {
    let mut session = Session::new([2_000; 3]);
    session.run_ms(1_000);
    let others = session.paths[1..].to_vec();
    let switch = session.scheduler.set_paths(session.now, &others);
    assert!(switch.is_none());
    assert_eq!(session.primary(), 0);
    session.link(0, LinkState::Down);
    assert_ne!(session.primary(), 0);
    assert_eq!(session.scheduler.paths().count(), 2, "then it is gone");
    let none = session.scheduler.set_paths(session.now, &session.paths[..1]);
    session.note(none);
    session.link(0, LinkState::Up);
    session.run_ms(300);
    assert_eq!(session.scheduler.paths().count(), 2, "the delivering primary and the one that is named");
}

#[test]
fn the_second_route_is_the_most_disjoint_of_equals() {
    // Two links over underlay 1 and one over underlay 2, all direct and equal.
    let link = |underlay| Link { a: 0, b: 4, underlay_a: underlay, underlay_b: underlay, quality: 60_000 };
    let net = Net { nodes: 5, links: vec![link(1), link(1), link(2)] };
    let paths = candidates(&net.graph(), &name(0), &name(4));
    let now = Time(MS);
    let mut scheduler = Scheduler::new(name(4), 1, now);
    for path in &paths {
        scheduler.link(now, path.first_label(), LinkState::Up);
    }
    scheduler.set_paths(now, &paths);
    for path in &paths {
        scheduler.delivered(now.plus_ms(1), path.id(), now);
    }
    let live: Vec<&Path> = scheduler.live().map(|id| paths.iter().find(|path| path.id() == id).unwrap()).collect();
    assert_eq!(live[0].disjointness(live[1]), Disjointness::Full);
}

/// A script of what happens to three routes, for the properties.
fn scripts() -> impl Strategy<Value = Vec<(u64, usize, u8)>> {
    prop::collection::vec((1u64..700, 0usize..3, 0u8..8), 1..40)
}

fn play(session: &mut Session, script: &[(u64, usize, u8)], routes: core::ops::Range<usize>) {
    for (wait, route, what) in script {
        session.run_ms(*wait);
        let route = routes.start + route % routes.len();
        match what {
            0 => session.link(route, LinkState::Suspect),
            1 => session.link(route, LinkState::Down),
            2 => session.link(route, LinkState::Recovering),
            3 => session.world[route].alive = !session.world[route].alive,
            4 => session.world[route].rtt_us = 1_000 + (session.world[route].rtt_us * 7) % 40_000,
            5 => {
                let id = session.id(route);
                session.scheduler.weigh(id, 30_000, 16);
            }
            6 => {
                let (owner, label) = (name(route + 1), label(route + 1, route * 2 + 1));
                let switch = session.scheduler.notice(session.now, &owner, label);
                session.note(switch);
            }
            _ => session.link(route, LinkState::Up),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn flapping_routes_beside_a_stable_one_change_the_primary_at_most_once_in_a_damping_period(script in scripts()) {
        // Route 2 is stable; routes 0 and 1 do what the script says.
        let mut session = Session::new([2_000; 3]);
        play(&mut session, &script, 0..2);
        session.run_ms(2_000);
        let mut left: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
        for pair in session.switches.windows(2) {
            if !matches!(pair[1].reason, SwitchReason::Down | SwitchReason::Withdrawn | SwitchReason::First)
                && pair[0].reason != SwitchReason::First
            {
                prop_assert!(pair[1].at_ns >= pair[0].at_ns + DAMPING_MS * MS, "{:?}", pair);
            }
        }
        // A dead route is left at once; the same route is not chosen and left again within its hold-down of a second.
        for switch in session.switches.iter().filter(|switch| switch.reason == SwitchReason::Down) {
            let from = switch.from.unwrap();
            if let Some(last) = left.insert(from, switch.at_ns) {
                prop_assert!(switch.at_ns >= last + 1_000 * MS, "left again after {} ns", switch.at_ns - last);
            }
        }
    }

    #[test]
    fn one_flapping_route_changes_the_primary_at_most_once_in_a_damping_period(script in scripts()) {
        let mut session = Session::new([2_000; 3]);
        play(&mut session, &script, 0..1);
        session.run_ms(2_000);
        for pair in session.switches.windows(2).filter(|pair| pair[0].reason != SwitchReason::First) {
            prop_assert!(pair[1].at_ns >= pair[0].at_ns + DAMPING_MS * MS, "{:?}", pair);
        }
    }

    #[test]
    fn the_same_log_gives_the_same_choices(script in scripts(), nosy in any::<bool>()) {
        let run = |nosy: bool| {
            let mut session = Session::new([2_000, 3_000, 4_000]);
            let mut seen = Vec::new();
            for event in &script {
                play(&mut session, core::slice::from_ref(event), 0..3);
                if nosy {
                    // Questions change nothing.
                    drop(session.scheduler.explain(session.now.plus_ms(7)));
                    assert!(session.scheduler.deadline() > Time(0) && session.scheduler.live().count() > 0);
                }
                let choice = session.scheduler.choose(session.now, Class::Critical, 3);
                seen.push(choice.iter().map(|lane| lane.id).collect::<Vec<_>>());
            }
            (seen, session.switches, session.probes, session.scheduler.explain(session.now))
        };
        prop_assert_eq!(run(false), run(nosy));
    }

    #[test]
    fn a_dead_own_link_is_never_primary_while_another_route_is_up(script in scripts()) {
        let mut session = Session::new([2_000; 3]);
        for event in &script {
            play(&mut session, core::slice::from_ref(event), 0..3);
            let up = (0..3).any(|route| session.state(route) == PathState::Up);
            prop_assert!(!up || session.state(session.primary()) != PathState::Down);
        }
    }

    #[test]
    fn every_switch_is_in_the_log_in_order_with_its_evidence(script in scripts()) {
        let mut session = Session::new([2_000; 3]);
        play(&mut session, &script, 0..3);
        let explanation = session.scheduler.explain(session.now);
        prop_assert_eq!(explanation.switches_total, session.switches.len() as u64);
        let kept = session.switches.len().min(32);
        prop_assert_eq!(&explanation.switches[..], &session.switches[session.switches.len() - kept..]);
        prop_assert_eq!(explanation.primary, session.scheduler.primary().map(|id| id.0));
        for pair in session.switches.windows(2) {
            prop_assert_eq!(pair[1].from, Some(pair[0].to));
            if pair[1].reason == SwitchReason::Down {
                prop_assert!(pair[1].evidence.cause.is_some() && pair[1].evidence.down_ns.is_some());
            }
        }
    }
}
