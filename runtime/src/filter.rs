//! Calls that nobody may make, calls that nobody may stop, and calls that ballots may decide on.
//!
//! The base filter binds signed origins only: a call that Root dispatches is not filtered again. All
//! calls of Root start inside a signed transaction, though (sudo), so the filter looks into every
//! wrapper that could carry a forbidden call to Root, as deep as calls nest. What owners decide is not
//! bound by the base filter either: [`TrackCalls`] is a list of what each track may do, and lets through
//! nothing that [`AllowedCalls`] forbids.

use crate::{Runtime, RuntimeCall};
use frame_support::traits::{Contains, InsideBoth};
use x0_types::governance::{TrackFilter, TrackId};

/// What every transaction passes: nothing forbidden, nothing stopped by the safe mode or paused.
pub type BaseCalls = InsideBoth<AllowedCalls, InsideBoth<crate::SafeMode, crate::TxPause>>;

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
        RuntimeCall::Multisig(call) => multisig_allowed(call),
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
            // Who saw a node misbehave writes it down.
            RuntimeCall::Trust(call) => matches!(call, pallet_x0_trust::Call::record_offence { .. }),
            // Validators stop calls faster than a ballot does; they can stop neither the ballots nor reports.
            call => stops_calls(call),
        }
    }
}

/// Stopping calls and resuming them.
const fn stops_calls(call: &RuntimeCall) -> bool {
    use pallet_safe_mode::Call as SafeMode;
    matches!(
        call,
        RuntimeCall::SafeMode(
            SafeMode::force_enter { .. } | SafeMode::force_extend { .. } | SafeMode::force_exit { .. }
        ) | RuntimeCall::TxPause(_)
    )
}

/// What each track may decide on: an allow-list, looked into as deep as calls nest, so that a new call is out
/// of every track's reach until somebody decides otherwise.
pub struct TrackCalls;

impl TrackFilter<RuntimeCall> for TrackCalls {
    fn allows(track: TrackId, call: &RuntimeCall) -> bool {
        allowed(call)
            && match track {
                TrackId::Root => in_batch(call, &|call| {
                    changes_rules(call)
                        || changes_parameters(call)
                        || spends(call)
                        || reinstates(call)
                        || stops_calls(call)
                }),
                TrackId::Parameters => in_batch(call, &changes_parameters),
                // One spending each: the limit of the track is for one proposal.
                TrackId::Treasury => spends(call),
                TrackId::Membership => in_batch(call, &reinstates),
                TrackId::Emergency => in_batch(call, &stops_calls),
            }
    }
}

/// The call, or each of a batch that does all or nothing.
fn in_batch(call: &RuntimeCall, test: &dyn Fn(&RuntimeCall) -> bool) -> bool {
    match call {
        RuntimeCall::Utility(pallet_utility::Call::batch_all { calls }) => {
            calls.iter().all(|call| in_batch(call, test) && !spends(call))
        }
        call => test(call),
    }
}

const fn changes_parameters(call: &RuntimeCall) -> bool {
    use crate::settings::Call as Settings;
    match call {
        RuntimeCall::Marketplace(
            pallet_x0_marketplace::Call::set_parameters { .. } | pallet_x0_marketplace::Call::set_price_terms { .. },
        )
        | RuntimeCall::Measurement(pallet_x0_measurement::Call::set_parameters { .. })
        | RuntimeCall::Owners(pallet_x0_owners::Call::set_epoch_slots { .. })
        | RuntimeCall::Trust(
            pallet_x0_trust::Call::set_parameters { .. }
            | pallet_x0_trust::Call::approve_measurement { .. }
            | pallet_x0_trust::Call::withdraw_measurement { .. },
        ) => true,
        RuntimeCall::Settings(call) => matches!(call, Settings::set_fees { .. } | Settings::set_autonomy { .. }),
        _ => false,
    }
}

fn changes_rules(call: &RuntimeCall) -> bool {
    match call {
        RuntimeCall::Governance(pallet_x0_governance::Call::set_track { .. })
        | RuntimeCall::Janitor(pallet_x0_janitor::Call::retry { .. }) => true,
        RuntimeCall::Validators(_) | RuntimeCall::Network(_) => QuorumCalls::contains(call),
        _ => false,
    }
}

const fn spends(call: &RuntimeCall) -> bool {
    use pallet_treasury::Call as Treasury;
    matches!(
        call,
        RuntimeCall::Treasury(
            Treasury::spend_local { .. }
                | Treasury::spend { .. }
                | Treasury::remove_approval { .. }
                | Treasury::void_spend { .. }
        )
    )
}

/// Appeals of owners, auditors, and offences that need a judgement.
const fn reinstates(call: &RuntimeCall) -> bool {
    use pallet_x0_trust::Call as Trust;
    matches!(
        call,
        RuntimeCall::Owners(pallet_x0_owners::Call::reinstate { .. })
            | RuntimeCall::Trust(
                Trust::admit_auditor { .. }
                    | Trust::dismiss_auditor { .. }
                    | Trust::resolve_conflict { .. }
                    | Trust::record_offence { .. }
            )
    )
}

/// What goes on whatever is stopped (architecture D15): time, reports, the janitor, proofs against
/// validators, keys, decisions of validators and owners, and ending the stop. Wrappers go on too, because
/// each call inside is judged by itself.
pub struct Essential;

impl Contains<RuntimeCall> for Essential {
    fn contains(call: &RuntimeCall) -> bool {
        matches!(
            call,
            RuntimeCall::Timestamp(_)
                | RuntimeCall::Measurement(_)
                | RuntimeCall::Trust(_)
                | RuntimeCall::Janitor(_)
                | RuntimeCall::Evidence(_)
                | RuntimeCall::Did(_)
                | RuntimeCall::Validators(_)
                | RuntimeCall::Network(_)
                | RuntimeCall::Owners(_)
                | RuntimeCall::Governance(_)
                | RuntimeCall::Preimage(_)
                | RuntimeCall::SafeMode(_)
                | RuntimeCall::TxPause(_)
                | RuntimeCall::Sudo(_)
                | RuntimeCall::Utility(_)
                | RuntimeCall::Proxy(_)
                | RuntimeCall::Multisig(_)
        )
    }
}

/// Pallets of which no call can be paused.
const ESSENTIAL_PALLETS: &[&[u8]] = &[
    b"Timestamp",
    b"Measurement",
    b"Trust",
    b"Janitor",
    b"Evidence",
    b"Did",
    b"Validators",
    b"Network",
    b"Owners",
    b"Governance",
    b"Preimage",
    b"SafeMode",
    b"TxPause",
    b"Sudo",
];

/// The same by name, for pausing single calls.
pub struct EssentialNames;

impl Contains<pallet_tx_pause::RuntimeCallNameOf<Runtime>> for EssentialNames {
    fn contains((pallet, _): &pallet_tx_pause::RuntimeCallNameOf<Runtime>) -> bool {
        ESSENTIAL_PALLETS.contains(&pallet.as_slice())
    }
}

/// A multisig's last approval carries its call, whatever its signatories are.
fn multisig_allowed(call: &pallet_multisig::Call<Runtime>) -> bool {
    use pallet_multisig::Call as Multisig;
    match call {
        Multisig::as_multi_threshold_1 { call, .. } | Multisig::as_multi { call, .. } => allowed(call),
        Multisig::approve_as_multi { .. } | Multisig::cancel_as_multi { .. } | Multisig::poke_deposit { .. } => true,
        // A call that a newer version of the pallet adds could wrap another one.
        _ => false,
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
