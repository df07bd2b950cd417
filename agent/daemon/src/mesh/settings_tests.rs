//! Mistakes in the section are named, and what is right becomes the plan.

use super::*;
use x0_crypto::SigningKey;

fn listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7801))
}

fn plan(words: &str) -> std::result::Result<Plan, String> {
    let section: MeshSection = toml::from_str(words).map_err(|error| error.to_string())?;
    section.plan(listen()).map_err(|error| error.to_string())
}

/// An agent as it stands in a file.
fn agent() -> (AccountId, String) {
    let key = SigningKey::generate().unwrap();
    (AccountId::new(node_id(key.public()).0), x0_client::text::hex_text(key.public().as_bytes()))
}

#[test]
fn an_empty_section_has_one_underlay_and_waits_for_a_deal() {
    let plan = plan("").unwrap();
    assert_eq!((plan.mesh_id, plan.peers.len(), plan.rules.len()), (None, 0, 0));
    assert_eq!(plan.underlays.len(), 1);
    assert_eq!(plan.underlays[0].listen, listen(), "the probes' port, over UDP");
    assert_eq!(plan.tunnel, Some(("x0m0".to_owned(), 1_380)));
    assert_eq!((plan.filter, plan.enforce), (Some(Mode::Tc), true));
}

#[test]
fn a_full_section_becomes_a_plan() {
    let (account, key) = agent();
    let (other, _) = agent();
    let words = format!(
        r#"
        name = "renters-mesh"
        tunnel = {{ name = "mesh0", mtu = 1300 }}
        underlay = [
            {{ name = "wan", interface = "eth0" }},
            {{ name = "lte", address = "192.0.2.7", port = 9000, shared_risk = 5 }},
            {{ name = "ygg", yggdrasil = "/run/ygg.sock" }},
        ]
        peer = [
            {{ account = "{account}", key = "{key}", endpoints = [{{ address = "192.0.2.8:1", underlay = "lte" }}] }},
            {{ account = "did:x0:dev:{other}", rights = ["link", "relay"] }},
        ]
        rule = [
            {{ peer = "{account}", action = "prefer", weight = 4 }},
            {{ peer = "{other}", action = "limit", bytes_per_s = 5000 }},
        ]
        filter = {{ mode = "xdp", enforce = false, deny = ["10.0.0.0/8"], favour = ["2001:db8::/32"] }}
        limits = {{ realtime_permille = 0, job_threads = 2 }}
        "#
    );
    let plan = plan(&words).unwrap();
    assert_eq!(plan.mesh_id, Some(x0_crypto::blake2b_256(b"renters-mesh")), "as the wallet makes it");
    assert_eq!(plan.underlays[0].listen, "[::]:7801".parse().unwrap());
    assert_eq!(plan.underlays[1].listen, "192.0.2.7:9000".parse().unwrap());
    assert_eq!(plan.underlays.iter().map(|underlay| underlay.shared_risk).collect::<Vec<_>>(), [0, 5, 2]);
    assert_eq!(plan.peers[0].account, account);
    assert_eq!(plan.peers[0].endpoints, [(Some(UnderlayId(1)), "192.0.2.8:1".parse().unwrap())]);
    assert_eq!((plan.peers[1].account.clone(), plan.peers[1].key.is_none()), (other, true));
    assert_eq!(plan.peers[1].rights, Rights { link: true, session: false, relay: true });
    assert_eq!((plan.rules.len(), plan.kernel_rules.len()), (2, 1), "a preference is no rule of the kernel");
    assert_eq!((plan.denied.len(), plan.prefixes.len()), (1, 2));
    assert_eq!((plan.filter, plan.priority), (Some(Mode::Xdp), Priority::Normal));
}

#[test]
fn every_mistake_names_its_field() {
    let ((account, key), (_, strange)) = (agent(), agent());
    let peer = |more: &str| format!("[[peer]]\naccount = \"{account}\"\n{more}");
    let rule = |more: &str| format!("[[rule]]\npeer = \"{account}\"\n{more}");
    for (words, field) in [
        ("nmae = \"x\"".to_owned(), "nmae"),
        ("name = \"x\"\nid = \"0x00\"".to_owned(), "mesh.name and mesh.id"),
        ("name = \"\"".to_owned(), "mesh.name"),
        ("id = \"0x12\"".to_owned(), "mesh.id"),
        ("tunnel = { mtu = 100 }".to_owned(), "mesh.tunnel.mtu"),
        ("tunnel = { name = \"a-name-that-is-too-long\" }".to_owned(), "mesh.tunnel.name"),
        ("underlay = [{ name = \"a\" }, { name = \"a\" }]".to_owned(), "mesh.underlay.name"),
        ("underlay = [{ name = \"\" }]".to_owned(), "mesh.underlay[0].name"),
        ("underlay = [{ name = \"a\", device = \"x\" }]".to_owned(), "device"),
        ("underlay = [{ name = \"a\", yggdrasil = \"x\", address = \"::1\" }]".to_owned(), "mesh.underlay.yggdrasil"),
        ("[[peer]]\naccount = \"nobody\"".to_owned(), "mesh.peer[0].account"),
        (peer("key = \"0x1234\""), "mesh.peer[0].key"),
        (peer(&format!("key = \"{strange}\"")), "mesh.peer[0].key"),
        (peer(&format!("key = \"{key}\"\nkey_file = \"x\"")), "mesh.peer.key and mesh.peer.key_file"),
        (peer("key_file = \"/nonexistent/key\""), "mesh.peer[0].key_file"),
        (peer("endpoints = [{ address = \"1.2.3.4:5\", underlay = \"lte\" }]"), "mesh.peer[0].endpoints.underlay"),
        (peer("rights = [\"everything\"]"), "everything"),
        (format!("{}{}", peer(""), peer("")), "mesh.peer.account"),
        (rule("action = \"prefer\""), "mesh.rule[0].weight"),
        (rule("action = \"prefer\"\nweight = 17"), "mesh.rule[0].weight"),
        (rule("action = \"limit\""), "mesh.rule[0].bytes_per_s"),
        (rule("action = \"limit\"\nbytes_per_s = 1"), "mesh.rule[0].bytes_per_s"),
        ("filter = { mode = \"loud\" }".to_owned(), "mode"),
        ("filter = { deny = [\"10.0.0.0/33\"] }".to_owned(), "mesh.filter.deny"),
        ("filter = { favour = [\"example.org\"] }".to_owned(), "mesh.filter.favour"),
        ("filter = { handshakes_per_prefix = 0 }".to_owned(), "mesh.filter.handshakes_per_prefix"),
        ("limits = { realtime_permille = 5 }".to_owned(), "mesh.limits.realtime_permille"),
        ("limits = { job_threads = 0 }".to_owned(), "mesh.limits.job_threads"),
    ] {
        let error = plan(&words).unwrap_err();
        assert!(error.contains(field), "{words}: {error}");
    }
}

#[test]
fn what_a_running_mesh_cannot_take_over_is_named() {
    let before = plan("name = \"a\"").unwrap();
    assert_eq!(before.fixed_differences(&before), Vec::<&str>::new());
    let after = plan("name = \"b\"\nlimits = { job_threads = 2 }\nfilter = { deny = [\"::1\"] }").unwrap();
    assert_eq!(before.fixed_differences(&after), ["mesh.name or mesh.id", "mesh.limits"]);
}
