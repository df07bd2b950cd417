//! What is true after every block, whatever anybody did.

use frame_support::{dispatch::DispatchClass, traits::Get as _};
use pallet_x0_escrow::HoldReason as Escrowed;
use x0_runtime::{Balance, Runtime, RuntimeHoldReason, configs::system};

/// Longest time that a block may take with the checks of its hooks, nanoseconds of processor time: far above
/// what any block of a history needs in this build, and below what would stop a network.
const BLOCK_NS_MAX: u64 = 2_000_000_000;

/// How long this thread has run, nanoseconds. Other programs of the machine do not count.
pub(super) fn processor_time_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this kernel counts");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number of nanoseconds")
}

/// The block that began then took little time, and weighs what a block may weigh.
pub(super) fn speed(began: u64) {
    let took = processor_time_ns().saturating_sub(began);
    assert!(took < BLOCK_NS_MAX, "a block took {} ms", took / 1_000_000);
    let (limits, used) = (system::Weights::get(), frame_system::Pallet::<Runtime>::block_weight());
    assert!(used.total().all_lte(limits.max_block), "a block weighs {used:?}");
    let normal = limits.get(DispatchClass::Normal).max_total.expect("normal calls have a limit");
    assert!(used.get(DispatchClass::Normal).all_lte(normal), "normal calls weigh {used:?}");
}

/// The state is in order.
pub(super) fn state() {
    x0_runtime::check_invariants().unwrap();
    accounts();
    holds();
}

/// Nothing is minted or burnt, holds are within what is reserved, and an account is kept alive for a reason.
fn accounts() {
    let mut sum: Balance = 0;
    for (who, account) in frame_system::Account::<Runtime>::iter() {
        let data = &account.data;
        sum += data.free + data.reserved;
        let held: Balance = pallet_balances::Holds::<Runtime>::get(&who).iter().map(|hold| hold.amount).sum();
        assert!(held <= data.reserved, "{who}: {held} held of {} reserved", data.reserved);
        let consumes = data.reserved > 0 || data.frozen > 0;
        assert_eq!(account.consumers, u32::from(consumes), "{who}: {account:?}");
        assert!(account.consumers == 0 || account.providers > 0, "{who}: {account:?}");
        let exists = data.free >= x0_runtime::configs::money::EXISTENTIAL_DEPOSIT;
        assert!(!exists || account.providers > 0, "{who}: {account:?}");
        assert!(account.providers + account.sufficients > 0, "{who}: {account:?}");
    }
    assert_eq!(pallet_balances::TotalIssuance::<Runtime>::get(), sum, "the issuance is the sum of all accounts");
    assert_eq!(sum, *super::world::ISSUANCE, "nothing is minted or burnt");
    for (who, holds) in pallet_balances::Holds::<Runtime>::iter() {
        assert!(holds.is_empty() || frame_system::Account::<Runtime>::contains_key(&who), "{who} holds {holds:?}");
    }
}

/// Every unit that the market holds belongs to a deal, a listing, a bid or an entry of a blocklist.
fn holds() {
    let held = |reason: RuntimeHoldReason| -> Balance {
        let holds = pallet_balances::Holds::<Runtime>::iter_values().flatten();
        holds.filter(|hold| hold.id == reason).map(|hold| hold.amount).sum()
    };
    assert_eq!(held(Escrowed::DealEscrow.into()), pallet_x0_escrow::EscrowTotal::<Runtime>::get());
    assert_eq!(held(Escrowed::DealBond.into()), pallet_x0_escrow::BondTotal::<Runtime>::get());
    assert_eq!(held(Escrowed::DealDispute.into()), pallet_x0_escrow::StakeTotal::<Runtime>::get());
    assert!(x0_runtime::Escrow::solvency().unwrap().is_solvent);
    let listings = pallet_x0_marketplace::Listings::<Runtime>::iter_values();
    let deposits: Balance = listings.map(|listing| listing.storage_deposit).sum();
    assert_eq!(held(pallet_x0_marketplace::HoldReason::Listing.into()), deposits);
    let requests = pallet_x0_marketplace::Requests::<Runtime>::iter_values();
    let open: Balance = requests.flat_map(|request| request.bids).map(|bid| bid.deposit).sum();
    let accepted: Balance = pallet_x0_marketplace::AcceptedBids::<Runtime>::iter_values().map(|bid| bid.amount).sum();
    assert_eq!(held(pallet_x0_marketplace::HoldReason::Bid.into()), open + accepted);
}
