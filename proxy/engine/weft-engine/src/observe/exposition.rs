//! The two texts that metrics are written in: Prometheus's own, and OpenMetrics for who asks for it.

use std::fmt::Write as _;
use std::time::Duration;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Version 0.0.4, which everything reads.
    Prometheus,
    /// Version 1.0.0: with the moments that series began at, and exemplars.
    OpenMetrics,
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// A text in the making.
#[derive(Debug)]
pub(super) struct Exposition {
    format: Format,
    out: String,
}

/// A request that stands for its bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exemplar {
    /// 32 hexadecimal digits.
    pub(crate) trace: String,
    /// Its duration.
    pub(crate) nanos: u64,
    /// When it ended, in milliseconds since the epoch.
    pub(crate) at: u64,
}

// === impl Format ===

impl Format {
    /// What a scraper's Accept asks for: OpenMetrics where it is named with at least the weight of plain text (RFC 9110 §12.5.1).
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.unwrap_or("").split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or("").to_ascii_lowercase();
            let (mut weight, mut known) = (1.0, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => {
                        known = matches!(value.trim().trim_matches('"'), "1.0.0" | "0.0.1")
                    }
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if known => open = open.max(weight),
                "text/plain" | "text/*" | "*/*" => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// What the answer's content-type says.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

// === impl Exposition ===

impl Exposition {
    pub(super) fn new(format: Format) -> Self {
        let out = String::with_capacity(64 * 1024);
        Self { format, out }
    }

    /// Announces a family; counters by the name that their samples have.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let (name, kind) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => (name.trim_end_matches("_total"), "counter"),
            (Format::OpenMetrics, Kind::Info) => (name.trim_end_matches("_info"), "info"),
            (_, Kind::Counter) => (name, "counter"),
            (_, Kind::Gauge | Kind::Info) => (name, "gauge"),
            (_, Kind::Histogram) => (name, "histogram"),
        };
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample. `labels` as they stand between the braces; none: no braces.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.out, "{name} {value}"),
            labels => writeln!(self.out, "{name}{{{labels}}} {value}"),
        };
    }

    /// When the series of these labels began, in milliseconds since the epoch.
    pub(super) fn created(&mut self, family: &str, labels: &str, at: u64) {
        if self.format == Format::OpenMetrics {
            let name = format!("{}_created", family.trim_end_matches("_total"));
            self.sample(&name, labels, seconds(Duration::from_millis(at)));
        }
    }

    /// A bucket, with a request that stands for it.
    pub(super) fn bucket(
        &mut self,
        family: &str,
        labels: &str,
        bound: &str,
        count: u64,
        exemplar: Option<&Exemplar>,
    ) {
        let _ = write!(
            self.out,
            "{family}_bucket{{{labels},le=\"{bound}\"}} {count}"
        );
        if let (Format::OpenMetrics, Some(one)) = (self.format, exemplar) {
            let _ = write!(
                self.out,
                " # {{trace_id=\"{}\"}} {} {}",
                one.trace,
                seconds(Duration::from_nanos(one.nanos)),
                seconds(Duration::from_millis(one.at)),
            );
        }
        self.out.push('\n');
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// As scrapers write lengths of time.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e9
}

/// A label's value between its quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_written_for_whoever_prefers_them() {
        let scraper = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (None, Format::Prometheus),
            (Some("*/*"), Format::Prometheus),
            (Some(scraper), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Format::Prometheus),
            (
                Some("application/openmetrics-text; version=9.0.0"),
                Format::Prometheus,
            ),
            (
                Some("text/plain, application/openmetrics-text;q=0.3"),
                Format::Prometheus,
            ),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn counters_and_ends_are_written_as_each_text_wants_them() {
        let write = |format| {
            let mut out = Exposition::new(format);
            out.family("weft_x_total", Kind::Counter, "Some.");
            out.sample("weft_x_total", "a=\"b\"", 3);
            out.created("weft_x_total", "a=\"b\"", 1_500);
            out.finish()
        };
        assert_eq!(
            write(Format::Prometheus),
            "# HELP weft_x_total Some.\n# TYPE weft_x_total counter\nweft_x_total{a=\"b\"} 3\n"
        );
        assert_eq!(
            write(Format::OpenMetrics),
            "# HELP weft_x Some.\n# TYPE weft_x counter\nweft_x_total{a=\"b\"} 3\nweft_x_created{a=\"b\"} 1.5\n# EOF\n"
        );
    }
}
