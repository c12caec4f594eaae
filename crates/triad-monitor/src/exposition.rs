//! Prometheus text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! A [`Family`] borrows its [`Exposition`], so the samples of two families cannot mix.

use std::fmt::Write;

/// The format's media type, for the header `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's values mean.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Only grows, and starts from zero with its process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets.
    Histogram,
    /// Not known.
    Untyped,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Untyped => "untyped",
        }
    }
}

/// Names with values, at most one value for each name.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics being written.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family. Each name is begun once; without samples it leaves no trace.
    pub(crate) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &'a str) -> Family<'a> {
        Family { text: &mut self.text, name, kind, help, begun: false }
    }

    pub(crate) fn counter<'a>(&'a mut self, name: &'a str, help: &'a str) -> Family<'a> {
        self.family(name, Kind::Counter, help)
    }

    pub(crate) fn gauge<'a>(&'a mut self, name: &'a str, help: &'a str) -> Family<'a> {
        self.family(name, Kind::Gauge, help)
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// Samples under one name.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
    kind: Kind,
    help: &'a str,
    begun: bool,
}

impl Family<'_> {
    /// A sample that is a whole number; all its digits are written.
    pub(crate) fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.sample("", labels, &value.to_string());
    }

    /// A sample.
    pub(crate) fn number(&mut self, labels: Labels<'_>, value: f64) {
        self.sample("", labels, &number(value));
    }

    /// A histogram under `labels`. `counts` holds one bucket for each of `bounds`, not cumulative, and one for what is above the
    /// last; missing ones are zero.
    pub(crate) fn histogram(&mut self, labels: Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let counts = counts.iter().copied().chain(std::iter::repeat(0));
        let mut total = 0;
        for (bound, count) in bounds.zip(counts) {
            total += count;
            let bound = number(bound);
            self.sample("_bucket", &[labels, &[("le", &*bound)]].concat(), &total.to_string());
        }
        self.sample("_sum", labels, &number(sum));
        self.sample("_count", labels, &total.to_string());
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: &str) {
        self.begin();
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let mark = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{mark}{name}=\"{}\"", escape_label(text));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(self.text, "# HELP {} {help}\n# TYPE {} {}", self.name, self.name, self.kind.as_str());
        }
    }
}

fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}
