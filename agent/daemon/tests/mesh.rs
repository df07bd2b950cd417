//! Two real agents in network namespaces, told by files alone: their hosts reach each other over the mesh, operators
//! see why, changes are taken over without a break, and who comes back is taken back.
//!
//! Needs root, network namespaces and `/dev/net/tun`; fails with the reason where they are missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    os::{fd::FromRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use support::{complaint, until};
use x0_client::text::account_text;
use x0_test_support::{netns::Namespace, process::Process};
use x0_types::AccountId;

const PATIENCE: Duration = Duration::from_secs(20);
/// Underlays of each agent.
const WIRES: u8 = 2;

/// The files of one agent, and the namespace that it lives in.
struct Home {
    folder: tempfile::TempDir,
    namespace: Namespace,
    letter: char,
    host: u8,
    /// Its account and its public key in hex, as `init` gives them.
    account: String,
    key: String,
}

impl Home {
    fn new(namespace: Namespace, letter: char, host: u8) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut home = Self { folder, namespace, letter, host, account: String::new(), key: String::new() };
        std::fs::write(home.path("password"), "another horse battery\n")?;
        home.configure(None, "")?;
        let controller = account_text(&AccountId::new([7; 32]));
        let made = home.run("init", &["--controller", &controller]);
        ensure!(made.status.success(), "{}", complaint(&made));
        let proof: Value = serde_json::from_slice(&std::fs::read(home.path("proof.json"))?)?;
        home.account = proof["subject"].as_str().context("a subject")?.to_owned();
        home.key = proof["public"].as_str().context("a key")?.to_owned();
        Ok(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self, wire: u8) -> SocketAddr {
        SocketAddr::from(([10, wire, 0, self.host], 7_801))
    }

    /// Writes the configuration: a peer, if there is one yet, and more.
    fn configure(&self, peer: Option<&Home>, more: &str) -> Result<()> {
        let mut text = format!(
            "[identity]\nkeystore = \"agent.json\"\npassword_file = \"password\"\n[chain]\noffline = true\ngenesis = \"0x{}\"\n[metrics]\n[mesh]\nname = \"test-mesh\"\nlimits = {{ lock_memory = false }}\n",
            "34".repeat(32)
        );
        for wire in 0..WIRES {
            let at = self.address(wire);
            text += &format!(
                "[[mesh.underlay]]\nname = \"wire{wire}\"\ninterface = \"{}{wire}\"\naddress = \"{}\"\nport = {}\n",
                self.letter,
                at.ip(),
                at.port()
            );
        }
        if let Some(peer) = peer {
            let endpoint = |wire| format!("{{ address = \"{}\", underlay = \"wire{wire}\" }}", peer.address(wire));
            let endpoints: Vec<String> = (0..WIRES).map(endpoint).collect();
            text += &format!(
                "[[mesh.peer]]\naccount = \"{}\"\nkey = \"{}\"\nendpoints = [{}]\n",
                peer.account,
                peer.key,
                endpoints.join(", ")
            );
        }
        Ok(std::fs::write(self.path("agent.toml"), text + more)?)
    }

    fn command(&self, word: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_x0-agent"));
        command.env_clear().arg(word).arg("--config").arg(self.path("agent.toml")).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, word: &str, arguments: &[&str]) -> Output {
        self.command(word, arguments).output().unwrap()
    }

    /// Asks the running agent for JSON.
    fn ask(&self, word: &str, arguments: &[&str]) -> Result<Value> {
        let output = self.run(word, &[&["--json"], arguments].concat());
        ensure!(output.status.success(), "{word}: {}", complaint(&output));
        serde_json::from_slice(&output.stdout).with_context(|| format!("{word} prints JSON"))
    }

    fn mesh(&self) -> Value {
        self.ask("status", &[]).unwrap()["mesh"].clone()
    }

    fn start(&self) -> Agent<'_> {
        let mut command = self.command("up", &[]);
        self.namespace.enter(&mut command);
        let process = Process::start(&mut command);
        let overlay = process.ready["mesh"]["address"].as_str().unwrap().parse().unwrap();
        Agent { home: self, process, overlay }
    }
}

/// A running agent.
struct Agent<'a> {
    home: &'a Home,
    process: Process,
    overlay: Ipv6Addr,
}

/// Links of an agent that are up.
fn links_up(mesh: &Value) -> usize {
    mesh["links"].as_array().map_or(0, |links| links.iter().filter(|link| link["state"] == "up").count())
}

/// Two homes joined by wires, each with the other as its peer.
fn homes() -> Result<(Home, Home)> {
    let (one, two) = (Namespace::create()?, Namespace::create()?);
    for wire in 0..WIRES {
        one.wire(&format!("a{wire}"), &two, &format!("b{wire}"))?;
        one.ip(&format!("address add 10.{wire}.0.1/24 dev a{wire}"))?;
        two.ip(&format!("address add 10.{wire}.0.2/24 dev b{wire}"))?;
    }
    let (one, two) = (Home::new(one, 'a', 1)?, Home::new(two, 'b', 2)?);
    one.configure(Some(&two), "")?;
    two.configure(Some(&one), "")?;
    Ok((one, two))
}

fn linked<'a>(one: &'a Home, two: &'a Home) -> (Agent<'a>, Agent<'a>) {
    let agents = (one.start(), two.start());
    until("all links are up", || (links_up(&one.mesh()) == usize::from(WIRES)).then_some(()));
    agents
}

/// An ICMPv6 echo (RFC 4443 section 4) whose answer comes back within the patience. As every `ping` it asks again each
/// half second: what was sealed for a session that the other end has lost cannot arrive.
fn ping(from: &Agent<'_>, to: &Agent<'_>) -> Result<()> {
    let socket = from.home.namespace.inside(|| {
        // SAFETY: `socket` takes no pointers; the descriptor belongs to nobody else.
        let raw = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMPV6) };
        ensure!(raw >= 0, "a raw ICMPv6 socket: {}", std::io::Error::last_os_error());
        // SAFETY: as above; sending and receiving on it is what a UDP socket does.
        Ok(unsafe { UdpSocket::from_raw_fd(raw) })
    })?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let start = Instant::now();
    let mut buffer = [0; 1_500];
    while start.elapsed() < PATIENCE {
        socket.send_to(&[128, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'], (to.overlay, 0))?;
        while let Ok(length) = socket.recv(&mut buffer) {
            if buffer[0] == 129 && buffer[4..8] == [0x12, 0x34, 0, 1] {
                ensure!(buffer[8..length] == *b"ping");
                return Ok(());
            }
        }
    }
    anyhow::bail!("no echo came back")
}

/// Every name is written as in all JSON of the product.
fn check_names(value: &Value) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            assert!(!name.contains('_'), "{name}");
            check_names(value);
        }),
        Value::Array(values) => values.iter().for_each(check_names),
        _ => {}
    }
}

#[test]
fn hosts_reach_each_other_and_operators_see_how() -> Result<()> {
    let (home_one, home_two) = homes()?;
    let (one, two) = linked(&home_one, &home_two);
    ping(&one, &two)?;
    ping(&two, &one)?;

    let mesh = home_one.mesh();
    check_names(&mesh);
    assert_eq!(mesh["state"], "up");
    assert_eq!(mesh["algorithms"]["keyExchange"], "ML-KEM-768 + X25519");
    assert_eq!(mesh["algorithms"]["authentication"], "ML-DSA-65");
    assert_eq!(mesh["address"], one.overlay.to_string());
    assert_eq!(mesh["counters"]["sessionsOpened"], 1);
    assert!(mesh["counters"]["refusedForged"].is_number() && mesh["handshakes"]["refusedSuite"].is_number());
    assert!(mesh["warnings"].is_array() && mesh["filter"]["state"].is_string());

    let peers = home_one.ask("peers", &[])?;
    assert_eq!(peers.as_array().map(Vec::len), Some(1));
    assert_eq!((&peers[0]["account"], &peers[0]["configured"]), (&home_two.account.as_str().into(), &true.into()));
    assert_eq!(peers[0]["links"].as_array().map(Vec::len), Some(usize::from(WIRES)));
    assert_eq!(peers[0]["session"]["open"], true);

    let paths = until("two paths", || {
        let paths = home_one.ask("paths", &["--explain", &home_two.account]).unwrap();
        (paths[0]["paths"].as_array().map_or(0, Vec::len) >= 2).then_some(paths)
    });
    check_names(&paths);
    for field in ["tau", "quality", "lossQ16", "trustQ16", "state", "underlay"] {
        assert!(!paths[0]["paths"][0][field].is_null(), "{field}: {paths}");
    }
    assert!(!paths[0]["primary"].is_null() && !paths[0]["switches"].as_array().unwrap().is_empty(), "{paths}");
    let nobody = account_text(&AccountId::new([9; 32]));
    assert_eq!(home_one.ask("paths", &["--explain", &nobody])?, serde_json::json!([]));
    for word in ["status", "peers", "paths"] {
        let words = home_one.run(word, &[]);
        assert!(words.status.success() && words.stdout.len() > 40, "{word}: {words:?}");
    }
    let refused = home_one.run("paths", &["--explain", "nobody"]);
    assert_eq!((refused.status.code(), complaint(&refused).contains("nobody")), (Some(1), true));

    let numbers = metrics(&home_one.namespace)?;
    for line in
        ["x0_agent_mesh_up 1", "x0_agent_mesh_refused_total{reason=\"forged\"}", "x0_agent_mesh_links{state=\"up\"} 2"]
    {
        assert!(numbers.contains(line), "{line} in {numbers}");
    }
    assert!(one.process.terminate().success(), "SIGTERM is a graceful stop");
    assert!(!home_one.path("agent.sock").exists());
    assert!(two.process.terminate().success());
    Ok(())
}

/// Sends one line to a control socket and gives what comes back.
fn ask_socket(socket: &Path, line: &str) -> Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A stranger may be hung up on before the request is written.
    let _ = stream.write_all(line.as_bytes());
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

fn metrics(namespace: &Namespace) -> Result<String> {
    let mut stream = namespace.connect("127.0.0.1:7802".parse()?)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    Ok(answer)
}

#[test]
fn captures_show_headers_and_inner_ones_only_when_asked() -> Result<()> {
    let (home_one, home_two) = homes()?;
    let (one, two) = linked(&home_one, &home_two);
    ping(&one, &two)?;
    let outer = home_one.run("capture", &["--seconds", "1", "--json"]);
    // The command does not live in the agent's namespace, the agent does: it sees its own wires.
    assert!(outer.status.success(), "{}", complaint(&outer));
    let lines: Vec<Value> =
        outer.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert!(lines.iter().any(|line| line["header"]["kind"] == "heartbeat"), "{lines:?}");
    assert!(lines.iter().all(|line| line["packetBytes"].is_null()), "no inner packet is shown");

    let mut inner = home_one.command("capture", &["--seconds", "30", "--decrypted", "--json"]);
    let mut inner = inner.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(inner.stdout.take().context("piped")?).lines();
    // The capture has no moment at which it is known to run; pings go on until one is seen.
    let seen = std::thread::scope(|scope| -> Result<Value> {
        let reader = scope.spawn(move || lines.next());
        while !reader.is_finished() {
            ping(&two, &one)?;
        }
        let line = reader.join().map_err(|_| anyhow::anyhow!("the reader"))?.context("a line")??;
        Ok(serde_json::from_str(&line)?)
    })?;
    inner.kill()?;
    inner.wait()?;
    assert_eq!(
        (&seen["packetBytes"], &seen["header"].as_str().map(str::len)),
        (&52.into(), &Some(2 + 2 * 48)),
        "{seen}"
    );
    until("the capture has ended with its reader", || {
        let next = home_one.run("capture", &["--seconds", "1", "--decrypted", "--json"]);
        next.status.success().then_some(())
    });
    Ok(())
}

#[test]
fn rules_are_taken_over_without_a_break_and_a_restarted_agent_is_taken_back() -> Result<()> {
    let (home_one, home_two) = homes()?;
    let (one, two) = linked(&home_one, &home_two);
    ping(&one, &two)?;
    let opened = |mesh: &Value| {
        mesh["links"].as_array().unwrap().iter().map(|link| link["openedUs"].clone()).collect::<Vec<_>>()
    };
    let before = home_one.mesh();
    let rule = |action: &str| format!("[[mesh.rule]]\npeer = \"{}\"\naction = {action}\n", home_two.account);
    home_one.configure(Some(&home_two), &rule("\"prefer\"\nweight = 4"))?;
    assert_eq!(home_one.ask("reload", &[])?["restartNeededFor"], serde_json::json!([]));
    let after = home_one.mesh();
    assert_eq!(opened(&before), opened(&after), "the links are the same ones");
    assert_eq!(after["counters"]["sessionsOpened"], before["counters"]["sessionsOpened"]);
    ping(&one, &two)?;

    home_one.configure(Some(&home_two), "unknown = 1\n")?;
    // The command line reads the same broken file; the agent is asked without it.
    let said = ask_socket(&home_one.path("agent.sock"), "{\"command\":\"reload\"}\n")?;
    assert!(said.contains("error") && said.contains("unknown field"), "{said}");
    let said = ask_socket(&home_one.path("agent.sock"), "{\"command\":\"explode\"}\n")?;
    assert!(said.contains("no request"), "{said}");

    home_one.configure(Some(&home_two), &rule("\"deny\""))?;
    assert_eq!(home_one.ask("reload", &[])?["reloaded"], true, "the broken file changed nothing that matters here");
    assert_eq!(home_one.mesh()["links"], serde_json::json!([]), "closed when the command returns");
    home_one.configure(Some(&home_two), "[mesh.filter]\nmode = \"off\"\n")?;
    // A signal does what the command does; what needs a restart stays as it was.
    x0_test_support::ready::signal(one.process.pid(), libc::SIGHUP)?;
    until("the links are back", || (links_up(&home_one.mesh()) == usize::from(WIRES)).then_some(()));
    ping(&one, &two)?;

    let sessions = |mesh: &Value| mesh["counters"]["sessionsOpened"].as_u64().unwrap();
    let before = sessions(&home_one.mesh());
    // Dropping a process kills it: nothing says goodbye.
    drop(two);
    let two = home_two.start();
    until("the restarted agent has a session", || (sessions(&home_one.mesh()) > before).then_some(()));
    ping(&one, &two)?;
    ping(&two, &one)?;
    assert!(sessions(&home_one.mesh()) > before);
    Ok(())
}

#[test]
fn another_user_is_told_nothing() -> Result<()> {
    let (home_one, home_two) = homes()?;
    let (one, _two) = linked(&home_one, &home_two);
    let socket = home_one.path("agent.sock");
    assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    // Somebody loosens the modes: the kernel still says who asks.
    std::fs::set_permissions(home_one.folder.path(), std::fs::Permissions::from_mode(0o755))?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666))?;
    let said = std::thread::spawn(move || -> Result<String> {
        const NOBODY: libc::c_long = 65_534;
        // SAFETY: the raw call changes the user of this thread only, which ends below.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        ensure!(changed == 0, "another user: {}", std::io::Error::last_os_error());
        ask_socket(&socket, "{\"command\":\"status\"}\n")
    })
    .join()
    .unwrap()?;
    assert!(said.contains("refused: user 65534") && !said.contains("version"), "{said}");
    assert!(home_one.ask("status", &[]).is_ok(), "root is still answered");
    drop(one);
    Ok(())
}
