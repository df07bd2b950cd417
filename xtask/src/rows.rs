//! The table of promised rows: what is implemented where, and which tests prove it.
//!
//! ```text
//!   docs/features.toml (row, title, code, reason if left out) --+
//!                                                               +--> docs/features.md
//!   `/// M14, M15: ...` above tests in all Rust sources --------+
//! ```

use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

const SOURCE: &str = "docs/features.toml";
const TABLE: &str = "docs/features.md";
/// Rows of each family: marketplace, governance, trust.
const FAMILIES: &[(char, u32, &str)] = &[('M', 40, "Marketplace"), ('G', 20, "Governance"), ('T', 12, "Trust")];

#[derive(serde::Deserialize)]
struct Source {
    row: Vec<Row>,
}

/// One promise.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    title: String,
    priority: Priority,
    /// Files that implement the row.
    code: Vec<String>,
    /// Why the row is not there, or what is different.
    #[serde(default)]
    left_out: Option<String>,
    /// What a reader should know about the way it is done.
    #[serde(default)]
    note: Option<String>,
}

#[derive(serde::Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Must,
    Should,
    Later,
}

impl Priority {
    const fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Later => "later",
        }
    }
}

/// A test function that names rows in its doc comment.
struct Proof {
    file: String,
    name: String,
}

/// Tests by row.
type Proofs = BTreeMap<String, Vec<Proof>>;

/// Writes the table.
pub fn write(root: &Path) -> Result<()> {
    let (rows, proofs) = read(root)?;
    std::fs::write(root.join(TABLE), table(&rows, &proofs)).with_context(|| format!("cannot write {TABLE}"))?;
    println!("rows: {TABLE} is written");
    Ok(())
}

/// Findings about rows without code or test, files that do not exist, and a table that is not current.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let (rows, proofs) = read(root)?;
    let mut findings = complete(&rows);
    let known: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    for (id, tests) in &proofs {
        if !known.contains(id.as_str()) {
            let names: Vec<_> = tests.iter().map(|test| test.name.as_str()).collect();
            findings.push(format!("{SOURCE} has no row {id}, which {} name", names.join(", ")));
        }
    }
    for row in &rows {
        findings.extend(findings_of(root, row, proofs.contains_key(&row.id)));
    }
    if std::fs::read_to_string(root.join(TABLE)).unwrap_or_default() != table(&rows, &proofs) {
        findings.push(format!("{TABLE} is not current: run `cargo xtask rows`"));
    }
    Ok(findings)
}

/// Each row of each family is there exactly once, in order.
fn complete(rows: &[Row]) -> Vec<String> {
    let expected = FAMILIES.iter().flat_map(|(letter, count, _)| (1..=*count).map(move |n| format!("{letter}{n}")));
    if rows.iter().map(|row| row.id.clone()).eq(expected) {
        return Vec::new();
    }
    vec![format!("{SOURCE}: the rows are not M1 to M40, G1 to G20, T1 to T12 in order")]
}

fn findings_of(root: &Path, row: &Row, proved: bool) -> Vec<String> {
    let mut findings = Vec::new();
    for file in &row.code {
        if !root.join(file).is_file() {
            findings.push(format!("{SOURCE}: row {} names {file}, which does not exist", row.id));
        }
    }
    if row.left_out.as_ref().is_some_and(|reason| reason.trim().len() > 20) {
        return findings;
    }
    if row.code.is_empty() {
        findings.push(format!("{SOURCE}: row {} has neither code nor a reason for its absence", row.id));
    }
    if !proved {
        findings.push(format!("row {} has no test whose doc comment begins with it", row.id));
    }
    findings
}

fn read(root: &Path) -> Result<(Vec<Row>, Proofs)> {
    let text = std::fs::read_to_string(root.join(SOURCE)).with_context(|| format!("cannot read {SOURCE}"))?;
    let source: Source = toml::from_str(&text).with_context(|| format!("{SOURCE} is not valid"))?;
    let mut proofs = Proofs::new();
    for file in crate::files::tracked(root)?.into_iter().filter(|name| name.ends_with(".rs")) {
        // A file that is deleted and not yet committed proves nothing.
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else { continue };
        for (ids, name) in marked_tests(&text) {
            for id in ids {
                proofs.entry(id).or_default().push(Proof { file: file.clone(), name: name.clone() });
            }
        }
    }
    Ok((source.row, proofs))
}

/// Rows and names of the tests of a source that name rows.
fn marked_tests(text: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            ids.extend(rows_of(comment.trim()));
        } else if line.starts_with("#[") || line.starts_with("#![") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(name) = function_name(line) {
            // Inside `proptest!` the attribute is the same; a helper without it proves nothing.
            if is_test && !ids.is_empty() {
                found.push((std::mem::take(&mut ids), name));
            }
            ids.clear();
            is_test = false;
        } else if !is_test || line.is_empty() {
            ids.clear();
            is_test = false;
        }
    }
    found
}

/// The rows at the beginning of a doc comment: `M14, M15: ...`.
fn rows_of(comment: &str) -> Vec<String> {
    let Some((head, _)) = comment.split_once(':') else { return Vec::new() };
    let ids: Vec<_> = head.split(',').map(|id| id.trim().to_owned()).collect();
    if ids.iter().all(|id| is_row(id)) { ids } else { Vec::new() }
}

fn is_row(id: &str) -> bool {
    let mut letters = id.chars();
    let family = letters.next().and_then(|letter| FAMILIES.iter().find(|(known, ..)| *known == letter));
    let digits = letters.as_str();
    family.is_some() && !digits.is_empty() && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())
}

fn function_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("pub ").unwrap_or(line);
    let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

fn table(rows: &[Row], proofs: &Proofs) -> String {
    let mut text = String::from(
        "# Market, votes and trust: what is promised, where it lives, what proves it\n\n\
         Written by `cargo xtask rows` from `features.toml` and from the doc comments of the tests; `cargo xtask tidy` (part of\n\
         the test suite) refuses a table that is not current, a file that does not exist and a row without a test.\n",
    );
    for (letter, _, family) in FAMILIES {
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "\n## {family}\n\n| row | promise | priority | implemented in | proved by |\n|---|---|---|---|---|\n"
        );
        for row in rows.iter().filter(|row| row.id.starts_with(*letter)) {
            let _ = writeln!(text, "{}", line(row, proofs.get(&row.id).map_or(&[], Vec::as_slice)));
        }
    }
    text
}

fn line(row: &Row, proofs: &[Proof]) -> String {
    let mut code = row.code.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join("<br>");
    for remark in row.left_out.iter().map(|reason| format!("left out: {reason}")).chain(row.note.clone()) {
        let gap = if code.is_empty() { "" } else { "<br>" };
        code = format!("{code}{gap}{remark}");
    }
    let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for proof in proofs {
        by_file.entry(&proof.file).or_default().push(&proof.name);
    }
    let tests =
        by_file.iter().map(|(file, names)| format!("`{file}`: {}", names.join(", "))).collect::<Vec<_>>().join("<br>");
    format!("| {} | {} | {} | {code} | {tests} |", row.id, row.title, row.priority.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_name_their_rows() {
        let text = "\
            /// M14, M15: refunds.\n#[test]\nfn refunds() {\n}\n\
            /// T6: a trap of the runtime, on a helper.\nfn helper() {}\n\
            /// G1: spent.\n#[test]\n#[cfg(feature = \"x\")]\nfn spent() {}\n\
            /// Nothing: not a row.\n#[test]\nfn other() {}\n";
        let found = marked_tests(text);
        assert_eq!(
            found,
            [
                (vec!["M14".to_owned(), "M15".to_owned()], "refunds".to_owned()),
                (vec!["G1".to_owned()], "spent".to_owned())
            ]
        );
    }

    #[test]
    fn a_row_without_code_or_test_is_a_finding() {
        let row = |code: &[&str], left_out: Option<&str>| Row {
            id: "M1".into(),
            title: "t".into(),
            priority: Priority::Must,
            code: code.iter().map(|c| (*c).to_owned()).collect(),
            left_out: left_out.map(str::to_owned),
            note: None,
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(findings_of(root, &row(&[], None), false).len(), 2);
        assert_eq!(findings_of(root, &row(&["src/main.rs"], None), true), Vec::<String>::new());
        assert_eq!(findings_of(root, &row(&["src/nowhere.rs"], None), true).len(), 1);
        assert_eq!(findings_of(root, &row(&[], Some("a reason of some length")), false), Vec::<String>::new());
        assert_eq!(findings_of(root, &row(&[], Some("no")), false).len(), 2, "a word is no reason");
    }
}
