//! systemd's unit files, as far as the lab acts on them.
//!
//! A setting that is not known here is an error, so that a unit file cannot ask for something that nobody tests
//! without anybody noticing.

use anyhow::{Context as _, Result, bail, ensure};
use std::{path::Path, time::Duration};

/// Settings that take rights away, or that only a whole systemd can honour. The lab lets them pass.
const LEFT_TO_SYSTEMD: [&str; 26] = [
    "Description",
    "Documentation",
    "Wants",
    "After",
    "WantedBy",
    "CapabilityBoundingSet",
    "ProtectSystem",
    "ProtectHome",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectControlGroups",
    "PrivateDevices",
    "PrivateTmp",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "TimeoutStartSec",
    "Group",
];

/// What a unit file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// The program and its arguments, with variables.
    pub exec_start: Vec<String>,
    /// Whether the service says itself when it has started.
    pub notify: bool,
    /// Names and files of credentials.
    pub credentials: Vec<(String, String)>,
    /// The user that it runs as; root when empty.
    pub user: String,
    /// Directory under `/var/lib` that is made for it, and its mode.
    pub state_directory: Option<(String, u32)>,
    /// Its working directory.
    pub working_directory: Option<String>,
    /// Whether a failure is followed by another start.
    pub restart_on_failure: bool,
    /// The pause before that.
    pub restart_pause: Duration,
    /// Exit codes that are not.
    pub restart_prevented: Vec<i32>,
    /// Starts within a time after which it stays down.
    pub start_limit: Option<(usize, Duration)>,
    /// How long a stop may take before it is killed.
    pub stop_timeout: Duration,
    /// How long it may be silent before it is killed.
    pub watchdog: Option<Duration>,
    /// Most open files.
    pub open_files: Option<u64>,
    /// Mode bits that its files do not get.
    pub umask: Option<u32>,
    /// It gains no rights by programs with set-user-id.
    pub no_new_privileges: bool,
}

impl Unit {
    /// Reads a unit file.
    ///
    /// # Errors
    /// Names the line that is not understood.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("unit {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("unit {}", path.display()))
    }

    /// Reads the text of a unit file.
    ///
    /// # Errors
    /// Names the line that is not understood.
    pub fn parse(text: &str) -> Result<Self> {
        let mut unit = Self { stop_timeout: Duration::from_secs(90), ..Self::default() };
        let (mut burst, mut interval) = (5, Duration::from_secs(10));
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            let (name, value) = line.split_once('=').with_context(|| format!("`{line}` is no setting"))?;
            match name {
                "StartLimitBurst" => burst = value.parse()?,
                "StartLimitIntervalSec" => interval = seconds(value)?,
                _ => unit.set(name, value).with_context(|| format!("`{line}`"))?,
            }
        }
        unit.start_limit = Some((burst, interval));
        ensure!(!unit.exec_start.is_empty(), "there is no ExecStart");
        Ok(unit)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "ExecStart" => {
                ensure!(!value.contains(['"', '\'']), "quotes are not understood here");
                self.exec_start = value.split_whitespace().map(str::to_owned).collect();
            }
            "Type" => {
                ensure!(["notify", "exec"].contains(&value), "another type of service");
                self.notify = value == "notify";
            }
            "LoadCredential" => {
                let (name, path) = value.split_once(':').context("NAME:PATH")?;
                self.credentials.push((name.to_owned(), path.to_owned()));
            }
            "User" => value.clone_into(&mut self.user),
            "StateDirectory" => {
                let mode = self.state_directory.as_ref().map_or(0o755, |(_, mode)| *mode);
                self.state_directory = Some((value.to_owned(), mode));
            }
            "StateDirectoryMode" => {
                let (directory, _) = self.state_directory.take().context("StateDirectory comes first")?;
                self.state_directory = Some((directory, u32::from_str_radix(value, 8)?));
            }
            "WorkingDirectory" => self.working_directory = Some(value.to_owned()),
            "Restart" => {
                ensure!(["no", "on-failure"].contains(&value), "another rule of restarting");
                self.restart_on_failure = value == "on-failure";
            }
            "RestartSec" => self.restart_pause = seconds(value)?,
            "RestartPreventExitStatus" => {
                self.restart_prevented =
                    value.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("exit codes")?;
            }
            "TimeoutStopSec" => self.stop_timeout = seconds(value)?,
            "WatchdogSec" => self.watchdog = Some(seconds(value)?),
            "LimitNOFILE" => self.open_files = Some(value.parse()?),
            "UMask" => self.umask = Some(u32::from_str_radix(value, 8)?),
            "NoNewPrivileges" => self.no_new_privileges = value == "yes",
            other if LEFT_TO_SYSTEMD.contains(&other) => {}
            _ => bail!("a setting that the lab does not know"),
        }
        Ok(())
    }
}

/// A time as a number of seconds, the only form that our units use.
fn seconds(value: &str) -> Result<Duration> {
    Ok(Duration::from_secs(value.parse().context("seconds")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_of_this_repository_are_understood() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
        let node = Unit::load(&folder.join("x0-node.service")).unwrap();
        assert_eq!(node.exec_start.first().map(String::as_str), Some("/usr/local/bin/x0-node"));
        assert!(node.notify && node.restart_on_failure && node.no_new_privileges);
        assert_eq!(node.user, "x0-node");
        assert_eq!(node.state_directory, Some(("x0-node".to_owned(), 0o700)));
        // The manual's table of exit codes and the unit say the same.
        let page = std::fs::read_to_string(folder.join("../../docs/operating/exit-codes.md")).unwrap();
        let codes: Vec<String> = node.restart_prevented.iter().map(ToString::to_string).collect();
        assert!(page.contains(&format!("RestartPreventExitStatus={}", codes.join(" "))));
        for line in page.lines().filter(|line| line.starts_with("| ") && line.contains("start it again")) {
            let code: i32 = line.split('|').nth(1).unwrap().trim().parse().unwrap();
            assert!(line.contains("never") == node.restart_prevented.contains(&code), "{line}");
        }
        let signer = Unit::load(&folder.join("x0-signer.service")).unwrap();
        assert!(!signer.notify && signer.restart_prevented == node.restart_prevented);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, named) in [
            ("[Service]\nRestart=on-failure\n", "ExecStart"),
            ("[Service]\nExecStart=/bin/true\nRestrat=no\n", "Restrat=no"),
            ("[Service]\nExecStart=/bin/true\nRestart=always\n", "Restart=always"),
            ("[Service]\nExecStart=/bin/sh -c 'true'\n", "ExecStart"),
            ("[Service]\nExecStart=/bin/true\nTimeoutStopSec=1min\n", "1min"),
            ("[Service]\nExecStart\n", "no setting"),
        ] {
            let error = format!("{:#}", Unit::parse(text).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
