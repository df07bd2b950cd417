//! What a limited proxy of a provider may do.

use super::chain::{Chain, signer};
use crate::{RuntimeCall, RuntimeEvent, configs::wrappers::ProxyType};
use frame_support::traits::InstanceFilter;
use sp_runtime::{DispatchError, MultiAddress};

fn through_proxy(call: impl Into<RuntimeCall>) -> RuntimeCall {
    pallet_proxy::Call::proxy {
        real: MultiAddress::Id(signer("bob").account),
        force_proxy_type: None,
        call: Box::new(call.into()),
    }
    .into()
}

/// M26: a machine confirms deals for a provider with a key that can do nothing else.
#[test]
fn a_confirming_proxy_confirms_and_settles_and_does_nothing_else() {
    use pallet_x0_marketplace::{Call, Error};
    let mut chain = Chain::dev();
    let delegate = MultiAddress::Id(signer("charlie").account);
    let add = pallet_proxy::Call::add_proxy { delegate, proxy_type: ProxyType::Confirm, delay: 0 };
    chain.call(&signer("bob"), add).unwrap();

    let filtered: DispatchError = frame_system::Error::<crate::Runtime>::CallFiltered.into();
    let unknown: DispatchError = Error::<crate::Runtime>::UnknownDeal.into();
    let confirm = || Call::confirm { deal: 7, manifest_hash: Default::default() };
    let mut answer = |call: RuntimeCall| {
        chain.call(&signer("charlie"), through_proxy(call)).unwrap();
        let executed = chain.events().into_iter().find_map(|event| match event {
            RuntimeEvent::Proxy(pallet_proxy::Event::ProxyExecuted { result }) => Some(result),
            _ => None,
        });
        executed.unwrap()
    };
    // The proxy reaches the market, which knows no such deal.
    assert_eq!(answer(confirm().into()), Err(unknown));
    assert_eq!(answer(Call::settle { deal: 7 }.into()), Err(unknown));
    let refused: [RuntimeCall; 5] = [
        Call::cancel { deal: 7 }.into(),
        Call::decline { deal: 7 }.into(),
        Call::retire { listing: 0 }.into(),
        pallet_utility::Call::batch { calls: vec![confirm().into()] }.into(),
        pallet_balances::Call::transfer_keep_alive { dest: MultiAddress::Id(signer("charlie").account), value: 1 }
            .into(),
    ];
    for call in refused {
        assert_eq!(answer(call), Err(filtered));
    }
}

/// A proxy hands on no more than it has.
#[test]
fn wider_proxies_include_narrower_ones() {
    use ProxyType::{Any, Confirm, Market, NonTransfer};
    let chain = [Any, NonTransfer, Market, Confirm];
    for (wide, first) in chain.iter().enumerate() {
        for (narrow, second) in chain.iter().enumerate() {
            assert_eq!(first.is_superset(second), wide <= narrow, "{first:?} and {second:?}");
        }
    }
}
