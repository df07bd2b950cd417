//! Deals open the mesh to whom they name, and to nobody else.

use super::*;
use crate::mesh::settings::MeshSection;
use proptest::prelude::*;
use x0_crypto::SigningKey;

const MESH: [u8; 32] = [5; 32];

fn key() -> (AccountId, PublicKey) {
    let key = SigningKey::generate().unwrap().public().clone();
    (AccountId::new(node_id(&key).0), key)
}

fn person(key: &PublicKey, endpoint: &str) -> Person {
    Person { key: key.clone(), endpoint: Some(endpoint.parse().unwrap()), score_ppm: 0 }
}

fn plan(words: &str) -> Plan {
    let section: MeshSection = toml::from_str(words).unwrap();
    section.plan("0.0.0.0:7801".parse().unwrap()).unwrap()
}

fn deal(id: u64, node: &AccountId, mesh: [u8; 32], agents: &[&AccountId]) -> RunningDeal {
    RunningDeal { id, node: node.clone(), mesh, agents: agents.iter().map(|agent| (*agent).clone()).collect() }
}

#[test]
fn a_rented_node_passes_frames_of_the_renters_agents_and_the_agents_trust_each_other() {
    let ((node, node_key), (one, one_key), (two, two_key)) = (key(), key(), key());
    let facts = Facts {
        height: 7,
        deals: vec![deal(1, &node, MESH, &[&one, &two])],
        people: [
            (node.clone(), person(&node_key, "192.0.2.1:7801")),
            (one.clone(), person(&one_key, "192.0.2.2:7801")),
            (two.clone(), person(&two_key, "127.0.0.1:1")),
        ]
        .into(),
    };
    let without_tunnel = plan("tunnel = { enabled = false }");
    assert_eq!(mesh_of(&without_tunnel, &node, Some(&facts)), Some(MESH));
    let at_node = resolve(&without_tunnel, &node, &MESH, Some(&facts));
    assert_eq!(at_node.warnings, Vec::<String>::new());
    let relayed = Rights { link: true, session: false, relay: true };
    assert!(at_node.peers.len() == 2 && at_node.peers.iter().all(|peer| peer.rights == relayed));
    assert!(resolve(&plan(""), &node, &MESH, Some(&facts)).peers.iter().all(|peer| peer.rights == Rights::ALL));

    let at_one = resolve(&plan("name = \"x\""), &one, &MESH, Some(&facts));
    let rights = |account: &AccountId| {
        let found = at_one.peers.iter().find(|peer| AccountId::new(peer.id.0) == *account).unwrap();
        (found.rights, found.trust_q16, found.addresses.len())
    };
    assert_eq!(rights(&node), (relayed, TRUST_NEW_Q16, 1), "rented, not a member");
    assert_eq!(rights(&two), (Rights::ALL, TRUST_FULL_Q16, 0), "loopback of another machine leads nowhere");

    let nobody = resolve(&plan(""), &node, &MESH, Some(&Facts { deals: Vec::new(), ..facts.clone() }));
    assert_eq!(nobody.peers, []);
    assert_eq!(mesh_of(&plan(""), &node, None), None);
}

#[test]
fn deals_for_another_mesh_and_agents_without_keys_are_said() {
    let ((node, _), (one, one_key), (two, _)) = (key(), key(), key());
    let facts = Facts {
        height: 7,
        deals: vec![deal(2, &node, [6; 32], &[&one]), deal(1, &node, MESH, &[&one, &two])],
        people: [(one.clone(), person(&one_key, "192.0.2.2:7801"))].into(),
    };
    assert_eq!(mesh_of(&plan(""), &node, Some(&facts)), Some(MESH), "the oldest deal decides");
    let resolved = resolve(&plan(""), &node, &MESH, Some(&facts));
    assert_eq!(resolved.peers.len(), 1);
    assert!(resolved.warnings.iter().any(|warning| warning.contains("deal 2")), "{:?}", resolved.warnings);
    assert!(resolved.warnings.iter().any(|warning| warning.contains(&two.to_string())), "{:?}", resolved.warnings);
}

#[test]
fn an_entry_that_admits_nobody_only_adds_addresses() {
    let ((node, _), (one, one_key)) = (key(), key());
    let words = format!(
        "[[underlay]]\nname = \"a\"\naddress = \"10.0.0.1\"\n[[peer]]\naccount = \"{one}\"\nadmit = false\nendpoints = [{{ address = \"10.0.0.2:7\" }}]"
    );
    let people = [(one.clone(), person(&one_key, "127.0.0.1:1"))].into();
    let facts = Facts { height: 1, deals: vec![deal(1, &node, MESH, &[&one])], people };
    let admitted = resolve(&plan(&words), &node, &MESH, Some(&facts));
    assert_eq!(admitted.peers[0].addresses, [(UnderlayId(0), "10.0.0.2:7".parse().unwrap())]);
    let ended = Facts { deals: Vec::new(), ..facts };
    assert_eq!(resolve(&plan(&words), &node, &MESH, Some(&ended)), Resolved::default());
}

#[test]
fn configured_peers_stay_without_a_chain_and_their_addresses_add_up_with_it() {
    let ((me, _), (friend, friend_key), (rotated, other_key)) = (key(), key(), key());
    let words = format!(
        "underlay = [{{ name = \"a\", address = \"10.0.0.1\" }}, {{ name = \"b\", address = \"10.1.0.1\" }}]\npeer = [{{ account = \"{friend}\", key = \"{}\", endpoints = [{{ address = \"10.1.0.2:7\", underlay = \"b\" }}] }}, {{ account = \"{rotated}\" }}]",
        x0_client::text::hex_text(friend_key.as_bytes())
    );
    let plan = plan(&words);
    let alone = resolve(&plan, &me, &MESH, None);
    assert_eq!(alone.peers.len(), 1);
    assert_eq!(alone.peers[0].addresses, [(UnderlayId(1), "10.1.0.2:7".parse().unwrap())]);
    assert!(alone.warnings[0].contains("waits for its key"), "{:?}", alone.warnings);
    // The second peer's key on chain is not the one that its name is made of.
    let strange = SigningKey::generate().unwrap().public().clone();
    let people =
        [(friend.clone(), person(&friend_key, "10.0.0.9:7801")), (rotated.clone(), person(&strange, "10.0.0.8:1"))];
    let facts = Facts { height: 1, deals: Vec::new(), people: people.into() };
    let with_chain = resolve(&plan, &me, &MESH, Some(&facts));
    assert_eq!(with_chain.peers[0].addresses.len(), 3, "the file's, and the chain's over both underlays");
    assert_eq!(with_chain.peers.len(), 1);
    assert!(with_chain.warnings[0].contains("changed its agent key"), "{:?}", with_chain.warnings);
    drop(other_key);
}

proptest! {
    /// Who is a peer is exactly who a plain search over the deals finds.
    #[test]
    fn peers_agree_with_a_plain_search(
        deals in proptest::collection::vec((0usize..4, 0u8..2, proptest::collection::btree_set(0usize..4, 0..4)), 0..6),
    ) {
        let keys: Vec<(AccountId, PublicKey)> = (0..4u8)
            .map(|byte| {
                let key = SigningKey::from_seed(&x0_crypto::Seed::from_bytes([byte; 32])).unwrap().public().clone();
                (AccountId::new(node_id(&key).0), key)
            })
            .collect();
        let me = &keys[0].0;
        let facts = Facts {
            height: 1,
            deals: deals
                .iter()
                .zip(0..)
                .map(|((node, mesh, agents), id)| {
                    let agents: Vec<&AccountId> = agents.iter().map(|agent| &keys[*agent].0).collect();
                    deal(id, &keys[*node].0, [*mesh; 32], &agents)
                })
                .collect(),
            people: keys.iter().map(|(account, key)| (account.clone(), person(key, "192.0.2.2:1"))).collect(),
        };
        let resolved = resolve(&plan(""), me, &[0; 32], Some(&facts));
        for (number, (account, _)) in keys.iter().enumerate().skip(1) {
            let together = |(node, mesh, agents): &(usize, u8, std::collections::BTreeSet<usize>)| {
                let ours = *node == 0 || agents.contains(&0);
                *mesh == 0 && ours && (agents.contains(&number) || (*node == number && agents.contains(&0)))
            };
            let expected = deals.iter().any(together);
            let found = resolved.peers.iter().any(|peer| AccountId::new(peer.id.0) == *account);
            prop_assert_eq!(found, expected, "agent {}", number);
        }
    }
}
