//! The two connections of a pair: what happens to one when the other stands still or ends.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a tunnel does with the bytes of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tap {
    Open,
    Shut,
    Cut,
}

/// A way to a node on which each connection can be stopped by itself.
struct Tunnel {
    address: SocketAddr,
    taps: Arc<Mutex<Vec<watch::Sender<Tap>>>>,
}

impl Tunnel {
    async fn to(target: Arc<Mutex<Option<SocketAddr>>>) -> Self {
        let listener = TcpListener::bind(here()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let taps = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&taps);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let to = target.lock().expect("the target is known");
                let Ok(far) = TcpStream::connect(to).await else { continue };
                let (sender, tap) = watch::channel(Tap::Open);
                all.lock().push(sender);
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pour(near_in, far_out, tap.clone()));
                tokio::spawn(pour(far_in, near_out, tap));
            }
        });
        Self { address, taps }
    }

    fn set(&self, connection: usize, tap: Tap) {
        self.taps.lock()[connection].send_replace(tap);
    }

    fn connections(&self) -> usize {
        self.taps.lock().len()
    }
}

async fn pour(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut tap: watch::Receiver<Tap>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = *tap.borrow_and_update();
        match now {
            Tap::Cut => return,
            Tap::Shut => drop(tap.changed().await),
            Tap::Open => tokio::select! {
                changed = tap.changed() => if changed.is_err() { return },
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(length) => if to.write_all(&buffer[..length]).await.is_err() { return },
                },
            },
        }
    }
}

/// Two nodes; the second dials the first through a tunnel, the first cannot dial.
async fn pair() -> (Node, Node, Tunnel) {
    let target = Arc::new(Mutex::new(None));
    let tunnel = Tunnel::to(Arc::clone(&target)).await;
    let place = HostPort::from_socket(tunnel.address);
    let mut first = Node::with(1, P2pConfig { advertise: vec![place.clone()], ..P2pConfig::new(here(), vec![]) }).await;
    *target.lock() = Some(first.carrier.listening()[0]);
    first.admit(&[2]);
    let contact = PeerAddress { key: name(1), address: place };
    let mut second = Node::with(2, P2pConfig { listen: vec![], ..P2pConfig::new(here(), vec![contact]) }).await;
    second.until_linked(&[1]).await;
    first.until_linked(&[2]).await;
    apart(&first, &second).await;
    (first, second, tunnel)
}

async fn apart(a: &Node, b: &Node) {
    eventually("bulk has its own connection", || {
        [a, b].iter().all(|node| node.carrier.metrics().peers_bulk_apart == 1 && node.carrier.peers()[0].bulk_apart)
    })
    .await;
}

#[tokio::test]
async fn votes_pass_in_both_directions_while_the_connection_of_blocks_stands_still() {
    let (mut first, mut second, tunnel) = pair().await;
    tunnel.set(1, Tap::Shut);
    let part = Bytes::from(vec![2; Channel::Parts.frame_bytes_max()]);
    for number in 0..20u8 {
        for node in [&first, &second] {
            for channel in [Channel::Parts, Channel::Transactions, Channel::SyncResponse] {
                node.carrier.broadcast(channel, part.clone()).unwrap();
            }
            node.carrier.broadcast(Channel::Consensus, Bytes::copy_from_slice(&[number])).unwrap();
        }
        for node in [&mut first, &mut second] {
            let (_, channel, bytes) = node.frame().await;
            assert_eq!((channel, &bytes[..]), (Channel::Consensus, &[number][..]));
        }
    }
    // What waited comes when the way is free again.
    tunnel.set(1, Tap::Open);
    assert_eq!(first.frame().await.0, name(2));
    assert_eq!(tunnel.connections(), 2, "neither connection was given up");
}

#[tokio::test]
async fn each_connection_comes_back_by_itself_and_the_peer_never_goes() {
    let (mut first, mut second, tunnel) = pair().await;
    for (lost, channel) in [(1, Channel::Parts), (0, Channel::Consensus)] {
        let before = tunnel.connections();
        tunnel.set(lost, Tap::Cut);
        eventually("the end is noticed", || {
            [&first, &second].iter().all(|node| node.carrier.metrics().links_ended > lost.abs_diff(1) as u64)
        })
        .await;
        // The other connection carries everything meanwhile.
        first.carrier.broadcast(channel, Bytes::from_static(b"on")).unwrap();
        second.carrier.broadcast(channel, Bytes::from_static(b"on")).unwrap();
        for node in [&mut first, &mut second] {
            let event = node.next().await;
            assert!(matches!(event, CarrierEvent::Frame { .. }), "{event:?}");
        }
        apart(&first, &second).await;
        assert_eq!(tunnel.connections(), before + 1, "only the lost one was dialled again");
    }
    eventually("nobody is missing", || first.carrier.metrics().peers_missing == 0).await;
    let metrics = first.carrier.metrics();
    assert_eq!((metrics.peers, metrics.links_ended), (1, 2));
    // Both at once, and the peer is gone: once for everybody who counts peers.
    let live = tunnel.connections();
    for connection in 0..live {
        tunnel.set(connection, Tap::Cut);
    }
    first.until_down(name(2)).await;
    first.until_up(name(2)).await;
    apart(&first, &second).await;
}

#[tokio::test]
async fn a_peer_that_leaves_the_list_loses_both_connections() {
    let (mut first, mut second, _tunnel) = pair().await;
    first.admit(&[]);
    second.until_down(name(1)).await;
    first.until_down(name(2)).await;
    eventually("both ended", || first.carrier.metrics().links_ended == 2).await;
    assert_eq!(first.carrier.metrics().links_dismissed, 1, "one peer left");
    assert!(first.carrier.peers().is_empty());
}
