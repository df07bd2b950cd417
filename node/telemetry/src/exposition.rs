//! The text that Prometheus reads (OpenMetrics 1.0).

use std::{collections::BTreeMap, fmt::Write as _};

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows while the process lives. Its name ends in `_total`.
    Counter,
    /// Counts of values by their size: samples `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A metric's name, kind and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name in queries: `x0_`, the part, the thing, its unit; a counter ends in `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it says, without a full stop.
    pub help: &'static str,
}

impl Metric {
    /// A gauge.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, help }
    }

    /// A counter; the name ends in `_total`.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, help }
    }

    /// A histogram; its samples have this name with the endings `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, help }
    }

    /// The name of the metric's family, which for counters lacks the ending.
    fn family(&self) -> &'static str {
        match self.kind {
            Kind::Gauge | Kind::Histogram => self.name,
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
        }
    }
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number, exact.
    Whole(u64),
    /// A fraction.
    Fraction(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        // No platform of this node has larger addresses.
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Fraction(value)
    }
}

impl core::fmt::Display for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Fraction(value) if value.is_nan() => f.write_str("NaN"),
            Self::Fraction(value) if value.is_infinite() => f.write_str(if *value > 0.0 { "+Inf" } else { "-Inf" }),
            Self::Fraction(value) => value.fmt(f),
        }
    }
}

/// Fills samples when somebody asks. Called on a blocking thread.
pub trait Source: Send + Sync + 'static {
    /// Adds the present values.
    fn collect(&self, samples: &mut Samples);
}

impl<F: Fn(&mut Samples) + Send + Sync + 'static> Source for F {
    fn collect(&self, samples: &mut Samples) {
        self(samples);
    }
}

/// A value: the ending of its name, its labels, itself.
type Sample = (&'static str, String, Value);
/// A metric and its values.
type Family = (Metric, Vec<Sample>);

/// Counts of values by their size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution<'a> {
    /// Upper bounds of the sizes, ascending, each inclusive; what is above the last one counts as `+Inf`.
    pub bounds: &'a [f64],
    /// How many values lie in each range: one count for each bound, and one for what is above the last. Not
    /// cumulative.
    pub counts: &'a [u64],
    /// The sum of all values.
    pub sum: f64,
}

/// The values of one answer, by metric.
#[derive(Debug, Default)]
pub struct Samples {
    families: BTreeMap<&'static str, Family>,
}

impl Samples {
    /// Adds the value of a metric without labels.
    pub fn put(&mut self, metric: &Metric, value: impl Into<Value>) {
        self.put_labelled(metric, &[], value);
    }

    /// Adds a value with labels. Label names are constants of the caller, values may be any text.
    pub fn put_labelled(&mut self, metric: &Metric, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.put_sample(metric, "", labels, value.into());
    }

    /// Adds counts by size. The format counts them cumulatively.
    pub fn put_distribution(&mut self, metric: &Metric, labels: &[(&str, &str)], distribution: &Distribution<'_>) {
        let bounds = distribution.bounds.iter().map(|bound| Value::Fraction(*bound).to_string());
        let mut below = 0u64;
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(distribution.counts) {
            below = below.saturating_add(*count);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.put_sample(metric, "_bucket", &labels, below.into());
        }
        self.put_sample(metric, "_sum", labels, distribution.sum.into());
        self.put_sample(metric, "_count", labels, below.into());
    }

    fn put_sample(&mut self, metric: &Metric, ending: &'static str, labels: &[(&str, &str)], value: Value) {
        let text =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",");
        let (_, values) = self.families.entry(metric.name).or_insert_with(|| (*metric, Vec::new()));
        values.push((ending, text, value));
    }

    /// The names of the metrics that have a value.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.families.keys().copied()
    }

    /// The text, without the line that ends an answer.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (metric, values) in self.families.values() {
            let family = metric.family();
            let kind = match metric.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
                Kind::Histogram => "histogram",
            };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "# HELP {family} {}.\n# TYPE {family} {kind}", escaped(metric.help));
            for (ending, labels, value) in values {
                let name = metric.name;
                let _ = match labels.as_str() {
                    "" => writeln!(text, "{name}{ending} {value}"),
                    labels => writeln!(text, "{name}{ending}{{{labels}}} {value}"),
                };
            }
        }
        text
    }
}

/// Text as it may stand between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The last line of an answer.
const END: &str = "# EOF\n";

/// Joins the node's samples and what the engine's registry says.
pub(crate) fn joined(samples: &Samples, engine: &str) -> String {
    let mut text = samples.text();
    text.push_str(engine.strip_suffix(END).unwrap_or(engine));
    text.push_str(END);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEIGHT: Metric = Metric::gauge("x0_chain_height_blocks", "Height of the last final block");
    const FRAMES: Metric = Metric::counter("x0_p2p_frames_total", "Frames");

    #[test]
    fn samples_of_one_metric_stand_together_under_their_family() {
        let mut samples = Samples::default();
        samples.put_labelled(&FRAMES, &[("peer", "a")], 1_u64);
        samples.put(&HEIGHT, 7_u32);
        samples.put_labelled(&FRAMES, &[("peer", "b\"\\\n"), ("way", "in")], 0.5);
        let expected = "# HELP x0_chain_height_blocks Height of the last final block.\n\
            # TYPE x0_chain_height_blocks gauge\nx0_chain_height_blocks 7\n\
            # HELP x0_p2p_frames Frames.\n# TYPE x0_p2p_frames counter\n\
            x0_p2p_frames_total{peer=\"a\"} 1\nx0_p2p_frames_total{peer=\"b\\\"\\\\\\n\",way=\"in\"} 0.5\n";
        assert_eq!(samples.text(), expected);
    }

    #[test]
    fn counts_by_size_are_cumulative_and_keep_their_labels() {
        const LATENCY: Metric = Metric::histogram("x0_rpc_request_seconds", "Time");
        let mut samples = Samples::default();
        let distribution = Distribution { bounds: &[0.001, 0.5], counts: &[3, 0, 2], sum: 1.25 };
        samples.put_distribution(&LATENCY, &[("class", "chain")], &distribution);
        let expected = "# HELP x0_rpc_request_seconds Time.\n# TYPE x0_rpc_request_seconds histogram\n\
            x0_rpc_request_seconds_bucket{class=\"chain\",le=\"0.001\"} 3\n\
            x0_rpc_request_seconds_bucket{class=\"chain\",le=\"0.5\"} 3\n\
            x0_rpc_request_seconds_bucket{class=\"chain\",le=\"+Inf\"} 5\n\
            x0_rpc_request_seconds_sum{class=\"chain\"} 1.25\nx0_rpc_request_seconds_count{class=\"chain\"} 5\n";
        assert_eq!(samples.text(), expected);
        assert_eq!(samples.names().collect::<Vec<_>>(), ["x0_rpc_request_seconds"]);
    }

    #[test]
    fn an_answer_ends_once() {
        let mut samples = Samples::default();
        samples.put(&HEIGHT, u64::MAX);
        let text = joined(&samples, "# TYPE rounds gauge\nrounds 1\n# EOF\n");
        assert!(text.ends_with("rounds 1\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        assert!(text.contains("18446744073709551615"), "whole numbers stay exact");
        assert_eq!(joined(&Samples::default(), ""), "# EOF\n");
    }

    #[test]
    fn odd_fractions_have_the_formats_names() {
        let odd =
            [(f64::NAN, "NaN"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf"), (1e21, "1000000000000000000000")];
        for (value, text) in odd {
            assert_eq!(Value::from(value).to_string(), text);
        }
    }
}
