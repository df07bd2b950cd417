//! The engine's host: answers the twelve questions of the engine.
//!
//! The actor itself never waits for a block: it moves the reply into a task, and execution happens on the
//! chain's own thread. `StartedRound`, on which the engine's votes wait, is answered from memory.
//!
//! ```text
//!   GetValue ............ propose.rs   build, make durable, sign the opening, send the parts
//!   ReceivedProposalPart  receive.rs   assemble, execute, make durable, give the verdict
//!   ProcessSyncedValue .. receive.rs   the same for decided blocks of other nodes
//!   Decided, Finalized .. commit.rs    commit with a trimmed certificate; pace the next height
//!   GetDecidedValues .... commit.rs    read for others
//! ```

mod commit;
mod propose;
mod receive;
mod store;

use crate::{
    book::Book,
    candidates::{Candidates, Known},
    chain::{Chain, ChainError, Tip},
    config::EngineConfig,
    context::{BlockId, ChainContext, Height, proposer},
    evidence::EvidenceBox,
    fate::Fate,
    net::{Fabric, Outbox},
    pacing::Pacer,
    parts::Assembler,
    signer::ConsensusSigner,
    stats::Ledger,
};
use malachite_core_consensus::VoteExtensionError;
use malachite_core_types::{HeightParams, Round, Validator as _};
use malachite_engine::{host::HostMsg, network::NetworkRef};
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};

/// What all tasks of the host share.
pub(crate) struct Shared {
    pub chain: Arc<dyn Chain>,
    pub signer: ConsensusSigner,
    pub config: EngineConfig,
    pub book: Arc<Book>,
    pub pacer: Arc<Pacer>,
    pub network: NetworkRef<ChainContext>,
    pub outbox: Outbox,
    pub fabric: Arc<Fabric>,
    pub evidence: Arc<EvidenceBox>,
    pub ledger: Arc<Ledger>,
    pub tip: watch::Sender<Tip>,
    pub round: watch::Sender<(u64, u32)>,
    pub fate: Fate,
    pub assembler: Mutex<Assembler>,
    pub candidates: Mutex<Candidates>,
    /// Places for whole blocks that wait for their execution, and for those that wait for the block before.
    pub judging: Arc<Semaphore>,
    pub early: Arc<Semaphore>,
}

impl Shared {
    /// Loads what the database holds of the next height.
    pub(crate) async fn recover(&self) -> Result<(), ChainError> {
        let tip = self.chain.tip();
        self.book.refresh(self.chain.as_ref(), tip.height).await?;
        let height = tip.height.saturating_add(1);
        let stored = self.chain.stored(height).await?;
        let set = self.book.set(height);
        let known = stored
            .into_iter()
            .filter_map(|block| {
                let by_turn =
                    || set.as_ref().map(|set| *proposer(set, Height(height), Round::new(block.round)).address());
                let opening = store::Envelope::read(&block.bytes).ok()?.opening;
                let proposer = opening.map(|signed| signed.opening.proposer).or_else(by_turn)?;
                Some(Known { round: block.round, proposer, block: BlockId(block.hash), valid: block.valid })
            })
            .collect();
        self.candidates.lock().load(height, known);
        Ok(())
    }

    /// What the engine needs to start a height.
    async fn params(&self, height: u64) -> Result<HeightParams<ChainContext>, ChainError> {
        let set = match self.book.set(height) {
            Some(set) => set,
            None => {
                self.book.refresh(self.chain.as_ref(), self.chain.tip().height).await?;
                self.book.set(height).ok_or(crate::context::ValidatorSetError::Empty)?
            }
        };
        Ok(HeightParams::new(set, self.config.timeouts, None))
    }

    /// Whether to look at this block: its round is near, and its proposer has not announced too much.
    fn announce(&self, height: u64, round: u32, block: BlockId) -> bool {
        let now = *self.round.borrow();
        self.candidates.lock().announce(now, height, round, block)
    }

    /// Waits until the head is at least this high.
    async fn until_head(&self, height: u64) {
        let mut tip = self.tip.subscribe();
        // The sender lives as long as this.
        let _ = tip.wait_for(|tip| tip.height >= height).await;
    }

    fn halt(&self, reason: String) {
        self.fate.halt(reason);
    }

    fn fail(&self, reason: &str) {
        self.fate.fail(reason);
    }
}

/// The host actor.
pub(crate) struct Host;

#[async_trait::async_trait]
impl Actor for Host {
    type Msg = HostMsg<ChainContext>;
    type State = Arc<Shared>;
    type Arguments = Arc<Shared>;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, shared: Arc<Shared>) -> Result<Arc<Shared>, ActorProcessingErr> {
        Ok(shared)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Arc<Shared>,
    ) -> Result<(), ActorProcessingErr> {
        // A reply whose receiver is gone belongs to a height that the engine has left.
        let shared = Arc::clone(state);
        match message {
            HostMsg::ConsensusReady { reply_to } => {
                tokio::spawn(async move {
                    let height = shared.chain.tip().height.saturating_add(1);
                    match shared.params(height).await {
                        Ok(params) => drop(reply_to.send((Height(height), params))),
                        Err(error) => shared.fail(&format!("no validator set for height {height}: {error}")),
                    }
                });
            }
            HostMsg::StartedRound { height, round, reply_to, .. } => {
                let round = round.as_u32().unwrap_or(0);
                shared.round.send_replace((height.0, round));
                let values = shared.candidates.lock().values(height, round);
                let _ = reply_to.send(values);
            }
            HostMsg::GetValue { height, round, timeout, reply_to } => {
                tokio::spawn(propose::get_value(shared, height, round, timeout, reply_to));
            }
            HostMsg::RestreamValue { height, value_id, .. } => {
                tokio::spawn(propose::restream(shared, height, value_id));
            }
            HostMsg::ReceivedProposalPart { from, part, reply_to, .. } => {
                receive::part(&shared, from, part, reply_to).await;
            }
            HostMsg::ProcessSyncedValue { height, round, value_bytes, reply_to, .. } => {
                tokio::spawn(receive::synced(shared, height, round, value_bytes, reply_to));
            }
            HostMsg::Decided { certificate, reply_to, .. } => {
                tokio::spawn(commit::decided(shared, certificate, reply_to));
            }
            HostMsg::Finalized { certificate, evidence, reply_to, .. } => {
                tokio::spawn(commit::finalized(shared, certificate.height.0, evidence, reply_to));
            }
            HostMsg::GetDecidedValues { range, reply_to } => {
                tokio::spawn(commit::decided_values(shared, range, reply_to));
            }
            HostMsg::GetHistoryMinHeight { reply_to } => {
                let _ = reply_to.send(Height(shared.chain.history_start()));
            }
            HostMsg::ExtendVote { reply_to, .. } => {
                let _ = reply_to.send(None);
            }
            HostMsg::VerifyVoteExtensions { extensions, reply_to, .. } => {
                // No height of this chain asks for extensions.
                let refused = extensions
                    .into_iter()
                    .map(|(address, ())| (address, Err(VoteExtensionError::InvalidVoteExtension)))
                    .collect();
                let _ = reply_to.send(refused);
            }
        }
        Ok(())
    }
}
