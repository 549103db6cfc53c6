//! First lines: method, target and authority; version and status.

use crate::head::Version;
use crate::method::Method;
use crate::reject::Reject;

/// Where the reason phrase of a status line starts, if there is one.
pub(crate) const REASON_AT: usize = 13;

const LONGEST_METHOD: usize = 20;

const BAD: u8 = 1;
const PERCENT: u8 = 2;

/// What each byte does in a target: [`BAD`] outside RFC 3986 and for `#`, [`PERCENT`] if digits must follow.
const CLASS: [u8; 256] = {
    let mut class = [BAD; 256];
    let good = b"-._~!$&'()*+,;=:@/?[]";
    let mut i = 0;
    while i < good.len() {
        class[good[i] as usize] = 0;
        i += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            class[byte] = 0;
        }
        byte += 1;
    }
    class[b'%' as usize] = PERCENT;
    class
};

/// A target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Path and query, or `*`; with the length of the path.
    Origin(u32),
    /// `http://authority` and the rest, which may be empty or start with `?`.
    Absolute { authority: &'a [u8], rest: &'a [u8] },
}

/// Judges a method's name.
#[inline]
pub(crate) fn method(name: &[u8]) -> Result<Method, Reject> {
    let known = Method::from_name(name);
    if known != Method::Other {
        return Ok(known);
    }
    if name.is_empty()
        || name.len() > LONGEST_METHOD
        || !name.iter().all(|&b| b.is_ascii_uppercase() || b == b'-')
    {
        return Err(Reject::BadMethod);
    }
    match name {
        b"CONNECT" | b"TRACE" => Err(Reject::MethodRefused),
        _ => Ok(Method::Other),
    }
}

/// Judges a whole request line, without its CRLF.
pub(crate) fn request_line(line: &[u8], longest_target: usize) -> Result<(), Reject> {
    let mut parts = line.splitn(3, |&b| b == b' ');
    let (Some(name), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Reject::BadRequestLine);
    };
    let method = method(name)?;
    if target.len() > longest_target {
        return Err(Reject::TargetTooLong);
    }
    if target.is_empty() || version.contains(&b' ') {
        return Err(Reject::BadRequestLine);
    }
    if version != b"HTTP/1.1" && version != b"HTTP/1.0" {
        return Err(Reject::BadVersion);
    }
    parse(method, target).map(drop)
}

/// Judges a whole status line, without its CRLF. The space before an empty reason may be missing.
pub(crate) fn status_line(line: &[u8]) -> Result<(Version, u16), Reject> {
    let (version, rest) = line.split_at_checked(8).ok_or(Reject::BadStatusLine)?;
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(Reject::BadStatusLine),
    };
    let [
        b' ',
        a @ b'1'..=b'5',
        b @ b'0'..=b'9',
        c @ b'0'..=b'9',
        reason @ ..,
    ] = rest
    else {
        return Err(Reject::BadStatusLine);
    };
    let reason_is_good = match reason {
        [] => true,
        [b' ', text @ ..] => text.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f)),
        _ => false,
    };
    if !reason_is_good {
        return Err(Reject::BadStatusLine);
    }
    let digit = |b: &u8| u16::from(b - b'0');
    Ok((version, digit(a) * 100 + digit(b) * 10 + digit(c)))
}

/// Takes a received target apart, if it is one that is served.
#[inline]
pub(crate) fn parse(method: Method, target: &[u8]) -> Result<Target<'_>, Reject> {
    if target.first() == Some(&b'/') {
        return origin(target).map(Target::Origin);
    }
    if target == b"*" {
        return match method {
            Method::Options => Ok(Target::Origin(1)),
            _ => Err(Reject::BadTarget),
        };
    }
    let (scheme, rest) = target.split_at_checked(7).ok_or(Reject::BadTarget)?;
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return Err(Reject::BadTarget);
    }
    let end = rest
        .iter()
        .position(|&b| matches!(b, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(Reject::BadTargetAuthority);
    }
    check_bytes(rest)?;
    Ok(Target::Absolute { authority, rest })
}

/// Judges a path with its query, or `*`; returns the length of the path.
#[inline]
pub(crate) fn origin(target: &[u8]) -> Result<u32, Reject> {
    if target == b"*" {
        return Ok(1);
    }
    if target.first() != Some(&b'/') {
        return Err(Reject::BadTarget);
    }
    check_bytes(target)?;
    let path = memchr::memchr(b'?', target).unwrap_or(target.len());
    Ok(path as u32)
}

#[inline]
fn check_bytes(bytes: &[u8]) -> Result<(), Reject> {
    let classes = bytes.iter().fold(0, |all, &b| all | CLASS[b as usize]);
    if classes & BAD != 0 || (classes & PERCENT != 0 && !percents_have_digits(bytes)) {
        return Err(Reject::BadTarget);
    }
    Ok(())
}

fn percents_have_digits(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).all(|at| {
        matches!(bytes.get(at + 1..at + 3), Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    })
}

/// Whether these bytes are a host, perhaps with a port, and nothing else: no userinfo, no list, no path.
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let host = host(bytes);
    let port = &bytes[host.len()..];
    let host_is_good = match host {
        [] => false,
        [b'[', address @ .., b']'] => std::str::from_utf8(address)
            .is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        name => name
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    host_is_good
        && match port {
            [] => true,
            [b':', digits @ ..] => is_port(digits),
            _ => false,
        }
}

fn is_port(digits: &[u8]) -> bool {
    (1..=5).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0')) <= 65_535
}

/// An authority up to its port.
pub(crate) fn host(authority: &[u8]) -> &[u8] {
    let end = if authority.first() == Some(&b'[') {
        memchr::memchr(b']', authority).map(|at| at + 1)
    } else {
        memchr::memchr(b':', authority)
    };
    &authority[..end.unwrap_or(authority.len())]
}
