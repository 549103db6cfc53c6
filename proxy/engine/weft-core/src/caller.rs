//! Who calls: SPIFFE IDs taken apart, and the patterns that rules name callers with.

use std::fmt;

use weft_model::name::{is_label, is_spiffe_id};
use weft_model::section::Host;

/// The trust domain and datacenter in which `ns/service` and `gateway:<name>` are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    trust_domain: Box<str>,
    datacenter: Box<str>,
}

/// Who somebody is, from a verified certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    trust_domain_end: usize,
    kind: Kind,
}

/// What kind of identity it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `/ns/<ns>/dc/<dc>/svc/<service>`
    Service {
        /// `ns/service`.
        service: Box<str>,
        /// Its datacenter.
        datacenter: Box<str>,
    },
    /// `/ns/mesh/dc/<dc>/gateway/<name>`
    Gateway {
        /// Its name.
        name: Box<str>,
        /// Its datacenter.
        datacenter: Box<str>,
    },
    /// `/host/<host>`: speaks to controllers, never to services.
    Host(Box<str>),
    /// `/controller/<host>`: likewise.
    Controller(Box<str>),
    /// Any other path: matched only by its whole text.
    Other,
}

/// Text that is no SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSpiffeId(String);

/// Any of several callers; empty: everybody.
#[derive(Clone, Debug, Default)]
pub struct Callers(Box<[Pattern]>);

#[derive(Clone, Debug)]
enum Pattern {
    Anybody,
    Namespace(Local, Box<str>),
    Service(Local, Box<str>),
    Gateway(Local, Box<str>),
    Exactly(Box<str>),
}

// === impl Local ===

impl Local {
    /// Of the host the engine works for.
    pub fn of(host: &Host) -> Local {
        Local {
            trust_domain: host.trust_domain.as_str().into(),
            datacenter: host.datacenter.as_str().into(),
        }
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The identity of `ns/service` here: what a peer must prove, and what the caller behind an outbound port is.
    pub fn service(&self, service: &str) -> Result<SpiffeId, InvalidSpiffeId> {
        let (namespace, name) = service
            .split_once('/')
            .ok_or_else(|| InvalidSpiffeId(service.to_owned()))?;
        SpiffeId::parse(&format!(
            "spiffe://{}/ns/{namespace}/dc/{}/svc/{name}",
            self.trust_domain, self.datacenter
        ))
    }

    /// The identity of a gateway here.
    pub fn gateway(&self, name: &str) -> Result<SpiffeId, InvalidSpiffeId> {
        SpiffeId::parse(&format!(
            "spiffe://{}/ns/mesh/dc/{}/gateway/{name}",
            self.trust_domain, self.datacenter
        ))
    }
}

// === impl SpiffeId ===

impl SpiffeId {
    /// Reads one by the rules of the SPIFFE ID specification: no port, query, fragment, empty or dot segment.
    pub fn parse(text: &str) -> Result<SpiffeId, InvalidSpiffeId> {
        if !is_spiffe_id(text) {
            return Err(InvalidSpiffeId(text.to_owned()));
        }
        let start = "spiffe://".len();
        let trust_domain_end = text[start..]
            .find('/')
            .map_or(text.len(), |slash| start + slash);
        Ok(SpiffeId {
            text: text.into(),
            trust_domain_end,
            kind: Kind::of(&text[trust_domain_end..]),
        })
    }

    /// The whole text: what `x-weft-caller` carries.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.text["spiffe://".len()..self.trust_domain_end]
    }

    /// What kind of identity it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// A short name for metrics: `ns/service`, `gateway:<name>`, else the whole text.
    pub fn label(&self) -> std::borrow::Cow<'_, str> {
        match &self.kind {
            Kind::Service { service, .. } => service.as_ref().into(),
            Kind::Gateway { name, .. } => format!("gateway:{name}").into(),
            Kind::Host(_) | Kind::Controller(_) | Kind::Other => self.as_str().into(),
        }
    }

    fn is_in(&self, local: &Local, datacenter: &str) -> bool {
        self.trust_domain() == &*local.trust_domain && datacenter == &*local.datacenter
    }
}

impl Kind {
    fn of(path: &str) -> Kind {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments[..] {
            ["ns", namespace, "dc", datacenter, "svc", service]
                if is_label(namespace) && is_label(datacenter) && is_label(service) =>
            {
                Kind::Service {
                    service: format!("{namespace}/{service}").into(),
                    datacenter: datacenter.into(),
                }
            }
            ["ns", "mesh", "dc", datacenter, "gateway", name]
                if is_label(datacenter) && is_label(name) =>
            {
                Kind::Gateway {
                    name: name.into(),
                    datacenter: datacenter.into(),
                }
            }
            ["host", host] if is_label(host) => Kind::Host(host.into()),
            ["controller", host] if is_label(host) => Kind::Controller(host.into()),
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for InvalidSpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no SPIFFE ID; expected spiffe://<trust domain>/<path>",
            self.0
        )
    }
}

impl std::error::Error for InvalidSpiffeId {}

// === impl Callers ===

impl Callers {
    /// Patterns as [`weft_model::section::Rule::callers`] writes them, which are valid by then.
    pub fn new(patterns: &[String], local: &Local) -> Callers {
        let pattern = |text: &String| {
            if text == "*" {
                Pattern::Anybody
            } else if text.starts_with("spiffe://") {
                Pattern::Exactly(text.as_str().into())
            } else if let Some(name) = text.strip_prefix("gateway:") {
                Pattern::Gateway(local.clone(), name.into())
            } else if let Some(namespace) = text.strip_suffix("/*") {
                Pattern::Namespace(local.clone(), namespace.into())
            } else {
                Pattern::Service(local.clone(), text.as_str().into())
            }
        };
        Callers(patterns.iter().map(pattern).collect())
    }

    /// Whether the caller is one of them. Nobody (`None`: unauthenticated) is matched by `*` and by no patterns at all.
    pub fn matches(&self, caller: Option<&SpiffeId>) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(caller))
    }
}

impl Pattern {
    fn matches(&self, caller: Option<&SpiffeId>) -> bool {
        let Some(caller) = caller else {
            return matches!(self, Pattern::Anybody);
        };
        match (self, &caller.kind) {
            (Pattern::Anybody, _) => true,
            (Pattern::Exactly(text), _) => *text == caller.text,
            (
                Pattern::Service(local, name),
                Kind::Service {
                    service,
                    datacenter,
                },
            ) => name == service && caller.is_in(local, datacenter),
            (
                Pattern::Namespace(local, namespace),
                Kind::Service {
                    service,
                    datacenter,
                },
            ) => {
                service
                    .split_once('/')
                    .is_some_and(|(of, _)| of == &**namespace)
                    && caller.is_in(local, datacenter)
            }
            (Pattern::Gateway(local, wanted), Kind::Gateway { name, datacenter }) => {
                wanted == name && caller.is_in(local, datacenter)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
pub(crate) fn local() -> Local {
    Local {
        trust_domain: "corp".into(),
        datacenter: "ams1".into(),
    }
}

#[cfg(test)]
mod tests;
