//! Paths and the rules that look at them.

use serde_json::json;
use weft_core::access;
use weft_core::path::{Place, Refused, admit, admit_encoded, classify, normalise};
use weft_core::route::{Request, Routes, has_prefix};
use weft_model::section::{Access, Decision, Route};

use crate::sections::{Nothing, local};

/// What is ambiguous is what RFC 3986 would change, or has `//`; what was made plain is plain, is what the RFC makes of it, and
/// stays so; and a prefix matches by whole segments.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (path, prefix) = text.split_once('\n').unwrap_or((text, "/a"));
    if !path.starts_with('/') {
        return;
    }
    let plain = normalise(path);
    let shape = classify(path);
    assert_eq!(normalise(&plain), plain);
    assert_eq!(plain, by_the_rfc(path), "{path:?}");
    assert_eq!(shape.ambiguous, plain != path, "{path:?}");
    assert!(!classify(&plain).ambiguous, "{path:?} became {plain:?}");
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2f", "%5c", "%00"].iter().any(|one| lower.contains(one));
    assert_eq!(shape.encoded, encoded, "{path:?}");

    assert_eq!(admit(path, true, Place::Gateway).as_deref(), Ok(&*plain));
    let between = admit(path, true, Place::Mesh);
    if shape.ambiguous {
        assert_eq!(between, Err(Refused::Ambiguous));
    } else {
        assert_eq!(between.as_deref(), Ok(path));
    }
    assert_eq!(admit(path, false, Place::Mesh).as_deref(), Ok(path));
    assert_eq!(admit_encoded(path, true, false).is_err(), encoded);
    assert_eq!(admit_encoded(path, true, true), Ok(()));

    if prefix.starts_with('/') {
        let prefix = prefix.trim_end_matches('/');
        assert_eq!(has_prefix(path, prefix), by_segments(path, prefix));
        ruled(path, prefix);
    }
}

/// A route and an Access rule with a prefix take a path exactly if it begins with its segments, among few rules and many.
fn ruled(path: &str, prefix: &str) {
    let local = local();
    let matched = by_segments(path, prefix);
    let wanted = if prefix.is_empty() { "/" } else { prefix };
    for others in [1, 40] {
        let mut routes: Vec<Route> = (0..others)
            .map(|number| route(&format!("/other-{number}/deep")))
            .collect();
        routes.push(route(wanted));
        let table = Routes::new(&routes, &local).expect("no expression");
        let request = Request {
            host: "api.test",
            method: "GET",
            path,
            caller: None,
        };
        let chosen = table.choose(request, &Nothing).map(|chosen| chosen.route);
        if !path.starts_with("/other-") {
            assert_eq!(chosen, matched.then_some(others), "{path:?} {wanted:?}");
        }
    }
    let rules = json!({
        "default": "deny",
        "rules": [{"name": "one", "decision": "allow", "shadow": false, "callers": [], "methods": [], "paths": [{"prefix": wanted}]}],
    });
    let access: Access = serde_json::from_value(rules).expect("good rules");
    let rules = access::Rules::new(&access, &local).expect("no expression");
    let call = access::Call {
        caller: None,
        method: "GET",
        path,
    };
    let allowed = rules.judge(call).enforced.decision == Decision::Allow;
    assert_eq!(allowed, matched, "{path:?} {wanted:?}");
}

fn route(prefix: &str) -> Route {
    let route = json!({
        "name": prefix, "rank": 0, "matches": [{"path": {"prefix": prefix}}], "timeout_ms": 1,
        "action": {"kind": "forward", "to": [{"service": "shop/api", "labels": {}, "weight": 1}], "on_empty": "spill", "rewrite": {}},
        "retry": {
            "max": 0, "undelivered": false, "reset": false, "statuses": [], "methods": [],
            "per_try_timeout_ms": 0, "backoff_base_ms": 1, "backoff_max_ms": 1,
        },
    });
    serde_json::from_value(route).expect("a good route")
}

/// `remove_dot_segments` as RFC 3986 section 5.2.4 writes it, after `//` was made `/` and `%2e` was read as `.` in segments
/// that are dots and nothing else.
fn by_the_rfc(path: &str) -> String {
    let mut plain: String = path
        .split('/')
        .map(|segment| {
            let read = segment.replace("%2e", ".").replace("%2E", ".");
            if read == "." || read == ".." {
                read
            } else {
                segment.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("/");
    while plain.contains("//") {
        plain = plain.replace("//", "/");
    }
    let (mut input, mut output) = (plain, String::new());
    while !input.is_empty() {
        if input.starts_with("/./") {
            input.drain(..2);
        } else if input == "/." {
            input = "/".to_owned();
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input[3..].trim_start_matches('/'));
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.push_str(&input[..end]);
            input.drain(..end);
        }
    }
    output
}

fn by_segments(path: &str, prefix: &str) -> bool {
    let wanted: Vec<&str> = prefix.split('/').collect();
    let found: Vec<&str> = path.split('/').collect();
    found.len() >= wanted.len() && found[..wanted.len()] == wanted[..]
}
