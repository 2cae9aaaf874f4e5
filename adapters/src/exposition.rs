//! What is counted, as Prometheus reads it: the text format, version 0.0.4.

use std::fmt::{Display, Write};

/// The bounds of histograms of times: in microseconds, and as they are written, in seconds.
pub(crate) const SECONDS: [(u64, &str); 14] = [
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
];

/// A page of metrics in the making. Every name begins with `portcullis_`, which is put in front here.
#[derive(Debug, Default)]
pub struct Exposition(String);

/// Whoever has something to say on the page.
pub type Source = Box<dyn Fn(&mut Exposition) + Send + Sync>;

/// One metric, whose samples follow.
#[derive(Debug)]
pub struct Family<'p> {
    page: &'p mut String,
    name: &'p str,
}

impl Exposition {
    /// Something that only grows; its name ends in `_total`.
    pub fn counter<'p>(&'p mut self, name: &'p str, help: &str) -> Family<'p> {
        self.family(name, "counter", help)
    }

    /// Something that goes up and down.
    pub fn gauge<'p>(&'p mut self, name: &'p str, help: &str) -> Family<'p> {
        self.family(name, "gauge", help)
    }

    /// How something is spread; its samples are those of [`Family::spread`].
    pub fn histogram<'p>(&'p mut self, name: &'p str, help: &str) -> Family<'p> {
        self.family(name, "histogram", help)
    }

    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    fn family<'p>(&'p mut self, name: &'p str, kind: &str, help: &str) -> Family<'p> {
        // Writing to a String does not fail.
        let _ = write!(self.0, "# HELP portcullis_{name} {help}\n# TYPE portcullis_{name} {kind}\n");
        Family { page: &mut self.0, name }
    }
}

impl Family<'_> {
    /// The only sample.
    pub fn is(&mut self, value: impl Display) {
        self.sample("", &[], value);
    }

    /// A sample with these labels.
    pub fn of(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample("", labels, value);
    }

    /// A histogram's samples: how many were at most so many seconds, in order, how many there were, and their sum.
    pub fn spread(&mut self, labels: &[(&str, &str)], buckets: &[(&str, u64)], count: u64, sum: f64) {
        for (most, so_many) in buckets.iter().copied().chain([("+Inf", count)]) {
            let labels: Vec<_> = labels.iter().copied().chain([("le", most)]).collect();
            self.sample("_bucket", &labels, so_many);
        }
        self.sample("_sum", labels, sum);
        self.sample("_count", labels, count);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.page, "portcullis_{}{suffix}", self.name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let begin = if place == 0 { '{' } else { ',' };
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.page, "{begin}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.page, "{end} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Exposition::default();
        page.gauge("open", "Open ones.").is(3);
        page.counter("seen_total", "Seen ones.").of(&[("path", "/a\"b\\c\nd"), ("kind", "x")], 7);
        page.histogram("wait_seconds", "Waiting.").spread(&[("kind", "x")], &[("0.5", 1), ("1", 2)], 4, 7.5);
        let text = "# HELP portcullis_open Open ones.\n# TYPE portcullis_open gauge\nportcullis_open 3\n\
            # HELP portcullis_seen_total Seen ones.\n# TYPE portcullis_seen_total counter\n\
            portcullis_seen_total{path=\"/a\\\"b\\\\c\\nd\",kind=\"x\"} 7\n\
            # HELP portcullis_wait_seconds Waiting.\n# TYPE portcullis_wait_seconds histogram\n\
            portcullis_wait_seconds_bucket{kind=\"x\",le=\"0.5\"} 1\nportcullis_wait_seconds_bucket{kind=\"x\",le=\"1\"} 2\n\
            portcullis_wait_seconds_bucket{kind=\"x\",le=\"+Inf\"} 4\nportcullis_wait_seconds_sum{kind=\"x\"} 7.5\n\
            portcullis_wait_seconds_count{kind=\"x\"} 4\n";
        assert_eq!(page.into_text(), text);
    }
}
