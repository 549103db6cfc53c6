//! Fields of messages: edits by rules, and whose forwarding fields are believed.

use std::net::IpAddr;

use weft_model::Cidr;
use weft_model::section::HeaderEdits;

pub use weft_model::field::{PROTECTED, PROTECTED_PREFIXES, is_protected};

/// The edits of one rule, prepared: what to leave out while copying, and what to put at the end.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    dropped: Box<[Box<str>]>,
    appended: Box<[(Box<str>, Box<str>)]>,
    lines: Box<[u8]>,
}

/// Peers whose forwarding fields are believed.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Box<[Cidr]>);

/// Fields by which a request says where it came from; a client that is not trusted cannot say that.
const FORWARDING: [&str; 3] = ["forwarded", "x-real-ip", "x-client-ip"];

// === impl Edits ===

impl Edits {
    /// From the section. The order there (`remove`, `set`, `add`) is kept by dropping first and appending after.
    pub fn new(edits: &HeaderEdits) -> Edits {
        let dropped = edits
            .remove
            .iter()
            .chain(edits.set.keys())
            .map(|name| name.to_ascii_lowercase().into())
            .collect();
        let appended: Box<[(Box<str>, Box<str>)]> = edits
            .set
            .iter()
            .chain(&edits.add)
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        let lines = appended
            .iter()
            .flat_map(|(name, value)| format!("{name}: {value}\r\n").into_bytes())
            .collect();
        Edits {
            dropped,
            appended,
            lines,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.appended.is_empty()
    }

    /// Whether a field of this name, in any case, is left out.
    pub fn drops(&self, name: &[u8]) -> bool {
        self.dropped
            .iter()
            .any(|dropped| dropped.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Further fields.
    pub fn appended(&self) -> impl Iterator<Item = (&str, &str)> {
        self.appended
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }

    /// The same as lines of HTTP/1, each ended by CRLF.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}

// === impl Trusted ===

impl Trusted {
    /// From a valid section.
    pub fn new(networks: &[String]) -> Trusted {
        Trusted(
            networks
                .iter()
                .filter_map(|text| Cidr::parse(text).ok())
                .collect(),
        )
    }

    /// Whether what this peer says about forwarding is believed.
    pub fn believes(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// Who the client is, from the peer and what X-Forwarded-For says (all of its lines joined): the nearest that is not
    /// believed, because what it says of those before it may be invented.
    pub fn client(&self, peer: IpAddr, forwarded_for: Option<&str>) -> IpAddr {
        let mut client = peer;
        for told in forwarded_for.unwrap_or_default().rsplit(',') {
            if !self.believes(client) {
                break;
            }
            match told.trim().parse() {
                Ok(before) => client = before,
                Err(_) => break,
            }
        }
        client
    }
}

/// Whether a field of this name, in any case, tells where a request came from: dropped unless the peer is believed.
pub fn is_forwarding(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    FORWARDING
        .iter()
        .any(|field| field.as_bytes().eq_ignore_ascii_case(name))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The value of `x-forwarded-for`: the peer after what was there, if that is believed.
pub fn forwarded_for(before: Option<&str>, peer: IpAddr, believed: bool) -> String {
    match before {
        Some(before) if believed && !before.is_empty() => {
            format!("{before}, {}", peer.to_canonical())
        }
        _ => peer.to_canonical().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_and_add_follows() {
        let edits = Edits::new(&HeaderEdits {
            set: [("x-a".to_owned(), "1".to_owned())].into(),
            add: [("x-b".to_owned(), "2".to_owned())].into(),
            remove: vec!["server".to_owned()],
        });
        assert!(edits.drops(b"X-A") && edits.drops(b"Server") && !edits.drops(b"x-b"));
        assert_eq!(edits.lines(), b"x-a: 1\r\nx-b: 2\r\n");
        assert_eq!(
            edits.appended().collect::<Vec<_>>(),
            [("x-a", "1"), ("x-b", "2")]
        );
        assert!(Edits::default().is_empty() && !edits.is_empty());
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        let trusted = Trusted::new(&["10.0.0.0/8".to_owned()]);
        let inside: IpAddr = "10.1.2.3".parse().expect("an address");
        let outside: IpAddr = "203.0.113.9".parse().expect("an address");
        assert!(trusted.believes(inside) && !trusted.believes(outside));
        assert_eq!(
            forwarded_for(Some("198.51.100.1"), inside, true),
            "198.51.100.1, 10.1.2.3"
        );
        assert_eq!(
            forwarded_for(Some("198.51.100.1"), outside, false),
            "203.0.113.9"
        );
        assert_eq!(forwarded_for(None, inside, true), "10.1.2.3");
    }

    #[test]
    fn the_client_is_the_nearest_that_is_not_believed() {
        let trusted = Trusted::new(&["10.0.0.0/8".to_owned()]);
        let client = |peer: &str, told: Option<&str>| {
            let peer = peer.parse().expect("an address");
            trusted.client(peer, told).to_string()
        };
        for (peer, told, expected) in [
            ("203.0.113.9", Some("1.1.1.1"), "203.0.113.9"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("10.0.0.1", Some("1.1.1.1, 203.0.113.9"), "203.0.113.9"),
            (
                "10.0.0.1",
                Some("1.1.1.1, 203.0.113.9,10.0.0.2"),
                "203.0.113.9",
            ),
            ("10.0.0.1", Some("2001:db8::1"), "2001:db8::1"),
            ("10.0.0.1", Some("unknown"), "10.0.0.1"),
        ] {
            assert_eq!(client(peer, told), expected, "{peer} {told:?}");
        }
    }

    #[test]
    fn forwarding_fields_are_known_in_any_case() {
        for name in [
            "X-Forwarded-For",
            "x-forwarded-proto",
            "Forwarded",
            "x-forwarded-anything",
        ] {
            assert!(is_forwarding(name.as_bytes()), "{name}");
        }
        assert!(!is_forwarding(b"x-forwarded") && !is_forwarding(b"accept"));
    }
}
