//! Machines with operators who follow the manual.

use crate::{
    Network,
    fabric::{Fabric, address},
    machine::{
        Machine,
        control::Control,
        manual::{Manual, Operator},
        service::{Service, State},
        terminal::{Reply, Terminal},
    },
};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;
use x0_scenario::process::binaries;

/// The directory of a node, as the manual has it.
pub const NODE: &str = "/var/lib/x0-node";
/// The service's name.
const UNIT: &str = "x0-node";
/// What operators choose as password of their wallets.
pub const WALLET_PASSWORD: &str = "correct horse battery staple";
/// Port on which the first node serves wallets.
const WALLETS_PORT: u16 = 9_945;
/// How long a state may take to come about.
const STATE_MAX: Duration = Duration::from_secs(90);
/// How often a waiting scenario looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A machine, its service, and the person in front of it.
#[derive(Debug)]
pub struct Host {
    /// The machine.
    pub machine: Machine,
    /// The person.
    pub operator: Operator,
    /// What runs on it.
    pub service: Arc<Mutex<Service>>,
    _control: Control,
}

impl Host {
    fn new(folder: &Path, number: usize, fabric: &Fabric, names: &str) -> Result<Self> {
        let network = fabric.namespaces.get(number).context("a namespace for each machine")?.clone();
        let machine = Machine::create(&folder.join(format!("host-{}", number + 1)), network, names)?;
        let programs = binaries()?;
        machine.put(&programs.join("x0"), "/usr/local/bin/x0")?;
        for name in ["systemctl", "journalctl"] {
            machine.put(&programs.join("x0-lab"), &format!("/usr/local/bin/{name}"))?;
        }
        let service = Arc::new(Mutex::new(Service::new(machine.clone(), UNIT)));
        let control = Control::serve(&machine, UNIT, Arc::clone(&service))?;
        let mut terminal = Terminal::open(&machine)?;
        for (question, answer) in
            [("[y/N]", "y"), ("New password for key", WALLET_PASSWORD), ("The same again", WALLET_PASSWORD)]
        {
            terminal.replies.push(Reply { question: question.into(), answer: answer.into() });
        }
        let mut operator = Operator { terminal, words: std::collections::BTreeMap::new() };
        operator.word("its name", format!("validator-{}", number + 1));
        operator.word("its host name", format!("validator-{}.example", number + 1));
        let host = Self { machine, operator, service, _control: control };
        host.bring_release(&programs.join("x0-node"))?;
        Ok(host)
    }

    /// Puts a release where its operator unpacks it: the program and the unit file.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn bring_release(&self, program: &Path) -> Result<()> {
        let at = self.machine.path("/root/x0-node");
        if at.exists() {
            std::fs::remove_file(&at)?;
        }
        self.machine.put(program, "/root/x0-node")?;
        let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd/x0-node.service");
        let at = self.machine.path("/root/deploy/systemd/x0-node.service");
        if !at.exists() {
            std::fs::create_dir_all(at.parent().context("a folder")?)?;
            std::fs::copy(unit, at)?;
        }
        Ok(())
    }

    /// Types a command that must end well, and returns what it prints.
    ///
    /// # Errors
    /// With what it printed.
    pub async fn type_in(&mut self, command: &str) -> Result<String> {
        let outcome = self.operator.terminal.run(command).await?;
        ensure!(outcome.code == 0, "`{command}` ends with {} and says:\n{}", outcome.code, outcome.text);
        Ok(outcome.text)
    }

    /// Answers the wallet's question for the password of a key.
    pub fn knows_password(&mut self, question: &str, password: &str) {
        self.operator.terminal.replies.push(Reply { question: question.into(), answer: password.into() });
    }

    /// Waits until the service is in a state.
    ///
    /// # Errors
    /// With the end of its journal.
    pub async fn wait_state(&self, what: &str, wanted: impl Fn(&State) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let state = self.service.lock().await.state();
            if wanted(&state) {
                return Ok(());
            }
            ensure!(started.elapsed() < STATE_MAX, "{state:?} and not {what}; journal:\n{}", self.journal_tail().await);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// The end of the service's journal.
    pub async fn journal_tail(&self) -> String {
        let path = self.service.lock().await.journal();
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// What the node printed when it was last ready.
    pub async fn ready(&self) -> Result<Value> {
        let path = self.service.lock().await.journal();
        let text = std::fs::read_to_string(path)?;
        let line = text.lines().rev().find_map(|line| line.strip_prefix("READY ")).context("no READY line")?;
        Ok(serde_json::from_str(line)?)
    }

    /// The number of a proposal whose line in `x0 validators show` has this text.
    pub async fn proposal(&mut self, named: &str) -> Result<String> {
        let text = self.type_in("x0 validators show").await?;
        let line = text.lines().find(|line| line.starts_with("proposal ") && line.contains(named));
        let line = line.with_context(|| format!("no open proposal {named}:\n{text}"))?;
        let number = line.split([' ', ':']).nth(1).context("a number")?;
        Ok(number.to_owned())
    }

    /// Copies a directory of another machine here.
    pub fn copy_from(&self, other: &Machine, from: &str, to: &str) -> Result<()> {
        copy(&other.path(from), &self.machine.path(to))
    }
}

/// `cp -r` between machines: what `scp` does between real ones.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp").arg("-rT").arg(from).arg(to).status()?;
    ensure!(status.success(), "{} to {}", from.display(), to.display());
    Ok(())
}

/// The machines of a network, the first of them validators from its beginning.
#[derive(Debug)]
pub struct Site {
    /// The machines.
    pub hosts: Vec<Host>,
    /// Their nodes, seen over RPC.
    pub network: Network,
    /// What the operators follow.
    pub manual: Manual,
}

impl Site {
    /// So many empty machines, and pages of the manual.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub async fn new(count: usize, seed: u64, pages: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("x0-lab-").tempdir()?;
        let fabric = Fabric::new(count, seed)?;
        let names: String = (0..count).map(|n| format!("{} validator-{}.example\n", address(n), n + 1)).collect();
        let hosts =
            (0..count).map(|number| Host::new(folder.path(), number, &fabric, &names)).collect::<Result<Vec<_>>>()?;
        let homes: Vec<PathBuf> = hosts.iter().map(|host| host.machine.path(NODE)).collect();
        let manual = Manual::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating"), pages)?;
        let network = Network::of_machines(folder, fabric, homes).await?;
        Ok(Self { hosts, network, manual })
    }

    /// One operator follows a section that has one block.
    ///
    /// # Errors
    /// Names the page and line that does not hold.
    pub async fn follow(&mut self, host: usize, page: &str, section: &str) -> Result<String> {
        let operator = &mut self.hosts[host].operator;
        let followed = self.manual.follow(operator, page, section).await;
        self.explain(host, followed).await
    }

    /// One operator follows one block of a section, counted from 1.
    ///
    /// # Errors
    /// Names the page and line that does not hold.
    pub async fn follow_part(&mut self, host: usize, page: &str, section: &str, part: usize) -> Result<String> {
        let operator = &mut self.hosts[host].operator;
        let followed = self.manual.follow_part(operator, page, section, part).await;
        self.explain(host, followed).await
    }

    async fn explain(&self, host: usize, followed: Result<String>) -> Result<String> {
        match followed {
            Ok(text) => Ok(text),
            Err(error) => {
                let journal = self.hosts[host].journal_tail().await;
                Err(error.context(format!("the operator of machine {}, whose journal ends with:\n{journal}", host + 1)))
            }
        }
    }

    /// The validators of a network from the directory that `x0-node testnet` wrote on one machine: each gets its
    /// directory and its controller's key, and starts as a service.
    ///
    /// # Errors
    /// Names the page and line that does not hold.
    pub async fn bring_up(&mut self, validators: usize, testnet: &Path) -> Result<()> {
        const PAGE: &str = "install.md";
        let password = std::fs::read_to_string(testnet.join("wallet/password"))?.trim().to_owned();
        for number in 0..validators {
            if number > 0 {
                self.follow(number, PAGE, "Program, user and password").await?;
            }
            let host = &mut self.hosts[number];
            copy(&testnet.join(format!("validator-{}", number + 1)), &host.machine.path("/root/brought"))?;
            copy(&testnet.join("wallet"), &host.machine.path("/root/wallet"))?;
            host.operator.word("the directory of its validator", "/root/brought");
            host.operator.word("the wallet's directory", "/root/wallet");
            host.knows_password("`controller`", &password);
            host.knows_password("`faucet`", &password);
            self.follow_part(number, PAGE, "A network of one's own", 2).await?;
            self.follow_part(number, PAGE, "A network of one's own", 3).await?;
        }
        self.serve_wallets()?;
        // Operators start at about the same time, and a node is healthy when a quorum is there; this follows them one
        // after the other.
        let mut starting = tokio::task::JoinSet::new();
        for number in 0..validators {
            self.network.validators[number].supervised = true;
            let host = &mut self.hosts[number];
            host.type_in("install -m 644 deploy/systemd/x0-node.service /etc/systemd/system/x0-node.service").await?;
            let service = Arc::clone(&host.service);
            starting.spawn(async move { service.lock().await.start().await });
        }
        while let Some(started) = starting.join_next().await {
            started??;
        }
        for number in 0..validators {
            self.follow(number, PAGE, "As a service").await?;
        }
        let ready = self.hosts[0].ready().await?;
        let text = |name: &str| ready[name].as_str().map(str::to_owned).with_context(|| format!("{name} in {ready}"));
        self.network.genesis = text("genesis")?;
        let (genesis, key) = (text("genesis")?, text("networkKey")?);
        for host in &mut self.hosts {
            host.operator.word("the network's name", "my-testnet");
            host.operator.word("x0s address of a node", format!("x0s://validator-1.example:{WALLETS_PORT}"));
            host.operator.word("genesis hash", genesis.clone());
            host.operator.word("key of that node", key.clone());
        }
        for number in 0..validators {
            self.follow_part(number, "join.md", "The controller", 1).await?;
        }
        Ok(())
    }

    /// Lets the first node serve wallets on other machines.
    fn serve_wallets(&self) -> Result<()> {
        let path = self.hosts[0].machine.path(&format!("{NODE}/config.toml"));
        let text = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(path, format!("{text}\n[rpc.native]\naddress = \"{}:{WALLETS_PORT}\"\n", address(0)))?)
    }

    /// Approves an open proposal on so many machines.
    ///
    /// # Errors
    /// Names the page and line that does not hold.
    pub async fn approve(
        &mut self,
        hosts: &[usize],
        named: &str,
        page: &str,
        section: &str,
        part: usize,
    ) -> Result<()> {
        let first = *hosts.first().context("somebody approves")?;
        let number = self.hosts[first].proposal(named).await?;
        for &host in hosts {
            self.hosts[host].operator.word("number", number.clone());
            self.follow_part(host, page, section, part).await?;
        }
        Ok(())
    }

    /// What the chain says of its validators, at a height or now.
    ///
    /// # Errors
    /// When the first node does not answer.
    pub async fn status(&self, at: Option<u32>) -> Result<Value> {
        let rpc = self.network.rpc(0).await?;
        let block = match at {
            Some(height) => json!(rpc.block_hash(height).await?.with_context(|| format!("no block {height}"))?),
            None => Value::Null,
        };
        rpc.call("validators_status", &[block]).await
    }
}
