//! The lab's scenarios with the counts of `make test`; `x0-lab run` and `make soak` run larger ones.

use std::time::Duration;
use x0_lab::scenarios::{clocks, crashes, disks, equivocation, handshakes, manual, partitions, upgrade, wide_area};

/// Fails with the scenario's account, prints its figures otherwise.
#[allow(clippy::panic, reason = "a test reports by panicking")]
fn run(scenario: impl Future<Output = anyhow::Result<x0_lab::scenarios::Figures>>) {
    let runtime = tokio::runtime::Runtime::new();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(scenario)) {
        Ok(figures) => println!("{figures:#?}"),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn twenty_kills_lose_nothing_and_sign_nothing_twice() {
    run(crashes::kills(20, 1));
}

#[test]
fn a_power_cut_everywhere_loses_nothing() {
    run(crashes::power_cut(2, 2));
}

#[test]
fn a_frozen_validator_does_not_stop_the_others_and_comes_back() {
    run(crashes::frozen(3));
}

#[test]
fn three_of_four_go_on_without_the_fourth() {
    run(partitions::three_one(4));
}

#[test]
fn two_of_four_halt_and_the_heal_ends_it() {
    run(partitions::two_two(5));
}

#[test]
fn one_way_cuts_and_flapping_wires_do_no_harm() {
    run(partitions::one_way_and_flapping(6));
}

#[test]
fn cities_apart_finalise() {
    run(wide_area::cities(7));
}

#[test]
fn a_full_disk_stops_one_validator_which_comes_back() {
    run(disks::full(8));
}

#[test]
fn a_failing_disk_stops_one_validator_before_it_signs() {
    run(disks::failing(9));
}

#[test]
fn a_validator_without_its_chain_gets_it_back() {
    run(disks::wiped(30, 10));
}

#[test]
fn a_wrong_clock_does_not_move_the_chains_time() {
    run(clocks::skewed(11));
}

#[test]
fn a_twin_of_a_validator_is_proved_guilty_and_nobody_else() {
    run(equivocation::twin(12));
}

#[test]
fn a_storm_of_handshakes_costs_no_link_and_no_block() {
    run(handshakes::storm(13, Duration::from_secs(4)));
}

#[test]
fn the_operators_manual_is_followed_command_by_command() {
    run(manual::manual(14));
}

#[test]
fn new_rules_come_while_programs_change_one_after_the_other() {
    run(upgrade::rolling(15));
}
