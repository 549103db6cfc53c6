//! SPIFFE IDs and the patterns that rules name callers with.

use weft_core::caller::{Callers, Kind, SpiffeId};
use weft_model::name::{is_caller, is_label};

use crate::sections::local;

/// An ID is one exactly where its specification says so; what is read of it puts it together again; and a pattern matches it
/// exactly where their texts say so.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (text, pattern) = text.split_once('\n').unwrap_or((text, "shop/api"));
    let parsed = SpiffeId::parse(text);
    assert_eq!(parsed.is_ok(), is_id(text), "{text:?}");
    let Ok(id) = parsed else {
        return;
    };
    assert_eq!((id.as_str(), id.to_string().as_str()), (text, text));
    assert!(text["spiffe://".len()..].starts_with(id.trust_domain()));
    let local = local();
    let domain = id.trust_domain();
    match id.kind() {
        Kind::Service {
            service,
            datacenter,
        } => {
            let (namespace, name) = service.split_once('/').expect("both parts");
            let told = format!("spiffe://{domain}/ns/{namespace}/dc/{datacenter}/svc/{name}");
            assert_eq!(told, text);
            let ours = domain == "corp" && &**datacenter == "ams1";
            assert_eq!(local.service(service).as_ref() == Ok(&id), ours);
        }
        Kind::Gateway { name, datacenter } => {
            let told = format!("spiffe://{domain}/ns/mesh/dc/{datacenter}/gateway/{name}");
            assert_eq!(told, text);
        }
        Kind::Host(host) => assert_eq!(format!("spiffe://{domain}/host/{host}"), text),
        Kind::Controller(host) => assert_eq!(format!("spiffe://{domain}/controller/{host}"), text),
        Kind::Other => {}
    }
    if is_caller(pattern) {
        let callers = Callers::new(&[pattern.to_owned()], &local);
        assert_eq!(
            callers.matches(Some(&id)),
            is_meant(pattern, text),
            "{pattern:?} {text:?}"
        );
        assert_eq!(callers.matches(None), pattern == "*");
    }
}

/// By the SPIFFE ID specification, section 2: a trust domain and segments of a path, each of its own few characters.
fn is_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else {
        return false;
    };
    let mut parts = rest.split('/');
    let domain = parts.next().unwrap_or_default();
    let good_domain = !domain.is_empty()
        && domain.len() <= 255
        && domain
            .chars()
            .all(|c| "abcdefghijklmnopqrstuvwxyz0123456789.-_".contains(c));
    text.len() <= 2048
        && good_domain
        && parts.all(|segment| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
        })
}

/// Whether a pattern means an ID, told by their texts alone.
fn is_meant(pattern: &str, id: &str) -> bool {
    let service_of = |namespace: &str| {
        let name = id.strip_prefix(&format!("spiffe://corp/ns/{namespace}/dc/ams1/svc/"));
        name.filter(|name| is_label(name))
    };
    if pattern == "*" || pattern == id {
        return true;
    }
    if let Some(name) = pattern.strip_prefix("gateway:") {
        return id == format!("spiffe://corp/ns/mesh/dc/ams1/gateway/{name}");
    }
    match pattern.split_once('/') {
        Some((namespace, "*")) => service_of(namespace).is_some(),
        Some((namespace, name)) if !pattern.starts_with("spiffe:") => {
            service_of(namespace) == Some(name)
        }
        _ => false,
    }
}
