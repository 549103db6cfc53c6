//! Addresses as texts, read by hand: an IPv4 address as RFC 6943 section 3.1.1 calls strict, an IPv6 address as RFC 4291
//! section 2.2 writes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Four numbers, none with a zero in front.
pub(crate) fn v4(text: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<&str> = text.split('.').collect();
    let number = |text: &&str| (0..=255_u8).find(|number| number.to_string() == **text);
    let octets: Option<Vec<u8>> = numbers.iter().map(number).collect();
    Some(<[u8; 4]>::try_from(octets?).ok()?.into())
}

/// Eight groups, one run of which may be left out; the last two may be an IPv4 address.
pub(crate) fn v6(text: &str) -> Option<Ipv6Addr> {
    let groups = match text.split_once("::") {
        None => groups(text, true)?,
        Some((before, after)) => {
            let (mut before, after) = (some(before, false)?, some(after, true)?);
            let missing = 8_usize.checked_sub(before.len() + after.len())?;
            if missing == 0 {
                return None;
            }
            before.resize(before.len() + missing, 0);
            [before, after].concat()
        }
    };
    Some(<[u16; 8]>::try_from(groups).ok()?.into())
}

/// Of either kind.
pub(crate) fn any(text: &str) -> Option<IpAddr> {
    v4(text)
        .map(IpAddr::V4)
        .or_else(|| v6(text).map(IpAddr::V6))
}

fn some(text: &str, last: bool) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    groups(text, last)
}

/// Groups behind each other; `last`: an IPv4 address may be the end of them.
fn groups(text: &str, last: bool) -> Option<Vec<u16>> {
    let mut words: Vec<&str> = text.split(':').collect();
    let tail = words.last().and_then(|word| v4(word)).filter(|_| last);
    if tail.is_some() {
        words.pop();
    }
    let mut groups = Vec::new();
    for word in words {
        let digits =
            !word.is_empty() && word.len() <= 4 && word.chars().all(|c| c.is_ascii_hexdigit());
        groups.push(u16::from_str_radix(word, 16).ok().filter(|_| digits)?);
    }
    if let Some(tail) = tail {
        let [a, b, c, d] = tail.octets();
        groups.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
    }
    Some(groups)
}
