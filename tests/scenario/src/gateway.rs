//! A gateway before an agent that lets only so many callers through in a slot: a node with too thin a line.

use anyhow::{Context, Result};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{ledger::prefix, rpc::Rpc};

/// The chain's slots, read from its state.
#[derive(Clone, Copy, Debug)]
pub struct SlotTimes {
    genesis_ms: u64,
    slot_ms: u64,
}

impl SlotTimes {
    /// Reads when slots began and how long one is.
    pub async fn read(rpc: &Rpc) -> Result<Self> {
        let mut times = [0; 2];
        for (time, item) in times.iter_mut().zip(["GenesisTimeMs", "SlotMs"]) {
            let stored = rpc.storage(&prefix("Measurement", item), None).await?;
            let bytes: [u8; 8] = stored.with_context(|| format!("no {item}"))?.as_slice().try_into()?;
            *time = u64::from_le_bytes(bytes);
        }
        let [genesis_ms, slot_ms] = times;
        Ok(Self { genesis_ms, slot_ms })
    }

    fn now(&self) -> Result<u64> {
        let now_ms = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        Ok(now_ms.saturating_sub(self.genesis_ms) / self.slot_ms)
    }
}

/// The gateway; it closes when dropped.
#[derive(Debug)]
pub struct Gateway {
    callers_max: Arc<AtomicUsize>,
    task: JoinHandle<Result<()>>,
}

impl Gateway {
    /// Listens on a port of this machine and passes callers on to the agent's address, all of them at first.
    pub async fn start(port: u16, agent: String, slots: SlotTimes) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("bind port {port}"))?;
        let callers_max = Arc::new(AtomicUsize::new(usize::MAX));
        let task = tokio::spawn(pass(listener, agent, slots, Arc::clone(&callers_max)));
        Ok(Self { callers_max, task })
    }

    /// From now on at most so many callers come through in each slot; the others are cut off at once.
    pub fn limit(&self, callers_max: usize) {
        self.callers_max.store(callers_max, Ordering::SeqCst);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(listener: TcpListener, agent: String, slots: SlotTimes, callers_max: Arc<AtomicUsize>) -> Result<()> {
    let (mut slot, mut passed) = (0, 0);
    let mut lines = JoinSet::new();
    loop {
        let (mut caller, _) = listener.accept().await?;
        while lines.try_join_next().is_some() {}
        let now = slots.now()?;
        if now != slot {
            (slot, passed) = (now, 0);
        }
        if passed >= callers_max.load(Ordering::SeqCst) {
            continue;
        }
        passed += 1;
        let agent = agent.clone();
        lines.spawn(async move {
            let mut to = TcpStream::connect(agent).await?;
            copy_bidirectional(&mut caller, &mut to).await
        });
    }
}
