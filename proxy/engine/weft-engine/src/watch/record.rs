//! What is told of one request, or of one connection through which bytes flow, in the words of the glossary. It has a fixed list of fields: no credential is among them.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weft_core::reason::Reason;

use super::Ending;
use crate::h1::civil;
use crate::observe::{Direction, Label};

/// A request that is over, or a connection of bytes that began or is over.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// When it ended.
    pub(crate) at: SystemTime,
    /// From its head to the end of the answer.
    pub(crate) took: Duration,
    /// To the head of the answer from upstream, if one came.
    pub(crate) head: Option<Duration>,
    pub(crate) direction: Direction,
    pub(crate) source: Label,
    pub(crate) destination: Label,
    pub(crate) route: Label,
    /// Who was asked last.
    pub(crate) instance: String,
    pub(crate) host: String,
    pub(crate) method: String,
    /// As it came, without what is not to be told.
    pub(crate) path: String,
    /// 0: it was no request.
    pub(crate) code: u16,
    /// How a connection through which bytes flow stands.
    pub(crate) ending: Option<Ending>,
    pub(crate) reason: Option<Reason>,
    /// One line on it.
    pub(crate) detail: String,
    /// Bytes of the bodies: of the request, of the answer; of a tunnel, towards the service and back.
    pub(crate) moved: (u64, u64),
    pub(crate) tries: u32,
    pub(crate) missed: Vec<Missed>,
    pub(crate) trace: Trace,
    pub(crate) request_id: String,
    pub(crate) client: IpAddr,
    /// The version, empty where the client speaks plain text.
    pub(crate) tls: &'static str,
    /// Further fields of the request that somebody who taps asked for.
    pub(crate) fields: Vec<(String, String)>,
}

/// A try that failed.
#[derive(Clone, Debug)]
pub(crate) struct Missed {
    pub(crate) instance: String,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// Where a request stands in its trace; hexadecimal digits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trace {
    pub(crate) trace: [u8; 32],
    /// Of this engine's part of it.
    pub(crate) span: [u8; 16],
    /// Of the part above; zeros where this is the first.
    pub(crate) parent: [u8; 16],
    pub(crate) sampled: bool,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LineFormat {
    /// One object.
    #[default]
    Json,
    /// `key=value`, quoted where it has to be.
    Logfmt,
}

/// A text of a peer's is told up to here.
const LONGEST: usize = 2_048;

/// A line in the making.
struct Line<'a> {
    out: &'a mut String,
    format: LineFormat,
    begun: bool,
}

// === impl Record ===

impl Record {
    /// Appends the line, without its end.
    pub(crate) fn write(&self, out: &mut String, format: LineFormat) {
        let mut line = Line::new(out, format);
        line.text("time", &timestamp(self.at));
        line.text("direction", self.direction.word());
        line.text("source", &self.source.text());
        line.text("destination", &self.destination.text());
        line.text("instance", &self.instance);
        line.text("route", &self.route.text());
        line.text("host", &self.host);
        line.text("method", &self.method);
        line.text("path", &self.path);
        if self.code != 0 {
            line.number("code", self.code);
        }
        line.text("end", self.ending.map_or("", Ending::word));
        line.text("reason", self.reason.map_or("", Reason::as_str));
        line.text("detail", &self.detail);
        if self.ending != Some(Ending::Open) {
            line.number("sent", self.moved.0);
            line.number("received", self.moved.1);
            line.number("duration_ms", Millis(self.took));
        }
        if let Some(head) = self.head {
            line.number("first_byte_ms", Millis(head));
        }
        line.number("tries", self.tries);
        line.missed(&self.missed);
        line.text("trace_id", digits(&self.trace.trace));
        line.text("span_id", digits(&self.trace.span));
        line.text("parent_id", digits(&self.trace.parent));
        line.number("sampled", self.trace.sampled);
        line.text("request_id", &self.request_id);
        line.text("client", &self.client.to_string());
        line.text("tls", self.tls);
        line.fields(&self.fields);
        line.end();
    }
}

/// A line that is no request: `fields` are numbers.
pub(crate) fn note(out: &mut String, format: LineFormat, what: &str, fields: &[(&str, u64)]) {
    let mut line = Line::new(out, format);
    line.text("time", &timestamp(SystemTime::now()));
    line.text("note", what);
    for (name, value) in fields {
        line.number(name, value);
    }
    line.end();
}

/// Text of a peer's, bounded; what is no UTF-8 is replaced.
pub(crate) fn bounded(bytes: &[u8]) -> String {
    let end = bytes.len().min(LONGEST);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn digits(digits: &[u8]) -> &str {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    text.trim_start_matches('\0')
}

/// With three digits behind the point.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

/// RFC 3339, in milliseconds.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

// === impl Line ===

impl<'a> Line<'a> {
    fn new(out: &'a mut String, format: LineFormat) -> Self {
        if format == LineFormat::Json {
            out.push('{');
        }
        Self {
            out,
            format,
            begun: false,
        }
    }

    fn key(&mut self, name: &str) {
        let comma = match self.format {
            LineFormat::Json => ",",
            LineFormat::Logfmt => " ",
        };
        if self.begun {
            self.out.push_str(comma);
        }
        self.begun = true;
        match self.format {
            LineFormat::Json => {
                quoted(self.out, name);
                self.out.push(':');
            }
            LineFormat::Logfmt => {
                self.out.push_str(name);
                self.out.push('=');
            }
        }
    }

    /// Nothing is told of what is empty.
    fn text(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.key(name);
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
        if self.format == LineFormat::Logfmt && value.chars().all(plain) {
            self.out.push_str(value);
        } else {
            quoted(self.out, value);
        }
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.key(name);
        let _ = write!(self.out, "{value}");
    }

    fn missed(&mut self, missed: &[Missed]) {
        if missed.is_empty() {
            return;
        }
        if self.format == LineFormat::Logfmt {
            let words: Vec<_> = missed
                .iter()
                .map(|one| format!("{}:{}", one.instance, one.reason.as_str()))
                .collect();
            return self.text("failed", &words.join(","));
        }
        self.key("failed");
        let mut before = '[';
        for one in missed {
            self.out.push(before);
            before = ',';
            let mut inner = Line::new(self.out, self.format);
            inner.text("instance", &one.instance);
            inner.text("reason", one.reason.as_str());
            inner.text("detail", &one.detail);
            inner.end();
        }
        self.out.push(']');
    }

    fn fields(&mut self, fields: &[(String, String)]) {
        if fields.is_empty() || self.format == LineFormat::Logfmt {
            return;
        }
        self.key("fields");
        let mut inner = Line::new(self.out, self.format);
        for (name, value) in fields {
            inner.text(name, value);
        }
        inner.end();
    }

    fn end(self) {
        if self.format == LineFormat::Json {
            self.out.push('}');
        }
    }
}

/// As JSON writes a text: whatever is in it, it stays one line, and says nothing to a terminal.
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Line separators of Unicode, and control characters of either kind.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn record(path: &str) -> Record {
        Record {
            at: UNIX_EPOCH + Duration::from_millis(951_782_400_123),
            took: Duration::from_micros(12_345),
            head: Some(Duration::from_micros(2_000)),
            direction: Direction::Outbound,
            source: Label::of("shop/web"),
            destination: Label::of("shop/api"),
            route: Label::NONE,
            instance: "api-1".to_owned(),
            host: "api".to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            code: 503,
            ending: None,
            reason: Some(Reason::ConnectFailed),
            detail: String::new(),
            moved: (3, 5),
            tries: 2,
            missed: vec![Missed {
                instance: "api-2".to_owned(),
                reason: Reason::Reset,
                detail: "it \"broke\"".to_owned(),
            }],
            trace: Trace::default(),
            request_id: "7".to_owned(),
            client: [127, 0, 0, 1].into(),
            tls: "",
            fields: Vec::new(),
        }
    }

    fn line(path: &str, format: LineFormat) -> String {
        let mut out = String::new();
        record(path).write(&mut out, format);
        out
    }

    #[test]
    fn a_request_is_one_object_or_one_line_of_pairs() {
        assert_eq!(
            line("/a", LineFormat::Json),
            concat!(
                r#"{"time":"2000-02-29T00:00:00.123Z","direction":"outbound","source":"shop/web","destination":"shop/api","#,
                r#""instance":"api-1","host":"api","method":"GET","path":"/a","code":503,"reason":"connect_failed","sent":3,"#,
                r#""received":5,"duration_ms":12.345,"first_byte_ms":2.000,"tries":2,"#,
                r#""failed":[{"instance":"api-2","reason":"reset","detail":"it \"broke\""}],"#,
                r#""sampled":false,"request_id":"7","client":"127.0.0.1"}"#
            )
        );
        assert_eq!(
            line("/a b", LineFormat::Logfmt),
            concat!(
                "time=2000-02-29T00:00:00.123Z direction=outbound source=shop/web destination=shop/api instance=api-1 ",
                r#"host=api method=GET path="/a b" code=503 reason=connect_failed sent=3 received=5 duration_ms=12.345 "#,
                "first_byte_ms=2.000 tries=2 failed=api-2:reset sampled=false request_id=7 client=127.0.0.1"
            )
        );
    }

    #[test]
    fn a_connection_has_an_end_instead_of_a_status_and_one_that_goes_on_has_no_length() {
        let told = |ending| {
            let mut out = String::new();
            let record = Record {
                method: String::new(),
                code: 0,
                ending: Some(ending),
                reason: None,
                head: None,
                missed: Vec::new(),
                ..record("")
            };
            record.write(&mut out, LineFormat::Logfmt);
            out
        };
        let names = "time=2000-02-29T00:00:00.123Z direction=outbound source=shop/web destination=shop/api instance=api-1 host=api";
        let rest = "tries=2 sampled=false request_id=7 client=127.0.0.1";
        assert_eq!(
            told(Ending::Idle),
            format!("{names} end=idle sent=3 received=5 duration_ms=12.345 {rest}")
        );
        assert_eq!(told(Ending::Open), format!("{names} end=open {rest}"));
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_path_it_stays_one_line_and_reads_back(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let path = bounded(&bytes);
            let json = line(&path, LineFormat::Json);
            let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(value["path"].as_str().unwrap_or_default(), path.as_str());
            let logfmt = line(&path, LineFormat::Logfmt);
            for one in [&json, &logfmt] {
                let breaks = one.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
                prop_assert!(!breaks, "it breaks the line");
            }
            let code = logfmt.rfind(" code=503 ").expect("behind the path");
            let before = logfmt.find("path=").expect("before it") + 5;
            let written = &logfmt[before..code];
            let read = match written.starts_with('"') {
                true => serde_json::from_str::<String>(written).expect("quoted"),
                false => written.to_owned(),
            };
            prop_assert_eq!(read, path);
        }
    }
}
