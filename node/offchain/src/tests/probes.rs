//! One probe: what counts as up, and why something does not.

use super::agent::{self, Behaviour, GENESIS};
use crate::{EndpointPolicy, ProbeFailure, Prober};
use tokio::net::TcpListener;
use x0_types::{
    AccountId,
    market::Observation,
    probe::{FrameError, ReceiptMismatch},
    receipt::bound_nonce,
};

const VALIDATOR: AccountId = AccountId::new([5; 32]);

fn prober() -> Prober {
    Prober::new(GENESIS, EndpointPolicy::Any)
}

#[tokio::test]
async fn an_honest_agent_is_up() {
    let target = agent::start(0, "honest", Behaviour::Honest).await;
    let prober = prober();
    let proved = prober.probe(&target, 7, &VALIDATOR).await.unwrap();
    let receipt = &proved.signed.receipt;
    assert_eq!((receipt.slot, &receipt.node), (7, &target.node));
    assert_eq!(receipt.nonce, bound_nonce(&VALIDATOR, 7, &target.node, &proved.blind), "it is this validator's");
    // A second probe uses another nonce, and another key: the agent cannot tell that it is the same prober.
    let again = prober.probe(&target, 7, &VALIDATOR).await.unwrap().signed.receipt;
    assert_ne!(receipt.nonce, again.nonce);
    assert_ne!(receipt.prober, again.prober);
}

#[tokio::test]
async fn each_way_to_cheat_has_its_name_and_is_down() {
    type Check = fn(&ProbeFailure) -> bool;
    let cases: [(Behaviour, Check); 12] = [
        (Behaviour::OtherNode, |f| matches!(f, ProbeFailure::Mismatch(ReceiptMismatch::Node))),
        (Behaviour::OtherSlot, |f| {
            matches!(f, ProbeFailure::Mismatch(ReceiptMismatch::Slot { asked: 7, answered: 8 }))
        }),
        (Behaviour::OldNonce, |f| matches!(f, ProbeFailure::Mismatch(ReceiptMismatch::Nonce))),
        (Behaviour::OtherProber, |f| matches!(f, ProbeFailure::Mismatch(ReceiptMismatch::Prober))),
        (Behaviour::OtherSigner, |f| matches!(f, ProbeFailure::BadSignature)),
        (Behaviour::OtherChain, |f| matches!(f, ProbeFailure::BadSignature)),
        (Behaviour::OtherProtocol, |f| matches!(f, ProbeFailure::Connection { .. })),
        (Behaviour::Refuse, |f| matches!(f, ProbeFailure::Refused(reason) if reason == "busy.[31m")),
        (Behaviour::Admissions, |f| matches!(f, ProbeFailure::WrongAnswer)),
        (Behaviour::Garbage, |f| matches!(f, ProbeFailure::Frame(FrameError::Malformed { bytes: 3 }))),
        (Behaviour::HugeFrame, |f| matches!(f, ProbeFailure::Frame(FrameError::TooLarge { .. }))),
        (Behaviour::HangUp, |f| matches!(f, ProbeFailure::Connection { action: "read from", .. })),
    ];
    for (behaviour, check) in cases {
        let target = agent::start(0, "cheat", behaviour).await;
        let failure = prober().probe(&target, 7, &VALIDATOR).await.unwrap_err();
        assert!(check(&failure), "{behaviour:?}: {failure}");
        assert_eq!(failure.observation(), Observation::Down, "{behaviour:?}");
    }
}

#[tokio::test]
async fn an_agent_that_keeps_silent_is_down_after_the_timeout() {
    let target = agent::start(0, "silent", Behaviour::Silent).await;
    let failure = prober().probe(&target, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::Timeout(x0_limits::PROBE_TIMEOUT_MS)), "{failure}");
    assert_eq!(failure.observation(), Observation::Down);
}

#[tokio::test]
async fn whoever_holds_another_key_is_not_the_node() {
    let mut target = agent::start(0, "impostor", Behaviour::Honest).await;
    let honest = agent::key("honest");
    (target.node, target.key) = (agent::node_of(&honest), Some(honest.public().clone()));
    let failure = prober().probe(&target, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::Connection { action: "agree on a secure link with", .. }), "{failure}");
    assert_eq!(failure.observation(), Observation::Down);
}

#[tokio::test]
async fn nobody_listens_or_something_else_does() {
    let failure = prober().probe(&agent::dead(0, "dead").await, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::Connection { action: "connect to", .. }), "{failure}");
    assert_eq!(failure.observation(), Observation::Down);

    // A server that speaks no TLS at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = agent::dead(0, "web").await;
    target.endpoint = Some(listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream
    });
    let failure = prober().probe(&target, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::Connection { .. }), "{failure}");
    server.await.unwrap();
}

#[tokio::test]
async fn without_endpoint_or_key_a_node_is_down_and_inside_addresses_are_not_touched() {
    let whole = agent::start(0, "honest", Behaviour::Honest).await;
    let without = crate::Target { endpoint: None, ..whole.clone() };
    let failure = prober().probe(&without, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::NoEndpoint) && failure.observation() == Observation::Down);
    let without = crate::Target { key: None, ..whole.clone() };
    let failure = prober().probe(&without, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::NoKey) && failure.observation() == Observation::Down);
    let strict = Prober::new(GENESIS, EndpointPolicy::Public);
    let failure = strict.probe(&whole, 7, &VALIDATOR).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::ForbiddenEndpoint(_)) && failure.observation() == Observation::None);
}
