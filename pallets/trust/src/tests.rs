//! What operators, auditors and renters rely on.

use crate::{Auditors, Call, Conflicts, Error, Logs, Standings, mock::*, types::Entry};
use frame_support::{assert_noop, traits::fungible::Inspect as _};
use proptest::prelude::*;
use sp_core::H256;
use x0_accounting::PPM;
use x0_types::{
    market::Verdict,
    trust::{Severity, TrustSource as _, TrustTerms, TrustTier},
};

fn score(n: u8) -> u32 {
    Trust::reading(&node(n)).score_ppm
}

/// T2, T12: without an attestation nothing counts; a self-measured binary opens half of the gate; the gate
/// closes linearly between one life and two.
#[test]
fn attestation_is_a_gate() {
    run(|| {
        add_node(1, 0);
        good(40);
        assert_eq!(score(1), 0, "perfect behaviour, no attestation");
        assert!(attest(1, binary(1)).unwrap(), "the first one is free");
        assert_eq!(score(1), 0, "scores come with epochs");
        next_epoch();
        assert_eq!(score(1), 500_000);
        let life = TrustTerms::default().attestation_life_slots;
        let said = standing(1).attestation.unwrap().slot;
        skip_to(said + life + life / 2);
        next_epoch();
        let age = crate::Epoch::<Test>::get() * EPOCH_SLOTS - said;
        let expected = 500_000 * u64::from(u32::try_from(PPM as u64 * (2 * life - age) / life).unwrap()) / 1_000_000;
        assert_eq!(u64::from(score(1)), expected, "linear");
        skip_to(said + 2 * life);
        assert_eq!(score(1), 0, "closed at once, before the next epoch");
        assert!(attest(1, binary(1)).unwrap(), "renewing an old one is free");
        next_epoch();
        assert_eq!(score(1), 500_000);
    });
}

#[test]
fn attestations_that_are_refused() {
    run(|| {
        add_node(1, 0);
        skip_to(500);
        let fresh = statement(1, binary(1), None);
        for (statement, error) in [
            (x0_types::trust::AttestationStatement { slot: 501, ..fresh.clone() }, Error::<Test>::StatementFromFuture),
            (x0_types::trust::AttestationStatement { slot: 399, ..fresh.clone() }, Error::StatementTooOld),
            (x0_types::trust::AttestationStatement { node: node(9), ..fresh.clone() }, Error::NotMeasured),
        ] {
            assert_eq!(attest_with(1, 0, statement), Err(error.into()));
        }
        assert_eq!(attest_with(1, 5, fresh.clone()), Err(Error::<Test>::SignatureInvalid.into()), "another key");
        let signature = sign(1, 0, &fresh);
        let other = x0_types::trust::AttestationStatement { measurement: binary(2), ..fresh.clone() };
        let altered = Call::attest { statement: other, signature: signature.clone() };
        assert_eq!(call(&account(1), altered), Err(Error::<Test>::SignatureInvalid.into()));
        assert!(attest_with(1, 0, fresh.clone()).unwrap());
        let again = Call::attest { statement: fresh, signature };
        assert_eq!(call(&account(1), again), Err(Error::<Test>::StatementSuperseded.into()), "a replay");
        skip_to(501);
        assert!(!attest(1, binary(1)).unwrap(), "a new one of the same binary within half a life pays");
        skip_to(502);
        assert!(attest(1, binary(2)).unwrap(), "another binary is news");
    });
}

/// T3: the list of binaries that governance approves.
#[test]
fn only_approved_binaries_count_once_there_is_a_list() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        next_epoch();
        assert_eq!(score(1), 500_000);
        root(Call::approve_measurement { measurement: binary(2) }).unwrap();
        assert_eq!(score(1), 0, "the gate of another binary closes");
        assert_eq!(attest(1, binary(1)), Err(Error::<Test>::MeasurementNotApproved.into()));
        assert!(attest(1, binary(2)).unwrap());
        next_epoch();
        assert_eq!(score(1), 500_000);
        root(Call::withdraw_measurement { measurement: binary(2) }).unwrap();
        assert_eq!(score(1), 500_000, "without a list every binary may be attested");
        assert_eq!(root(Call::withdraw_measurement { measurement: binary(2) }), Err(Error::<Test>::NotApproved.into()));
        let measurement = binary(3);
        assert_noop!(
            Trust::approve_measurement(RuntimeOrigin::signed(account(1)), measurement),
            sp_runtime::DispatchError::BadOrigin
        );
    });
}

/// T3: severity decides what an offence does, and whether a node can recover with its key.
#[test]
fn offences_by_severity() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        next_epoch();
        assert_eq!(score(1), 500_000);
        let offence = |severity| root(Call::record_offence { node: node(1), severity, evidence: binary(9) }).unwrap();
        offence(Severity::Notice);
        next_epoch();
        assert_eq!(score(1), 500_000);
        offence(Severity::Minor);
        next_epoch();
        // Half of the gate, half of the weight, 5 % of the whole: 12,500 less, a little of it faded.
        assert!((487_500..=487_502).contains(&score(1)), "{}", score(1));
        offence(Severity::Major);
        next_epoch();
        assert!((425_000..=425_010).contains(&score(1)), "{}", score(1));
        offence(Severity::Critical);
        let reading = Trust::reading(&node(1));
        assert_eq!((reading.score_ppm, reading.suspended), (0, true), "at once");
        good(1);
        assert_eq!(attest(1, binary(1)), Err(Error::<Test>::KeyRevoked.into()), "not with this key");
        add_node(1, 1);
        attest_with(1, 1, statement(1, binary(1), None)).unwrap();
        assert!(!Trust::reading(&node(1)).suspended);
        next_epoch();
        assert_eq!(score(1), 0, "probation lasts a whole epoch");
        next_epoch();
        assert!(score(1) > 400_000);
        let log: Vec<_> = Logs::<Test>::get(node(1)).into_iter().map(|entry| entry.entry).collect();
        assert_eq!(log.last(), Some(&Entry::Attested));
        assert!(log.contains(&Entry::Offence(Severity::Critical)) && log.contains(&Entry::Readmitted));
    });
}

/// T4, T11: the gaps between heartbeats are those that the verdicts tell, bit by bit.
#[test]
fn gaps_follow_the_verdicts() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        good(40);
        slot(&[(1, Verdict::Down)]);
        slot(&[(1, Verdict::Down)]);
        slot(&[(1, Verdict::Up)]);
        // Steady at 1,000 ms, then one gap of three slots: off by 2,000.
        let gaps = standing(1).behaviour.gaps;
        assert_eq!((gaps.mean_ms_8, gaps.deviation_ms_4), (8_000 - 1_000 + 3_000, 2_000));
        next_epoch();
        // Both move back by a quarter and an eighth with each heartbeat in time.
        let left = x0_accounting::trust::Gaps { mean_ms_8: 10_000, deviation_ms_4: 2_000 };
        let since = standing(1).behaviour.samples - 43;
        assert_eq!(standing(1).behaviour.gaps, left.after_many(1_000, since));
        slot(&[(1, Verdict::Unknown)]);
        let samples = standing(1).behaviour.samples;
        slot(&[(1, Verdict::Conflict)]);
        assert_eq!(standing(1).behaviour.samples, samples, "nobody knows: neither a heartbeat nor a miss");
    });
}

/// T1, T5: scores are computed each epoch; a tier moves after three epochs in a row, and never on few
/// samples.
#[test]
fn tiers_have_hysteresis() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        let tier = || Trust::reading(&node(1)).tier;
        next_epoch();
        next_epoch();
        next_epoch();
        assert_eq!(tier(), TrustTier::New, "fewer than 32 samples");
        next_epoch();
        next_epoch();
        assert_eq!(tier(), TrustTier::New, "the second epoch in another tier");
        next_epoch();
        assert_eq!(tier(), TrustTier::Good, "500,000 belongs to the tier that begins there");
        root(Call::record_offence { node: node(1), severity: Severity::Major, evidence: binary(9) }).unwrap();
        next_epoch();
        assert!(score(1) < 500_000);
        assert_eq!(tier(), TrustTier::Good);
        next_epoch();
        next_epoch();
        assert_eq!(tier(), TrustTier::Fair);
    });
}

/// T6: an outage of a whole region is nobody's fault; what goes beyond it is.
#[test]
fn common_outages_do_not_count() {
    run(|| {
        for n in 1..=9 {
            add_node(n, 0);
            attest(n, binary(1)).unwrap();
            let region: &[u8] = if n == 9 { b"alone" } else { b"eu-1" };
            Regions::mutate(|regions| regions.insert(node(n), region.to_vec()));
        }
        next_epoch();
        let all: Vec<_> = (1..=9).map(|n| (n, Verdict::Down)).collect();
        slot(&all);
        slot(&[(1, Verdict::Down), (9, Verdict::Up)]);
        for _ in 0..2 {
            slot(&[(1, Verdict::Down)]);
        }
        next_epoch();
        let penalty = |n| standing(n).behaviour.penalty_ppm;
        assert_eq!((penalty(2), penalty(8)), (0, 0), "what everybody in the region missed");
        assert_eq!(penalty(1), 3 * 2_000, "three more than the region");
        assert_eq!(penalty(9), 2_000, "alone in its region");
        assert_eq!((standing(1).score.misses, standing(1).score.common_misses), (4, 1));
        assert_eq!(crate::RegionMisses::<Test>::iter().count(), 0, "counts go away with the epoch");
    });
}

/// T7, T8: a change of the formula is a new version, the old one stays, and an explanation holds all terms.
#[test]
fn versions_are_never_edited() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        next_epoch();
        let old = TrustTerms::default();
        let new = TrustTerms { self_measured_ppm: 400_000, ..old };
        let wrong = TrustTerms { stability_weight_ppm: 1, ..old };
        assert_eq!(root(Call::set_parameters { expected: wrong, new }), Err(Error::<Test>::ParametersMismatch.into()));
        let invalid = TrustTerms { tier_from_ppm: [5, 5, 6], ..old };
        assert_eq!(
            root(Call::set_parameters { expected: old, new: invalid }),
            Err(Error::<Test>::InvalidParameters.into())
        );
        root(Call::set_parameters { expected: old, new }).unwrap();
        let before = Trust::explain(&node(1)).unwrap();
        assert_eq!((before.reading.score_ppm, before.reading.version), (500_000, 0), "until the next epoch");
        assert_eq!(before.terms, old);
        next_epoch();
        let after = Trust::explain(&node(1)).unwrap();
        assert_eq!((after.reading.score_ppm, after.reading.version), (400_000, 1));
        assert_eq!(after.terms, new);
        assert_eq!(Trust::terms_of(0), old);
        let terms = after.standing.score;
        let sum = (u64::from(terms.stability_ppm) + u64::from(terms.behaviour_ppm)) / 2;
        assert_eq!(u64::from(terms.score_ppm), u64::from(terms.gate_ppm) * sum / 1_000_000, "anybody can compute it");
        assert!(Trust::explain(&node(7)).is_none());
    });
}

/// T9: auditors open the gate tier by tier; two who differ by more than one tier void each other and
/// freeze both bonds.
#[test]
fn auditors_and_their_conflicts() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        let (first, second) = (auditor(2), auditor(3));
        audit(&first, 1, 2).unwrap();
        next_epoch();
        assert_eq!(score(1), 750_000);
        audit(&second, 1, 3).unwrap();
        next_epoch();
        assert_eq!(score(1), 875_000, "one tier apart is no contradiction: the higher one counts");
        audit(&second, 1, 4).unwrap();
        next_epoch();
        assert_eq!(score(1), 500_000, "both are void");
        let conflict = Conflicts::<Test>::iter().next().unwrap();
        assert_eq!((conflict.1.tiers, conflict.1.auditors), ([2, 4], [first.clone(), second.clone()]));
        for who in [&first, &second] {
            assert_eq!(audit(who, 1, 2), Err(Error::<Test>::BondFrozen.into()));
            assert_eq!(call(who, Call::retire_auditor {}), Err(Error::<Test>::BondFrozen.into()));
            assert_eq!(call(who, Call::withdraw_audit { node: node(1) }), Err(Error::<Test>::BondFrozen.into()));
        }
        let wrong = Some(account(5));
        assert_eq!(root(Call::resolve_conflict { conflict: 0, wrong }), Err(Error::<Test>::NotInConflict.into()));
        let treasury_before = Balances::balance(&treasury());
        root(Call::resolve_conflict { conflict: 0, wrong: Some(second.clone()) }).unwrap();
        assert_eq!(Balances::balance(&treasury()), treasury_before + BOND_MIN);
        assert_eq!(audit(&second, 1, 2), Err(Error::<Test>::NotAuditor.into()));
        next_epoch();
        assert_eq!(score(1), 500_000, "the words stay void");
        audit(&first, 1, 2).unwrap();
        next_epoch();
        assert_eq!(score(1), 750_000);
        assert_eq!(call(&first, Call::retire_auditor {}), Err(Error::<Test>::AuditsStand.into()));
        call(&first, Call::withdraw_audit { node: node(1) }).unwrap();
        call(&first, Call::retire_auditor {}).unwrap();
        assert!(Auditors::<Test>::get(&first).is_none());
    });
}

/// T9: a conflict that nobody resolves ends by itself.
#[test]
fn conflicts_end_by_themselves() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        let (first, second) = (auditor(2), auditor(3));
        audit(&first, 1, 1).unwrap();
        audit(&second, 1, 4).unwrap();
        let begun = CurrentSlot::get();
        skip_to(begun + x0_limits::AUDIT_CONFLICT_SLOTS - 1);
        block();
        assert_eq!(Conflicts::<Test>::iter().count(), 1);
        skip_to(begun + x0_limits::AUDIT_CONFLICT_SLOTS);
        block();
        assert_eq!(Conflicts::<Test>::iter().count(), 0);
        call(&first, Call::withdraw_audit { node: node(1) }).unwrap();
        call(&first, Call::retire_auditor {}).unwrap();
    });
}

#[test]
fn audits_that_are_refused() {
    run(|| {
        add_node(1, 0);
        let first = auditor(2);
        assert_eq!(audit(&first, 1, 1), Err(Error::<Test>::NotMeasured.into()));
        attest(1, binary(1)).unwrap();
        assert_eq!(audit(&first, 1, 0), Err(Error::<Test>::InvalidTier.into()));
        assert_eq!(audit(&first, 1, 5), Err(Error::<Test>::InvalidTier.into()));
        assert_eq!(audit(&account(5), 1, 1), Err(Error::<Test>::NotAuditor.into()));
        let other = Call::audit { node: node(1), tier: 1, measurement: binary(2), quote: None, evidence: H256::zero() };
        assert_eq!(call(&first, other), Err(Error::<Test>::OtherBinary.into()));
        root(Call::admit_auditor { auditor: provider() }).unwrap();
        assert_eq!(call(&provider(), Call::bond_auditor { amount: 1 }), Err(Error::<Test>::BondTooSmall.into()));
        root(Call::admit_auditor { auditor: account(4) }).unwrap();
        assert_eq!(audit(&account(4), 1, 1), Err(Error::<Test>::BondTooSmall.into()));
        assert_eq!(root(Call::admit_auditor { auditor: account(4) }), Err(Error::<Test>::AlreadyAuditor.into()));
        audit(&first, 1, 4).unwrap();
        root(Call::dismiss_auditor { auditor: first.clone() }).unwrap();
        next_epoch();
        assert_eq!(score(1), 500_000, "a dismissed auditor's word does not count");
        call(&first, Call::withdraw_audit { node: node(1) }).unwrap();
        call(&first, Call::retire_auditor {}).unwrap();
    });
}

/// T12: a TPM quote inside the agent's signature counts when an auditor checked that very quote.
#[test]
fn quotes_need_an_auditor() {
    run(|| {
        add_node(1, 0);
        let quoted = statement(1, binary(1), Some(binary(8)));
        attest_with(1, 0, quoted).unwrap();
        next_epoch();
        assert_eq!(score(1), 500_000, "a quote that nobody checked adds nothing");
        let first = auditor(2);
        assert_eq!(audit(&first, 1, 4), Err(Error::<Test>::OtherBinary.into()), "the quote was not looked at");
        let word =
            |quote| Call::audit { node: node(1), tier: 4, measurement: binary(1), quote, evidence: H256::zero() };
        assert_eq!(call(&first, word(Some(binary(7)))), Err(Error::<Test>::OtherBinary.into()));
        call(&first, word(Some(binary(8)))).unwrap();
        next_epoch();
        assert_eq!(score(1), 1_000_000);
    });
}

/// T10: suspension after two epochs without a valid attestation, and the way back; nothing is slashed.
#[test]
fn attested_nodes_that_go_stale_are_suspended() {
    run(|| {
        add_node(1, 0);
        next_epoch();
        next_epoch();
        next_epoch();
        assert!(!Trust::reading(&node(1)).suspended, "a node that never attested is new, not suspended");
        attest(1, binary(1)).unwrap();
        next_epoch();
        skip_to(CurrentSlot::get() + 2 * x0_limits::ATTESTATION_LIFE_SLOTS);
        block();
        assert!(!Trust::reading(&node(1)).suspended, "the first epoch with a closed gate");
        next_epoch();
        assert!(Trust::reading(&node(1)).suspended);
        attest(1, binary(1)).unwrap();
        next_epoch();
        assert!(!Trust::reading(&node(1)).suspended);
        assert!(score(1) > 0);
        assert_eq!(Heard::get(), [(node(1), true), (node(1), false)], "the market hears of each change once");
    });
}

/// T10: the bond falls with the score and never asks for more from a better node (T-I5).
#[test]
fn better_nodes_post_less() {
    let mut last = u128::MAX;
    for score in (0..=PPM).step_by(1_000) {
        let bond = x0_accounting::bond_for_trust(1_000_003, score).unwrap();
        assert!(bond <= last);
        last = bond;
    }
    assert_eq!(x0_accounting::bond_for_trust(1_000, 0), Some(1_500));
    assert_eq!(x0_accounting::bond_for_trust(1_000, PPM), Some(200));
}

/// T1: a perfect node writes nothing once its score stands, and a block never passes more nodes than its
/// limit.
#[test]
fn work_is_bounded() {
    run(|| {
        for n in 0..100 {
            add_node(n, 0);
        }
        for n in 0..100 {
            attest(n, binary(1)).unwrap();
        }
        for _ in 0..8 {
            next_epoch();
        }
        let before: Vec<_> = Standings::<Test>::iter().collect();
        let mut blocks = 0;
        good(EPOCH_SLOTS - 1 - CurrentSlot::get() % EPOCH_SLOTS);
        slot(&[]);
        while crate::Sweeping::<Test>::exists() {
            block();
            blocks += 1;
        }
        // 100 nodes counted, 100 scored, one region dropped: 201 steps of at most 32 in a block.
        assert!((6..=7).contains(&blocks), "{blocks}");
        let after: Vec<_> = Standings::<Test>::iter().collect();
        assert!(before == after, "records of perfect nodes are not written again");
    });
}

/// Nodes that left and about which nothing is left to say are forgotten.
#[test]
fn nodes_that_left_are_forgotten() {
    run(|| {
        add_node(1, 0);
        attest(1, binary(1)).unwrap();
        let first = auditor(2);
        audit(&first, 1, 1).unwrap();
        next_epoch();
        Measured::mutate(|nodes| nodes.remove(&node(1)));
        skip_to(CurrentSlot::get() + 2 * x0_limits::ATTESTATION_LIFE_SLOTS + 10);
        next_epoch();
        assert!(Standings::<Test>::contains_key(node(1)), "an auditor's word still stands");
        skip_to(CurrentSlot::get() + x0_limits::AUDIT_LIFE_SLOTS);
        next_epoch();
        assert!(!Standings::<Test>::contains_key(node(1)));
        assert!(Logs::<Test>::get(node(1)).is_empty());
        call(&first, Call::retire_auditor {}).unwrap();
    });
}

/// What a history of slots does to a node: an oracle that takes every heartbeat one by one.
fn oracle(history: &[Verdict]) -> (u64, u64, u64) {
    let (mut mean_8, mut dev_4, mut samples, mut run) = (0u64, 0u64, 0u64, 0u64);
    for verdict in history {
        match verdict {
            Verdict::Up => {
                let gap = (run + 1) * SLOT_MS;
                if mean_8 == 0 {
                    mean_8 = gap * 8;
                } else {
                    let off = gap.abs_diff(mean_8 / 8);
                    mean_8 = mean_8 - mean_8 / 8 + gap;
                    dev_4 = dev_4 - dev_4 / 4 + off;
                }
                (run, samples) = (0, samples + 1);
            }
            Verdict::Down => (run, samples) = (run + 1, samples + 1),
            Verdict::Unknown | Verdict::Conflict => {}
        }
    }
    (mean_8, dev_4, samples)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// T4, T11: whatever the verdicts, the numbers are those of taking each heartbeat in one by one.
    #[test]
    fn heartbeats_equal_their_oracle(history in proptest::collection::vec(0u8..8, 1..80)) {
        run(|| {
            add_node(1, 0);
            attest(1, binary(1)).unwrap();
            let verdicts: Vec<_> = history.iter().map(|draw| match draw {
                0 | 1 => Verdict::Down,
                2 => Verdict::Unknown,
                3 => Verdict::Conflict,
                _ => Verdict::Up,
            }).collect();
            let mut down = false;
            for verdict in &verdicts {
                // UP is told only when it ends a run.
                if *verdict != Verdict::Up || down {
                    slot(&[(1, *verdict)]);
                } else {
                    slot(&[]);
                }
                match verdict {
                    Verdict::Down => down = true,
                    Verdict::Up => down = false,
                    Verdict::Unknown | Verdict::Conflict => {}
                }
            }
            // A scored epoch takes the last heartbeats in; it must not change what came before.
            let mut behaviour = standing(1).behaviour;
            let counters = <MockMeter as x0_types::market::Meter<_>>::counters(&node(1)).unwrap();
            Trust::fold(&mut behaviour, counters);
            let found = (behaviour.gaps.mean_ms_8, behaviour.gaps.deviation_ms_4, behaviour.samples);
            assert_eq!(found, oracle(&verdicts));
        });
    }
}
