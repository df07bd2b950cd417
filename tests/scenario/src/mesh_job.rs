//! A rented node carries a renter's traffic: two agents of one renter, three live routes between them, one of which
//! leads through the rented node; the route in use is cut under a live TCP session.
//!
//! ```text
//!   namespace A --- bridge 0 --- namespace B          chain, validators: the ordinary network
//!        |   \----- bridge 1 -----/  |                each namespace reaches the chain by a forwarder
//!        +--- bridge 2 --- P ---------+               P: the provider's node, rented
//! ```
//!
//! A bridge that is taken down swallows frames without a word: the devices at both ends keep their carrier, as with a
//! provider's network that fails. Every millisecond one numbered message goes from A to B over the mesh.

use crate::{
    Agent, Wallet,
    main_job::{AgentFiles, Narrator, agent_identity, deal_of, free_port, new_account, number},
    market_job::Stage,
    process::binaries,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{io::copy_bidirectional, task::JoinSet, time::sleep};
use x0_test_support::netns::Namespace;

/// How long any one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(60);
/// Where agents in namespaces find the chain.
const CHAIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_944);
/// UDP port of the renter's agents.
const PORT: u16 = 7_801;
/// Bytes of a message: its number, and filling.
const MESSAGE_BYTES: usize = 64;
/// Messages between two cuts, and after the last.
const MESSAGES_BETWEEN: u64 = 2_000;
/// Name of the renter's mesh.
const MESH: &str = "renters-own-mesh";

/// The wires: bridge, and the devices on it in their namespaces.
struct Wires {
    one: Namespace,
    two: Namespace,
    relay: Namespace,
    middle: Namespace,
}

impl Wires {
    fn lay() -> Result<Self> {
        let [one, two, relay, middle] =
            [Namespace::create()?, Namespace::create()?, Namespace::create()?, Namespace::create()?];
        let wires = Self { one, two, relay, middle };
        let Self { one, two, relay, .. } = &wires;
        for (bridge, ends) in [
            (0, [(one, "direct0", 1), (two, "direct0", 2)]),
            (1, [(one, "direct1", 1), (two, "direct1", 2)]),
            (2, [(one, "rented", 1), (relay, "to-a", 2)]),
            (3, [(two, "rented", 1), (relay, "to-b", 2)]),
        ] {
            wires.bridge(bridge, ends)?;
        }
        Ok(wires)
    }

    fn bridge(&self, bridge: u8, ends: [(&Namespace, &str, u8); 2]) -> Result<()> {
        self.middle.ip(&format!("link add bridge{bridge} type bridge"))?;
        self.middle.ip(&format!("link set bridge{bridge} up"))?;
        for (number, (namespace, device, host)) in ends.into_iter().enumerate() {
            let port = format!("port{bridge}-{number}");
            self.middle.wire(&port, namespace, device)?;
            self.middle.ip(&format!("link set {port} master bridge{bridge}"))?;
            namespace.ip(&format!("address add 10.91.{bridge}.{host}/24 dev {device}"))?;
        }
        Ok(())
    }

    /// Swallows everything on the underlay of this name, as the renter's agent A names it.
    fn cut(&self, underlay: &str) -> Result<()> {
        let bridge = match underlay {
            "direct0" => 0,
            "direct1" => 1,
            "rented" => 2,
            other => bail!("no wire is called {other}"),
        };
        self.middle.set_device(&format!("bridge{bridge}"), false)
    }
}

/// Ways between namespaces and the ordinary network, open as long as this lives.
struct Doors(JoinSet<()>);

impl Doors {
    /// Whoever connects to `at` inside the namespace speaks to `to` outside.
    fn outwards(&mut self, namespace: &Namespace, at: SocketAddr, to: SocketAddr) -> Result<()> {
        let listener = namespace.listen(at)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.0.spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // The end of either side is the end of both.
                    if let Ok(mut outer) = tokio::net::TcpStream::connect(to).await {
                        drop(copy_bidirectional(&mut inner, &mut outer).await);
                    }
                });
            }
        });
        Ok(())
    }

    /// Whoever connects to `at` outside speaks to the same address inside the namespace.
    async fn inwards(&mut self, at: SocketAddr, namespace: &Namespace) -> Result<()> {
        let listener = tokio::net::TcpListener::bind(at).await.context("the node's endpoint")?;
        let namespace = namespace.clone();
        self.0.spawn(async move {
            while let Ok((mut outer, _)) = listener.accept().await {
                let namespace = namespace.clone();
                tokio::spawn(async move {
                    let inner = tokio::task::spawn_blocking(move || namespace.connect(at)).await;
                    let Ok(Ok(inner)) = inner else { return };
                    let Ok(()) = inner.set_nonblocking(true) else { return };
                    if let Ok(mut inner) = tokio::net::TcpStream::from_std(inner) {
                        drop(copy_bidirectional(&mut outer, &mut inner).await);
                    }
                });
            }
        });
        Ok(())
    }
}

/// Everything that takes part.
struct Cast {
    wires: Wires,
    _doors: Doors,
    relay: Agent,
    one: Agent,
    two: Agent,
    relay_listing: u64,
    accounts: [String; 2],
}

/// Rents a node for a mesh of two agents, cuts routes under a live TCP session, and ends the deal.
pub async fn run(stage: &Stage<'_>, say: Narrator<'_>) -> Result<()> {
    // SAFETY: the call takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        say("   The mesh needs network namespaces and so root: this part is left out. Run the demo as root to see it.");
        return Ok(());
    }
    say("   The renter builds a mesh of two agents, in network namespaces, with two wires of their own between them.");
    let cast = gather(stage).await?;
    say(
        "   It rents a third provider's node, which joins both: three routes. Until the deal is confirmed nobody gets in.",
    );
    let waiting = cast.relay.status().await?;
    ensure!(waiting["mesh"]["state"] == "waiting", "without a deal the node serves no mesh: {}", waiting["mesh"]);
    let [one, two] = &cast.accounts;
    let deal = rent(stage.wallet, &cast, [one, two]).await?;
    live_routes(&cast, say).await?;
    carry(&cast, say).await?;
    end(stage, cast, deal, say).await
}

async fn gather(stage: &Stage<'_>) -> Result<Cast> {
    let Stage { folder, node, wallet, renter, .. } = stage;
    let wires = tokio::task::spawn_blocking(Wires::lay).await??;
    let mut doors = Doors(JoinSet::new());
    let rpc: SocketAddr =
        node.rpc.trim_start_matches("ws://").trim_end_matches('/').parse().context("the node's RPC")?;
    for namespace in [&wires.one, &wires.two, &wires.relay] {
        doors.outwards(namespace, CHAIN, rpc)?;
    }
    let provider = new_account(wallet, "provider-3", "2000 X0T").await?;
    let port = free_port()?;
    let relay = agent_identity(folder, "mesh-relay", node, &provider, Some(port), None)?;
    let one = agent_identity(folder, "mesh-a", node, renter, None, None)?;
    let two = agent_identity(folder, "mesh-b", node, renter, None, None)?;
    for (files, key) in [(&relay, "provider-3"), (&one, "renter"), (&two, "renter")] {
        wallet.run(&["did", "register-agent", "--proof", &files.proof, "--key", key]).await?;
    }
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    doors.inwards(at, &wires.relay).await?;
    let underlay = |name: &str, address: &str, port: u16| {
        format!("[[mesh.underlay]]\nname = {name:?}\ninterface = {name:?}\naddress = {address:?}\nport = {port}\n")
    };
    // Deals admit; the file only says where those whom they admit are reached.
    let peer = |account: &str, endpoints: &[(&str, &str, u16)]| {
        let endpoint = |(underlay, address, port): &(&str, &str, u16)| {
            format!("{{ underlay = {underlay:?}, address = \"{address}:{port}\" }}")
        };
        let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
        format!("[[mesh.peer]]\naccount = {account:?}\nadmit = false\nendpoints = [{}]\n", endpoints.join(", "))
    };
    configure(
        &relay,
        at,
        &[
            "[mesh]\ntunnel = { enabled = false }\n".to_owned(),
            underlay("to-a", "10.91.2.2", port),
            underlay("to-b", "10.91.3.2", port),
        ],
    )?;
    let member = |own: u8, other: &AgentFiles, rented: u8| {
        let far = |wire: u8| format!("10.91.{wire}.{}", 3 - own);
        [
            format!("[mesh]\nname = {MESH:?}\n"),
            underlay("direct0", &format!("10.91.0.{own}"), PORT),
            underlay("direct1", &format!("10.91.1.{own}"), PORT),
            underlay("rented", &format!("10.91.{rented}.1"), PORT),
            peer(&other.account, &[("direct0", &far(0), PORT), ("direct1", &far(1), PORT)]),
            peer(&relay.account, &[("rented", &format!("10.91.{rented}.2"), port)]),
        ]
    };
    let probes = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    configure(&one, probes, &member(1, &two, 2))?;
    configure(&two, probes, &member(2, &one, 3))?;
    let start = |files: &AgentFiles, namespace: &Namespace| {
        let (config, namespace) = (files.config.clone(), namespace.clone());
        async move { Agent::start_in(&namespace, Path::new(&config)).await }
    };
    let relay_agent = start(&relay, &wires.relay).await?;
    let agents = (start(&one, &wires.one).await?, start(&two, &wires.two).await?);
    let relay_listing = list(wallet, &relay_agent.node).await?;
    Ok(Cast {
        wires,
        _doors: doors,
        relay: relay_agent,
        one: agents.0,
        two: agents.1,
        relay_listing,
        accounts: [one.account, two.account],
    })
}

/// Writes an agent's configuration for its namespace over the one that its identity was made with.
fn configure(files: &AgentFiles, listen: SocketAddr, more: &[String]) -> Result<()> {
    let head = format!(
        "[identity]\nkeystore = \"agent.json\"\npassword_file = \"password\"\n[chain]\nurl = \"ws://{CHAIN}\"\n[listen]\naddress = \"{listen}\"\n[status]\npath = \"status.sock\"\n"
    );
    Ok(std::fs::write(&files.config, head + &more.concat())?)
}

async fn list(wallet: &Wallet, node: &str) -> Result<u64> {
    let listed = wallet
        .run(&[
            "market",
            "list",
            "--node",
            node,
            "--price",
            "1 X0T/5",
            "--bandwidth",
            "100000",
            "--sessions",
            "8",
            "--region",
            "mesh-demo",
            "--term-min",
            "10",
            "--term-max",
            "3600",
            "--bond",
            "100 X0T",
            "--key",
            "provider-3",
        ])
        .await?;
    number(&listed, "listing")
}

async fn rent(wallet: &Wallet, cast: &Cast, [one, two]: [&str; 2]) -> Result<u64> {
    let listing = cast.relay_listing.to_string();
    let rented = wallet
        .run(&[
            "market",
            "rent",
            &listing,
            "--bandwidth",
            "50000",
            "--sessions",
            "4",
            "--term",
            "300",
            "--deposit",
            "60 X0T",
            "--mesh",
            MESH,
            "--agent",
            one,
            "--agent",
            two,
            "--key",
            "renter",
        ])
        .await?;
    let deal = number(&rented, "deal")?;
    wallet.run(&["market", "confirm", &deal.to_string(), "--key", "provider-3"]).await?;
    Ok(deal)
}

/// Waits for something that an agent says.
async fn wait_for<T>(what: &str, agent: &Agent, wanted: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + STEP_TIME_MAX;
    loop {
        if let Some(found) = wanted().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "waited for {what} in vain; the agent's log:\n{}", agent.log());
        sleep(Duration::from_millis(100)).await;
    }
}

/// Three routes that deliver, and what was agreed with whom.
async fn live_routes(cast: &Cast, say: Narrator<'_>) -> Result<()> {
    let target = overlay(&cast.two).await?;
    // A session opens with its first packet.
    let namespace = cast.wires.one.clone();
    let poke = tokio::task::spawn_blocking(move || {
        namespace.inside(move || {
            let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
            Ok(socket.send_to(b"hello", (target, 9))?)
        })
    });
    poke.await??;
    let routes = wait_for("three routes", &cast.one, async || {
        let paths = ask(&cast.one, "paths").await?;
        let up = |path: &&Value| path["state"] == "up" && path["rank"].is_number();
        let live = paths[0]["paths"].as_array().map_or(0, |paths| paths.iter().filter(up).count());
        Ok((live >= 3).then_some(paths))
    })
    .await?;
    for path in routes[0]["paths"].as_array().into_iter().flatten() {
        let through = path["hops"].as_array().map_or(0, Vec::len).saturating_sub(1);
        let kind = if through == 0 { "direct" } else { "through the rented node" };
        say(&format!("   route over {}: {kind}, {} us round trip", text(&path["underlay"]), path["srttUs"]));
    }
    let status = cast.one.status().await?;
    let algorithms = &status["mesh"]["algorithms"];
    say(&format!(
        "   agreed by x0-agent status: {} ; {} ; {} ; {} ; {}",
        text(&algorithms["keyExchange"]),
        text(&algorithms["authentication"]),
        text(&algorithms["sealing"]),
        text(&algorithms["keySchedule"]),
        text(&algorithms["hop"]),
    ));
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The overlay address that an agent says.
async fn overlay(agent: &Agent) -> Result<Ipv6Addr> {
    let status = agent.status().await?;
    status["mesh"]["address"].as_str().context("an overlay address")?.parse().context("an IPv6 address")
}

/// Runs `x0-agent WORD --json` for an agent.
async fn ask(agent: &Agent, word: &str) -> Result<Value> {
    let output = tokio::process::Command::new(binaries()?.join("x0-agent"))
        .args([word, "--json", "--config", &agent.config().display().to_string()])
        .output()
        .await?;
    ensure!(output.status.success(), "x0-agent {word}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("x0-agent {word} prints JSON"))
}

/// What the receiver of the stream saw.
#[derive(Debug, Default)]
struct Received {
    messages: AtomicU64,
    /// The longest time between two messages since it was last read, microseconds.
    gap_us: AtomicU64,
}

/// The stream's ends.
struct Stream {
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<u64>>,
    stop: Arc<AtomicBool>,
    received: Arc<Received>,
}

/// Cuts two routes one after the other under a TCP session, and checks that nothing was lost.
async fn carry(cast: &Cast, say: Narrator<'_>) -> Result<()> {
    let target = overlay(&cast.two).await?;
    let (from, to) = (cast.wires.one.clone(), cast.wires.two.clone());
    let stream = tokio::task::spawn_blocking(move || Stream::start(&from, &to, target)).await??;
    say("   A TCP session runs from A to B over the mesh, one numbered message each millisecond.");
    stream.pass(MESSAGES_BETWEEN).await?;
    let undisturbed = stream.received.gap_us.swap(0, Ordering::Relaxed);
    say(&format!("   undisturbed, the longest time between two messages is {}", ms(undisturbed)));
    for _ in 0..2 {
        let underlay = primary(&cast.one).await?;
        stream.received.gap_us.store(0, Ordering::Relaxed);
        let cut_ns = monotonic_ns();
        cast.wires.cut(&underlay)?;
        stream.pass(MESSAGES_BETWEEN).await?;
        let gap = stream.received.gap_us.load(Ordering::Relaxed);
        let now = primary(&cast.one).await?;
        ensure!(now != underlay, "packets still take {underlay}, which is cut");
        let switched = switched_after(&cast.one, cut_ns).await?;
        say(&format!(
            "   the network of {underlay}, which carried it, swallows everything: the agent changes to {now} after {}, \
             the longest time between two messages is {}",
            ms(switched),
            ms(gap)
        ));
    }
    let (sent, received) = stream.end().await?;
    ensure!(sent == received, "{sent} messages were sent, {received} arrived");
    say(&format!("   TCP session unbroken: {sent} messages sent, {received} received in order, 0 lost."));
    Ok(())
}

fn ms(us: u64) -> String {
    format!("{}.{:01} ms", us / 1_000, us % 1_000 / 100)
}

/// This machine's monotonic clock, which the agents' logs of switches use too, nanoseconds.
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which lives during it; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Microseconds from a moment to the first change of route after it, by the agent's own log.
async fn switched_after(agent: &Agent, cut_ns: u64) -> Result<u64> {
    let paths = ask(agent, "paths").await?;
    let switches = paths[0]["switches"].as_array().context("switches")?.iter();
    let first = switches.filter_map(|switch| switch["atNs"].as_u64()).find(|at_ns| *at_ns >= cut_ns);
    Ok((first.context("no change of route is in the agent's log")? - cut_ns) / 1_000)
}

/// The underlay of the route that packets to the other agent take now.
async fn primary(agent: &Agent) -> Result<String> {
    let paths = ask(agent, "paths").await?;
    let session = &paths[0];
    let all = session["paths"].as_array().context("paths")?;
    let path = all.iter().find(|path| path["id"] == session["primary"]).context("a primary path")?;
    Ok(text(&path["underlay"]))
}

impl Stream {
    fn start(from: &Namespace, to: &Namespace, target: Ipv6Addr) -> Result<Self> {
        let listener = to.inside(move || Ok(TcpListener::bind((target, 0))?))?;
        let address = listener.local_addr()?;
        let sending = from.inside(move || Ok(TcpStream::connect_timeout(&address, STEP_TIME_MAX)?))?;
        let (receiving, _) = listener.accept()?;
        for end in [&sending, &receiving] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(STEP_TIME_MAX))?;
            end.set_write_timeout(Some(STEP_TIME_MAX))?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(Received::default());
        let (stopping, seen) = (Arc::clone(&stop), Arc::clone(&received));
        let sender = std::thread::Builder::new().name("demo-sender".into()).spawn(move || send(sending, &stopping))?;
        let receiver =
            std::thread::Builder::new().name("demo-receiver".into()).spawn(move || receive(receiving, &seen))?;
        Ok(Self { sender, receiver, stop, received })
    }

    /// Waits until so many more messages have arrived.
    async fn pass(&self, messages: u64) -> Result<()> {
        let wanted = self.received.messages.load(Ordering::Relaxed) + messages;
        let deadline = Instant::now() + STEP_TIME_MAX;
        while self.received.messages.load(Ordering::Relaxed) < wanted {
            ensure!(!self.receiver.is_finished() && !self.sender.is_finished(), "the TCP session broke");
            ensure!(Instant::now() < deadline, "messages stopped arriving");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends the stream; messages sent and received.
    async fn end(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let both = tokio::task::spawn_blocking(move || {
            let ended = |end: JoinHandle<Result<u64>>| end.join().map_err(|_| anyhow::anyhow!("an end panicked"))?;
            Ok::<_, anyhow::Error>((ended(self.sender)?, ended(self.receiver)?))
        });
        both.await?
    }
}

fn send(mut stream: TcpStream, stop: &AtomicBool) -> Result<u64> {
    let start = Instant::now();
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let mut message = [0; MESSAGE_BYTES];
        message[..8].copy_from_slice(&number.to_be_bytes());
        stream.write_all(&message).context("the TCP session broke while sending")?;
        number += 1;
        let due = start + Duration::from_millis(number);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(number)
}

fn receive(mut stream: TcpStream, received: &Received) -> Result<u64> {
    let mut last: Option<Instant> = None;
    let mut message = [0; MESSAGE_BYTES];
    let mut expected = 0u64;
    loop {
        let mut filled = 0;
        while filled < MESSAGE_BYTES {
            match stream.read(&mut message[filled..]).context("the TCP session broke while receiving")? {
                0 if filled == 0 => return Ok(expected),
                0 => bail!("the TCP session ended in mid-message {expected}"),
                read => filled += read,
            }
        }
        let now = Instant::now();
        let [a, b, c, d, e, f, g, h, ..] = message;
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        ensure!(number == expected, "message {expected} was due, and {number} came");
        expected += 1;
        if let Some(last) = last.replace(now) {
            let gap_us = u64::try_from(now.duration_since(last).as_micros()).unwrap_or(u64::MAX);
            received.gap_us.fetch_max(gap_us, Ordering::Relaxed);
        }
        received.messages.store(expected, Ordering::Relaxed);
    }
}

/// The renter ends the deal: the rented node closes its mesh, and everybody is paid.
async fn end(stage: &Stage<'_>, cast: Cast, deal: u64, say: Narrator<'_>) -> Result<()> {
    let before = ask(&cast.relay, "peers").await?;
    let guests = |peers: &Value| {
        let named: Vec<&str> =
            peers.as_array().into_iter().flatten().filter_map(|peer| peer["account"].as_str()).collect();
        cast.accounts.iter().filter(|account| named.contains(&account.as_str())).count()
    };
    ensure!(guests(&before) == 2, "the rented node's peers are the two agents that the deal names: {before}");
    stage.wallet.run(&["market", "cancel", &deal.to_string(), "--key", "renter"]).await?;
    let cancelled = Instant::now();
    wait_for("the end of the mesh", &cast.relay, async || {
        let status = cast.relay.status().await?;
        Ok((status["mesh"]["state"] == "waiting").then_some(()))
    })
    .await?;
    let closed = cancelled.elapsed();
    say(&format!(
        "   The renter cancels the deal: {} ms after the cancellation was final, the node serves that mesh no more.",
        closed.as_millis()
    ));
    wait_for("the payment", &cast.relay, async || Ok(deal_of(stage.rpc, deal).await?.terminal.then_some(()))).await?;
    let Cast { relay, one, two, .. } = cast;
    for agent in [one, two, relay] {
        agent.stop().await?;
    }
    Ok(())
}
