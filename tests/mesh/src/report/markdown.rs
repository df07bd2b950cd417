//! The report as text with tables.

use super::{Document, Speeds, ms, spread};
use crate::{campaign::Block, fault::Class, systems::OURS};
use std::fmt::Write as _;

/// What the agent is held to in a class: the 99th percentile of the gap, milliseconds, and packets lost by any fault.
const fn goal(class: Class) -> Option<(u64, u64)> {
    match class {
        Class::BlackHole | Class::OneWay | Class::RelayKill | Class::RelayStop => Some((10, 0)),
        Class::Carrier => Some((5, 0)),
        Class::Busy => Some((15, 0)),
        Class::Route | Class::Gray | Class::Throttle | Class::Far | Class::Loss => None,
    }
}

const METHOD: &str = "\
Every node is a network namespace of this machine; wires are veth pairs. A stream of one 200-byte packet each way per \
millisecond passes through the system under test, sent and received by one real-time process; arrivals carry the \
kernel's stamp. Faults hit the path that carries the traffic at that moment, at a random phase (seeded). A black hole \
is a BPF program at the *receiving* ends of the wire, steered by one word of shared memory: both directions are cut \
at once, and no sender is told. Half of the faults run with the systems in one order, half in the reverse order, each \
half on freshly started systems.\n\n\
*Lost*: packets sent while the fault was there that never arrived. *Gap*: the longest time between two arrivals, from \
the last one before the fault on; it contains the stream's own millisecond. Of the two directions the worse one counts. \
`>` marks a gap that had not ended when the fault was lifted. *Back*: the same after the fault is lifted. *Own stalls*: \
faults during whose gap the measuring process itself came late by more than 1.5 ms; they stay in the figures.\n\n\
With twenty faults the 99th percentile is the largest figure.\n";

const PHYSICS: &str = "\
A failure that is not one's own can only be known after one one-way delay of a path that still works. Less than ten \
milliseconds therefore holds for failures of a local link, for failures next to a relay that repairs them, and where \
the surviving path's one-way delay is at most about 3 ms, as on these wires; farther away only packets that travel \
on two paths at once are not delayed. The class `far` shows what distance costs.\n";

/// The whole report.
#[must_use]
pub fn render(document: &Document) -> String {
    let mut text = String::from("# The mesh beside others\n\n");
    let machine = &document.machine;
    line(
        &mut text,
        &format!(
            "Machine: {}, {} cores, Linux {}, preemption {}. `make mesh-report`, seed {}, {} faults of each class. Raw \
             figures: [mesh.json](mesh.json).\n",
            machine.processor, machine.cores, machine.kernel, machine.preemption, document.seed, document.faults
        ),
    );
    text += METHOD;
    line(&mut text, "\n**Physics.** ");
    text += PHYSICS;
    line(&mut text, "\n![Delivery gaps by class and system](mesh-failover.svg)\n");
    summary(document, &mut text);
    for class in Class::ALL {
        section(document, class, &mut text);
    }
    speeds(document, &mut text);
    systems(document, &mut text);
    text
}

fn line(text: &mut String, words: &str) {
    text.push_str(words);
    if !words.ends_with(' ') {
        text.push('\n');
    }
}

/// Ours against its goals.
fn summary(document: &Document, text: &mut String) {
    line(text, "## Ours against its goals\n\n| fault | goal | measured | |\n|---|---|---|---|");
    for class in Class::ALL {
        let Some((gap_ms, lost)) = goal(class) else { continue };
        let goal = format!("gap p99 < {gap_ms} ms, {lost} lost");
        let name = class.name();
        let Some(block) = document.of(class).into_iter().find(|block| block.system == OURS) else {
            line(text, &format!("| {name} | {goal} | not measured | |"));
            continue;
        };
        let [_, _, gap, _] = spread(&block.rows, |row| row.fault.gap_us);
        let [.., lost_max] = spread(&block.rows, |row| row.fault.lost);
        let met = if gap < gap_ms * 1_000 && lost_max <= lost { "met" } else { "**missed**" };
        line(text, &format!("| {name} | {goal} | gap p99 {} ms, at most {lost_max} lost | {met} |", ms(gap)));
    }
    text.push('\n');
}

fn section(document: &Document, class: Class, text: &mut String) {
    let blocks = document.of(class);
    if blocks.is_empty() {
        return;
    }
    line(text, &format!("## {}: {}\n", class.name(), class.about()));
    line(
        text,
        "| system | faults | lost p50 / p90 / p99 / max | longest run | gap ms p50 / p90 / p99 / max | back: lost max, \
         gap ms max | own stalls | load | |",
    );
    line(text, "|---|---|---|---|---|---|---|---|---|");
    let ours = blocks.iter().find(|block| block.system == OURS).copied();
    for block in &blocks {
        line(text, &row(block, ours));
    }
    text.push('\n');
}

fn row(block: &Block, ours: Option<&Block>) -> String {
    let rows = &block.rows;
    let gaps = spread(rows, |row| row.fault.gap_us);
    let open = rows.iter().any(|row| row.fault.open);
    let [.., run] = spread(rows, |row| row.fault.lost_run);
    let [.., back_lost] = spread(rows, |row| row.back.lost);
    let [.., back_gap] = spread(rows, |row| row.back.gap_us);
    let stalls = rows.iter().filter(|row| row.fault.own_stall).count();
    let [load, ..] = spread(rows, |row| row.load_centi);
    format!(
        "| {} | {} | {} | {run} | {}{} | {back_lost}, {} | {stalls} | {}.{:02} | {} |",
        block.system,
        rows.len(),
        join(spread(rows, |row| row.fault.lost).map(|lost| lost.to_string())),
        if open { "> " } else { "" },
        join(gaps.map(ms)),
        ms(back_gap),
        load / 100,
        load % 100,
        verdict(block, ours)
    )
}

/// Where ours is behind this system, in words; nothing where it is not.
fn verdict(block: &Block, ours: Option<&Block>) -> String {
    let Some(ours) = ours.filter(|ours| ours.system != block.system) else { return String::new() };
    let gap = |block: &Block, nth: usize| spread(&block.rows, |row| row.fault.gap_us)[nth];
    let lost = |block: &Block| spread(&block.rows, |row| row.fault.lost)[3];
    let mut behind = Vec::new();
    for (nth, name) in [(0, "gap p50"), (2, "gap p99")] {
        if gap(block, nth) < gap(ours, nth) {
            behind.push(name);
        }
    }
    if lost(block) < lost(ours) {
        behind.push("lost");
    }
    if behind.is_empty() { String::new() } else { format!("**ours loses: {}**", behind.join(", ")) }
}

fn join(figures: [String; 4]) -> String {
    figures.join(" / ")
}

fn speeds(document: &Document, text: &mut String) {
    if document.speeds.is_empty() {
        return;
    }
    line(text, "## One TCP stream\n");
    line(
        text,
        "`iperf3`, one stream from `a` to `b`; both ends, the system and iperf3 itself share the machine's cores. \
         Processor: of all the system's processes together.\n",
    );
    line(text, "| system | Mbit/s median (least, most) | runs | processor | memory of the largest process | load | |");
    line(text, "|---|---|---|---|---|---|---|");
    let mut rows: Vec<(&Speeds, u64)> = document.speeds.iter().map(|speeds| (speeds, median(speeds))).collect();
    rows.sort_by_key(|(_, median)| std::cmp::Reverse(*median));
    let ours = rows.iter().find(|(speeds, _)| speeds.system == OURS).map(|(_, median)| *median);
    for (speeds, median) in rows {
        let of = |figure: fn(&crate::speed::Speed) -> u64| speeds.runs.iter().map(figure);
        let mbit = || of(|run| run.mbit_s);
        let behind = ours.is_some_and(|ours| median > ours);
        line(
            text,
            &format!(
                "| {} | {median} ({}, {}) | {} | {} % | {} MiB | {:.2} | {} |",
                speeds.system,
                mbit().min().unwrap_or(0),
                mbit().max().unwrap_or(0),
                speeds.runs.len(),
                of(|run| run.processor_percent).max().unwrap_or(0),
                of(|run| run.resident_kib).max().unwrap_or(0) / 1_024,
                Hundredths(of(|run| run.load_centi).max().unwrap_or(0)),
                if behind { "**ours loses**" } else { "" }
            ),
        );
    }
    text.push('\n');
}

/// A number of hundredths, printed as a decimal.
struct Hundredths(u64);

impl std::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

fn median(speeds: &Speeds) -> u64 {
    let mut figures: Vec<u64> = speeds.runs.iter().map(|run| run.mbit_s).collect();
    figures.sort_unstable();
    crate::outcome::percentile(&figures, 50)
}

fn systems(document: &Document, text: &mut String) {
    line(text, "## Systems\n\n| system | version | set up | calm: latency us p50 / p99 / max |\n|---|---|---|---|");
    for entry in &document.systems {
        let version = match (&entry.version, &entry.missing) {
            (Some(version), _) => version.clone(),
            (None, Some(missing)) => format!("not measured: {missing}"),
            (None, None) => "?".into(),
        };
        let calm = document.of(Class::BlackHole).into_iter().find(|block| block.system == entry.name);
        let calm =
            calm.map_or_else(String::new, |block| block.calm.latency_us.map(|figure| figure.to_string()).join(" / "));
        line(text, &format!("| {} | {version} | {} | {calm} |", entry.name, entry.about));
    }
    let stalled = document.blocks.iter().filter(|block| !block.realtime).count();
    if stalled > 0 {
        let _ = writeln!(text, "\nThe measuring process had no real-time priority in {stalled} blocks.");
    }
    if !document.failures.is_empty() {
        line(text, "\n## Measurements that failed\n");
        for failure in &document.failures {
            line(text, &format!("* {}", failure.replace('\n', " ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn rows_in_which_ours_is_behind_are_marked() {
        let text = render(&example());
        let rival = text.lines().find(|line| line.starts_with("| rival | 2 |")).unwrap();
        // The rival's better half of faults was faster than ours, its worst were not.
        assert!(rival.contains("**ours loses: gap p50**"), "{rival}");
        assert!(
            rival.contains("3 / 6000 / 6000 / 6000") && rival.contains("4.0 / 6000.0 / 6000.0 / 6000.0"),
            "{rival}"
        );
        assert!(
            text.contains("| black-hole | gap p99 < 10 ms, 0 lost | gap p99 7.0 ms, at most 1 lost | **missed** |")
        );
        assert!(text.contains("| carrier | gap p99 < 5 ms, 0 lost | not measured | |"));
    }

    #[test]
    fn what_is_missing_says_why() {
        let mut document = example();
        document.systems[1].version = None;
        document.systems[1].missing = Some("not installed".into());
        document.failures.push("it\nbroke".into());
        let text = render(&document);
        assert!(text.contains("| rival | not measured: not installed |"));
        assert!(text.contains("* it broke"));
    }
}
