//! How the process ends, for supervisors.
//!
//! `docs/operating/exit-codes.md` is the operator's table; a test compares it with this one.

use std::process::ExitCode;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Stopped on request, everything flushed.
    Graceful,
    /// Configuration, chain spec, keystore or data directory do not fit; starting again changes nothing.
    Configuration,
    /// Wrong arguments on the command line.
    Usage,
    /// A part of the node failed; a supervisor may start it again.
    Restartable,
    /// Going on could break consensus; a person must look before the node starts again.
    SafetyHalt,
    /// The disk or the database failed; a person must look before the node starts again.
    Storage,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 6] =
        [Self::Graceful, Self::Configuration, Self::Usage, Self::Restartable, Self::SafetyHalt, Self::Storage];

    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Graceful => 0,
            Self::Configuration => 1,
            Self::Usage => 2,
            Self::Restartable => 10,
            Self::SafetyHalt => 20,
            Self::Storage => 21,
        }
    }

    /// The name in logs and in the operator's table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Graceful => "graceful",
            Self::Configuration => "configuration",
            Self::Usage => "usage",
            Self::Restartable => "restartable",
            Self::SafetyHalt => "safety halt",
            Self::Storage => "storage",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A failure with the way in which the process ends on account of it.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// One line for the operator.
    pub reason: String,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, reason: impl core::fmt::Display) -> Self {
        // One line, whatever libraries put into their messages.
        let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { exit, reason }
    }

    /// A configuration failure.
    pub fn configuration(reason: impl core::fmt::Display) -> Self {
        Self::new(Exit::Configuration, reason)
    }

    /// A wrong value on the command line.
    pub fn usage(reason: impl core::fmt::Display) -> Self {
        Self::new(Exit::Usage, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_table_lists_every_code() {
        let table = include_str!("../../../docs/operating/exit-codes.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.name());
            assert!(table.contains(&row), "docs/operating/exit-codes.md lacks the row {row}");
        }
        assert_eq!(
            table.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()).count(),
            Exit::ALL.len()
        );
    }

    /// What a restart cannot mend must not be restarted by the shipped units.
    #[test]
    fn the_units_restart_what_may_be_restarted() {
        let units = [
            include_str!("../../../deploy/systemd/x0-node.service"),
            include_str!("../../../deploy/systemd/x0-signer.service"),
        ];
        let never: Vec<String> = Exit::ALL
            .iter()
            .filter(|exit| !matches!(exit, Exit::Graceful | Exit::Restartable))
            .map(|exit| exit.code().to_string())
            .collect();
        for unit in units {
            assert!(unit.contains("\nRestart=on-failure\n"));
            assert!(unit.contains(&format!("\nRestartPreventExitStatus={}\n", never.join(" "))));
        }
    }

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(Failure::configuration("a\n  b\tc").reason, "a b c");
    }
}
