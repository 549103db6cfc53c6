//! Server names of mesh connections: `<instance>.<service>.<namespace>.<trust domain>`.

use rustls_pki_types::{DnsName, ServerName};

/// Which instance a server name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerName<'a> {
    /// One label.
    pub(crate) instance: &'a str,
    /// `namespace/service`
    pub(crate) service: String,
}

// === impl PeerName ===

impl<'a> PeerName<'a> {
    /// Takes a server name of that trust domain apart; `None`: it names no instance of it.
    pub(crate) fn parse(name: &'a str, trust_domain: &str) -> Option<Self> {
        let labels = name.strip_suffix(trust_domain)?.strip_suffix('.')?;
        let mut labels = labels.split('.');
        let (instance, service, namespace) = (labels.next()?, labels.next()?, labels.next()?);
        let whole = labels.next().is_none()
            && !instance.is_empty()
            && !service.is_empty()
            && !namespace.is_empty();
        whole.then(|| Self {
            instance,
            service: format!("{namespace}/{service}"),
        })
    }
}

/// The name to ask an instance for; `service` is `namespace/service`. `None`: no host name can say it.
pub(crate) fn server_name(
    instance: &str,
    service: &str,
    trust_domain: &str,
) -> Option<ServerName<'static>> {
    let (namespace, service) = service.split_once('/')?;
    if instance.contains('.') {
        return None;
    }
    let name = format!("{instance}.{service}.{namespace}.{trust_domain}");
    DnsName::try_from(name).ok().map(ServerName::DnsName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_instance_and_service_and_reads_back() {
        let name = server_name("api-1", "shop/api", "dev.weft").expect("a name");
        let text = name.to_str().into_owned();
        assert_eq!(text, "api-1.api.shop.dev.weft");
        let parsed = PeerName::parse(&text, "dev.weft").expect("an instance");
        assert_eq!(
            (parsed.instance, parsed.service.as_str()),
            ("api-1", "shop/api")
        );
    }

    #[test]
    fn names_of_other_domains_or_other_depths_name_nobody() {
        for name in [
            "api-1.api.shop.corp",
            "api.shop.dev.weft",
            "x.api-1.api.shop.dev.weft",
            "..shop.dev.weft",
            "dev.weft",
            "",
        ] {
            assert_eq!(PeerName::parse(name, "dev.weft"), None, "{name}");
        }
    }

    #[test]
    fn an_instance_cannot_smuggle_another_service_into_the_name() {
        assert_eq!(server_name("x.admin", "shop/api", "corp"), None);
    }
}
