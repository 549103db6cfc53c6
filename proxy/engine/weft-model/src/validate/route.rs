//! Routes: matches, actions and edits.

use super::{Checked, callers, each, must, service_name};
use crate::field;
use crate::name::is_host;
use crate::section::{Action, HeaderEdits, Match, PathMatch, Retry, Route, Target, ValueMatch};

pub(crate) fn route(route: &Route) -> Checked {
    must(!route.name.is_empty(), || "a route needs a name".to_owned())
        .map_err(|fault| fault.at("name"))?;
    each("hosts", &route.hosts, |host| {
        must(is_host(host, true), || {
            format!(
                "{host:?} is no host; expected lower-case labels such as shop.example.com or *.example.com"
            )
        })
    })?;
    each("matches", &route.matches, matched)?;
    action(&route.action).map_err(|fault| fault.at("action"))?;
    positive("timeout_ms", route.timeout_ms)?;
    retry(&route.retry).map_err(|fault| fault.at("retry"))?;
    edits(&route.request_headers).map_err(|fault| fault.at("request_headers"))?;
    edits(&route.response_headers).map_err(|fault| fault.at("response_headers"))
}

pub(crate) fn positive(field: &str, milliseconds: u64) -> Checked {
    must(milliseconds > 0, || {
        "0 would never let anything pass; expected at least 1 ms".to_owned()
    })
    .map_err(|fault| fault.at(field))
}

pub(crate) fn method(text: &str) -> Checked {
    must(field::is_method(text), || {
        format!("{text:?} is no method; expected upper-case letters and '-'")
    })
}

pub(crate) fn path(path: &PathMatch) -> Checked {
    match path {
        PathMatch::Exact(text) => absolute(text).map_err(|fault| fault.at("exact")),
        PathMatch::Prefix(text) => absolute(text).map_err(|fault| fault.at("prefix")),
        PathMatch::Regex(text) => regex(text).map_err(|fault| fault.at("regex")),
    }
}

pub(crate) fn retry(retry: &Retry) -> Checked {
    must(retry.max <= 10, || {
        format!("{} retries are too many; expected at most 10", retry.max)
    })
    .map_err(|fault| fault.at("max"))?;
    each("statuses", &retry.statuses, |status| {
        must((400..=599).contains(status), || {
            format!("{status} is no failure; expected 400 to 599")
        })
    })?;
    each("grpc_statuses", &retry.grpc_statuses, |code| {
        must((1..=16).contains(code), || {
            format!("{code} is no failure of gRPC; expected 1 to 16")
        })
    })?;
    each("methods", &retry.methods, |text| method(text))?;
    must(retry.backoff_base_ms <= retry.backoff_max_ms, || {
        format!(
            "{} is over backoff_max_ms, {}",
            retry.backoff_base_ms, retry.backoff_max_ms
        )
    })
    .map_err(|fault| fault.at("backoff_base_ms"))
}

pub(super) fn matched(matched: &Match) -> Checked {
    if let Some(value) = &matched.path {
        path(value).map_err(|fault| fault.at("path"))?;
    }
    each("methods", &matched.methods, |text| method(text))?;
    for (name, value) in &matched.headers {
        let here = format!("headers.{name}");
        must(field::is_name(name), || {
            format!("{name:?} is no field name; expected a token in lower case")
        })
        .map_err(|fault| fault.at(&here))?;
        if let ValueMatch::Regex(text) = value {
            regex(text).map_err(|fault| fault.at(&format!("{here}.regex")))?;
        }
    }
    callers(&matched.callers)
}

fn absolute(text: &str) -> Checked {
    must(
        text.len() <= 8_000
            && text.starts_with('/')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#'),
        || {
            format!(
                "{text:?} is no path; expected one that starts with /, without query or blanks, of 8,000 bytes at most"
            )
        },
    )
}

fn regex(text: &str) -> Checked {
    match regex::Regex::new(&format!("^(?:{text})$")) {
        Ok(_) => regex::Regex::new(text)
            .map(drop)
            .or_else(|error| must(false, || error.to_string())),
        Err(error) => must(false, || error.to_string()),
    }
}

fn action(action: &Action) -> Checked {
    match action {
        Action::Forward {
            to,
            on_empty: _,
            rewrite,
            mirror,
        } => {
            if let Some(mirror) = mirror {
                service_name(&mirror.service).map_err(|fault| fault.at("mirror.service"))?;
                must((0.0..=100.0).contains(&mirror.percent), || {
                    format!("{} is no share; expected 0 to 100 percent", mirror.percent)
                })
                .map_err(|fault| fault.at("mirror.percent"))?;
            }
            each("to", to, target)?;
            must(to.iter().any(|target| target.weight > 0), || {
                "no target has a weight above 0; expected at least one".to_owned()
            })
            .map_err(|fault| fault.at("to"))?;
            if let Some(prefix) = &rewrite.path_prefix {
                absolute(prefix).map_err(|fault| fault.at("rewrite.path_prefix"))?;
            }
            host_and_port(rewrite.host.as_deref()).map_err(|fault| fault.at("rewrite.host"))
        }
        Action::Redirect {
            scheme,
            host,
            path,
            code,
        } => {
            must(
                matches!(scheme.as_deref(), None | Some("http" | "https")),
                || {
                    format!(
                        "{:?} is no scheme; expected http or https",
                        scheme.as_deref().unwrap_or_default()
                    )
                },
            )
            .map_err(|fault| fault.at("scheme"))?;
            host_and_port(host.as_deref()).map_err(|fault| fault.at("host"))?;
            if let Some(path) = path {
                let (path, _query) = path.split_once('?').unwrap_or((path, ""));
                absolute(path).map_err(|fault| fault.at("path"))?;
            }
            must(matches!(code, 301 | 302 | 303 | 307 | 308), || {
                format!("{code} is no redirect; expected 301, 302, 303, 307 or 308")
            })
            .map_err(|fault| fault.at("code"))
        }
        Action::Respond { code, body } => {
            must((200..=599).contains(code), || {
                format!("{code} is no final status; expected 200 to 599")
            })
            .map_err(|fault| fault.at("code"))?;
            must(body.is_empty() || !matches!(code, 204 | 205 | 304), || {
                format!("{code} cannot carry a body")
            })
            .map_err(|fault| fault.at("body"))
        }
    }
}

fn target(target: &Target) -> Checked {
    service_name(&target.service).map_err(|fault| fault.at("service"))?;
    must(target.weight <= 1_000_000, || {
        format!("{} is over 1,000,000", target.weight)
    })
    .map_err(|fault| fault.at("weight"))
}

fn host_and_port(text: Option<&str>) -> Checked {
    let Some(text) = text else { return Ok(()) };
    let (host, port) = text
        .rsplit_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port)));
    let port_holds = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    must(is_host(host, false) && port_holds, || {
        format!("{text:?} is no host with an optional port")
    })
}

fn edits(edits: &HeaderEdits) -> Checked {
    let name = |name: &str| {
        must(field::is_name(name), || {
            format!("{name:?} is no field name; expected a token in lower case")
        })?;
        must(!field::is_protected(name), || {
            format!("{name} frames, routes or identifies; no rule may change it")
        })
    };
    for (kind, fields) in [("set", &edits.set), ("add", &edits.add)] {
        for (field, value) in fields {
            let here = format!("{kind}.{field}");
            name(field).map_err(|fault| fault.at(&here))?;
            must(field::is_value(value), || {
                format!("{value:?} cannot be sent: visible ASCII only, no blanks at its ends")
            })
            .map_err(|fault| fault.at(&here))?;
        }
    }
    each("remove", &edits.remove, |field| name(field))
}
