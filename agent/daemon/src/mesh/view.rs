//! Whom a node deals with: what the chain's deals and the configuration say, as one view for the mesh.
//!
//! ```text
//!   running deals on this node ---agents of the manifest--> link + relay (+ session with a tunnel)
//!   running deals whose manifest names this node --agents--> every right: the own mesh
//!                                                --node----> link + relay: it is rented, not a member
//!   [[mesh.peer]] ------------------------------------------> the rights of the file, chain or not
//! ```

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use x0_crypto::PublicKey;
use x0_mesh::{
    NodeId,
    node::{PEER_ADDRESSES_MAX, PEERS_MAX, Peer, Rights, UnderlayId, node_id},
};
use x0_types::AccountId;

use super::plan::{Plan, StaticPeer, UnderlayPlan};

/// Full trust: peers that the mesh's owner named itself.
pub const TRUST_FULL_Q16: u32 = 65_536;
/// What a rented node without a score counts: a quarter. Its renter pays it, so that routes through it must exist;
/// a score adds the rest.
pub const TRUST_NEW_Q16: u32 = TRUST_FULL_Q16 / 4;

/// What the chain says of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Its agent key.
    pub key: PublicKey,
    /// Where it listens.
    pub endpoint: Option<SocketAddr>,
    /// Its score, parts per million; zero without one.
    pub score_ppm: u32,
}

/// A deal that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningDeal {
    /// Its number.
    pub id: u64,
    /// The rented node.
    pub node: AccountId,
    /// The renter's mesh.
    pub mesh: [u8; 32],
    /// The renter's agents.
    pub agents: Vec<AccountId>,
}

/// What is known of the chain as of one finalised block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The block's height.
    pub height: u64,
    /// Running deals on this node, and those whose manifest names it.
    pub deals: Vec<RunningDeal>,
    /// Agents by account.
    pub people: BTreeMap<AccountId, Person>,
}

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Everybody.
    pub peers: Vec<Peer>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// The mesh that this node takes part in: that of the file, or else that of its oldest running deal.
#[must_use]
pub fn mesh_of(plan: &Plan, me: &AccountId, facts: Option<&Facts>) -> Option<[u8; 32]> {
    plan.mesh_id.or_else(|| {
        let on_this_node = facts?.deals.iter().filter(|deal| deal.node == *me);
        on_this_node.min_by_key(|deal| deal.id).map(|deal| deal.mesh)
    })
}

/// Everybody whom this node may deal with in a mesh.
#[must_use]
pub fn resolve(plan: &Plan, me: &AccountId, mesh: &[u8; 32], facts: Option<&Facts>) -> Resolved {
    let mut warnings = Vec::new();
    let mut peers: BTreeMap<AccountId, Peer> = BTreeMap::new();
    if let Some(facts) = facts {
        for (account, (rights, member)) in from_deals(plan, me, mesh, facts, &mut warnings) {
            let Some(person) = facts.people.get(&account) else {
                warnings.push(format!("{account} has no agent key on chain"));
                continue;
            };
            // The node's name is made of its first key; the mesh's names prove themselves by it.
            let Some(id) = name_of(&account, &person.key, &mut warnings) else { continue };
            let trust_q16 = if member { TRUST_FULL_Q16 } else { trust(person.score_ppm) };
            let endpoints: Vec<_> = person.endpoint.iter().map(|endpoint| (None, *endpoint)).collect();
            let addresses = addresses(&plan.underlays, &endpoints);
            peers.insert(account, Peer { id, key: person.key.clone(), addresses, trust_q16, rights });
        }
    }
    for configured in &plan.peers {
        add_configured(plan, me, facts, configured, &mut peers, &mut warnings);
    }
    let mut peers: Vec<Peer> = peers.into_values().collect();
    if peers.len() > PEERS_MAX {
        warnings.push(format!("{} peers, and only {PEERS_MAX} are served", peers.len()));
        peers.truncate(PEERS_MAX);
    }
    Resolved { peers, warnings }
}

/// Rights by account, and whether the account is a member of the mesh rather than a rented node.
fn from_deals(
    plan: &Plan,
    me: &AccountId,
    mesh: &[u8; 32],
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> BTreeMap<AccountId, (Rights, bool)> {
    let mut found: BTreeMap<AccountId, (Rights, bool)> = BTreeMap::new();
    let mut give = |account: &AccountId, rights: Rights, member: bool| {
        if account == me {
            return;
        }
        let (had, was) = found.entry(account.clone()).or_default();
        *had = Rights {
            link: had.link || rights.link,
            session: had.session || rights.session,
            relay: had.relay || rights.relay,
        };
        *was |= member;
    };
    let passing = Rights { link: true, session: false, relay: true };
    for deal in &facts.deals {
        let (serves, named) = (deal.node == *me, deal.agents.contains(me));
        if deal.mesh != *mesh {
            if serves {
                warnings.push(format!("deal {} is of another mesh than the one that is served here", deal.id));
            }
            continue;
        }
        for agent in deal.agents.iter().filter(|_| serves || named) {
            // Who rents this node gets a way through it, and to it only if this host takes part.
            let rights = if named { Rights::ALL } else { Rights { session: plan.tunnel.is_some(), ..passing } };
            give(agent, rights, true);
        }
        if named {
            give(&deal.node, passing, false);
        }
    }
    found
}

fn add_configured(
    plan: &Plan,
    me: &AccountId,
    facts: Option<&Facts>,
    configured: &StaticPeer,
    peers: &mut BTreeMap<AccountId, Peer>,
    warnings: &mut Vec<String>,
) {
    let StaticPeer { account, key, endpoints, rights, admit } = configured;
    if account == me {
        warnings.push("a mesh.peer is this node itself".to_owned());
        return;
    }
    let known = facts.and_then(|facts| facts.people.get(account));
    let mut reached: Vec<_> = endpoints.clone();
    reached.extend(known.and_then(|person| person.endpoint).map(|endpoint| (None, endpoint)));
    if !admit {
        if let Some(admitted) = peers.get_mut(account) {
            admitted.addresses = addresses(&plan.underlays, &reached);
        }
        return;
    }
    let Some(key) = key.clone().or_else(|| known.map(|person| person.key.clone())) else {
        warnings.push(format!("{account} of mesh.peer waits for its key from the chain"));
        return;
    };
    let Some(id) = name_of(account, &key, warnings) else { return };
    let addresses = addresses(&plan.underlays, &reached);
    // What the operator writes holds whatever the chain says.
    peers.insert(account.clone(), Peer { id, key, addresses, trust_q16: TRUST_FULL_Q16, rights: *rights });
}

fn name_of(account: &AccountId, key: &PublicKey, warnings: &mut Vec<String>) -> Option<NodeId> {
    let id = node_id(key);
    if AccountId::new(id.0) == *account {
        return Some(id);
    }
    warnings.push(format!("{account} has changed its agent key; meshes know nodes by their first key only"));
    None
}

fn trust(score_ppm: u32) -> u32 {
    let rest = u64::from(TRUST_FULL_Q16 - TRUST_NEW_Q16) * u64::from(score_ppm.min(1_000_000)) / 1_000_000;
    TRUST_NEW_Q16.saturating_add(u32::try_from(rest).unwrap_or(0))
}

/// Each endpoint over each underlay that may reach it.
fn addresses(
    underlays: &[UnderlayPlan],
    endpoints: &[(Option<UnderlayId>, SocketAddr)],
) -> Vec<(UnderlayId, SocketAddr)> {
    let mut found = Vec::new();
    for (wanted, endpoint) in endpoints {
        for underlay in underlays {
            let fits = wanted.map_or_else(|| may_reach(underlay, endpoint), |wanted| wanted == underlay.id);
            if fits && !found.contains(&(underlay.id, *endpoint)) {
                found.push((underlay.id, *endpoint));
            }
        }
    }
    found.truncate(PEER_ADDRESSES_MAX);
    found
}

/// Whether an address that names no underlay is tried over this one.
fn may_reach(underlay: &UnderlayPlan, endpoint: &SocketAddr) -> bool {
    let (own, other) = (underlay.listen.ip(), endpoint.ip());
    let usable = endpoint.port() != 0 && !other.is_unspecified() && !other.is_multicast();
    // An agent that listens on loopback is another machine's affair, unless this one does as well.
    let loopback = own.is_loopback() == other.is_loopback();
    let family = match own {
        IpAddr::V4(_) => other.is_ipv4(),
        IpAddr::V6(own) => own.is_unspecified() || other.is_ipv6(),
    };
    // Yggdrasil's addresses, 200::/7, lead through Yggdrasil only.
    let inside = matches!(other, IpAddr::V6(other) if other.octets()[0] & 0xfe == 0x02);
    usable && loopback && family && inside == underlay.yggdrasil.is_some()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
