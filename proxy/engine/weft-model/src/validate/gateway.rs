//! Gateways: public listeners and whom they believe.

use super::{Checked, each, limit, must, route};
use crate::cidr::Cidr;
use crate::name::is_host;
use crate::section::{Gateway, GatewayListener, GatewayProtocol};

pub(crate) fn gateway(gateway: &Gateway) -> Checked {
    for (name, value) in &gateway.listeners {
        listener(value).map_err(|fault| fault.at(&format!("listeners.{name}")))?;
    }
    each("routes", &gateway.routes, route::route)?;
    each("limits", &gateway.limits, limit::of_gateway)?;
    each(
        "trust_forwarded_from",
        &gateway.trust_forwarded_from,
        |text| match Cidr::parse(text) {
            Ok(_) => Ok(()),
            Err(error) => must(false, || error.to_string()),
        },
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
    must(
        listener.protocol == GatewayProtocol::Http || !listener.certificates.is_empty(),
        || "an https listener needs at least one certificate".to_owned(),
    )
    .map_err(|fault| fault.at("certificates"))?;
    let Some(redirect) = &listener.redirect_to else {
        return Ok(());
    };
    must(matches!(redirect.scheme.as_str(), "http" | "https"), || {
        format!("{:?} is no scheme; expected http or https", redirect.scheme)
    })
    .map_err(|fault| fault.at("redirect_to.scheme"))?;
    must(redirect.port != 0, || "0 is no port".to_owned())
        .map_err(|fault| fault.at("redirect_to.port"))
}
