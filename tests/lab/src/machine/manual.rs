//! The operator's manual as something that is followed: the commands of its `console` blocks, and what must come of them.
//!
//! ```text
//!   # => exit 1          the exit code of the command above, 0 when nothing is said
//!   # => in time TEXT    the command is repeated until it ends well and prints this
//!   # => stays TEXT      it prints this and stays until Ctrl-C
//!   # => TEXT            what it prints, on either stream
//!   <a validator's name> for the operator to fill in: the scenario gives the value, and one that it does not know fails
//! ```
//!
//! A scenario names the section that it follows and the machine on which. At its end it asks which blocks of the pages
//! nobody followed: a page that grows a command must grow a test.

use super::terminal::{Outcome, Terminal};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

/// How long a command with `in time` may be repeated.
const IN_TIME: Duration = Duration::from_secs(60);
/// Pause between two repetitions.
const REPEAT_PAUSE: Duration = Duration::from_millis(200);

/// What must come of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Exit(i32),
    InTime(String),
    Stays(String),
    Says(String),
}

impl Expected {
    /// With values in the place of the words.
    fn filled(&self, words: &BTreeMap<String, String>) -> Result<Self> {
        Ok(match self {
            Self::Exit(code) => Self::Exit(*code),
            Self::InTime(text) => Self::InTime(fill(text, words)?),
            Self::Stays(text) => Self::Stays(fill(text, words)?),
            Self::Says(text) => Self::Says(fill(text, words)?),
        })
    }
}

/// A command and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<Expected>,
}

/// A fenced block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    page: String,
    section: String,
    line: usize,
    steps: Vec<Step>,
}

/// Pages of the manual.
#[derive(Debug)]
pub struct Manual {
    blocks: Vec<Block>,
    followed: BTreeSet<(String, usize)>,
}

/// Who follows the manual: a shell, and what stands for the words between `<` and `>`.
#[derive(Debug)]
pub struct Operator {
    /// The shell.
    pub terminal: Terminal,
    /// The words and their values.
    pub words: BTreeMap<String, String>,
}

impl Operator {
    /// Gives a word its value.
    pub fn word(&mut self, name: &str, value: impl Into<String>) {
        self.words.insert(name.to_owned(), value.into());
    }
}

impl Manual {
    /// Reads pages of a folder.
    ///
    /// # Errors
    /// Names the page and line that is not understood.
    pub fn load(folder: &Path, pages: &[&str]) -> Result<Self> {
        let mut blocks = Vec::new();
        for page in pages {
            let text = std::fs::read_to_string(folder.join(page)).with_context(|| (*page).to_owned())?;
            blocks.extend(parse(page, &text)?);
        }
        Ok(Self { blocks, followed: BTreeSet::new() })
    }

    /// Follows the only block of a section, and returns what its commands printed.
    ///
    /// # Errors
    /// Names the page and line that does not hold, with what was seen.
    pub async fn follow(&mut self, operator: &mut Operator, page: &str, section: &str) -> Result<String> {
        let count = self.blocks.iter().filter(|block| block.page == page && block.section == section).count();
        ensure!(count == 1, "{page} has {count} blocks of commands in the section `{section}`");
        self.follow_part(operator, page, section, 1).await
    }

    /// Follows one block of a section, counted from 1.
    ///
    /// # Errors
    /// Names the page and line that does not hold, with what was seen.
    pub async fn follow_part(
        &mut self,
        operator: &mut Operator,
        page: &str,
        section: &str,
        part: usize,
    ) -> Result<String> {
        let mut blocks = self.blocks.iter().filter(|block| block.page == page && block.section == section);
        let block = blocks.nth(part.saturating_sub(1)).cloned();
        let block = block.with_context(|| format!("{page} has no block {part} in a section `{section}`"))?;
        self.followed.insert((block.page.clone(), block.line));
        let mut printed = String::new();
        for step in &block.steps {
            let command = fill(&step.command, &operator.words)
                .with_context(|| format!("docs/operating/{page}:{}: {}", step.line, step.command))?;
            let expected = step
                .expected
                .iter()
                .map(|one| one.filled(&operator.words))
                .collect::<Result<Vec<_>>>()
                .with_context(|| format!("docs/operating/{page}:{}: {}", step.line, step.command))?;
            let outcome = perform(&mut operator.terminal, &command, &expected).await.with_context(|| {
                format!("docs/operating/{page}:{} says: {}\nrun as: {command}", step.line, step.command)
            })?;
            printed.push_str(&outcome.text);
        }
        Ok(printed)
    }

    /// Blocks of the pages that nobody followed, by page and line.
    #[must_use]
    pub fn unfollowed(&self) -> Vec<String> {
        let left = self.blocks.iter().filter(|block| !self.followed.contains(&(block.page.clone(), block.line)));
        left.map(|block| format!("{}:{} ({})", block.page, block.line, block.section)).collect()
    }
}

async fn perform(terminal: &mut Terminal, command: &str, expected: &[Expected]) -> Result<Outcome> {
    let wanted = expected.iter().find_map(|one| match one {
        Expected::Exit(code) => Some(*code),
        _ => None,
    });
    let started = Instant::now();
    loop {
        let stays = expected.iter().find_map(|one| match one {
            Expected::Stays(text) => Some(text),
            _ => None,
        });
        let outcome = match stays {
            Some(text) => terminal.run_until(command, text).await?,
            None => terminal.run(command).await?,
        };
        let right = outcome.code == wanted.unwrap_or(0);
        let patient = expected.iter().any(|one| matches!(one, Expected::InTime(_)));
        let missing = expected.iter().find_map(|one| match one {
            Expected::Says(text) | Expected::InTime(text) if !outcome.text.contains(text) => Some(text),
            _ => None,
        });
        if right && missing.is_none() {
            return Ok(outcome);
        }
        if !patient || started.elapsed() > IN_TIME {
            match missing {
                Some(text) if right => bail!("it does not say `{text}`, but:\n{}", outcome.text),
                _ => bail!("it ends with {} and says:\n{}", outcome.code, outcome.text),
            }
        }
        tokio::time::sleep(REPEAT_PAUSE).await;
    }
}

/// Puts values in the place of `<words>`. A redirection such as `< file` has a space or a `<` there and stays.
fn fill(command: &str, words: &BTreeMap<String, String>) -> Result<String> {
    let mut filled = String::new();
    let mut rest = command;
    while let Some((before, after)) = rest.split_once('<') {
        filled.push_str(before);
        match after.split_once('>') {
            Some((name, tail)) if is_word(name) => {
                filled.push_str(words.get(name).with_context(|| format!("nobody says what <{name}> is"))?);
                rest = tail;
            }
            _ => {
                filled.push('<');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || [' ', '\'', '-'].contains(&c))
}

/// The blocks of commands of a page.
fn parse(page: &str, text: &str) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut fenced, mut inside, mut continued) = (false, false, false);
    let mut section = String::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if let Some(kind) = line.strip_prefix("```") {
            fenced = !fenced;
            inside = fenced && kind == "console";
            continued = false;
            if inside {
                blocks.push(Block { page: page.into(), section: section.clone(), line: number, steps: Vec::new() });
            }
            continue;
        }
        if !fenced && line.starts_with('#') {
            line.trim_start_matches(['#', ' ']).clone_into(&mut section);
        }
        let Some(block) = blocks.last_mut().filter(|_| inside && !line.trim().is_empty()) else { continue };
        if let Some(expected) = line.strip_prefix("# => ") {
            let step = block.steps.last_mut().with_context(|| format!("{page}:{number}: nothing to expect of"))?;
            step.expected.push(expectation(expected).with_context(|| format!("{page}:{number}"))?);
        } else if continued {
            let step = block.steps.last_mut().with_context(|| format!("{page}:{number}: nothing to continue"))?;
            step.command.push('\n');
            step.command.push_str(line);
        } else {
            block.steps.push(Step { line: number, command: line.to_owned(), expected: Vec::new() });
        }
        continued = line.ends_with('\\');
    }
    Ok(blocks)
}

fn expectation(text: &str) -> Result<Expected> {
    Ok(if let Some(code) = text.strip_prefix("exit ") {
        Expected::Exit(code.parse().context("an exit code")?)
    } else if let Some(text) = text.strip_prefix("in time ") {
        Expected::InTime(text.to_owned())
    } else if let Some(text) = text.strip_prefix("stays ") {
        Expected::Stays(text.to_owned())
    } else {
        Expected::Says(text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\n```sh\nnot this\n```\n## One\ntext\n```console\nls <a file's name> \\\n  -l\n# => exit 2\n# => no such\n\nrun < in\n# => stays READY\n```\n## Two\n```console\ncurl x\n# => in time yes\n```\n";

    #[test]
    fn blocks_are_found_with_their_sections_and_expectations() {
        let blocks = parse("p.md", PAGE).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].section.as_str(), blocks[1].section.as_str()), ("One", "Two"));
        assert_eq!(blocks[0].steps[0].command, "ls <a file's name> \\\n  -l");
        assert_eq!(blocks[0].steps[0].expected, [Expected::Exit(2), Expected::Says("no such".into())]);
        assert_eq!(blocks[0].steps[1].expected, [Expected::Stays("READY".into())]);
        assert_eq!(blocks[1].steps[0].expected, [Expected::InTime("yes".into())]);
        assert!(parse("p.md", "```console\n# => first\n```\n").is_err());
    }

    #[test]
    fn words_are_filled_in_and_unknown_ones_are_named() {
        let words = BTreeMap::from([("a file's name".to_owned(), "x y".to_owned())]);
        assert_eq!(fill("ls <a file's name> < in > out", &words).unwrap(), "ls x y < in > out");
        assert_eq!(fill("a << b <> c", &words).unwrap(), "a << b <> c");
        assert!(format!("{:#}", fill("ls <another>", &words).unwrap_err()).contains("<another>"));
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
}
