//! Answers about a whole block that take long to compute: computed once, then shared.
//!
//! ```text
//!   call --> lock (async, in order of arrival) --> known? --> clone
//!                                                    | no
//!                                                    +--> blocking thread: compute, keep, unlock
//! ```
//!
//! # Correctness
//! * One computation runs at a time, whatever callers ask for and whether or not they wait for the
//!   answer: the lock moves onto the blocking thread with the work.
//! * A block's state never changes, so that an answer kept for a hash is right for ever.
//!
//! # Limits
//! The answers of the last [`RPC_ANSWERS_KEPT`] blocks asked about.

use crate::{error::RpcResult, node::Node};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::Mutex;
use x0_limits::RPC_ANSWERS_KEPT;
use x0_types::Hash;

/// The last answers, newest first.
type Kept<T> = VecDeque<(Hash, Arc<T>)>;

/// One kind of answer, by block.
#[derive(Debug)]
pub(crate) struct PerBlock<T> {
    kept: Arc<Mutex<Kept<T>>>,
}

impl<T> Default for PerBlock<T> {
    fn default() -> Self {
        Self { kept: Arc::new(Mutex::new(VecDeque::new())) }
    }
}

impl<T: Send + Sync + 'static> PerBlock<T> {
    /// The answer about a block, computed when nobody has asked for it before.
    pub(crate) async fn get<F>(&self, node: &Arc<Node>, block: Hash, compute: F) -> RpcResult<Arc<T>>
    where
        F: FnOnce(&Node) -> RpcResult<T> + Send + 'static,
    {
        let mut kept = self.kept.clone().lock_owned().await;
        if let Some((_, answer)) = kept.iter().find(|(hash, _)| *hash == block) {
            return Ok(answer.clone());
        }
        node.run(move |node| {
            let answer = Arc::new(compute(node)?);
            kept.push_front((block, answer.clone()));
            kept.truncate(RPC_ANSWERS_KEPT);
            Ok(answer)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeInfo;
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };
    use x0_executor::{Executor, Options};
    use x0_mempool::Mempool;
    use x0_storage::{Database, OpenOptions};

    /// A node at its genesis block.
    fn node(directory: &std::path::Path) -> Arc<Node> {
        let database = Database::open(directory, OpenOptions::default()).unwrap();
        let genesis = x0_chain_spec::ChainSpec::dev().unwrap().genesis_config().unwrap();
        let executor = Executor::new(database.clone(), &genesis, Options::default()).unwrap();
        let mempool = Mempool::new(executor.clone(), x0_mempool::Config::default()).unwrap();
        let text = String::new;
        let info = NodeInfo {
            chain: text(),
            network: text(),
            chain_type: text(),
            version: text(),
            peer_id: text(),
            validator: false,
            ss58_prefix: 42,
        };
        Arc::new(Node::new(executor, database, mempool, info, None))
    }

    fn block(number: u8) -> Hash {
        Hash::repeat_byte(number)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_callers_at_once_cost_one_computation_for_each_block() {
        let directory = tempfile::tempdir().unwrap();
        let node = node(directory.path());
        let answers = Arc::new(PerBlock::default());
        let (running, computed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let callers = (0..200u8).map(|caller| {
            let (node, answers) = (node.clone(), answers.clone());
            let (running, computed) = (running.clone(), computed.clone());
            tokio::spawn(async move {
                let wanted = caller % 2;
                let compute = move |_: &Node| {
                    assert_eq!(running.fetch_add(1, SeqCst), 0, "one at a time");
                    computed.fetch_add(1, SeqCst);
                    running.fetch_sub(1, SeqCst);
                    Ok(wanted)
                };
                assert_eq!(*answers.get(&node, block(wanted), compute).await.unwrap(), wanted);
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        assert_eq!(computed.load(SeqCst), 2);
        for newer in 2..10 {
            answers.get(&node, block(newer), move |_| Ok(newer)).await.unwrap();
        }
        assert_eq!(answers.kept.lock().await.len(), RPC_ANSWERS_KEPT, "old blocks' answers go");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_that_leaves_does_not_let_a_second_computation_in() {
        let directory = tempfile::tempdir().unwrap();
        let node = node(directory.path());
        let answers = Arc::new(PerBlock::default());
        let (go, gone) = mpsc::channel::<()>();
        let (begun, begin) = tokio::sync::oneshot::channel();
        let leaving = {
            let (node, answers) = (node.clone(), answers.clone());
            tokio::spawn(async move {
                let compute = move |_: &Node| {
                    begun.send(()).unwrap();
                    gone.recv().unwrap();
                    Ok("first")
                };
                answers.get(&node, block(1), compute).await
            })
        };
        begin.await.unwrap();
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        let mut second = Box::pin(answers.get(&node, block(1), |_| Ok("second")));
        assert!(futures::poll!(&mut second).is_pending(), "the first still computes");
        go.send(()).unwrap();
        assert_eq!(*second.await.unwrap(), "first");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_computation_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let node = node(directory.path());
        let answers = PerBlock::default();
        let failure = |_: &Node| Err(crate::error::error(1, "no"));
        assert!(answers.get(&node, block(1), failure).await.is_err());
        assert_eq!(*answers.get(&node, block(1), |_| Ok(7)).await.unwrap(), 7);
    }
}
