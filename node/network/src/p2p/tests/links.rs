//! Links between carriers: finding one another, frames, cuts, lists, bad conduct.

use super::*;

#[tokio::test]
async fn four_nodes_that_know_one_find_everybody_and_hear_every_broadcast() {
    let mut nodes = network(4).await;
    for node in &nodes {
        node.carrier.broadcast(Channel::Consensus, Bytes::copy_from_slice(&node.carrier.local().0)).unwrap();
    }
    for node in &mut nodes {
        let mut heard = BTreeSet::new();
        while heard.len() < 3 {
            let (from, channel, bytes) = node.frame().await;
            assert_eq!((channel, &bytes[..]), (Channel::Consensus, &from.0[..]));
            assert!(heard.insert(from));
        }
    }
    // Every pair chose one connection for votes and one for bulk in the end, and both sides the same ones.
    eventually("crossed connections end", || {
        let metrics = nodes.iter().map(|node| node.carrier.metrics()).collect::<Vec<_>>();
        let done: u64 = metrics.iter().map(|metrics| metrics.handshakes_done).sum();
        let ended: u64 = metrics.iter().map(|metrics| metrics.links_ended + metrics.hello_failed).sum();
        done == ended + 24
    })
    .await;
    eventually("pings are answered", || {
        nodes.iter().all(|node| node.carrier.peers().iter().all(|peer| peer.rtt_ms.is_some()))
    })
    .await;
    let info = &nodes[0].carrier.peers()[0];
    assert!(info.tip >= 2 && info.version.starts_with("x0-node/") && info.clock_ahead_ms.abs() < 60_000);
    eventually("nobody is missing", || nodes[0].carrier.unlinked().is_empty()).await;
    // A node is told of once, and of nothing else than links.
    for node in &mut nodes {
        assert!(node.events.try_recv().is_err());
    }
}

#[tokio::test]
async fn votes_overtake_what_waits() {
    let mut nodes = network(2).await;
    let large = Bytes::from(vec![1; Channel::SyncResponse.frame_bytes_max()]);
    for _ in 0..2 {
        nodes[0].carrier.broadcast(Channel::SyncResponse, large.clone()).unwrap();
    }
    for _ in 0..64 {
        nodes[0].carrier.broadcast(Channel::Parts, Bytes::from(vec![2; Channel::Parts.frame_bytes_max()])).unwrap();
    }
    nodes[0].carrier.broadcast(Channel::Consensus, Bytes::from_static(b"vote")).unwrap();
    let mut order = Vec::new();
    while order.iter().filter(|channel| **channel == Channel::SyncResponse).count() < 2 {
        let (_, channel, bytes) = nodes[1].frame().await;
        assert!(channel == Channel::Consensus || bytes.iter().all(|byte| *byte == bytes[0]));
        order.push(channel);
    }
    let vote = order.iter().position(|channel| *channel == Channel::Consensus).unwrap();
    let answer = order.iter().position(|channel| *channel == Channel::SyncResponse).unwrap();
    assert!(vote < answer, "{order:?}");
}

#[tokio::test]
async fn a_node_that_starts_again_is_found_again() {
    let mut nodes = network(3).await;
    let gone = nodes.pop().unwrap();
    let address = gone.address();
    gone.carrier.stop().await;
    for node in &mut nodes {
        node.until_down(name(3)).await;
        assert_eq!(node.carrier.send(&name(3), Channel::Status, Bytes::new()), Err(SendError::NoLink(name(3))));
    }
    assert_eq!(gone.carrier.broadcast(Channel::Status, Bytes::new()), Err(SendError::Closed));
    // The same key and port, and no contact: the others dial.
    let config =
        P2pConfig { listen: vec![address.address.to_string().parse().unwrap()], ..P2pConfig::new(here(), vec![]) };
    let mut again = Node::with(3, config).await;
    again.admit(&[1, 2, 3]);
    again.until_linked(&[1, 2]).await;
    for node in &mut nodes {
        node.until_up(name(3)).await;
        node.carrier.send(&name(3), Channel::Status, Bytes::from_static(b"welcome")).unwrap();
    }
    assert_eq!(again.frame().await.2, Bytes::from_static(b"welcome"));
}

#[tokio::test]
async fn a_peer_that_leaves_the_list_loses_its_links_and_comes_back_with_it() {
    let mut nodes = network(3).await;
    nodes[0].admit(&[1, 2]);
    assert_eq!(
        nodes[0].carrier.send(&name(3), Channel::Status, Bytes::new()),
        Err(SendError::NoLink(name(3))),
        "at once"
    );
    nodes[0].until_down(name(3)).await;
    nodes[2].until_down(name(1)).await;
    nodes[0].carrier.broadcast(Channel::Status, Bytes::from_static(b"among us")).unwrap();
    assert_eq!(nodes[1].frame().await.2, Bytes::from_static(b"among us"));
    eventually("the dismissed peer is turned away", || nodes[0].carrier.metrics().refused_not_admitted > 0).await;
    nodes[0].admit(&[1, 2, 3]);
    nodes[0].until_up(name(3)).await;
    nodes[2].until_up(name(1)).await;
    assert_eq!(nodes[0].carrier.metrics().links_dismissed, 1);
}

#[tokio::test]
async fn a_newcomer_with_a_peer_store_needs_no_contact_and_a_damaged_store_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("peers.json");
    let mut first = Node::start(1, vec![]).await;
    first.admit(&[2]);
    let config = P2pConfig { store: Some(path.clone()), ..P2pConfig::new(here(), vec![first.address()]) };
    let mut second = Node::with(2, config).await;
    second.until_linked(&[1]).await;
    first.until_up(name(2)).await;
    second.carrier.stop().await;
    first.until_down(name(2)).await;
    drop(second);

    let store_only = P2pConfig { listen: vec![], store: Some(path.clone()), ..P2pConfig::new(here(), vec![]) };
    let mut again = Node::with(2, store_only.clone()).await;
    again.admit(&[1]);
    again.until_linked(&[1]).await;
    again.carrier.stop().await;

    std::fs::write(&path, b"{\"version\":1,\"peers\":[{").unwrap();
    let anew = Node::with(2, store_only).await;
    assert!(directory.path().join("peers.json.damaged").exists());
    assert!(anew.carrier.peers().is_empty());
}

#[tokio::test]
async fn a_node_that_listens_everywhere_is_found_where_others_see_it() {
    let mut middle = Node::start(2, vec![]).await;
    middle.admit(&[1, 3]);
    let everywhere = P2pConfig::new("0.0.0.0:0".parse().unwrap(), vec![middle.address()]);
    let mut first = Node::with(1, everywhere).await;
    first.admit(&[2, 3]);
    middle.until_linked(&[1]).await;
    // Nobody has told the third where the first is, but the second has seen it.
    let mut third = Node::with(3, P2pConfig { listen: vec![], ..P2pConfig::new(here(), vec![middle.address()]) }).await;
    third.admit(&[1, 2]);
    third.until_linked(&[1, 2]).await;
    first.until_linked(&[2, 3]).await;
    let link = third.carrier.peers().into_iter().find(|peer| peer.key == name(1)).unwrap();
    assert_eq!((link.direction, link.address.port()), (Direction::Out, first.carrier.listening()[0].port()));
}

#[tokio::test]
async fn a_port_is_free_again_when_stopping_is_done() {
    let mut config = P2pConfig::new(here(), vec![]);
    for _ in 0..5 {
        let node = Node::with(1, config.clone()).await;
        config.listen = node.carrier.listening();
        node.carrier.stop().await;
        let mut events = node.events;
        assert!(timeout(PATIENCE, events.recv()).await.unwrap().is_none(), "the events end");
    }
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_at_once_keep_one_connection_of_each_kind() {
    for _ in 0..3 {
        let (mut a, mut b) = (Node::start(1, vec![]).await, Node::start(2, vec![]).await);
        let (at_a, at_b) = (a.address(), b.address());
        // Both learn where the other is and dial in the same instant.
        a.carrier
            .shared
            .tell(Command::Told(vec![wire::Told { key: at_b.key.0, addresses: vec![at_b.address.to_string()] }]));
        b.carrier
            .shared
            .tell(Command::Told(vec![wire::Told { key: at_a.key.0, addresses: vec![at_a.address.to_string()] }]));
        a.admit(&[2]);
        b.admit(&[1]);
        a.carrier
            .shared
            .tell(Command::Told(vec![wire::Told { key: at_b.key.0, addresses: vec![at_b.address.to_string()] }]));
        b.carrier
            .shared
            .tell(Command::Told(vec![wire::Told { key: at_a.key.0, addresses: vec![at_a.address.to_string()] }]));
        a.until_linked(&[2]).await;
        b.until_linked(&[1]).await;
        a.carrier.broadcast(Channel::Status, Bytes::from_static(b"a")).unwrap();
        b.carrier.broadcast(Channel::Status, Bytes::from_static(b"b")).unwrap();
        assert_eq!((a.frame().await.2, b.frame().await.2), (Bytes::from_static(b"b"), Bytes::from_static(b"a")));
        eventually("two connections stay", || {
            let metrics = a.carrier.metrics();
            metrics.handshakes_done == metrics.links_ended + 2 && metrics.peers_bulk_apart == 1
        })
        .await;
        assert!(a.events.try_recv().is_err() && b.events.try_recv().is_err(), "nobody saw the choice");
    }
}

#[tokio::test]
async fn offences_lead_to_a_ban_and_the_others_stay() {
    let mut nodes = network(3).await;
    for _ in 0..4 {
        nodes[0].carrier.penalize(&name(3), Offence::BadSignature);
    }
    nodes[0].until_down(name(3)).await;
    nodes[2].until_down(name(1)).await;
    eventually("the banned peer is turned away", || nodes[0].carrier.metrics().refused_banned > 0).await;
    assert_eq!(nodes[0].carrier.metrics().bans, 1);
    nodes[0].carrier.broadcast(Channel::Status, Bytes::from_static(b"on")).unwrap();
    assert_eq!(nodes[1].frame().await.2, Bytes::from_static(b"on"));
    // Nobody is punished for what was never a peer.
    nodes[0].carrier.penalize(&name(9), Offence::WrongChain);
    assert_eq!(nodes[0].carrier.metrics().offences, 4);
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_hurts_nobody_else() {
    let mut limits = P2pLimits::default();
    limits.quotas[Channel::Status.index()] = ChannelQuota { frames_per_second: 100, bytes_per_second: 1_000_000 };
    let victim = Node::with(1, P2pConfig { limits, ..P2pConfig::new(here(), vec![]) }).await;
    victim.admit(&[2, 3]);
    let mut flooder = Node::start(2, vec![victim.address()]).await;
    let mut honest = Node::start(3, vec![victim.address()]).await;
    let mut victim = victim;
    victim.until_linked(&[2, 3]).await;
    flooder.until_linked(&[1]).await;
    honest.until_linked(&[1]).await;
    for _ in 0..Channel::Status.queue_frames_max() {
        flooder.carrier.broadcast(Channel::Status, Bytes::from_static(b"flood")).unwrap();
    }
    for number in 0..50u8 {
        honest.carrier.broadcast(Channel::Consensus, Bytes::copy_from_slice(&[number])).unwrap();
    }
    let mut counts: HashMap<PeerKey, usize> = HashMap::new();
    while counts.get(&name(3)) != Some(&50) {
        let (from, _, _) = victim.frame().await;
        *counts.entry(from).or_default() += 1;
    }
    eventually("the flooder has to wait", || victim.carrier.metrics().throttled_ms > 0).await;
    let flood = counts.get(&name(2)).copied().unwrap_or(0);
    assert!(flood < Channel::Status.queue_frames_max(), "the flood of {flood} was not slowed down");
}

#[tokio::test]
async fn a_reader_that_stands_still_costs_the_others_nothing() {
    let mut nodes = network(3).await;
    // Node 3 reads no events: its links fill up.
    let deaf = nodes.pop().unwrap();
    let large = Bytes::from(vec![1; Channel::Parts.frame_bytes_max()]);
    for round in 0..40u8 {
        for _ in 0..100 {
            nodes[0].carrier.broadcast(Channel::Parts, large.clone()).unwrap();
        }
        nodes[0].carrier.broadcast(Channel::Consensus, Bytes::copy_from_slice(&[round])).unwrap();
        loop {
            let (_, channel, bytes) = nodes[1].frame().await;
            if channel == Channel::Consensus {
                assert_eq!(bytes[0], round);
                break;
            }
        }
    }
    let deaf_link = nodes[0].carrier.peers().into_iter().find(|peer| peer.key == name(3));
    // Either the link dropped what did not fit, or it was ended for standing still.
    assert!(deaf_link.is_none_or(|link| link.dropped > 0));
    drop(deaf);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_it_is_queued() {
    let node = Node::start(1, vec![]).await;
    for channel in Channel::ALL {
        let bytes = channel.frame_bytes_max() + 1;
        let refused = node.carrier.broadcast(channel, Bytes::from(vec![0; bytes]));
        assert_eq!(refused, Err(SendError::TooLarge { channel, bytes, max: bytes - 1 }));
    }
    assert!(Class::ALL.len() < Channel::ALL.len());
}

#[tokio::test]
async fn a_port_in_use_is_a_named_error() {
    let node = Node::start(1, vec![]).await;
    let taken = node.carrier.listening()[0];
    let refused = P2pCarrier::start(P2pConfig::new(taken, vec![]), key(2), GENESIS, Arc::new(|| 0)).await;
    assert!(matches!(refused, Err(NetworkError::Listen { address, .. }) if address == taken));
}
