//! Gateways: public listeners and whom they believe.

use super::{Checked, each, limit, must, route};
use crate::cidr::Cidr;
use crate::name::is_host;
use crate::section::{
    Action, Gateway, GatewayListener, GatewayProtocol, HeaderEdits, Rewrite, Route,
};

pub(crate) fn gateway(gateway: &Gateway) -> Checked {
    for (name, value) in &gateway.listeners {
        listener(value).map_err(|fault| fault.at(&format!("listeners.{name}")))?;
    }
    each("routes", &gateway.routes, route::route)?;
    each("limits", &gateway.limits, limit::of_gateway)?;
    each("passthrough", &gateway.passthrough, passthrough)?;
    networks("trust_forwarded_from", &gateway.trust_forwarded_from)
}

fn networks(field: &str, networks: &[String]) -> Checked {
    each(field, networks, |text| match Cidr::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => must(false, || error.to_string()),
    })
}

/// TLS that is passed on has no requests: whatever looks at one, or changes it, is refused so that nobody relies on it.
fn passthrough(rule: &Route) -> Checked {
    route::route(rule)?;
    must(rule.matches.is_empty(), || {
        "connections that are passed on have no requests that could match".to_owned()
    })
    .map_err(|fault| fault.at("matches"))?;
    let sends_on =
        matches!(&rule.action, Action::Forward { rewrite, .. } if *rewrite == Rewrite::default());
    must(sends_on, || {
        "connections can only be passed on as they are".to_owned()
    })
    .map_err(|fault| fault.at("action"))?;
    let none = HeaderEdits::default();
    must(
        rule.request_headers == none && rule.response_headers == none,
        || "connections that are passed on have no fields to edit".to_owned(),
    )
}

fn listener(listener: &GatewayListener) -> Checked {
    each("hosts", &listener.hosts, |host| {
        must(is_host(host, true), || {
            format!(
                "{host:?} is no host; expected lower-case labels such as shop.example.com or *.example.com"
            )
        })
    })?;
    must(matches!(listener.tls_min.as_str(), "1.2" | "1.3"), || {
        format!(
            "{:?} is no version of TLS; expected 1.2 or 1.3",
            listener.tls_min
        )
    })
    .map_err(|fault| fault.at("tls_min"))?;
    let certificates = listener.certificates.len();
    match listener.protocol {
        GatewayProtocol::Http => Ok(()),
        GatewayProtocol::Https => must(certificates > 0, || {
            "an https listener needs at least one certificate".to_owned()
        }),
        GatewayProtocol::Tls => must(certificates == 0, || {
            "a tls listener shows no certificate: the service behind it does".to_owned()
        }),
    }
    .map_err(|fault| fault.at("certificates"))?;
    networks("proxy_protocol_from", &listener.proxy_protocol_from)?;
    let Some(redirect) = &listener.redirect_to else {
        return Ok(());
    };
    must(listener.protocol != GatewayProtocol::Tls, || {
        "a tls listener answers nobody, and so cannot redirect".to_owned()
    })
    .map_err(|fault| fault.at("redirect_to"))?;
    must(matches!(redirect.scheme.as_str(), "http" | "https"), || {
        format!("{:?} is no scheme; expected http or https", redirect.scheme)
    })
    .map_err(|fault| fault.at("redirect_to.scheme"))?;
    must(redirect.port != 0, || "0 is no port".to_owned())
        .map_err(|fault| fault.at("redirect_to.port"))
}
