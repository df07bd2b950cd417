//! The operator's manual, followed line by line: every command of a block marked `sh check` is run in the order of the
//! pages, and must end and say what the page says.
//!
//! ```text
//!   # => exit 1        the exit code of the command above, 0 when nothing is said
//!   # => some text     what it prints, on either stream
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::network::*;
use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Pages with commands, in the order in which an operator meets them.
const PAGES: [&str; 4] = ["install.md", "keys.md", "join.md", "recover.md"];

/// A command and what must come of it.
struct Step {
    place: String,
    command: String,
    exit: i32,
    says: Vec<String>,
}

/// The commands of a page's marked blocks.
fn steps(page: &str, text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut continued) = (false, false);
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```sh check";
            continued = false;
            continue;
        }
        if !inside || line.trim().is_empty() {
            continue;
        }
        if let Some(expected) = line.strip_prefix("# => ") {
            let step = steps.last_mut().expect("an expectation follows a command");
            match expected.strip_prefix("exit ").and_then(|code| code.parse().ok()) {
                Some(code) => step.exit = code,
                None => step.says.push(expected.to_owned()),
            }
            continue;
        }
        if continued {
            let step = steps.last_mut().expect("a continuation follows a line");
            write!(step.command, "\n{line}").unwrap();
        } else {
            let place = format!("{page}:{}", number + 1);
            steps.push(Step { place, command: line.to_owned(), exit: 0, says: Vec::new() });
        }
        continued = line.ends_with('\\');
    }
    steps
}

/// One shell for all commands, since they share variables.
fn script(steps: &[Step]) -> String {
    let mut text = String::from("set -u\n");
    for (number, step) in steps.iter().enumerate() {
        writeln!(text, "{{ {}\n}} > step-{number}.out 2>&1 < /dev/null; echo $? > step-{number}.code", step.command)
            .unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_is_followed_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // What the pages presuppose: the network's definition, and a validator that has run.
    let mut network = Network::make(1);
    network.start_one(0, &[]);
    reach(network.node(0), 2).await;
    assert_eq!(network.take(0).terminate().code(), Some(0));
    std::fs::rename(network.directory(0), root.join("validator")).unwrap();
    std::fs::copy(root.join("validator/chain.json"), root.join("chain.json")).unwrap();
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operating");
    let steps: Vec<Step> = PAGES
        .iter()
        .flat_map(|page| steps(page, &std::fs::read_to_string(Path::new(pages).join(page)).unwrap()))
        .collect();
    assert!(steps.len() > 15);
    let programs = Path::new(env!("CARGO_BIN_EXE_x0-node")).parent().unwrap();
    let status = Command::new("bash")
        .args(["-c", &script(&steps)])
        .current_dir(root)
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .env("HOME", root)
        // Ports of this machine may be in use; the pages' own are the defaults.
        .env("X0_RPC_PORT", "0")
        .env("X0_METRICS_ADDRESS", "127.0.0.1:0")
        .env("X0_LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    for (number, step) in steps.iter().enumerate() {
        let said = std::fs::read_to_string(root.join(format!("step-{number}.out"))).unwrap();
        let code = std::fs::read_to_string(root.join(format!("step-{number}.code"))).unwrap();
        assert_eq!(code.trim(), step.exit.to_string(), "{}: {}\n{said}", step.place, step.command);
        for text in &step.says {
            assert!(said.contains(text), "{}: {}\nsays no '{text}' but:\n{said}", step.place, step.command);
        }
    }
}

/// Every page leads somewhere: links between pages, and to files of the repository, exist.
#[test]
fn the_manuals_links_lead_somewhere() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating");
    for entry in std::fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                assert!(pages.join(file).exists(), "{}: {link}", path.display());
            }
        }
    }
}
