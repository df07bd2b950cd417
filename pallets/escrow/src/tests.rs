//! What the escrow promises: exact amounts, whatever the path, and no unit lost.

use crate::{BondTotal, Error, EscrowTotal, Ledgers, Slash, mock::*};
use frame_support::{assert_noop, assert_ok, traits::fungible::Mutate as _};
use proptest::prelude::*;
use sp_runtime::{TokenError, traits::Zero as _};
use x0_types::{
    Balance,
    deal::{Outcome, Rate},
};

const RICH: Balance = 1_000_000_000;
const FEE: u32 = 25_000;
const FULL_SLASH: Slash = Slash { share_ppm: 200_000, compensation_ppm: 800_000 };

fn free(who: u64) -> Balance {
    Balances::free_balance(who)
}

fn treasury() -> u64 {
    Escrow::treasury()
}

fn funded(deal: u64, deposit: Balance, num: Balance, den: Balance) {
    assert_ok!(Escrow::open(deal, &RENTER, &PROVIDER, deposit, Rate { num, den }));
}

fn confirmed(deal: u64, deposit: Balance, num: Balance, den: Balance, bond: Balance) {
    funded(deal, deposit, num, den);
    assert_ok!(Escrow::post_bond(deal, bond, FEE));
}

#[test]
fn the_ledger_of_a_failed_deal_is_exact() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        confirmed(0, 10_000, 7, 1, 5_000);
        let outcome = Escrow::close(0, 123, Some(FULL_SLASH)).unwrap();
        // gross 861, fee floor(21.525), slash 20 % of the bond, 80 % of it to the renter.
        let expected = Outcome {
            good_slots: 123,
            gross: 861,
            to_provider: 840,
            fee: 21,
            refund: 9_139,
            slash: 1_000,
            compensation: 800,
            bond_back: 4_000,
        };
        assert_eq!(outcome, expected);
        assert_eq!(free(RENTER), RICH - 861 + 800);
        assert_eq!(free(PROVIDER), RICH + 840 - 1_000);
        assert_eq!(free(treasury()), EXISTENTIAL + 21 + 200);
        assert!(Ledgers::<Test>::iter().next().is_none());
        assert!(EscrowTotal::<Test>::get().is_zero() && BondTotal::<Test>::get().is_zero());
    });
}

/// M8: mutant "truncating per settle".
#[test]
fn settling_every_slot_pays_what_settling_once_pays() {
    let run = |settle_every_slot: bool| {
        let mut end = (0, 0, 0);
        with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
            confirmed(0, 1_000, 9, 10, 500);
            if settle_every_slot {
                for good in 1..=100 {
                    assert_ok!(Escrow::accrue(0, good));
                    Escrow::check_invariants().unwrap();
                }
            }
            let outcome = Escrow::close(0, 100, None).unwrap();
            assert_eq!((outcome.gross, outcome.fee), (90, 2));
            end = (free(RENTER), free(PROVIDER), free(treasury()));
        });
        end
    };
    assert_eq!(run(true), run(false));
}

/// I5: the same count twice moves nothing; a smaller count is refused and moves nothing.
#[test]
fn settling_twice_in_a_slot_moves_nothing() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        confirmed(0, 10_000, 7, 1, 5_000);
        assert_eq!(Escrow::accrue(0, 50).unwrap().to_provider, 350 - 8);
        let before = (free(RENTER), free(PROVIDER));
        assert_eq!(Escrow::accrue(0, 50).unwrap(), crate::Accrual::default());
        assert_eq!((free(RENTER), free(PROVIDER)), before);
        assert_noop!(Escrow::accrue(0, 49), Error::<Test>::GoodSlotsFell);
        assert_noop!(Escrow::close(0, 49, None), Error::<Test>::GoodSlotsFell);
    });
}

/// M10: mutant "afford clamp removed".
#[test]
fn a_deposit_is_never_overdrawn() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        confirmed(0, 1_000, 3, 1, 500);
        // 333 slots are affordable; the last unit goes back to the renter.
        assert_ok!(Escrow::accrue(0, 1_000_000));
        assert_eq!(Escrow::escrowed(0), 1);
        let outcome = Escrow::close(0, u64::MAX, None).unwrap();
        assert_eq!((outcome.good_slots, outcome.gross, outcome.refund), (333, 999, 1));
    });
}

/// M5: mutants "refund from bond pool" and "slash paid twice".
#[test]
fn deals_of_the_same_parties_do_not_share_money() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        confirmed(0, 10_000, 1, 1, 5_000);
        confirmed(1, 20_000, 2, 1, 7_000);
        funded(2, 30_000, 3, 1);
        assert_ok!(Escrow::close(1, 100, Some(FULL_SLASH)));
        Escrow::check_invariants().unwrap();
        assert_eq!((Escrow::escrowed(0), Escrow::escrowed(1), Escrow::escrowed(2)), (10_000, 0, 30_000));
        assert_eq!(BondTotal::<Test>::get(), 5_000);
        assert_noop!(Escrow::close(1, 100, Some(FULL_SLASH)), Error::<Test>::UnknownDeal);
        assert_noop!(Escrow::accrue(1, 200), Error::<Test>::UnknownDeal);
        assert_noop!(Escrow::open(0, &RENTER, &PROVIDER, 1, Rate { num: 1, den: 1 }), Error::<Test>::LedgerExists);
        assert_noop!(Escrow::post_bond(0, 1, FEE), Error::<Test>::BondExists);
        assert_noop!(Escrow::post_bond(9, 1, FEE), Error::<Test>::UnknownDeal);
    });
}

#[test]
fn a_deposit_comes_back_whole_from_a_deal_without_good_slots() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        funded(0, 10_000, 7, 3);
        let outcome = Escrow::close(0, 0, None).unwrap();
        assert_eq!(outcome, Outcome { refund: 10_000, ..Outcome::default() });
        assert_eq!((free(RENTER), free(PROVIDER)), (RICH, RICH));
    });
}

#[test]
fn holding_leaves_the_existential_deposit_free() {
    with_chain(&[(RENTER, 1_000), (PROVIDER, 1_000)], || {
        let rate = Rate { num: 1, den: 1 };
        assert_noop!(Escrow::open(0, &RENTER, &PROVIDER, 901, rate), Error::<Test>::DepositNotCovered);
        assert_noop!(Escrow::open(0, &OTHER, &PROVIDER, 1, rate), Error::<Test>::DepositNotCovered);
        assert_noop!(Escrow::open(0, &RENTER, &PROVIDER, 900, Rate { num: 0, den: 1 }), Error::<Test>::InvalidRate);
        assert_ok!(Escrow::open(0, &RENTER, &PROVIDER, 900, rate));
        assert_noop!(Escrow::post_bond(0, 901, FEE), Error::<Test>::BondNotCovered);
        assert_ok!(Escrow::post_bond(0, 900, FEE));
        // Neither party can be reaped while the deal stands.
        assert_noop!(
            <Balances as frame_support::traits::fungible::Mutate<u64>>::transfer(
                &RENTER,
                &OTHER,
                100,
                frame_support::traits::tokens::Preservation::Expendable
            ),
            TokenError::Frozen
        );
        // Amounts far below the existential deposit still arrive.
        assert_ok!(Escrow::accrue(0, 1));
        assert_eq!(free(PROVIDER), 101);
        assert_ok!(Escrow::close(0, 2, Some(Slash { share_ppm: 1_000_000, compensation_ppm: 1_000_000 })));
        assert_eq!((free(RENTER), free(PROVIDER)), (998 + 900, 102));
    });
}

/// A treasury below the existential deposit cannot take small amounts: they stay with the parties,
/// and the deal ends all the same.
#[test]
fn a_reaped_treasury_stops_no_payment_and_loses_no_dust() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        assert_ok!(Balances::burn_from(
            &treasury(),
            EXISTENTIAL,
            frame_support::traits::tokens::Preservation::Expendable,
            frame_support::traits::tokens::Precision::Exact,
            frame_support::traits::tokens::Fortitude::Force,
        ));
        assert_eq!(free(treasury()), 0);
        confirmed(0, 10_000, 10, 1, 100);
        assert_ok!(Escrow::accrue(0, 100));
        let outcome = Escrow::close(0, 100, Some(FULL_SLASH)).unwrap();
        let expected = Outcome {
            good_slots: 100,
            gross: 1_000,
            to_provider: 1_000,
            fee: 0,
            refund: 9_000,
            slash: 20,
            compensation: 20,
            bond_back: 80,
        };
        assert_eq!(outcome, expected);
        assert_eq!((free(RENTER), free(PROVIDER), free(treasury())), (RICH - 1_000 + 20, RICH + 1_000 - 20, 0));
        // An amount that makes the account exist is taken again.
        confirmed(1, 10_000, 10, 1, 100);
        assert_eq!(Escrow::close(1, 1_000, None).unwrap().fee, 250);
        assert_eq!(free(treasury()), 250);
    });
}

#[test]
fn the_treasury_exists_from_genesis_on() {
    with_chain(&[(RENTER, RICH)], || {
        assert_eq!(free(treasury()), EXISTENTIAL);
        assert_eq!(pallet_balances::TotalIssuance::<Test>::get(), RICH + EXISTENTIAL);
    });
}

/// A lock on the whole balance does not stop what is owed.
#[test]
fn locks_do_not_stop_payments() {
    use frame_support::traits::{LockableCurrency, WithdrawReasons};
    with_chain(&[(RENTER, 20_000), (PROVIDER, 20_000)], || {
        confirmed(0, 10_000, 7, 1, 5_000);
        Balances::set_lock(*b"vote    ", &RENTER, 20_000, WithdrawReasons::all());
        Balances::set_lock(*b"vote    ", &PROVIDER, 20_000, WithdrawReasons::all());
        assert_ok!(Escrow::accrue(0, 10));
        assert_ok!(Escrow::close(0, 123, Some(FULL_SLASH)));
    });
}

/// M11: whoever tops up gives to the renter; what is not earned goes there.
#[test]
fn top_ups_join_the_deposit() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH), (OTHER, 1_000)], || {
        confirmed(0, 1_000, 10, 1, 500);
        assert_noop!(Escrow::top_up(9, &OTHER, 1), Error::<Test>::UnknownDeal);
        assert_noop!(Escrow::top_up(0, &OTHER, 901), Error::<Test>::TopUpNotCovered);
        assert_noop!(Escrow::top_up(0, &RENTER, RICH), Error::<Test>::TopUpNotCovered);
        assert_ok!(Escrow::top_up(0, &OTHER, 900));
        assert_ok!(Escrow::top_up(0, &RENTER, 100));
        assert_eq!((free(OTHER), free(RENTER), Escrow::escrowed(0)), (100, RICH - 1_100, 2_000));
        assert_ok!(Escrow::accrue(0, 150));
        let outcome = Escrow::close(0, 150, None).unwrap();
        assert_eq!((outcome.gross, outcome.refund), (1_500, 500));
        assert_eq!((free(OTHER), free(RENTER)), (100, RICH - 1_100 + 500));
    });
}

/// M12: the reserve is held beside the deposit, drawn on to its last unit, and comes back.
#[test]
fn a_reserve_is_held_drawn_and_returned() {
    with_chain(&[(RENTER, 3_000), (PROVIDER, RICH)], || {
        confirmed(0, 1_000, 10, 1, 500);
        assert_noop!(Escrow::set_reserve(0, 1_901), Error::<Test>::ReserveNotCovered);
        assert_noop!(Escrow::set_reserve(9, 1), Error::<Test>::UnknownDeal);
        assert_ok!(Escrow::set_reserve(0, 700));
        assert_eq!((free(RENTER), EscrowTotal::<Test>::get()), (1_300, 1_700));
        assert_noop!(Escrow::draw(0, 701), Error::<Test>::ReserveTooSmall);
        assert_ok!(Escrow::draw(0, 300));
        assert_eq!((free(RENTER), EscrowTotal::<Test>::get(), Escrow::escrowed(0)), (1_300, 1_700, 1_300));
        assert_ok!(Escrow::set_reserve(0, 100));
        assert_eq!((free(RENTER), EscrowTotal::<Test>::get()), (1_600, 1_400));
        // The reserve pays for no slots by itself.
        let outcome = Escrow::close(0, 1_000, None).unwrap();
        assert_eq!((outcome.good_slots, outcome.gross, outcome.refund), (130, 1_300, 0));
        assert_eq!(free(RENTER), 1_700);
    });
}

/// M28: a stake goes back, or to the other party, or back with the end of its deal; there is one.
#[test]
fn a_stake_is_disposed_of() {
    with_chain(&[(RENTER, 3_000), (PROVIDER, RICH)], || {
        confirmed(0, 1_000, 10, 1, 500);
        assert_noop!(Escrow::stake(0, true, 1_901), Error::<Test>::StakeNotCovered);
        assert_noop!(Escrow::stake(9, true, 1), Error::<Test>::UnknownDeal);
        assert_ok!(Escrow::stake(0, true, 400));
        assert_noop!(Escrow::stake(0, false, 400), Error::<Test>::StakeExists);
        assert_eq!((free(RENTER), crate::StakeTotal::<Test>::get()), (1_600, 400));
        let provider = free(PROVIDER);
        assert_ok!(Escrow::release_stake(0, true));
        assert_eq!((free(RENTER), free(PROVIDER)), (1_600, provider + 400));
        assert_ok!(Escrow::release_stake(0, true));
        assert_ok!(Escrow::stake(0, false, 400));
        assert_ok!(Escrow::release_stake(0, true));
        assert_eq!((free(RENTER), free(PROVIDER)), (2_000, provider));
        assert_ok!(Escrow::stake(0, false, 300));
        assert_ok!(Escrow::release_stake(0, false));
        assert_ok!(Escrow::stake(0, true, 300));
        assert_ok!(Escrow::close(0, 0, None));
        assert_eq!((free(RENTER), crate::StakeTotal::<Test>::get()), (3_000, 0));
    });
}

/// M39: the reading says what is owed and what is held, and notices a unit that is missing.
#[test]
fn solvency_is_read_from_ledgers_and_holds() {
    with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
        confirmed(0, 1_000, 10, 1, 500);
        confirmed(1, 2_000, 10, 1, 700);
        assert_ok!(Escrow::set_reserve(1, 50));
        assert_ok!(Escrow::stake(1, true, 5));
        assert_ok!(Escrow::accrue(0, 10));
        let reading = Escrow::solvency().unwrap();
        let purse = |amount| crate::Purse { owed: amount, held: amount, total: amount };
        assert_eq!((reading.deposits, reading.bonds, reading.stakes), (purse(2_950), purse(1_200), purse(5)));
        assert_eq!((reading.deals, reading.is_solvent), (2, true));
        assert_eq!(reading.issuance, 2 * RICH + EXISTENTIAL);
        assert_eq!(reading.treasury, EXISTENTIAL + 2);
        // A ledger that owes one unit more than is held.
        let mut ledger = Ledgers::<Test>::get(0).unwrap();
        ledger.deposit += 1;
        Ledgers::<Test>::insert(0, ledger.clone());
        assert!(!Escrow::solvency().unwrap().is_solvent);
        assert!(Escrow::check_invariants().unwrap_err().starts_with("I2"));
        ledger.deposit -= 1;
        Ledgers::<Test>::insert(0, ledger);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// I6 and I8 for one deal: any settlements on the way, any slash, any treasury, and the parties
    /// end with what plain arithmetic over the totals says.
    #[test]
    fn any_path_ends_with_the_same_amounts(
        deposit in 1u64..1_000_000,
        bond in 0u64..1_000_000,
        num in 1u32..5_000,
        den in 1u32..50,
        mut settlements in proptest::collection::vec(0u64..3_000, 0..12),
        slash_ppm in proptest::option::of(0u32..=1_000_000),
        compensation_ppm in 0u32..=1_000_000,
        fee_ppm in 0u32..=1_000_000,
    ) {
        settlements.sort_unstable();
        let last = settlements.last().copied().unwrap_or(0);
        let (deposit, bond, num, den) = (u128::from(deposit), u128::from(bond), u128::from(num), u128::from(den));
        with_chain(&[(RENTER, RICH), (PROVIDER, RICH)], || {
            assert_ok!(Escrow::open(0, &RENTER, &PROVIDER, deposit, Rate { num, den }));
            assert_ok!(Escrow::post_bond(0, bond, fee_ppm));
            let mut seen = (0, 0);
            for good in &settlements {
                assert_ok!(Escrow::accrue(0, *good));
                Escrow::check_invariants().unwrap();
                all_money_is_accounted_for();
                // I5: nobody's balance falls by a settlement.
                assert!(free(PROVIDER) >= seen.0 && free(treasury()) >= seen.1);
                seen = (free(PROVIDER), free(treasury()));
            }
            let slash = slash_ppm.map(|share_ppm| Slash { share_ppm, compensation_ppm });
            let outcome = Escrow::close(0, last, slash).unwrap();

            let afford = deposit * den / num;
            let gross = u128::from(last).min(afford) * num / den;
            let fee = gross * u128::from(fee_ppm) / 1_000_000;
            let taken = slash_ppm.map_or(0, |ppm| bond * u128::from(ppm) / 1_000_000);
            let compensation = if slash_ppm.is_some() { taken * u128::from(compensation_ppm) / 1_000_000 } else { 0 };
            assert_eq!(free(RENTER), RICH - gross + compensation);
            assert_eq!(free(PROVIDER), RICH + gross - fee - taken);
            assert_eq!(free(treasury()), EXISTENTIAL + fee + taken - compensation);
            assert_eq!(outcome.to_provider + outcome.fee + outcome.refund, deposit);
            assert_eq!(outcome.slash + outcome.bond_back, bond);
        });
    }
}
