//! From one version of the rules to the next, on a chain that decides for itself.

use super::chain::{Chain, controller, signer};
use crate::{
    Runtime, RuntimeCall, RuntimeEvent,
    migrations::{self, Migration},
    network, presets,
    version::{FIRST_SPEC, SPEC_VERSION},
};
use frame_support::{
    traits::{GetStorageVersion, StorageVersion},
    weights::Weight,
};
use sp_runtime::DispatchError;
use std::cell::RefCell;
use x0_limits::{UPGRADE_NOTICE_BLOCKS_MAX, UPGRADE_NOTICE_BLOCKS_MIN};

type Network = network::Pallet<Runtime>;

fn schedule(spec_version: u32, height: u32) -> RuntimeCall {
    network::Call::schedule_upgrade { spec_version, height }.into()
}

/// Three of the four validators approve; gives the result of the call.
fn decide(chain: &mut Chain, number: u32, call: &RuntimeCall) -> Result<(), DispatchError> {
    for n in 0..3 {
        let approve = pallet_x0_validators::Call::approve { number, call: Box::new(call.clone()) };
        chain.call(&controller(n), approve).unwrap();
    }
    let executed = |event| match event {
        RuntimeEvent::Validators(pallet_x0_validators::Event::ProposalExecuted { result, .. }) => Some(result),
        _ => None,
    };
    chain.events().into_iter().find_map(executed).expect("three of four carry it out")
}

fn migrated(chain: &mut Chain) -> Vec<(u32, u32, u32)> {
    let of = |event| match event {
        RuntimeEvent::Network(network::Event::Migrated { from, to, migrations }) => Some((from, to, migrations)),
        _ => None,
    };
    chain.events().into_iter().filter_map(of).collect()
}

/// The validators announce the next version, the chain switches at the height, its migration runs in
/// that block and in no other, and everything goes on.
#[test]
fn validators_upgrade_the_chain_and_the_migration_runs_once() {
    let mut chain = Chain::local();
    let alice = signer("alice");
    let height = 3 + UPGRADE_NOTICE_BLOCKS_MIN;
    decide(&mut chain, 0, &schedule(SPEC_VERSION, height)).unwrap();
    while chain.height < height - 1 {
        chain.block(Vec::new());
        assert_eq!(migrated(&mut chain), vec![]);
    }
    let layout = |chain: &mut Chain| chain.read(Network::on_chain_storage_version);
    assert_eq!(layout(&mut chain), StorageVersion::new(1));
    assert_eq!(chain.read(|| crate::apis::version().spec_version), SPEC_VERSION, "the next block is of the new rules");
    chain.block(Vec::new());
    assert_eq!(migrated(&mut chain), vec![(FIRST_SPEC, SPEC_VERSION, 1)]);
    assert_eq!(layout(&mut chain), StorageVersion::new(2));
    for _ in 0..3 {
        chain.call(&alice, frame_system::Call::remark { remark: vec![1] }).unwrap();
        assert_eq!(migrated(&mut chain), vec![]);
    }
    assert_eq!(decide(&mut chain, 1, &schedule(SPEC_VERSION, 100)), Err(network::Error::<Runtime>::NotNewer.into()));
}

/// A network that begins under the newer rules has their layout from the start.
#[test]
fn a_chain_that_begins_under_new_rules_migrates_nothing() {
    let mut chain = Chain::begun_under(SPEC_VERSION);
    for _ in 0..3 {
        chain.block(Vec::new());
        assert_eq!(migrated(&mut chain), vec![]);
    }
    assert_eq!(chain.read(network::ActiveSpec::<Runtime>::get), SPEC_VERSION);
}

/// These tests know a version more than ordinary builds, as the next release will; the development
/// chain's first block is for it what `x0-chain-spec` pins.
#[test]
fn a_newer_binary_finds_the_same_first_block() {
    const KNOWN: &str = "0xd5a9b3ebcec5fb7154da0a921cc1f5633ac4a7d4e8f2cdb4e62d4fa64cd5c7d3";
    const { assert!(SPEC_VERSION > FIRST_SPEC) };
    let config = presets::complete([
        presets::preset("dev").unwrap().unwrap(),
        presets::validators_patch(&[presets::dev_validator(presets::DEV_VALIDATOR).unwrap()]),
        presets::time_patch(1_767_225_600_000, x0_limits::SLOT_MS_DEV),
    ])
    .unwrap();
    assert_eq!(format!("{:?}", crate::genesis::build(&config).unwrap().hash), KNOWN);
}

/// An upgrade leaves time to install it, and is planned, not typed wrongly; one at a time.
#[test]
fn announcements_keep_their_bounds() {
    use network::Error;
    let mut chain = Chain::local();
    let cancel: RuntimeCall = network::Call::cancel_upgrade {}.into();
    let next = SPEC_VERSION + 1;
    let mut number = 0;
    let mut decided = |call: RuntimeCall| {
        let result = decide(&mut chain, number, &call);
        number += 1;
        result
    };
    assert_eq!(decided(cancel.clone()), Err(Error::<Runtime>::NothingScheduled.into()));
    // These are decided in block 6, 9 and 12.
    let (notice, most) = (UPGRADE_NOTICE_BLOCKS_MIN, UPGRADE_NOTICE_BLOCKS_MAX);
    assert_eq!(decided(schedule(next, 6 + notice - 1)), Err(Error::<Runtime>::TooEarly.into()));
    assert_eq!(decided(schedule(next, 9 + most + 1)), Err(Error::<Runtime>::TooLate.into()));
    decided(schedule(next, 12 + notice)).unwrap();
    assert_eq!(decided(schedule(next, 200)), Err(Error::<Runtime>::UpgradePending.into()));
    decided(cancel).unwrap();
    decided(schedule(next, 200)).unwrap();
}

/// A jump over several versions runs the migrations of all of them, in order, and each asks for the
/// layout that it knows.
#[test]
fn migrations_run_in_order_and_on_the_layout_that_they_know() {
    thread_local!(static RAN: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) });
    fn note(from: u16) -> Weight {
        migrations::step::<Network>(from, from + 1, || {
            RAN.with_borrow_mut(|ran| ran.push(from));
            Weight::from_parts(1, 0)
        })
    }
    let all = [
        Migration { name: "to 2", spec: 2, run: || note(1) },
        Migration { name: "to 3", spec: 3, run: || note(2) },
        Migration { name: "of a lost layout", spec: 3, run: || note(7) },
        Migration { name: "to 5", spec: 5, run: || note(3) },
    ];
    let ran = || RAN.with_borrow_mut(std::mem::take);
    Chain::local().read(|| {
        assert_eq!(migrations::run(&all, 1, 1), (0, Weight::zero()));
        assert_eq!(migrations::run(&all, 1, 4), (3, Weight::from_parts(2, 0)));
        assert_eq!(ran(), vec![1, 2], "the one of another layout does nothing");
        assert_eq!(migrations::run(&all, 4, 5).0, 1);
        assert_eq!(ran(), vec![3]);
        assert_eq!(Network::on_chain_storage_version(), StorageVersion::new(4));
    });
}
