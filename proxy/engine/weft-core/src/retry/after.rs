//! `Retry-After` (RFC 9110 section 10.2.3): how long an answer asks to be left alone.

use std::time::Duration;

/// What `Retry-After` says, in seconds, or as a moment that `Date` of the same answer is before: no clock of ours is
/// compared with another host's.
pub fn retry_after(value: &[u8], date: Option<&[u8]>) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is longer than anybody waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u32::MAX).into()));
    }
    let date = moment(std::str::from_utf8(date?).ok()?.trim())?;
    Some(Duration::from_secs(moment(text)?.saturating_sub(date)))
}

/// Seconds since the epoch of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that may still be sent.
fn moment(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = rest.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|known| *known == month)? as u64 + 1;
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else {
        return None;
    };
    let number = |text: &str, most: u64| text.parse::<u64>().ok().filter(|found| *found <= most);
    let (day, year) = (number(day, 31)?, number(year, 9_999)?);
    let (hour, minute, second) = (number(hour, 23)?, number(minute, 59)?, number(second, 60)?);
    let days = days(year.checked_sub(1970)? + 1970, month, day)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days since the epoch (Howard Hinnant's `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn seconds_and_moments_are_understood_and_nothing_else() {
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("99999999999", Some(u32::MAX.into())),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Mon, 06 Mar 1995 08:49:37 GMT", Some(120 * 86_400)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 0 Nov 1994 08:49:37 GMT", None),
        ] {
            let found = retry_after(value.as_bytes(), Some(DATE));
            assert_eq!(found, seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(DATE, None), None);
        assert_eq!(moment("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }
}
