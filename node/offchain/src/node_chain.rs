//! The node's own chain, behind the worker's view of it.

use crate::{
    chain::{Asked, Chain, ChainError, Gate, Message, Promise, Showing, Target},
    clock::SlotClock,
    endpoint,
};
use bytes::Bytes;
use codec::Encode;
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use sp_runtime::{MultiAddress, generic::Era};
use std::sync::Arc;
use x0_crypto::{PublicKey, SigningKey};
use x0_executor::{Executor, Head};
use x0_mempool::{Mempool, SubmitError};
use x0_runtime::{ChainSignature, Measurement, Runtime, SignedPayload, TxExtension, UncheckedExtrinsic};
use x0_types::{
    AccountId, Hash, KeyRole, MlDsa65PublicKey, MlDsa65Signature, Moment, Nonce,
    deal::ServiceCheck,
    market::{DealId, Identities, Meter as _, SlaObserver as _, Slot},
};

/// Executor, mempool and the key that signs reports.
#[derive(Clone)]
pub struct NodeChain(Arc<Inner>);

struct Inner {
    executor: Executor,
    mempool: Mempool,
    key: SigningKey,
    public: MlDsa65PublicKey,
    reporter: AccountId,
}

impl NodeChain {
    /// The chain of this node, with the validator's key in role Reporter.
    #[must_use]
    pub fn new(executor: Executor, mempool: Mempool, reporter_key: SigningKey) -> Self {
        let public = MlDsa65PublicKey(reporter_key.public().clone().to_boxed());
        let reporter = public.account_id();
        Self(Arc::new(Inner { executor, mempool, key: reporter_key, public, reporter }))
    }

    /// The account that sends the reports.
    #[must_use]
    pub fn reporter(&self) -> &AccountId {
        &self.0.reporter
    }

    /// Reads the state of the head.
    pub(crate) fn read<R>(&self, f: impl FnOnce() -> R) -> Result<(Head, R), ChainError> {
        let head = self.0.executor.head();
        Ok((head, self.0.executor.with_state(head.hash, f)?))
    }

    /// The executor.
    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    /// The mempool.
    pub(crate) fn mempool(&self) -> &Mempool {
        &self.0.mempool
    }

    /// A call as a short-lived transaction of the reporter's account, with the next nonce.
    pub(crate) fn signed(&self, call: x0_runtime::RuntimeCall) -> Result<Bytes, ChainError> {
        let inner = &self.0;
        let (head, (version, state_nonce)) =
            self.read(|| (x0_runtime::apis::version(), x0_runtime::apis::account_nonce(inner.reporter.clone())))?;
        let nonce = inner.mempool.next_nonce(&inner.reporter, state_nonce);
        let era = Era::mortal(x0_limits::REPORT_ERA_BLOCKS, head.number.into());
        let birth = x0_types::BlockNumber::try_from(era.birth(head.number.into())).unwrap_or(head.number);
        let birth_hash = inner.executor.database().hash_of(birth).ok_or(ChainError::MissingBlock(birth))?;
        let implicit = (
            (),
            version.spec_version,
            version.transaction_version,
            inner.executor.genesis_hash(),
            birth_hash,
            (),
            (),
            (),
            (),
        );
        let payload = SignedPayload::from_raw(call.clone(), extension(nonce, era), implicit).encode();
        let signature = ChainSignature::MlDsa65 {
            public: inner.public.clone(),
            signature: MlDsa65Signature(inner.key.sign_transaction(&payload)?.to_boxed()),
        };
        let address = MultiAddress::Id(inner.reporter.clone());
        Ok(UncheckedExtrinsic::new_signed(call, address, signature, extension(nonce, era)).encode().into())
    }
}

impl Chain for NodeChain {
    fn genesis_hash(&self) -> Hash {
        self.0.executor.genesis_hash()
    }

    fn slot_clock(&self) -> Result<SlotClock, ChainError> {
        let (_, clock) = self.read(|| SlotClock {
            genesis_time_ms: pallet_x0_measurement::GenesisTimeMs::<Runtime>::get(),
            slot_ms: pallet_x0_measurement::SlotMs::<Runtime>::get(),
        })?;
        if clock.slot_ms == 0 { Err(ChainError::NoSlots) } else { Ok(clock) }
    }

    fn targets(&self) -> Result<Vec<Target>, ChainError> {
        let (_, targets) = self.read(|| Measurement::targets().into_iter().map(target).collect())?;
        Ok(targets)
    }

    fn validator(&self) -> Result<Option<AccountId>, ChainError> {
        let (_, validator) = self.read(|| Measurement::validator_of(&self.0.reporter))?;
        Ok(validator)
    }

    fn duties(&self, slots: &[Slot]) -> Result<(Vec<Showing>, Vec<Asked>), ChainError> {
        let (_, duties) = self.read(|| {
            let Some(validator) = Measurement::validator_of(&self.0.reporter) else {
                return (vec![Showing::Settled; slots.len()], Vec::new());
            };
            let asked = Measurement::challenges_of(&validator).into_iter();
            let asked = asked.map(|(challenge, wanted)| Asked { challenge, slot: wanted.slot, index: wanted.index });
            (slots.iter().map(|slot| showing(&validator, *slot)).collect(), asked.collect())
        })?;
        Ok(duties)
    }

    fn waits(&self, transaction: &Hash) -> bool {
        self.0.mempool.contains(transaction)
    }

    fn heads(&self) -> BoxStream<'static, ()> {
        let heads = self.0.executor.subscribe_heads();
        futures::stream::unfold(heads, |mut heads| async move { heads.changed().await.ok().map(|()| ((), heads)) })
            .boxed()
    }

    fn gate(&self, slot: Slot, now_ms: Moment) -> Result<Gate, ChainError> {
        let (_, gate) = self.read(|| gate(&self.0.reporter, slot, now_ms))?;
        Ok(gate)
    }

    fn sign(&self, message: Message) -> Result<Bytes, ChainError> {
        use pallet_x0_measurement::Call;
        let call = match message {
            Message::Commit { slot, commitment } => Call::commit_report { slot, commitment },
            Message::Reveal { slot, observations, receipts_root, salt } => {
                let (bytes, max) = (observations.len(), x0_limits::OBSERVATION_BYTES_MAX);
                let observations = observations.try_into().map_err(|_| ChainError::TooManyNodes { bytes, max })?;
                Call::reveal_report { slot, observations, receipts_root, salt }
            }
            Message::Answer { challenge, proof } => Call::answer_challenge { challenge, proof },
            Message::Complain { deal, window, breach } => Call::complain { deal, window, breach },
        };
        self.signed(call.into())
    }

    fn submit(&self, transaction: Bytes) -> BoxFuture<'_, Result<Hash, SubmitError>> {
        Box::pin(self.0.mempool.submit_local(transaction))
    }
}

fn extension(nonce: Nonce, era: Era) -> TxExtension {
    (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(era),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_system::WeightReclaim::new(),
    )
}

/// Runs inside the state.
fn target((index, node): (x0_types::market::NodeIndex, AccountId)) -> Target {
    let endpoint = pallet_x0_did::Identities::<Runtime>::get(&node)
        .filter(|identity| !identity.revoked)
        .and_then(|identity| identity.endpoint)
        .and_then(|text| endpoint::parse(&text));
    let key = <x0_runtime::Did as Identities<AccountId>>::key(&node, KeyRole::Agent);
    let deals = pallet_x0_marketplace::DealsOfNode::<Runtime>::get(&node);
    let checks = deals.iter().flat_map(|deal| checks(*deal)).fold(Vec::new(), |mut all, check| {
        if !all.contains(&check) {
            all.push(check);
        }
        all
    });
    let promises = deals.iter().filter_map(|deal| promise(*deal)).collect();
    Target { index, node, endpoint, key: key.map(|key| PublicKey::from(key.0)), checks, promises }
}

/// What a deal's manifest declares, once the node had time to serve it. Runs inside the state.
fn checks(deal: DealId) -> Vec<ServiceCheck> {
    let confirmed = pallet_x0_marketplace::Deals::<Runtime>::get(deal)
        .filter(|deal| deal.state.is_running())
        .and_then(|deal| deal.run)
        .map(|run| run.confirmed_slot);
    let begun = confirmed
        .is_some_and(|slot| slot.saturating_add(x0_limits::SERVICE_CHECK_GRACE_SLOTS) <= Measurement::current_slot());
    if !begun {
        return Vec::new();
    }
    pallet_x0_marketplace::Manifests::<Runtime>::get(deal)
        .map(|manifest| manifest.checks.into_inner())
        .unwrap_or_default()
}

/// Runs inside the state.
fn promise(deal: DealId) -> Option<Promise> {
    let promise = x0_runtime::Marketplace::promise(deal)?;
    Some(Promise {
        deal,
        round_trip_ms_max: promise.round_trip_ms_max,
        throughput_kbps_min: promise.throughput_kbps_min,
        first_slot: promise.first_slot,
    })
}

/// How far this validator's report on a slot has come. Runs inside the state.
fn showing(validator: &AccountId, slot: Slot) -> Showing {
    use pallet_x0_measurement::{ClosedSlot, Commitments, OpenSlots, Reports};
    if slot <= ClosedSlot::<Runtime>::get() || Reports::<Runtime>::contains_key(slot, validator) {
        return Showing::Settled;
    }
    let is_open = OpenSlots::<Runtime>::get().iter().any(|open| open.slot == slot && open.revealing.is_some());
    match (Commitments::<Runtime>::contains_key(slot, validator), is_open) {
        (true, true) => Showing::Open,
        (true, false) => Showing::Hidden,
        (false, true) => Showing::Settled,
        (false, false) => Showing::Uncommitted,
    }
}

/// Runs inside the state. The same rules as the call's, so that no report is sent in vain: a refused
/// one costs its fee.
fn gate(reporter: &AccountId, slot: Slot, now_ms: Moment) -> Gate {
    let Some(controller) = Measurement::validator_of(reporter) else { return Gate::NoReporter };
    match showing(&controller, slot) {
        Showing::Uncommitted => {}
        Showing::Hidden | Showing::Open => return Gate::AlreadyReported,
        Showing::Settled if pallet_x0_measurement::Reports::<Runtime>::contains_key(slot, &controller) => {
            return Gate::AlreadyReported;
        }
        Showing::Settled => return Gate::TooLate,
    }
    let counting = pallet_x0_measurement::Closing::<Runtime>::get().map_or(0, |closing| closing.slot);
    let later = pallet_x0_measurement::OpenSlots::<Runtime>::get();
    let is_passed = later.iter().any(|open| open.slot >= slot && open.revealing.is_some());
    // The next block closes by its parent's time, and judges the commitment by its own.
    let last_open = slot.saturating_add(1).saturating_add(x0_limits::REPORT_GRACE_SLOTS);
    let parent_slot = Measurement::slot_of(x0_runtime::Timestamp::get());
    if slot == 0
        || slot <= counting
        || is_passed
        || parent_slot >= last_open
        || Measurement::slot_of(now_ms) > last_open
    {
        return Gate::TooLate;
    }
    Gate::Open
}
