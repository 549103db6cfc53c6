//! The names of sections, and what a name may be.

use std::fmt;

/// A section's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SectionName {
    /// `host`
    Host,
    /// `listener/<name>`
    Listener(String),
    /// `service/<ns>/<name>`, holding `ns/name`
    Service(String),
    /// `endpoints/<ns>/<name>`, holding `ns/name`
    Endpoints(String),
    /// `gateway/<name>`
    Gateway(String),
}

/// A DNS label: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if alphanumeric(first) && alphanumeric(last))
        && bytes.len() <= 63
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

/// `namespace/name`, both labels.
pub fn is_service(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(namespace, name)| is_label(namespace) && is_label(name))
}

/// A lower-case host name of labels (1 to 253 bytes), or `*.` before one where wildcards are welcome.
pub fn is_host(text: &str, wildcard: bool) -> bool {
    let name = match text.strip_prefix("*.") {
        Some(rest) if wildcard => rest,
        Some(_) => return false,
        None => text,
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A trust domain as SPIFFE writes it: lower-case letters, digits, `.`, `-` and `_`, 255 bytes at most.
pub fn is_trust_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte)
        })
}

/// The path of a SPIFFE ID: empty, or segments of letters, digits, `.`, `-` and `_`, none of them empty, `.` or `..`.
pub fn is_spiffe_path(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return path.is_empty();
    };
    segments.split('/').all(|segment| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    })
}

/// A SPIFFE ID: `spiffe://<trust domain><path>`, 2,048 bytes at most.
pub fn is_spiffe_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return false;
    };
    let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    text.len() <= 2048 && is_trust_domain(domain) && is_spiffe_path(path)
}

/// A caller as rules write it: `*`, `ns/*`, `ns/service`, `gateway:<name>` or `spiffe://…`.
pub fn is_caller(text: &str) -> bool {
    if let Some(gateway) = text.strip_prefix("gateway:") {
        return is_label(gateway);
    }
    match text.strip_suffix("/*") {
        Some(namespace) => is_label(namespace),
        None => text == "*" || is_service(text) || is_spiffe_id(text),
    }
}

/// A name of a listener: anything printable without blanks, 200 bytes at most. It is shown, never parsed.
fn is_listener(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

// === impl SectionName ===

impl SectionName {
    /// The name taken apart; `None`: no section is called so.
    pub fn parse(text: &str) -> Option<SectionName> {
        if text == "host" {
            return Some(SectionName::Host);
        }
        let (kind, rest) = text.split_once('/')?;
        match kind {
            "listener" if is_listener(rest) => Some(SectionName::Listener(rest.to_owned())),
            "service" if is_service(rest) => Some(SectionName::Service(rest.to_owned())),
            "endpoints" if is_service(rest) => Some(SectionName::Endpoints(rest.to_owned())),
            "gateway" if is_label(rest) => Some(SectionName::Gateway(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SectionName::Host => write!(f, "host"),
            SectionName::Listener(name) => write!(f, "listener/{name}"),
            SectionName::Service(name) => write!(f, "service/{name}"),
            SectionName::Endpoints(name) => write!(f, "endpoints/{name}"),
            SectionName::Gateway(name) => write!(f, "gateway/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_name_reads_back_as_it_was_written() {
        for text in [
            "host",
            "listener/outbound/shop/web/shop/api",
            "service/shop/api",
            "endpoints/shop/api",
            "gateway/edge",
        ] {
            assert_eq!(
                SectionName::parse(text)
                    .map(|name| name.to_string())
                    .as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn names_that_are_no_section_are_refused() {
        for text in [
            "",
            "hosts",
            "host/",
            "listener/",
            "listener/a b",
            "service/api",
            "service/a/b/c",
            "service/A/b",
            "gateway/-x",
            "gateway/",
        ] {
            assert_eq!(SectionName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_label_has_at_most_63_bytes_and_no_dash_at_its_ends() {
        assert!(is_label("a") && is_label("0-9") && is_label(&"a".repeat(63)));
        for text in ["", "-a", "a-", "A", "a_b", "ä", &"a".repeat(64)] {
            assert!(!is_label(text), "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_a_host_only_where_it_is_welcome() {
        assert!(is_host("*.example.com", true) && !is_host("*.example.com", false));
        assert!(
            is_host("localhost", false)
                && !is_host("a..b", false)
                && !is_host("*", true)
                && !is_host("a.*.b", true)
        );
    }
}
