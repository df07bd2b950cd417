//! Transactions of everything but the market, and wrappers around any.

use super::{Reader, market, world::CAST};
use pallet_x0_governance::Call as Ballots;
use pallet_x0_owners::Call as Registry;
use pallet_x0_trust::Call as Trusting;
use sp_runtime::{
    BoundedVec, MultiAddress,
    traits::{BlakeTwo256, Hash as _},
};
use x0_runtime::{AccountId, Hash, Measurement, Runtime, RuntimeCall, System};
use x0_types::{
    account::UNIT,
    deal::{DealTerms, PriceTerms},
    governance::{SealedVote, TrackId},
    market::{Meter as _, SlaBreach},
    trust::Severity,
};

/// Somebody and a call; half of all kinds are of the market.
pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    match kind {
        0..190 => market::read(reader),
        190..200 => owners(reader),
        200..222 => (anybody(reader), ballot(reader)),
        222..230 => {
            // The auditors of the busy market.
            let who =
                if reader.byte() < 200 { CAST.people[2 + reader.below(2) as usize].clone() } else { anybody(reader) };
            (who, trust(reader))
        }
        230..236 => measuring(reader),
        236..240 => (anybody(reader), money(reader)),
        // The superuser of a development network, or somebody who would like to be.
        240..250 => {
            let call = Box::new(decided(reader));
            let who = if reader.byte() < 230 { CAST.people[0].clone() } else { anybody(reader) };
            (who, pallet_sudo::Call::sudo { call }.into())
        }
        // Without the superuser: refused, by the call or by the filter.
        250..252 => (anybody(reader), decided(reader)),
        _ => wrapped(reader),
    }
}

/// Calls in a batch, all of one account.
fn wrapped(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    let ((who, first), (_, second)) = (market::read(reader), market::read(reader));
    let calls = vec![first, second];
    let call = match reader.below(3) {
        0 => pallet_utility::Call::batch { calls },
        1 => pallet_utility::Call::batch_all { calls },
        _ => pallet_utility::Call::force_batch { calls },
    };
    (who, call.into())
}

fn anybody(reader: &mut Reader<'_>) -> AccountId {
    let all = CAST.people.len() + CAST.validators.len();
    let n = reader.below(all as u64) as usize;
    CAST.people.iter().chain(&CAST.validators).nth(n).expect("fewer than all").clone()
}

/// Mostly the last of so many, sometimes another one or the one that comes next.
fn recent(reader: &mut Reader<'_>, next: u32) -> u32 {
    match reader.byte() {
        0..180 => next.saturating_sub(1),
        back => u32::from(back) % (next + 1),
    }
}

fn validator(reader: &mut Reader<'_>) -> AccountId {
    CAST.validators[reader.below(CAST.validators.len() as u64) as usize].clone()
}

fn owners(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    let who = if reader.byte() < 120 { CAST.people[CAST.people.len() - 2].clone() } else { anybody(reader) };
    let others = (0..reader.below(3)).map(|n| CAST.reporters[n as usize].clone());
    let accounts = BoundedVec::truncate_from(std::iter::once(who.clone()).chain(others).collect());
    let motion = recent(reader, pallet_x0_owners::NextMotion::<Runtime>::get());
    let evidence = Hash::repeat_byte(1);
    match reader.below(8) {
        0 | 1 => (who, Registry::apply { accounts, evidence }.into()),
        2 => (who, Registry::apply_change { accounts, evidence }.into()),
        3 => (validator(reader), Registry::accuse { owner: reader.below(9) as u32, evidence }.into()),
        4..7 => {
            let found = pallet_x0_owners::Motions::<Runtime>::get(motion);
            let digest = found.map_or(evidence, |motion| motion.digest);
            (validator(reader), Registry::attest { motion, digest }.into())
        }
        _ => (who, Registry::withdraw { motion }.into()),
    }
}

fn ballot(reader: &mut Reader<'_>) -> RuntimeCall {
    let next = pallet_x0_governance::NextProposal::<Runtime>::get();
    let open = pallet_x0_governance::Proposals::<Runtime>::iter().filter(|(_, proposal)| {
        use pallet_x0_governance::ProposalState::{Committing, Confirming, Contested, Deciding, Passed, Revealing};
        let state = &proposal.state;
        matches!(state, Deciding | Confirming { .. } | Committing | Revealing { .. } | Passed { .. } | Contested)
    });
    let proposal = match open.map(|(id, _)| id).max() {
        Some(open) if reader.byte() < 200 => open,
        _ => recent(reader, next),
    };
    let track = reader.pick(&TrackId::ALL);
    let votes = (reader.byte() % 12) as i8 - 4;
    let sealed = SealedVote { proposal, owner: reader.below(9) as u32, votes, spam: votes == -4, salt: [3; 32] };
    match reader.below(13) {
        0..3 => {
            let (call, delay_slots) = (Box::new(decided(reader)), reader.below(3));
            // The calls below are mostly parameters.
            let track = if reader.flag() { TrackId::Parameters } else { track };
            Ballots::propose { track, call, delay_slots, dry_run: None }
        }
        3..7 => Ballots::vote { proposal, votes, spam: sealed.spam, reason: None },
        7 => {
            let hash = BlakeTwo256::hash(&sealed.preimage(&System::block_hash(0)));
            Ballots::commit_vote { proposal, hash }
        }
        8 => Ballots::reveal_vote { vote: sealed },
        9 => Ballots::delegate { track, to: sealed.owner },
        10 => Ballots::undelegate { track },
        11 => Ballots::contest { proposal },
        _ if reader.flag() => Ballots::withdraw { proposal },
        _ => Ballots::kill { proposal },
    }
    .into()
}

fn trust(reader: &mut Reader<'_>) -> RuntimeCall {
    let node = CAST.nodes[reader.below(4) as usize].clone();
    let hash = Hash::repeat_byte(reader.byte() % 2);
    match reader.below(6) {
        0 => Trusting::bond_auditor { amount: 1_000 * UNIT + reader.number() % UNIT },
        1 | 2 => Trusting::audit {
            node,
            tier: reader.pick(&[1, 2, 3, 1, 2, 3, 0, 255]),
            measurement: hash,
            quote: None,
            evidence: hash,
        },
        3 => Trusting::withdraw_audit { node },
        4 => Trusting::retire_auditor {},
        _ => Trusting::forget_audits { node },
    }
    .into()
}

/// Challenges and complaints; the ordinary course of reports is not a transaction of its own here.
fn measuring(reader: &mut Reader<'_>) -> (AccountId, RuntimeCall) {
    use pallet_x0_measurement::Call;
    let slot = Measurement::current_slot().saturating_sub(reader.below(6));
    if reader.flag() {
        let validator = CAST.validators[reader.below(4) as usize].clone();
        let node = CAST.nodes[reader.below(4) as usize].clone();
        return (anybody(reader), Call::challenge { slot, validator, node }.into());
    }
    let deal = reader.below(pallet_x0_marketplace::NextDeal::<Runtime>::get() + 1);
    let breach = SlaBreach { round_trip: reader.flag(), throughput: reader.flag() };
    let reporter = CAST.reporters[reader.below(4) as usize].clone();
    (reporter, Call::complain { deal, window: reader.below(4), breach }.into())
}

fn money(reader: &mut Reader<'_>) -> RuntimeCall {
    let dest = MultiAddress::Id(anybody(reader));
    match reader.below(3) {
        0 => pallet_balances::Call::transfer_allow_death { dest, value: reader.number() / 2 },
        1 => pallet_balances::Call::transfer_all { dest, keep_alive: reader.flag() },
        _ => pallet_balances::Call::transfer_keep_alive { dest, value: reader.number() },
    }
    .into()
}

/// What only a ballot or the superuser may do.
fn decided(reader: &mut Reader<'_>) -> RuntimeCall {
    use pallet_x0_marketplace::{Call as Market, Parameters, Prices};
    let who = anybody(reader);
    let node = CAST.nodes[reader.below(4) as usize].clone();
    match reader.below(15) {
        0 | 1 => {
            let expected = Parameters::<Runtime>::get();
            let new = DealTerms {
                fee_ppm: reader.pick(&[0, 50_000, 200_000, 2_000_000]),
                conflict_run_slots: reader.pick(&[2, 3, 100]),
                contested_ppm: reader.pick(&[0, 100_000, 1_000_000]),
                dispute_window_slots: reader.pick(&[4, 20, 14_400]),
                ruling_slots: reader.pick(&[4, 30, 100_800]),
                ..expected
            };
            Market::set_parameters { expected, new }.into()
        }
        2 => {
            let expected = Prices::<Runtime>::get();
            let factor_ppm = reader.pick(&[500_000, 1_000_000, 2_000_000, 1_500_000, 0]);
            Market::set_price_terms { expected, new: PriceTerms { factor_ppm, ..expected } }.into()
        }
        3 => pallet_x0_janitor::Call::retry { deal: reader.below(8) }.into(),
        4 => Trusting::admit_auditor { auditor: who }.into(),
        5 => Trusting::dismiss_auditor { auditor: who }.into(),
        6 => Trusting::resolve_conflict { conflict: reader.below(3), wrong: reader.flag().then_some(who) }.into(),
        7 | 8 => {
            let severity = reader.pick(&[Severity::Notice, Severity::Minor, Severity::Major, Severity::Critical]);
            Trusting::record_offence { node, severity, evidence: Hash::repeat_byte(2) }.into()
        }
        9 => Registry::reinstate { owner: reader.below(9) as u32 }.into(),
        10 => {
            let expected = pallet_x0_owners::Clock::<Runtime>::get().slots;
            Registry::set_epoch_slots { expected, new: reader.pick(&[20, 600, 403_200]) }.into()
        }
        11 => {
            let beneficiary = MultiAddress::Id(who);
            pallet_treasury::Call::spend_local { amount: reader.number(), beneficiary }.into()
        }
        12 => pallet_safe_mode::Call::force_enter {}.into(),
        13 => pallet_safe_mode::Call::force_exit {}.into(),
        _ => {
            let track = reader.pick(&TrackId::ALL);
            let expected = pallet_x0_governance::Tracks::<Runtime>::get(track);
            let mut new = expected.expect("every track has rules");
            new.decide_slots = reader.pick(&[10, 30]);
            new.deposit = reader.number();
            Ballots::set_track { track, expected, new }.into()
        }
    }
}
