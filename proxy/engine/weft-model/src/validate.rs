//! What a section must fulfil beyond its shape, so that whoever enforces it need not ask again.

mod gateway;
mod limit;
mod route;
mod traffic;

use std::net::SocketAddr;

use crate::name::{is_caller, is_label, is_service, is_trust_domain};
use crate::parse::Section;
use crate::refusal::{Code, Refusal};
use crate::section::{Access, Endpoints, Host, Listener, Protocol, Service};

/// A fault and where it is, from the inside out.
#[derive(Debug)]
pub(crate) struct Fault {
    code: Code,
    path: String,
    message: String,
}

pub(crate) type Checked = Result<(), Fault>;

pub(crate) fn section(section: &Section) -> Checked {
    match section {
        Section::Host(value) => host(value),
        Section::Listener(value) => listener(value),
        Section::Service(value) => service(value),
        Section::Endpoints(value) => endpoints(value),
        Section::Gateway(value) => gateway::gateway(value),
    }
}

/// `Ok` if it holds, else an invalid section with the message.
pub(crate) fn must(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Fault {
            code: Code::InvalidSection,
            path: String::new(),
            message: message(),
        })
    }
}

/// Every item checked; a fault is put at `field[index]`.
pub(crate) fn each<T>(field: &str, items: &[T], check: impl Fn(&T) -> Checked) -> Checked {
    for (index, item) in items.iter().enumerate() {
        check(item).map_err(|fault| fault.at(&format!("{field}[{index}]")))?;
    }
    Ok(())
}

pub(crate) fn service_name(text: &str) -> Checked {
    must(is_service(text), || {
        format!("{text:?} is no service; expected namespace/name, both DNS labels")
    })
}

pub(crate) fn callers(callers: &[String]) -> Checked {
    each("callers", callers, |text| {
        must(is_caller(text), || {
            format!(
                "{text:?} is no caller; expected *, namespace/*, namespace/service, gateway:name or spiffe://…"
            )
        })
    })
}

fn host(host: &Host) -> Checked {
    let label = |field: &str, text: &str| {
        must(is_label(text), || format!("{text:?} is no DNS label"))
            .map_err(|fault| fault.at(field))
    };
    label("name", &host.name)?;
    label("datacenter", &host.datacenter)?;
    must(is_trust_domain(&host.trust_domain), || {
        format!(
            "{:?} is no trust domain; expected lower-case letters, digits, '.', '-' and '_'",
            host.trust_domain
        )
    })
    .map_err(|fault| fault.at("trust_domain"))
}

fn listener(listener: &Listener) -> Checked {
    match listener {
        Listener::Outbound {
            address,
            caller,
            upstream,
        } => {
            loopback(*address)?;
            service_name(caller).map_err(|fault| fault.at("caller"))?;
            service_name(upstream).map_err(|fault| fault.at("upstream"))
        }
        Listener::Open { address, caller } => {
            loopback(*address)?;
            service_name(caller).map_err(|fault| fault.at("caller"))
        }
        Listener::Inbound { .. } => Ok(()),
        Listener::Gateway { gateway, .. } => {
            must(is_label(gateway), || format!("{gateway:?} is no DNS label"))
                .map_err(|fault| fault.at("gateway"))
        }
    }
}

fn loopback(address: SocketAddr) -> Checked {
    must(address.ip().is_loopback(), || {
        format!(
            "{address} is not on loopback; an outbound listener is plain and for its own host only"
        )
    })
    .map_err(|fault| fault.at("address"))
}

fn service(service: &Service) -> Checked {
    if service.protocol == Protocol::Tcp {
        connections(service)?;
    } else {
        must(service.traffic.proxy_protocol.is_none(), || {
            "only connections to a tcp service begin with a PROXY header: requests share theirs"
                .to_owned()
        })
        .map_err(|fault| fault.at("traffic.proxy_protocol"))?;
    }
    each("routes", &service.routes, |rule| {
        must(rule.hosts.is_empty(), || {
            "only routes of a gateway may name hosts".to_owned()
        })
        .map_err(|fault| fault.at("hosts"))?;
        route::route(rule)
    })?;
    traffic::traffic(&service.traffic).map_err(|fault| fault.at("traffic"))?;
    access(&service.access).map_err(|fault| fault.at("access"))?;
    each("limits", &service.limits, limit::of_service)?;
    each("faults", &service.faults, limit::fault)
}

/// Bytes have no requests: whatever looks at one would never match, and is refused so that nobody relies on it.
fn connections(service: &Service) -> Checked {
    must(service.routes.is_empty(), || {
        "a tcp service has no requests that a route could match".to_owned()
    })
    .map_err(|fault| fault.at("routes"))?;
    each("rules", &service.access.rules, |rule| {
        must(rule.methods.is_empty() && rule.paths.is_empty(), || {
            "a rule with methods or paths never matches a connection to a tcp service".to_owned()
        })
    })
    .map_err(|fault| fault.at("access"))?;
    each("limits", &service.limits, |one| {
        limit::of_connections(&one.matches)
    })?;
    each("faults", &service.faults, |one| {
        limit::of_connections(&one.matches)
    })
}

fn access(access: &Access) -> Checked {
    each("rules", &access.rules, |rule| {
        callers(&rule.callers)?;
        each("methods", &rule.methods, |text| route::method(text))?;
        each("paths", &rule.paths, route::path)
    })
}

fn endpoints(section: &Endpoints) -> Checked {
    let mut known = std::collections::HashSet::with_capacity(section.endpoints.len());
    each("endpoints", &section.endpoints, |endpoint| {
        must(is_label(&endpoint.instance), || {
            format!("{:?} is no DNS label", endpoint.instance)
        })
        .map_err(|fault| fault.at("instance"))?;
        must(is_label(&endpoint.host), || {
            format!("{:?} is no DNS label", endpoint.host)
        })
        .map_err(|fault| fault.at("host"))?;
        must(endpoint.address.port() != 0, || {
            format!("{} has no port", endpoint.address)
        })
        .map_err(|fault| fault.at("address"))?;
        must(endpoint.weight <= 1_000_000, || {
            format!("{} is over 1,000,000", endpoint.weight)
        })
        .map_err(|fault| fault.at("weight"))
    })?;
    for (index, endpoint) in section.endpoints.iter().enumerate() {
        must(known.insert((&endpoint.host, &endpoint.instance)), || {
            format!(
                "host {} and instance {} are there twice",
                endpoint.host, endpoint.instance
            )
        })
        .map_err(|fault| fault.at(&format!("endpoints[{index}]")))?;
    }
    Ok(())
}

// === impl Fault ===

impl Fault {
    /// The same fault, seen from one level further out.
    pub(crate) fn at(mut self, outer: &str) -> Fault {
        self.path = match self.path.chars().next() {
            None => outer.to_owned(),
            Some('[') => format!("{outer}{}", self.path),
            Some(_) => format!("{outer}.{}", self.path),
        };
        self
    }

    pub(crate) fn in_section(self, name: &str) -> Refusal {
        Refusal {
            section: name.to_owned(),
            code: self.code,
            path: self.path,
            message: self.message,
        }
    }
}
