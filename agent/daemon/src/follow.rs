//! Following the chain: enrolment and admissions as of each finalised block, and connecting again when
//! the line breaks.

use std::time::Duration;

use futures::StreamExt;
use tokio::sync::watch;
use x0_agent_core::{ChainView, DealView, Event, Phase, ViewOutcome};
use x0_agent_io::{SharedAgent, SystemClock};
use x0_client::{
    Client, ClientError, Endpoint, Head,
    rpc_types::market::{Deal, DealFilter},
};
use x0_crypto::PublicKey;
use x0_limits::{AGENT_RECONNECT_MS_MAX, AGENT_RECONNECT_MS_MIN, AGENT_SILENCE_MS_MAX};
use x0_types::{AccountId, Hash, KeyRole, deal::DealState};

use crate::mesh::MeshService;

/// What the follower knows of its line, for the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Whether the last request was answered.
    pub connected: bool,
    /// The last finalised block that was read.
    pub height: Option<u64>,
    /// Times the line was opened again.
    pub reconnects: u64,
    /// What broke the line last.
    pub last_error: Option<String>,
}

/// Follows the chain on behalf of one agent.
pub struct Follower {
    /// Where the node is; its genesis is pinned.
    pub endpoint: Endpoint,
    /// The agent.
    pub agent: SharedAgent,
    /// The agent's key on this machine.
    pub key: PublicKey,
    /// The clock that the responder uses too.
    pub clock: SystemClock,
    /// Where the status reads the line's state.
    pub line: watch::Sender<Line>,
    /// Who else takes over each view.
    pub mesh: Option<MeshService>,
}

impl Follower {
    /// Follows for ever, starting with an open line; `first` is told once the first view is in.
    pub async fn run(self, client: Client, first: tokio::sync::oneshot::Sender<()>) {
        let mut first = Some(first);
        let mut client = Some(client);
        let mut waits = Backoff::new(&self.key);
        loop {
            let broken = match client.take() {
                Some(client) => self.follow(&client, &mut first, &mut waits).await,
                None => match Client::connect(&self.endpoint).await {
                    Ok(opened) => {
                        self.line.send_modify(|line| line.reconnects = line.reconnects.saturating_add(1));
                        tracing::info!(url = %self.endpoint.url, "connected to the node again");
                        client = Some(opened);
                        continue;
                    }
                    Err(error) => error,
                },
            };
            let wait = waits.next_wait();
            tracing::warn!(error = %broken, wait_ms = wait.as_millis(), "the line to the node broke; connecting again");
            self.line.send_modify(|line| {
                line.connected = false;
                line.last_error = Some(broken.to_string());
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows until the line breaks; gives what broke it.
    async fn follow(
        &self,
        client: &Client,
        first: &mut Option<tokio::sync::oneshot::Sender<()>>,
        waits: &mut Backoff,
    ) -> ClientError {
        let mut heads = match client.follow().await {
            Ok(heads) => heads,
            Err(error) => return error,
        };
        loop {
            // The head is asked for anew each time: notices that queued up while the last view was
            // read lead to one view, that of the newest block.
            let read = match client.finalised_head().await {
                Ok(head) => self.read(client, head).await.map(|()| head),
                Err(error) => Err(error),
            };
            match read {
                Ok(head) => {
                    waits.reset();
                    self.line.send_modify(|line| {
                        line.connected = true;
                        line.height = Some(head.number);
                    });
                    if let Some(first) = first.take() {
                        // Whoever waits for it may be gone: the agent is stopping then.
                        let _ = first.send(());
                    }
                }
                Err(error) => return error,
            }
            let silence = Duration::from_millis(AGENT_SILENCE_MS_MAX);
            match tokio::time::timeout(silence, heads.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return error,
                Ok(None) => {
                    let method = "chain_subscribeFinalizedHeads".to_owned();
                    return ClientError::Transport { method, reason: "the node ended the subscription".into() };
                }
                // No block for long: the next request finds out whether the node is still there.
                Err(_) => {}
            }
        }
    }

    /// Reads one view of the chain and gives it to the agent.
    async fn read(&self, client: &Client, head: Head) -> Result<(), ClientError> {
        let node = self.agent.lock().node().clone();
        let identity = client.identity_at(&node, Some(head.hash)).await?;
        let enrolled = identity.as_ref().is_some_and(|identity| {
            let own = Hash::from(self.key.fingerprint());
            !identity.revoked && identity.keys.iter().any(|key| key.role == KeyRole::Agent && key.fingerprint == own)
        });
        let filter = DealFilter { node: Some(node.clone()), live: true, ..DealFilter::default() };
        let deals = client.deals_at(&filter, Some(head.hash)).await?;
        let height = u32::try_from(head.number).map_err(|_| decode("a height beyond 32 bits"))?;
        let view = ChainView { height, deals: deals.into_iter().map(deal_view).collect::<Result<_, _>>()? };
        self.enrol(enrolled, &node);
        self.observe(&view);
        if let Some(mesh) = &self.mesh {
            mesh.follow(client, head, identity.as_ref(), &view.deals).await?;
        }
        Ok(())
    }

    /// Tells the agent whether the chain knows it. The listener is open already, so an agent that is
    /// enrolled serves.
    fn enrol(&self, enrolled: bool, node: &AccountId) {
        let mut agent = self.agent.lock();
        let before = agent.phase();
        let event = if enrolled { Event::Enrolled } else { Event::Revoked };
        // Once the agent is stopped, what the chain says is of no interest any more.
        let Ok(mut phase) = agent.handle(event) else { return };
        if phase == Phase::Enrolled
            && let Ok(serving) = agent.handle(Event::ListenerReady)
        {
            phase = serving;
        }
        drop(agent);
        if phase != before {
            tracing::info!(%node, from = before.name(), to = phase.name(), "phase");
        }
    }

    fn observe(&self, view: &ChainView) {
        let now = self.clock.now().monotonic_ms;
        let outcome = self.agent.lock().observe(view, now);
        match outcome {
            Ok(ViewOutcome::Taken { changed: true }) => {
                let admissions = self.agent.lock().admissions(now).to_vec();
                let deals: Vec<_> = admissions.iter().map(|admission| admission.deal).collect();
                let agents: usize = admissions.iter().map(|admission| admission.agents.len()).sum();
                tracing::info!(height = view.height, ?deals, agents, "admission list");
            }
            Ok(ViewOutcome::Taken { changed: false }) => tracing::debug!(height = view.height, "view of the chain"),
            Ok(ViewOutcome::Older { newest }) => {
                tracing::warn!(height = view.height, newest, "the node went back in time")
            }
            Err(error) => tracing::error!(height = view.height, %error, "the node's view of the chain is not credible"),
        }
    }
}

fn decode(reason: impl Into<String>) -> ClientError {
    ClientError::Decode { what: "a deal of this node".into(), reason: reason.into() }
}

/// What the agent needs of a deal.
///
/// # Errors
/// [`ClientError::Decode`] for a state that is not known, or a deal without a manifest.
pub fn deal_view(deal: Deal) -> Result<DealView, ClientError> {
    let state: DealState = serde_json::from_value(serde_json::Value::String(deal.state.clone()))
        .map_err(|_| decode(format!("unknown state `{}`", deal.state)))?;
    let manifest = deal.manifest.ok_or_else(|| decode(format!("deal {} has no manifest", deal.id)))?;
    Ok(DealView { id: deal.id.0, node: deal.node, state, mesh: manifest.mesh, agents: manifest.agents })
}

/// Waits that double from [`AGENT_RECONNECT_MS_MIN`] to [`AGENT_RECONNECT_MS_MAX`], each shortened by up
/// to half, differently for each agent, so that a node that comes back is not overrun at one moment.
struct Backoff {
    seed: [u8; 32],
    attempt: u32,
}

impl Backoff {
    fn new(key: &PublicKey) -> Self {
        Self { seed: key.fingerprint(), attempt: 0 }
    }

    fn reset(&mut self) {
        self.attempt = 0;
    }

    fn next_wait(&mut self) -> Duration {
        let doubled = AGENT_RECONNECT_MS_MIN.saturating_mul(1u64.checked_shl(self.attempt.min(32)).unwrap_or(u64::MAX));
        let longest = doubled.min(AGENT_RECONNECT_MS_MAX);
        self.seed = x0_crypto::blake2b_256(&self.seed);
        self.attempt = self.attempt.saturating_add(1);
        let share = u64::from(self.seed[0]);
        Duration::from_millis(longest - longest / 2 * share / 255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x0_crypto::SigningKey;

    #[test]
    fn waits_grow_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new(SigningKey::generate().unwrap().public());
        let (least, most) =
            (Duration::from_millis(AGENT_RECONNECT_MS_MIN / 2), Duration::from_millis(AGENT_RECONNECT_MS_MAX));
        let waits: Vec<_> = (0..60).map(|_| backoff.next_wait()).collect();
        assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{waits:?}");
        assert!(waits[0] <= Duration::from_millis(AGENT_RECONNECT_MS_MIN));
        assert!(waits[59] >= most / 2, "{waits:?}");
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(AGENT_RECONNECT_MS_MIN));
    }

    #[test]
    fn two_agents_do_not_come_back_at_the_same_moment() {
        let waits = |key: &SigningKey| {
            let mut backoff = Backoff::new(key.public());
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_ne!(waits(&SigningKey::generate().unwrap()), waits(&SigningKey::generate().unwrap()));
    }
}
