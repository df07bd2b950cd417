//! Writing measured numbers into the pallets' `weights.rs`.

use crate::{Cost, Measured};
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

/// Marks the line of a file that says where its numbers come from.
const ORIGIN: &str = "//! Measured: ";

/// Replaces the bodies of the measured functions in the implementation for `MeasuredWeight`, and the
/// line that says where the numbers come from. Everything else of a file stays as it is.
pub fn write(measured: &[Measured]) {
    let mut by_pallet: BTreeMap<&str, Vec<&Measured>> = BTreeMap::new();
    for entry in measured {
        by_pallet.entry(entry.pallet).or_default().push(entry);
    }
    for (pallet, entries) in by_pallet {
        let path = file_of(pallet);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = entries.iter().fold(text, |text, entry| replace_body(&text, entry));
        std::fs::write(&path, replace_origin(&text)).unwrap();
        println!("wrote {}", path.display());
    }
}

fn file_of(pallet: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    match pallet {
        "balances" => root.join("runtime/src/weights.rs"),
        other => root.join(format!("pallets/{other}/src/weights.rs")),
    }
}

fn replace_body(text: &str, entry: &Measured) -> String {
    let start = text.find("WeightInfo for MeasuredWeight").expect("the file implements WeightInfo for MeasuredWeight");
    let function = start + text[start..].find(&format!("fn {}(", entry.function)).expect(entry.function);
    let open = function + text[function..].find('{').expect("a body");
    let close = open + text[open..].find("\n    }").expect("the end of the body");
    format!("{}{{\n{}{}", &text[..open], body(&entry.cost), &text[close..])
}

fn body(cost: &Cost) -> String {
    match cost {
        Cost::Fixed(picoseconds) => format!("        Weight::from_parts({}, 0)", digits(*picoseconds)),
        Cost::Linear(base, units) => {
            let mut text = format!("        Weight::from_parts({}, 0)", digits(*base));
            for (name, picoseconds) in units {
                let each = digits(*picoseconds);
                write!(
                    text,
                    "\n            .saturating_add(Weight::from_parts({each}, 0).saturating_mul({name}.into()))"
                )
                .unwrap();
            }
            text
        }
    }
}

/// A number with underscores between groups of three digits.
fn digits(number: u64) -> String {
    let text = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in text.chars().enumerate() {
        if place > 0 && (text.len() - place).is_multiple_of(3) {
            grouped.push('_');
        }
        grouped.push(digit);
    }
    grouped
}

fn replace_origin(text: &str) -> String {
    let profile = if cfg!(debug_assertions) { "development profile (conservative)" } else { "release profile" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| name.trim_start_matches(|c: char| c == ':' || c.is_whitespace()));
    let origin = format!("{ORIGIN}{profile}, {cores} cores, {cpu}, RocksDB-backed state; see `weigh`.");
    text.lines()
        .map(|line| if line.starts_with(ORIGIN) { origin.as_str() } else { line })
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}
