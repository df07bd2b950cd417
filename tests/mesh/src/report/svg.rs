//! The graph: each fault is a dot, from half a millisecond to a minute on a logarithmic axis.

use super::{Document, ms, spread};
use crate::{campaign::Block, fault::Class, systems::OURS};
use std::fmt::Write as _;

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 240.0;
const RIGHT: f64 = 110.0;
const ROW: f64 = 22.0;
const HEAD: f64 = 34.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 46.0;
/// The axis: half a millisecond and a minute, in microseconds.
const LEAST_US: f64 = 500.0;
const MOST_US: f64 = 60_000_000.0;
const TICKS_MS: [u32; 11] = [1, 2, 5, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000];

const INK: &str = "#1f2933";
const PALE: &str = "#8a96a3";
const GRID: &str = "#e3e8ee";
const OURS_INK: &str = "#0b7a53";
const OTHERS_INK: &str = "#b4532a";

/// The whole graph.
#[must_use]
pub fn render(document: &Document) -> String {
    let groups: Vec<(Class, Vec<&Block>)> = Class::ALL
        .into_iter()
        .map(|class| (class, document.of(class)))
        .filter(|(_, blocks)| !blocks.is_empty())
        .collect();
    let rows = groups.iter().map(|(_, blocks)| blocks.len()).sum::<usize>();
    let bottom = TOP + HEAD * number(groups.len()) + ROW * number(rows);
    let height = bottom + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n"
    );
    words(&mut svg, 16.0, 28.0, "start", INK, "17", "Longest time without a packet after a fault");
    words(
        &mut svg,
        16.0,
        48.0,
        "start",
        PALE,
        "13",
        "one dot for each fault, logarithmic; the stream sends every millisecond; the bar is the median; hollow: had not \
         recovered when the fault was lifted",
    );
    for tick in TICKS_MS {
        let x = position(f64::from(tick) * 1_000.0);
        let strong = tick == 10;
        let (ink, dashes) = if strong { (INK, " stroke-dasharray=\"4 3\"") } else { (GRID, "") };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{ink}\"{dashes}/>"
        );
        let label = if tick >= 1_000 { format!("{} s", tick / 1_000) } else { format!("{tick} ms") };
        words(&mut svg, x, bottom + 20.0, "middle", if strong { INK } else { PALE }, "12", &label);
    }
    words(&mut svg, WIDTH - 8.0, TOP + 22.0, "end", PALE, "11", "median / longest");
    let mut y = TOP;
    for (class, blocks) in groups {
        words(&mut svg, 16.0, y + 22.0, "start", INK, "14", class.name());
        y += HEAD;
        for block in blocks {
            strip(&mut svg, y, block);
            y += ROW;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// One system's faults of a class.
fn strip(svg: &mut String, y: f64, block: &Block) {
    let ink = if block.system == OURS { OURS_INK } else { OTHERS_INK };
    let middle = y + ROW / 2.0 - 5.0;
    words(svg, LEFT - 14.0, middle + 4.5, "end", ink, "13", &block.system);
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"{GRID}\"/>",
        WIDTH - RIGHT
    );
    for row in &block.rows {
        let x = position(micros(row.fault.gap_us));
        let paint = if row.fault.open {
            format!("fill=\"#ffffff\" stroke=\"{ink}\"")
        } else {
            format!("fill=\"{ink}\" fill-opacity=\"0.45\"")
        };
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"4\" {paint}/>");
    }
    let [median, _, _, most] = spread(&block.rows, |row| row.fault.gap_us);
    let x = position(micros(median));
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"3\" height=\"16\" fill=\"{ink}\"/>",
        x - 1.5,
        middle - 8.0
    );
    let label = format!("{} / {} ms", ms(median), ms(most));
    words(svg, WIDTH - 8.0, middle + 4.5, "end", ink, "11", &label);
}

fn words(svg: &mut String, x: f64, y: f64, anchor: &str, ink: &str, size: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{ink}\" font-size=\"{size}\">{text}</text>"
    );
}

/// Where a time stands on the axis; times beyond its ends stand at them.
fn position(us: f64) -> f64 {
    let share = (us.clamp(LEAST_US, MOST_US) / LEAST_US).ln() / (MOST_US / LEAST_US).ln();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn micros(us: u64) -> f64 {
    f64::from(u32::try_from(us).unwrap_or(u32::MAX))
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn every_fault_is_a_dot_and_every_system_has_its_label() {
        let svg = render(&example());
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains(">rival</text>") && svg.contains(">10 ms</text>"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn the_axis_is_logarithmic_and_has_ends() {
        let step = position(10_000.0) - position(1_000.0);
        assert!((position(1_000_000.0) - position(100_000.0) - step).abs() < 0.01);
        assert!((position(0.0) - LEFT).abs() < 0.01 && (position(1e12) - (WIDTH - RIGHT)).abs() < 0.01);
    }
}
