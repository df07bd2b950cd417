//! What every command works with: the home, the network, the keys, the two output streams.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use x0_client::{Client, ClientError, Endpoint, Signer, password::PasswordSource, text};
use x0_crypto::{PublicKey, Seed, SigningKey, keystore};
use x0_types::AccountId;

use crate::{
    cli::Global,
    error::{Result, WalletError},
    home::Home,
    network::Networks,
};

/// How names of development keys begin.
const DEV_PREFIX: &str = "dev:";
/// The role of keys that sign transactions.
pub const ACCOUNT_ROLE: &str = "account";

/// A key that was chosen and not yet opened.
#[derive(Clone, Debug)]
pub struct ChosenKey {
    /// What the user calls it.
    pub label: String,
    /// The account that it signs for.
    pub account: AccountId,
    /// Its public half.
    pub public: PublicKey,
    source: KeySource,
}

#[derive(Clone, Debug)]
enum KeySource {
    File { name: String },
    Development { name: String, role: String },
}

impl ChosenKey {
    /// Whether everybody can derive this key.
    #[must_use]
    pub const fn is_development(&self) -> bool {
        matches!(self.source, KeySource::Development { .. })
    }
}

/// What every command works with.
#[derive(Debug)]
pub struct Context {
    /// The wallet's directory.
    pub home: Home,
    /// The global options.
    pub options: Global,
    /// Where passwords come from.
    pub passwords: PasswordSource,
    /// A development account that the user named: what is sent about it stays on development chains.
    named_development: RefCell<Option<String>>,
    /// Secrets that were opened in this run, so that nobody is asked twice; cleared when dropped.
    opened: RefCell<BTreeMap<String, Seed>>,
}

impl Context {
    /// Reads the global options.
    ///
    /// # Errors
    /// [`WalletError::Usage`] when there is no home.
    pub fn new(options: Global) -> Result<Self> {
        let home = Home::find(options.home.clone())?;
        let passwords = PasswordSource { file: options.password_file.clone(), descriptor: options.password_fd };
        Ok(Self { home, options, passwords, named_development: RefCell::default(), opened: RefCell::default() })
    }

    /// The network's name and where its node is.
    ///
    /// # Errors
    /// [`WalletError::Usage`], [`WalletError::Config`].
    pub fn endpoint(&self) -> Result<(String, Endpoint)> {
        let networks = Networks::load(&self.home)?;
        let name = self.options.network.clone().unwrap_or_else(|| networks.default.clone());
        let mut endpoint = networks.get(&name)?.endpoint()?;
        if let Some(url) = &self.options.url {
            endpoint.url.clone_from(url);
        }
        Ok((name, endpoint))
    }

    /// Connects to the network's node.
    ///
    /// # Errors
    /// Those of [`Context::endpoint`] and of the client.
    pub async fn connect(&self) -> Result<(String, Client)> {
        let (name, endpoint) = self.endpoint()?;
        Ok((name, Client::connect(&endpoint).await?))
    }

    /// Refuses to go on with a development account, as signer or as part of a call, unless the chain is a
    /// development chain: everybody can derive its key, and takes what it is given.
    ///
    /// # Errors
    /// [`ClientError::NotDevelopment`].
    pub async fn require_own_accounts(&self, client: &Client, key: &ChosenKey) -> Result<()> {
        let named = self.named_development.borrow().is_some();
        if named || key.is_development() {
            client.require_development().await?;
        }
        Ok(())
    }

    /// How long to wait for finality.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.options.timeout)
    }

    /// Chooses a key that signs transactions: the one named, or the only one there is.
    ///
    /// # Errors
    /// [`WalletError::NoKey`], [`WalletError::Role`], [`WalletError::Usage`] when there is a choice.
    pub fn choose_key(&self, name: Option<&str>) -> Result<ChosenKey> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.only_key()?,
        };
        let chosen = self.choose(&name)?;
        self.require_role(&name, ACCOUNT_ROLE)?;
        Ok(chosen)
    }

    /// Chooses a key of any role by name.
    ///
    /// # Errors
    /// [`WalletError::NoKey`], [`WalletError::Keystore`], [`WalletError::Usage`].
    pub fn choose(&self, name: &str) -> Result<ChosenKey> {
        if let Some(rest) = name.strip_prefix(DEV_PREFIX) {
            let (dev, role) = rest.split_once('/').unwrap_or((rest, ACCOUNT_ROLE));
            if dev.is_empty() || role.is_empty() {
                return Err(WalletError::Usage(format!("`{name}` is no development key: dev:NAME or dev:NAME/ROLE")));
            }
            let public = SigningKey::from_seed(&x0_crypto::dev::seed(dev, role))?.public().clone();
            return Ok(ChosenKey {
                label: name.to_owned(),
                account: x0_client::account_of(&public),
                public,
                source: KeySource::Development { name: dev.to_owned(), role: role.to_owned() },
            });
        }
        let entry = self.home.key(name)?;
        Ok(ChosenKey {
            label: entry.name.clone(),
            account: entry.account,
            public: entry.public,
            source: KeySource::File { name: entry.name },
        })
    }

    /// Refuses a stored key of another role.
    ///
    /// # Errors
    /// [`WalletError::Role`].
    pub fn require_role(&self, name: &str, expected: &str) -> Result<()> {
        let found = match name.strip_prefix(DEV_PREFIX) {
            Some(rest) => rest.split_once('/').map_or(ACCOUNT_ROLE, |(_, role)| role).to_owned(),
            None => self.home.keystore(name)?.role().to_owned(),
        };
        if found == expected {
            return Ok(());
        }
        Err(WalletError::Role { name: name.to_owned(), found, expected: expected.to_owned() })
    }

    fn only_key(&self) -> Result<String> {
        let mut accounts = Vec::new();
        for name in self.home.key_names()? {
            if self.home.keystore(&name)?.role() == ACCOUNT_ROLE {
                accounts.push(name);
            }
        }
        match accounts.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(WalletError::Usage(format!(
                "there is no key in {}: `x0 keys new NAME` makes one",
                self.home.root().display()
            ))),
            several => Err(WalletError::Usage(format!("say which key with --key: {}", several.join(", ")))),
        }
    }

    /// The secret of a chosen key. Asks for the password; deriving it takes a part of a second, so it
    /// runs on a thread of its own.
    ///
    /// # Errors
    /// [`WalletError::Keystore`], [`WalletError::Password`].
    pub async fn unlock(&self, key: &ChosenKey) -> Result<Seed> {
        match &key.source {
            KeySource::Development { name, role } => Ok(x0_crypto::dev::seed(name, role)),
            KeySource::File { name } => {
                if let Some(seed) = self.opened.borrow().get(name) {
                    return Ok(seed.clone());
                }
                let file = self.home.keystore(name)?;
                let password = self.passwords.existing(name)?;
                let opened = blocking(move || keystore::open(&file, &password)).await?;
                let seed = opened.map_err(|source| WalletError::Keystore { name: name.clone(), source })?;
                self.opened.borrow_mut().insert(name.clone(), seed.clone());
                Ok(seed)
            }
        }
    }

    /// A signer for a chosen key.
    ///
    /// # Errors
    /// Those of [`Context::unlock`].
    pub async fn signer(&self, key: &ChosenKey) -> Result<Signer> {
        let seed = self.unlock(key).await?;
        let account = key.account.clone();
        Ok(blocking(move || SigningKey::from_seed(&seed).map(|key| Signer::for_account(account, key))).await??)
    }

    /// Reads an account in any form: own key, development key, address, DID.
    ///
    /// # Errors
    /// [`WalletError::Client`] with what is wrong with the text.
    pub fn account(&self, text: &str) -> Result<AccountId> {
        if text.starts_with(DEV_PREFIX) {
            let account = self.choose(text)?.account;
            *self.named_development.borrow_mut() = Some(text.to_owned());
            return Ok(account);
        }
        match self.home.key(text) {
            Ok(entry) => Ok(entry.account),
            // A text that could name a key is shorter than any address.
            Err(WalletError::NoKey { .. }) if !text.starts_with("0x") => Err(ClientError::Account {
                text: text.to_owned(),
                reason: "no key on this machine has this name, and an address is longer".into(),
            }
            .into()),
            Err(WalletError::NoKey { .. } | WalletError::Usage(_)) => Ok(text::parse_account(text)?),
            Err(error) => Err(error),
        }
    }

    /// Reads an optional account.
    ///
    /// # Errors
    /// Those of [`Context::account`].
    pub fn maybe_account(&self, text: Option<&String>) -> Result<Option<AccountId>> {
        text.map(|text| self.account(text)).transpose()
    }

    /// The account named, or that of the only key.
    ///
    /// # Errors
    /// Those of [`Context::account`] and [`Context::choose_key`].
    pub fn account_or_own(&self, text: Option<&String>) -> Result<AccountId> {
        match text {
            Some(text) => self.account(text),
            None => Ok(self.choose_key(None)?.account),
        }
    }

    /// Prints the answer: JSON for programs, text for people.
    ///
    /// # Errors
    /// [`WalletError::Output`].
    pub fn answer<T: Serialize>(&self, value: &T, words: impl FnOnce(&T) -> String) -> Result<()> {
        let mut text = if self.options.json {
            serde_json::to_string_pretty(value).map_err(|error| WalletError::Output(error.into()))?
        } else {
            without_controls(&words(value))
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(WalletError::Output)
    }

    /// Talks to the user on standard error. What cannot be said there cannot be said at all.
    pub fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", without_controls(text));
    }

    /// Asks a yes-or-no question; `--yes` answers it.
    ///
    /// # Errors
    /// [`WalletError::Cancelled`], [`WalletError::NoTerminal`].
    pub fn confirm(&self, question: &str) -> Result<()> {
        if self.options.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(WalletError::NoTerminal);
        }
        let answer = self.ask(&format!("{question} [y/N] "))?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(WalletError::Cancelled) }
    }

    /// Reads one line from the terminal.
    ///
    /// # Errors
    /// [`WalletError::Cancelled`] at the end of input.
    pub fn ask(&self, question: &str) -> Result<String> {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{question}").and_then(|()| stderr.flush());
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => Err(WalletError::Cancelled),
            Ok(_) => Ok(line),
        }
    }
}

/// Keeps escape sequences that came from the chain, a node or a file off the terminal.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// Runs something slow off the async threads.
///
/// # Errors
/// [`WalletError::Task`] when it panicked.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    tokio::task::spawn_blocking(work).await.map_err(|error| WalletError::Task(error.to_string()))
}

/// This machine's clock, milliseconds since the Unix epoch.
///
/// # Errors
/// [`WalletError::Usage`] for a clock before 1970.
pub fn now_ms() -> Result<u64> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|age| u64::try_from(age.as_millis()).ok())
        .ok_or_else(|| WalletError::Usage("this machine's clock is wrong".into()))
}
