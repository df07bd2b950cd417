//! Each call and hook at its largest.

use crate::{
    Cost, Measured,
    world::{
        DEALS, SLOT_MS, T0, VALIDATORS, World, account, agent, bid, confirm_call, dispatch, filler, key, list, offer,
        rent, request, validator,
    },
};
use codec::Encode;
use frame_support::traits::Hooks;
use sp_runtime::MultiAddress;
use x0_crypto::statement::{Statement, Vote, VoteKind};
use x0_runtime::{Janitor, Marketplace, Measurement, Runtime, RuntimeCall, RuntimeOrigin, System, Validators};
use x0_types::{
    KeyRole, MlDsa65Signature,
    account::UNIT,
    deal::DealTerms,
    evidence::{Evidence, SignedBody, Step},
    market::{MarketHooks, Meter, Verdict},
};

/// Measures everything.
pub fn all(world: &World) -> Vec<Measured> {
    [
        balances(world),
        did(world),
        validators(world),
        evidence(world),
        measurement(world),
        marketplace(world),
        janitor(world),
    ]
    .concat()
}

fn fixed(pallet: &'static str, function: &'static str, picoseconds: u64) -> Measured {
    Measured { pallet, function, cost: Cost::Fixed(picoseconds) }
}

/// A line through two measurements; a negative slope (noise) counts as none.
fn linear(
    pallet: &'static str,
    function: &'static str,
    unit: &'static str,
    low: (u64, u64),
    high: (u64, u64),
) -> Measured {
    let slope = high.1.saturating_sub(low.1).div_ceil(high.0 - low.0);
    let base = low.1.saturating_sub(slope.saturating_mul(low.0));
    Measured { pallet, function, cost: Cost::Linear(base, vec![(unit, slope)]) }
}

fn balances(world: &World) -> Vec<Measured> {
    let to = |who| MultiAddress::Id(who);
    let stranger = x0_types::AccountId::new([9; 32]);
    let call = |call: pallet_balances::Call<Runtime>| world.time_call("alice", &RuntimeCall::from(call));
    vec![
        fixed(
            "balances",
            "transfer_keep_alive",
            call(pallet_balances::Call::transfer_keep_alive { dest: to(filler(7)), value: UNIT }),
        ),
        fixed(
            "balances",
            "transfer_allow_death",
            call(pallet_balances::Call::transfer_allow_death { dest: to(stranger.clone()), value: UNIT }),
        ),
        fixed(
            "balances",
            "transfer_all",
            call(pallet_balances::Call::transfer_all { dest: to(stranger), keep_alive: false }),
        ),
    ]
}

fn did(world: &World) -> Vec<Measured> {
    let revoke = |subject, role| pallet_x0_did::Call::revoke_key { subject, role }.into();
    let endpoint = b"[2001:0db8:0000:0000:0000:0000:0000:0002]:65535".to_vec().try_into().unwrap();
    vec![
        fixed("did", "register_account_key", world.time_call("charlie", &world.register_account_key("charlie"))),
        fixed("did", "rotate_account_key", world.time_call("bob", &world.rotate_account_key("bob"))),
        fixed("did", "register_agent", world.time_call("charlie", &world.register_agent("charlie", 99))),
        fixed("did", "add_key", world.time_call("charlie", &world.add_key("charlie", KeyRole::Reporter))),
        fixed("did", "rotate_key", world.time_call("bob", &world.rotate_agent_key("bob", 0))),
        fixed("did", "revoke_key", world.time_call("dave", &revoke(account("dave"), KeyRole::Reporter))),
        fixed(
            "did",
            "set_endpoint",
            world.time_call("bob", &pallet_x0_did::Call::set_endpoint { subject: agent(0), endpoint }.into()),
        ),
        fixed(
            "did",
            "revoke",
            world.time_call("dave", &pallet_x0_did::Call::revoke { subject: account("dave") }.into()),
        ),
    ]
}

fn set_validators(count: u32) -> RuntimeCall {
    let members: Vec<_> = (1..=count).map(|number| (validator(number), 2)).collect();
    pallet_x0_validators::Call::set_validators { validators: members.try_into().unwrap() }.into()
}

fn validators(world: &World) -> Vec<Measured> {
    const P: &str = "validators";
    let max = u64::from(VALIDATORS);
    let set = |count| {
        let call = set_validators(count);
        world.time("set_validators", || (), move || dispatch(RuntimeOrigin::root(), call.clone()))
    };
    let change = |count| {
        let (small, controller) = (set_validators(count), validator(1));
        let prepare = move || dispatch(RuntimeOrigin::root(), small.clone()).unwrap();
        let call: RuntimeCall = pallet_x0_validators::Call::set_power { controller, power: 7 }.into();
        world.time("set_power", prepare, move || dispatch(RuntimeOrigin::root(), call.clone()))
    };
    let hook = |count: Option<u32>| {
        let call = count.map(set_validators);
        let next = world.executor.head().number + 1;
        let prepare = move || call.iter().for_each(|call| dispatch(RuntimeOrigin::root(), call.clone()).unwrap());
        world.time("validators' hooks", prepare, move || {
            Validators::on_finalize(next);
            System::set_block_number(next + x0_limits::VALIDATOR_SET_DELAY_BLOCKS);
            Validators::on_initialize(next + x0_limits::VALIDATOR_SET_DELAY_BLOCKS);
            Ok(())
        })
    };
    // Opening a proposal writes its call; later approvals only compare it.
    let open = |count| {
        let call = set_validators(count);
        let bytes = u64::try_from(call.encoded_size()).unwrap();
        let call = pallet_x0_validators::Call::approve { number: 0, call: Box::new(call) }.into();
        (bytes, world.time_call("validator-1", &call))
    };
    let readmit = {
        let controller = validator(1);
        let call: RuntimeCall = pallet_x0_validators::Call::readmit { controller: controller.clone() }.into();
        let prepare = move || assert_eq!(Validators::bar(&controller), Ok(true));
        world.time("readmit", prepare, move || dispatch(RuntimeOrigin::root(), call.clone()))
    };
    vec![
        linear(P, "approve", "n", open(1), open(VALIDATORS)),
        fixed(P, "candidate", readmit),
        linear(P, "set_validators", "n", (1, set(1)), (max, set(VALIDATORS))),
        linear(P, "change_one", "n", (1, change(1)), (max, change(VALIDATORS))),
        fixed(P, "idle_hook", hook(None)),
        // From the largest set to one validator, so many spans of keys end; a member that takes the place
        // of another ends one and begins one.
        linear(P, "change_hook", "n", (1, hook(Some(VALIDATORS))), (max, 2 * hook(Some(1)))),
    ]
}

fn evidence(world: &World) -> Vec<Measured> {
    let key = key("validator-1", "consensus");
    let height = world.executor.head().number;
    let says = |block| {
        let voter = key.public().fingerprint();
        let vote = Vote { kind: VoteKind::Precommit, height: height.into(), round: 0, block, voter };
        let statement = Statement::from(vote);
        let signature = statement.sign(&key, &world.executor.genesis_hash().0).unwrap();
        SignedBody { body: statement.body().try_into().unwrap(), signature: MlDsa65Signature(signature.to_boxed()) }
    };
    let (first, second) = (says(None), says(Some([1; 32])));
    let evidence = Evidence { validator: validator(1), height, round: 0, step: Step::Precommit, first, second };
    let call = pallet_x0_evidence::Call::report { evidence: Box::new(evidence) }.into();
    vec![fixed("evidence", "report", world.time_call("bob", &call))]
}

/// Full reports of all validators on a slot.
fn report_all(slot: u64) {
    let observations = vec![0b0101_0101; usize::try_from(x0_limits::OBSERVATION_BYTES_MAX).unwrap()];
    for number in 1..=VALIDATORS {
        let report = pallet_x0_measurement::Report {
            observations: observations.clone().try_into().unwrap(),
            receipts_root: Default::default(),
        };
        pallet_x0_measurement::Reports::<Runtime>::insert(slot, validator_cached(number), report);
    }
    let since = (slot.saturating_add(1), 0);
    let open =
        pallet_x0_measurement::OpenSlot { slot, commits: VALIDATORS, reveals: VALIDATORS, revealing: Some(since) };
    pallet_x0_measurement::OpenSlots::<Runtime>::put(sp_runtime::BoundedVec::truncate_from(vec![open]));
}

/// Deriving a hundred keys takes longer than what is measured.
fn validator_cached(number: u32) -> x0_types::AccountId {
    static ALL: std::sync::LazyLock<Vec<x0_types::AccountId>> =
        std::sync::LazyLock::new(|| (0..=VALIDATORS).map(validator).collect());
    ALL[usize::try_from(number).unwrap()].clone()
}

fn measurement(world: &World) -> Vec<Measured> {
    const P: &str = "measurement";
    let reporter = crate::world::public(&crate::world::key("validator-1", "reporter")).account_id();
    let now_slot = world.read(|| Measurement::slot_of(x0_runtime::Timestamp::get()));
    let controller = validator(1);
    let salt = [1; 32];
    let commitment = move |packed: &[u8]| {
        x0_types::receipt::report_commitment(&controller, now_slot, packed, &Default::default(), &salt)
    };
    let commit = {
        let call: RuntimeCall =
            pallet_x0_measurement::Call::commit_report { slot: now_slot, commitment: commitment(&[]) }.into();
        let reporter = reporter.clone();
        world.time("commit_report", || (), move || dispatch(RuntimeOrigin::signed(reporter.clone()), call.clone()))
    };
    let reveal = |bytes: u32| {
        let packed = vec![0b0101_0101; usize::try_from(bytes).unwrap()];
        let hash = commitment(&packed);
        let call: RuntimeCall = pallet_x0_measurement::Call::reveal_report {
            slot: now_slot,
            observations: packed.try_into().unwrap(),
            receipts_root: Default::default(),
            salt,
        }
        .into();
        let reporter = reporter.clone();
        let prepare = move || {
            pallet_x0_measurement::NextIndex::<Runtime>::put(x0_limits::MEASURED_NODES_MAX);
            let revealing = Some((now_slot, 0));
            let open = pallet_x0_measurement::OpenSlot { slot: now_slot, commits: 1, reveals: 0, revealing };
            pallet_x0_measurement::OpenSlots::<Runtime>::put(sp_runtime::BoundedVec::truncate_from(vec![open]));
            let commitment = pallet_x0_measurement::Commitment { hash, mismatched: false };
            pallet_x0_measurement::Commitments::<Runtime>::insert(now_slot, validator(1), commitment);
        };
        world.time("reveal_report", prepare, move || dispatch(RuntimeOrigin::signed(reporter.clone()), call.clone()))
    };
    let next = world.executor.head().number + 1;
    // Closing one slot with `nodes` nodes, whose reports stand if `reported`; the time has moved on.
    let close = |nodes: u32, reported: bool| {
        let prepare = move || {
            for number in 0..nodes {
                Measurement::enrol(&filler(number), &filler(number)).unwrap();
            }
            if reported {
                report_all(now_slot);
            }
            pallet_timestamp::Now::<Runtime>::put(T0 + (now_slot + 3) * SLOT_MS);
        };
        world.time("closing a slot", prepare, move || {
            // Work that does not fit one block is done as further blocks would.
            for block in 0..64 {
                Measurement::on_initialize(next + block);
                if pallet_x0_measurement::Closing::<Runtime>::get().is_none() {
                    return Ok(());
                }
            }
            Err("the slot does not close".to_owned())
        })
    };
    // Four nodes are listed, so one unit of node work is always there.
    let nodes = x0_limits::MEASURED_NODES_MAX - 64;
    let units = u64::from(nodes / x0_limits::NODES_PER_SLOT_WORK_UNIT);
    let (idle, loaded, full) = (close(0, false), close(0, true), close(nodes, true));
    let loads = loaded.saturating_sub(idle);
    // A unit also covers a verdict that is not UP on a node with its full number of deals.
    let unit = (full.saturating_sub(loaded).div_ceil(units)).max(verdict(world));
    vec![
        fixed(P, "commit_report", commit),
        linear(P, "reveal_report", "bytes", (0, reveal(0)), (1_024, reveal(1_024))),
        Measured { pallet: P, function: "close", cost: Cost::Linear(idle, vec![("loads", loads), ("units", unit)]) },
    ]
}

/// The verdict that ends all deals of a node with its full number of them: the last of a fail run.
fn verdict(world: &World) -> u64 {
    let (slot, before_last) = down_run(world);
    world.time("a verdict", before_last, move || {
        down(slot);
        Ok(())
    })
}

fn down(slot: u64) {
    Marketplace::verdict(slot, &agent(3), Verdict::Down, &[0xff; 13], VALIDATORS);
}

/// The slot of the last verdict of a fail run, and the verdicts before it.
fn down_run(world: &World) -> (u64, impl Fn() + use<>) {
    let first = world.read(Measurement::closed_slot) + 1;
    let last = first + u64::from(x0_limits::FAIL_RUN_SLOTS) - 1;
    (last, move || (first..last).for_each(down))
}

fn marketplace(world: &World) -> Vec<Measured> {
    use pallet_x0_marketplace::Call;
    const P: &str = "marketplace";
    let [free, _, _] = world.listings;
    let update = Call::update_listing { listing: free, offer: offer(b'y') };
    let terms: RuntimeCall = Call::set_parameters { expected: DealTerms::default(), new: DealTerms::default() }.into();
    let call = |function, who, call: RuntimeCall| fixed(P, function, world.time_call(who, &call));
    vec![
        call("list", "bob", list(agent(0))),
        call("update_listing", "bob", update.into()),
        call("retire", "bob", Call::retire { listing: free }.into()),
        call("rent", "charlie", world.read(|| rent(free))),
        call("confirm", "bob", confirm_call(world.funded)),
        call("settle", "dave", Call::settle { deal: world.active }.into()),
        call("cancel", "charlie", Call::cancel { deal: world.active }.into()),
        call("request", "charlie", request()),
        call("bid", "bob", bid(world.asked, world.bidder)),
        call("accept", "charlie", Call::accept { request: world.asked, bid: 0 }.into()),
        call("withdraw_request", "charlie", Call::withdraw_request { request: world.asked }.into()),
        call("set_agents", "charlie", Call::set_agents { deal: world.active, agents: Default::default() }.into()),
        call("refresh_listing", "dave", Call::refresh_listing { listing: free }.into()),
        call("block", "charlie", Call::block { account: account("bob") }.into()),
        fixed(
            P,
            "set_parameters",
            world.time("set_parameters", || (), move || dispatch(RuntimeOrigin::root(), terms.clone())),
        ),
        fixed(P, "slot_unit", slot_unit(world)),
        fixed(P, "verdict", verdict(world)),
    ]
}

/// One of the deals that end together with their term.
fn slot_unit(world: &World) -> u64 {
    let end = world.read(|| {
        let deal = pallet_x0_marketplace::Deals::<Runtime>::get(world.active).unwrap();
        deal.run.unwrap().end_slot
    });
    world.time(
        "closing a deal's last slot",
        || (),
        || {
            let work = Marketplace::slot_closed(end, 1);
            if work.used == 1 { Ok(()) } else { Err(format!("{work:?}")) }
        },
    )
}

fn janitor(world: &World) -> Vec<Measured> {
    const P: &str = "janitor";
    let next = world.executor.head().number + 1;
    let retry: RuntimeCall = pallet_x0_janitor::Call::retry { deal: world.funded }.into();
    let hook = move || {
        Janitor::on_initialize(next);
        Ok(())
    };
    let idle = world.time("janitor, idle", || (), hook);
    // All deals of a node fail in the block before, and the janitor pays them out.
    let (slot, before_last) = down_run(world);
    let failed = move || {
        before_last();
        down(slot);
        System::set_block_number(next + 1);
    };
    let all = world.time("janitor, failed deals", failed, move || {
        let waiting = pallet_x0_janitor::Fifo::<Runtime>::iter_keys().count();
        Janitor::on_initialize(next + 1);
        let left = pallet_x0_janitor::Fifo::<Runtime>::iter_keys().count();
        if (waiting, left) == (usize::try_from(DEALS).unwrap(), 0) { Ok(()) } else { Err(format!("{waiting}, {left}")) }
    });
    vec![
        fixed(P, "on_initialize_base", idle),
        fixed(P, "entry", all.saturating_sub(idle).div_ceil(u64::from(DEALS))),
        fixed(P, "retry", world.time("retry", || (), move || dispatch(RuntimeOrigin::root(), retry.clone()))),
    ]
}
