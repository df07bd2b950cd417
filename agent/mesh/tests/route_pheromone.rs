//! The pheromone rule against references that restate it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use proptest::prelude::*;
use x0_mesh::{
    Time,
    route::{Pheromone, QualityInput, TAU_MAX, TAU_MIN, TICK_NS, quality},
};

fn at(tick: u64) -> Time {
    Time(tick * TICK_NS + 7)
}

/// A pheromone of about this value: deposits until it is there.
fn pheromone(target: u32) -> (Pheromone, u64) {
    let (mut one, mut tick) = (Pheromone::new(at(1)), 1);
    while one.value(tick) < target && tick < 400 {
        tick += 1;
        one.deposit(at(tick), u16::MAX);
    }
    (one, tick)
}

proptest! {
    #[test]
    fn lazy_evaporation_equals_evaporation_step_by_step(target in TAU_MIN..(1u32 << 20), ticks in 0u64..64) {
        let (one, start) = pheromone(target);
        let mut tau = one.value(start);
        let first = tau;
        for _ in 0..ticks {
            tau -= tau >> 4;
        }
        let lazy = one.value(start + ticks);
        // Each step of the reference rounds up by less than one, and a rounding of `n` steps ago has shrunk to
        // (15/16)^n: together less than sixteen.
        prop_assert!(lazy <= tau.max(TAU_MIN), "{lazy} > {tau}");
        prop_assert!(lazy + 16 >= tau, "{lazy} + 16 < {tau} from {first} after {ticks}");
    }

    #[test]
    fn lazy_evaporation_is_the_exact_power_to_one_unit(target in TAU_MIN..(1u32 << 20), ticks in 0u32..24) {
        let (one, start) = pheromone(target);
        // 15^23 * 2^24 is below 2^118.
        let exact = u128::from(one.value(start)) * 15u128.pow(ticks) / 16u128.pow(ticks);
        let lazy = u128::from(one.value(start + u64::from(ticks)));
        let exact = exact.max(u128::from(TAU_MIN));
        prop_assert!(lazy <= exact && exact <= lazy + 1, "{lazy} instead of {exact}");
    }

    #[test]
    fn it_stays_between_its_bounds_and_reading_changes_nothing(
        script in prop::collection::vec((0u8..4, 0u64..200, any::<u16>()), 1..60),
    ) {
        let (mut read_often, mut read_never) = (Pheromone::new(at(0)), Pheromone::new(at(0)));
        let mut tick = 0;
        for (what, wait, quality) in script {
            tick += wait;
            for earlier in tick.saturating_sub(wait)..=tick {
                prop_assert!((TAU_MIN..=TAU_MAX).contains(&read_often.value(earlier)));
            }
            for one in [&mut read_often, &mut read_never] {
                match what {
                    0..=2 => one.deposit(at(tick), quality),
                    _ => one.floor(at(tick)),
                }
            }
            prop_assert_eq!(read_often, read_never);
        }
    }

    #[test]
    fn without_deposits_it_never_grows(target in TAU_MIN..(1u32 << 20), a in 0u64..200, b in 0u64..200) {
        let (one, start) = pheromone(target);
        prop_assert!(one.value(start + a.max(b)) <= one.value(start + a.min(b)));
    }

    #[test]
    fn quality_follows_the_rule(
        srtt in 0u32..2_000_000, min in 0u32..2_000_000, rttvar in 0u32..500_000,
        loss in 0u32..=70_000, trust in 0u32..=70_000, preference in 0u8..=20,
    ) {
        let input = QualityInput {
            srtt_us: srtt, rttvar_us: rttvar, srtt_us_min: min, loss_q16: loss, trust_q16: trust, preference,
        };
        // The rule in fractions: R/(R+d) * (1-loss)^2 * trust * preference, with d clipped to 0.25..200 ms.
        let d = f64::from(srtt.saturating_sub(min)) + 4.0 * f64::from(rttvar);
        let d = d.clamp(250.0, 200_000.0) - 250.0;
        let share = |value: u32| f64::from(value.min(65_536)) / 65_536.0;
        let expected = 65_536.0 * 5_000.0 / (5_000.0 + d)
            * (1.0 - share(loss)).powi(2) * share(trust) * f64::from(preference.min(16)) / 16.0;
        let found = f64::from(quality(&input));
        prop_assert!((expected - found).abs() <= 5.0, "{found} instead of {expected}");
    }

    #[test]
    fn more_delay_or_loss_and_less_trust_or_preference_never_raise_quality(
        srtt in 0u32..1_000_000, min in 0u32..1_000_000, rttvar in 0u32..300_000,
        loss in 0u32..=65_536, trust in 0u32..=65_536, preference in 0u8..=16,
        worse in 0u32..100_000, which in 0u8..5,
    ) {
        let good = QualityInput {
            srtt_us: srtt, rttvar_us: rttvar, srtt_us_min: min, loss_q16: loss, trust_q16: trust, preference,
        };
        let bad = match which {
            0 => QualityInput { srtt_us: srtt + worse, ..good },
            1 => QualityInput { rttvar_us: rttvar + worse, ..good },
            2 => QualityInput { loss_q16: loss + worse, ..good },
            3 => QualityInput { trust_q16: trust.saturating_sub(worse), ..good },
            _ => QualityInput { preference: preference.saturating_sub((worse % 17) as u8), ..good },
        };
        prop_assert!(quality(&bad) <= quality(&good));
    }
}

#[test]
fn the_steady_state_is_sixteen_qualities_and_half_is_gone_after_eleven_ticks() {
    let (one, tick) = pheromone(u32::MAX);
    let steady = one.value(tick);
    assert!((16 * 65_535 - 16..=1 << 20).contains(&steady), "{steady}");
    assert!(one.value(tick + 10) > steady / 2 && one.value(tick + 11) < steady / 2);
    assert_eq!(one.value(tick + 64), TAU_MIN, "what was not walked for 6.4 s is forgotten");
}

#[test]
fn one_deposit_counts_in_a_tick() {
    let mut one = Pheromone::new(at(1));
    one.deposit(at(5), 1_000);
    let once = one;
    one.deposit(at(5), 60_000);
    assert_eq!(one, once);
    one.deposit(at(6), 60_000);
    assert!(one.value(6) > once.value(6) + 59_000);
}

#[test]
fn differences_below_noise_do_not_count_and_seconds_are_no_worse_than_a_fifth() {
    let of = |srtt_us| {
        let (rttvar_us, srtt_us_min, loss_q16, trust_q16, preference) = (0, 1_000, 0, 65_536, 16);
        quality(&QualityInput { srtt_us, rttvar_us, srtt_us_min, loss_q16, trust_q16, preference })
    };
    assert_eq!(of(1_000), 65_535);
    assert_eq!(of(1_250), of(900));
    assert!(of(1_251) < of(1_250));
    assert_eq!(of(201_000), of(3_000_000));
    assert!(of(200_000) > of(201_000));
}
