//! A second reader of request heads, slow and plain, written from the rules and not from the codec: it says only yes or no,
//! and what the request is.

/// What the reference reads: method, target, fields, and how the body is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// Reads one whole head with its empty line; nothing if any rule forbids it.
pub(crate) fn read(head: &[u8]) -> Option<Read> {
    // Latin-1, so that every byte is one char and rules about bytes are rules about chars.
    let head: String = head.iter().map(|&b| b as char).collect();
    let head = head.strip_suffix("\r\n\r\n")?;
    if head.replace("\r\n", "").contains(['\r', '\n']) || head.len() > 16_380 {
        return None;
    }
    let mut lines = head.split("\r\n");
    let parts: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, version] = parts[..] else {
        return None;
    };
    let old = version == "HTTP/1.0";
    let method_is_good = (1..=20).contains(&method.len())
        && method.chars().all(|c| c.is_ascii_uppercase() || c == '-')
        && method != "CONNECT"
        && method != "TRACE";
    if !method_is_good || !(old || version == "HTTP/1.1") || !target_is_good(method, target) {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let value = value.trim_matches([' ', '\t']);
        if name.is_empty() || !name.chars().all(good) {
            return None;
        }
        if value
            .chars()
            .any(|c| c == '\u{7f}' || (c < ' ' && c != '\t'))
        {
            return None;
        }
        fields.push((name.to_string(), value.to_string()));
    }
    let all = |wanted: &str| -> Vec<&str> {
        let lines = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        lines.map(|(_, value)| value.as_str()).collect()
    };
    let hosts_are_good = match all("host")[..] {
        [] => old,
        [host] => authority_is_good(host),
        _ => false,
    };
    let expectation_is_good = match all("expect")[..] {
        [] => true,
        [one] => one.eq_ignore_ascii_case("100-continue"),
        _ => false,
    };
    if fields.len() > 100 || !hosts_are_good || !expectation_is_good {
        return None;
    }
    for option in all("connection").iter().flat_map(|value| value.split(',')) {
        let option = option.trim_matches([' ', '\t']).to_ascii_lowercase();
        let good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let named = [
            "host",
            "content-length",
            "transfer-encoding",
            "forwarded",
            "x-real-ip",
        ];
        if !option.chars().all(good)
            || named.contains(&&*option)
            || option.starts_with("x-weft-")
            || option.starts_with("x-forwarded-")
        {
            return None;
        }
    }
    let body = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => Body::None,
        ([length], []) if (1..=18).contains(&length.len()) => {
            if !length.chars().all(|c| c.is_ascii_digit()) {
                return None;
            }
            Body::Length(length.parse().ok()?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && !old => Body::Chunked,
        _ => return None,
    };
    let bytes = |value: &str| value.chars().map(|c| c as u8).collect();
    Some(Read {
        method: method.to_string(),
        target: target.to_string(),
        fields: fields
            .iter()
            .map(|(name, value)| (name.clone(), bytes(value)))
            .collect(),
        body,
    })
}

fn target_is_good(method: &str, target: &str) -> bool {
    if target == "*" {
        return method == "OPTIONS";
    }
    let rest = if target.to_ascii_lowercase().starts_with("http://") {
        let rest = &target[7..];
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if !authority_is_good(&rest[..end]) {
            return false;
        }
        &rest[end..]
    } else if target.starts_with('/') {
        target
    } else {
        return false;
    };
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        if c == '%' {
            let two = [chars.next(), chars.next()];
            if !two.iter().all(|c| c.is_some_and(|c| c.is_ascii_hexdigit())) {
                return false;
            }
        } else if !c.is_ascii_alphanumeric() && !"-._~:/?[]@!$&'()*+,;=".contains(c) {
            return false;
        }
    }
    target.len() <= 8_000
}

fn authority_is_good(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (
                "v6",
                port.strip_prefix(':').or(port.is_empty().then_some("0")),
            ),
            _ => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("0")),
        },
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let Some(port) = port else {
        return false;
    };
    !host.is_empty()
        && host.chars().all(good)
        && (1..=5).contains(&port.len())
        && port.chars().all(|c| c.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}
