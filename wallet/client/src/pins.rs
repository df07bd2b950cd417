//! What this client knows of the chain's calls without being told: their places.
//!
//! A node describes its calls, and a node can lie: a description that gives the name of a harmless
//! call to another one would make a user sign that other call. For the calls of the table below the
//! client therefore holds the description against its own knowledge, and refuses when they differ. A
//! runtime that moves a call comes with a new client (architecture D1).

use crate::ClientError;

/// A call's place: index of the pallet and of the call in it (runtime design; the pallets' `call_index`).
type Place = [u8; 2];

/// The calls that this client makes.
const KNOWN: &[(Place, &str, &str)] = &[
    ([2, 3], "Balances", "transfer_keep_alive"),
    ([2, 4], "Balances", "transfer_all"),
    ([7, 0], "Network", "schedule_upgrade"),
    ([7, 1], "Network", "cancel_upgrade"),
    ([10, 0], "Did", "register_account_key"),
    ([10, 1], "Did", "rotate_account_key"),
    ([10, 2], "Did", "register_agent"),
    ([10, 3], "Did", "add_key"),
    ([10, 4], "Did", "rotate_key"),
    ([10, 5], "Did", "revoke_key"),
    ([10, 6], "Did", "set_endpoint"),
    ([10, 7], "Did", "revoke"),
    ([11, 0], "Validators", "set_validators"),
    ([11, 1], "Validators", "add_validator"),
    ([11, 2], "Validators", "remove_validator"),
    ([11, 3], "Validators", "set_power"),
    ([11, 4], "Validators", "refresh_consensus_key"),
    ([11, 5], "Validators", "approve"),
    ([11, 6], "Validators", "withdraw_approval"),
    ([11, 7], "Validators", "admit_candidate"),
    ([11, 8], "Validators", "dismiss_candidate"),
    ([11, 9], "Validators", "leave"),
    ([11, 10], "Validators", "readmit"),
    ([14, 0], "Marketplace", "list"),
    ([14, 1], "Marketplace", "update_listing"),
    ([14, 2], "Marketplace", "retire"),
    ([14, 3], "Marketplace", "rent"),
    ([14, 4], "Marketplace", "confirm"),
    ([14, 5], "Marketplace", "settle"),
    ([14, 6], "Marketplace", "cancel"),
    ([14, 7], "Marketplace", "set_parameters"),
    ([14, 8], "Marketplace", "request"),
    ([14, 9], "Marketplace", "bid"),
    ([14, 10], "Marketplace", "accept"),
    ([14, 11], "Marketplace", "withdraw_request"),
    ([14, 12], "Marketplace", "decline"),
    ([14, 13], "Marketplace", "set_agents"),
    ([14, 14], "Marketplace", "refresh_listing"),
    ([14, 15], "Marketplace", "block"),
    ([14, 16], "Marketplace", "unblock"),
    ([14, 17], "Marketplace", "set_price_terms"),
    ([14, 20], "Marketplace", "top_up"),
    ([14, 21], "Marketplace", "set_renewal"),
    ([14, 22], "Marketplace", "reclaim"),
    ([14, 23], "Marketplace", "announce_maintenance"),
    ([14, 24], "Marketplace", "withdraw_maintenance"),
    ([14, 25], "Marketplace", "dispute"),
    ([14, 26], "Marketplace", "rule"),
    ([16, 0], "Evidence", "report"),
    ([17, 0], "Trust", "attest"),
    ([17, 2], "Trust", "bond_auditor"),
    ([17, 3], "Trust", "audit"),
    ([17, 4], "Trust", "withdraw_audit"),
    ([17, 5], "Trust", "retire_auditor"),
    ([18, 0], "Owners", "apply"),
    ([18, 1], "Owners", "apply_change"),
    ([18, 2], "Owners", "accuse"),
    ([18, 3], "Owners", "attest"),
    ([18, 4], "Owners", "withdraw"),
    ([19, 0], "Governance", "propose"),
    ([19, 2], "Governance", "withdraw"),
    ([19, 3], "Governance", "vote"),
    ([19, 4], "Governance", "commit_vote"),
    ([19, 5], "Governance", "reveal_vote"),
    ([19, 6], "Governance", "delegate"),
    ([19, 7], "Governance", "undelegate"),
    ([19, 8], "Governance", "contest"),
    ([24, 3], "Treasury", "spend_local"),
];

/// The place of a call by name; `None` for a call that is not known here.
pub(crate) fn place_of(pallet: &str, call: &str) -> Option<Place> {
    KNOWN
        .iter()
        .find(|(_, known_pallet, known_call)| (*known_pallet, *known_call) == (pallet, call))
        .map(|(place, ..)| *place)
}

/// Checks that the chain's description calls these bytes what this client calls them, if it knows
/// either the name or the place.
///
/// # Errors
/// [`ClientError::Metadata`] when they differ.
pub(crate) fn check_name(bytes: &[u8], pallet: &str, call: &str) -> Result<(), ClientError> {
    let place = bytes.first_chunk::<2>();
    let known = KNOWN.iter().find(|(known, ..)| Some(known) == place);
    let differs = |ours: String| ClientError::Metadata {
        what: format!("{pallet}.{call}"),
        reason: format!(
            "the chain describes it as another call than this program knows ({ours}): do not sign, or use a newer program"
        ),
    };
    match known {
        Some((_, known_pallet, known_call)) if (*known_pallet, *known_call) != (pallet, call) => {
            Err(differs(format!("these bytes are {known_pallet}.{known_call}")))
        }
        None if place_of(pallet, call).is_some() => Err(differs("the name belongs to another place".to_owned())),
        _ => Ok(()),
    }
}

/// Checks that bytes which were encoded by the chain's description are the ones that this client
/// expects.
///
/// # Errors
/// [`ClientError::Metadata`] when they differ.
pub(crate) fn check_bytes(encoded: &[u8], expected: &[u8], pallet: &str, call: &str) -> Result<(), ClientError> {
    check_name(encoded, pallet, call)?;
    if encoded == expected {
        return Ok(());
    }
    Err(ClientError::Metadata {
        what: format!("{pallet}.{call}"),
        reason: "the chain describes other arguments than this program knows: use a program of the same version".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_that_swaps_names_is_refused() {
        let transfer = [2, 3, 0, 1];
        check_name(&transfer, "Balances", "transfer_keep_alive").unwrap();
        check_name(&[4, 0], "Utility", "batch").unwrap();
        assert!(check_name(&[2, 4, 0], "Balances", "transfer_keep_alive").is_err(), "place of another known call");
        assert!(check_name(&[6, 0], "Balances", "transfer_keep_alive").is_err(), "a known name at an unknown place");
        assert!(check_name(&transfer, "Balances", "burn").is_err(), "an unknown name at a known place");
        assert!(check_bytes(&transfer, &[2, 3, 0, 2], "Balances", "transfer_keep_alive").is_err());
    }

    #[test]
    fn no_place_and_no_name_stands_twice() {
        for (index, (place, pallet, call)) in KNOWN.iter().enumerate() {
            assert!(KNOWN[index + 1..].iter().all(|other| other.0 != *place && (other.1, other.2) != (*pallet, *call)));
        }
    }
}
