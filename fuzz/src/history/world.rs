//! The chain of a history: states to begin with, blocks, transactions and the validators' reports.

use super::{checks, market};
use codec::Encode as _;
use frame_support::{
    dispatch::GetDispatchInfo as _,
    storage::{TransactionOutcome, with_transaction},
    traits::GetCallMetadata as _,
};
use serde_json::{Value, json};
use sp_core::storage::Storage;
use sp_runtime::{
    Digest, DigestItem, DispatchError, DispatchResult,
    generic::{CheckedExtrinsic, Era, ExtrinsicFormat},
    traits::{Applyable as _, Header as _},
    transaction_validity::TransactionValidityError,
};
use sp_state_machine::BasicExternalities;
use std::sync::LazyLock;
use x0_runtime::{
    AccountId, Balance, Executive, Hash, Header, Measurement, Runtime, RuntimeCall, System, TxExtension,
    UncheckedExtrinsic, genesis, presets,
};
use x0_types::{
    market::{Meter as _, Observation, Slot, pack_observations},
    receipt::report_commitment,
};

/// How many validators there are.
pub(crate) const VALIDATORS: u8 = 4;
const T0: u64 = 1_800_000_000_000;
const ROOT: Hash = Hash::repeat_byte(9);
const SALT: [u8; 32] = [7; 32];

/// The accounts of a history.
pub(crate) struct Cast {
    /// Who rents and provides: the first may use sudo, the last but one owns no vote, the last hardly any money.
    pub(crate) people: Vec<AccountId>,
    /// Controllers of the validators.
    pub(crate) validators: Vec<AccountId>,
    /// The accounts with which validators report.
    pub(crate) reporters: Vec<AccountId>,
    /// Subjects of the agents; each belongs to one of the people.
    pub(crate) nodes: Vec<AccountId>,
}

/// The accounts, made once: their keys take a while.
pub(crate) static CAST: LazyLock<Cast> = LazyLock::new(|| {
    let account = |name: &str, role| presets::dev_key(name, role).expect("development keys").account_id();
    let people = presets::DEV_ACCOUNTS.iter().chain(&["frank", "eve"]);
    Cast {
        people: people.map(|name| account(name, "account")).collect(),
        validators: presets::LOCAL_VALIDATORS.iter().map(|name| account(name, "account")).collect(),
        reporters: presets::LOCAL_VALIDATORS.iter().map(|name| account(name, "reporter")).collect(),
        nodes: (0..4).map(|n| account(&format!("node-{n}"), "agent")).collect(),
    }
});

/// Which of the people each node belongs to.
pub(crate) const PROVIDER_OF: [usize; 4] = [1, 1, 2, 3];
/// What the last of the people owns: enough for fees and hardly for anything else.
const POOR: u64 = 2_000_000_000;
/// What a stranger to governance owns.
const RICH: u64 = 1_000_000_000_000_000_000;

/// A state of the chain to begin with. It is a map: a history reads all of it after each block, which takes
/// three times as long from a trie.
#[derive(Clone)]
struct Base {
    state: Storage,
    world: World,
}

/// Genesis and nothing else.
static BARE: LazyLock<Base> = LazyLock::new(|| {
    let built = genesis::build(&config()).expect("a genesis");
    let world = World { head: built.hash, height: 0, now: T0, pending: Vec::new(), began: 0 };
    Base { state: Storage { top: built.entries.into_iter().collect(), ..Storage::default() }, world }
});

/// Nodes are listed and measured, and deals run.
static BUSY: LazyLock<Base> = LazyLock::new(|| {
    BARE.clone().advanced(|world| {
        world.begin(1_000);
        world.end();
        world.begin(1_000);
        market::open(world);
        world.end();
        for _ in 0..5 {
            world.begin(1_000);
            (0..VALIDATORS).for_each(|validator| world.commit(validator, 0, 1, false));
            world.end();
        }
    })
});

/// The network `local` with a superuser and some agents.
fn config() -> Value {
    let validators: Vec<_> =
        presets::LOCAL_VALIDATORS.iter().map(|name| presets::dev_validator(name).expect("keys")).collect();
    let mut config = presets::complete([
        presets::preset("local").expect("keys").expect("a preset"),
        presets::validators_patch(&validators),
        presets::time_patch(T0 - 1_000, 1_000),
        json!({ "sudo": { "key": CAST.people[0] }, "network": { "development": true } }),
    ])
    .expect("a configuration");
    let agents = CAST.nodes.iter().enumerate().map(|(n, subject)| {
        let public = presets::dev_key(&format!("node-{n}"), "agent").expect("development keys");
        json!({
            "subject": subject,
            "controller": CAST.people[PROVIDER_OF[n]],
            "endpoint": format!("10.0.0.{}:30400", n + 1),
            "keys": [{ "role": "agent", "public": public }],
        })
    });
    config["did"]["identities"].as_array_mut().expect("identities").extend(agents);
    let [.., frank, eve] = CAST.people.as_slice() else { panic!("people") };
    let strangers = [json!([frank, RICH]), json!([eve, POOR])];
    config["balances"]["balances"].as_array_mut().expect("balances").extend(strangers);
    config
}

/// Runs a history on one of the states to begin with.
pub(crate) fn with(base: u8, history: impl FnOnce(&mut World)) {
    let base = if base.is_multiple_of(4) { &BARE } else { &BUSY };
    Base::clone(base).advanced(history);
}

impl Base {
    /// The state after a history.
    fn advanced(mut self, history: impl FnOnce(&mut World)) -> Self {
        BasicExternalities::execute_with_storage(&mut self.state, || history(&mut self.world));
        self
    }
}

/// A report that was committed to and not shown yet.
#[derive(Clone)]
struct Pending {
    validator: u8,
    slot: Slot,
    packed: Vec<u8>,
}

/// The chain as it grows.
#[derive(Clone)]
pub(crate) struct World {
    head: Hash,
    height: u32,
    now: u64,
    pending: Vec<Pending>,
    /// Processor time at which the block began, nanoseconds.
    began: u64,
}

impl World {
    /// Begins a block this long after the last one, and shows the reports whose time it is.
    pub(crate) fn begin(&mut self, after_ms: u64) {
        self.began = checks::processor_time_ns();
        self.height += 1;
        self.now += after_ms;
        let author = &CAST.validators[self.height as usize % CAST.validators.len()];
        let logs = vec![DigestItem::PreRuntime(x0_types::account::PROPOSER_ENGINE_ID, author.encode())];
        let header = Header::new(self.height, Hash::zero(), Hash::zero(), self.head, Digest { logs });
        Executive::initialize_block(&header);
        let inherent = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: self.now });
        let set = Executive::apply_extrinsic(UncheckedExtrinsic::new_bare(inherent));
        set.expect("the time is a valid inherent").expect("and is taken");
        tell(|| format!("block {} in slot {}", self.height, Measurement::current_slot()));
        self.show_pending();
    }

    /// Ends the block and checks everything.
    pub(crate) fn end(&mut self) {
        self.head = Executive::finalize_block().hash();
        checks::speed(self.began);
        checks::state();
    }

    /// A transaction of this account with its next nonce. One that may not stand in the block leaves nothing.
    /// Says whether its call succeeded.
    pub(crate) fn transact(&mut self, who: &AccountId, call: RuntimeCall) -> bool {
        let (nonce, encoded, name) = (System::account_nonce(who), call.encode(), call.get_call_metadata());
        let format = ExtrinsicFormat::Signed(who.clone(), extension(nonce));
        let checked = CheckedExtrinsic { format, function: call };
        let done: Result<_, DispatchError> = with_transaction(|| match apply(checked, encoded) {
            Ok(done) => TransactionOutcome::Commit(Ok(Ok(done))),
            Err(invalid) => TransactionOutcome::Rollback(Ok::<_, DispatchError>(Err(invalid))),
        });
        let done = done.expect("transactions nest this deep");
        tell(|| format!("block {}: {}.{} of {who}: {done:?}", self.height, name.pallet_name, name.function_name));
        matches!(done, Ok(Ok(())))
    }

    /// A validator commits to a report on a slot. The low six bits of `seen` say what it saw of the nodes.
    pub(crate) fn commit(&mut self, validator: u8, slots_back: Slot, seen: u8, hides: bool) {
        let slot = Measurement::current_slot().saturating_sub(slots_back);
        let nodes = pallet_x0_measurement::NextIndex::<Runtime>::get();
        let observations: Vec<_> = (0..nodes).map(|node| observation(seen, node)).collect();
        let packed = pack_observations(&observations);
        let controller = &CAST.validators[usize::from(validator)];
        let commitment = report_commitment(controller, slot, &packed, &ROOT, &SALT);
        let reporter = CAST.reporters[usize::from(validator)].clone();
        let call = pallet_x0_measurement::Call::commit_report { slot, commitment };
        if self.transact(&reporter, call.into()) && !hides {
            self.pending.push(Pending { validator, slot, packed });
        }
    }

    fn show_pending(&mut self) {
        let open = pallet_x0_measurement::OpenSlots::<Runtime>::get();
        let is_due = |slot| open.iter().any(|open| open.slot == slot && open.revealing.is_some());
        let (due, rest): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|pending| is_due(pending.slot));
        self.pending = rest;
        for Pending { validator, slot, packed } in due {
            let Ok(observations) = packed.try_into() else { continue };
            let reporter = CAST.reporters[usize::from(validator)].clone();
            let reveal =
                pallet_x0_measurement::Call::reveal_report { slot, observations, receipts_root: ROOT, salt: SALT };
            self.transact(&reporter, reveal.into());
        }
    }
}

/// What a validator saw of a node.
fn observation(seen: u8, node: u32) -> Observation {
    match seen % 8 {
        0 | 1 => Observation::Up,
        2 => Observation::Down,
        3 => Observation::None,
        // Each node something else.
        _ => match seen.rotate_right(node) % 4 {
            0 => Observation::None,
            1 => Observation::Down,
            _ => Observation::Up,
        },
    }
}

/// What the executor does with a transaction after the check of its signature.
fn apply(
    checked: CheckedExtrinsic<AccountId, RuntimeCall, TxExtension>,
    encoded: Vec<u8>,
) -> Result<DispatchResult, TransactionValidityError> {
    let (info, length) = (checked.get_dispatch_info(), encoded.len());
    if !System::inherents_applied() {
        System::note_inherents_applied();
    }
    System::note_extrinsic(encoded);
    let result = checked.apply::<Runtime>(&info, length)?;
    System::note_applied_extrinsic(&result, info);
    Ok(result.map(|_| ()).map_err(|failed| failed.error))
}

/// Tells what happens to whoever looks into an input that failed: `X0_TELL=1 fuzz-history INPUT`.
fn tell(line: impl FnOnce() -> String) {
    static TELLS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("X0_TELL").is_some());
    if *TELLS {
        eprintln!("{}", line());
    }
}

fn extension(nonce: x0_types::Nonce) -> TxExtension {
    (
        frame_system::CheckNonZeroSender::<Runtime>::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckMortality::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_system::WeightReclaim::new(),
    )
}

/// What everybody owns together, base units.
pub(crate) static ISSUANCE: LazyLock<Balance> = LazyLock::new(|| {
    let mut state = BARE.state.clone();
    BasicExternalities::execute_with_storage(&mut state, pallet_balances::TotalIssuance::<Runtime>::get)
});
