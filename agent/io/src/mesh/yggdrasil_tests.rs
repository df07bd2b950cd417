use super::*;
use proptest::prelude::*;
use std::{io::BufRead as _, os::unix::net::UnixListener};

/// Answers in the form of 0.5.6: `src/admin/get*.go` of that version.
const SELF_05: &str = r#"{"status":"success","request":{"request":"getself"},"response":{
  "build_name":"yggdrasil","build_version":"0.5.6","routing_entries":3,"subnet":"301:2:3:4::/64",
  "key":"00000000000000000000000000000000000000000000000000000000000000aa","address":"201:2:3:4::1"}}"#;
const PEERS_05: &str = r#"{"status":"success","request":{"request":"getpeers"},"response":{"peers":[
  {"remote":"tls://192.0.2.1:443","up":true,"inbound":false,"address":"202::1","key":"aa","port":1,"priority":0,
   "bytes_recvd":10,"bytes_sent":20,"uptime":12.75,"latency_ms":1500000},
  {"remote":"tls://192.0.2.2:443","up":false,"inbound":false,"key":"","port":0,"priority":0,
   "last_error_time":5000000000,"last_error":"connection refused"}]}}"#;
/// The same of 0.5.12: latency has its own name, and there is a cost.
const PEERS_0512: &str = r#"{"status":"success","response":{"peers":[
  {"remote":"quic://192.0.2.1:443","up":true,"inbound":true,"address":"202::1","key":"aa","port":1,"priority":3,"cost":7,
   "bytes_recvd":10,"bytes_sent":20,"rate_recvd":5,"uptime":0.5,"latency":2500000}]}}"#;
const PATHS_05: &str = r#"{"status":"success","response":{"paths":[
  {"address":"202::1","key":"aa","path":[1,4,2],"sequence":9}]}}"#;
/// An early 0.4: maps by address.
const EARLY_04: &str = r#"{"status":"success","response":{
  "self":{"200::7":{"key":"bb","subnet":"300::/64","coords":"[1 2]"}},
  "peers":{"200::8":{"key":"cc","port":2,"uptime":3,"remote":"tcp://192.0.2.9:1"}},
  "sessions":null}}"#;

fn response(answer: &str) -> Value {
    accept("getPeers", serde_json::from_str(answer).unwrap()).unwrap()
}

#[test]
fn the_forms_of_0_5_are_read() {
    let node = parse_self(&response(SELF_05)).unwrap();
    assert_eq!((node.address, node.version.as_deref()), ("201:2:3:4::1".parse().unwrap(), Some("0.5.6")));
    let peers = parse_peers(&response(PEERS_05)).unwrap();
    assert_eq!((peers[0].up, peers[0].latency_us, peers[0].uptime_s), (true, Some(1_500), 12));
    assert_eq!((peers[1].up, peers[1].key.as_deref(), peers[1].address), (false, None, None));
    assert_eq!(peers[1].last_error.as_deref(), Some("connection refused"));
    let peers = parse_peers(&response(PEERS_0512)).unwrap();
    assert_eq!((peers[0].latency_us, peers[0].cost, peers[0].inbound), (Some(2_500), Some(7), Some(true)));
    assert_eq!(parse_paths(&response(PATHS_05)).unwrap()[0].path, [1, 4, 2]);
}

#[test]
fn the_maps_of_an_early_0_4_are_read() {
    let answer = response(EARLY_04);
    assert_eq!(parse_self(&answer).unwrap().address, "200::7".parse::<Ipv6Addr>().unwrap());
    let peers = parse_peers(&answer).unwrap();
    assert_eq!((peers[0].address, peers[0].up), ("200::8".parse().ok(), true));
    assert_eq!(parse_sessions(&answer).unwrap(), []);
}

#[test]
fn an_address_outside_of_yggdrasil_is_not_bound_to() {
    let answer = json!({ "address": "2001:db8::1", "key": "aa" });
    assert!(matches!(parse_self(&answer), Err(YggdrasilError::Form { what: "address in 200::/7", .. })));
}

#[test]
fn a_refusal_says_why_in_both_forms() {
    for answer in [
        json!({ "status": "error", "error": "peer already exists", "request": {} }),
        json!({ "status": "error", "response": { "error": "peer already exists" } }),
    ] {
        let error = accept("addPeer", answer).unwrap_err();
        assert_eq!(error.to_string(), r#"Yggdrasil refuses "addPeer": peer already exists"#);
    }
}

/// A daemon that reads one request and then does this.
fn daemon(answer: impl FnOnce(&mut UnixStream, &Value) + Send + 'static) -> (tempfile::TempDir, Yggdrasil) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        answer(&mut stream, &serde_json::from_str(&line).unwrap());
    });
    (folder, Yggdrasil::new(path))
}

#[test]
fn a_request_has_the_form_that_both_versions_take() {
    let (_folder, client) = daemon(|stream, request| {
        assert_eq!(
            request,
            &json!({
                "request": "addPeer",
                "arguments": { "uri": "tls://192.0.2.1:443", "interface": "wan0" },
                "keepalive": true,
            })
        );
        stream.write_all(b"{\n  \"status\": \"success\",\n  \"response\": {}\n}\n").unwrap();
    });
    client.add_peer("tls://192.0.2.1:443", Some("wan0")).unwrap();
}

#[test]
fn a_daemon_that_ends_or_talks_without_end_is_an_error() {
    let (_folder, client) = daemon(|_, _| {});
    assert!(matches!(client.peers(), Err(YggdrasilError::Broken { .. })), "closed");
    let (_folder, client) = daemon(|stream, _| {
        let _ = stream.write_all(b"{\"status\":\"");
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    assert!(matches!(client.peers(), Err(YggdrasilError::TooLong { .. })), "endless");
    let (_folder, client) = daemon(|stream, _| stream.write_all(b"not JSON\n").unwrap());
    assert!(matches!(client.peers(), Err(YggdrasilError::Form { what: "JSON", .. })));
}

#[test]
fn an_absent_daemon_and_a_bad_uri_are_told_apart() {
    let client = Yggdrasil::new("/nonexistent/socket");
    assert!(matches!(client.self_info(), Err(YggdrasilError::Connect { .. })));
    for uri in ["", "tcp://a b", "tcp://a\n{}", &"x".repeat(URI_BYTES_MAX + 1)] {
        assert!(matches!(client.add_peer(uri, None), Err(YggdrasilError::Uri { .. })), "{uri:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:]{0,12}".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec!["self", "peers", "paths", "sessions", "address", "key", "path", "uptime"]);
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..5).prop_map(|map| {
                map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_makes_the_client_panic(answer in any_json()) {
        let _ = accept("getPeers", answer.clone());
        let _ = (parse_self(&answer), parse_peers(&answer), parse_paths(&answer), parse_sessions(&answer));
    }
}
