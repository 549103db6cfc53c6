//! Answers of the engine's own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use weft_core::reason::{Error, Reason};
use weft_http1::{Framing, encode};

/// What the engine says itself, to a client that is then told how the connection goes on.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Why, where it is a refusal.
    pub(crate) reason: Option<Reason>,
    /// Where else to go.
    pub(crate) location: Option<String>,
    /// One more field.
    pub(crate) extra: Option<(&'static str, Box<str>)>,
    /// As text.
    pub(crate) body: Cow<'static, str>,
}

/// How the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// As HTTP/1.1 does unasked.
    Go,
    /// The same, told to an HTTP/1.0 client.
    GoTold,
    /// It ends.
    Close,
}

// === impl Answer ===

impl Answer {
    /// Encodes it; to HEAD without its body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, head_only: bool, then: Then) {
        encode::status_line(out, self.status, encode::reason(self.status));
        with_date(|date| encode::field(out, b"date", date));
        if let Some(reason) = self.reason {
            encode::field(out, b"x-weft-reason", reason.as_str().as_bytes());
        }
        then.encode(out);
        self.encode_fields(out);
        encode::end(out);
        if !self.is_bodiless() && !head_only {
            out.extend_from_slice(self.body.as_bytes());
        }
    }

    /// Encodes the fields that are its own, whatever the version.
    pub(crate) fn encode_fields(&self, out: &mut Vec<u8>) {
        if let Some(location) = &self.location {
            encode::field(out, b"location", location.as_bytes());
        }
        if let Some((name, value)) = &self.extra {
            encode::field(out, name.as_bytes(), value.as_bytes());
        }
        if self.status == 405 {
            encode::field(
                out,
                b"allow",
                b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH",
            );
        }
        if !self.is_bodiless() {
            encode::field(out, b"content-type", b"text/plain; charset=utf-8");
            encode::framing(out, Framing::Length(self.body.len() as u64));
        }
    }

    /// Whether its status knows no body.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.status == 204 || self.status == 304
    }
}

impl From<&Error> for Answer {
    fn from(error: &Error) -> Self {
        Self {
            status: error.status,
            reason: Some(error.reason),
            location: None,
            extra: None,
            body: format!("{}: {}\n", error.reason.as_str(), error.detail).into(),
        }
    }
}

// === impl Then ===

impl Then {
    /// The Connection field that says it.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Go => {}
            Self::GoTold => encode::field(out, b"connection", b"keep-alive"),
            Self::Close => encode::field(out, b"connection", b"close"),
        }
    }
}

/// The current second as RFC 9110 section 5.6.7 writes it, formatted once.
struct Date {
    second: u64,
    text: [u8; 29],
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { second: u64::MAX, text: [b' '; 29] }) };
}

/// Shows the current second to `f`, as a Date field has it.
pub(crate) fn with_date<T>(f: impl FnOnce(&[u8]) -> T) -> T {
    DATE.with_borrow_mut(|date| f(date.now()))
}

// === impl Date ===

impl Date {
    fn now(&mut self) -> &[u8] {
        let second = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        if second != self.second {
            self.second = second;
            self.format();
        }
        &self.text
    }

    fn format(&mut self) {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (days, rest) = (self.second / 86_400, self.second % 86_400);
        let (year, month, day) = civil(days);
        let weekday = DAYS[(days % 7) as usize];
        let month = MONTHS[month as usize - 1];
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let mut out = &mut self.text[..];
        // The text has 29 bytes until the year 9999.
        let _ = write!(
            out,
            "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
        );
    }
}

/// Year, month and day of a number of days since the epoch (Howard Hinnant's `civil_from_days`).
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_does() {
        for (second, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        ] {
            let mut date = Date {
                second,
                text: [0; 29],
            };
            date.format();
            assert_eq!(std::str::from_utf8(&date.text), Ok(text));
        }
    }

    #[test]
    fn an_answer_to_head_tells_its_length_and_has_no_body() {
        let answer = Answer::from(&Error::new(Reason::NoRoute, "nothing there"));
        let (mut whole, mut head) = (Vec::new(), Vec::new());
        answer.encode(&mut whole, false, Then::Close);
        answer.encode(&mut head, true, Then::Close);
        let whole = String::from_utf8(whole).expect("text");
        assert!(whole.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(
            whole.contains("\r\nx-weft-reason: no_route\r\n")
                && whole.contains("\r\nconnection: close\r\n")
        );
        assert_eq!(
            whole
                .strip_suffix("no_route: nothing there\n")
                .map(str::as_bytes),
            Some(&head[..])
        );
    }
}
