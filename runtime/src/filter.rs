//! Calls that nobody may make.
//!
//! The base filter binds signed origins only: a call that Root dispatches is not filtered again. All
//! calls of Root start inside a signed transaction, though (sudo), so the filter looks into every
//! wrapper that could carry a forbidden call to Root, as deep as calls nest.

use crate::{Runtime, RuntimeCall};
use frame_support::traits::Contains;

/// Lets a call through unless it, or a call inside it, is forbidden.
pub struct AllowedCalls;

impl Contains<RuntimeCall> for AllowedCalls {
    fn contains(call: &RuntimeCall) -> bool {
        allowed(call)
    }
}

/// Nesting is at most `x0_limits::CALL_DEPTH_MAX` here, because no entry decodes deeper calls.
fn allowed(call: &RuntimeCall) -> bool {
    match call {
        RuntimeCall::System(call) => system_allowed(call),
        RuntimeCall::Balances(call) => keeps_issuance(call),
        RuntimeCall::Sudo(call) => crate::network::Development::<Runtime>::get() && sudo_allowed(call),
        RuntimeCall::Utility(call) => utility_allowed(call),
        RuntimeCall::Proxy(
            pallet_proxy::Call::proxy { call, .. } | pallet_proxy::Call::proxy_announced { call, .. },
        ) => allowed(call),
        _ => true,
    }
}

/// What validators may approve together: their own set, who may join the network, and new rules.
pub struct QuorumCalls;

impl Contains<RuntimeCall> for QuorumCalls {
    fn contains(call: &RuntimeCall) -> bool {
        use crate::network::Call as Network;
        use pallet_x0_validators::Call as Validators;
        match call {
            RuntimeCall::Validators(call) => matches!(
                call,
                Validators::set_validators { .. }
                    | Validators::add_validator { .. }
                    | Validators::remove_validator { .. }
                    | Validators::set_power { .. }
                    | Validators::admit_candidate { .. }
                    | Validators::dismiss_candidate { .. }
                    | Validators::readmit { .. }
            ),
            RuntimeCall::Network(call) => {
                matches!(call, Network::schedule_upgrade { .. } | Network::cancel_upgrade { .. })
            }
            _ => false,
        }
    }
}

/// The issuance is what genesis made it: nobody burns and nobody mints, Root included.
const fn keeps_issuance(call: &pallet_balances::Call<Runtime>) -> bool {
    !matches!(
        call,
        pallet_balances::Call::burn { .. }
            | pallet_balances::Call::force_set_balance { .. }
            | pallet_balances::Call::force_adjust_total_issuance { .. }
    )
}

/// There is no code blob, and raw writes could break every invariant of every pallet, so nothing
/// that touches code or raw storage is allowed. Remarks are.
fn system_allowed(call: &frame_system::Call<Runtime>) -> bool {
    matches!(call, frame_system::Call::remark { .. } | frame_system::Call::remark_with_event { .. })
}

fn sudo_allowed(call: &pallet_sudo::Call<Runtime>) -> bool {
    match call {
        pallet_sudo::Call::sudo { call }
        | pallet_sudo::Call::sudo_unchecked_weight { call, .. }
        | pallet_sudo::Call::sudo_as { call, .. } => allowed(call),
        _ => true,
    }
}

fn utility_allowed(call: &pallet_utility::Call<Runtime>) -> bool {
    match call {
        pallet_utility::Call::batch { calls }
        | pallet_utility::Call::batch_all { calls }
        | pallet_utility::Call::force_batch { calls } => calls.iter().all(allowed),
        pallet_utility::Call::as_derivative { call, .. }
        | pallet_utility::Call::dispatch_as { call, .. }
        | pallet_utility::Call::dispatch_as_fallible { call, .. }
        | pallet_utility::Call::with_weight { call, .. } => allowed(call),
        pallet_utility::Call::if_else { main, fallback } => allowed(main) && allowed(fallback),
        // A call that a newer version of the pallet adds could wrap another one.
        _ => false,
    }
}
