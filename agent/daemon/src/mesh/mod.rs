//! The agent's part in a mesh: when it runs, with whom, and what it says of itself.
//!
//! ```text
//!   agent.toml --[mesh]--> Plan ----+
//!   Follower --each finalised block-+--> view::resolve --> Plane (data thread, tunnel, kernel filter)
//!   clock: view too old ------------+                        |
//!   x0-agent status | peers | paths | capture | reload <-----+--> metrics
//! ```
//!
//! # Correctness
//! * A stranger is a peer only while a running deal in a finalised block of the pinned chain says so, and while that
//!   view is not older than its life. A deal's end closes links and sessions before anything else of the block is read.
//! * Peers of the file stay whatever the chain says or whether it answers.
//! * A view that cannot be applied leaves the one before in force, and the status says so.
//!
//! # Limits
//! Those of `x0_mesh::node` and of [`settings`]. One mesh at a time: a node without `mesh.name` serves the mesh of its
//! oldest running deal, and warns of deals for others.

mod chain;
pub mod parse;
pub mod plan;
pub mod plane;
pub mod report;
pub mod settings;
pub mod view;
pub mod wire;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, watch};
use x0_agent_core::DealView;
use x0_client::{Client, ClientError, Head, rpc_types::did::Identity};
use x0_crypto::SigningKey;
use x0_limits::AGENT_VIEW_LIFE_MS;
use x0_mesh::node::Peer;
use x0_types::AccountId;

use self::{
    chain::Reader,
    plan::Plan,
    plane::{Plane, PlaneError},
    view::Facts,
};

/// How often the age of the view is looked at.
const TICK: Duration = Duration::from_millis(500);

/// The agent's part in a mesh; clones are the same.
#[derive(Clone)]
pub struct MeshService(Arc<Inner>);

struct Inner {
    key: SigningKey,
    genesis: [u8; 32],
    me: AccountId,
    /// Only the follower reads the chain, one block after the other.
    reader: Mutex<Reader>,
    state: Mutex<State>,
    ended: watch::Sender<Option<String>>,
}

struct State {
    plan: Plan,
    plane: Option<Plane>,
    /// What is known of the chain, and when it was read.
    facts: Option<(Facts, Instant)>,
    /// What the plane was told last.
    peers: Vec<Peer>,
    height: u64,
    warnings: Vec<String>,
    /// Why the plane does not run or did not take the last view.
    failure: Option<String>,
}

impl State {
    /// What may be used of the chain: after the view's life no deal, only keys.
    fn usable_facts(&self) -> Option<(Facts, bool)> {
        let (facts, read) = self.facts.as_ref()?;
        let fresh = read.elapsed() <= Duration::from_millis(AGENT_VIEW_LIFE_MS);
        let deals = if fresh { facts.deals.clone() } else { Vec::new() };
        Some((Facts { deals, ..facts.clone() }, fresh))
    }
}

impl MeshService {
    /// Takes part in the plan's mesh; in that of the node's deals once there is one, if the plan names none.
    ///
    /// # Errors
    /// [`PlaneError`] when the data plane of a named mesh does not start.
    pub async fn start(plan: Plan, key: SigningKey, genesis: [u8; 32], me: AccountId) -> Result<Self, PlaneError> {
        let state =
            State { plan, plane: None, facts: None, peers: Vec::new(), height: 0, warnings: Vec::new(), failure: None };
        let inner = Inner {
            key,
            genesis,
            me,
            reader: Mutex::default(),
            state: Mutex::new(state),
            ended: watch::channel(None).0,
        };
        let service = Self(Arc::new(inner));
        service.0.apply(&mut *service.0.state.lock().await).await?;
        Ok(service)
    }

    /// Looks after the age of the view and the life of the data thread until it is dropped.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            let mut state = self.0.state.lock().await;
            if state.plane.as_ref().is_some_and(Plane::has_ended)
                && let Some(plane) = state.plane.take()
            {
                let reason =
                    plane.stop().await.err().map_or_else(|| "without a reason".into(), |error| error.to_string());
                tracing::error!(reason, "the data thread ended");
                state.failure = Some(reason.clone());
                self.0.ended.send_replace(Some(reason));
                return;
            }
            self.0.apply_or_note(&mut state).await;
        }
    }

    /// Waits until the data thread has ended by itself, and says why.
    pub async fn ended(&self) -> String {
        let mut ended = self.0.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes over a finalised block: what ended is closed before anybody's identity is read.
    ///
    /// # Errors
    /// Those of the client; what was taken over before the error stays.
    pub async fn follow(
        &self,
        client: &Client,
        head: Head,
        own: Option<&Identity>,
        on_this_node: &[DealView],
    ) -> Result<(), ClientError> {
        let me = &self.0.me;
        let deals = chain::running_deals(client, head, me, own, on_this_node).await?;
        let (mut people, mut wanted) = {
            let mut state = self.0.state.lock().await;
            let people = state.facts.take().map(|(facts, _)| facts.people).unwrap_or_default();
            let facts = Facts { height: head.number, deals: deals.clone(), people: people.clone() };
            state.facts = Some((facts, Instant::now()));
            self.0.apply_or_note(&mut state).await;
            let configured: BTreeSet<AccountId> = state.plan.peers.iter().map(|peer| peer.account.clone()).collect();
            (people, configured)
        };
        wanted.extend(deals.iter().flat_map(|deal| deal.agents.iter().chain([&deal.node])).cloned());
        wanted.remove(me);
        let rented: BTreeSet<AccountId> = deals.iter().map(|deal| deal.node.clone()).collect();
        self.0.reader.lock().await.refresh(client, head, &wanted, &rented, &mut people).await?;
        let mut state = self.0.state.lock().await;
        state.facts = Some((Facts { height: head.number, deals, people }, Instant::now()));
        self.0.apply_or_note(&mut state).await;
        Ok(())
    }

    /// Takes over peers, rules and the filter's lists of another plan without touching sessions that stay. Gives the
    /// fields that differ and need a restart.
    ///
    /// # Errors
    /// [`PlaneError`]; the plan before goes on.
    pub async fn reload(&self, plan: Plan) -> Result<Vec<&'static str>, PlaneError> {
        let mut state = self.0.state.lock().await;
        let fixed = state.plan.fixed_differences(&plan);
        let old = state.plan.clone();
        let next = Plan {
            mesh_id: old.mesh_id,
            name: old.name.clone(),
            tunnel: old.tunnel.clone(),
            underlays: old.underlays.clone(),
            filter: old.filter,
            priority: old.priority,
            lock_memory: old.lock_memory,
            job_threads: old.job_threads,
            ..plan
        };
        if let Some(plane) = &state.plane {
            plane.set_rules(&next).await?;
        }
        state.plan = next;
        self.0.apply(&mut state).await?;
        Ok(fixed)
    }

    /// Stops the data plane.
    pub async fn stop(&self) {
        let plane = self.0.state.lock().await.plane.take();
        if let Some(plane) = plane {
            stop(plane).await;
        }
    }
}

async fn stop(plane: Plane) {
    match plane.stop().await {
        Ok(report) => tracing::info!(jobs_dropped = report.jobs_dropped, "the mesh has stopped"),
        Err(error) => tracing::error!(%error, "the mesh had ended before"),
    }
}

impl Inner {
    async fn apply_or_note(&self, state: &mut State) {
        match self.apply(state).await {
            Ok(()) => state.failure = None,
            Err(error) => {
                let reason = error.to_string();
                if state.failure.as_ref() != Some(&reason) {
                    tracing::error!(reason, "the mesh does not take the view");
                }
                state.failure = Some(reason);
            }
        }
    }

    /// Brings the data plane in line with what is known.
    async fn apply(&self, state: &mut State) -> Result<(), PlaneError> {
        let usable = state.usable_facts();
        let facts = usable.as_ref().map(|(facts, _)| facts);
        let wanted = view::mesh_of(&state.plan, &self.me, facts);
        if state.plane.as_ref().is_some_and(|plane| Some(plane.mesh_id) != wanted)
            && let Some(plane) = state.plane.take()
        {
            tracing::info!(mesh = plane::hex(&plane.mesh_id), "no deal is left for this mesh");
            stop(plane).await;
            state.peers = Vec::new();
        }
        let Some(mesh_id) = wanted else {
            state.warnings = Vec::new();
            return Ok(());
        };
        let view::Resolved { peers, warnings } = view::resolve(&state.plan, &self.me, &mesh_id, facts);
        // The height never goes back, although a view that is too old is set aside.
        state.height = state.height.max(facts.map_or(0, |facts| facts.height));
        state.warnings = warnings;
        if let Some((_, false)) = usable {
            state.warnings.push("the chain has not been read for too long: nobody is admitted by deals".to_owned());
        }
        match &state.plane {
            None => {
                let plane =
                    Plane::start(&state.plan, &self.key, (self.genesis, mesh_id), (state.height, peers.clone()));
                state.plane = Some(plane.await?);
                state.peers = peers;
            }
            Some(plane) if state.peers != peers => {
                tracing::info!(height = state.height, peers = peers.len(), "peers of the mesh");
                plane.set_peers(state.height, peers.clone()).await?;
                state.peers = peers;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a chain strangers go after the view's life; keys of configured peers stay.
    #[test]
    fn a_view_that_is_too_old_admits_nobody_and_keeps_keys() {
        let key = SigningKey::generate().unwrap().public().clone();
        let account = AccountId::new([3; 32]);
        let deal =
            view::RunningDeal { id: 1, node: account.clone(), mesh: [1; 32], agents: vec![AccountId::new([4; 32])] };
        let person = view::Person { key, endpoint: None, score_ppm: 0 };
        let facts = Facts { height: 9, deals: vec![deal], people: [(account, person)].into() };
        let plan = settings::MeshSection::default().plan(([127, 0, 0, 1], 1).into()).unwrap();
        let mut state =
            State { plan, plane: None, facts: None, peers: Vec::new(), height: 0, warnings: Vec::new(), failure: None };
        assert_eq!(state.usable_facts(), None);
        state.facts = Some((facts.clone(), Instant::now()));
        assert_eq!(state.usable_facts(), Some((facts.clone(), true)));
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_millis(AGENT_VIEW_LIFE_MS + 1)) else {
            panic!("this machine was started a minute ago")
        };
        state.facts = Some((facts.clone(), long_ago));
        assert_eq!(state.usable_facts(), Some((Facts { deals: Vec::new(), ..facts }, false)));
    }
}
